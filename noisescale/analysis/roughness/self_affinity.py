"""Checks on one trace: is it a self-affine path, a smooth function, or neither?"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from noisescale.analysis.roughness.result import Verdict
from noisescale.analysis.roughness.spectrum_checks import SpectrumChecks, p_value
from noisescale.analysis.roughness.structure_fit import LogFit, fit_generalised

Array = NDArray[np.float64]

# A true fractional Brownian path fails one of the checks in about 2 % of cases.
_LARGEST_Z = 3.3
_SMALLEST_P = 0.001
_LARGEST_RATIO = 9.0
# The mean square of exponential variables has a long upper tail.
_LARGEST_FLUCTUATION = 8.0
# Below this, and below so many standard errors, α may be the 0 of white noise.
_LOWEST_ALPHA, _LOWEST_Z = 0.1, 2.5
# Fewer points cannot tell a path from other things.
FEWEST_POINTS = 128
# Second differences below this many rounding errors of V are rounding errors.
_ROUNDING = 10.0
DILATIONS = (1, 2, 4, 8, 16)


@dataclass(frozen=True, slots=True)
class SecondDifferences:
    """Mean squares of V(x+h) − 2V(x) + V(x−h) at dilations h, and their exponent.

    Args:
        dilations: h, in points.
        mean_squares: one per dilation.
        fit: over all dilations; None where fewer than two have differences above rounding.
        finest: over the two smallest dilations.
        straight: V is a straight line at the smallest dilation, up to rounding.
    """

    dilations: Array
    mean_squares: Array
    fit: LogFit | None
    finest: LogFit | None
    straight: bool


def second_differences(
    row: Array,
    rounding: float,
    dilations: tuple[int, ...] | None,
    finest: int = 1,
    coarsest: float = np.inf,
) -> SecondDifferences:
    """E(V(x+h) − 2V(x) + V(x−h))² = σ² (4 − 2^α) h^α, fitted over dilations h.

    The exponent is α for a self-affine path and 4 for a smooth function, 0 for white noise.

    Args:
        row: (n,) values.
        rounding: relative error of a value, such as 2e-16.
        dilations: h in points; None for `finest` times 1, 2, 4, 8, 16, as far as they fit in
            n/8. Where the smallest of these are lost in rounding, larger ones are taken.
        finest: smallest h to begin with.
        coarsest: largest h, but not below 2 finest.

    Source: Istas & Lang 1997, section 2, with the filter (1, −2, 1) and dilations.
    """
    n = len(row)
    floor = (_ROUNDING * rounding * np.abs(row).max()) ** 2
    straight = _mean_square(row, finest) <= floor
    if dilations is None:
        first = finest
        while _mean_square(row, first) <= floor and 8 * first <= n:
            first *= 2
        dilations = tuple(h for h in (first * d for d in DILATIONS) if 8 * h <= n)
        dilations = tuple(h for h in dilations if h <= max(coarsest, 2 * first))
    squares = np.array([_mean_square(row, h) for h in dilations])
    used = squares > floor
    lags, kept = np.array(dilations, float)[used], squares[used]
    fit = lowest = None
    if len(lags) >= 2:
        pilot = float(np.log(kept[1] / kept[0]) / np.log(lags[1] / lags[0]))
        lowest = fit_generalised(n, lags[:2], kept[:2], pilot, 2)
        fit = fit_generalised(n, lags, kept, lowest.exponent, 2)
    return SecondDifferences(lags, kept, fit, lowest, bool(straight))


def _mean_square(row: Array, h: int) -> float:
    step = row[2 * h :] - 2 * row[h:-h] + row[: -2 * h]
    return float(np.mean(step**2))


def _agreement(
    n: int, seconds: SecondDifferences, alpha: float, stderr: float
) -> tuple[float, float]:
    """(z of the second differences' exponent against α, p-value of their scatter about a power).

    Both at the covariance of the model with α. That estimate is efficient, so that the variance of
    the difference is the difference of the variances.

    Source: Hausman 1978, lemma 2.1.
    """
    fit = fit_generalised(n, seconds.dilations, seconds.mean_squares, alpha, 2, iterations=1)
    variance = max(fit.stderr**2 - stderr**2, 0.15 * fit.stderr**2)
    return float((fit.exponent - alpha) / variance**0.5), p_value(fit.chi_square, fit.degrees)


def judge(
    n: int,
    seconds: SecondDifferences,
    whittle: tuple[float, float],
    spectrum: SpectrumChecks,
    estimate: LogFit | None,
) -> tuple[Verdict, str, dict[str, float]]:
    """(verdict, reason, numbers of the checks).

    Args:
        n: points of the trace.
        seconds: its second differences.
        whittle: (α not cut at 2, standard error).
        spectrum: the checks of the Whittle fit.
        estimate: the fit of the structure function, if that is the method.
    """
    alpha, stderr = whittle
    numbers = {
        "whittle_alpha": alpha,
        "whittle_stderr": stderr,
        "spectrum_p": spectrum.octaves_p,
        "noise_likelihood_ratio": spectrum.noise,
        "correlation_likelihood_ratio": spectrum.correlation,
        "fluctuation_z": spectrum.fluctuation,
    }
    if seconds.straight:
        return "smooth", "a straight line at the smallest spacing, up to rounding", numbers
    if seconds.fit is None or seconds.finest is None:
        return "undecided", "second differences vanish: fewer than two dilations remain", numbers
    z, p = _agreement(n, seconds, alpha, stderr)
    numbers |= {
        "second_difference_z": z,
        "second_difference_p": p,
        "finest_exponent": seconds.finest.exponent,
        "finest_stderr": seconds.finest.stderr,
    }
    for fit in (seconds.finest, seconds.fit):
        if fit.exponent > 2 + _LARGEST_Z * fit.stderr:
            return (
                "smooth",
                "indistinguishable from a smooth function: second differences grow with exponent "
                f"{fit.exponent:.2f} ± {fit.stderr:.2f} (at most 2 for a self-affine path, 4 for "
                "a smooth one)",
                numbers,
            )
    if n < FEWEST_POINTS:
        return "undecided", f"{n} points: a verdict needs at least {FEWEST_POINTS}", numbers
    against = _against(seconds.fit, z, p, alpha, stderr, spectrum, estimate)
    if against:
        return "undecided", f"not one power law: {against}", numbers
    return "self-affine", "the spectrum and second differences agree on one power law", numbers


def _against(
    fit: LogFit,
    z: float,
    p: float,
    alpha: float,
    stderr: float,
    spectrum: SpectrumChecks,
    estimate: LogFit | None,
) -> str:
    """What speaks against a self-affine path, the most specific first; nothing: an empty text."""
    if alpha < max(_LOWEST_ALPHA, _LOWEST_Z * stderr):
        return f"alpha is {alpha:.2f} ± {stderr:.2f}, and white noise (alpha 0) is not excluded"
    if max(spectrum.noise, spectrum.correlation) > _LARGEST_RATIO:
        if spectrum.noise > spectrum.correlation:
            return f"noise added to the values fits better (χ² = {spectrum.noise:.0f} for one)"
        return f"a finite correlation length fits better (χ² = {spectrum.correlation:.0f} for one)"
    if abs(z) > _LARGEST_Z:
        return (
            f"second differences say {fit.exponent:.2f} ± {fit.stderr:.2f}, the spectrum "
            f"{alpha:.2f} ± {stderr:.2f}; a trend or noise in the values does this"
        )
    if spectrum.octaves_p < _SMALLEST_P:
        return f"the spectrum bends (p = {spectrum.octaves_p:.1g} over octaves of frequency)"
    if p < _SMALLEST_P:
        return f"second differences bend (p = {p:.1g} over dilations)"
    if spectrum.fluctuation < -_LARGEST_Z:
        return "the spectrum fluctuates less than that of a Gaussian path: a single jump does this"
    if spectrum.fluctuation > _LARGEST_FLUCTUATION:
        return "single frequencies stand out of the spectrum: a period does this"
    if estimate is not None and abs(estimate.exponent - alpha) > _LARGEST_Z * estimate.stderr:
        return (
            f"the structure function says {estimate.exponent:.2f} ± {estimate.stderr:.2f}, the "
            f"spectrum {alpha:.2f} ± {stderr:.2f}; a trend or a finite correlation length does this"
        )
    return ""
