"""The law of a walker at an exponential clock, for all starting points, without a subtraction.

At a time τ with P(τ > x) = exp(−s x) the walker's law is a row of the resolvent s (s − L)^{-1}.
On a line it factorises: with up_i = P(the walker at i reaches i+1 before τ),
down_i = P(it reaches i−1 before τ) and stay_i = P(it is at i at τ, started there),

    P_i(X_τ = j) = up_i up_{i+1} … up_{j−1} stay_j   for j > i, and likewise with down for j < i.

up and down follow from Grassmann–Taksar–Heyman elimination from either end, and every quantity
below is a sum of products of positive numbers: relative accuracy holds entry by entry, for any s.

Source: Grassmann, Taksar & Heyman 1985 (elimination without subtractions); O'Cinneide 1993
(its entrywise accuracy); the two-sided factorisation is derived here.
"""

import numba
import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


@numba.njit(nogil=True, cache=True)
def factorise(right: Array, left: Array, s: float, up: Array, down: Array, stay: Array) -> None:
    """Fill the odds against going up and down, (1 − p)/p, and P(stay), each (n,).

    Odds keep what 1 − p would lose when p is within 1e-16 of 1.
    """
    n = right.size
    back = 0.0  # rate of the exits to the left that do not come back
    for i in range(n - 1):
        q = s + left[i] * back
        up[i] = q / right[i]
        back = up[i] / (1.0 + up[i])
    up[n - 1] = np.inf
    back = 0.0
    for i in range(n - 1, 0, -1):
        q = s + right[i] * back
        down[i] = q / left[i]
        # stay_i = s / (s + exits that do not come back on either side)
        stay[i] = s / (q + left[i] * (up[i - 1] / (1.0 + up[i - 1])))
        back = down[i] / (1.0 + down[i])
    down[0] = np.inf
    stay[0] = s / (s + right[0] * back)


@numba.njit(nogil=True, cache=True)
def add_moments(
    up: Array, down: Array, stay: Array, mean: Array, absolute: Array, square: Array, weight: float
) -> None:
    """Add weight × E_i[X−i], E_i|X−i|, E_i[(X−i)²] for every start i; arrays (n,)."""
    n = up.size
    for side in range(2):
        odds = up if side == 0 else down
        sign = weight if side == 0 else -weight
        # P, E|d|, E d² of the part beyond the start, carried from the far end.
        p, first, second, last = 0.0, 0.0, 0.0, 0.0
        for k in range(n):
            i = n - 1 - k if side == 0 else k
            if k > 0:
                go = 1.0 / (1.0 + odds[i])
                first_there = first
                beyond = go * (last + p)
                first = beyond + go * first_there
                second = beyond + go * (2.0 * first_there + second)
                p = beyond
            last = stay[i]
            mean[i] += sign * first
            absolute[i] += weight * first
            square[i] += weight * second


@numba.njit(nogil=True, cache=True)
def law_from(up: Array, down: Array, stay: Array, start: int, law: Array, weight: float) -> None:
    """Add weight × P_start(X = j) for all j to `law` (n,)."""
    law[start] += weight * stay[start]
    reach = weight
    for j in range(start + 1, up.size):
        reach /= 1.0 + up[j - 1]
        law[j] += reach * stay[j]
    reach = weight
    for j in range(start - 1, -1, -1):
        reach /= 1.0 + down[j + 1]
        law[j] += reach * stay[j]


@numba.njit(nogil=True, cache=True)
def tails(
    up: Array, down: Array, stay: Array, log_up: Array, log_down: Array, above: Array, below: Array
) -> None:
    """Random access to the law: Σ_{k<j} ln up_k, Σ_{k>j} ln down_k, P_j(X ≥ j), P_j(X ≤ j).

    P_i(X ≥ j) = exp(log_up[j] − log_up[i]) above[j] for j ≥ i; likewise below.
    """
    n = up.size
    log_up[0] = 0.0
    below[0] = stay[0]
    for i in range(1, n):
        log_up[i] = log_up[i - 1] - np.log1p(up[i - 1])
        below[i] = stay[i] + below[i - 1] / (1.0 + down[i])
    log_down[n - 1] = 0.0
    above[n - 1] = stay[n - 1]
    for i in range(n - 2, -1, -1):
        log_down[i] = log_down[i + 1] - np.log1p(down[i + 1])
        above[i] = stay[i] + above[i + 1] / (1.0 + up[i])


