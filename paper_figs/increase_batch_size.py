"""Redraw the figures of experiments/increase_batch_size from its recorded results.

python paper_figs/increase_batch_size.py [FOLDER]   # PNG and PDF, by default out/ beside this file
"""

import sys
from pathlib import Path

from matplotlib.figure import Figure

from noisescale.analysis.html import scaled_text
from noisescale.experiment.study import draw_study
from noisescale.plots import add_legend, new_figure, save_png_and_pdf
from noisescale.plots.sweeps import draw_errors

STUDY = Path(__file__).resolve().parent.parent / "experiments" / "increase_batch_size"
sys.path.insert(0, str(STUDY))

import rates  # noqa: E402


def base_rates() -> Figure:
    """Final errors of arms 1, 3 and 4 against the base rate."""
    results = rates.document()
    n, scaled = len(results["arms"][0]["seeds"]), scaled_text(results["fraction_of_protocol"])
    title = (
        f"Momentum or learning rate? — CIFAR-10 (JPEG q75 copy), {scaled}\n"
        f"mean of {n} seeds, bars ± 1 standard deviation"
    )
    figure = new_figure(1, 1, title=title)
    figure.set_size_inches(7.0, 5.0)
    names = {
        "baseline": "baseline: batch 32",
        "momentum": "batch 160, momentum .98",
        "learning-rate": "batch 160, learning rate × 5",
    }
    draw_errors(
        figure.axes[0],
        {label: (rates.rates(), rates.errors(arm)) for arm, label in names.items()},
        xlabel="base learning rate at batch 32",
        ylabel="final validation error (%)",
    )
    add_legend(figure)
    return figure


def main(out: Path) -> list[Path]:
    """Draw every figure of every recorded experiment."""
    drawn = draw_study(STUDY / "results", out, "increase_batch_size")
    if rates.PATH.exists():
        drawn += save_png_and_pdf(base_rates(), out, "increase_batch_size_base_rates")
    return drawn


if __name__ == "__main__":
    folder = Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).resolve().parent / "out"
    print(*main(folder), sep="\n")
