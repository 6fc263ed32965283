"""Hop rates of a continuous-time walker on a one-dimensional lattice, from local differences."""

import numpy as np
from numpy.typing import NDArray

from noisescale.analysis.checks import choice, positive
from noisescale.errors import InputError, shown

RATES = ("arrhenius", "metropolis", "heat_bath")
# |ΔV|/T: products of two rates and of a rate with 1/t stay inside what a float64 holds.
_STEEPEST = 300.0


def checked_potential(values: object, name: str = "V") -> NDArray[np.float64]:
    """A potential (..., n) as finite float64 with n ≥ 2, or an InputError."""
    try:
        array = np.asarray(values)
        if array.dtype.kind not in "iuf":
            raise TypeError
        array = array.astype(np.float64, copy=False)
    except (TypeError, ValueError):
        raise InputError(f"{name}={shown(values)}: it must be an array of numbers") from None
    if array.ndim == 0 or array.shape[-1] < 2:
        raise InputError(f"{name} of shape {array.shape}: it needs at least two sites")
    if not np.isfinite(array).all():
        raise InputError(f"{name} holds {int((~np.isfinite(array)).sum()):,} NaN or infinities")
    return array


def hop_rates(
    V: NDArray[np.float64], temperature: float, rates: str = "arrhenius"
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Rates w(i → i±1), in detailed balance with exp(−V/T); reflecting ends.

    With ΔV = V_j − V_i: arrhenius exp(−ΔV/2T), metropolis min(1, exp(−ΔV/T)), heat_bath
    1/(1 + exp(ΔV/T)). A free walker then hops with rate 1, 1, ½ to each neighbour, so that its
    mean square displacement is 2t, 2t, t.

    Args:
        V: (n,) potential on lattice sites of spacing 1.
        temperature: T > 0, in units of V.
        rates: which of the three.

    Returns:
        (right, left): (n,) each, hops per unit of time; right[n−1] = left[0] = 0.

    Raises:
        InputError: neighbours that differ by more than 300 T.
    """
    T = positive("T", temperature)
    choice("rates", rates, RATES)
    steps = np.diff(V) / T
    steepest = float(np.abs(steps).max())
    if steepest > _STEEPEST:
        raise InputError(
            f"T={shown(temperature)}: neighbouring sites differ by {steepest:.3g} T, at most "
            f"{_STEEPEST:.0f} T can be propagated; raise T or refine the lattice"
        )
    right, left = np.zeros(V.size), np.zeros(V.size)
    if rates == "arrhenius":
        np.exp(-0.5 * steps, out=right[:-1])
        np.exp(0.5 * steps, out=left[1:])
    elif rates == "metropolis":
        np.exp(np.minimum(-steps, 0.0), out=right[:-1])
        np.exp(np.minimum(steps, 0.0), out=left[1:])
    else:
        right[:-1] = 1 / (1 + np.exp(steps))
        left[1:] = 1 / (1 + np.exp(-steps))
    return right, left
