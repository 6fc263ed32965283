"""Random potentials on a line: self-affine ones of any α in (0, 2], and the controls.

Each has its structure function S(r) = E[(V(x + r) − V(x))²] stated; σ² = S(1) for the self-affine.
"""

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from scipy.fft import next_fast_len

from noisescale.analysis.checks import positive, positive_integer
from noisescale.analysis.roughness.fractional_noise import (
    checked_alpha,
    coloured_noise,
    embedding,
    fractional_noise,
)
from noisescale.errors import InputError, shown

Array = NDArray[np.float64]


def fractional_brownian(
    n: int,
    alpha: float,
    sigma: float = 1.0,
    *,
    size: int | None = None,
    rng: np.random.Generator,
) -> Array:
    """E[(V(x) − V(y))²] = σ² |x − y|^α exactly, V(0) = 0; at α = 2 the random ramp V = k x.

    α = 1 is Sinai's potential (a random walk). At α = 2 the equation leaves no freedom: second
    differences vanish and V is a straight line of slope k ~ N(0, σ²), without barriers.

    Args:
        n: sites, at least 2; one path of 10⁸ takes about 8 GB.
        alpha: α in (0, 2], twice the Hurst exponent.
        sigma: σ > 0, root mean square difference between neighbours, in units of energy.
        size: number of independent potentials; None for a single one without that axis.
        rng: source of the deviates.

    Returns:
        (n,), or (size, n).

    Raises:
        InputError: an argument outside its range.
    """
    alpha, sigma = checked_alpha(alpha, ramp=True), positive("sigma", sigma)
    count, rows = _sites(n), 1 if size is None else positive_integer("size", size)
    if alpha == 2:
        paths = sigma * rng.standard_normal((rows, 1)) * np.arange(count)
    else:
        paths = np.zeros((rows, count))
        paths[:, 1:] = fractional_noise(count - 1, alpha, sigma, size=rows, rng=rng)
        np.cumsum(paths, axis=-1, out=paths)
    return paths[0] if size is None else paths


def smooth_short_range(
    n: int,
    correlation_length: float,
    sigma: float = 1.0,
    *,
    size: int | None = None,
    rng: np.random.Generator,
) -> Array:
    """S(r) = 2σ² (1 − e^{−r²/2ℓ²}): a smooth stationary potential of variance σ², the control.

    For r ≪ ℓ it looks like α = 2 (every smooth function does), for r ≫ ℓ it is bounded: barriers
    stay finite and the walker diffuses in the end.

    Args:
        n: sites, at least 2.
        correlation_length: ℓ > 0, in lattice spacings, at most n/4.
        sigma: σ > 0, standard deviation of V.
        size, rng: as in `fractional_brownian`.

    Returns:
        (n,), or (size, n).
    """
    length, count = positive("correlation_length", correlation_length), _sites(n)
    if length > count / 4:
        raise InputError(
            f"correlation_length={shown(correlation_length)}: at most a quarter of n={count}"
        )
    rows = 1 if size is None else positive_integer("size", size)
    paths = coloured_noise(_gaussian_embedding(count, length), count, rows, rng)
    paths *= positive("sigma", sigma)
    return paths[0] if size is None else paths


def harmonic(n: int, stiffness: float) -> Array:
    """V(x) = ½ κ (x − (n−1)/2)²: the walker relaxes at one rate, E x² saturates at T/κ."""
    count = _sites(n)
    offsets = np.arange(count, dtype=np.float64) - 0.5 * (count - 1)
    return 0.5 * positive("stiffness", stiffness) * offsets**2


def _sites(n: object) -> int:
    count = positive_integer("n", n)
    if count < 2:
        raise InputError(f"n={shown(n)}: a potential needs at least two sites")
    return count


@lru_cache(maxsize=4)
def _gaussian_embedding(n: int, length: float) -> Array:
    half = next_fast_len(max(n, int(np.ceil(12 * length))), real=True)
    lags = np.arange(half + 1)
    return embedding(np.exp(-0.5 * (lags / length) ** 2))
