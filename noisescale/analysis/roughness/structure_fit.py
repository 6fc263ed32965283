"""Least squares on the logarithm of mean squared differences, with their model covariance.

Differences of order 1 are V(x+k) − V(x), of order 2 V(x+k) − 2V(x) + V(x−k). Under E[(V(x) −
V(y))²] = σ² |x−y|^α their mean squares at lags k are proportional to k^α; their covariance over
one trace of n points depends on α alone.
"""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import cho_factor, cho_solve
from scipy.special import digamma, polygamma

Array = NDArray[np.float64]

_WEIGHTS = {1: (-1.0, 1.0), 2: (1.0, -2.0, 1.0)}
# Beyond so many lags the covariance of two differences is its leading term.
_FAR = 8
# Widths of the bins there, relative to the distance.
_BIN = 0.1
# At these exponents the covariance degenerates (a ramp for order 1, x² ln x for order 2).
_MARGIN = 0.02
_HIGHEST = {1: 2 - _MARGIN, 2: 3.5}
# Covariances are taken at α rounded to this, which changes no weight visibly, and kept.
_ROUNDED = 0.01


@dataclass(frozen=True, slots=True)
class LogFit:
    """ln Ŝ(k) = intercept + exponent · ln k, fitted.

    Args:
        exponent: the slope.
        stderr: its standard error from the model covariance at the fitted exponent.
        intercept: ln of the mean square at lag 1.
        naive_stderr: what ordinary least squares prints, as if the lags were independent.
        chi_square: residuals against the model covariance; lags − 2 degrees of freedom if
            generalised.
        degrees: lags − 2.
    """

    exponent: float
    stderr: float
    intercept: float
    naive_stderr: float
    chi_square: float
    degrees: int


def log_covariance(n: int, lags: Array, alpha: float, order: int) -> tuple[Array, Array]:
    """(bias, covariance) of ln Ŝ(k) for a Gaussian trace of n points, any σ.

    Ŝ is a quadratic form: its relative covariance is exact, 2 Σ_d N_kl(d) C_kl(d)² / (N_k N_l
    C_kk(0) C_ll(0)), with C_kl(d) the covariance of two differences d apart and N_kl(d) the number
    of such pairs. Each Ŝ is then taken as a gamma variable of that variance, whose logarithm has
    mean ψ(a) − ln a and variance ψ'(a), 1/a the relative variance.

    Args:
        n: points of the trace.
        lags: (m,) whole numbers k with order · k < n.
        alpha: α in (0, 2 · order).
        order: 1 or 2.

    Source: Istas & Lang 1997, section 2 (covariance); Satterthwaite 1946 (gamma variable).
    """
    alpha = round(min(max(alpha, _MARGIN), _HIGHEST[order]) / _ROUNDED) * _ROUNDED
    if order == 2 and abs(alpha - 2) < _MARGIN:
        alpha = 2 - _MARGIN
    return _log_covariance(n, tuple(int(k) for k in lags), alpha, order)


@lru_cache(maxsize=256)
def _log_covariance(n: int, lags: tuple[int, ...], alpha: float, order: int) -> tuple[Array, Array]:
    relative = _relative_covariance(n, lags, alpha, order)
    variances = np.diag(relative)
    shape = 1 / variances
    inflation = np.sqrt(polygamma(1, shape) / variances)
    bias = digamma(shape) - np.log(shape)
    covariance = relative * np.outer(inflation, inflation)
    bias.flags.writeable = covariance.flags.writeable = False
    return bias, covariance


