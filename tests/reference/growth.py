"""Growth laws written as they are defined, and curves planted from them."""

import numpy as np


def distance(law, x, values):
    x = np.asarray(x, np.float64)
    if law == "log":
        offset, slope = values
        return offset + slope * np.log(x)
    if law == "power":
        amplitude, exponent = values
        return amplitude * x**exponent
    if law == "log-power":
        amplitude, log_tau0, exponent = values
        return amplitude * (np.log(x) - log_tau0) ** exponent
    if law == "saturating":
        limit, time, exponent = values
        return limit * (1 - np.exp(-((x / time) ** exponent)))
    norm0, rate = values
    return np.sqrt(np.sqrt(norm0**4 + rate * x) - norm0**2)


def noise(x, seeds, sigma, length, independent, rng):
    """(seeds, n) noise of ln D: variance σ², a part of it independent, the rest e^(−|Δ ln x|/ℓ)."""
    u = np.log(x)
    covariance = (1 - independent) * np.exp(-np.abs(u[:, None] - u) / length)
    covariance += independent * np.eye(len(u))
    root = np.linalg.cholesky(covariance + 1e-14 * np.eye(len(u)))
    return sigma * rng.standard_normal((seeds, len(u))) @ root.T


def log_density(y, mean, covariance):
    """ln of the normal density of y."""
    gap = y - mean
    _, logdet = np.linalg.slogdet(2 * np.pi * covariance)
    return -(gap @ np.linalg.solve(covariance, gap) + logdet) / 2


def drawn(law, x, rng):
    """Parameters of a law that shows within the window of x: knees inside, slopes apart."""
    first, last = np.log(x[0]), np.log(x[-1])
    if law == "log":
        return (0.7 * (rng.uniform(0.5, 5) - first), 0.7)
    if law == "power":
        return (0.3, rng.uniform(0.15, 1))
    if law == "log-power":
        return (0.2, first - rng.uniform(0.3, 4), rng.choice([4 / 3, 2, 8 / 3, 4]))
    if law == "saturating":
        return (5.0, np.exp(rng.uniform(first + 1, last)), rng.uniform(0.4, 1.2))
    return (3.0, 81 * np.exp(rng.uniform(2, last - first)) / x[-1])
