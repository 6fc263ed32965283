"""Walkers in random potentials: where they are, how far they came, on which law they collapse."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter
from numpy.typing import ArrayLike

from noisescale.plots.figure import STYLES, add_legend, colour, new_figure


def draw_potential(
    ax: Axes, potential: ArrayLike, walkers: Mapping[str, ArrayLike], start: int
) -> Axes:
    """A potential with walkers on it, a colour per time, against the distance from their start.

    Args:
        potential: (n,) V.
        walkers: sites of walkers by the label of their time.
        start: the site where they started.
    """
    V = np.asarray(potential, np.float64)
    ax.plot(np.arange(V.size) - start, V, color="0.75", linewidth=0.8, zorder=1)
    for number, (label, sites) in enumerate(walkers.items()):
        where = np.asarray(sites)
        ax.scatter(
            where - start, V[where], s=14, color=colour(number), label=label, zorder=3, alpha=0.7
        )
    ax.axvline(0, color="black", linewidth=0.8, linestyle=":", zorder=0)
    ax.set(xlabel="x − x₀ (lattice sites)", ylabel="potential V (units of energy)")
    return ax


def draw_walk_distances(
    ax: Axes,
    log_t: Sequence[float],
    curves: ArrayLike,
    in_window: Sequence[bool],
    references: Mapping[str, ArrayLike],
) -> Axes:
    """Distances against ln t, both logarithmic, where a power of ln t is straight.

    Args:
        log_t: (K,) ln t > 0.
        curves: (E, K) distances, an environment each.
        in_window: (K,) whether the box leaves a time alone; others are drawn hollow.
        references: (K,) predicted or control curves by label.
    """
    x, all_curves, inside = np.asarray(log_t), np.asarray(curves), np.asarray(in_window, bool)
    some = all_curves[:: max(1, len(all_curves) // 24)]
    ax.plot(x, np.where(some > 0, some, np.nan).T, color="0.8", linewidth=0.6, zorder=1)
    mean = all_curves.mean(axis=0)
    known = mean > 0
    ax.plot(x[known], mean[known], color=colour(0), linewidth=1.4, zorder=3)
    name = f"mean of {len(all_curves)} environments (grey: some of them)"
    ax.scatter(x[inside], mean[inside], s=20, color=colour(0), zorder=4, label=name)
    if not inside.all():
        ax.scatter(
            x[~inside],
            mean[~inside],
            s=20,
            facecolor="white",
            edgecolor=colour(0),
            zorder=4,
            label="more than 1 % at a wall",
        )
    low, high = mean[known].min() / 3, mean[known].max() * 5
    seen = {k: v for k, v in references.items() if np.any((np.asarray(v) < high) & (v > low))}
    for number, (label, values) in enumerate(seen.items(), start=1):
        ax.plot(x, values, color=colour(number), linestyle=STYLES[number % 4], label=label)
    ax.set(xlabel="ln t", ylabel="median |x − x₀| (lattice sites)", xscale="log", yscale="log")
    ax.set_ylim(low, high)
    ax.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    ax.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    ax.xaxis.set_minor_formatter(NullFormatter())
    ax.grid(alpha=0.25)
    return ax


def draw_collapse(
    ax: Axes, curves: Mapping[str, tuple[ArrayLike, ArrayLike]], law: tuple[ArrayLike, ArrayLike]
) -> Axes:
    """P(|y| ≥ u) of scaled displacements y at several times over the limit law.

    Args:
        curves: (u, probability) by the label of the time.
        law: (u, probability) of Kesten and Golosov.
    """
    ax.plot(*law, color="black", linewidth=2.5, alpha=0.5, label="Kesten–Golosov law")
    for number, (label, (u, probability)) in enumerate(curves.items()):
        ax.plot(u, probability, "o-", markersize=3, color=colour(number), label=label, linewidth=1)
    ax.set(xlabel="u", ylabel="P(σ² |x| / (T ln t − T δ)² ≥ u)", yscale="log", xlim=(0, 4.5))
    ax.set_ylim(2e-3, 1.2)
    ax.grid(alpha=0.25)
    return ax


def draw_study(ax: Axes, summaries: Mapping[str, Mapping[str, Any]], slopes: bool = True) -> Axes:
    """Median distances of several simulations against ln t, both logarithmic.

    Args:
        summaries: documents of `noisescale simulate --json` by label.
        slopes: draw each predicted power of ln t through the last point in the window.
    """
    for number, (label, document) in enumerate(summaries.items()):
        times = [row for row in document["times"] if row["log_time"] > 0 and row["distance"]]
        x = np.array([row["log_time"] for row in times])
        y = np.array([row["distance"] for row in times])
        error = np.array([row["distance_stderr"] or 0.0 for row in times])
        inside = np.array([row["in_window"] for row in times])
        ax.errorbar(
            x[inside], y[inside], error[inside], fmt="o", markersize=3.5, color=colour(number),
            label=label, linewidth=1,
        )  # fmt: skip
        ax.scatter(x[~inside], y[~inside], s=14, facecolor="white", edgecolor=colour(number))
        exponent = document["law"]["predicted_exponent"]
        if slopes and exponent is not None and inside.any():
            last = np.flatnonzero(inside)[-1]
            ax.plot(x, y[last] * (x / x[last]) ** exponent, color=colour(number), linewidth=0.9)
    ax.set(xlabel="ln t", ylabel="median |x − x₀| (lattice sites)", xscale="log", yscale="log")
    ax.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    ax.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    ax.xaxis.set_minor_formatter(NullFormatter())
    ax.grid(alpha=0.25)
    return ax


def simulate_figures(drawing: Mapping[str, Any]) -> dict[str, Figure]:
    """The figures of `noisescale simulate`, by file name without ending.

    Args:
        drawing: title; potential, walkers, start; log_t, curves, in_window, references; and,
            where the law is known, collapse and law: arguments of the functions above.
    """
    figures = {}
    potential = new_figure(1, 1, title=drawing["title"])
    potential.set_size_inches(8.0, 4.4)
    draw_potential(
        potential.axes[0], drawing["potential"], drawing["walkers"], start=drawing["start"]
    )
    add_legend(potential, columns=4)
    figures["potential"] = potential
    distance = new_figure(1, 1, title=drawing["title"])
    distance.set_size_inches(8.0, 6.0)
    names = ("log_t", "curves", "in_window", "references")
    draw_walk_distances(distance.axes[0], *(drawing[name] for name in names))
    add_legend(distance, columns=2)
    figures["distance"] = distance
    if drawing.get("law") is not None:
        collapse = new_figure(1, 1, title=drawing["title"])
        collapse.set_size_inches(6.4, 5.0)
        draw_collapse(collapse.axes[0], drawing["collapse"], drawing["law"])
        add_legend(collapse, columns=3)
        figures["collapse"] = collapse
    return figures
