"""Relaxation rates: the spectrum of −L, each rate to high relative accuracy.

The rates span hundreds of orders of magnitude, so that an eigenvalue solver with an error relative
to the largest one returns noise for those that matter. −L is similar to Dᵀ D with bidiagonal D,
whose entries are square roots of hop rates; D Dᵀ has the same non-zero spectrum and a bidiagonal
Cholesky factor without a subtraction, whose singular values dqds and bisection find relatively.
"""

import ctypes
from functools import lru_cache

import numba
import numpy as np
from numpy.typing import ArrayLike, NDArray

from noisescale.analysis.checks import positive_integer
from noisescale.errors import InputError, shown
from noisescale.simulation.rates import rates_on_line

Array = NDArray[np.float64]

# dqds of this many values takes about ten seconds; its cost grows with the square.
_MOST_DENSE = 27_000


def relaxation_rates(
    V: ArrayLike, T: float, k: int | None = None, *, rates: str = "arrhenius"
) -> Array:
    """0 = λ_0 < λ_1 ≤ …: eigenvalues of −L, the rates at which the law approaches Boltzmann's.

    Args:
        V: (n,) potential; both ends reflect.
        T: temperature, > 0.
        k: how many, from the slowest; all n by default (n up to 27,000).
        rates: "arrhenius", "metropolis" or "heat_bath".

    Returns:
        (n,) or (k,), ascending, each to about 1e-13 relative; λ_0 is exactly 0.

    Raises:
        InputError: an argument outside its range, or all rates of more than 27,000 sites.

    Source: Fernando & Parlett 1994 (dqds; LAPACK's dlasq1); Demmel & Kahan 1990 (relative
    accuracy of bidiagonal singular values).
    """
    right, left = rates_on_line(V, T, rates)
    n = right.size
    wanted = n if k is None else positive_integer("k", k)
    if wanted > n:
        raise InputError(f"k={shown(k)}: {n} sites have {n} rates")
    squares, off_squares = _cholesky(right, left)
    if wanted == 1:
        return np.zeros(1)
    if wanted <= max(16, n // 200):
        return np.append(0.0, _bisect(squares, off_squares, wanted - 1))
    if n > _MOST_DENSE:
        raise InputError(
            f"all {n:,} rates of a potential of more than {_MOST_DENSE:,} sites take too long; "
            f"give k, up to {n // 200:,}"
        )
    values = _singular_values(np.sqrt(squares), np.sqrt(off_squares))
    return np.append(0.0, values[::-1] ** 2)[:wanted]


@numba.njit(cache=True)
def _cholesky(right: Array, left: Array) -> tuple[Array, Array]:
    # D Dᵀ of the n−1 edges has r_i + l_{i+1} on and −√(r_{i+1} l_{i+1}) beside the diagonal.
    edges = right.size - 1
    squares, off_squares = np.empty(edges), np.empty(edges - 1)
    free = right[0]
    for i in range(edges):
        squares[i] = free + left[i + 1]
        if i + 1 < edges:
            off_squares[i] = right[i + 1] * (left[i + 1] / squares[i])
            free = right[i + 1] * (free / squares[i])
    return squares, off_squares


@numba.njit(cache=True)
def _count_below(squares: Array, off_squares: Array, x: float) -> int:
    # Sylvester's law on L Lᵀ − x by the differential stationary qd transform.
    count = 0
    shifted = -x
    for i in range(squares.size):
        pivot = squares[i] + shifted
        if pivot < 0:
            count += 1
        if i + 1 < squares.size:
            if pivot == 0:
                pivot = 1e-300
            shifted = off_squares[i] * (shifted / pivot) - x
    return count


@numba.njit(cache=True)
def _bisect(squares: Array, off_squares: Array, wanted: int) -> Array:
    top = 0.0
    for i in range(squares.size):
        top = max(top, squares[i] + (off_squares[i - 1] if i > 0 else 0.0))
    found = np.empty(wanted)
    for k in range(wanted):
        low, high = 1e-300, 2.1 * top
        while high - low > 4e-16 * high:
            # The geometric mean first: the values span hundreds of decades.
            middle = np.sqrt(low) * np.sqrt(high) if high > 2 * low else 0.5 * (low + high)
            if middle <= low or middle >= high:
                break
            if _count_below(squares, off_squares, middle) > k:
                high = middle
            else:
                low = middle
        found[k] = 0.5 * (low + high)
    return found


@lru_cache(maxsize=1)
def _dlasq1():
    # SciPy has no wrapper for dlasq1; its Cython table holds the address.
    from scipy.linalg import cython_lapack

    capsule = cython_lapack.__pyx_capi__["dlasq1"]
    name, pointer = ctypes.pythonapi.PyCapsule_GetName, ctypes.pythonapi.PyCapsule_GetPointer
    name.restype, name.argtypes = ctypes.c_char_p, [ctypes.py_object]
    pointer.restype, pointer.argtypes = ctypes.c_void_p, [ctypes.py_object, ctypes.c_char_p]
    doubles, integer = ctypes.POINTER(ctypes.c_double), ctypes.POINTER(ctypes.c_int)
    kind = ctypes.CFUNCTYPE(None, integer, doubles, doubles, doubles, integer)
    return kind(pointer(capsule, name(capsule)))


def _singular_values(diagonal: Array, off_diagonal: Array) -> Array:
    # Descending.
    n = diagonal.size
    values, beside = diagonal.copy(), np.append(off_diagonal, 0.0)
    work, info = np.empty(4 * n), ctypes.c_int(0)

    def doubles(array: Array):  # type: ignore[no-untyped-def]
        return array.ctypes.data_as(ctypes.POINTER(ctypes.c_double))

    _dlasq1()(ctypes.c_int(n), doubles(values), doubles(beside), doubles(work), info)
    if info.value:
        raise FloatingPointError(f"dlasq1 did not converge (info {info.value})")
    return values
