"""Draw the study of experiments/gradient_noise_estimators from its recorded results.

python paper_figs/gradient_noise_estimators.py [FOLDER]   # PNG and PDF, by default out/ beside this
"""

import json
import sys
from pathlib import Path

from matplotlib.figure import Figure

from noisescale.plots import new_figure, save_png_and_pdf
from noisescale.plots.gradient_noise import draw_coverage, draw_estimators

ROOT = Path(__file__).resolve().parent.parent
RESULTS = ROOT / "experiments" / "gradient_noise_estimators" / "results"


def figure(compared: dict, covered: dict) -> Figure:
    """Estimates over the truth, and the coverage of intervals."""
    made = new_figure(1, 2, title="Gradient noise scale: estimators where it is known")
    made.set_size_inches(11.5, 4.6)
    draw_estimators(made.axes[0], compared)
    draw_coverage(made.axes[1], covered)
    return made


def main(out: Path) -> list[Path]:
    """Draw both committed documents."""
    compared, covered = (
        json.loads((RESULTS / f"{name}.json").read_text("utf-8"))
        for name in ("estimators", "coverage")
    )
    made = figure(compared, covered)
    return save_png_and_pdf(made, out, "gradient_noise_estimators")


if __name__ == "__main__":
    folder = Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).resolve().parent / "out"
    print(*main(folder), sep="\n")
