"""Does the spectrum of the increments follow one power law, against what commonly breaks it?"""

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray
from scipy.special import chdtrc

from noisescale.analysis.roughness.whittle import log_shape, minimise_over_alpha

Array = NDArray[np.float64]

# Frequencies are joined in bins, so many to an octave: f changes little within one.
_BINS = 24
_CORRELATIONS, _NOISES = 16, 13


@dataclass(frozen=True, slots=True)
class SpectrumChecks:
    """Likelihood ratios against wider models, and the deviance by octaves.

    Args:
        noise: 2 ln of the likelihood ratio of α + white noise in the values to α alone.
        correlation: the same for a finite correlation length, f · s/(s + κ²), s = 4 sin²(λ/2).
        octaves_p: p-value of the deviance from the power law in octaves of frequency.
        octaves: mean of I/f by octave, from the lowest frequency up.
        fluctuation: z of the mean square of I/f, 2 for a Gaussian path; far below for one jump,
            far above for a period.
    """

    noise: float
    correlation: float
    octaves_p: float
    octaves: Array
    fluctuation: float


def check_spectrum(frequencies: Array, ratios: Array, alpha: float) -> SpectrumChecks:
    """Score one Whittle fit: α and the ratios I/f at its frequencies.

    Each wider model has one parameter more, at the edge of its range if the power law holds: its
    likelihood ratio is then 0 half the time, else χ² with one degree of freedom.

    Source: likelihood ratios at a boundary: Chernoff 1954; a gamma variable's deviance.
    """
    octaves_p, octaves = _octaves(ratios)
    starts = _bin_starts(len(ratios))
    counts = np.diff(np.append(starts, len(ratios)))
    weights = counts / len(ratios)
    power = np.add.reduceat(ratios, starts) / counts
    middle = np.add.reduceat(frequencies, starts) / counts
    fitted = log_shape(middle, alpha)
    steps = 4 * np.sin(middle / 2) ** 2

    def likelihood(logs: Array) -> Array:
        change = logs - fitted
        return np.log((power * np.exp(-change)) @ weights) + change @ weights

    kappa = np.geomspace(middle[0] / 2, 2.0, _CORRELATIONS)[:, None]
    damping = np.log(steps / (steps + kappa**2))
    shares = np.log(np.geomspace(1e-3, 1e3, _NOISES)[:, None] * steps / 4)

    def wider(a: float) -> Array:
        shape = log_shape(middle, a)
        return likelihood(np.vstack([shape + damping, np.logaddexp(shape, shares + shape[-1])]))

    _, minima = minimise_over_alpha(wider)
    correlated, noise = minima[:_CORRELATIONS], minima[_CORRELATIONS:]
    count = len(ratios)
    return SpectrumChecks(
        noise=max(-2 * count * float(noise.min()), 0.0),
        correlation=max(-2 * count * float(correlated.min()), 0.0),
        octaves_p=octaves_p,
        octaves=octaves,
        # The variance of y² is 20; dividing by the mean of y leaves 4.
        fluctuation=float((np.mean(ratios**2) - 2) * np.sqrt(count / 4)),
    )


def _bin_starts(count: int) -> NDArray[np.int64]:
    """First index of each bin: single frequencies at first, then a constant number per octave."""
    octaves = np.arange(0, np.log2(count + 1), 1 / _BINS)
    edges = np.unique(np.round(2**octaves).astype(np.int64)) - 1
    return np.asarray(edges[edges < count])


def _octaves(ratios: Array) -> tuple[float, Array]:
    """(p-value, means r_b) of the deviance Σ_b 2 m_b (r_b − 1 − ln r_b).

    r_b is the mean of the m_b ratios of an octave, a gamma variable of shape m_b; each term is
    divided by its mean 1 + 1/(6 m_b). Two parameters were fitted.
    """
    edges = [0]
    while edges[-1] < len(ratios):
        edges.append(2 * edges[-1] + 1)
    # The highest octave is joined to the one below, for it is seldom complete.
    edges = [*edges[:-2], len(ratios)] if len(edges) > 3 else [0, len(ratios)]
    means = np.array([ratios[a:b].mean() for a, b in pairwise(edges)])
    counts = np.diff(edges)
    with np.errstate(divide="ignore"):
        terms = 2 * counts * (means - 1 - np.log(means)) / (1 + 1 / (6 * counts))
    return p_value(float(terms.sum()), len(counts) - 2), means


def p_value(chi_square: float, degrees: int) -> float:
    """P(χ² ≥ chi_square); 1 without degrees of freedom."""
    return float(chdtrc(degrees, chi_square)) if degrees > 0 else 1.0
