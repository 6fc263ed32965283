"""Displacements between two times, Δ²(t, t') = E |x(t') − x(t)|², of weights or of replicas' gaps.

For δ = (w_a − w_b)/√2 of two replicas drift and everything else they share drops out.
"""

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

# Pairs of times are one octave apart, as near as the recorded times allow.
_OCTAVE, _REACH = 2.0, 1.25


def to_the_end(x: Array) -> Array:
    """(2, n): |x_n − x_j|² and (x_n − x_j)·x_j of positions (n, p)."""
    step = x[-1] - x
    return np.array([np.einsum("ij,ij->i", step, step), np.einsum("ij,ij->i", step, x)])


def octaves(time: Array) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Indices (i, j) with t_j nearest to 2 t_i, within a quarter."""
    later = np.array([int(np.argmin(np.abs(np.log(time / (_OCTAVE * t))))) for t in time])
    ratio = time[later] / (_OCTAVE * time)
    known = (ratio < _REACH) & (ratio > 1 / _REACH)
    return np.flatnonzero(known), later[known]


def spreading(x: Array, time: Array) -> Array:
    """(2, pairs): Δ²(t_i, t_j)/(t_j − t_i) and Δ²(0, t_i)/t_i of positions (n, p)."""
    i, j = octaves(time)
    step = x[j] - x[i]
    return np.array(
        [
            np.einsum("ij,ij->i", step, step) / (time[j] - time[i]),
            np.einsum("ij,ij->i", x[i], x[i]) / time[i],
        ]
    )
