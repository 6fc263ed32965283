"""Averages of correlated measurements with their errors: the block jackknife."""

from collections.abc import Sequence
from math import ceil, isqrt

import numpy as np
from numpy.typing import ArrayLike, NDArray

from noisescale.analysis.checks import positive_integer
from noisescale.errors import InputError, shown

Array = NDArray[np.float64]

# More blocks would narrow the interval by a few per cent and be shorter against a correlation.
MOST_BLOCKS, ENOUGH_BLOCKS = 20, 8
# Below so many, Student's quantile explodes.
FEWEST_BLOCKS = 5
# Blocks of so many mean lags of the correlation have a variance one part in so many too small.
_LAGS_PER_BLOCK = 15.0
# The sum of correlations ends at so many autocorrelation times (Sokal 1997, section 3).
_WINDOW = 5.0


def block_labels(blocks: object, series: Sequence[Array]) -> tuple[NDArray[np.int64], float]:
    """(n,) number of each measurement's block, and the autocorrelation time of the last series.

    Args:
        blocks: how many blocks of consecutive measurements, or a label for each measurement (of
            its run, say), or None: √n, 8 to 20, long against the correlation of the measurements,
            but not fewer than 5 (or than there are measurements).
        series: (n,) each, what is averaged, and what its correlation matters for.
    """
    n = len(series[0])
    time, lag = autocorrelation(series)
    if blocks is None:
        # Correlation is seen late among few measurements: √n blocks of √n each.
        most = min(MOST_BLOCKS, max(ENOUGH_BLOCKS, isqrt(n)))
        long_enough = n // max(1, ceil(_LAGS_PER_BLOCK * lag))
        number = min(n, most, max(FEWEST_BLOCKS, long_enough))
    elif np.ndim(blocks) == 0:  # type: ignore[arg-type]
        number = positive_integer("blocks", blocks)
        if number > n:
            raise InputError(f"blocks={number}: there are only {n} measurements")
    else:
        return _given(blocks, n), time  # type: ignore[arg-type]
    return np.arange(n, dtype=np.int64) * number // n, time


def left_out(pairs: Array, labels: NDArray[np.int64]) -> Array:
    """(blocks, 2) mean pair without each block in turn."""
    number = int(labels.max()) + 1
    sums = np.stack([np.bincount(labels, weights=column, minlength=number) for column in pairs.T])
    counts = np.bincount(labels, minlength=number)
    return np.asarray((pairs.sum(axis=0) - sums.T) / (len(pairs) - counts)[:, None])


def jackknife_covariance(values: Array) -> Array:
    """(g−1)/g Σ_j (θ_j − mean θ)(θ_j − mean θ)ᵀ over the g values without one block each."""
    away = values - values.mean(axis=0)
    return np.asarray((len(values) - 1) / len(values) * away.T @ away)


def autocorrelation(series: Sequence[Array]) -> tuple[float, float]:
    """(τ = 1 + 2 Σ_k ρ_k of the last series, largest 2 Σ_k k ρ_k/τ); (1, 0) where none is seen.

    The mean over blocks of length ℓ lacks the second number over ℓ of its variance.

    Source: Sokal 1997, section 3 (window of five τ).
    """
    n = len(series[0])
    if n < 2 * FEWEST_BLOCKS:
        return 1.0, 0.0
    found = [_correlated(one - one.mean()) for one in series]
    # Lags are believed without proof: too few blocks cost a little width, too many the coverage.
    lag = max([0.0, *(lag for time, lag in found if time > 1)])
    time = found[-1][0]
    return (time if time > 1 + float(np.sqrt(4 * _WINDOW / n)) else 1.0), lag


def influence(pairs: Array) -> Array:
    """(n,) (T_i Q − Q_i T)/|TQ|: each measurement's push on the ratio T/Q of the means."""
    mean = pairs.mean(axis=0)
    unit = np.where(mean != 0, np.abs(mean), 1.0)
    top, bottom = mean / unit
    return np.asarray(pairs[:, 0] / unit[0] * bottom - pairs[:, 1] / unit[1] * top)


def _correlated(series: Array) -> tuple[float, float]:
    from scipy.fft import irfft, next_fast_len, rfft

    size = float(np.abs(series).max())
    if size == 0:
        return 1.0, 0.0
    n = len(series)
    length = next_fast_len(2 * n, real=True)
    products = irfft(np.abs(rfft(series / size, length)) ** 2, length)[: n // 2]
    # Per pair, not per measurement: long lags have fewer pairs.
    correlations = products / products[0] * n / np.arange(n, n - len(products), -1)
    times = 2 * np.cumsum(correlations) - 1
    enough = np.flatnonzero(np.arange(len(times)) >= _WINDOW * times)
    last = int(enough[0]) if len(enough) else len(times) - 1
    time = float(times[last])
    if time <= 0:
        return 1.0, 0.0
    lags = np.arange(last + 1)
    return time, float(2 * lags @ correlations[: last + 1]) / time


def _given(blocks: ArrayLike, n: int) -> NDArray[np.int64]:
    labels = np.asarray(blocks)
    if labels.shape != (n,):
        raise InputError(
            f"blocks={shown(blocks)}: give a number of blocks, or a label for each of the {n} "
            "measurements"
        )
    return np.asarray(np.unique(labels, return_inverse=True)[1], np.int64)
