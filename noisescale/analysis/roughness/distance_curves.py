"""α from distance curves of walkers in Gaussian potentials: D(t) ∝ (ln t − ln τ0)^{2/α}."""

from math import log

import numpy as np
from numpy.typing import ArrayLike, NDArray

from noisescale.analysis.arrays import traces
from noisescale.analysis.checks import choice, real_number
from noisescale.analysis.resampling import checked_level, drawn_counts, spread_of
from noisescale.analysis.roughness.log_power_fit import averages, fit_log_power, fit_naive
from noisescale.analysis.roughness.result import RoughnessEstimate, Verdict, interval_of
from noisescale.errors import InputError, shown

Array = NDArray[np.float64]

AVERAGES = ("mean", "median")
FEWEST_TIMES = 5
# With fewer environments their spread is not known well enough for a verdict.
FEWEST_ENVIRONMENTS = 10
# Largest ln t over smallest that a verdict needs; see `alpha_from_distance`.
FEWEST_DECADES = 1.0
# The estimate without so much of the window (of ln ln t) must agree, to so many standard errors.
_EARLY, _LARGEST_MOVE = 0.25, 2.5
# With more environments draws alone do.
_MOST_LEFT_OUT = 1000
# A time is dropped where more than this part of the walkers is at the wall.
_LARGEST_WALL = 0.01


def alpha_from_distance(
    log_t: ArrayLike,
    distances: ArrayLike,
    *,
    window: tuple[float, float] | None = None,
    wall_fraction: ArrayLike | None = None,
    average: str = "mean",
    resamples: int = 400,
    rng: np.random.Generator | int = 0,
    level: float = 0.95,
) -> RoughnessEstimate:
    """ln D(t) = c + (2/α) ln(ln t − ln τ0), fitted by least squares with c, α and ln τ0 free.

    D is the average over environments. Environments are drawn again with replacement, whole
    curves at a time (the times of one environment are not independent), and each draw is fitted
    with its own τ0. The microscopic time must be free: with τ0 = 1 curves up to t = 1e6 give the
    same α for very different potentials. Even so, a short window fits a curvature that belongs to
    the approach to the law, and its error bar is then without meaning. The verdict is "undecided",
    with the estimate in hand, unless the last ln t is ten times the first and the estimate stays
    where it is when the window starts later. (Exact walks with α = 1 from ln t = 3: up to 14 the
    fit gives 0.66 ± 0.01, up to 100 still 0.95 ± 0.02; from 5 to 100 it gives 1.02 ± 0.03.)

    Args:
        log_t: ln t, (times ≥ 5,), increasing and above 0.
        distances: D, (environments, times) above 0: a typical distance from the start in each
            environment, such as the mean absolute or the median displacement over starts.
        window: (lowest, highest) ln t used; default all.
        wall_fraction: (times,) part of the walkers at the edge of the box; times with more than
            0.01 are dropped.
        average: over environments, "mean" or "median"; for α > 1.8 rare ramps dominate a mean.
        resamples: of the environments, at least 50.
        rng: source of the draws, or its seed.
        level: confidence of the interval.

    Returns:
        RoughnessEstimate with n environments, window in ln t, verdict "log-power" or "undecided".
        diagnostics: log_tau0 and log_tau0_stderr, later_alpha and later_z (without the first
        quarter of the window in ln ln t), naive_alpha and naive_stderr (τ0 = 1, times taken as
        independent), dropped (times at the wall), decades of ln t, at_limit (part of the fits
        whose τ0 ran into the limits of the search), residual (largest of ln D).

    Raises:
        InputError: shapes, order or signs as above not met; fewer than 5 times or 2 environments.

    Source: Sinai 1982 (α = 1, d = 1); the exponent for other α by self-affine scaling.
    """
    level = checked_level(level)
    choice("average", average, AVERAGES)
    times, curves, wall = _checked(log_t, distances, wall_fraction)
    inside = _inside(times, window)
    clear = inside & (wall <= _LARGEST_WALL)
    dropped = int(np.sum(inside & ~clear))
    box_limited = int(clear.sum()) < FEWEST_TIMES
    kept = inside if box_limited else clear
    x, y = times[kept], curves[:, kept]
    if y.min() <= 0:
        raise InputError("distances hold values of 0 inside the window; start it later")
    environments = len(y)
    counts = drawn_counts(environments, resamples, rng)
    draws = len(counts) - 1
    # Averages without one environment: their spread (the jackknife's) is the better one of the
    # two where single environments are far out. It does not exist for medians.
    left_out = environments if average == "mean" and environments <= _MOST_LEFT_OUT else 0
    without = 1 - np.eye(environments, dtype=np.int64)[:left_out]
    means = averages(y, np.concatenate([counts, without]), average)
    slopes, shifts, limited, residual = fit_log_power(x, np.log(means))
    late = x >= x[0] * (x[-1] / x[0]) ** _EARLY
    later = (
        slopes if late.sum() < FEWEST_TIMES else fit_log_power(x[late], np.log(means[:, late]))[0]
    )
    alphas = 2 / slopes
    stderr = _stderr(alphas, draws, environments)
    move = 2 / later - alphas
    move_stderr = _stderr(move, draws, environments)
    naive, naive_stderr = fit_naive(x, np.log(means[0]))

    alpha, at_limit = float(alphas[0]), float(limited.mean())
    moved = float(move[0]) / move_stderr if move_stderr > 1e-6 * abs(alpha) else 0.0
    decades = log(x[-1] / x[0]) / log(10)
    verdict, reason = _decide(environments, decades, box_limited, dropped, bool(limited[0]), moved)
    return RoughnessEstimate(
        alpha=min(max(alpha, 0.0), 2.0),
        stderr=stderr,
        interval=interval_of(alpha, stderr, level, environments - 1),
        sigma=None,
        n=environments,
        window=(float(x[0]), float(x[-1])),
        method=f"distance-{average}",
        verdict=verdict,
        reason=reason,
        level=level,
        diagnostics={
            "log_tau0": float(shifts[0]),
            "log_tau0_stderr": _stderr(shifts, draws, environments),
            "later_alpha": float(2 / later[0]),
            "later_z": moved,
            "naive_alpha": naive,
            "naive_stderr": naive_stderr,
            "dropped": dropped,
            "decades": decades,
            "at_limit": at_limit,
            "residual": float(np.abs(residual[0]).max()),
            "alpha_uncut": alpha,
        },
    )


