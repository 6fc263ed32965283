"""Draw the study of experiments/ultra_slow_diffusion from its recorded results.

python paper_figs/ultra_slow_diffusion.py [FOLDER]   # PNG and PDF, by default out/ beside this file
"""

import json
import sys
from pathlib import Path

import numpy as np

from noisescale.plots import draw_study, new_figure, save_png_and_pdf

ROOT = Path(__file__).resolve().parent.parent
RESULTS = ROOT / "experiments" / "ultra_slow_diffusion" / "results"


def main(out: Path) -> list[Path]:
    """Draw the recorded curves of every α, and the controls."""
    documents = {
        path.stem: json.loads(path.read_text("utf-8")) for path in sorted(RESULTS.glob("*.json"))
    }
    rough = sorted(
        (d for name, d in documents.items() if name.startswith("alpha-")),
        key=lambda d: d["simulation"]["alpha"],
    )
    figure = new_figure(1, 2, title="Walkers in self-affine potentials, and what looks alike")
    figure.set_size_inches(11.0, 5.6)
    draw_study(figure.axes[0], {f"α = {d['simulation']['alpha']:g}": d for d in rough})
    controls = {name: documents[name] for name in ("ramp", "smooth", "flat")}
    draw_study(figure.axes[1], controls, slopes=False)
    log_t = np.geomspace(2.0, 30.0, 50)
    figure.axes[1].plot(log_t, np.logaddexp(0, log_t), "k:", label="gradient descent on e^(−w)")
    for ax in figure.axes:
        ax.legend(frameon=False, fontsize=8)
    return save_png_and_pdf(figure, out, "ultra_slow_diffusion")


if __name__ == "__main__":
    folder = Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).resolve().parent / "out"
    print(*main(folder), sep="\n")
