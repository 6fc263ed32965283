"""Training runs: losses, errors, distances; the figures of a run and of an experiment."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from noisescale.analysis.html import scaled_text
from noisescale.analysis.plan import Plan
from noisescale.plots.figure import COLOURS, STYLES, add_legend, colour, new_figure, plain_ticks
from noisescale.plots.schedules import draw_schedules

_LABELS = {
    "train_loss": "training loss (nats)",
    "train_error": "training error",
    "evaluation_loss": "{split} loss (nats)",
    "evaluation_error": "{split} error",
    "epoch": "epochs",
    "update": "updates",
}


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
        x = _shared([s["curves"][clock] for s in seeds])
        values = _stack([s["curves"][metric] for s in seeds])
        points = min(len(x), values.shape[1])
        _band(ax, x[1:points], values[:, 1:points], number, arm)
    ax.set(xlabel=_LABELS[clock], ylabel=_LABELS[metric].format(split=split), yscale="log")
    if metric.endswith("error"):
        plain_ticks(ax, lambda value, _: f"{100 * value:g} %")
    if clock == "update":
        ax.set_xscale("log")
    ax.grid(alpha=0.25)
    return ax


def draw_distance(ax: Axes, arms: Sequence[Mapping[str, Any]]) -> Axes:
    """‖w − w_0‖ against the logarithm of the number of updates, a band over seeds."""
    for number, arm in enumerate(arms):
        seeds = arm["seeds"]
        x = _shared([s["distances"]["update"] for s in seeds])
        values = _stack([s["distances"]["distance"] for s in seeds])
        points = min(len(x), values.shape[1])
        _band(ax, x[:points], values[:, :points], number, arm)
    ax.set(xlabel="updates", ylabel="distance from initialisation ‖w − w₀‖", xscale="log")
    ax.grid(alpha=0.25)
    return ax


def _shared(clocks: Sequence[Sequence[float]]) -> np.ndarray:
    """The times that all seeds have: one may diverge, or end a phase at a distance."""
    points = min(len(c) for c in clocks)
    table = np.array([c[:points] for c in clocks], dtype=float)
    same = (table == table[0]).all(axis=0)
    return table[0, : points if same.all() else int(np.argmin(same))]


def _stack(columns: Sequence[Sequence[float | None]]) -> np.ndarray:
    """(seeds, points), cut to the shortest."""
    points = min(len(c) for c in columns)
    return np.array([[np.nan if v is None else v for v in c[:points]] for c in columns])


def _band(ax: Axes, x: np.ndarray, values: np.ndarray, number: int, arm: Mapping[str, Any]) -> None:
    mean = values.mean(axis=0)
    control = arm["role"] != "arm"
    ax.plot(
        x,
        mean,
        color=colour(number),
        linestyle=_style(number),
        linewidth=1.0 if control else (3.2 if number == 0 else 1.7),
        alpha=0.8 if control else 1.0,
        label=_label(arm),
    )
    if len(values) > 1:
        spread = values.std(axis=0, ddof=1)
        low = np.maximum(mean - spread, values.min(axis=0))
        ax.fill_between(x, low, mean + spread, color=colour(number), alpha=0.12, linewidth=0)


def _style(number: int) -> Any:
    """Another one where a colour comes back."""
    return STYLES[(number + number // len(COLOURS)) % len(STYLES)]


def _label(arm: Mapping[str, Any]) -> str:
    return str(arm["name"]) if arm["role"] == "arm" else f"{arm['name']} ({arm['role']})"


def verify_figures(results: Mapping[str, Any], plans: Mapping[str, Plan]) -> dict[str, Figure]:
    """The figures of a report, by file name without ending."""
    arms = results["arms"]
    n = max(len(arm["seeds"]) for arm in arms)
    split = results["data"]["evaluation_split"]
    scaled = f"{results['title']} — {results['data']['name']}"
    if results["fraction_of_protocol"] is not None:
        scaled += f", {scaled_text(results['fraction_of_protocol'])}"
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
                    color=colour(number),
                    linestyle=STYLES[number],
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
