"""Draw final accuracy against batch size from experiments/warmup_or_augmentation.

python paper_figs/warmup_or_augmentation.py [FOLDER]   # PNG and PDF, by default out/ beside this
"""

import sys
from pathlib import Path

from matplotlib.figure import Figure

from noisescale.analysis.html import scaled_text
from noisescale.experiment.study import draw_study
from noisescale.plots import add_legend, new_figure, save_png_and_pdf
from noisescale.plots.figure import colour
from noisescale.plots.sweeps import draw_errors

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "experiments" / "warmup_or_augmentation"))

import study  # noqa: E402


def errors() -> Figure:
    """Running and recalibrated statistics side by side; the falls-off as ticks below."""
    results = study.document()
    n = len(results["arms"][0]["seeds"])
    title = (
        f"Warm-up or augmentation at constant noise scale — CIFAR-10 (JPEG q75 copy), "
        f"{scaled_text(results['fraction_of_protocol'])}\n"
        f"mean of {n} seeds, bars ± 1 standard deviation; "
        f"triangles: {100 * study.DROP:g} points above the smallest batch"
    )
    figure = new_figure(1, 2, title=title)
    figure.set_size_inches(11.0, 5.6)
    names = {
        "evaluation_error": "running statistics",
        "recalibrated_error": "recalibrated statistics",
    }
    for ax, (metric, what) in zip(figure.axes, names.items(), strict=True):
        found = study.conditions(metric)
        draw_errors(
            ax,
            {name: (one.batch_sizes, one.values) for name, one in found.items()},
            xlabel="batch size, learning rate in proportion",
            ylabel="final validation error (%)",
        )
        for number, name in enumerate(found):
            place = study.fall_off(name, metric).value
            if place is not None:
                bottom = ax.get_ylim()[0]
                ax.plot([place], [bottom], "^", color=colour(number), clip_on=False, markersize=7)
                ax.set_ylim(bottom=bottom)
        ax.set_title(what, fontsize=10)
    add_legend(figure, columns=4)
    return figure


def main(out: Path) -> list[Path]:
    """The figures of the report, and the errors against the batch size."""
    drawn = draw_study(study.RESULTS, out, "warmup_or_augmentation")
    return [*drawn, *save_png_and_pdf(errors(), out, "warmup_or_augmentation")]


if __name__ == "__main__":
    folder = Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).resolve().parent / "out"
    print(*main(folder), sep="\n")
