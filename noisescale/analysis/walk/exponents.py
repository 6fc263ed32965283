"""How distances depend on time and temperature: γ = ∂ln D/∂ln t and β = ∂ln D/∂ln θ."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


def slope(x: Array, y: Array) -> Array:
    """Least-squares slope of y against x along the last axis."""
    centred = x - x.mean(axis=-1, keepdims=True)
    return np.asarray(np.sum(centred * y, axis=-1) / np.sum(centred**2, axis=-1))


def common_times(times: Sequence[Array]) -> Array:
    """The times of the first curve in the range that all share; empty if there are none."""
    low, high = max(t[0] for t in times), min(t[-1] for t in times)
    first = times[0]
    slack = 1e-9
    return np.asarray(first[(first >= low * (1 - slack)) & (first <= high * (1 + slack))])


def at_times(time: Array, curves: Array, wanted: Array) -> Array:
    """Curves (rows, n) at other times, linear between points of ln t."""
    x, points = np.log(wanted), np.log(time)
    return np.array([np.interp(x, points, row) for row in curves])


def local_slope(x: Array, y: Array, reach: float) -> Array:
    """Slope of y against x by least squares over all points within `reach` of each point."""
    found = np.full(y.shape, np.nan)
    for j, centre in enumerate(x):
        near = np.abs(x - centre) <= reach
        if near.sum() >= 3:
            found[..., j] = slope(x[near], y[..., near])
    return found
