"""What every estimator of the roughness exponent returns."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtri, stdtrit

from noisescale.analysis.checks import positive_integer, real_number
from noisescale.errors import InputError, shown

Verdict = Literal["self-affine", "log-power", "smooth", "undecided"]


@dataclass(frozen=True, slots=True)
class RoughnessEstimate:
    """α of E[(V(x) − V(y))²] = σ² |x − y|^α, with its error and what speaks for the model.

    Args:
        alpha: the estimate, cut to [0, 2]; in hand whatever the verdict.
        stderr: its standard error, if the model holds.
        interval: of confidence `level`, cut to [0, 2].
        sigma: σ; None where the data do not hold it (distances of walkers).
        n: independent units behind the error: points of a trace, rays, environments.
        window: smallest and largest abscissa used: distances, radii, or ln t.
        method: the estimator's name.
        verdict: "self-affine" (or "log-power", of distance curves): no check speaks against the
            law; "smooth": indistinguishable from a smooth function, whose α = 2 says nothing
            about roughness; "undecided": a check failed, or the data do not suffice.
        reason: the verdict in words.
        level: confidence of the interval.
        diagnostics: numbers of the checks and of naive fits, by name.
    """

    alpha: float
    stderr: float
    interval: tuple[float, float]
    sigma: float | None
    n: int
    window: tuple[float, float]
    method: str
    verdict: Verdict
    reason: str
    level: float
    diagnostics: Mapping[str, Any] = field(default_factory=dict)


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


def interval_of(
    center: float, stderr: float, level: float, degrees: float = np.inf
) -> tuple[float, float]:
    """Student's (or, with infinite degrees, the normal) interval of α, cut to [0, 2]."""
    half = quantile_of(level, degrees) * stderr
    return min(max(center - half, 0.0), 2.0), max(min(center + half, 2.0), 0.0)


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
