"""Fractional Gaussian noise: the increments of V with E[(V(x) − V(y))²] = σ² |x − y|^α.

H = α/2 is the Hurst exponent. The potentials of the simulation are sums of this noise, and the
estimators of α compare a path's increments with it.
"""

from functools import lru_cache

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.fft import dct, irfft, next_fast_len

from noisescale.analysis.checks import positive, real_number
from noisescale.errors import InputError, shown

# From here on the three powers cancel to fewer digits than the series has.
_SERIES_FROM = 100.0
# Embeddings up to this many eigenvalues are kept between calls.
_LARGEST_KEPT = 1 << 21
# Normal deviates drawn at a time.
_BLOCK = 1 << 22


def checked_alpha(value: object, *, ramp: bool = False) -> float:
    """α as a float in (0, 2), with `ramp` in (0, 2], or an InputError."""
    hint = "it must lie in (0, 2]: E[(V(x)-V(y))^2] = sigma^2 |x-y|^alpha"
    alpha = real_number("alpha", value, above=0.0, hint=hint)
    if alpha > 2 or (alpha == 2 and not ramp):
        raise InputError(
            f"alpha={shown(value)}: {hint if alpha > 2 else 'at 2 the path is a straight ramp'}"
        )
    return alpha


def noise_autocovariance(lags: ArrayLike, alpha: float, sigma: float = 1.0) -> NDArray[np.float64]:
    """γ(k) = (σ²/2) (|k+1|^α − 2|k|^α + |k−1|^α), the covariance of two increments k apart.

    Args:
        lags: k, distances in lattice spacings.
        alpha: α in (0, 2], twice the Hurst exponent.
        sigma: σ > 0, root mean square of one increment.

    Returns:
        γ(k), of the shape of `lags`; to 1e-11 relative, also where the three powers cancel.

    Source: Mandelbrot & Van Ness 1968, definition 4.1 with H = α/2.
    """
    k = np.abs(np.asarray(lags, np.float64))
    far = k > _SERIES_FROM
    near = np.where(far, 2.0, k)
    gamma = 0.5 * ((near + 1) ** alpha - 2 * near**alpha + np.abs(near - 1) ** alpha)
    c2 = alpha * (alpha - 1) / 2
    c4 = c2 * (alpha - 2) * (alpha - 3) / 12
    c6 = c4 * (alpha - 4) * (alpha - 5) / 30
    square = np.where(far, k, 1.0) ** 2
    series = square ** (alpha / 2 - 1) * (c2 + c4 / square + c6 / square**2)
    return sigma**2 * np.where(far, series, gamma)


def fractional_noise(
    n: int, alpha: float, sigma: float = 1.0, *, size: int = 1, rng: np.random.Generator
) -> NDArray[np.float64]:
    """Exact samples of fractional Gaussian noise, E[x_i x_j] = γ(i − j), by circulant embedding.

    The covariance matrix is the corner of a circulant one, whose eigenvalues are a cosine
    transform of γ and never negative; coloured white noise goes back through one real FFT. The
    deviates of a path are drawn together, so that the samples do not depend on how many are asked
    for at once.

    Args:
        n: length, increments per sample.
        alpha: α in (0, 2).
        sigma: σ > 0, root mean square of one increment.
        size: independent samples.
        rng: source of the normal deviates.

    Returns:
        (size, n) increments.

    Source: Davies & Harte 1987; non-negativity: Craigmile 2003 (α < 1), Dietrich & Newsam 1997.
    """
    alpha, sigma = checked_alpha(alpha), positive("sigma", sigma)
    if alpha == 1:
        return sigma * rng.standard_normal((size, n))
    half = next_fast_len(n, real=True)
    make = _kept_embedding if half <= _LARGEST_KEPT else _embedding
    samples = coloured_noise(make(alpha, half), n, size, rng)
    return np.multiply(samples, sigma, out=samples)


def embedding(autocovariance: NDArray[np.float64]) -> NDArray[np.float64]:
    """√(2M λ_k), λ the eigenvalues of the circulant matrix that continues γ(0) … γ(M) evenly.

    Args:
        autocovariance: (M + 1,) γ at lags 0 … M.

    Returns:
        (M + 1,) amplitudes for `coloured_noise`.

    Raises:
        FloatingPointError: an eigenvalue is negative beyond rounding: no stationary process of
            period 2M has this covariance.
    """
    eigenvalues = dct(autocovariance, type=1)
    lowest = eigenvalues.min()
    if lowest < -1e-9 * eigenvalues.max():
        raise FloatingPointError(f"circulant embedding failed: eigenvalue {lowest:.2e} < 0")
    np.maximum(eigenvalues, 0.0, out=eigenvalues)  # rounding below zero
    eigenvalues *= 2 * (autocovariance.size - 1)
    return np.sqrt(eigenvalues, out=eigenvalues)


def coloured_noise(
    amplitudes: NDArray[np.float64], n: int, size: int, rng: np.random.Generator
) -> NDArray[np.float64]:
    """Samples (size, n) of the stationary Gaussian process of an `embedding`, n ≤ M + 1."""
    half = amplitudes.size - 1
    samples = np.empty((size, n))
    block = max(1, _BLOCK // (2 * half))
    for first in range(0, size, block):
        rows = min(block, size - first)
        deviates = rng.standard_normal((rows, 2 * half))
        spectrum = np.empty((rows, half + 1), np.complex128)
        # The two real frequencies carry one deviate of variance 1, the others two of ½.
        spectrum[:, 0], spectrum[:, half] = deviates[:, 0], deviates[:, 1]
        spectrum[:, 1:half] = deviates[:, 2:].view(np.complex128)
        spectrum[:, 1:half] *= np.sqrt(0.5)
        del deviates
        spectrum *= amplitudes
        samples[first : first + rows] = irfft(spectrum, axis=-1, overwrite_x=True)[:, :n]
    return samples


def _embedding(alpha: float, half: int) -> NDArray[np.float64]:
    return embedding(noise_autocovariance(np.arange(half + 1), alpha))


_kept_embedding = lru_cache(maxsize=8)(_embedding)
