"""Where curves over seeds first pass a level: the batch size at which accuracy falls off."""

from dataclasses import dataclass
from math import inf, sqrt
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from noisescale.analysis.arrays import traces
from noisescale.analysis.checks import real_number
from noisescale.analysis.documents import document
from noisescale.analysis.html import table
from noisescale.analysis.resampling import checked_level, quantile_of
from noisescale.errors import InputError

Array = NDArray[np.float64]
Interval = tuple[float, float]
# Below so many seeds no spread can be trusted.
FEWEST_SEEDS = 3


@dataclass(frozen=True, slots=True)
class Crossing:
    """x* with y(x*) = level, found in every seed's curve.

    Args:
        value: geometric mean of x* over seeds; None unless every seed crosses.
        interval: of the mean, by Student's t on ln x*; None below three seeds. Where some seeds
            do not cross it is (the smallest x* seen, inf).
        seeds: x* of every seed; inf: not within the range.
        level: what is passed.
        confidence: of the interval.
        n: seeds.
        verdict: "measured", or "undecided" with the `reason`.
    """

    value: float | None
    interval: Interval | None
    seeds: tuple[float, ...]
    level: float
    confidence: float
    n: int
    verdict: Literal["measured", "undecided"]
    reason: str

    def to_dict(self) -> dict[str, Any]:
        """All fields as strict JSON: inf is null."""
        return document(self)

    def _repr_html_(self) -> str:
        rows = [[self.value, self.interval, self.n, self.verdict]]
        head = ["x*", f"{100 * self.confidence:g} % interval", "seeds", "verdict"]
        return table(f"Where {self.level:g} is passed", head, rows, [self.reason])


def crossing(
    x: ArrayLike, values: ArrayLike, level: float = 0.0, *, confidence: float = 0.9
) -> Crossing:
    """ln x* = ln x_i + (c − y_i)/(y_{i+1} − y_i) · ln(x_{i+1}/x_i) at the first passage of c.

    A passage is a change of sign of y − c from the sign that it has at the smallest x; each seed's
    curve is interpolated in ln x.

    Args:
        x: (K,) above 0, increasing.
        values: (seeds, K) or (K,): y.
        level: c.
        confidence: of the interval, for example .9.

    Raises:
        InputError: unequal lengths, x that does not increase or is not above 0, values that are not
            finite, or a curve that begins at the level itself.
    """
    places, curves = traces("x", x, fewest=2)[0], traces("values", values, fewest=2)
    c = real_number("level", level, low=-inf, hint="it must be a finite number")
    confidence = checked_level(confidence)
    if len(places) != curves.shape[1]:
        raise InputError(f"x has {len(places)} entries and values have {curves.shape[1]} each")
    if not (places > 0).all() or not (np.diff(places) > 0).all():
        raise InputError("x must be above 0 and increase from entry to entry")
    if (curves[:, 0] == c).any():
        raise InputError(f"a curve begins at the level {c:g}: leave out its first point")
    found = tuple(_first_passage(np.log(places), curve - c) for curve in curves)
    return _concluded(found, c, confidence, (float(places[0]), float(places[-1])))


def fall_off_batch_size(
    batch_sizes: ArrayLike, errors: ArrayLike, drop: float = 0.05, *, confidence: float = 0.9
) -> Crossing:
    """B* with error(B*) = error(B_min) + drop: the batch size at which accuracy falls off.

    Each seed's error is interpolated in ln B from the smallest batch size up, and the first batch
    size counts at which it has grown by `drop`.

    Args:
        batch_sizes: (K,) increasing; B_min is the first.
        errors: (seeds, K) or (K,) fractions in [0, 1]: final errors at equal noise scale. A run
            that diverged has error 1.
        drop: growth of the error that counts, in (0, 1), declared before the runs.
        confidence: of the interval, for example .9.

    Returns:
        Crossing; where no seed falls off its value is None and its interval starts at the largest
        batch size.

    Raises:
        InputError: unequal lengths, batch sizes that do not increase, errors outside [0, 1].
    """
    rows = traces("errors", errors, fewest=2)
    if rows.min() < 0 or rows.max() > 1:
        raise InputError("errors must be fractions in [0, 1]")
    step = real_number("drop", drop, above=0.0, hint="it must lie in (0, 1)")
    if step >= 1:
        raise InputError(f"drop={step:g}: it must lie in (0, 1)")
    return crossing(batch_sizes, rows - rows[:, :1], step, confidence=confidence)


def _first_passage(log_x: Array, above: Array) -> float:
    """x at the first change of sign; inf without one."""
    passed = np.flatnonzero(np.sign(above) != np.sign(above[0]))
    if not len(passed):
        return inf
    k = int(passed[0])
    share = above[k - 1] / (above[k - 1] - above[k])
    return float(np.exp(log_x[k - 1] + share * (log_x[k] - log_x[k - 1])))


def _concluded(
    found: tuple[float, ...], level: float, confidence: float, window: Interval
) -> Crossing:
    n, crossed = len(found), [v for v in found if v < inf]
    if len(crossed) < n:
        lost = n - len(crossed)
        inside = f"{window[0]:g} … {window[1]:g}"
        reason = f"{lost} of {n} seeds do not pass {level:g} within {inside}"
        low = min(crossed, default=window[1])
        return Crossing(None, (low, inf), found, level, confidence, n, "undecided", reason)
    logs = np.log(crossed)
    value = float(np.exp(logs.mean()))
    if n < FEWEST_SEEDS:
        reason = f"{n} seed{'s' if n > 1 else ''}: at least {FEWEST_SEEDS} are needed"
        return Crossing(value, None, found, level, confidence, n, "undecided", reason)
    half = quantile_of(confidence, n - 1) * float(logs.std(ddof=1)) / sqrt(n)
    interval = (value * float(np.exp(-half)), value * float(np.exp(half)))
    reason = f"the interval spans a factor of {interval[1] / interval[0]:.2g}"
    return Crossing(value, interval, found, level, confidence, n, "measured", reason)
