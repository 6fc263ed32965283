"""α of a landscape from its values along random rays, with whole rays drawn again."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from noisescale.analysis.arrays import traces
from noisescale.analysis.checks import at_least_zero, choice
from noisescale.analysis.resampling import checked_level, drawn_counts, quantile_of, spread_of
from noisescale.analysis.roughness.ray_losses import checked_radii
from noisescale.analysis.roughness.result import RoughnessEstimate, Verdict, interval_of
from noisescale.errors import InputError

Array = NDArray[np.float64]

STATISTICS = ("std", "rms")
FEWEST_RADII = 5
FEWEST_RAYS = 10
# Largest radius over smallest that a verdict needs.
FEWEST_RATIO = 10.0
# A true self-affine landscape fails one of the checks in about 1 % of cases.
_LARGEST_Z = 3.3
# Differences below this many rounding errors of the values are a straight line.
_ROUNDING = 10.0


def alpha_from_rays(
    radii: ArrayLike,
    curves: ArrayLike,
    *,
    statistic: str = "std",
    level: float = 0.95,
    resamples: int = 400,
    rng: np.random.Generator | int = 0,
    rounding: float | None = None,
) -> RoughnessEstimate:
    """ln std_k(V(w0 + r u_k) − V(w0)) = c + (α/2) ln r, over rays k = 1 … K from one origin.

    Rays share their origin and therefore move up and down together: the mean square over rays
    holds that common part, the standard deviation does not. For orthogonal rays its square is
    σ² r^α 2^{α/2−1}, which gives σ. Radii along a ray are not independent; rays are drawn again
    with replacement as whole curves. That is the error at this origin: repeat over origins.

    A standard deviation that grows like r does not show α = 2: every smooth function does that
    near w0. The second differences V(w0 + q r u) − q V(w0 + r u) + (q − 1) V(w0) take away what
    is linear. They grow like r^{α/2} in a self-affine landscape and like r² in a smooth one.

    Args:
        radii: r, (radii ≥ 5,) increasing, above 0. The check needs geometric radii, or equidistant
            ones from the origin (r, 2r, 3r …), or four pairs r, 2r.
        curves: (rays ≥ 3, radii) V(w0 + r u_k) − V(w0).
        statistic: "std" over rays, or "rms", the root mean square, for comparison.
        level: confidence of the interval.
        resamples: of the rays, 50 or more.
        rng: source of the draws, or its seed.
        rounding: absolute error of the curves; default that of their dtype at their largest
            value. Differences of losses carry the rounding of the losses themselves.

    Returns:
        RoughnessEstimate with n rays and the window of radii. diagnostics: naive_stderr (least
        squares, radii taken as independent), second_difference_exponent (α, or 4), _stderr, _z
        (against α) and _ratio q, local_slope d ln std/d ln r between neighbouring radii with
        local_slope_interval (radii − 1, 2) and local_slope_radii, curvature_z (upper against lower
        half of the radii), std (radii,).

    Raises:
        InputError: shapes, order or signs not as above; curves that do not differ between rays.

    Source: the covariance of V at r u_k and r u_l, k ≠ l, is σ² r^α (1 − 2^{α/2−1}); random
    directions: Hoffer, Hubara & Soudry 2017, section 4.
    """
    choice("statistic", statistic, STATISTICS)
    level = checked_level(level)
    r, values, smallest = _checked(radii, curves)
    error = smallest if rounding is None else at_least_zero("rounding", rounding)
    rays = len(values)
    counts = drawn_counts(rays, resamples, rng)
    logs = _log_spreads(values, counts, statistic)
    if not np.all(np.isfinite(logs[0])):
        raise InputError("curves do not differ between rays at some radius: there is no spread")

    x = np.log(r)
    slopes = _slopes(x, logs)
    alpha, stderr = 2 * float(slopes[0]), 2 * float(spread_of(slopes[1:], rays))
    local = np.diff(logs, axis=1) / np.diff(x)
    half = quantile_of(level, rays - 1) * spread_of(local[1:], rays)
    middle = len(r) // 2
    bend = _slopes(x[middle:], logs[:, middle:]) - _slopes(x[: middle + 1], logs[:, : middle + 1])
    numbers: dict[str, Any] = {
        "naive_stderr": 2 * _naive_stderr(x, logs[0]),
        "std": np.exp(logs[0]),
        "local_slope": local[0],
        "local_slope_interval": np.stack([local[0] - half, local[0] + half], axis=-1),
        "local_slope_radii": np.sqrt(r[1:] * r[:-1]),
        "curvature_z": _z(bend, rays),
        "alpha_uncut": alpha,
    }
    check = _second_differences(r, values, counts, error, statistic)
    if check is not None and not check.straight:
        numbers["second_difference_ratio"] = check.ratio
        numbers["second_difference_exponent"] = float(check.exponents[0])
        numbers["second_difference_stderr"] = float(spread_of(check.exponents[1:], rays))
        numbers["second_difference_z"] = _z(check.exponents - 2 * slopes, rays)
    verdict, reason = _decide(r, rays, alpha, stderr, check, numbers)
    cut = min(max(alpha, 0.0), 2.0)
    common = 2 ** ((cut / 2 - 1) / 2) if statistic == "std" else 1.0
    return RoughnessEstimate(
        alpha=cut,
        stderr=stderr,
        interval=interval_of(alpha, stderr, level, rays - 1),
        sigma=float(np.exp(logs[0].mean() - alpha / 2 * x.mean())) / common,
        n=rays,
        window=(float(r[0]), float(r[-1])),
        method=f"rays-{statistic}",
        verdict=verdict,
        reason=reason,
        level=level,
        diagnostics=numbers,
    )


@dataclass(frozen=True, slots=True)
class _Check:
    ratio: float
    exponents: Array  # over all radii, one per draw
    finest: Array  # over the smaller half of the radii
    straight: bool


def _checked(radii: ArrayLike, curves: ArrayLike) -> tuple[Array, Array, float]:
    r = checked_radii(radii, fewest=FEWEST_RADII)
    values = traces("curves", curves, fewest=1)
    if np.ndim(curves) != 2 or values.shape[1] != len(r) or len(values) < 3:
        raise InputError(
            f"curves has shape {np.shape(curves)}: give (rays, {len(r)} radii), 3 rays or more"
        )
    given = np.asarray(curves).dtype
    relative = float(np.finfo(given).eps) if given.kind == "f" else 2.3e-16
    return r, values, relative * float(np.abs(values).max())


def _log_spreads(values: Array, counts: NDArray[np.int64], statistic: str) -> Array:
    """(draws, radii) ln of the spread over rays; draws of one ray alone are left out."""
    total = len(values)
    size = np.abs(values).max(axis=0)
    size = np.where(size > 0, size, 1.0)
    scaled = values / size
    if statistic == "std":
        scaled = scaled - scaled.mean(axis=0)
    mean = counts @ scaled / total if statistic == "std" else 0.0
    degrees = total - 1 if statistic == "std" else total
    variance = (counts @ scaled**2 - total * np.square(mean)) / degrees
    with np.errstate(divide="ignore", invalid="ignore"):
        logs = np.where(variance > 1e-30, np.log(variance) / 2, -np.inf) + np.log(size)
    return logs[np.concatenate([[True], np.all(np.isfinite(logs[1:]), axis=1)])]


def _slopes(x: Array, logs: Array) -> Array:
    centred = x - x.mean()
    return np.asarray(logs @ centred / (centred @ centred))


def _naive_stderr(x: Array, logs: Array) -> float:
    centred = x - x.mean()
    residual = logs - logs.mean() - float(_slopes(x, logs)) * centred
    return float(np.sqrt(residual @ residual / (len(x) - 2) / (centred @ centred)))


def _z(draws: Array, rays: int) -> float:
    error = float(spread_of(draws[1:], rays))
    return float(draws[0]) / error if error > 0 else 0.0


def _second_differences(
    r: Array, values: Array, counts: NDArray[np.int64], rounding: float, statistic: str
) -> _Check | None:
    """Exponents of V(q r) − q V(r), values relative to the origin; None without such radii."""
    first, second, q = _pairs(r)
    if len(first) < 4:
        return None
    differences = values[:, second] - q * values[:, first]
    floor = _ROUNDING * rounding * q
    above = differences.std(axis=0) > floor
    if above.sum() < 4:
        return _Check(q, np.full(2, np.nan), np.full(2, np.nan), True)
    x = np.log(r[first][above])
    # The same draws as for α, so that their difference has an error.
    logs = _log_spreads(differences[:, above], counts, statistic)
    half = max(3, len(x) // 2)
    return _Check(q, 2 * _slopes(x, logs), 2 * _slopes(x[:half], logs[:, :half]), False)


def _pairs(r: Array) -> tuple[NDArray[np.int64], NDArray[np.int64], float]:
    """(indices of r, indices of q r, q): q near 2 for geometric radii, else 2."""
    indices = np.arange(len(r))
    ratios = r[1:] / r[:-1]
    if np.ptp(ratios) < 1e-6 * ratios[0]:
        steps = max(1, min(round(float(np.log(2) / np.log(ratios[0]))), len(r) - 4))
        return indices[:-steps], indices[steps:], float(r[steps] / r[0])
    second = np.clip(np.searchsorted(r, 2 * r * (1 - 1e-6)), 0, len(r) - 1)
    found = np.abs(r[second] - 2 * r) < 1e-6 * r
    return indices[found], second[found], 2.0


def _decide(
    r: Array, rays: int, alpha: float, stderr: float, check: _Check | None, numbers: dict[str, Any]
) -> tuple[Verdict, str]:
    if check is not None and check.straight:
        return "smooth", "straight lines along the rays, up to rounding"
    if rays < FEWEST_RAYS:
        return "undecided", f"{rays} rays: a verdict needs at least {FEWEST_RAYS}"
    exponents = [(alpha, stderr, "values")]
    if check is not None:
        for draws in (check.finest, check.exponents):
            error = float(spread_of(draws[1:], rays))
            exponents.append((float(draws[0]), error, "second differences"))
    for exponent, error, what in exponents:
        if exponent > 2 + _LARGEST_Z * error:
            return "smooth", (
                f"indistinguishable from a smooth function: the squares of {what} grow with "
                f"exponent {exponent:.2f} ± {error:.2f} (at most 2 for a self-affine landscape)"
            )
    if alpha <= _LARGEST_Z * stderr:
        return "undecided", (
            f"the spread does not grow with the radius (exponent {alpha:.2f} ± {stderr:.2f}): "
            "noise, or a landscape rough below the smallest radius"
        )
    if check is None:
        return "undecided", (
            "no second differences at these radii, so a smooth function is not excluded: give "
            "equidistant or geometric radii"
        )
    if r[-1] < FEWEST_RATIO * r[0]:
        return "undecided", (
            f"radii span a factor {r[-1] / r[0]:.3g}: a verdict needs {FEWEST_RATIO:g}"
        )
    if abs(numbers["second_difference_z"]) > _LARGEST_Z:
        return "undecided", (
            f"second differences say {numbers['second_difference_exponent']:.2f} ± "
            f"{numbers['second_difference_stderr']:.2f}, the spread {alpha:.2f} ± {stderr:.2f}: "
            "not one power law of the radius"
        )
    if abs(numbers["curvature_z"]) > _LARGEST_Z:
        return "undecided", "the slope changes along the radius; see local_slope"
    return "self-affine", "spread and second differences agree on one power law of the radius"
