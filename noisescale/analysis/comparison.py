"""Are two groups of runs the same? Equivalence tests on curves over several seeds.

A claim of sameness needs a margin declared beforehand and is established, not assumed: two
one-sided tests at every epoch compared, all of which must reject (Schuirmann 1987; Berger 1982).
A failed test for a difference is never read as sameness.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from math import ceil, inf, sqrt
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from noisescale.errors import InputError

Verdict = Literal["supported", "contradicted", "undecided"]
# Below so many seeds no spread can be trusted, and every verdict is "undecided".
FEWEST_SEEDS = 3
# Probability of a decision that `seeds_needed` plans for.
PLANNED_POWER = 0.8
MOST_SEEDS = 100_000


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


@dataclass(frozen=True, slots=True)
class Judgement:
    """A verdict with the numbers behind it.

    Args:
        effect, interval: the difference at `epoch`, the point that decides (the least favourable
            one while sameness stands, the most telling one where it falls).
        p_supported, p_contradicted: p-values against the opposite claims.
        seeds_needed: seeds for a decision with probability 0.8 if the effect and spread are as
            measured; None if no number up to 100,000 would do.
        parts_at: epochs at which the groups differ by more than the margin.
    """

    verdict: Verdict
    reason: str
    effect: float
    interval: tuple[float, float] | None
    n: int
    seeds_needed: int | None
    epoch: float | None
    p_supported: float
    p_contradicted: float
    paired: bool
    correlation: float | None
    parts_at: tuple[float, ...] = ()


def difference(a: ArrayLike, b: ArrayLike, *, level: float = 0.05, paired: bool) -> Difference:
    """d = mean(b) − mean(a); s.e. = s(b−a)/√n if paired, √(s_a²/n_a + s_b²/n_b) if not.

    Args:
        a, b: (seeds,) one number per seed; paired samples list the seeds in one order.
        level: one-sided error of each end of the interval.
        paired: use the differences seed by seed (right where seeds correlate).

    Raises:
        InputError: not a list of finite numbers, or paired samples of unequal length.

    Source: Welch 1947.
    """
    x, y = _sample("a", a), _sample("b", b)
    _check_level(level)
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
    half = _quantile(1 - level, degrees) * stderr
    return Difference(
        effect, stderr, degrees, (effect - half, effect + half), n, paired, correlation
    )


def judge_same(
    a: ArrayLike,
    b: ArrayLike,
    *,
    margin: float,
    epochs: Sequence[float] | None = None,
    level: float = 0.05,
    paired: bool,
) -> Judgement:
    """|d_k| < δ at every point k of the curves: two one-sided tests at each.

    "supported": every point rejects |d_k| ≥ δ at `level` (no correction needed: all must).
    "contradicted": some point rejects |d_k| ≤ δ at level/K (Bonferroni over the K points).

    Args:
        a, b: (seeds,) or (seeds, K), quantities whose differences matter.
        margin: δ > 0, declared before the runs.
        epochs: (K,) where the points lie, for the record.

    Raises:
        InputError: shapes, margin or level out of range.
    """
    x, y = _curves("a", a), _curves("b", b)
    if x.shape[1] != y.shape[1]:
        raise InputError(f"curves differ in length: {x.shape[1]} and {y.shape[1]} points")
    if not (np.isfinite(margin) and margin > 0):
        raise InputError(f"margin={margin!r}: it must be a finite number above 0")
    points = [difference(p, q, level=level, paired=paired) for p, q in zip(x.T, y.T, strict=True)]
    where = [None] * len(points) if epochs is None else [float(e) for e in epochs]
    if len(where) != len(points):
        raise InputError(f"epochs has {len(where)} entries for {len(points)} points")
    inside = [max(_p_below(d, margin), _p_above(d, -margin)) for d in points]
    outside = [min(1.0, len(points) * _p_outside(d, margin)) for d in points]
    p_supported, p_contradicted = max(inside), min(outside)
    telling = int(np.argmin(outside)) if p_contradicted <= level else int(np.argmax(inside))
    point = points[telling]
    unclear = "the interval holds values inside and outside the margin"
    if point.interval is not None and min(map(abs, point.interval)) > margin:
        unclear = f"outside the margin, but not significantly so among {len(points)} epochs"
    return _judgement(
        point,
        epoch=where[telling],
        p=(p_supported, p_contradicted),
        level=level,
        distance=abs(abs(point.effect) - margin),
        unclear=unclear,
        parts_at=tuple(
            e for e, p in zip(where, outside, strict=True) if e is not None and p <= level
        ),
    )


def judge_worse(
    a: ArrayLike, b: ArrayLike, *, margin: float = 0.0, level: float = 0.05, paired: bool
) -> Judgement:
    """d = mean(b) − mean(a) > 0: b is worse where the quantity is an error or a loss.

    "supported": d ≤ 0 is rejected. "contradicted": d ≥ δ is rejected (and d ≤ 0 is not).

    Args:
        a, b: (seeds,) one number per seed.
        margin: δ ≥ 0, the smallest difference that counts.
    """
    if not (np.isfinite(margin) and margin >= 0):
        raise InputError(f"margin={margin!r}: it must be a finite number of at least 0")
    point = difference(a, b, level=level, paired=paired)
    p = (_p_above(point, 0.0), _p_below(point, margin))
    distance = max(point.effect, margin - point.effect)
    unclear = "the interval holds both no difference and one of the margin"
    return _judgement(point, epoch=None, p=p, level=level, distance=distance, unclear=unclear)


def judge_order(
    samples: Sequence[ArrayLike], *, margin: float = 0.0, level: float = 0.05, paired: bool
) -> Judgement:
    """Each sample is worse than the one before: every neighbouring pair must be.

    "supported": all pairs; "contradicted": some pair at level/(pairs). The numbers shown are
    those of the pair that decides.
    """
    if len(samples) < 2:
        raise InputError(f"an order needs at least two groups; given: {len(samples)}")
    pairs = [
        judge_worse(x, y, margin=margin, level=level, paired=paired) for x, y in pairwise(samples)
    ]
    p_supported = max(j.p_supported for j in pairs)
    p_contradicted = min(1.0, len(pairs) * min(j.p_contradicted for j in pairs))
    if p_contradicted <= level:
        decisive = min(pairs, key=lambda j: j.p_contradicted)
    else:
        decisive = max(pairs, key=lambda j: j.p_supported)
    unclear = "not all neighbours are told apart"
    verdict, reason = _decide(decisive.n, p_supported, p_contradicted, level, unclear)
    return Judgement(
        verdict,
        reason,
        decisive.effect,
        decisive.interval,
        decisive.n,
        decisive.seeds_needed,
        None,
        p_supported,
        p_contradicted,
        paired,
        decisive.correlation,
    )


def holm(p_values: Sequence[float]) -> list[float]:
    """Adjusted p-values of Holm's step-down procedure: family-wise error at most the level.

    Source: Holm 1979.
    """
    adjusted, running = [0.0] * len(p_values), 0.0
    for rank, index in enumerate(sorted(range(len(p_values)), key=lambda i: p_values[i])):
        running = max(running, min(1.0, (len(p_values) - rank) * p_values[index]))
        adjusted[index] = running
    return adjusted


def _judgement(
    point: Difference,
    *,
    epoch: float | None,
    p: tuple[float, float],
    level: float,
    distance: float,
    unclear: str,
    parts_at: tuple[float, ...] = (),
) -> Judgement:
    verdict, reason = _decide(point.n, *p, level, unclear)
    return Judgement(
        verdict,
        reason,
        point.effect,
        point.interval,
        point.n,
        _seeds_needed(point, distance, level),
        epoch,
        *p,
        point.paired,
        point.correlation,
        parts_at,
    )


def _decide(
    n: int, p_supported: float, p_contradicted: float, level: float, unclear: str
) -> tuple[Verdict, str]:
    if n < FEWEST_SEEDS:
        return "undecided", f"{n} seeds: a verdict needs at least {FEWEST_SEEDS}"
    if p_supported <= level:
        return "supported", ""
    if p_contradicted <= level:
        return "contradicted", ""
    return "undecided", unclear


def _seeds_needed(point: Difference, distance: float, level: float) -> int | None:
    """Smallest n whose t quantiles for level and power fit `distance` in standard errors."""
    if point.stderr is None or distance <= 0:
        return None
    if point.stderr == 0:
        return FEWEST_SEEDS
    # Per-seed spread of the difference; the degrees of freedom grow as they did here.
    spread, per_seed = point.stderr * sqrt(point.n), point.degrees / max(point.n - 1, 1)

    def enough(n: int) -> bool:
        degrees = per_seed * (n - 1)
        wanted = _quantile(1 - level, degrees) + _quantile(PLANNED_POWER, degrees)
        return wanted * spread / sqrt(n) <= distance

    if not enough(MOST_SEEDS):
        return None
    low, high = FEWEST_SEEDS - 1, MOST_SEEDS
    while high - low > 1:
        middle = ceil((low + high) / 2)
        low, high = (low, middle) if enough(middle) else (middle, high)
    return high


def _statistic(point: Difference, bound: float) -> float | None:
    if point.stderr is None:
        return None
    gap = point.effect - bound
    if point.stderr == 0:
        return 0.0 if gap == 0 else (inf if gap > 0 else -inf)
    return gap / point.stderr


def _p_above(point: Difference, bound: float) -> float:
    """p-value against d ≤ bound."""
    from scipy.special import stdtr

    t = _statistic(point, bound)
    return 1.0 if t is None else float(stdtr(point.degrees, -t))


def _p_outside(point: Difference, margin: float) -> float:
    """p-value against |d| ≤ δ: P(|D| ≥ |d observed|) where d = δ, its least favourable value."""
    far = replace(point, effect=abs(point.effect))
    beyond = _p_above(far, margin)
    return beyond if point.stderr == 0 else min(1.0, beyond + _p_above(far, -margin))


def _p_below(point: Difference, bound: float) -> float:
    """p-value against d ≥ bound."""
    from scipy.special import stdtr

    t = _statistic(point, bound)
    return 1.0 if t is None else float(stdtr(point.degrees, t))


def _quantile(probability: float, degrees: float) -> float:
    from scipy.special import stdtrit

    return float(stdtrit(degrees, probability))


def _check_level(level: float) -> None:
    if not 0 < level < 0.5:
        raise InputError(f"level={level!r}: it must lie in (0, 0.5)")


def _sample(name: str, values: ArrayLike) -> NDArray[np.float64]:
    array = np.asarray(values, dtype=np.float64)
    if array.ndim != 1 or not len(array):
        raise InputError(f"{name} has shape {array.shape}: give one number per seed")
    if not np.all(np.isfinite(array)):
        raise InputError(f"{name} holds {int(np.sum(~np.isfinite(array)))} non-finite numbers")
    return array


def _curves(name: str, values: ArrayLike) -> NDArray[np.float64]:
    array = np.asarray(values, dtype=np.float64)
    if array.ndim == 1:
        array = array[:, None]
    if array.ndim != 2 or not array.size:
        raise InputError(f"{name} has shape {array.shape}: give (seeds, points)")
    return array
