"""What follows from B_simple: steps and examples to a target, AdaScale's gain."""

from dataclasses import dataclass
from math import inf, isfinite, isnan, nan
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from noisescale.analysis.arrays import traces
from noisescale.analysis.checks import positive, real_number
from noisescale.analysis.documents import document
from noisescale.analysis.gradient_noise.conclusion import GradientNoiseScale, Verdict, ratio
from noisescale.analysis.gradient_noise.sweep import CriticalBatchSize
from noisescale.analysis.html import shown_number, table
from noisescale.errors import InputError, shown

Array = NDArray[np.float64]
Interval = tuple[float, float]


@dataclass(frozen=True, slots=True)
class StepsAndExamples:
    """S/S_min and E/E_min at batch sizes B.

    Args:
        batch_size: B, (K,) or one number.
        steps, examples: S/S_min and E/E_min, of the shape of B.
        steps_interval, examples_interval: their ends, (..., 2), of the noise scale's interval;
            None where it has none. An end may be infinite.
        noise_scale, interval: B_crit as used.
        verdict, reason: of the noise scale.
    """

    batch_size: Array
    steps: Array
    examples: Array
    steps_interval: Array | None
    examples_interval: Array | None
    noise_scale: float
    interval: Interval | None
    verdict: Verdict
    reason: str

    def to_dict(self) -> dict[str, Any]:
        """All fields as strict JSON: infinite ends are null."""
        return document(self)

    def _repr_html_(self) -> str:
        head = ["batch size", "S/S_min", "interval", "E/E_min", "interval"]
        columns = [np.ravel(x) for x in (self.batch_size, self.steps, self.examples)]
        ends = [
            [None] * len(columns[0]) if x is None else list(map(tuple, x.reshape(-1, 2)))
            for x in (self.steps_interval, self.examples_interval)
        ]
        rows = zip(columns[0], columns[1], ends[0], columns[2], ends[1], strict=True)
        title = f"Steps and examples over the least at B_crit = {shown_number(self.noise_scale)}"
        return table(title, head, rows, [self.reason])

    def plot(self, ax: Any = None) -> Any:
        """Both ratios against the batch size."""
        from noisescale.plots.gradient_noise import draw_steps_and_examples

        return draw_steps_and_examples(ax, self)


@dataclass(frozen=True, slots=True)
class AdaScaleGain:
    """r = (σ² + μ²)/(σ²/S + μ²), in [1, S]; float(gain) is its value.

    Args:
        value: r; NaN where tr Σ or |G|² is below 0.
        interval: of the noise scale's interval; None where it has none.
        base_batch, scale: B₁ and S.
        noise_scale: B_simple as used.
        verdict, reason: of the noise scale.
    """

    value: float
    interval: Interval | None
    base_batch: float
    scale: float
    noise_scale: float
    noise_scale_interval: Interval | None
    verdict: Verdict
    reason: str

    def __float__(self) -> float:
        return self.value

    def to_dict(self) -> dict[str, Any]:
        """All fields as strict JSON."""
        return document(self)

    def _repr_html_(self) -> str:
        head = ["gain r", "interval", "scale S", "base batch", "B_simple", "interval"]
        values = (self.value, self.interval, self.scale, self.base_batch)
        row = [*values, self.noise_scale, self.noise_scale_interval]
        return table(f"AdaScale gain: {self.verdict}", head, [row], [self.reason])

    def plot(self, ax: Any = None) -> Any:
        """The gain against the scale, between no gain and the linear rule."""
        from noisescale.plots.gradient_noise import draw_adascale_gain

        return draw_adascale_gain(ax, self)


