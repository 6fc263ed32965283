"""Figures: each function draws on the axes it is given; pyplot is never imported."""

from collections.abc import Callable, Mapping, Sequence
from io import BytesIO
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter
from numpy.typing import NDArray

from noisescale.analysis.plan import Plan
from noisescale.errors import InputError

# Okabe & Ito's colours, told apart by colour-blind readers too.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000", "#8A8A00")
_STYLES: tuple[Any, ...] = ("-", (0, (5, 2)), (0, (1, 1.5)), (0, (6, 2, 1, 2)))
_LABELS = {
    "train_loss": "training loss (nats)",
    "train_error": "training error",
    "evaluation_loss": "{split} loss (nats)",
    "evaluation_error": "{split} error",
    "epoch": "epochs",
    "update": "updates",
}


def new_figure(rows: int, columns: int, *, title: str) -> Figure:
    """An empty figure of panels with one legend below them."""
    size = (4.4 * columns, 3.4 * rows + 0.8)
    figure = Figure(figsize=size, layout="constrained")
    figure.subplots(rows, columns)
    figure.suptitle(title, fontsize=11)
    return figure


def add_legend(figure: Figure, columns: int = 3) -> None:
    """One legend for all panels, from the first one."""
    handles, labels = figure.axes[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=columns, frameon=False)


def check_ending(path: Path) -> str:
    """The format that a file's ending names; InputError if it is none that can be drawn."""
    kind = path.suffix.lstrip(".").lower()
    if kind not in ("png", "pdf", "svg"):
        raise InputError(f"cannot draw {str(path)!r}: end the name in .png, .pdf or .svg")
    return kind


def save(figure: Figure, path: Path) -> None:
    """Write PNG, PDF or SVG by the file's ending; the file appears whole or not at all."""
    from noisescale.record import write_bytes

    kind = check_ending(path)
    if not path.parent.is_dir():
        raise InputError(f"no folder {str(path.parent)!r} for the figure: make it first")
    buffer = BytesIO()
    # Dates and hashes would make equal figures differ.
    metadata: dict[str, Any] = {"png": {"Software": None}, "pdf": {"CreationDate": None}}.get(
        kind, {"Date": None}
    )
    with matplotlib.rc_context({"svg.hashsalt": "noisescale"}):
        figure.savefig(buffer, format=kind, dpi=150, metadata=metadata)
    try:
        write_bytes(path, buffer.getvalue())
    except OSError as error:
        raise InputError(f"cannot write {str(path)!r}: {error.strerror}") from None


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
                color=_colour(number),
                linewidth=width,
                label=name + longer,
                solid_joinstyle="bevel",
                solid_capstyle="butt",
            )
        ax.set(xlabel="epochs", ylabel=label, yscale="linear" if panel == 3 else "log")
        ax.set_xlim(-0.02 * shown, 1.02 * shown)
        if panel < 3:
            _plain_ticks(
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


def draw_curves(
    ax: Axes, arms: Sequence[Mapping[str, Any]], metric: str, clock: str, split: str = "test"
) -> Axes:
    """A metric against epochs or updates: mean over seeds and a band of one standard deviation.

    Args:
        arms: the "arms" of results.json.
        metric: "train_loss", "train_error", "evaluation_loss" or "evaluation_error".
        clock: "epoch" or "update".
        split: what the evaluation split is called.
    """
    for number, arm in enumerate(arms):
        seeds = arm["seeds"]
        x = np.array(seeds[0]["curves"][clock], dtype=float)
        values = _stack([s["curves"][metric] for s in seeds])
        x = x[: values.shape[1]]
        _band(ax, x[1:], values[:, 1:], number, arm)
    ax.set(xlabel=_LABELS[clock], ylabel=_LABELS[metric].format(split=split), yscale="log")
    if metric.endswith("error"):
        _plain_ticks(ax, lambda value, _: f"{100 * value:g} %")
    if clock == "update":
        ax.set_xscale("log")
    ax.grid(alpha=0.25)
    return ax


def draw_distance(ax: Axes, arms: Sequence[Mapping[str, Any]]) -> Axes:
    """‖w − w_0‖ against the logarithm of the number of updates, a band over seeds."""
    for number, arm in enumerate(arms):
        seeds = arm["seeds"]
        x = np.array(seeds[0]["distances"]["update"], dtype=float)
        values = _stack([s["distances"]["distance"] for s in seeds])
        _band(ax, x[: values.shape[1]], values, number, arm)
    ax.set(xlabel="updates", ylabel="distance from initialisation ‖w − w₀‖", xscale="log")
    ax.grid(alpha=0.25)
    return ax


def _plain_ticks(ax: Axes, text: Callable[[float, int | None], str]) -> None:
    """1, 2, 5, 10 … in plain numbers on a logarithmic axis of few decades; 1, 10, … on others."""
    low, high = ax.get_ylim()
    ax.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5) if high < 300 * low else (1,)))
    ax.yaxis.set_major_formatter(FuncFormatter(text))
    ax.yaxis.set_minor_formatter(NullFormatter())


