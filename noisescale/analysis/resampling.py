"""Confidence levels, quantiles and draws with replacement."""

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtri, stdtrit

from noisescale.analysis.checks import positive_integer, real_number
from noisescale.errors import InputError, shown


def checked_level(level: object) -> float:
    """Confidence in (0, 1), or an InputError."""
    hint = "it must lie in (0, 1), such as 0.95"
    number = real_number("level", level, above=0.0, hint=hint)
    if number >= 1:
        raise InputError(f"level={shown(level)}: {hint}")
    return number


def quantile_of(level: float, degrees: float = np.inf) -> float:
    """Half-width, in standard errors, of Student's (or the normal) interval."""
    probability = (1 + level) / 2
    return float(ndtri(probability) if np.isinf(degrees) else stdtrit(degrees, probability))


def spread_of(draws: NDArray[np.float64], units: int) -> NDArray[np.float64]:
    """Standard error from draws with replacement, whose variance is (n−1)/n of the one sought."""
    return np.asarray(draws.std(axis=0, ddof=1) * np.sqrt(units / (units - 1)))


def drawn_counts(
    units: int, resamples: object, rng: np.random.Generator | int
) -> NDArray[np.int64]:
    """(1 + resamples, units) times each unit counts: once each, then drawn with replacement."""
    number = positive_integer("resamples", resamples)
    if not 50 <= number <= 10**6:
        raise InputError(f"resamples={shown(resamples)}: give 50 to 1e6")
    drawn = generator_of(rng).multinomial(units, np.full(units, 1 / units), number)
    return np.concatenate([np.ones((1, units), np.int64), drawn])


def generator_of(rng: np.random.Generator | int) -> np.random.Generator:
    """A generator, from itself or from its seed, or an InputError."""
    try:
        if rng is None:  # would be seeded by the clock
            raise TypeError
        return np.random.default_rng(rng)
    except (TypeError, ValueError):
        raise InputError(f"rng={shown(rng)}: give a generator or a seed of at least 0") from None
