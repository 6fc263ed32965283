"""Times of a propagation: given as t or as ln t, at an exponential clock or at a fixed time.

The resolvent gives the law at an exponentially distributed time of mean t. Means at the fixed
time t follow from a few such clocks by Gaver–Stehfest inversion of the Laplace transform.
"""

from functools import lru_cache
from math import comb, factorial, inf, log

import numpy as np
from numpy.typing import NDArray

from noisescale.analysis.checks import choice, positive_integer
from noisescale.errors import InputError, shown

CLOCKS = ("exponential", "fixed")
# 1/t and its products with hop rates must stay normal float64 numbers.
LARGEST_LOG_TIME = 540.0
STEHFEST_ORDERS = (4, 18)


def checked_log_times(
    times: object, log_t: object, name: str = "times"
) -> tuple[NDArray[np.float64], bool]:
    """ln t as an ascending (K,) array, and whether a single number was given.

    Raises:
        InputError: both or neither given, times ≤ 0, not ascending, or beyond e^540.
    """
    if (times is None) == (log_t is None):
        raise InputError(f"give exactly one of {name} and log_t")
    given, label = (log_t, "log_t") if times is None else (times, name)
    try:
        array = np.asarray(given)
        if array.dtype.kind not in "iuf" or array.ndim > 1 or not array.size:
            raise TypeError
        values = array.astype(np.float64)
    except (TypeError, ValueError, OverflowError):
        raise InputError(f"{label}={shown(given)}: it must be a number or a list") from None
    if times is not None:
        if not (values > 0).all() or not np.isfinite(values).all():
            raise InputError(
                f"{label}={shown(given)}: times must be finite and above 0; beyond 1e308 give log_t"
            )
        values = np.log(values)
    if not (np.abs(values) <= LARGEST_LOG_TIME).all():
        raise InputError(
            f"{label}={shown(given)}: ln t must lie between -{LARGEST_LOG_TIME:.0f} and "
            f"{LARGEST_LOG_TIME:.0f}"
        )
    if values.ndim and (np.diff(values) <= 0).any():
        raise InputError(f"{label}={shown(given)}: times must ascend")
    return np.atleast_1d(values), values.ndim == 0


def clock_mixture(clock: str, log_t: float, order: int) -> list[tuple[float, float]]:
    """(rate s, weight) pairs: an expectation at the clock is Σ weight × its value at rate s.

    exponential: the single pair (1/t, 1). fixed: s_k = k ln 2 / t with Stehfest's weights, which
    sum to 1.
    """
    choice("clock", clock, CLOCKS)
    if clock == "exponential":
        return [(float(np.exp(-log_t)), 1.0)]
    return [
        (float(np.exp(np.log(k) + log(log(2)) - log_t)), weight)
        for k, weight in enumerate(stehfest_weights(order), start=1)
    ]


@lru_cache(maxsize=16)
def stehfest_weights(order: int) -> tuple[float, ...]:
    """w_k = V_k / k of Gaver–Stehfest: f(t) ≈ Σ_k w_k E f(τ_k), τ_k exponential of mean t/(k ln 2).

    Args:
        order: even number of clocks, 4 to 18; the weights grow as 10^{order/2}, and so does
            the rounding error.

    Source: Stehfest 1970, algorithm 368.
    """
    low, high = STEHFEST_ORDERS
    n = positive_integer("order", order)
    if n % 2 or not low <= n <= high:
        raise InputError(f"order={shown(order)}: it must be an even number from {low} to {high}")
    half = n // 2
    weights = []
    for k in range(1, n + 1):
        total = 0
        for j in range((k + 1) // 2, min(k, half) + 1):
            top = j ** (half + 1) * comb(half, j) * comb(2 * j, j) * comb(j, k - j)
            total += top
        # j^{half} (2j)! / ((half−j)! j! (j−1)! (k−j)! (2j−k)!) written with binomials
        weights.append((-1) ** (half + k) * total / factorial(half) / k)
    return tuple(weights)


def time_of(log_t: float) -> float:
    """t, or infinity beyond what a float holds."""
    return float(np.exp(log_t)) if log_t < 709.0 else inf
