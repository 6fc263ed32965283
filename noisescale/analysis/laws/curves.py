"""Distance curves as they are given: checked, cut to a window, averaged where too many."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from noisescale.analysis.arrays import traces
from noisescale.analysis.checks import real_number
from noisescale.errors import InputError, shown

Array = NDArray[np.float64]

FEWEST_POINTS = 8
# More points are averaged in cells of equal width in ln x.
MOST_POINTS = 120


@dataclass(frozen=True, slots=True)
class Curves:
    """ln D of some seeds at cells of ln x.

    Args:
        x: (points,) as given, inside the window.
        logs: (seeds, points) ln D.
        starts: (n,) first point of each cell; a cell holds one point where there are few.
        u: (n,) mean ln x of the cells.
        y: (seeds, n) mean ln D of the cells.
        counts: (n,) points per cell.
    """

    x: Array
    logs: Array
    starts: NDArray[np.int64]
    u: Array
    y: Array
    counts: Array

    @property
    def seeds(self) -> int:
        """Number of curves."""
        return len(self.y)

    @property
    def mean(self) -> Array:
        """(n,) ln D averaged over seeds."""
        return np.asarray(self.y.mean(axis=0))

    @property
    def decades(self) -> float:
        """Width of the window in decades of x."""
        return float(np.log10(self.x[-1] / self.x[0]))

    def first(self, n: int) -> "Curves":
        """The same curves up to the n-th cell."""
        points = len(self.x) if n == len(self.u) else int(self.starts[n])
        return Curves(
            self.x[:points], self.logs[:, :points], self.starts[:n], self.u[:n], self.y[:, :n],
            self.counts[:n],
        )  # fmt: skip

    def average(self, values: Array) -> Array:
        """Means over cells of (points, ...) values at every point."""
        if len(self.starts) == len(self.x):
            return values
        sums = np.add.reduceat(values, self.starts, axis=0)
        return np.asarray((sums.T / self.counts).T)


def checked_curves(x: ArrayLike, distance: ArrayLike, window: tuple[float, float] | None) -> Curves:
    """Curves from what a user gives, or an InputError that says what is wrong and what to do."""
    clock = traces("x", x, fewest=1)
    if np.ndim(x) != 1:
        raise InputError(f"x has shape {np.shape(x)}: give one x per point")
    at = clock[0]
    if at.min() <= 0:
        count = int(np.sum(at <= 0))
        raise InputError(f"x holds {count} values of 0 or below; drop them (ln x is needed)")
    step = np.diff(at)
    if np.any(step == 0):
        raise InputError(f"x holds {shown(float(at[1:][step == 0][0]))} twice; keep one of them")
    if np.any(step < 0):
        raise InputError("x is not increasing; sort x and distance together")
    values = traces("distance", distance, fewest=1)
    if np.ndim(distance) > 2 or values.shape[1] != len(at):
        raise InputError(
            f"distance has shape {np.shape(distance)}: give ({len(at)},) or (seeds, {len(at)})"
        )
    inside = _inside(at, window)
    at, values = at[inside], values[:, inside]
    if len(at) < FEWEST_POINTS:
        where = "x" if window is None else f"window={shown(window)}"
        raise InputError(f"{where} holds {len(at)} points; a fit needs {FEWEST_POINTS} or more")
    if values.min() <= 0:
        count = int(np.sum(values <= 0))
        raise InputError(
            f"distance holds {count} values of 0 or below inside the window; drop those points"
        )
    if np.any(np.ptp(values, axis=1) == 0):
        raise InputError("distance is constant: there is no growth to fit; give a curve that grows")
    return _cells(at, np.log(values))


def _inside(at: Array, window: tuple[float, float] | None) -> NDArray[np.bool_]:
    if window is None:
        return np.ones(len(at), bool)
    hint = "give (lowest, highest) x"
    try:
        low, high = window
    except (TypeError, ValueError):
        raise InputError(f"window={shown(window)}: {hint}") from None
    low = real_number("window", low, hint=hint)
    high = real_number("window", high, hint=hint)
    if not low < high:
        raise InputError(f"window={shown(window)}: {hint}, the first below the second")
    return np.asarray((at >= low) & (at <= high))


def _cells(x: Array, logs: Array) -> Curves:
    u = np.log(x)
    if len(x) <= MOST_POINTS:
        starts = np.arange(len(x))
    else:
        cell = np.minimum((u - u[0]) / (u[-1] - u[0]) * MOST_POINTS, MOST_POINTS - 1).astype(int)
        starts = np.flatnonzero(np.diff(cell, prepend=-1))
    counts = np.diff(np.append(starts, len(x))).astype(np.float64)
    means = np.add.reduceat(u, starts) / counts
    y = np.add.reduceat(logs, starts, axis=1) / counts
    return Curves(x, logs, starts, means, y, counts)
