"""Where curves over seeds first pass a level: the batch size at which accuracy falls off."""

from dataclasses import dataclass, replace
from math import inf, sqrt
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from noisescale.analysis.arrays import traces
from noisescale.analysis.checks import real_number
from noisescale.analysis.documents import document
from noisescale.analysis.html import table
from noisescale.analysis.resampling import quantile_of
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
        interval = f"{100 * self.confidence:g} % interval"
        head = ["x*", interval if self.verdict == "measured" else "range", "seeds", "verdict"]
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
    return _crossing(x, values, level, confidence, ("x", "values"))


def _crossing(
    x: ArrayLike, values: ArrayLike, level: float, confidence: float, names: tuple[str, str]
) -> Crossing:
    """The same, with the names that the caller's arguments have."""
    if np.ndim(values) > 2 or np.ndim(x) != 1:
        raise InputError(f"{names[0]} must have the shape (K,) and {names[1]} (seeds, K) or (K,)")
    places, curves = traces(names[0], x, fewest=2)[0], traces(names[1], values, fewest=2)
    c = real_number("level", level, low=-inf, hint="it must be a finite number")
    if not 0 < real_number("confidence", confidence, hint="it must lie in (0, 1), such as .9") < 1:
        raise InputError(f"confidence={confidence:g}: it must lie in (0, 1), such as .9")
    if len(places) != curves.shape[1]:
        raise InputError(
            f"{names[0]} has {len(places)} entries and {names[1]} have {curves.shape[1]} each"
        )
    if not (places > 0).all() or not (np.diff(places) > 0).all():
        raise InputError(f"{names[0]} must be above 0 and increase from entry to entry")
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
            that diverged counts with the worst error it had.
        drop: growth of the error that counts, in (0, 1), declared before the runs.
        confidence: of the interval, for example .9.

    Returns:
        Crossing; where no seed falls off its value is None and its interval starts at the largest
        batch size; where a seed begins at an error that cannot grow by `drop` it has none.

    Raises:
        InputError: unequal lengths, batch sizes that do not increase, errors outside [0, 1].
    """
    rows = traces("errors", errors, fewest=2)
    if rows.min() < 0 or rows.max() > 1:
        hint = "; divide percentages by 100" if 1 < rows.max() <= 100 else ""
        raise InputError(
            f"errors lie in {rows.min():g} … {rows.max():g}: they must be fractions in [0, 1]{hint}"
        )
    step = real_number("drop", drop, above=0.0, hint="it must lie in (0, 1)")
    if step >= 1:
        raise InputError(f"drop={step:g}: it must lie in (0, 1)")
    grown = rows - rows[:, :1] if np.ndim(errors) < 3 else errors
    found = _crossing(batch_sizes, grown, step, confidence, ("batch_sizes", "errors"))
    dead = int(np.sum(rows[:, 0] + step >= 1))
    if dead:
        reason = f"{dead} of {len(rows)} seeds begin at an error that cannot grow by {step:g}"
        return replace(found, value=None, interval=None, verdict="undecided", reason=reason)
    return found


def _first_passage(log_x: Array, above: Array) -> float:
    """x at the first change of sign; inf without one."""
    # What misses the level by rounding alone is at it.
    above = np.where(np.abs(above) <= 1e-12 * np.abs(above).max(), 0.0, above)
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
