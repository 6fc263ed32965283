"""What an estimate of B_simple says: value, errors, interval, verdict, what would decide it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from math import ceil, copysign, inf, isfinite, nan, sqrt
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from noisescale.analysis.checks import positive
from noisescale.analysis.documents import document
from noisescale.analysis.gradient_noise.blocks import FEWEST_BLOCKS, jackknife_covariance
from noisescale.analysis.gradient_noise.ratio import fieller_interval
from noisescale.analysis.gradient_noise.result import with_error
from noisescale.analysis.html import plus_minus, table
from noisescale.analysis.resampling import quantile_of

Array = NDArray[np.float64]
Verdict = Literal["measured", "undecided"]

# 0.8 of the normal distribution lies below: the power that plans ask for.
_POWER_QUANTILE = 0.8416


@dataclass(frozen=True, slots=True)
class GradientNoiseScale:
    """B_simple = tr Σ/|G|², in examples, with its error.

    Args:
        value: mean tr Σ over mean |G|², divided once; never cut, so it may be negative.
        stderr: its jackknife standard error, to first order; None for one measurement. Where
            |G|² is not told from 0 it says little, and the interval says it all.
        interval: Fieller's, of confidence `level`; math.inf where it has no upper end.
        trace_cov, grad_sq_norm: mean tr Σ (of one example's gradient) and mean |G|².
        trace_cov_stderr, grad_sq_norm_stderr, correlation: of these two means.
        n: measurements.
        blocks: independent units behind the error.
        level: confidence of the interval.
        verdict: "measured": tr Σ and |G|² are both told from 0; else "undecided".
        reason: why it is undecided, and what would decide it.
        error_of_one: standard error of B_simple over its value, of one measurement; None where
            there is no error, or tr Σ or |G|² is not above 0.
        measurements_to_decide: such measurements at which |G|² > 0 is told with probability 0.8,
            if it is as large as estimated (as the interval allows, where the estimate is not
            above 0: then at least so many); None where it is told, or nothing is known.
        window: first and last update, where measured along a run.
        diagnostics: bias (jackknife estimate of the ratio's, not subtracted), autocorrelation_time
            (in measurements), negative_grad_sq_norms (how many single ones are).
    """

    value: float
    stderr: float | None
    interval: tuple[float, float] | None
    trace_cov: float
    trace_cov_stderr: float | None
    grad_sq_norm: float
    grad_sq_norm_stderr: float | None
    correlation: float | None
    n: int
    blocks: int
    level: float
    verdict: Verdict
    reason: str
    error_of_one: float | None = None
    measurements_to_decide: int | None = None
    window: tuple[float, float] | None = None
    diagnostics: Mapping[str, Any] = field(default_factory=dict)

    def plan(self, relative_error: float) -> int | None:
        """Measurements like these for that stderr/value; see `measurements_needed`."""
        return measurements_needed(self, relative_error)

    def to_dict(self) -> dict[str, Any]:
        """All fields as strict JSON: an end at infinity is null."""
        return document(self)

    def _repr_html_(self) -> str:
        trace = plus_minus(self.trace_cov, self.trace_cov_stderr)
        square = plus_minus(self.grad_sq_norm, self.grad_sq_norm_stderr)
        rows: list[list[Any]] = [
            ["B_simple = tr Σ/|G|²", plus_minus(self.value, self.stderr), self.interval],
            ["tr Σ", trace, None],
            ["|G|²", square, None],
        ]
        title = f"Gradient noise scale: {self.verdict}, n = {self.n:,}"
        head = ["", "± standard error", f"{self.level:.0%} interval"]
        return table(title, head, rows, [self.reason])

    def plot(self, ax: Any = None) -> Any:
        """tr Σ against |G|²: the estimate, its error ellipse, the wedge of B_simple."""
        from noisescale.plots.gradient_noise import draw_gradient_noise

        return draw_gradient_noise(ax, self)


def measurements_needed(estimate: GradientNoiseScale, relative_error: float) -> int | None:
    """n' = (s/ε)², s the error of B_simple over its value in one measurement.

    s²/n = C_TT/T² − 2 C_TQ/(TQ) + C_QQ/Q² for T = tr Σ, Q = |G|², with C the covariance of their
    means. Measurements like these: the same batch sizes, number of parts and correlation.

    Args:
        relative_error: ε, wanted stderr of B_simple over its value.

    Returns:
        n', or None where the estimate has no error, or tr Σ or |G|² is not above 0.

    Raises:
        InputError: relative_error is not above 0.
    """
    wanted = positive("relative_error", relative_error)
    one = estimate.error_of_one
    return None if one is None else max(1, ceil((one / wanted) ** 2))


def conclude(
    pair: Array,
    without: Sequence[Array],
    *,
    n: int,
    level: float,
    spread: float = 1.0,
    least_variance: float = 0.0,
    variance_of_one: float | None = None,
    window: tuple[float, float] | None = None,
    diagnostics: Mapping[str, Any],
) -> GradientNoiseScale:
    """The result from the mean pair (tr Σ, |G|²).

    Args:
        without: of each independent sample, (units, 2) pairs without one unit each; [] where
            there is one unit alone.
        spread: factor on the covariance, (N − n)/N where units are drawn without replacement.
        least_variance: of mean |G|², before `spread`.
        variance_of_one: of `influence`, where that is known better than from `without`.
    """
    top, bottom = float(pair[0]), float(pair[1])
    value = ratio(top, bottom)
    if not without:
        return GradientNoiseScale(
            value, None, None, top, None, bottom, None, None, n, 1, level, "undecided",
            f"{n} measurement{'s' * (n > 1)} in one block: no error; give at least "
            f"{FEWEST_BLOCKS} measurements", window=window, diagnostics=diagnostics,
        )  # fmt: skip
    covariance = spread * np.sum([jackknife_covariance(values) for values in without], axis=0)
    units = min(len(values) for values in without)
    quantile = quantile_of(level, units - 1)
    covariance[1, 1] = max(covariance[1, 1], spread * least_variance)
    errors = np.sqrt(np.diag(covariance))
    scale = float(errors[0] * errors[1])
    interval = fieller_interval(top, bottom, covariance, quantile)
    stderr, bias = _of_ratio(value, without, spread)
    error_of_one = None
    if top > 0 and bottom > 0:
        relative = np.array([1 / top, -1 / bottom])
        if variance_of_one is None:
            variance_of_one = n * float(relative @ covariance @ relative)
        error_of_one = sqrt(max(variance_of_one, 0.0))
    verdict, reason, needed = _decide((top, bottom), errors, interval, quantile, units, n)
    return GradientNoiseScale(
        value=value,
        stderr=stderr,
        interval=interval,
        trace_cov=top,
        trace_cov_stderr=float(errors[0]),
        grad_sq_norm=bottom,
        grad_sq_norm_stderr=float(errors[1]),
        correlation=float(covariance[0, 1]) / scale if scale > 0 else 0.0,
        n=n,
        blocks=units,
        level=level,
        verdict=verdict,
        reason=reason,
        error_of_one=error_of_one,
        measurements_to_decide=needed,
        window=window,
        diagnostics={**diagnostics, "bias": bias},
    )


def ratio(top: float, bottom: float) -> float:
    """top/bottom; ±inf or NaN where bottom is 0."""
    if bottom != 0:
        return top / bottom
    return copysign(inf, top) if top else nan


def _of_ratio(value: float, without: Sequence[Array], spread: float) -> tuple[float, float]:
    """Jackknife standard error and bias of the ratio."""
    variance = bias = 0.0
    for values in without:
        with np.errstate(divide="ignore", invalid="ignore"):
            ratios = values[:, 0] / values[:, 1]
        if not (isfinite(value) and np.all(np.isfinite(ratios))):
            return inf, nan
        units = len(ratios)
        variance += (units - 1) / units * float(np.sum((ratios - ratios.mean()) ** 2))
        bias += (units - 1) * (float(ratios.mean()) - value)
    return sqrt(spread * variance), spread * bias


def _decide(
    pair: tuple[float, float],
    errors: Array,
    interval: tuple[float, float],
    quantile: float,
    units: int,
    n: int,
) -> tuple[Verdict, str, int | None]:
    top, bottom = pair
    signal = f"|G|² = {with_error(bottom, float(errors[1]))}"
    noise = f"tr Σ = {with_error(top, float(errors[0]))}"
    if bottom < -quantile * errors[1]:
        return (
            "undecided",
            f"{signal} is below 0, which no gradient has: were both batches taken at the same "
            "weights, with the sizes given?",
            None,
        )
    if bottom <= quantile * errors[1]:
        needed, text = _to_decide(bottom, float(errors[1]), quantile, n)
        below = "is not above 0" if bottom <= 0 else "is not told from 0"
        return "undecided", f"{signal} {below}: no upper end for B_simple; {text}", needed
    if top < -quantile * errors[0]:
        return "undecided", f"{noise} is below 0, which no noise has: check the batch sizes", None
    if interval[0] <= 0 and top <= quantile * errors[0]:
        return "undecided", f"{noise} is not told from 0: B_simple is below {interval[1]:.3g}", None
    if units < FEWEST_BLOCKS:
        return "undecided", f"{units} independent blocks: a verdict needs {FEWEST_BLOCKS}", None
    return "measured", "", None


def _to_decide(bottom: float, error: float, quantile: float, n: int) -> tuple[int, str]:
    """Measurements at which |G|² > 0 is told with probability 0.8."""
    wanted = quantile + _POWER_QUANTILE
    if bottom > 0:
        needed = max(n + 1, ceil(n * (wanted * error / bottom) ** 2))
        return needed, f"about {needed} measurements like these {n} would decide"
    largest = bottom + quantile * error
    needed = max(n + 1, ceil(n * (wanted * error / largest) ** 2)) if largest > 0 else n + 1
    return needed, (
        f"at least {needed} measurements like these {n} would be needed, if |G|² is as large as "
        f"its interval allows ({largest:.2g})"
    )
