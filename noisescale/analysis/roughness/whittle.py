"""Whittle's likelihood of fractional Gaussian noise, many rows at once.

The increments of V with E[(V(x) − V(y))²] = σ² |x − y|^α have the spectral density
f(λ) = σ² c(α) g(λ; α); σ² is profiled out of the likelihood, and α is its only parameter.
"""

from collections.abc import Callable
from dataclasses import dataclass
from itertools import repeat
from math import gamma, pi, sin, sqrt

import numpy as np
from numpy.polynomial import chebyshev
from numpy.typing import ArrayLike, NDArray
from scipy.special import zeta

Array = NDArray[np.float64]

# Where the likelihood is searched. The shape g is smooth through α = 2, so that noise may carry
# an estimate beyond; the caller cuts it there.
LOWEST, HIGHEST = 0.01, 2.6
# Chebyshev nodes in ln α: on that scale the likelihood is smooth down to α = 0.
_NODES = 24
# Terms of the aliases' polynomial; 14^-16 is below rounding.
_TERMS = 17
_POINTS = np.sqrt((chebyshev.chebpts1(_TERMS) + 1) / 8)
# From values at the points to Chebyshev coefficients, and from those to powers of 8u² − 1.
_COEFFICIENTS = np.linalg.inv(chebyshev.chebvander(chebyshev.chebpts1(_TERMS), _TERMS - 1))
_POWERS = np.array(
    [np.pad(p := chebyshev.cheb2poly(row), (0, _TERMS - len(p))) for row in np.eye(_TERMS)]
).T


def noise_spectral_density(
    frequencies: ArrayLike, alpha: float, sigma: float = 1.0
) -> NDArray[np.float64]:
    """f(λ) = σ² sin(πα/2) Γ(α+1) / (2π) · 2 (1 − cos λ) Σ_j |λ + 2πj|^{−α−1}, j over all integers.

    It is the Fourier series of the autocovariance, f(λ) = Σ_k γ(k) e^{ikλ} / 2π, so that its
    integral over (−π, π) is σ². The sum over j ≠ 0 is two Hurwitz zeta functions, taken at a few
    points of λ² and interpolated to rounding error, not cut off.

    Args:
        frequencies: λ in (0, π], radians per increment.
        alpha: α in (0, 2).
        sigma: σ, root mean square of one increment.

    Returns:
        f(λ), of the shape of `frequencies`, to 1e-13 relative.

    Source: Sinai 1976; Beran 1994, proposition 2.1, with H = α/2.
    """
    scale = sin(pi * alpha / 2) * gamma(alpha + 1) / (2 * pi)
    given = np.asarray(frequencies, np.float64)
    shape = np.exp(log_shape(given.ravel(), alpha)).reshape(given.shape)
    return np.asarray(sigma**2 * scale / alpha * shape)


def log_shape(frequencies: Array, alpha: float) -> Array:
    """ln g, g = α · 2 (1 − cos λ) Σ_j |λ + 2πj|^{−α−1}: f without the factor that α sets alone.

    The factor α keeps g finite as α → 0, where the sum grows like 1/α.
    """
    s = alpha + 1
    # The aliases j ≠ 0 are analytic in u² = (λ/2π)² up to u = 1: a polynomial on u² ≤ 1/4.
    terms = _POWERS @ (_COEFFICIENTS @ (zeta(s, 1 + _POINTS) + zeta(s, 1 - _POINTS)))
    u = frequencies / (2 * pi)
    x = 8 * u * u - 1
    aliases = np.full_like(x, terms[-1])
    for term in terms[-2::-1]:
        aliases *= x
        aliases += term
    np.power(u, -s, out=u)
    aliases += u
    aliases *= np.sin(frequencies / 2) ** 2
    aliases *= 4 * alpha * (2 * pi) ** -s
    return np.log(aliases, out=aliases)


@dataclass(frozen=True, slots=True)
class WhittleFit:
    """Whittle's estimates, one per row.

    Args:
        alpha: the minimum, in [LOWEST, HIGHEST]: not cut at 2.
        stderr: from the Fisher information at alpha, σ unknown.
        scale: mean of I(λ)/g(λ; α); σ² = scale · α / c(α).
        ratios: (rows, frequencies) I/g over its mean: independent Exp(1) if the model holds.
    """

    alpha: Array
    stderr: Array
    scale: Array
    ratios: Array