def _stack(columns: Sequence[Sequence[float | None]]) -> np.ndarray:
    """(seeds, points), cut to the shortest: a diverged run ends early."""
    points = min(len(c) for c in columns)
    return np.array([[np.nan if v is None else v for v in c[:points]] for c in columns])


def _band(ax: Axes, x: np.ndarray, values: np.ndarray, number: int, arm: Mapping[str, Any]) -> None:
    mean = values.mean(axis=0)
    control = arm["role"] != "arm"
    ax.plot(
        x,
        mean,
        color=_colour(number),
        linestyle=_STYLES[number % len(_STYLES)] if number else "-",
        linewidth=1.0 if control else (3.2 if number == 0 else 1.7),
        alpha=0.8 if control else 1.0,
        label=_label(arm),
    )
    if len(values) > 1:
        spread = values.std(axis=0, ddof=1)
        low = np.maximum(mean - spread, values.min(axis=0))
        ax.fill_between(x, low, mean + spread, color=_colour(number), alpha=0.12, linewidth=0)


def _label(arm: Mapping[str, Any]) -> str:
    return str(arm["name"]) if arm["role"] == "arm" else f"{arm['name']} ({arm['role']})"


def _colour(number: int) -> str:
    return COLOURS[number % len(COLOURS)]


def verify_figures(results: Mapping[str, Any], plans: Mapping[str, Plan]) -> dict[str, Figure]:
    """The figures of a report, by file name without ending."""
    arms = results["arms"]
    n = max(len(arm["seeds"]) for arm in arms)
    split = results["data"]["evaluation_split"]
    scaled = f"{results['title']} — {results['data']['name']}"
    if results["fraction_of_protocol"] is not None:
        percent = f"{100 * results['fraction_of_protocol']:.2g} %"
        scaled += f", scaled: {percent} of the protocol"
    caption = f"{scaled}\nmean of {n} seeds, bands ± 1 standard deviation"
    curves = new_figure(2, 2, title=caption)
    panels = [
        ("evaluation_error", "epoch"),
        ("evaluation_error", "update"),
        ("train_loss", "epoch"),
        ("train_loss", "update"),
    ]
    for ax, (metric, clock) in zip(curves.axes, panels, strict=True):
        draw_curves(ax, arms, metric, clock, split)
    add_legend(curves)
    schedules = new_figure(1, 3, title=scaled)
    # The A/A control has the baseline's schedule.
    again = {arm["name"] for arm in arms if arm["role"] == "A/A control"}
    label = {
        a["name"]: a["name"] if a["role"] == "arm" else f"{a['name']} ({a['role']})" for a in arms
    }
    draw_schedules(schedules.axes, {label[k]: v for k, v in plans.items() if k not in again})
    distance = new_figure(1, 1, title=caption.replace(" — ", "\n"))
    distance.set_size_inches(7.0, 5.2)
    draw_distance(distance.axes[0], arms)
    add_legend(distance, columns=2)
    return {"curves": curves, "schedules": schedules, "distance": distance}


def run_figure(rows: Sequence[Mapping[str, Any]], title: str) -> Figure:
    """Loss and error against epochs, distance and update norm against updates; a line per seed.

    Args:
        rows: of noisescale.train, with their "seed".
    """
    seeds = sorted({row["seed"] for row in rows})
    what = f"{len(seeds)} seeds, a line each" if len(seeds) > 1 else f"seed {seeds[0]}"
    figure = new_figure(2, 2, title=f"{title}: {what}")
    panels: list[tuple[str, str, dict[str, str]]] = [
        ("epoch", "loss (nats)", {"train_loss": "training", "evaluation_loss": "evaluation"}),
        ("epoch", "error (%)", {"train_error": "training", "evaluation_error": "evaluation"}),
        ("update", "distance ‖w − w₀‖", {"distance": "distance"}),
        ("update", "norm of one update ‖Δw‖", {"update_norm": "update norm"}),
    ]
    for ax, (clock, label, columns) in zip(figure.axes, panels, strict=True):
        for number, (column, name) in enumerate(columns.items()):
            for seed in seeds:
                some = [r for r in rows if r["seed"] == seed and r.get(column) is not None]
                if clock == "update":
                    some = [r for r in some if r["update"]]
                factor = 100.0 if column.endswith("error") else 1.0
                ax.plot(
                    [r[clock] for r in some],
                    # No error at all has no place on a logarithmic axis.
                    [factor * r[column] or np.nan for r in some],
                    color=_colour(number),
                    linestyle=_STYLES[number],
                    linewidth=1.2,
                    alpha=1.0 if len(seeds) == 1 else 0.6,
                    label=name if seed == seeds[0] else None,
                )
        ax.set_xlabel(_LABELS[clock])
        ax.set_ylabel(label)
        if clock == "update":
            ax.set_xscale("log")
        if column != "distance":
            ax.set_yscale("log")
        if len(columns) > 1:
            ax.legend(frameon=False, fontsize=8)
    return figure
