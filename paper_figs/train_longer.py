"""Draw experiments/train_longer from its recorded results.

python paper_figs/train_longer.py [FOLDER]   # PNG and PDF, by default out/ beside this file
"""

import sys
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from noisescale.analysis.html import scaled_text
from noisescale.experiment.study import draw_study
from noisescale.plots import add_legend, draw_distance, new_figure, save_png_and_pdf
from noisescale.plots.sweeps import draw_ladder, draw_points

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "experiments" / "train_longer"))

import study  # noqa: E402


def ladder() -> Figure:
    """The five columns of the published table, each study over its own small batch."""
    figure = new_figure(
        1,
        1,
        title="Train longer: final test error over the small batch's, bars ± 1 standard deviation",
    )
    figure.set_size_inches(9.0, 6.4)
    first = next(iter(study.PUBLISHED))
    columns = {f"published: {first}, no error bars": [1 - v / 100 for v in study.PUBLISHED[first]]}
    for name, what in study.NAMES.items():
        if study.there(name):
            results = study.document(name)
            scaled = scaled_text(results["fraction_of_protocol"])
            n = len(results["arms"][0]["seeds"])
            columns[f"{what} (n = {n}; {scaled})"] = study.ladder(name)
    draw_ladder(figure.axes[0], study.STEPS, columns)
    add_legend(figure, columns=1)
    return figure


def plateau() -> Figure:
    """Final error against the distance at the end of the constant phase."""
    found = study.plateau()
    scaled = scaled_text(study.document("gap-digits")["fraction_of_protocol"])
    title = (
        f"Final error against the distance at the plateau — digits, {scaled}\n"
        f"{found.n} seeds an arm, large points: means; beyond updates and losses p = {found.p:.2g}"
    )
    figure = new_figure(1, 1, title=title)
    figure.set_size_inches(7.4, 5.4)
    groups = {
        f"{name}: {study.PLATEAUS[name]:g} epochs": (distance, 100 * final)
        for name, (distance, final) in found.groups.items()
    }
    draw_points(
        figure.axes[0],
        groups,
        xlabel="distance from initialisation at the end of the constant phase",
        ylabel="final test error (%)",
    )
    add_legend(figure, columns=2)
    return figure


def growth() -> Figure:
    """Distance against log updates: before anything is matched, with √ rates, with ghosts."""
    results = study.document(study.GROWTH)
    arms = {arm["name"]: arm for arm in results["arms"]}
    n = len(results["arms"][0]["seeds"])
    title = (
        "Distance from initialisation against log updates — F1 on 6,000 images of MNIST, "
        f"{scaled_text(results['fraction_of_protocol'])}\nmean of {n} seeds, bands ± 1 sd"
    )
    figure = new_figure(2, 3, title=title)
    for column, (what, names) in enumerate(study.STAGES.items()):
        for row, tensor in enumerate(("distance", "first_tensor")):
            ax = figure.axes[3 * row + column]
            shown = []
            for label, name in [*names.items(), ("full batch", "full-batch")]:
                updates, curves = study.distances(arms[name], tensor)
                seeds = [
                    {"distances": {"update": list(updates), "distance": list(curve)}}
                    for curve in curves
                ]
                label = f"B = {label:,}" if isinstance(label, int) else label
                shown.append({"name": label, "role": "arm", "seeds": seeds})
            draw_distance(ax, shown)
            if row == 0:
                ax.set_title(what, fontsize=10)
            of = "all weights" if row == 0 else "first tensor"
            ax.set_ylabel(f"distance, {of}")
    tops = [max(ax.get_ylim()[1] for ax in figure.axes[3 * r : 3 * r + 3]) for r in (0, 1)]
    for number, ax in enumerate(figure.axes[:6]):
        ax.set_ylim(0, np.ceil(tops[number // 3]))
    add_legend(figure, columns=4)
    return figure


def main(out: Path) -> list[Path]:
    """Every figure of every recorded experiment, then those over several of them."""
    drawn = draw_study(study.RESULTS, out, "train_longer")
    figures = {"ladder": ladder(), "plateau": plateau()}
    if study.there(study.GROWTH):
        figures["growth"] = growth()
    for name, figure in figures.items():
        drawn += save_png_and_pdf(figure, out, f"train_longer_{name}")
    return drawn


if __name__ == "__main__":
    folder = Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).resolve().parent / "out"
    print(*main(folder), sep="\n")
