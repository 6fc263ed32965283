"""The comparison tried out: on splits of one group, and on differences that were planted."""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import combinations
from math import comb, sqrt
from typing import Literal

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from noisescale.analysis.comparison import FEWEST_SEEDS, same_p_values
from noisescale.analysis.run_groups.runs import Array

DRAWS = 1000
_MOST_SPLITS = 500
# Most random numbers at once.
_BLOCK = 2**22


@dataclass(frozen=True, slots=True)
class Calibration:
    """How the comparison does where the truth is known.

    Args:
        method: "splits": the first group's runs split in halves, in all ways or 500 random ones;
            "resampled": pairs of groups drawn with the first group's covariance.
        trials, different, same: pairs of groups without a difference, and how many of them were
            called "different" and "same".
        sizes: runs in the two groups of a trial.
        power_same: probability of "same" where nothing differs, at the seeds in hand.
        power_different: probability of "different" where every point differs by twice the margin.
        power_margin: probability to tell a difference of the margin at every point from none.
        draws: behind each power.
    """

    method: Literal["splits", "resampled"]
    trials: int
    different: int
    same: int
    sizes: tuple[int, int]
    power_same: float
    power_different: float
    power_margin: float
    draws: int


def differences(
    a: Array, b: Array, paired: bool, resolution: float = 0.0
) -> tuple[Array, Array, Array]:
    """mean(b) − mean(a), its standard error and degrees of freedom, as `difference` has them.

    Args:
        a, b: (..., seeds, K).
    """
    x, y = a.shape[-2], b.shape[-2]
    effect = b.mean(axis=-2) - a.mean(axis=-2)
    if paired:
        variance = (b - a).var(axis=-2, ddof=1) / x
        degrees = np.full(effect.shape, float(x - 1))
    else:
        of_a, of_b = a.var(axis=-2, ddof=1) / x, b.var(axis=-2, ddof=1) / y
        variance = of_a + of_b
        spread = of_a**2 / (x - 1) + of_b**2 / (y - 1)
        with np.errstate(divide="ignore", invalid="ignore"):
            degrees = np.where(spread > 0, variance**2 / spread, float(x + y - 2))
    stderr = np.maximum(np.sqrt(variance), resolution / sqrt(min(x, y)))
    return effect, stderr, degrees


def calibrate(
    a: Array, b: Array, *, margin: float, level: float, paired: bool, resolution: float
) -> Calibration:
    """The comparison's rates at these numbers of seeds, spreads and correlations over the points.

    Args:
        a, b: (seeds, K) with at least three seeds each.
        margin, level, paired, resolution: as the comparison has them.
    """
    rng = np.random.default_rng(0)

    def called(shift: float, of_a: Array, of_b: Array) -> NDArray[np.int64]:
        """Of DRAWS planted pairs those called same, different and other than equal."""
        counts = np.zeros(3, dtype=np.int64)
        for x, y in _planted(of_a, of_b, (len(a), len(b)), shift, paired, rng):
            counts += _counts(*differences(x, y, paired, resolution), margin, level)
        return counts

    spread = b - a if paired else b
    half = len(a) // 2
    method: Literal["splits", "resampled"]
    if half >= FEWEST_SEEDS and not paired:
        splits = _splits(len(a), rng)
        counts = np.zeros(3, dtype=np.int64)
        for one, other in splits:
            halves = differences(a[one][None], a[other][None], False, resolution)
            counts += _counts(*halves, margin, level)
        method, trials, sizes = "splits", len(splits), (half, len(a) - half)
    else:
        counts = called(0.0, a, spread if paired else a)
        method, trials, sizes = "resampled", DRAWS, (len(a), len(b))
    planted = [called(shift, a, spread) / DRAWS for shift in (0.0, 2 * margin, margin)]
    return Calibration(
        method,
        trials,
        different=int(counts[1]),
        same=int(counts[0]),
        sizes=sizes,
        power_same=float(planted[0][0]),
        power_different=float(planted[1][1]),
        power_margin=float(planted[2][2]),
        draws=DRAWS,
    )


def _counts(
    effect: Array, stderr: Array, degrees: Array, margin: float, level: float
) -> NDArray[np.int64]:
    """How many of the (trials, K) curves are called same, different, and other than equal."""
    inside, outside = same_p_values(effect, stderr, degrees, margin)
    _, apart = same_p_values(effect, stderr, degrees, 0.0)
    return np.array(
        [
            (inside.max(axis=-1) <= level).sum(),
            (outside.min(axis=-1) <= level).sum(),
            (apart.min(axis=-1) <= level).sum(),
        ]
    )


def _splits(runs: int, rng: Generator) -> list[tuple[NDArray[np.intp], NDArray[np.intp]]]:
    """Ways to split runs in halves: all, or some at random where there are too many."""
    everything, half = np.arange(runs), runs // 2
    ways = comb(runs, half) // (1 if runs % 2 else 2)
    if ways <= _MOST_SPLITS:
        # Of two complementary halves, the one that holds run 0.
        chosen = [np.array(c) for c in combinations(range(runs), half) if runs % 2 or c[0] == 0]
    else:
        chosen = [rng.permutation(runs)[:half] for _ in range(_MOST_SPLITS)]
    return [(one, np.setdiff1d(everything, one)) for one in chosen]


def _planted(
    a: Array, b: Array, sizes: tuple[int, int], shift: float, paired: bool, rng: Generator
) -> Iterator[tuple[Array, Array]]:
    """DRAWS pairs of groups of normal curves, in blocks: `shift` apart at every point.

    Paired curves differ as those of `b` vary over its rows; the first group is then 0.
    """
    points = a.shape[1]
    block = max(1, min(DRAWS, _BLOCK // (max(sizes) * points)))
    roots = [_root(a), _root(b)]
    for start in range(0, DRAWS, block):
        count = min(block, DRAWS - start)
        x, y = (
            rng.standard_normal((count, size, points)) @ root.T
            for size, root in zip(sizes, roots, strict=True)
        )
        yield (np.zeros_like(x) if paired else x), y + shift


def _root(rows: Array) -> Array:
    """R with R Rᵀ = covariance of the rows over seeds."""
    values, vectors = np.linalg.eigh(np.atleast_2d(np.cov(rows, rowvar=False)))
    return np.asarray(vectors * np.sqrt(np.maximum(values, 0.0)))
