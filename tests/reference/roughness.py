"""Rough paths the slow way: double loops, dense covariance matrices, one solve per time.

V has E[(V(x) − V(y))²] = σ² |x − y|^α and V(0) = 0 throughout, with σ = 1 unless given.
"""

import numpy as np
from scipy.linalg import toeplitz


def structure_function(values, max_lag):
    """Mean squared difference at each lag, pair by pair."""
    means = []
    for k in range(1, max_lag + 1):
        total = 0.0
        for i in range(len(values) - k):
            total += (values[i + k] - values[i]) ** 2
        means.append(total / (len(values) - k))
    return np.array(means)


def path_covariance(x, y, alpha):
    """E[V(x) V(y)]."""
    return (np.abs(x) ** alpha + np.abs(y) ** alpha - np.abs(x - y) ** alpha) / 2


def noise_covariance(n, alpha):
    """(n, n) covariance of the increments of unit step."""
    k = np.arange(n, dtype=float)
    return toeplitz((np.abs(k + 1) ** alpha - 2 * k**alpha + np.abs(k - 1) ** alpha) / 2)


def cramer_rao(n, alpha, *, drift=True):
    """Smallest standard error of α from n increments: I_ij = ½ tr(C⁻¹ ∂_i C C⁻¹ ∂_j C).

    σ is unknown (the derivative by ln σ² is C itself), and with `drift` the mean of the increments
    as well, which replaces C⁻¹ by its part orthogonal to a constant.
    """
    step = 1e-5
    covariance = noise_covariance(n, alpha)
    slope = (noise_covariance(n, alpha + step) - noise_covariance(n, alpha - step)) / (2 * step)
    inverse = np.linalg.inv(covariance)
    if drift:
        ones = inverse.sum(axis=1)
        inverse -= np.outer(ones, ones) / ones.sum()
    a, b = inverse @ slope, inverse @ covariance
    information = np.array([[np.sum(a * a.T), np.sum(a * b.T)], [np.sum(a * b.T), np.sum(b * b.T)]])
    return np.sqrt(np.linalg.inv(information / 2)[0, 0])


def spectral_density(frequency, alpha, aliases=200_000):
    """Density of the increments: the aliases of c |λ|^{−α−1}, summed, and an integral for the rest.

    c is fixed by the spectral form of the structure function, ∫ 2(1−cos λ) c |λ|^{−α−1} dλ = 1.
    """
    from scipy.integrate import quad

    power = 1 / (2 - alpha)  # in y = u^(2−α) the integrand is bounded
    inner = quad(
        lambda y: 4 * np.sin(y**power / 2) ** 2 * y ** (-alpha * power) * power / y,
        1e-30,
        (2 * np.pi) ** (1 / power),
    )[0]
    outer = 2 * (2 * np.pi) ** -alpha / alpha
    wave = quad(lambda u: u ** (-alpha - 1), 2 * np.pi, np.inf, weight="cos", wvar=1)[0]
    constant = 1 / (2 * (inner + outer - 2 * wave))
    j = np.arange(1, aliases + 1)
    total = frequency ** (-alpha - 1)
    total += np.sum((2 * np.pi * j + frequency) ** (-alpha - 1))
    total += np.sum((2 * np.pi * j - frequency) ** (-alpha - 1))
    total += 2 * (2 * np.pi * (aliases + 0.5)) ** -alpha / (2 * np.pi * alpha)
    return 2 * (1 - np.cos(frequency)) * constant * total


def relative_covariance(n, lags, alpha, order):
    """Covariance of mean squared differences over their means, from the path's whole covariance.

    Ŝ(k) = |A_k V|²/N_k is a quadratic form: the covariance of two is 2 |A_k C A_lᵀ|² / (N_k N_l).
    """
    x = np.arange(n, dtype=float)
    covariance = path_covariance(x[:, None], x[None], alpha)
    matrices = []
    for k in lags:
        rows = n - order * k
        matrix = np.zeros((rows, n))
        for i in range(rows):
            if order == 1:
                matrix[i, i], matrix[i, i + k] = -1, 1
            else:
                matrix[i, i], matrix[i, i + k], matrix[i, i + 2 * k] = 1, -2, 1
        matrices.append(matrix)
    result = np.empty((len(lags), len(lags)))
    for i, a in enumerate(matrices):
        for j, b in enumerate(matrices):
            cross = a @ covariance @ b.T
            means = np.diag(a @ covariance @ a.T).mean(), np.diag(b @ covariance @ b.T).mean()
            result[i, j] = 2 * np.sum(cross**2) / (len(a) * len(b)) / (means[0] * means[1])
    return result


def ray_curves(radii, rays, alpha, size, rng):
    """(size, rays, radii) V along orthogonal rays from a common origin, from all covariances."""
    ray, radius = (a.ravel() for a in np.meshgrid(np.arange(rays), radii, indexing="ij"))
    same = ray[:, None] == ray[None]
    square = np.where(
        same, (radius[:, None] - radius[None]) ** 2, radius[:, None] ** 2 + radius[None] ** 2
    )
    norms = np.abs(radius) ** alpha
    covariance = (norms[:, None] + norms[None] - square ** (alpha / 2)) / 2
    root = np.linalg.cholesky(covariance + 1e-12 * norms.max() * np.eye(len(ray)))
    return (rng.standard_normal((size, len(ray))) @ root.T).reshape(size, rays, len(radii))


def walk_distances(potentials, log_t, starts):
    """(environments, times): mean over starts x0 of √E[(x(t) − x0)²], t an exponential clock.

    Rates exp(−(V_j − V_i)/2) to the neighbours, reflecting ends. (1 − t L) u = f for f = x² and
    f = x, by elimination without subtractions, all environments and times at once.
    """
    v = np.asarray(potentials)[:, None, :]
    environments, _, n = v.shape
    s = np.exp(-np.asarray(log_t, float))[None, :, None]
    x = np.arange(n) - n // 2
    right = np.exp(-np.diff(v, axis=2) / 2)[..., None]
    left = np.exp(np.diff(v, axis=2) / 2)[..., None]
    shape = (environments, s.shape[1])
    pivots, sides = np.empty((n, *shape, 1)), np.empty((n, *shape, 2))
    q, side = np.broadcast_to(s, (*shape, 1)), 0.0
    for i in range(n):
        up = left[:, :, i - 1] / pivots[i - 1] if i else 0.0
        q = s + up * q if i else q
        side = s * np.array([x[i] ** 2.0, x[i]]) + up * side
        pivots[i] = q + (right[:, :, i] if i < n - 1 else 0.0)
        sides[i] = side
    total, u = np.zeros(shape), sides[-1] / pivots[-1]
    wanted = set(starts)
    for i in range(n - 1, -1, -1):
        if i < n - 1:
            u = (sides[i] + right[:, :, i] * u) / pivots[i]
        if i in wanted:
            total += np.sqrt(u[..., 0] - 2 * x[i] * u[..., 1] + x[i] ** 2)
    return total / len(wanted)