def fit_whittle(increments: Array, band: tuple[float, float] = (0.0, pi)) -> WhittleFit:
    """Minimise ln(mean_j I(λ_j)/g(λ_j; α)) + mean_j ln g(λ_j; α) over α, row by row.

    I(λ) = |Σ_t x_t e^{−iλt}|² / (2πn) at the Fourier frequencies 2πj/n inside the `band` and below
    π. The frequency 0 is left out: neither the mean of the noise nor a linear trend of the path
    has any effect.

    Args:
        increments: (rows, n), n ≥ 8, no row constant.
        band: lowest and highest λ used; at least 4 frequencies.

    Returns:
        WhittleFit; its stderr is 1/√Σ_j (h_j − h̄)² with h = ∂ ln g/∂α, the Cramér–Rao bound of
        long rows.

    Source: Whittle 1953; Fox & Taqqu 1986, theorems 1 and 2.
    """
    n = increments.shape[-1]
    frequencies, inside = used_frequencies(n, band)
    power = np.abs(np.fft.rfft(increments - increments.mean(-1, keepdims=True), axis=-1)) ** 2
    power = power[:, inside] / (2 * pi * n)
    # The likelihood does not care for the size of I; the interpolation should not either.
    size = power.mean(-1, keepdims=True)
    power = power / size

    def likelihood(alpha: float) -> Array:
        shape = log_shape(frequencies, alpha)
        return np.log(power @ np.exp(-shape) / len(shape)) + shape.mean()

    starts, _ = minimise_over_alpha(likelihood)
    found = [_polished(*row) for row in zip(power, repeat(frequencies), starts, strict=False)]
    alpha, stderr, scale = (np.array(column) for column in list(zip(*found, strict=True))[:3])
    return WhittleFit(alpha, stderr, scale * size[:, 0], np.array([f[3] for f in found]))


def _polished(power: Array, frequencies: Array, alpha: float) -> tuple[float, float, float, Array]:
    """(α, standard error, scale, ratios) after two Newton steps on the likelihood itself."""
    for _ in range(2):
        step = min(1e-3, alpha / 4)
        logs = [log_shape(frequencies, alpha + k * step) for k in (-1, 0, 1)]
        values = [np.log((power * np.exp(-shape)).mean()) + shape.mean() for shape in logs]
        slope = (values[2] - values[0]) / (2 * step)
        curvature = (values[2] - 2 * values[1] + values[0]) / step**2
        if curvature > 0:
            change = min(max(-slope / curvature, -0.1), 0.1)
            alpha = min(max(alpha + change, LOWEST), HIGHEST)
    slopes = (logs[2] - logs[0]) / (2 * step)
    slopes -= slopes.mean()
    ratios = power * np.exp(-log_shape(frequencies, alpha))
    scale = ratios.mean()
    return alpha, 1 / sqrt(slopes @ slopes), scale, ratios / scale


def used_frequencies(n: int, band: tuple[float, float]) -> tuple[Array, NDArray[np.bool_]]:
    """(λ in the band, mask over the frequencies of rfft): 0 < λ < π and low ≤ λ ≤ high."""
    every = 2 * pi * np.arange(n // 2 + 1) / n
    # λ = π has one real coefficient in place of two, and is left out.
    inside = (np.arange(n // 2 + 1) > 0) & (2 * np.arange(n // 2 + 1) < n)
    inside &= (every >= band[0] * (1 - 1e-12)) & (every <= band[1] * (1 + 1e-12))
    return every[inside], inside


def whittle_sigma(alpha: float, scale: float) -> float:
    """σ from the profile, σ² = scale · α / c(α), per increment; infinite at α ≥ 2."""
    if alpha >= 2:
        return float("inf")
    return float(np.sqrt(scale * alpha * 2 * pi / (sin(pi * alpha / 2) * gamma(alpha + 1))))


def minimise_over_alpha(likelihood: Callable[[float], Array]) -> tuple[Array, Array]:
    """(α, values) at the minima over α in [LOWEST, HIGHEST] of several smooth functions at once.

    Args:
        likelihood: α to values (functions,); it is called at a few α and interpolated.
    """
    nodes = chebyshev.chebpts1(_NODES)
    values = np.array([likelihood(_alpha_at(node)) for node in nodes])
    coefficients = np.asarray(chebyshev.chebfit(nodes, values, _NODES - 1), float)
    x = _minima(coefficients)
    return np.array([_alpha_at(t) for t in x]), np.asarray(
        chebyshev.chebval(x, coefficients, tensor=False), float
    )


def _alpha_at(x: float) -> float:
    """From [−1, 1] to α, on the scale of ln α."""
    return float(LOWEST * (HIGHEST / LOWEST) ** ((x + 1) / 2))


def _minima(coefficients: Array) -> Array:
    """Where Chebyshev series on [−1, 1], one per column, are smallest."""
    grid = np.linspace(-1, 1, 801)
    values = chebyshev.chebvander(grid, len(coefficients) - 1) @ coefficients
    x = grid[values.argmin(axis=0)]
    first, second = chebyshev.chebder(coefficients), chebyshev.chebder(coefficients, 2)
    slope = chebyshev.chebval(x, first, tensor=False)
    curvature = chebyshev.chebval(x, second, tensor=False)
    change = np.where(curvature > 0, -slope / np.where(curvature > 0, curvature, 1.0), 0.0)
    step = grid[1] - grid[0]
    return np.asarray(np.clip(x + np.clip(change, -step, step), -1, 1))
