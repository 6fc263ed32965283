"""Closed forms to test against, and to draw beside what was simulated."""

from math import factorial, pi

import numpy as np
from numpy.typing import ArrayLike, NDArray

from noisescale.analysis.checks import at_least_zero, positive
from noisescale.errors import InputError, shown

Array = NDArray[np.float64]

# Below this |y| the density is ½ to 1e-12.
_FLAT = 0.02


def kesten_golosov_pdf(y: ArrayLike) -> Array:
    """p(y) = (2/π) Σ_{k≥0} (−1)^k/(2k+1) exp(−(2k+1)² π² |y|/8), the law of y = σ² x/(T ln t)².

    It is ½ P(a Brownian path stays within ±1 up to time |y|): the limit law of Sinai's walk
    (α = 1, d = 1) in an infinite box as t → ∞.

    Args:
        y: scaled displacements.

    Returns:
        Densities, of the shape of `y`; ½ at 0.

    Source: Kesten 1986; Golosov 1986.
    """
    k, size, far = _terms(y)
    return np.where(far, (2 / pi) * _alternating(k, size, 1), 0.5)


def kesten_golosov_cdf(y: ArrayLike) -> Array:
    """F(y) = ∫_{−∞}^y p, p of `kesten_golosov_pdf`."""
    k, size, far = _terms(y)
    tail = np.where(far, (16 / pi**3) * _alternating(k, size, 3), 0.5 - 0.5 * size)
    return np.where(np.asarray(y) > 0, 1 - tail, tail)


def kesten_golosov_ppf(q: ArrayLike) -> Array:
    """y with F(y) = q, by bisection to 1e-12; the quantile of |y| at p is ppf((1 + p)/2).

    Raises:
        InputError: q outside (0, 1).
    """
    levels = np.asarray(q, np.float64)
    if not ((levels > 0) & (levels < 1)).all():
        raise InputError(f"q={shown(q)}: a quantile's level must lie in (0, 1)")
    low, high = np.full(levels.shape, -600.0), np.full(levels.shape, 600.0)
    for _ in range(60):
        middle = 0.5 * (low + high)
        below = kesten_golosov_cdf(middle) < levels
        low, high = np.where(below, middle, low), np.where(below, high, middle)
    return 0.5 * (low + high)


def kesten_golosov_moments(order: int) -> float:
    """E|y|^m = (4/π) m! (8/π²)^{m+1} β(2m+3), β Dirichlet's: 5/6 for m = 1, 61/45 for m = 2."""
    if not isinstance(order, int) or isinstance(order, bool) or not 0 <= order <= 80:
        raise InputError(f"order={shown(order)}: it must be a whole number from 0 to 80")
    from scipy.special import zeta

    s = 2 * order + 3
    beta = float(zeta(s, 0.25) - zeta(s, 0.75)) / 4.0**s
    return 4 / pi * factorial(order) * (8 / pi**2) ** (order + 1) * beta


def ramp_msd(t: ArrayLike, sigma: float, T: float = 1.0) -> Array:
    """E x² = 2 (e^{σ²/2T²} − 1) t² + 2 e^{σ²/8T²} t: α = 2, d = 1, fixed time, Arrhenius rates.

    The potential k x with k ~ N(0, σ²) has no barriers: the walker drifts with velocity
    2 sinh(k/2T), and the mean square over slopes is ballistic. It is not a power of ln t.

    Args:
        t: fixed times ≥ 0, in units of the free walker's hop.
        sigma: σ ≥ 0, standard deviation of the slope.
        T: temperature, > 0.

    Returns:
        Mean squares, lattice spacings squared; infinite beyond 1.8e308.
    """
    return _ramp(t, sigma, T, ballistic=1.0)


def ramp_msd_exponential_clock(t: ArrayLike, sigma: float, T: float = 1.0) -> Array:
    """E x² = 4 (e^{σ²/2T²} − 1) t² + 2 e^{σ²/8T²} t: `ramp_msd` at a clock of mean t."""
    return _ramp(t, sigma, T, ballistic=2.0)


def _ramp(t: ArrayLike, sigma: float, T: float, ballistic: float) -> Array:
    ratio = at_least_zero("sigma", sigma) / positive("T", T)
    times = np.asarray(t, np.float64)
    if not (times >= 0).all():
        raise InputError(f"t={shown(t)}: times must be at least 0")
    with np.errstate(over="ignore", invalid="ignore"):
        drift = 2 * np.expm1(ratio**2 / 2)
        squares = ballistic * drift * times**2 + 2 * np.exp(ratio**2 / 8) * times
    return np.where(times > 0, squares, 0.0)


def _terms(y: ArrayLike) -> tuple[Array, Array, NDArray[np.bool_]]:
    size = np.abs(np.asarray(y, np.float64))
    return np.arange(64.0), size, size > _FLAT


def _alternating(k: Array, size: Array, power: int) -> Array:
    # Σ_k (−1)^k (2k+1)^{−power} exp(−(2k+1)² π² |y|/8); 64 terms suffice above _FLAT.
    odd = 2 * k + 1
    signs = (-1.0) ** k / odd**power
    exponents = -np.multiply.outer(np.maximum(size, _FLAT), odd**2) * pi**2 / 8
    return np.exp(exponents) @ signs
