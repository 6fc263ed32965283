"""Hop rates on lattices with walls or without, in d = 1, 2, 3."""

import numpy as np
from numpy.typing import NDArray

from noisescale.errors import InputError

BOUNDARIES = ("reflecting", "periodic")
# |ΔV|/T: exp(ΔV/2T) stays a float64.
_STEEPEST = 1400.0


def lattice_rates(
    V: NDArray[np.float64], axis: int, temperature: float, rates: str, periodic: bool
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Rates of the hops to the lower and to the higher neighbour along an axis; 0 into a wall.

    With ΔV = V_j − V_i: arrhenius exp(−ΔV/2T), metropolis min(1, exp(−ΔV/T)), heat_bath
    1/(1 + exp(ΔV/T)).

    Raises:
        InputError: neighbours that differ by more than 1400 T.
    """
    V = np.moveaxis(V, axis, 0)
    seam = V[:1] if periodic else V[:0]
    with np.errstate(over="ignore"):
        steps = np.diff(V, axis=0, append=seam) / temperature
    steepest = np.abs(steps).max()
    if not steepest <= _STEEPEST:
        raise InputError(
            f"T={temperature:g}: neighbouring sites differ by {steepest:.3g} T, at most "
            f"{_STEEPEST:.0f} T can be walked; raise T or refine the lattice"
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
