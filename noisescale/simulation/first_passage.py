"""Mean first-passage times on a line with reflecting ends."""

import numba
import numpy as np
from numpy.typing import ArrayLike, NDArray

from noisescale.errors import InputError, shown
from noisescale.simulation.rates import rates_on_line


def mean_first_passage_time(
    V: ArrayLike, T: float, start: ArrayLike, target: int, *, rates: str = "arrhenius"
) -> float | NDArray[np.float64]:
    """E τ(a→b) = Σ_{k=a}^{b−1} (1/(π_k r_k)) Σ_{j≤k} π_j with π = e^{−V/T}, for a < b.

    Computed as Σ h_k with h_k = (1 + l_k h_{k−1}) / r_k, the mean time of a first step k → k+1,
    which holds sums of positive local terms only; mirrored for a > b.

    Args:
        V: (n,) potential; both ends reflect.
        T: temperature, > 0.
        start: a, one site or (S,) sites.
        target: b, a site.
        rates: "arrhenius", "metropolis" or "heat_bath".

    Returns:
        Mean times in units of the free walker's hop, of the shape of `start`; 0 where a = b.

    Raises:
        InputError: a site outside, or a mean time beyond 1e308.

    Source: Gardiner 2009, Stochastic Methods, section 12.4 (birth–death processes).
    """
    right, left = rates_on_line(V, T, rates)
    n = right.size
    for name, given in (("start", start), ("target", target)):
        sites = np.asarray(given)
        whole = sites.dtype.kind in "iu" and sites.size
        if not whole or sites.min() < 0 or sites.max() >= n:
            raise InputError(f"{name}={shown(given)}: give sites, whole numbers from 0 to {n - 1}")
    if np.ndim(target):
        raise InputError(f"target={shown(target)}: give one site")
    times = np.zeros(n)
    _sum_first_steps(right, left, int(target), times)
    found = times[np.asarray(start)]
    if np.isinf(found).any():
        raise InputError(f"T={shown(T)}: a mean first-passage time exceeds 1e308; raise T")
    return float(found) if found.ndim == 0 else found


@numba.njit(cache=True)
def _sum_first_steps(
    right: NDArray[np.float64],
    left: NDArray[np.float64],
    target: int,
    times: NDArray[np.float64],
) -> None:
    # First the mean time of each step towards the target, then their sums from the target out.
    h = 0.0
    for k in range(target):
        h = (1.0 + left[k] * h) / right[k]
        times[k] = h
    for k in range(target - 2, -1, -1):
        times[k] += times[k + 1]
    h = 0.0
    for k in range(right.size - 1, target, -1):
        h = (1.0 + right[k] * h) / left[k]
        times[k] = h
    for k in range(target + 2, right.size):
        times[k] += times[k - 1]
