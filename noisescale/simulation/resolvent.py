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
def add_mean_squares(up: Array, down: Array, stay: Array, square: Array, weight: float) -> None:
    """Add weight × E_i[(X − i)²] for every start i; (n,)."""
    n = up.size
    for side in range(2):
        odds = up if side == 0 else down
        # P, E|d|, E d² of the part beyond the start, carried from the far end.
        p, first, second, last = 0.0, 0.0, 0.0, 0.0
        for k in range(n):
            i = n - 1 - k if side == 0 else k
            if k > 0:
                go = 1.0 / (1.0 + odds[i])
                p = go * (last + p)
                second = p + go * (2.0 * first + second)
                first = p + go * first
            last = stay[i]
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
def summarise(
    up: Array,
    down: Array,
    stay: Array,
    starts: NDArray[np.int64],
    numbers: Array,
    log_up: Array,
    log_down: Array,
    above: Array,
    below: Array,
) -> None:
    """One sweep from either end: numbers of some starts, and random access to every law.

    P_i(X ≥ j) = exp(log_up[j] − log_up[i]) above[j] for j ≥ i, and likewise with down and below.

    Args:
        up, down, stay: (n,) of `factorise`.
        starts: (S,) ascending.
        numbers: (5, S), filled with E[X − i], E|X − i|, E[(X − i)²], Σ_j P_i(X = j)² (two
            independent walkers, each at its own clock, on one site), and P(reach 0) +
            P(reach n−1) before the clock, at most 1: a bound of P(an end is touched).
        log_up, log_down: (n,) filled with Σ_{k≥i} ln 1/up_k and Σ_{k≤i} ln 1/down_k.
        above, below: (n,) filled with P_i(X ≥ i) and P_i(X ≤ i).
    """
    n = up.size
    p, first, second, same, reach, logarithm = 0.0, 0.0, 0.0, 0.0, 1.0, 0.0
    k = starts.size - 1
    for i in range(n - 1, -1, -1):
        if i < n - 1:
            go, near = 1.0 / (1.0 + up[i]), stay[i + 1]
            p = go * (near + p)
            second = p + go * (2.0 * first + second)
            first = p + go * first
            same = go * go * (near * near + same)
            reach *= go
            logarithm += np.log1p(up[i])
        log_up[i] = logarithm
        above[i] = stay[i] + p
        while k >= 0 and starts[k] == i:
            numbers[0, k], numbers[1, k], numbers[2, k] = first, first, second
            numbers[3, k], numbers[4, k] = stay[i] * stay[i] + same, reach
            k -= 1
    p, first, second, same, reach, logarithm = 0.0, 0.0, 0.0, 0.0, 1.0, 0.0
    k = 0
    for i in range(n):
        if i > 0:
            go, near = 1.0 / (1.0 + down[i]), stay[i - 1]
            p = go * (near + p)
            second = p + go * (2.0 * first + second)
            first = p + go * first
            same = go * go * (near * near + same)
            reach *= go
            logarithm += np.log1p(down[i])
        log_down[i] = logarithm
        below[i] = stay[i] + p
        while k < starts.size and starts[k] == i:
            numbers[0, k] -= first
            numbers[1, k] += first
            numbers[2, k] += second
            numbers[3, k] += same
            numbers[4, k] = min(1.0, numbers[4, k] + reach)
            k += 1


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
