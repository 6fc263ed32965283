"""Why the distance grows: drift share, memory and the collapse on every clock."""

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from noisescale.analysis.walk import WalkVerdict
from noisescale.analysis.walk.collapse import CLOCKS, readings
from noisescale.plots.figure import STYLES, colour, new_figure, plain_clock

_LABELS = {
    "t": "t = ε k/(1 − m)",
    "theta t": "θ t,  θ = (ε/(1 − m)) (1/B − 1/N)",
    "theta ln(t/tau)": "θ ln(t/τ)",
    "examples": "examples k B",
}


def draw_drift_share(ax: Axes, verdict: WalkVerdict) -> Axes:
    """q(t), the share of D² that replicas have in common, with its interval, for every arm."""
    for number, curve in enumerate(verdict.drift_share):
        ax.plot(curve.time, curve.value, color=colour(number), label=curve.name)
        ax.fill_between(
            curve.time, curve.low, curve.high, color=colour(number), alpha=0.2, linewidth=0
        )
    for level in (0.0, 1.0):
        ax.axhline(level, color="black", linewidth=0.7, linestyle=":")
    _window(ax, verdict)
    ax.set(xlabel=_LABELS["t"], ylabel="drift share q", xscale="log", ylim=(-0.3, 1.1))
    plain_clock(ax)
    return ax


def draw_memory(ax: Axes, verdict: WalkVerdict) -> Axes:
    """(V(t_n) − V(t))/Δ²(t, t_n) of the replicas' difference: 1 for independent increments."""
    for number, curve in enumerate(verdict.memory):
        ax.plot(curve.time, curve.value, color=colour(number), label=curve.name)
        ax.fill_between(
            curve.time, curve.low, curve.high, color=colour(number), alpha=0.2, linewidth=0
        )
    for level in (0.0, 1.0):
        ax.axhline(level, color="black", linewidth=0.7, linestyle=":")
    ax.set(
        xlabel=f"{_LABELS['t']} of the first time",
        ylabel="(V(t_n) − V(t)) / Δ²(t, t_n)",
        xscale="log",
        ylim=(-0.6, 1.6),
    )
    return ax


def draw_clock(ax: Axes, verdict: WalkVerdict, clock: str) -> Axes:
    """D of every arm against one clock, with the spread of ln D over the arms in the title."""
    score = next((s for s in verdict.collapse if s.clock == clock), None)
    noisy = [arm for arm in verdict.arms if not arm.full_batch]
    for number, arm in enumerate(noisy):
        x = readings(clock, arm, None if score is None else score.tau)
        distance = arm.square.mean(axis=0) ** 0.5
        known = x > 0
        ax.plot(
            x[known], distance[known], color=colour(number), linestyle=STYLES[number % 4],
            label=f"B = {arm.batch_size}",
        )  # fmt: skip
    for arm in verdict.arms:
        if arm.full_batch and clock in ("t", "examples"):
            x = readings(clock, arm, None)
            distance = arm.square.mean(axis=0) ** 0.5
            ax.plot(x, distance, color="0.5", linewidth=1, label=f"full batch, {arm.batch_size}")
    if score is not None and score.range is not None:
        ax.axvspan(*score.range, color="0.93", zorder=0)
    ax.set(xlabel=_LABELS[clock], ylabel="D = ‖w − w₀‖", xscale="log", yscale="log")
    low = min(float(arm.square.mean(axis=0).min()) ** 0.5 for arm in noisy) if noisy else 0.0
    if low > 0:
        ax.set_ylim(bottom=low / 2)
    spread = "no common range"
    if score is not None and score.spread is not None:
        half = (score.spread.interval[1] - score.spread.interval[0]) / 2
        holds = "collapse" if score.holds else "no collapse" if score.excluded else "unclear"
        spread = f"{holds}: spread of ln D {score.spread.value:.2f} ± {half:.2f}"
    ax.set_title(spread, fontsize=9)
    return ax


def walk_figure(verdict: WalkVerdict) -> Figure:
    """Drift share, memory and the four clocks, with the verdict above and the arms below."""
    name = f"{verdict.verdict}  ({verdict.seeds} seeds, {verdict.level:.0%} intervals)"
    figure = new_figure(2, 3, title=name)
    axes = figure.axes
    draw_drift_share(axes[0], verdict)
    draw_memory(axes[3], verdict)
    for ax, clock in zip((axes[1], axes[2], axes[4], axes[5]), CLOCKS, strict=True):
        draw_clock(ax, verdict, clock)
    handles, labels = axes[1].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=5, frameon=False)
    return figure


def _window(ax: Axes, verdict: WalkVerdict) -> None:
    """The times on which the verdict rests."""
    if verdict.evidence is not None:
        ax.axvspan(*verdict.evidence.window, color="0.93", zorder=0)