def _relative_covariance(n: int, lags: tuple[int, ...], alpha: float, order: int) -> Array:
    weights = _WEIGHTS[order]
    near = min(n, _FAR * max(lags))
    reach = near + order * max(lags)
    power = np.abs(np.arange(-reach, reach + 1, dtype=float)) ** alpha
    inner = np.arange(-near, near + 1, dtype=float)
    edges = [near + 0.5]
    while edges[-1] < n:
        edges.append(edges[-1] + max(1.0, np.floor(_BIN * edges[-1])))
    tail = (np.array(edges[1:]) + np.array(edges[:-1])) / 2
    width = np.diff(edges)
    outer, width = np.concatenate([-tail[::-1], tail]), np.concatenate([width[::-1], width])
    # (−1)^order d^(2 order)/dx^(2 order) of |x|^α: the differences' covariance from afar.
    falling = float(np.prod([alpha - i for i in range(2 * order)]))

    m = len(lags)
    covariance, variance = np.empty((m, m)), np.empty(m)
    for a, k in enumerate(lags):
        for b, step in list(enumerate(lags))[a:]:
            close = np.zeros(2 * near + 1)
            for p, first in enumerate(weights):
                for q, second in enumerate(weights):
                    at = reach - near + q * step - p * k
                    close += first * second * power[at : at + 2 * near + 1]
            if a == b:
                variance[a] = close[near]
            total = _pairs(n, k, step, order, inner) @ close**2
            centre = np.abs(outer + order * (step - k) / 2)
            far = float(k * step) ** order * falling * centre ** (alpha - 2 * order)
            total += (_pairs(n, k, step, order, outer) * width) @ far**2
            count = (n - order * k) * (n - order * step)
            covariance[a, b] = covariance[b, a] = 2 * total / count
    return covariance / np.outer(variance, variance)


def _pairs(n: int, k: int, step: int, order: int, distance: Array) -> Array:
    """Pairs of differences, the second `distance` after the first, inside n points."""
    first, second = n - order * k, n - order * step
    return np.maximum(np.minimum(first, second - distance) - np.maximum(-distance, 0), 0.0)


def fit_generalised(
    n: int, lags: Array, mean_squares: Array, pilot: float, order: int, iterations: int = 2
) -> LogFit:
    """ln Ŝ = c + α ln k + bias by generalised least squares, covariance at the last α.

    Args:
        n: points of the trace.
        lags: (m ≥ 2,) increasing.
        mean_squares: (m,) Ŝ(k) > 0.
        pilot: α at which the first covariance is taken.
        order: 1 or 2.
        iterations: covariances taken.
    """
    naive = _naive_stderr(lags, mean_squares)
    design = np.column_stack([np.ones(len(lags)), np.log(lags)])
    alpha = pilot
    for _ in range(iterations):
        bias, covariance = log_covariance(n, lags, alpha, order)
        target = np.log(mean_squares) - bias
        factor = cho_factor(covariance, lower=True)
        information = design.T @ cho_solve(factor, design)
        solution = np.linalg.solve(information, design.T @ cho_solve(factor, target))
        alpha = float(solution[1])
    residual = target - design @ solution
    stderr = float(np.sqrt(np.linalg.inv(information)[1, 1]))
    chi_square = float(residual @ cho_solve(factor, residual))
    return LogFit(alpha, stderr, float(solution[0]), naive, chi_square, len(lags) - 2)


def fit_ordinary(n: int, lags: Array, mean_squares: Array, order: int) -> LogFit:
    """ln Ŝ = c + α ln k by ordinary least squares; stderr by the model covariance at its α."""
    x = np.log(lags) - np.log(lags).mean()
    y = np.log(mean_squares)
    weights = x / (x @ x)
    alpha = float(weights @ y)
    _, covariance = log_covariance(n, lags, alpha, order)
    intercept = float(y.mean() - alpha * np.log(lags).mean())
    residual = y - intercept - alpha * np.log(lags)
    naive = _naive_stderr(lags, mean_squares)
    chi_square = float(residual @ residual / naive**2 / (x @ x)) if naive > 0 else 0.0
    return LogFit(
        alpha, float(np.sqrt(weights @ covariance @ weights)), intercept, naive, chi_square,
        len(lags) - 2,
    )  # fmt: skip


def _naive_stderr(lags: Array, mean_squares: Array) -> float:
    x = np.log(lags) - np.log(lags).mean()
    y = np.log(mean_squares) - np.log(mean_squares).mean()
    residual = y - (x @ y) / (x @ x) * x
    return float(np.sqrt(residual @ residual / max(len(x) - 2, 1) / (x @ x)))
