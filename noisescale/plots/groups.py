"""Groups of runs: curves with their bands, the difference with its interval and the margin."""

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from noisescale.analysis.run_groups.results import GroupComparison, PairComparison
from noisescale.plots.figure import STYLES, colour, new_figure, plain_ticks

_UNITS = {"epoch": "epochs", "update": "updates", "examples": "examples"}
_GREY = "0.35"


def draw_group_curves(ax: Axes, pair: PairComparison, clock: str) -> Axes:
    """Mean over seeds of the deciding quantity and a band of one standard deviation.

    Args:
        pair: two groups with their curves.
        clock: its name, for the axis.
    """
    curves, main = pair.curves, pair.quantities[0]
    assert curves is not None
    groups = ((pair.reference, curves.reference), (pair.other, curves.other))
    for number, (name, values) in enumerate(groups):
        back = np.exp if main.scale == "log" else np.asarray
        mean, n = values.mean(axis=0), len(values)
        line = {"color": colour(number), "linestyle": STYLES[number]}
        ax.plot(curves.times, back(mean), label=f"{name}, {_runs(n)}", **line)
        if n > 1:
            spread = values.std(axis=0, ddof=1)
            band = back(mean - spread), back(mean + spread)
            ax.fill_between(curves.times, *band, color=colour(number), alpha=0.2, linewidth=0)
    if main.scale == "log":
        ax.set_yscale("log")
        plain_ticks(ax, lambda value, _: f"{value:g}")
    ax.set(xlabel=_UNITS.get(clock, clock), ylabel=_title(main.quantity))
    _parting(ax, pair)
    ax.legend(frameon=False, fontsize=8)
    ax.grid(alpha=0.25)
    return ax


def draw_group_difference(ax: Axes, pair: PairComparison, clock: str, level: float) -> Axes:
    """The difference of the means with its interval, the margin, and the points compared.

    Args:
        pair: two groups with their curves.
        level: one-sided error of each end of the interval.
    """
    curves, main = pair.curves, pair.quantities[0]
    assert curves is not None
    factor = 1.0 if main.scale == "linear" else 100.0

    def shown(values: np.ndarray) -> np.ndarray:
        return values if main.scale == "linear" else factor * np.expm1(values)

    ax.fill_between(
        curves.times,
        shown(curves.low),
        shown(curves.high),
        color=colour(2),
        alpha=0.25,
        linewidth=0,
        label=f"{100 * (1 - 2 * level):g} % interval",
    )
    ax.plot(curves.times, shown(curves.effect), color=colour(2), label="difference of means")
    at = np.isin(curves.times, main.points)
    ax.plot(
        curves.times[at],
        shown(curves.effect[at]),
        "o",
        color=colour(2),
        markersize=3.5,
        label=f"{int(at.sum())} points that decide",
    )
    if main.margin is not None:
        edges = shown(np.array([-main.margin, main.margin]))
        ax.axhspan(*edges, color=_GREY, alpha=0.13, linewidth=0, label="margin")
    ax.axhline(0.0, color=_GREY, linewidth=0.8)
    what = _title(main.quantity) if main.scale == "linear" else f"{_title(main.quantity)}, %"
    ax.set(
        xlabel=_UNITS.get(clock, clock),
        ylabel=f"{pair.other} − {pair.reference}: {what}"
        if main.scale == "linear"
        else f"{pair.other} over {pair.reference}: {what}",
    )
    _parting(ax, pair)
    ax.grid(alpha=0.25)
    return ax


def groups_figure(result: GroupComparison) -> Figure | None:
    """Curves above differences, a column for every group against the first; None without curves."""
    pairs = [pair for pair in result.pairs if pair.curves is not None]
    if not pairs:
        return None
    figure = new_figure(2, len(pairs), title="means, bands ± 1 standard deviation of seeds")
    width, height = figure.get_size_inches()
    figure.set_size_inches(max(width, 6.0), height + 0.3)
    axes = np.array(figure.axes).reshape(2, len(pairs))
    for above, below, pair in zip(axes[0], axes[1], pairs, strict=True):
        draw_group_curves(above, pair, result.clock)
        above.set_title(_heading(pair, result.clock), fontsize=9)
        draw_group_difference(below, pair, result.clock, result.level)
    handles = {
        label: handle
        for ax in axes[1]
        for handle, label in zip(*ax.get_legend_handles_labels(), strict=True)
    }
    figure.legend(
        handles.values(), handles.keys(), loc="outside lower center", ncols=4, frameon=False,
        fontsize=8,
    )  # fmt: skip
    return figure


def _parting(ax: Axes, pair: PairComparison) -> None:
    """A line where the first quantity parts."""
    if pair.parts_at is not None:
        ax.axvline(pair.parts_at[0], color=colour(7), linewidth=1.0, linestyle=STYLES[2])


def _heading(pair: PairComparison, clock: str) -> str:
    """The verdict, and where the line of parting stands."""
    line = f"{pair.reference} and {pair.other}: {pair.verdict}"
    if pair.parts_at is not None:
        time, quantity = pair.parts_at
        line += f"\ndotted: they part at {clock} {time:g} ({_title(quantity)})"
    return line


def _title(quantity: str) -> str:
    return quantity.replace("_", " ")


def _runs(n: int) -> str:
    return f"{n} run" if n == 1 else f"{n} runs"
