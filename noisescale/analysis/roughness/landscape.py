"""What a loss looks like along random directions: rough, smooth, or not to be told."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from noisescale.analysis.arrays import traces
from noisescale.analysis.checks import positive_integer, real_number
from noisescale.analysis.documents import document
from noisescale.analysis.html import plus_minus, table
from noisescale.analysis.resampling import checked_level
from noisescale.analysis.roughness.landscape_nulls import Null, nulls_of, spaced
from noisescale.analysis.roughness.ray_losses import checked_radii
from noisescale.analysis.roughness.rays import FEWEST_RADII, alpha_from_rays
from noisescale.analysis.roughness.result import RoughnessEstimate
from noisescale.analysis.roughness.structure import structure_function
from noisescale.errors import InputError

Array = NDArray[np.float64]

# Points in a bin whose spread is to be known to a quarter or so.
FEWEST_IN_BIN = 8
_BINS = 12


@dataclass(frozen=True, slots=True)
class Bins:
    """Losses at independent random (direction, length) pairs, in bins of the length.

    Args:
        length: (bins,) mean length in each.
        count: points in each.
        std, rms: standard deviation of the losses in the bin, and root mean square of L − L_0.
        std_stderr, rms_stderr: their standard errors.
        std_slope, rms_slope: d ln/d ln length by weighted least squares, with standard error;
            None below three bins.
    """

    length: Array
    count: NDArray[np.int64]
    std: Array
    std_stderr: Array
    rms: Array
    rms_stderr: Array
    std_slope: tuple[float, float] | None
    rms_slope: tuple[float, float] | None


@dataclass(frozen=True, slots=True)
class Landscape:
    """A loss along random rays from given weights, and what it may be called.

    Args:
        verdict: "self-affine", "smooth" or "undecided".
        statement: the verdict in one sentence, with its numbers.
        centred, uncentred: α from the standard deviation over rays, and from the root mean square.
        radii, std, rms: (radii,) lengths, and both spreads of L(w + r u) − L(w) over rays.
        local_radii, local_slope, local_interval: d ln std/d ln r between radii a factor of about
            1.4 apart, (slopes,), its interval (slopes, 2), and their geometric means.
        structure_lags, structure: S(h) = mean (V(r + h) − V(r))² along rays whose mean over rays
            is taken out; empty where radii are not equidistant from 0.
        bins: of independent random points, if there were any.
        nulls: what landscapes of known kind give at the same radii and number of rays.
    """

    verdict: str
    statement: str
    centred: RoughnessEstimate
    uncentred: RoughnessEstimate
    radii: Array
    std: Array
    rms: Array
    local_radii: Array
    local_slope: Array
    local_interval: Array
    structure_lags: Array
    structure: Array
    bins: Bins | None
    nulls: tuple[Null, ...]

    def plot(self, ax: Any = None) -> Any:
        """Spreads against length, with the nulls."""
        from noisescale.plots.landscape import draw_landscape

        return draw_landscape(ax, self)

    def to_dict(self) -> dict[str, Any]:
        """All fields as strict JSON."""
        return document(self)

    def _repr_html_(self) -> str:
        estimates = {"centred": self.centred, "uncentred": self.uncentred}
        rows = [
            [name, plus_minus(e.alpha, e.stderr), e.interval, e.window, e.n, e.verdict]
            for name, e in estimates.items()
        ]
        head = ["spread over rays", "α", "interval", "lengths", "rays", "verdict"]
        return table(f"Landscape: {self.verdict}", head, rows, [self.statement])


def judge_landscape(
    radii: ArrayLike,
    losses: ArrayLike,
    start_loss: float,
    *,
    points: tuple[ArrayLike, ArrayLike] | None = None,
    level: float = 0.95,
    rng: np.random.Generator | int = 0,
) -> Landscape:
    """std_k(L(w + r u_k) − L(w)) ∝ r^{α/2}: is the loss rough, and with which α?

    A standard deviation in proportion to the length (α = 2) is what every smooth function gives
    near w, so it is no sign of a random landscape: second differences decide
    (`alpha_from_rays`). Beside it stand null landscapes at the same radii with the same number of
    rays.

    Args:
        radii: r, (radii ≥ 5,), increasing from above 0; equidistant ones from the origin (r, 2r,
            3r …) or geometric ones.
        losses: L(w + r u_k), (rays ≥ 3, radii). Rounding is judged by their dtype: pass float32
            losses as float32.
        start_loss: L(w).
        points: (lengths, losses) of independent random directions and lengths, for the bins.
        level: confidence of the intervals.
        rng: source of the draws, or its seed.

    Returns:
        Landscape.

    Raises:
        InputError: as `alpha_from_rays`; points of unequal number.

    Source: the measurement: Hoffer, Hubara & Soudry 2017, section 4 and appendix (directions and
    lengths at random; uncentred).
    """
    level = checked_level(level)
    start = real_number("start_loss", start_loss, low=-1e100, hint="it must be a finite number")
    r = checked_radii(radii, fewest=FEWEST_RADII)
    values = np.asarray(losses)
    traces("losses", values, fewest=1)
    curves = values.astype(np.float64) - start
    relative = float(np.finfo(values.dtype).eps) if values.dtype.kind == "f" else 2.3e-16
    rounding = relative * float(np.abs(values).max())
    common: dict[str, Any] = {"level": level, "rng": rng, "rounding": rounding}
    centred = alpha_from_rays(r, curves, statistic="std", **common)
    uncentred = alpha_from_rays(r, curves, statistic="rms", **common)
    apart = spaced(r)
    local = alpha_from_rays(r[apart], curves[:, apart], **common).diagnostics
    lags, structure = _structure(r, curves)
    return Landscape(
        verdict=centred.verdict,
        statement=_statement(centred),
        centred=centred,
        uncentred=uncentred,
        radii=r,
        std=centred.diagnostics["std"],
        rms=uncentred.diagnostics["std"],
        local_radii=local["local_slope_radii"],
        local_slope=local["local_slope"],
        local_interval=local["local_slope_interval"],
        structure_lags=lags,
        structure=structure,
        bins=None if points is None else bin_losses(*points, start),
        nulls=nulls_of(r, curves, rng),
    )


def bin_losses(
    lengths: ArrayLike, losses: ArrayLike, start_loss: float, *, bins: int = _BINS
) -> Bins:
    """std and rms of L(w + l u) − L(w) over independent random u, in bins of equal width in l.

    Args:
        lengths: l, (points,) ≥ 0.
        losses: (points,).
        start_loss: L(w).
        bins: how many; those with fewer than 8 points are left out.

    Raises:
        InputError: unequal numbers, negative lengths, or no bin with enough points.
    """
    number = positive_integer("bins", bins)
    at = traces("lengths", lengths, fewest=1)[0]
    values = traces("losses", losses, fewest=1)[0] - start_loss
    if np.shape(lengths) != np.shape(losses) or np.ndim(lengths) != 1:
        raise InputError(
            f"lengths has shape {np.shape(lengths)}, losses {np.shape(losses)}: give one each per "
            "point"
        )
    if at.min() < 0 or at.max() == 0:
        raise InputError("lengths must be at least 0, and some above it")
    which = np.minimum((at / at.max() * number).astype(int), number - 1)
    kept = [k for k in range(number) if np.sum(which == k) >= FEWEST_IN_BIN]
    if not kept:
        raise InputError(
            f"{len(at)} points in {number} bins: no bin holds {FEWEST_IN_BIN}; give fewer bins"
        )
    rows = [(at[which == k], values[which == k]) for k in kept]
    std, std_error = np.array([_spread(v - v.mean(), len(v) - 1) for _, v in rows]).T
    rms, rms_error = np.array([_spread(v, len(v)) for _, v in rows]).T
    length = np.array([x.mean() for x, _ in rows])
    return Bins(
        length=length,
        count=np.array([len(v) for _, v in rows]),
        std=std,
        std_stderr=std_error,
        rms=rms,
        rms_stderr=rms_error,
        std_slope=_slope(length, std, std_error),
        rms_slope=_slope(length, rms, rms_error),
    )


def _spread(values: Array, degrees: int) -> tuple[float, float]:
    """√(Σ v²/degrees) and its standard error, from the variance of v²."""
    square = float(values @ values) / degrees
    error = float(np.std(values**2)) / np.sqrt(len(values))
    return np.sqrt(square), 0.5 * error / np.sqrt(square) if square > 0 else 0.0


def _slope(x: Array, y: Array, error: Array) -> tuple[float, float] | None:
    good = (y > 0) & (error > 0)
    if good.sum() < 3:
        return None
    logs, weight = np.log(x[good]), (y[good] / error[good]) ** 2
    centred = logs - weight @ logs / weight.sum()
    total = float(weight @ centred**2)
    return float((weight * centred) @ np.log(y[good])) / total, total**-0.5


def _structure(r: Array, curves: Array) -> tuple[Array, Array]:
    spacing = r[0]
    if np.abs(np.diff(r) - spacing).max() > 1e-6 * spacing:
        return np.empty(0), np.empty(0)
    with_origin = np.concatenate([np.zeros((len(curves), 1)), curves], axis=1)
    lags, found, _ = structure_function(
        with_origin - with_origin.mean(axis=0), max_lag=max(1, len(r) // 2)
    )
    # Taking out the mean over K rays takes 1/K of the variance.
    return lags * spacing, found * len(curves) / (len(curves) - 1)


def _statement(estimate: RoughnessEstimate) -> str:
    low, high = estimate.interval
    if estimate.verdict == "self-affine":
        return (
            f"consistent with α = {estimate.alpha:.2f} [{low:.2f}, {high:.2f}] over lengths "
            f"{estimate.window[0]:.3g} to {estimate.window[1]:.3g}: {estimate.reason}"
        )
    if estimate.verdict == "smooth":
        start = "" if estimate.reason.startswith("indist") else "a smooth function: "
        return start + estimate.reason
    return f"undecided: {estimate.reason}"
