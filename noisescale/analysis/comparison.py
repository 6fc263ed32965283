"""Are two groups of runs the same? Equivalence tests on curves over several seeds.

A claim of sameness needs a margin declared beforehand and is established, not assumed: two
one-sided tests at every epoch compared, all of which must reject (Schuirmann 1987; Berger 1982).
A failed test for a difference is never read as sameness.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from math import sqrt
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from noisescale.analysis.difference import (
    Array,
    Difference,
    columns,
    difference,
    p_above,
    p_below,
    sample,
)
from noisescale.errors import InputError

Verdict = Literal["supported", "contradicted", "undecided"]
# Below so many seeds no spread can be trusted, and every verdict is "undecided".
FEWEST_SEEDS = 3
# Probability of a decision that `seeds_needed` plans for.
PLANNED_POWER = 0.8
MOST_SEEDS = 10_000
PLANNING_DRAWS = 1000


@dataclass(frozen=True, slots=True)
class Judgement:
    """A verdict with the numbers behind it.

    Args:
        effect, interval: the difference at `epoch`, the point that decides (the least favourable
            one while sameness stands, the most telling one where it falls).
        p_supported, p_contradicted: p-values against the opposite claims.
        seeds_needed: seeds for a decision with probability 0.8 if the effect and spread are as
            measured, before any correction over predictions; None if 10,000 would not do.
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


def judge_same(
    a: ArrayLike,
    b: ArrayLike,
    *,
    margin: float,
    epochs: Sequence[float] | None = None,
    level: float = 0.05,
    paired: bool,
    resolution: float = 0.0,
    plan: bool = True,
) -> Judgement:
    """|d_k| < δ at every point k of the curves: two one-sided tests at each.

    "supported": every point rejects |d_k| ≥ δ at `level` (no correction needed: all must).
    "contradicted": some point rejects |d_k| ≤ δ at level/K (Bonferroni over the K points).

    Args:
        a, b: (seeds,) or (seeds, K), quantities whose differences matter.
        margin: δ > 0, declared before the runs.
        epochs: (K,) where the points lie, for the record.
        resolution: see `difference`.
        plan: work out seeds_needed, which takes longer than the verdict.

    Raises:
        InputError: shapes, margin or level out of range.
    """
    x, y = _curves("a", a), _curves("b", b)
    if x.shape[1] != y.shape[1]:
        raise InputError(f"curves differ in length: {x.shape[1]} and {y.shape[1]} points")
    if not (np.isfinite(margin) and margin > 0):
        raise InputError(f"margin={margin!r}: it must be a finite number above 0")
    points = [
        difference(p, q, level=level, paired=paired, resolution=resolution)
        for p, q in zip(x.T, y.T, strict=True)
    ]
    where = [None] * len(points) if epochs is None else [float(e) for e in epochs]
    if len(where) != len(points):
        raise InputError(f"epochs has {len(where)} entries for {len(points)} points")

    if points[0].stderr is None:
        inside = outside = np.ones(len(points))
    else:
        inside, outside = same_p_values(*columns(points), margin)
    decided = float(outside.min()) <= level
    telling = int(np.argmin(outside)) if decided else int(np.argmax(inside))
    point = points[telling]
    unclear = "the interval holds values inside and outside the margin"
    if point.interval is not None and (point.interval[0] > margin or point.interval[1] < -margin):
        unclear = f"outside the margin, but not significantly so among {len(points)} points"

    def is_decided(effect: Array, stderr: Array, degrees: Array) -> NDArray[np.bool_]:
        into, out = same_p_values(effect, stderr, degrees, margin)
        return (into.max(axis=1) <= level) | (out.min(axis=1) <= level)

    return _judgement(
        point,
        where[telling],
        (float(inside.max()), float(outside.min())),
        level,
        unclear,
        _seeds_needed(points, _covariance(x, y, paired), resolution, is_decided) if plan else None,
        tuple(e for e, p in zip(where, outside, strict=True) if e is not None and p <= level),
    )


def same_p_values(
    effect: Array, stderr: Array, degrees: Array, margin: float
) -> tuple[Array, Array]:
    """p-values against |d_k| ≥ δ and against |d_k| ≤ δ, the latter times K (Bonferroni).

    Args:
        effect, stderr, degrees: (..., K) differences at the K points of curves.
        margin: δ ≥ 0; at 0 the second is the two-sided test for any difference.
    """
    inside = np.maximum(
        p_below(effect, margin, stderr, degrees), p_above(effect, -margin, stderr, degrees)
    )
    # P(|D| ≥ |d observed|) where d = δ, the least favourable value of |d| ≤ δ.
    far = np.abs(effect)
    outside = p_above(far, margin, stderr, degrees) + np.where(
        stderr > 0, p_above(far, -margin, stderr, degrees), 0.0
    )
    return inside, np.minimum(1.0, effect.shape[-1] * outside)


