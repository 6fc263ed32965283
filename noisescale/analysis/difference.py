"""The difference of two groups of runs: mean, standard error, t-tests against a bound."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import sqrt

import numpy as np
from numpy.typing import ArrayLike, NDArray

from noisescale.errors import InputError

Array = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Difference:
    """d = mean(b) − mean(a) with its standard error.

    Args:
        effect: d.
        stderr: standard error of d; None below two seeds.
        degrees: degrees of freedom of Student's t: n−1 if paired, Welch–Satterthwaite if not.
        interval: two-sided interval of confidence 1 − 2 level.
        n: seeds in the smaller group.
        correlation: of a and b over seeds; None where undefined.
    """

    effect: float
    stderr: float | None
    degrees: float
    interval: tuple[float, float] | None
    n: int
    paired: bool
    correlation: float | None


def difference(
    a: ArrayLike, b: ArrayLike, *, level: float = 0.05, paired: bool, resolution: float = 0.0
) -> Difference:
    """d = mean(b) − mean(a); s.e. = s(b−a)/√n if paired, √(s_a²/n_a + s_b²/n_b) if not.

    Args:
        a, b: (seeds,) one number per seed; paired samples list the seeds in one order.
        level: one-sided error of each end of the interval.
        paired: use the differences seed by seed; valid at any correlation of equal seeds.
        resolution: smallest step of the quantity, such as one example in an error; the standard
            error is at least resolution/√n, for few seeds may all show the same count.

    Raises:
        InputError: not a list of finite numbers, or paired samples of unequal length.

    Source: Student 1908 (paired), Welch 1947.
    """
    x, y = sample("a", a), sample("b", b)
    if not 0 < level < 0.5:
        raise InputError(f"level={level!r}: it must lie in (0, 0.5)")
    if paired and len(x) != len(y):
        raise InputError(f"paired samples differ in length: {len(x)} and {len(y)} seeds")
    n = min(len(x), len(y))
    effect = float(y.mean() - x.mean())
    correlation = None
    if len(x) == len(y) and n >= 3 and x.std() > 0 and y.std() > 0:
        correlation = float(np.corrcoef(x, y)[0, 1])
    if n < 2:
        return Difference(effect, None, 0.0, None, n, paired, correlation)
    if paired:
        stderr, degrees = float((y - x).std(ddof=1)) / sqrt(n), float(n - 1)
    else:
        va, vb = x.var(ddof=1) / len(x), y.var(ddof=1) / len(y)
        stderr = sqrt(va + vb)
        spread = va**2 / (len(x) - 1) + vb**2 / (len(y) - 1)
        degrees = float((va + vb) ** 2 / spread) if spread > 0 else float(len(x) + len(y) - 2)
    stderr = max(stderr, resolution / sqrt(n))
    half = _quantile(1 - level, degrees) * stderr
    return Difference(
        effect, stderr, degrees, (effect - half, effect + half), n, paired, correlation
    )


def columns(points: Sequence[Difference]) -> tuple[Array, Array, Array]:
    """(effects, standard errors, degrees of freedom) of points that all have a spread."""
    return (
        np.array([point.effect for point in points]),
        np.array([point.stderr for point in points], dtype=float),
        np.array([point.degrees for point in points]),
    )


def p_above(effect: Array, bound: float, stderr: Array, degrees: Array) -> Array:
    """p-values against d ≤ bound."""
    return _tail(bound - effect, stderr, degrees)


def p_below(effect: Array, bound: float, stderr: Array, degrees: Array) -> Array:
    """p-values against d ≥ bound."""
    return _tail(effect - bound, stderr, degrees)


def _tail(gap: Array, stderr: Array, degrees: Array) -> Array:
    """P(T ≤ gap/stderr); without any spread 0, ½ or 1 by the sign of the gap."""
    from scipy.special import stdtr

    with np.errstate(divide="ignore", invalid="ignore"):
        t = np.where(stderr > 0, gap / stderr, np.where(gap == 0, 0.0, np.sign(gap) * np.inf))
    return np.asarray(stdtr(degrees, t))


def _quantile(probability: float, degrees: float) -> float:
    from scipy.special import stdtrit

    return float(stdtrit(degrees, probability))


def sample(name: str, values: ArrayLike) -> Array:
    """One finite number per seed as float64, or an InputError that names the argument."""
    array = np.asarray(values, dtype=np.float64)
    if array.ndim != 1 or not len(array):
        raise InputError(f"{name} has shape {array.shape}: give one number per seed")
    if not np.all(np.isfinite(array)):
        raise InputError(f"{name} holds {int(np.sum(~np.isfinite(array)))} non-finite numbers")
    return array