def _checked(
    log_t: ArrayLike, distances: ArrayLike, wall_fraction: ArrayLike | None
) -> tuple[Array, Array, Array]:
    times = traces("log_t", log_t, fewest=FEWEST_TIMES)
    if len(times) > 1 or np.ndim(log_t) != 1:
        raise InputError(f"log_t has shape {np.shape(log_t)}: give one ln t per time")
    x = times[0]
    if x[0] <= 0 or np.any(np.diff(x) <= 0):
        raise InputError("log_t is not increasing from above 0; sort it, and drop t ≤ 1")
    curves = traces("distances", distances, fewest=1)
    if np.ndim(distances) != 2 or curves.shape[1] != len(x):
        raise InputError(
            f"distances has shape {np.shape(distances)}: give (environments, {len(x)} times)"
        )
    if len(curves) < 2:
        raise InputError("distances holds 1 environment: its error needs at least 2")
    if curves.min() < 0:
        raise InputError("distances holds negative values; give distances from the start")
    if wall_fraction is None:
        return x, curves, np.zeros(len(x))
    wall = traces("wall_fraction", wall_fraction, fewest=1)
    if np.shape(wall_fraction) != x.shape or wall.min() < 0 or wall.max() > 1:
        raise InputError(f"wall_fraction={shown(wall_fraction)}: give one part in [0, 1] per time")
    return x, curves, wall[0]


def _inside(times: Array, window: tuple[float, float] | None) -> NDArray[np.bool_]:
    if window is None:
        return np.ones(len(times), bool)
    hint = "give (lowest, highest) ln t"
    try:
        low, high = window
    except (TypeError, ValueError):
        raise InputError(f"window={shown(window)}: {hint}") from None
    low = real_number("window", low, low=-1e100, hint=hint)
    high = real_number("window", high, low=-1e100, hint=hint)
    inside = (times >= low) & (times <= high)
    if inside.sum() < FEWEST_TIMES:
        raise InputError(
            f"window={shown(window)} holds {int(inside.sum())} times; widen it to {FEWEST_TIMES}"
        )
    return inside


def _stderr(values: Array, draws: int, environments: int) -> float:
    """The larger of the spreads of draws and of averages that leave one environment out."""
    drawn = float(spread_of(values[1 : draws + 1], environments))
    left = values[draws + 1 :]
    if not len(left):
        return drawn
    return max(drawn, float(left.std() * np.sqrt(environments - 1)))


def _decide(
    environments: int, decades: float, box_limited: bool, dropped: int, limited: bool, moved: float
) -> tuple[Verdict, str]:
    note = f"; {dropped} times at the wall dropped" if dropped else ""
    if box_limited:
        return "undecided", "limited by the box: too few times with at most 1 % at the wall"
    if environments < FEWEST_ENVIRONMENTS:
        return "undecided", f"{environments} environments: a verdict needs {FEWEST_ENVIRONMENTS}"
    if decades < FEWEST_DECADES * (1 - 1e-9):
        return (
            "undecided",
            f"the window spans {decades:.2f} decades of ln t: a verdict needs "
            f"{FEWEST_DECADES:g}, as the curvature of short ones is not that of the law{note}",
        )
    if abs(moved) > _LARGEST_MOVE:
        return (
            "undecided",
            f"the estimate moves (z = {moved:.1f}) when the window starts later: its early times "
            f"are not yet on the law{note}",
        )
    if limited:
        return "undecided", f"no τ0 fits best: D is not a power of ln t − ln τ0{note}"
    return "log-power", f"D is fitted as a power of ln t − ln τ0 over {decades:.2f} decades{note}"
