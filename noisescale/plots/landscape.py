"""A loss along random directions: its spread against the length, and slopes beside nulls."""

from typing import TYPE_CHECKING, Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

from noisescale.plots.figure import STYLES, colour, new_figure

if TYPE_CHECKING:
    from noisescale.analysis.roughness.landscape import Landscape


def draw_landscape(ax: Axes | None, landscape: "Landscape") -> Axes:
    """Standard deviation and root mean square of L(w + r u) − L(w) against r, rays and bins."""
    if ax is None:
        ax = new_figure(1, 1, title="").axes[0]
    n = landscape.centred.n
    ax.plot(landscape.radii, landscape.std, color=colour(0), label=f"std over {n} rays")
    ax.plot(
        landscape.radii, landscape.rms, color=colour(1), linestyle=STYLES[1],
        label=f"root mean square over {n} rays",
    )  # fmt: skip
    bins = landscape.bins
    if bins is not None:
        points = int(bins.count.sum())
        for number, (name, y, error) in enumerate(
            [("std", bins.std, bins.std_stderr), ("root mean square", bins.rms, bins.rms_stderr)]
        ):
            ax.errorbar(
                bins.length, y, error, fmt="o", markersize=4, color=colour(number),
                label=f"{name} of {points} random points, binned",
            )  # fmt: skip
    # Slopes 1 (smooth) and ½ (α = 1), below the data.
    low, r = 0.5 * landscape.std[0], landscape.radii
    for slope, name, style in ((1.0, "r", STYLES[2]), (0.5, "√r", STYLES[3])):
        line = low * (r / r[0]) ** slope
        ax.plot(
            landscape.radii, line, color="0.5", linewidth=0.9, linestyle=style, label=f"∝ {name}"
        )
    ax.set(
        xscale="log", yscale="log", xlabel="length r of the random displacement",
        ylabel="spread of L(w + r u) − L(w) (nats)",
    )  # fmt: skip
    ax.grid(alpha=0.25)
    return ax


def draw_slopes(ax: Axes, landscape: "Landscape") -> Axes:
    """The local slope d ln std/d ln r with its interval, over the bands of the nulls."""
    r = landscape.local_radii
    low, high = landscape.local_interval.T
    for number, null in enumerate(landscape.nulls, start=2):
        bottom, middle, top = null.local_slope
        ax.fill_between(r, bottom, top, color=colour(number), alpha=0.18, linewidth=0)
        ax.plot(r, middle, color=colour(number), linewidth=1.0, label=f"null: {null.name}")
    ax.plot(
        r,
        landscape.local_slope,
        color=colour(0),
        label=f"measured, {100 * landscape.centred.level:g} % interval",
    )
    ax.fill_between(r, low, high, color=colour(0), alpha=0.25, linewidth=0)
    ax.axhline(1.0, color="black", linewidth=0.8, linestyle=":")
    ax.set(
        xscale="log", ylim=(-0.5, 2.5), xlabel="length r of the random displacement",
        ylabel="local slope d ln std / d ln r  (= α/2)",
    )  # fmt: skip
    ax.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    ax.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    ax.xaxis.set_minor_formatter(NullFormatter())
    ax.grid(alpha=0.25)
    return ax


def landscape_figure(landscape: "Landscape", title: str) -> Figure:
    """Spreads and slopes side by side."""
    figure = new_figure(1, 2, title=title)
    figure.set_size_inches(11.0, 5.0)
    axes: Any = figure.axes
    draw_landscape(axes[0], landscape)
    draw_slopes(axes[1], landscape)
    for ax in axes:
        ax.legend(
            loc="upper center", bbox_to_anchor=(0.5, -0.14), ncols=2, frameon=False, fontsize=8
        )
    return figure