def judge_worse(
    a: ArrayLike,
    b: ArrayLike,
    *,
    margin: float = 0.0,
    level: float = 0.05,
    paired: bool,
    resolution: float = 0.0,
    plan: bool = True,
) -> Judgement:
    """d = mean(b) − mean(a) > δ: b is worse by more than δ, of an error or a loss.

    "supported": d ≤ δ is rejected. "contradicted": d ≥ δ is rejected.

    Args:
        a, b: (seeds,) one number per seed.
        margin: δ ≥ 0, the smallest difference that counts.
        resolution: see `difference`.
        plan: work out seeds_needed, which takes longer than the verdict.
    """
    if not (np.isfinite(margin) and margin >= 0):
        raise InputError(f"margin={margin!r}: it must be a finite number of at least 0")
    x, y = sample("a", a), sample("b", b)
    point = difference(x, y, level=level, paired=paired, resolution=resolution)
    p = (1.0, 1.0)
    if point.stderr is not None:
        effect, stderr, degrees = columns([point])
        p = (
            float(p_above(effect, margin, stderr, degrees)[0]),
            float(p_below(effect, margin, stderr, degrees)[0]),
        )

    def is_decided(effect: Array, stderr: Array, degrees: Array) -> NDArray[np.bool_]:
        above = p_above(effect, margin, stderr, degrees)
        below = p_below(effect, margin, stderr, degrees)
        return np.asarray(np.minimum(above, below) <= level)[:, 0]

    covariance = _covariance(x[:, None], y[:, None], paired)
    needed = _seeds_needed([point], covariance, resolution, is_decided) if plan else None
    unclear = "the interval holds values below and above the margin"
    return _judgement(point, None, p, level, unclear, needed, ())


def judge_order(
    samples: Sequence[ArrayLike],
    *,
    margin: float = 0.0,
    level: float = 0.05,
    paired: bool,
    resolution: float = 0.0,
    plan: bool = True,
) -> Judgement:
    """Each sample is worse than the one before, by more than δ: every neighbouring pair must be.

    "supported": all pairs; "contradicted": some pair at level/(pairs). The numbers shown are
    those of the pair that decides.
    """
    if len(samples) < 2:
        raise InputError(f"an order needs at least two groups; given: {len(samples)}")
    pairs = [
        judge_worse(
            x, y, margin=margin, level=level, paired=paired, resolution=resolution, plan=plan
        )
        for x, y in pairwise(samples)
    ]
    p_supported = max(j.p_supported for j in pairs)
    p_contradicted = min(1.0, len(pairs) * min(j.p_contradicted for j in pairs))
    if p_contradicted <= level:
        decisive = min(pairs, key=lambda j: j.p_contradicted)
    else:
        decisive = max(pairs, key=lambda j: j.p_supported)
    unclear = "not all neighbours are told apart"
    verdict, reason = _decide(decisive.n, p_supported, p_contradicted, level, unclear)
    return replace(
        decisive,
        verdict=verdict,
        reason=reason,
        p_supported=p_supported,
        p_contradicted=p_contradicted,
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
    epoch: float | None,
    p: tuple[float, float],
    level: float,
    unclear: str,
    needed: int | None,
    parts_at: tuple[float, ...],
) -> Judgement:
    verdict, reason = _decide(point.n, *p, level, unclear)
    return Judgement(
        verdict,
        reason,
        point.effect,
        point.interval,
        point.n,
        needed,
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


def _covariance(x: Array, y: Array, paired: bool) -> Array | None:
    """(K, K) covariance over seeds of the difference at the K points; None below two seeds."""
    if min(len(x), len(y)) < 2:
        return None
    if paired:
        return np.atleast_2d(np.cov(y - x, rowvar=False))
    return np.atleast_2d(np.cov(x, rowvar=False)) + np.atleast_2d(np.cov(y, rowvar=False))


def _seeds_needed(
    points: Sequence[Difference],
    covariance: Array | None,
    resolution: float,
    is_decided: Callable[[Array, Array, Array], NDArray[np.bool_]],
) -> int | None:
    """Smallest n at which the test decides with probability 0.8, by simulation.

    Normal seeds with the measured effects and covariance; all points of a curve together.
    """
    if covariance is None:
        return None
    rng = np.random.default_rng(0)
    values, vectors = np.linalg.eigh(covariance)
    root = vectors * np.sqrt(np.maximum(values, 0.0))
    means = rng.standard_normal((PLANNING_DRAWS, len(points))) @ root.T
    normal = rng.standard_normal((PLANNING_DRAWS, len(points)))
    effects = np.array([point.effect for point in points])
    spreads = np.sqrt(np.diag(covariance))
    # The degrees of freedom grow as they did here: n−1 if paired, up to 2(n−1) if not.
    per_seed = np.array([point.degrees / max(point.n - 1, 1) for point in points])

    def enough(n: int) -> bool:
        degrees = per_seed * (n - 1)
        # χ²/degrees of the measured variance (Wilson & Hilferty 1931).
        width = 2 / (9 * degrees)
        ratio = np.maximum(1 - width + normal * np.sqrt(width), 0.0) ** 3
        stderr = np.maximum(spreads * np.sqrt(ratio), resolution) / sqrt(n)
        decided = is_decided(effects + means / sqrt(n), stderr, degrees)
        return bool(decided.mean() >= PLANNED_POWER)

    if not enough(MOST_SEEDS):
        return None
    low, high = FEWEST_SEEDS - 1, MOST_SEEDS
    while high - low > 1:
        middle = int(sqrt(low * high)) if high > 2 * low else (low + high) // 2
        middle = min(max(middle, low + 1), high - 1)
        low, high = (low, middle) if enough(middle) else (middle, high)
    return high


def _curves(name: str, values: ArrayLike) -> Array:
    array = np.asarray(values, dtype=np.float64)
    if array.ndim == 1:
        array = array[:, None]
    if array.ndim != 2 or not array.size:
        raise InputError(f"{name} has shape {array.shape}: give (seeds, points)")
    return array