def steps_and_examples(
    noise_scale: float | GradientNoiseScale | CriticalBatchSize, batch_size: ArrayLike
) -> StepsAndExamples:
    """S/S_min = 1 + B_crit/B and E/E_min = 1 + B/B_crit.

    B_simple stands for B_crit where the Hessian is a multiple of the identity, or where that is
    close enough; a measured B_crit needs no such wish.

    Args:
        noise_scale: B_crit: a number, or a result with its interval.
        batch_size: B, above 0, one or several.

    Returns:
        StepsAndExamples; NaN where the noise scale is not above 0 (the interval still counts).

    Raises:
        InputError: batch_size or a plain noise_scale not above 0.

    Source: McCandlish et al. 2018, equations 2.11 and 2.12.
    """
    found = read_noise_scale(noise_scale)
    B = traces("batch_size", np.atleast_1d(batch_size), fewest=1).reshape(np.shape(batch_size))
    if B.min() <= 0:
        raise InputError(f"batch_size={shown(batch_size)}: give numbers above 0")
    steps, examples = _tradeoff(found.value, B)
    steps_interval = examples_interval = None
    if found.interval is not None:
        # A noise scale is at least 0: what an interval holds below is no batch size.
        low, high = (_tradeoff(max(end, 0.0), B) for end in found.interval)
        steps_interval = np.stack([low[0], high[0]], axis=-1)
        examples_interval = np.stack([high[1], low[1]], axis=-1)
    return StepsAndExamples(
        B, steps, examples, steps_interval, examples_interval,
        found.value, found.interval, found.verdict, found.reason,
    )  # fmt: skip


def adascale_gain(
    noise_scale: float | GradientNoiseScale | tuple[float, float], base_batch: float, scale: float
) -> AdaScaleGain:
    """r = (σ² + μ²)/(σ²/S + μ²) = (1 + x)/(1 + x/S), x = B_simple/B₁; σ² = tr Σ/B₁, μ² = |G|².

    At S times the batch, r times the learning rate makes the expected progress of r updates at
    the base batch: S where noise dominates (the linear rule), 1 where signal does.

    Args:
        noise_scale: B_simple: a number, a result with its interval, or (tr Σ, |G|²).
        base_batch: B₁, in examples.
        scale: S ≥ 1.

    Returns:
        AdaScaleGain, NaN where tr Σ or |G|² is below 0 (nothing is cut).

    Raises:
        InputError: base_batch not above 0, scale below 1, a plain noise_scale not above 0.

    Source: Johnson, Agrawal, Gu & Guestrin 2020, section 3.
    """
    found = read_noise_scale(noise_scale)
    base = positive("base_batch", base_batch)
    factor = real_number("scale", scale, low=1.0, hint="it must be at least 1")
    interval = None
    if found.interval is not None:
        low, high = (_gain(max(end, 0.0) / base, factor) for end in found.interval)
        interval = (low, high)
    value = _gain(found.value / base, factor)
    return AdaScaleGain(
        value, interval, base, factor, found.value, found.interval, found.verdict, found.reason
    )


@dataclass(frozen=True, slots=True)
class NoiseScaleRead:
    """A noise scale as it was given: a number, a pair or a result."""

    value: float  # NaN where there is no noise scale
    interval: Interval | None
    verdict: Verdict
    reason: str


def read_noise_scale(given: object) -> NoiseScaleRead:
    """The value (NaN where a part of it is below 0), interval and verdict of any of them."""
    if isinstance(given, GradientNoiseScale):
        below = given.trace_cov < 0 or given.grad_sq_norm < 0
        value = nan if below else given.value
        return NoiseScaleRead(value, given.interval, given.verdict, given.reason)
    if isinstance(given, CriticalBatchSize):
        return NoiseScaleRead(given.value, given.interval, given.verdict, given.reason)
    if isinstance(given, tuple | list):
        if len(given) != 2:
            raise InputError(f"noise_scale={shown(given)}: give (tr Σ, |G|²)")
        hint = "tr Σ and |G|² must be finite numbers"
        top, bottom = (real_number("noise_scale", x, low=-inf, hint=hint) for x in given)
        if top < 0 or bottom < 0 or (top == 0 and bottom == 0):
            return NoiseScaleRead(
                nan, None, "undecided", "tr Σ or |G|² is not above 0: no noise scale"
            )
        return NoiseScaleRead(ratio(top, bottom), None, "measured", "")
    return NoiseScaleRead(positive("noise_scale", given), None, "measured", "")


def _tradeoff(critical: float, B: Array) -> tuple[Array, Array]:
    """(S/S_min, E/E_min)."""
    if isnan(critical):
        return np.full_like(B, nan), np.full_like(B, nan)
    return 1 + critical / B, 1 + (B / critical if critical > 0 else np.full_like(B, inf))


def _gain(x: float, scale: float) -> float:
    if not isfinite(x):
        return scale if x == inf else nan
    return (1 + x) / (1 + x / scale)
