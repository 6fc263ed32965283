"""Draw the study of experiments/is_it_a_walk from its recorded results.

python paper_figs/is_it_a_walk.py [FOLDER]   # PNG and PDF, by default out/ beside this file
"""

import re
import sys
from pathlib import Path

from matplotlib.figure import Figure

from noisescale.plots import new_figure, save_png_and_pdf
from noisescale.plots.landscape import draw_landscape, draw_slopes
from noisescale.plots.walk_verdict import draw_clock, draw_drift_share

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "experiments" / "is_it_a_walk"))

import study  # noqa: E402
import tables  # noqa: E402


def walks() -> Figure:
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
    return figure


def rays() -> Figure:
    """Losses along random rays and at random points, and their slopes over those of the nulls.

    Tasks on digits share their initial weights and so their landscape; one stands for them.
    """
    names = [task for task in tables.tasks() if not task.startswith("digits-")]
    title = "Loss along random rays from the initial weights: its spread, and the slope of nulls"
    figure = new_figure(2, len(names), title=title)
    figure.set_size_inches(4.6 * len(names), 8.4)
    for column, task in enumerate(names):
        seed, landscape = next(iter(study.landscapes(task).items()))
        top, bottom = figure.axes[column], figure.axes[len(names) + column]
        draw_landscape(top, landscape)
        draw_slopes(bottom, landscape)
        bins = landscape.bins
        points = 0 if bins is None else int(bins.count.sum())
        title = f"{task}, {seed}: {landscape.verdict}\n{landscape.centred.n} rays, {points} points"
        top.set_title(title, fontsize=10)
        if column:
            top.set_ylabel("")
            bottom.set_ylabel("")
    handles = [ax.get_legend_handles_labels() for ax in (figure.axes[0], figure.axes[len(names)])]
    (one, first), (two, second) = handles
    # Their numbers differ from task to task and stand in the titles.
    names = [re.sub(r"\b\d+ (?=rays|random)", "", label) for label in [*first, *second]]
    figure.legend([*one, *two], names, loc="outside lower center", ncols=3, frameon=False)
    return figure


def main(out: Path) -> list[Path]:
    """Both figures."""
    return [
        *save_png_and_pdf(walks(), out, "is_it_a_walk"),
        *save_png_and_pdf(rays(), out, "is_it_a_walk_rays"),
    ]


if __name__ == "__main__":
    folder = Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).resolve().parent / "out"
    print(*main(folder), sep="\n")
