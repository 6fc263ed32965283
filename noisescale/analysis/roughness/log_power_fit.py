"""Least squares of ln D = c + p ln(ln t − ln τ0), many averaged curves at once."""

from math import log

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

# ln τ0 is searched from here below the first ln t, in units of its distance to the last ...
_CLOSEST, _FARTHEST = 1e-4, 20.0
_GRID = 120
# ... and each zoom divides the step by this.
_ZOOMS, _ZOOM = 10, 3.0


def averages(curves: Array, counts: NDArray[np.int64], average: str) -> Array:
    """(draws, times) averages in which environment e counts counts[:, e] times."""
    if average == "mean":
        return counts @ curves / counts.sum(1, keepdims=True)
    indices = [np.repeat(np.arange(len(curves)), row) for row in counts]
    return np.array([np.median(curves[index], axis=0) for index in indices])


def fit_log_power(x: Array, logs: Array) -> tuple[Array, Array, NDArray[np.bool_], Array]:
    """(slopes, ln τ0, τ0 at the limit of the search, residuals), one per row of ln D.

    For a given τ0 the fit is linear; the distance of ln τ0 below the first ln t is searched on a
    logarithmic grid that closes in, for all rows at once.
    """
    span = x[-1] - x[0]
    low, high = log(_CLOSEST * span), log(_FARTHEST * span)
    grid = np.linspace(low, high, _GRID)
    centred = logs - logs.mean(1, keepdims=True)
    _, squares = _linear(x, centred, grid)
    best = grid[squares.argmin(1)]
    step = grid[1] - grid[0]
    for _ in range(_ZOOMS):
        around = best[:, None] + step * np.linspace(-1, 1, 7)
        _, squares = _linear(x, centred, np.clip(around, low, high))
        best = np.clip(around[np.arange(len(best)), squares.argmin(1)], low, high)
        step /= _ZOOM
    slopes, _ = _linear(x, centred, best[:, None])
    shape = np.log(x - x[0] + np.exp(best)[:, None])
    residual = centred - slopes * (shape - shape.mean(1, keepdims=True))
    limited = (best <= low + 1e-6) | (best >= high - 1e-6)
    return slopes[:, 0], x[0] - np.exp(best), limited, residual


def _linear(x: Array, centred: Array, logs_of_shift: Array) -> tuple[Array, Array]:
    """(slopes, residual sums of squares), (rows, shifts), for ln(ln t − ln τ0) of each shift.

    `logs_of_shift` is (shifts,), the same for all rows, or (rows, shifts).
    """
    shape = np.log(x - x[0] + np.exp(logs_of_shift)[..., None])
    shape -= shape.mean(-1, keepdims=True)
    if logs_of_shift.ndim == 1:
        cross = centred @ shape.T
    else:
        cross = np.matmul(shape, centred[..., None])[..., 0]
    slopes = cross / np.sum(shape * shape, axis=-1)
    return slopes, np.sum(centred * centred, axis=1)[:, None] - slopes * cross


def fit_naive(x: Array, logs: Array) -> tuple[float, float]:
    """(2/slope, its printed error) of ln D against ln ln t: τ0 = 1, times taken as independent."""
    shape = np.log(x) - np.log(x).mean()
    slope = float(shape @ logs / (shape @ shape))
    residual = logs - logs.mean() - slope * shape
    error = float(np.sqrt(residual @ residual / (len(x) - 2) / (shape @ shape)))
    return 2 / slope, 2 / slope**2 * error
