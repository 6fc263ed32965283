"""Gradient noise: the pair (tr Σ, |G|²) and its ratio, along runs, and what follows from it."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import NullLocator
from numpy.typing import NDArray

from noisescale.analysis.gradient_noise import (
    AdaScaleGain,
    CriticalBatchSize,
    GradientNoiseScale,
    LinearRuleLimit,
    NoiseScaleOverTime,
    StepsAndExamples,
)
from noisescale.analysis.resampling import quantile_of
from noisescale.plots.figure import colour, new_figure


def draw_gradient_noise(ax: Axes | None, found: GradientNoiseScale) -> Axes:
    """tr Σ against |G|²: the means with their ellipse, and the wedge of ratios B_simple.

    The ellipse is that of Fieller's quantile: the wedge's sides touch it.
    """
    ax = _axes(ax)
    x, y = found.grad_sq_norm, found.trace_cov
    label = f"mean of {found.n} measurements"
    ax.plot([x], [y], "o", color=colour(0), zorder=4, label=label)
    reach = 1.25 * abs(x)
    if found.interval is not None and found.correlation is not None:
        assert found.grad_sq_norm_stderr is not None and found.trace_cov_stderr is not None
        t = quantile_of(found.level, found.blocks - 1)
        angle = np.linspace(0, 2 * np.pi, 200)
        # cos(φ) and cos(φ − δ) have correlation cos δ.
        turned = angle - np.arccos(np.clip(found.correlation, -1, 1))
        sides = (t * found.grad_sq_norm_stderr, t * found.trace_cov_stderr)
        ax.plot(
            x + sides[0] * np.cos(angle), y + sides[1] * np.cos(turned), color=colour(0),
            linewidth=1, label=f"{found.level:.0%} ellipse",
        )  # fmt: skip
        reach = max(reach, 1.15 * (abs(x) + sides[0]))
        top = 1.15 * (y + sides[1])
        rays = np.array([0.0, reach])
        low, high = found.interval
        upper = np.where(rays > 0, top, 0.0) if np.isinf(high) else high * rays
        if np.isfinite(low):
            upper = np.full_like(rays, top) if np.isinf(high) else upper
            ax.fill_between(
                rays, low * rays, upper, color=colour(1), alpha=0.15, linewidth=0,
                label=f"B_simple in {_interval(found.interval)}",
            )  # fmt: skip
        ax.set_ylim(min(0.0, y - 1.15 * sides[1]), top)
        ax.set_xlim(min(0.0, x - 1.15 * sides[0]), reach)
    if x > 0:
        label = f"B_simple = {found.value:.3g}, {found.verdict}"
        ax.plot([0, reach], [0, found.value * reach], color=colour(1), linewidth=1.2, label=label)
    ax.axvline(0, color="0.7", linewidth=0.8, zorder=0)
    ax.axhline(0, color="0.7", linewidth=0.8, zorder=0)
    ax.set(xlabel="|G|² (loss² per weight²)", ylabel="tr Σ (of one example, same unit)")
    ax.legend(frameon=False, fontsize=8, loc="best")
    return ax


def draw_noise_scale_over_time(ax: Axes | None, found: NoiseScaleOverTime) -> Axes:
    """B_simple of each window with its interval, both logarithmic; arrows: no upper end."""
    ax = _axes(ax)
    shown = [w for w in found.windows if w.value > 0 and w.interval is not None]
    for kind, marker in (("measured", "o"), ("undecided", "s")):
        some = [w for w in shown if w.verdict == kind]
        if not some:
            continue
        at = np.array([np.sqrt((w.window[0] + 1) * (w.window[1] + 1)) for w in some if w.window])
        values = np.array([w.value for w in some])
        limits = np.array([w.interval for w in some])
        low = np.maximum(limits[:, 0], values / 1e3)
        high = np.where(np.isfinite(limits[:, 1]), limits[:, 1], values * 10)
        ax.errorbar(
            at, values, [np.maximum(values - low, 0), np.maximum(high - values, 0)], fmt=marker,
            color=colour(0), markerfacecolor=colour(0) if kind == "measured" else "white",
            markersize=5, linewidth=1.2, capsize=2.5,
            label=f"{kind}, with {some[0].level:.0%} interval",
        )  # fmt: skip
        open_ended = np.isinf(limits[:, 1])
        ax.plot(at[open_ended], high[open_ended], "^", color=colour(0), markersize=6)
    ends = [
        (np.sqrt((w.window[0] + 1) * (w.window[1] + 1)), w.interval[0])
        for w in found.windows
        if w.value <= 0 and w.window and w.interval is not None and 0 < w.interval[0] < np.inf
    ]
    if ends:
        label = "|G|² not above 0: lower end alone"
        ax.plot(*np.transpose(ends), "^", color=colour(1), markersize=6, label=label)
    count = sum(w.n for w in found.windows)
    title = f"{found.runs} run{'s' * (found.runs > 1)}, {count} measurements"
    ax.set_title(title, fontsize=9)
    ax.margins(y=0.3)
    ax.set(xlabel="update + 1", ylabel="B_simple (examples)", xscale="log", yscale="log")
    ax.grid(alpha=0.25)
    if shown or ends:
        ax.legend(frameon=False, fontsize=8, loc="best")
    return ax


def draw_critical_batch_size(ax: Axes | None, found: CriticalBatchSize) -> Axes:
    """Steps against examples, both logarithmic: runs, the fitted law and its two limits."""
    ax = _axes(ax)
    examples = found.batch_sizes * found.steps
    ax.plot(examples, found.steps, "o", color=colour(0), markersize=5, label=f"{found.n} runs")
    if np.isfinite(found.value) and found.value > 0:
        B = np.geomspace(found.batch_sizes.min() / 4, found.batch_sizes.max() * 4, 200)
        steps = found.min_steps * (1 + found.value / B)
        text = f"B_crit = {found.value:.3g}"
        if found.interval is not None:
            text += f" {_interval(found.interval)}"
        ax.plot(B * steps, steps, color=colour(1), label=f"law, {text}, {found.verdict}")
        if found.min_steps_interval is not None and found.min_examples_interval is not None:
            low, high = found.min_steps_interval
            ax.axhspan(low, high, color="0.5", alpha=0.15, linewidth=0)
            low, high = found.min_examples_interval
            if np.isfinite(high):
                ax.axvspan(low, high, color="0.5", alpha=0.15, linewidth=0)
        ax.axhline(found.min_steps, color="0.4", linestyle=":", label="S_min and E_min")
        ax.axvline(found.min_examples, color="0.4", linestyle=":")
    ax.set(
        xlabel="examples E to the target", ylabel="updates S to the target",
        xscale="log", yscale="log",
    )  # fmt: skip
    ax.grid(alpha=0.25)
    ax.legend(frameon=False, fontsize=8, loc="upper right")
    return ax


def draw_steps_and_examples(ax: Axes | None, found: StepsAndExamples) -> Axes:
    """S/S_min and E/E_min against the batch size."""
    ax = _axes(ax)
    B = np.atleast_1d(found.batch_size)
    order = np.argsort(B)
    pairs = (
        ("updates S/S_min", found.steps, found.steps_interval),
        ("examples E/E_min", found.examples, found.examples_interval),
    )
    for number, (label, values, interval) in enumerate(pairs):
        _curve(ax, B[order], np.atleast_1d(values)[order], number, label)
        if interval is not None:
            ends = np.asarray(interval).reshape(-1, 2)[order]
            _band(ax, B[order], ends[:, 0], ends[:, 1], number)
    ax.set(xlabel="batch size (examples)", ylabel="times the least", xscale="log", yscale="log")
    ax.set_title(f"B_crit = {found.noise_scale:.3g}, {found.verdict}", fontsize=9)
    ax.grid(alpha=0.25)
    ax.legend(frameon=False, fontsize=8, loc="best")
    return ax


def draw_adascale_gain(ax: Axes | None, found: AdaScaleGain) -> Axes:
    """The gain against the scale, below the linear rule."""
    ax = _axes(ax)
    S = np.geomspace(1, max(4 * found.scale, 16), 200)
    ax.plot(S, S, color="0.5", linestyle=":", label="linear rule, r = S")
    x = found.noise_scale / found.base_batch
    if np.isfinite(x):
        ax.plot(S, (1 + x) / (1 + x / S), color=colour(0), label=f"B_simple/B₁ = {x:.3g}")
        ax.plot([found.scale], [found.value], "o", color=colour(0))
    if found.noise_scale_interval is not None:
        low, high = (max(end, 0.0) / found.base_batch for end in found.noise_scale_interval)
        top = S if np.isinf(high) else (1 + high) / (1 + high / S)
        _band(ax, S, (1 + low) / (1 + low / S), top, 0)
    ax.set(xlabel="scale S of the batch", ylabel="gain r", xscale="log", yscale="log")
    ax.grid(alpha=0.25)
    ax.legend(frameon=False, fontsize=8, loc="upper left")
    return ax


def draw_linear_rule_limit(ax: Axes | None, found: LinearRuleLimit) -> Axes:
    """κ_max against the noise-to-signal ratio."""
    ax = _axes(ax)
    center = found.noise_to_signal if found.noise_to_signal > 0 else 1.0
    nsr = np.geomspace(center / 100, center * 100, 200)
    C2 = found.factor**2
    label = f"C² + (C² − 1) NSR, C = {found.factor:g}"
    ax.plot(nsr, C2 + (C2 - 1) * nsr, color=colour(0), label=label)
    if found.value is not None:
        label = f"κ_max = {found.value:.3g}"
        ax.plot([found.noise_to_signal], [found.value], "o", color=colour(1), label=label)
    else:
        ax.set_title(found.reason, fontsize=8)
    if found.interval is not None:
        ax.axhspan(*_finite(found.interval, ax), color=colour(1), alpha=0.12, linewidth=0)
    ax.set(
        xlabel="noise to signal tr Σ/(B|G|²)", ylabel="largest factor κ on batch size and rate",
        xscale="log", yscale="log",
    )  # fmt: skip
    ax.grid(alpha=0.25)
    ax.legend(frameon=False, fontsize=8, loc="upper left")
    return ax


def _axes(ax: Axes | None) -> Axes:
    return new_figure(1, 1, title="").axes[0] if ax is None else ax


def _interval(ends: tuple[float, float]) -> str:
    low, high = ("∞" if np.isinf(end) else f"{end:.3g}" for end in ends)
    return f"[{low}, {high}{')' if np.isinf(ends[1]) else ']'}"


def _finite(ends: tuple[float, float], ax: Axes) -> tuple[float, float]:
    return ends[0], ends[1] if np.isfinite(ends[1]) else ax.get_ylim()[1]


def _curve(ax: Axes, x: Any, y: Any, number: int, label: str) -> None:
    ax.plot(x, y, "-" if len(x) > 1 else "o", color=colour(number), label=label)


def _band(ax: Axes, x: Any, low: Any, high: Any, number: int) -> None:
    """An infinite end is drawn to ten times the highest finite number."""
    numbers: NDArray[np.float64] = np.concatenate([np.ravel(low), np.ravel(high)])
    far = 10 * numbers[np.isfinite(numbers)].max()
    ends = [np.minimum(end, far) for end in (low, high)]
    ax.fill_between(x, *ends, color=colour(number), alpha=0.15, linewidth=0)


def draw_estimators(ax: Axes, document: Mapping[str, Any]) -> Axes:
    """Median and 5 – 95 % range over runs of each estimator, over the truth.

    Args:
        document: truth, runs, steps, short; long_run and short_run with median, low and high of
            each estimator.
    """
    names = list(document["long_run"])
    truth = document["truth"]
    groups = (("long_run", document["steps"], -0.14), ("short_run", document["short"], 0.14))
    for number, (key, steps, shift) in enumerate(groups):
        rows = [document[key][name] for name in names]
        at = np.arange(len(names)) + shift
        middle, low, high = (
            np.array([row[k] for row in rows]) / truth for k in ("median", "low", "high")
        )
        ax.errorbar(
            middle, at, xerr=[middle - low, high - middle], fmt="o", markersize=5,
            color=colour(number), linewidth=1.2, capsize=2.5,
            label=f"{steps} steps, median and 5 – 95 % of {document['runs']} runs",
        )  # fmt: skip
    ax.axvline(1, color="black", linewidth=0.9, linestyle=":", zorder=0)
    ax.set_yticks(np.arange(len(names)), names)
    ax.set_ylim(len(names) - 0.3, -0.7)
    ax.set_xscale("symlog", linthresh=1, linscale=1.6)
    far = min(row["low"] for key, *_ in groups for row in document[key].values()) / truth
    ax.set_xlim(left=1.5 * min(far, -1.0))
    low, high = ax.get_xlim()
    ticks = [t for t in (-10, -1, 0, 1, 10, 100, 10**4, 10**6) if low <= t <= high]
    ax.set_xticks(ticks, [{10**4: "10⁴", 10**6: "10⁶"}.get(t, f"{t:g}") for t in ticks])
    ax.xaxis.set_minor_locator(NullLocator())
    ax.set(xlabel=f"estimate / true B_simple (= {truth:,.0f})")
    ax.grid(alpha=0.25, axis="x")
    ax.legend(frameon=False, fontsize=8, loc="upper center", bbox_to_anchor=(0.35, -0.16))
    return ax


def draw_coverage(ax: Axes, document: Mapping[str, Any]) -> Axes:
    """Part of the intervals that hold the truth, with two standard errors, by regime."""
    regimes = document["regimes"]
    at = np.arange(len(regimes))
    values = np.array([regime["coverage"] for regime in regimes.values()])
    errors = np.array([regime["standard_error"] for regime in regimes.values()])
    ax.axvspan(0.85, 0.95, color="0.5", alpha=0.15, linewidth=0, label="0.85 – 0.95")
    ax.axvline(document["level"], color="black", linewidth=0.9, linestyle=":", zorder=0)
    label = f"{document['replications']} replications, ± 2 standard errors"
    ax.errorbar(
        values, at, xerr=2 * errors, fmt="o", markersize=5, color=colour(0), linewidth=1.2,
        capsize=2.5, label=label,
    )  # fmt: skip
    ax.set_yticks(at, list(regimes))
    ax.set_ylim(len(regimes) - 0.3, -0.7)
    ax.set(xlabel=f"coverage of {document['level']:.0%} intervals", xlim=(0.7, 1.0))
    ax.grid(alpha=0.25, axis="x")
    ax.legend(frameon=False, fontsize=8, loc="upper center", bbox_to_anchor=(0.35, -0.16))
    return ax
