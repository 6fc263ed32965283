"""Fractional Brownian fields on a lattice in two and three dimensions, exact."""

from functools import lru_cache
from itertools import product
from math import prod, sqrt

import numpy as np
from numpy.typing import NDArray
from scipy.fft import dctn, ifft, irfft, next_fast_len

from noisescale.analysis.checks import listed, positive, positive_integer
from noisescale.analysis.roughness.fractional_noise import checked_alpha
from noisescale.errors import InputError, shown

Array = NDArray[np.float64]

# Embeddings up to this many amplitudes are kept between calls.
_LARGEST_KEPT = 1 << 22
# Normal deviates drawn at a time.
_BLOCK = 1 << 21


def fractional_brownian_field(
    shape: tuple[int, ...],
    alpha: float,
    sigma: float = 1.0,
    *,
    size: int | None = None,
    rng: np.random.Generator,
) -> Array:
    """Exact samples of the Gaussian V with E[(V(x) − V(y))²] = σ² |x − y|^α, V(0) = 0.

    A stationary field of compact covariance is cut from a torus, where a Fourier transform
    diagonalises it, and a random ramp restores what its covariance lacks. α = 2 is the ramp alone:
    V = k·x with k ~ N(0, σ² I), without barriers.

    Args:
        shape: (n1, n2) or (n1, n2, n3) sites of spacing 1, each at least 2.
        alpha: α in (0, 2].
        sigma: σ > 0, root mean square difference of neighbours.
        size: independent samples; None for one, without the leading axis.
        rng: source of the normal deviates. A sample does not depend on how many are drawn.

    Returns:
        (*shape) or (size, *shape); 0 at the first corner.

    Raises:
        InputError: an argument outside its range.
        FloatingPointError: the embedding is not positive; nothing approximate is returned.

    Source: Stein 2002, "Fast and exact simulation of fractional Brownian surfaces".
    """
    alpha, sigma = checked_alpha(alpha, ramp=True), positive("sigma", sigma)
    sides = _checked_shape(shape)
    count = 1 if size is None else positive_integer("size", size)
    if not isinstance(rng, np.random.Generator):
        raise InputError(f"rng={shown(rng)}: give a numpy.random.Generator")
    length = sqrt(sum((n - 1) ** 2 for n in sides))
    scale = sigma * length ** (alpha / 2)
    smooth, deviates = 1.0, len(sides)
    if alpha < 2:
        smooth = _local_covariance(alpha, len(sides))[2]
        small = prod(_periods(sides, alpha)) <= 2 * _LARGEST_KEPT
        amplitudes = (_amplitudes if small else _embedding)(sides, alpha)
        deviates += 2 * amplitudes.size
    samples = np.zeros((count, *sides))
    block = max(1, _BLOCK // deviates)
    for first in range(0, count, block):
        part = samples[first : first + block]
        drawn = rng.standard_normal((len(part), deviates))
        if alpha < 2:
            part[...] = _stationary(amplitudes, sides, drawn[:, : -len(sides)])
            part *= scale * sqrt(0.5)
        slopes = sqrt(smooth) * scale / length * drawn[:, -len(sides) :]
        for slope, line in zip(slopes.T, np.ogrid[tuple(map(slice, sides))], strict=True):
            part += slope.reshape(-1, *line.ndim * [1]) * line
        part -= part.reshape(len(part), -1)[:, 0].reshape(-1, *len(sides) * [1])
    return samples[0] if size is None else samples


def _checked_shape(shape: object) -> tuple[int, ...]:
    hint = "give the sites of each side, (n1, n2) or (n1, n2, n3)"
    sides = tuple(positive_integer("shape", n) for n in listed("shape", shape, hint))
    if len(sides) not in (2, 3) or min(sides) < 2:
        raise InputError(f"shape={shown(shape)}: {hint}, each at least 2")
    return sides


def _local_covariance(alpha: float, dimension: int) -> tuple[float, float, float, float]:
    """(R, c₀, c₂, β) of φ(r) = c₀ − r^α + c₂ r² up to r = 1, β (R − r)³/r up to R, then 0.

    Two pieces with R = 2 meet at r = 1 with two equal derivatives; one piece with R = 1 ends there
    with value and slope 0. The latter is positive definite in the plane up to α = 3/2 (Stein), in
    space up to α = 1 (there −φ′ is convex: Askey's criterion); the former for all α.
    """
    if alpha <= (1.5 if dimension == 2 else 1.0):
        return 1.0, 1 - alpha / 2, alpha / 2, 0.0
    beta = alpha * (2 - alpha) / 18
    smooth = alpha / 2 - 2 * beta
    return 2.0, 1 + beta - smooth, smooth, beta


def _covariance(r: Array, alpha: float, dimension: int) -> Array:
    """φ(r), the covariance of the stationary part; 2 (φ(0) − φ(r)) + 2 c₂ r² is 2 r^α to r = 1."""
    radius, level, smooth, beta = _local_covariance(alpha, dimension)
    inner = level - r**alpha + smooth * r**2
    if radius == 1:
        return np.where(r <= 1, inner, 0.0)
    outer = beta * np.maximum(radius - r, 0.0) ** 3 / np.maximum(r, 1.0)
    return np.where(r <= 1, inner, outer)


def _periods(sides: tuple[int, ...], alpha: float) -> tuple[int, ...]:
    """Even sides of the smallest torus on which no image of φ reaches into the box."""
    length = sqrt(sum((n - 1) ** 2 for n in sides))
    reach = _local_covariance(alpha, len(sides))[0] * length
    return tuple(2 * next_fast_len(int(np.ceil((reach + n - 1) / 2)), real=True) for n in sides)


def _eigenvalues(sides: tuple[int, ...], alpha: float) -> Array:
    """Of the covariance on the torus, at non-negative frequencies: (P1/2 + 1, P2/2 + 1, …)."""
    length = sqrt(sum((n - 1) ** 2 for n in sides))
    halves = [p // 2 for p in _periods(sides, alpha)]
    lines = np.ogrid[tuple(slice(0.0, h + 1.0) for h in halves)]
    covariance = np.zeros([h + 1 for h in halves])
    # The images overlap outside the box; their sum is positive definite where φ is.
    for image in product((False, True), repeat=len(sides)):
        parts = zip(lines, halves, image, strict=True)
        squares = sum((2 * h - line if far else line) ** 2 for line, h, far in parts)
        covariance += _covariance(np.sqrt(squares) / length, alpha, len(sides))
    eigenvalues = dctn(covariance, type=1)
    lowest = eigenvalues.min()
    if lowest < -1e-12 * eigenvalues.max():
        raise FloatingPointError(
            f"the embedding of shape={sides} at alpha={alpha} has the eigenvalue {lowest:.2e} < 0"
        )
    return np.maximum(eigenvalues, 0.0, out=eigenvalues)


def _embedding(sides: tuple[int, ...], alpha: float) -> Array:
    """√(λ/2) per unit of (Re, Im) of every frequency; the last axis holds non-negative ones."""
    periods = _periods(sides, alpha)
    amplitudes = np.sqrt(0.5 * prod(periods) * _eigenvalues(sides, alpha))
    # Frequencies 0 and P/2 of the last axis have no mirror image that adds to them.
    amplitudes[..., [0, -1]] *= sqrt(2)
    for axis, period in enumerate(periods[:-1]):
        frequency = np.arange(period)
        amplitudes = amplitudes.take(np.minimum(frequency, period - frequency), axis=axis)
    return amplitudes


_amplitudes = lru_cache(maxsize=4)(_embedding)


def _stationary(amplitudes: Array, sides: tuple[int, ...], deviates: Array) -> Array:
    """Stationary fields from deviates (rows, 2 per amplitude): (rows, *sides).

    The torus is cut to the box axis by axis: most of its rows are never transformed.
    """
    spectrum = deviates.view(np.complex128).reshape(-1, *amplitudes.shape)
    spectrum *= amplitudes
    for axis, n in enumerate(sides[:-1], start=1):
        spectrum = ifft(spectrum, axis=axis, overwrite_x=True)
        spectrum = spectrum[(slice(None),) * axis + (slice(n),)]
    # Of frequencies 0 and P/2 only the real part is used, as a real field asks.
    period = 2 * (amplitudes.shape[-1] - 1)
    return irfft(spectrum, n=period, axis=-1)[..., : sides[-1]]