@numba.njit(nogil=True, cache=True)
def farther_than(
    distance: int, i: int, log_up: Array, log_down: Array, above: Array, below: Array
) -> float:
    """P_i(|X − i| ≥ distance), distance ≥ 1."""
    found = 0.0
    j = i + distance
    if j < log_up.size:
        found += np.exp(log_up[j] - log_up[i]) * above[j]
    j = i - distance
    if j >= 0:
        found += np.exp(log_down[j] - log_down[i]) * below[j]
    return found


@numba.njit(nogil=True, cache=True)
def quantile_distances(
    starts: NDArray[np.int64],
    level: float,
    log_up: Array,
    log_down: Array,
    above: Array,
    below: Array,
    out: NDArray[np.int64],
) -> None:
    """Smallest d with P_i(|X − i| ≤ d) ≥ level, for each start, by bisection."""
    for k in range(starts.size):
        i = starts[k]
        low, high = -1, log_up.size - 1  # P(|X−i| ≤ high) ≥ level holds, at low it does not
        while high - low > 1:
            d = (low + high) // 2
            if 1.0 - farther_than(d + 1, i, log_up, log_down, above, below) >= level:
                high = d
            else:
                low = d
        out[k] = high


@numba.njit(nogil=True, cache=True)
def positions_at(
    starts: NDArray[np.int64],
    uniforms: Array,
    log_up: Array,
    log_down: Array,
    above: Array,
    below: Array,
    out: NDArray[np.int64],
) -> None:
    """X_τ of independent walkers by inversion of the law: from the far right, then the far left."""
    n = log_up.size
    for k in range(starts.size):
        i, u = starts[k], uniforms[k]
        if u < above[i]:  # the largest j ≥ i with P(X ≥ j) > u
            low, high = i, n
            while high - low > 1:
                j = (low + high) // 2
                if np.exp(log_up[j] - log_up[i]) * above[j] > u:
                    low = j
                else:
                    high = j
            out[k] = low
        else:
            u = 1.0 - u
            low, high = -1, i
            while high - low > 1:  # the smallest j ≤ i with P(X ≤ j) > u
                j = (low + high) // 2
                if np.exp(log_down[j] - log_down[i]) * below[j] > u:
                    high = j
                else:
                    low = j
            out[k] = high


@numba.njit(nogil=True, cache=True)
def touched(up: Array, down: Array, wall: Array) -> None:
    """An upper bound of P_i(an end of the box is reached before the clock), into (n,).

    P(reach 0) + P(reach n−1), at most 1.
    """
    n = up.size
    reach = 1.0
    wall[0] = 1.0
    for i in range(1, n):
        reach /= 1.0 + down[i]
        wall[i] = reach
    reach = 1.0
    wall[n - 1] = 1.0
    for i in range(n - 2, -1, -1):
        reach /= 1.0 + up[i]
        wall[i] = min(1.0, wall[i] + reach)


@numba.njit(nogil=True, cache=True)
def meetings(up: Array, down: Array, stay: Array, same: Array) -> None:
    """Σ_j P_i(X = j)²: two independent walkers from i, each at its own clock, on one site."""
    n = up.size
    for i in range(n):
        same[i] = stay[i] * stay[i]
    beyond, last = 0.0, stay[n - 1]
    for i in range(n - 2, -1, -1):
        beyond = (beyond + last * last) / (1.0 + up[i]) ** 2
        same[i] += beyond
        last = stay[i]
    beyond, last = 0.0, stay[0]
    for i in range(1, n):
        beyond = (beyond + last * last) / (1.0 + down[i]) ** 2
        same[i] += beyond
        last = stay[i]


@numba.njit(nogil=True, cache=True)
def mean_farther_than(
    distance: int,
    starts: NDArray[np.int64],
    log_up: Array,
    log_down: Array,
    above: Array,
    below: Array,
) -> float:
    """P(|X − x0| ≥ distance), distance ≥ 1, averaged over starts."""
    total = 0.0
    for k in range(starts.size):
        total += farther_than(distance, starts[k], log_up, log_down, above, below)
    return total / starts.size
