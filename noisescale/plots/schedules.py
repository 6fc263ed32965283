"""Schedules against epochs."""

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import FuncFormatter
from numpy.typing import NDArray

from noisescale.analysis.plan import Plan
from noisescale.plots.figure import add_legend, colour, plain_ticks


def draw_schedules(axes: Sequence[Axes], plans: Mapping[str, Plan]) -> Sequence[Axes]:
    """Learning rate, batch size, noise scale and updates against epochs, a line per plan.

    Args:
        axes: four panels, or three (no updates).
        plans: plans with a train size, by name. One that lasts much longer than the first is cut
            off at its end, and its label says how long it goes on.
    """
    labels = ("learning rate ε", "batch size B", "noise scale g = εN/(B(1−m))", "updates so far")
    lasts = {name: _last_epoch(plan) for name, plan in plans.items()}
    first = next(iter(lasts.values()))
    shown = max(last for last in lasts.values() if last <= 1.5 * first)
    for panel, (ax, label) in enumerate(zip(axes, labels, strict=False)):
        for number, (name, plan) in enumerate(plans.items()):
            epochs, values = _course(plan, panel)
            # Lines that coincide show as nested widths.
            width = 1.2 + min(1.3, 5.0 / len(plans)) * (len(plans) - 1 - number)
            longer = f" (to epoch {lasts[name]:g})" if lasts[name] > shown else ""
            ax.plot(
                epochs,
                values,
                color=colour(number),
                linewidth=width,
                label=name + longer,
                solid_joinstyle="bevel",
                solid_capstyle="butt",
            )
        ax.set(xlabel="epochs", ylabel=label, yscale="linear" if panel == 3 else "log")
        ax.set_xlim(-0.02 * shown, 1.02 * shown)
        if panel < 3:
            plain_ticks(
                ax, lambda value, _: f"{value:,.0f}" if 1000 <= value < 1e7 else f"{value:g}"
            )
        else:
            ax.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.0f}"))
        ax.grid(alpha=0.25)
    add_legend(axes[0].figure)  # type: ignore[arg-type]
    return axes


def _last_epoch(plan: Plan) -> float:
    return float(plan.rows[-1].end_examples / (plan.train_size or 1))


def _course(plan: Plan, panel: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """(epochs, values) of one panel of draw_schedules; zeros have no place on a log axis."""
    size = float(plan.train_size or 1)
    epochs: list[float] = []
    values: list[float] = []
    for row in plan.rows:
        per_rate = size / (row.batch_size * (1.0 - row.momentum))
        start = float(row.start_examples)
        for piece in row.rate:
            points = 2 if piece.form == "constant" else 65
            times = np.linspace(float(piece.begin), float(piece.end), points)
            rates = piece.at(times)
            done = row.start_update + times / float(row.end_examples - row.start_examples) * (
                row.updates
            )
            # A rate that ends at 0 would stretch the axis over decades that no update sees.
            rates = np.where(rates > 1e-4 * max(piece.first, piece.last), rates, np.nan)
            which = (rates, np.full(points, float(row.batch_size)), rates * per_rate, done)
            epochs += ((start + times) / size).tolist()
            values += np.asarray(which[panel], dtype=np.float64).tolist()
    return np.array(epochs), np.array(values)
