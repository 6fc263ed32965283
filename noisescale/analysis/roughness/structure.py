"""The structure function S(k) = mean (V(x+k) − V(x))² of regular traces, at all lags at once."""

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.fft import irfft, next_fast_len, rfft

from noisescale.analysis.arrays import traces
from noisescale.analysis.checks import positive_integer
from noisescale.errors import InputError, shown

Array = NDArray[np.float64]

# Up to so many lags a sum over pairs is faster than transforms, and it never cancels.
_DIRECT = 24
# A transform has an error of about 1e-15 of the squares it subtracts: sums below this part of
# them are done again on shorter segments.
_CANCELLED = 1 / 250
# Segments shorter than this cost more in calls than they save.
_SHORTEST = 1024
# Isolated lags (periods of V) that are summed pair by pair.
_MOST_ISOLATED = 256


def structure_function(
    values: ArrayLike, max_lag: int | None = None
) -> tuple[NDArray[np.int64], NDArray[np.float64], NDArray[np.int64]]:
    """S(k) = (1/n_k) Σ_i (V_{i+k} − V_i)², averaged over leading axes, k = 1 … max_lag.

    The product V_{i+k} V_i is a convolution. Where the squares nearly cancel (small lags of a path
    that wanders far), the sum is taken on short segments, each centred: the result agrees with the
    double loop to 1e-12 relative. At a period of V, where S(k) itself vanishes, the error is
    absolute, 1e-14 of the variance.

    Args:
        values: V, (..., n) values at equal spacings, n ≥ 2; leading axes are separate traces.
        max_lag: largest k, at most n − 1 (the default).

    Returns:
        (lags k, S(k) in units of V², number of pairs n_k over all traces), each (max_lag,).

    Raises:
        InputError: values not finite or fewer than 2; max_lag out of range.
    """
    rows = traces("values", values, fewest=2)
    n = rows.shape[-1]
    largest = n - 1 if max_lag is None else positive_integer("max_lag", max_lag)
    if largest >= n:
        raise InputError(f"max_lag={shown(max_lag)}: {n} values have lags up to {n - 1}")
    lags = np.arange(1, largest + 1)
    pairs = len(rows) * (n - lags)
    # In units in which no square overflows or vanishes.
    rows = rows - rows.mean(-1, keepdims=True)
    size = np.abs(rows).max() or 1.0
    return lags, pair_sums(rows / size, largest) / pairs * size**2, pairs


def pair_sums(rows: Array, largest: int) -> Array:
    """Σ (V_{i+k} − V_i)² over all pairs and rows, k = 1 … largest < n."""
    sums = np.empty(largest)
    direct = min(largest, _DIRECT)
    for k in range(1, direct + 1):
        sums[k - 1] = _pair_sum(rows, k)
    if largest == direct:
        return sums
    cross, squares = _segment_sums(rows, largest)
    sums[direct:] = (squares - 2 * cross)[direct:]
    lost = np.flatnonzero(sums[direct:] < _CANCELLED * squares[direct:]) + direct + 1
    # Shorter segments help only with lags much shorter than these segments.
    again = lost[lost <= largest // 2]
    if len(again) and again[-1] > direct:
        run = int(again[-1])
        sums[direct:run] = pair_sums(rows, run)[direct:]
    for k in lost[lost > largest // 2][:_MOST_ISOLATED]:
        sums[k - 1] = _pair_sum(rows, int(k))
    return sums


def _pair_sum(rows: Array, k: int) -> float:
    step = rows[:, k:] - rows[:, :-k]
    return float(np.einsum("ij,ij->", step, step))


def _segment_sums(rows: Array, largest: int) -> tuple[Array, Array]:
    """(Σ V_{i+k} V_i, Σ V_{i+k}² + V_i²) over all pairs, each segment centred on its own mean."""
    n = rows.shape[-1]
    hop = min(n, max(4 * largest, _SHORTEST))
    cross, squares = np.zeros(largest), np.zeros(largest)
    lags = np.arange(1, largest + 1)
    size = next_fast_len(hop + largest, real=True)
    for start in range(0, n - 1, hop):
        ahead = rows[:, start : start + hop + largest]
        length = ahead.shape[-1]
        ahead = ahead - ahead.mean(-1, keepdims=True)
        here = ahead[:, :hop]
        transform = rfft(ahead, size)
        other = transform if here.shape == ahead.shape else rfft(here, size)
        spectrum = np.einsum("ij,ij->j", transform, other.conj())
        cross += irfft(spectrum, size)[1 : largest + 1]
        # V_i runs over min(hop, length − k) points, V_{i+k} over as many from k on.
        total = np.concatenate([[0.0], np.cumsum(np.einsum("ij,ij->j", ahead, ahead))])
        count = np.clip(length - lags, 0, hop)
        first = np.minimum(lags, length)
        squares += total[count] + total[np.minimum(first + count, length)] - total[first]
    return cross, squares
