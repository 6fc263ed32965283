"""Sweeps: final values against the batch size, a learning rate or a distance."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from numpy.typing import ArrayLike

from noisescale.plots.figure import COLOURS, STYLES, colour


def draw_errors(
    ax: Axes,
    conditions: Mapping[str, tuple[ArrayLike, ArrayLike]],
    *,
    xlabel: str,
    ylabel: str,
    ticks: Sequence[float] | None = None,
) -> Axes:
    """Errors against a quantity on a logarithmic axis, a line a condition, bars of ± 1 sd.

    Args:
        conditions: x (K,) and errors (seeds, K), by name.
        ticks: where x is labelled; by default at the first condition's x.
    """
    for number, (name, (x, errors)) in enumerate(conditions.items()):
        table = 100 * np.atleast_2d(np.asarray(errors, float))
        several = len(table) > 1
        # Side by side, so that bars at one batch size do not hide each other.
        shift = 1 + 0.02 * (number - (len(conditions) - 1) / 2)
        ax.errorbar(
            np.asarray(x, float) * shift,
            table.mean(axis=0),
            yerr=table.std(axis=0, ddof=1) if several else None,
            label=name,
            color=colour(number),
            linestyle=STYLES[(number + number // len(COLOURS)) % len(STYLES)],
            marker="o",
            markersize=3.5,
            capsize=2,
            linewidth=1.6,
        )
    ax.set(xscale="log", xlabel=xlabel, ylabel=ylabel)
    places = np.asarray(ticks if ticks is not None else next(iter(conditions.values()))[0], float)
    ax.set_xticks(places, [f"{p:,g}" for p in places])
    ax.minorticks_off()
    ax.grid(alpha=0.25)
    return ax


def draw_ladder(
    ax: Axes, steps: Sequence[str], columns: Mapping[str, Sequence[ArrayLike | None]]
) -> Axes:
    """Final errors along the steps of a table: a marker a study, bars of ± 1 standard deviation.

    Args:
        steps: what is done, in order.
        columns: for each study an error (a number, or one per seed) for each step, None where it
            was not run; errors are divided by the study's own first step.
    """
    places = np.arange(len(steps), dtype=float)
    for number, (name, entries) in enumerate(columns.items()):
        first = np.mean(np.asarray(entries[0], float))
        shown = [
            None if e is None else np.atleast_1d(np.asarray(e, float)) / first for e in entries
        ]
        there = [k for k, e in enumerate(shown) if e is not None]
        values = [e for e in shown if e is not None]
        ax.errorbar(
            places[there] + 0.04 * (number - (len(columns) - 1) / 2),
            [v.mean() for v in values],
            yerr=[v.std(ddof=1) if len(v) > 1 else 0.0 for v in values],
            label=name,
            color=colour(number),
            linestyle=STYLES[number % len(STYLES)],
            marker="o",
            markersize=4,
            capsize=2,
        )
    ax.axhline(1.0, color="0.5", linewidth=0.8)
    ax.set_xticks(places, steps)
    ax.set(ylabel="final error over the small batch's", xlim=(-0.4, len(steps) - 0.6))
    ax.grid(alpha=0.25)
    return ax


def draw_points(
    ax: Axes, groups: Mapping[str, tuple[ArrayLike, ArrayLike]], *, xlabel: str, ylabel: str
) -> Axes:
    """A point per run, coloured by group, with the mean of each group as a larger one."""
    for number, (name, (x, y)) in enumerate(groups.items()):
        places, values = np.asarray(x, float), np.asarray(y, float)
        shade = colour(number)
        ax.scatter(places, values, s=9, color=shade, alpha=0.45, linewidths=0)
        marker: dict[str, Any] = {"s": 60, "edgecolors": "black", "linewidths": 0.8}
        ax.scatter(places.mean(), values.mean(), color=shade, label=name, **marker)
    ax.set(xlabel=xlabel, ylabel=ylabel)
    ax.grid(alpha=0.25)
    return ax
