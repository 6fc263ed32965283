"""Draw the study of experiments/is_it_a_walk from its recorded results.

python paper_figs/is_it_a_walk.py [FOLDER]   # PNG and PDF, by default out/ beside this file
"""

import sys
from pathlib import Path

from noisescale.plots import new_figure, save_png_and_pdf
from noisescale.plots.walk_verdict import draw_clock, draw_drift_share

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "experiments" / "is_it_a_walk"))

import study  # noqa: E402
import tables  # noqa: E402


def main(out: Path) -> list[Path]:
    """A column per task: distance on the clock of the drift, and the share of drift."""
    names = tables.tasks()
    figure = new_figure(
        2, len(names), title="Distance from the initial weights: who goes that way?"
    )
    figure.set_size_inches(3.6 * len(names), 7.0)
    for column, task in enumerate(names):
        verdict = study.walk(task)
        top, bottom = figure.axes[column], figure.axes[len(names) + column]
        draw_clock(top, verdict, "t")
        draw_drift_share(bottom, verdict)
        top.set_title(f"{task}, {verdict.seeds} seeds\n{verdict.verdict}", fontsize=10)
        top.legend(frameon=False, fontsize=8)
    return save_png_and_pdf(figure, out, "is_it_a_walk")


if __name__ == "__main__":
    folder = Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).resolve().parent / "out"
    print(*main(folder), sep="\n")
