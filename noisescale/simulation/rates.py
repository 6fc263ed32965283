"""Hop rates of a continuous-time walker on a lattice in d = 1, 2, 3, from local differences."""

import numpy as np
from numpy.typing import NDArray

from noisescale.analysis.checks import choice, positive
from noisescale.errors import InputError, shown

RATES = ("arrhenius", "metropolis", "heat_bath")
BOUNDARIES = ("reflecting", "periodic")
# |ΔV|/T: a walker's rate is a float64; of the resolvent also products of two rates and with 1/t.
_STEEPEST_WALK, _STEEPEST_RESOLVENT = 1400.0, 300.0


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
    left, right = lattice_rates(
        V, 0, positive("T", temperature), choice("rates", rates, RATES), False, _STEEPEST_RESOLVENT
    )
    return right, left


def rates_on_line(
    V: object, temperature: float, rates: str
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """`hop_rates` of one potential (n,) as it is given."""
    potential = checked_potential(V)
    if potential.ndim != 1:
        raise InputError(f"V of shape {potential.shape}: one potential (n,) at a time")
    return hop_rates(potential, temperature, rates)


def lattice_rates(
    V: NDArray[np.float64],
    axis: int,
    temperature: float,
    rates: str,
    periodic: bool,
    steepest_allowed: float = _STEEPEST_WALK,
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Rates of the hops to the lower and to the higher neighbour along an axis; 0 into a wall.

    With ΔV = V_j − V_i: arrhenius exp(−ΔV/2T), metropolis min(1, exp(−ΔV/T)), heat_bath
    1/(1 + exp(ΔV/T)).

    Raises:
        InputError: neighbours that differ by more than `steepest_allowed` T, 1400 for walkers.
    """
    V = np.moveaxis(V, axis, 0)
    seam = V[:1] if periodic else V[:0]
    with np.errstate(over="ignore"):
        steps = np.diff(V, axis=0, append=seam) / temperature
    steepest = np.abs(steps).max()
    if not steepest <= steepest_allowed:
        raise InputError(
            f"T={temperature:g}: neighbouring sites differ by {steepest:.3g} T, at most "
            f"{steepest_allowed:.0f} T can be computed with; raise T or refine the lattice"
        )
    lower, higher = np.zeros_like(V), np.zeros_like(V)  # in the order of V
    higher[: len(steps)] = _rate(steps, rates)
    lower[1:] = _rate(-steps[: len(V) - 1], rates)
    if periodic:
        lower[0] = _rate(-steps[-1], rates)
    return np.moveaxis(lower, 0, axis), np.moveaxis(higher, 0, axis)


def _rate(steps: NDArray[np.float64], rates: str) -> NDArray[np.float64]:
    if rates == "arrhenius":
        return np.exp(-0.5 * steps)
    if rates == "metropolis":
        return np.exp(np.minimum(-steps, 0.0))
    with np.errstate(over="ignore"):  # 1/∞ is 0
        return 1.0 / (1.0 + np.exp(steps))


def cumulative_rates(
    V: NDArray[np.float64], temperature: float, rates: str, periodic: bool
) -> NDArray[np.float64]:
    """(sites, 2d) running sums of each site's rates: lower, higher along every axis in turn."""
    table = np.empty((V.size, 2 * V.ndim))
    for axis in range(V.ndim):
        for side, values in enumerate(lattice_rates(V, axis, temperature, rates, periodic)):
            table[:, 2 * axis + side] = values.reshape(-1)
    return np.cumsum(table, axis=1, out=table)
