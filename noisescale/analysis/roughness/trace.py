"""The roughness exponent α of one regular trace V, with honest errors and a verdict."""

from collections.abc import Iterable
from math import inf, pi

import numpy as np
from numpy.typing import ArrayLike, NDArray

from noisescale.analysis.arrays import traces
from noisescale.analysis.checks import at_least_zero, choice, positive, positive_integer
from noisescale.analysis.resampling import checked_level
from noisescale.analysis.roughness.result import RoughnessEstimate, interval_of
from noisescale.analysis.roughness.self_affinity import SecondDifferences, judge, second_differences
from noisescale.analysis.roughness.spectrum_checks import check_spectrum, p_value
from noisescale.analysis.roughness.structure import pair_sums
from noisescale.analysis.roughness.structure_fit import LogFit, fit_generalised, fit_ordinary
from noisescale.analysis.roughness.whittle import fit_whittle, used_frequencies, whittle_sigma
from noisescale.errors import InputError, shown

METHODS = ("whittle", "gls", "ols", "second_difference")
# Fewer values give no estimate at all.
FEWEST = 16
# Lags beyond n/8 or this add nothing to α that the smaller ones do not say.
_LARGEST_LAG = 512


def estimate_alpha(
    values: ArrayLike,
    method: str = "whittle",
    *,
    level: float = 0.95,
    spacing: float = 1.0,
    band: tuple[float, float] | None = None,
    lags: ArrayLike | None = None,
    dilations: ArrayLike | None = None,
) -> RoughnessEstimate:
    """α of E[(V(x) − V(y))²] = σ² |x − y|^α from one trace, 0 < α < 2.

    Methods: "whittle", maximum likelihood of the increments' spectrum, efficient; "gls", the
    structure function's logarithm by generalised least squares with its model covariance at the
    last α; "ols", the same by ordinary least squares: fit for plots, with a standard error from
    the model covariance and the one it would print itself in diagnostics["naive_stderr"];
    "second_difference", E(V(x+h) − 2V(x) + V(x−h))² = σ² (4 − 2^α) h^α over dilations h.

    Whatever the method, second differences and the octaves of the spectrum are checked against the
    power law. The verdict is "self-affine" if they agree, "smooth" where second differences grow
    faster than any self-affine path allows (α = 2 is then no statement about roughness), else
    "undecided" with the reason. Of true paths with n ≥ 256 about 2 % are refused. A linear trend
    has no effect on "whittle" and "second_difference".

    Args:
        values: V, (n ≥ 16,) at equal spacings. Rounding is judged by their dtype.
        method: see above.
        level: confidence of the interval.
        spacing: distance of neighbouring values, in the units in which σ is wanted.
        band: (lowest, highest) frequency in cycles per unit of length, at most 1/(2 spacing), used
            by the spectrum; noise in the values is kept out by a lower end. Second differences
            then begin at the dilation 1/(2 highest).
        lags: lags of "gls" and "ols" in points; default about 1, 1.4, 2 … n/8, at most 512.
        dilations: h of second differences in points, two or more; default 1, 2, 4, 8, 16 up to
            n/8.

    Returns:
        RoughnessEstimate. diagnostics: second_difference_exponent and _stderr (up to 4), _z and _p
        (agreement with the spectrum, with one power), spectrum_p, whittle_alpha (not cut at 2),
        naive_stderr, residual_p (gls), at_boundary, alpha_uncut.

    Raises:
        InputError: values of wrong type, fewer than 16, not finite or all equal; an option that
            is out of range or does not belong to the method.

    Source: Whittle: Fox & Taqqu 1986; second differences: Istas & Lang 1997; the covariance of
    the structure function: Istas & Lang 1997 with the filter (−1, 1).
    """
    choice("method", method, METHODS)
    level, spacing = checked_level(level), positive("spacing", spacing)
    row, size, rounding = _trace(values)
    n = len(row)
    if lags is not None and method not in ("gls", "ols"):
        raise InputError(f"lags belong to the methods gls and ols, not to {method}; leave them out")
    lag_set = _checked_lags("lags", lags, n - 1, _default_lags(n), fewest=3)
    chosen = None if dilations is None else _checked_lags("dilations", dilations, (n - 1) // 2, [])
    low, high, finest = _checked_band(band, spacing, n)
    seconds = second_differences(
        row, rounding, tuple(chosen) if chosen else None, finest, pi / max(low, 1e-9)
    )
    increments = np.diff(row)
    rms = float(np.sqrt(np.mean(increments**2)))
    if seconds.straight and seconds.fit is None:
        numbers = {"second_difference_exponent": inf, "second_difference_stderr": 0.0}
        reason = "a straight line up to rounding: smooth, whatever the spacing"
        window = (spacing, (n - 1) * spacing)
        return RoughnessEstimate(
            2.0, 0.0, (2.0, 2.0), size * rms / spacing, n, window, method, "smooth", reason, level,
            {**numbers, "at_boundary": True},
        )  # fmt: skip

    whittle = fit_whittle(increments[None] / rms, (low, high))
    reference = float(whittle.alpha[0]), float(whittle.stderr[0])
    used, _ = used_frequencies(n - 1, (low, high))
    spectrum = check_spectrum(used, whittle.ratios[0], reference[0])
    fit: LogFit | None = None
    if method in ("gls", "ols"):
        fit, window = _structure_fit(row, lag_set, method)
        alpha, stderr = fit.exponent, fit.stderr
        sigma = float(np.exp(fit.intercept / 2))
    elif method == "second_difference":
        alpha, stderr, sigma, window = _from_second_differences(seconds)
    else:
        alpha, stderr = reference
        sigma = whittle_sigma(alpha, float(whittle.scale[0])) * rms
        window = (pi / used[-1], pi / used[0])
    verdict, reason, numbers = judge(n, seconds, reference, spectrum, fit)
    if fit is not None:
        numbers["naive_stderr"] = fit.naive_stderr
        if method == "gls":
            numbers["residual_p"] = p_value(fit.chi_square, fit.degrees)
    if seconds.fit is not None:
        numbers["second_difference_exponent"] = seconds.fit.exponent
        numbers["second_difference_stderr"] = seconds.fit.stderr
    cut = min(max(alpha, 0.0), 2.0)
    if verdict == "self-affine" and alpha >= 2:
        reason += "; the estimate is cut at 2, its lower end alone is informative"
    if alpha >= 2:
        sigma = rms
    return RoughnessEstimate(
        alpha=cut,
        stderr=stderr,
        interval=interval_of(alpha, stderr, level),
        sigma=size * sigma / spacing ** (cut / 2),
        n=n,
        window=(float(window[0]) * spacing, float(window[1]) * spacing),
        method=method,
        verdict=verdict,
        reason=reason,
        level=level,
        diagnostics={**numbers, "alpha_uncut": alpha, "at_boundary": bool(alpha >= 2)},
    )


def _trace(values: ArrayLike) -> tuple[NDArray[np.float64], float, float]:
    """(row in units of its largest value, that value, relative rounding error)."""
    rows = traces("values", values, fewest=FEWEST)
    if np.ndim(values) != 1:
        raise InputError(f"values has shape {np.shape(values)}: give one trace, (n,)")
    given = np.asarray(values).dtype
    rounding = float(np.finfo(given).eps) if given.kind == "f" else 2.3e-16
    row = rows[0]
    size = float(np.abs(row).max())
    if np.ptp(row) <= 2 * rounding * size:
        raise InputError(f"values are all {row[0]:g}: a constant has no roughness; vary x")
    if size < 1e-100:
        raise InputError(f"values reach only {size:.1e}: rescale them to above 1e-100")
    return row / size, size, rounding


def _structure_fit(
    row: NDArray[np.float64], lags: list[int], method: str
) -> tuple[LogFit, tuple[float, float]]:
    n = len(row)
    k = np.array(lags)
    size = float(np.ptp(row))
    squares = pair_sums(((row - row.mean()) / size)[None], lags[-1])[k - 1] / (n - k)
    used = squares > 1e-28
    if used.sum() < 3:
        raise InputError("values repeat themselves at the lags: the structure function vanishes")
    k, squares = k[used], squares[used]
    if method == "ols":
        fit = fit_ordinary(n, k, squares, 1)
    else:
        pilot = float(np.log(squares[2] / squares[0]) / np.log(k[2] / k[0]))
        fit = fit_generalised(n, k, squares, pilot, 1)
    scaled = LogFit(
        fit.exponent, fit.stderr, fit.intercept + 2 * float(np.log(size)), fit.naive_stderr,
        fit.chi_square, fit.degrees,
    )  # fmt: skip
    return scaled, (float(k[0]), float(k[-1]))


def _from_second_differences(
    seconds: SecondDifferences,
) -> tuple[float, float, float, tuple[float, float]]:
    """(α, standard error, σ, window in points)."""
    fit = seconds.fit
    if fit is None:
        raise InputError("second differences vanish at all dilations but one; give others")
    alpha = fit.exponent
    sigma = float(np.exp(fit.intercept / 2)) / (4 - 2**alpha) ** 0.5 if alpha < 2 else inf
    return alpha, fit.stderr, sigma, (float(seconds.dilations[0]), float(seconds.dilations[-1]))


def _default_lags(n: int) -> list[int]:
    largest = max(min(n // 8, _LARGEST_LAG), 3)
    steps = np.unique(np.round(2 ** (np.arange(0, 2 * int(np.log2(largest)) + 1) / 2)).astype(int))
    return sorted({*(int(k) for k in steps if k <= largest), 1, 2, 3})


def _checked_lags(
    name: str, value: ArrayLike | None, largest: int, default: list[int], *, fewest: int = 2
) -> list[int]:
    if value is None:
        return default
    array = np.asarray(value)
    if array.ndim != 1 or array.dtype.kind not in "iuf" or not np.all(np.isfinite(array)):
        raise InputError(f"{name}={shown(value)}: give a list of whole numbers of points")
    numbers = [positive_integer(name, x) for x in array.tolist()]
    if numbers != sorted(set(numbers)) or len(numbers) < fewest or numbers[-1] > largest:
        raise InputError(
            f"{name}={shown(value)}: give at least {fewest}, increasing, up to {largest}"
        )
    return numbers


def _checked_band(band: Iterable[float] | None, spacing: float, n: int) -> tuple[float, float, int]:
    """(lowest, highest frequency in radians per point, smallest dilation)."""
    if band is None:
        return 0.0, pi, 1
    hint = f"give (lowest, highest) in cycles per unit of length, up to {0.5 / spacing:g}"
    ends = tuple(band) if isinstance(band, Iterable) else ()
    if len(ends) != 2:
        raise InputError(f"band={shown(band)}: {hint}")
    low, high = (2 * pi * spacing * at_least_zero("band", end) for end in ends)
    if not low < high <= pi * (1 + 1e-9):
        raise InputError(f"band={shown(band)}: {hint}")
    used, _ = used_frequencies(n - 1, (low, high))
    if len(used) < 8:
        raise InputError(f"band={shown(band)} holds {len(used)} frequencies; widen it to 8 or more")
    finest = max(int(np.ceil(pi / high - 1e-9)), 1)
    if 16 * finest > n:
        raise InputError(f"band={shown(band)}: second differences at {finest} points need more")
    return low, high, finest
