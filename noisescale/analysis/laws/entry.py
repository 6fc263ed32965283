"""`fit_distance`: one growth law, or all of them compared."""

from typing import Literal, overload

import numpy as np
from numpy.typing import ArrayLike

from noisescale.analysis.checks import choice, positive
from noisescale.analysis.laws.comparison import Comparison, compare
from noisescale.analysis.laws.curves import checked_curves
from noisescale.analysis.laws.fit import Fit, fit_of
from noisescale.analysis.laws.forms import CONTROLS, LAWS, law_of
from noisescale.analysis.laws.noise import noise_grid
from noisescale.analysis.laws.solve import solve
from noisescale.analysis.resampling import checked_level
from noisescale.errors import InputError, shown

One = Literal["log", "power", "log-power", "saturating", "norm-growth"]


@overload
def fit_distance(
    x: ArrayLike,
    distance: ArrayLike,
    law: One,
    *,
    window: tuple[float, float] | None = ...,
    level: float = ...,
    units: str = ...,
    norm0: float | None = ...,
) -> Fit: ...
@overload
def fit_distance(
    x: ArrayLike,
    distance: ArrayLike,
    law: Literal["all"] = ...,
    *,
    window: tuple[float, float] | None = ...,
    level: float = ...,
    units: str = ...,
    norm0: float | None = ...,
) -> Comparison: ...
@overload
def fit_distance(
    x: ArrayLike,
    distance: ArrayLike,
    law: str,
    *,
    window: tuple[float, float] | None = ...,
    level: float = ...,
    units: str = ...,
    norm0: float | None = ...,
) -> Fit | Comparison: ...


def fit_distance(
    x: ArrayLike,
    distance: ArrayLike,
    law: str = "all",
    *,
    window: tuple[float, float] | None = None,
    level: float = 0.95,
    units: str = "updates",
    norm0: float | None = None,
) -> Fit | Comparison:
    """ln D(x) = ln f(x; parameters) + noise, fitted by generalised least squares, for

        log          f = offset + slope · ln x
        power        f = amplitude · x^exponent
        log-power    f = amplitude · (ln x − log_tau0)^exponent,  log_tau0 below the first ln x
        saturating   f = limit · (1 − exp(−(x/time)^exponent))
        norm-growth  f² = √(norm0⁴ + rate · x) − norm0²

    The noise of a curve is an Ornstein–Uhlenbeck process in ln x, whose correlation decays as
    exp(−|Δ ln x|/ℓ), and an independent part. One curve: ℓ and the part's size are weighed by
    their restricted likelihood, and parameters' errors are averaged over them. Two: the noise is
    that of their difference. Three and more: whole curves are the units, with the jackknife and
    Student's t of seeds − 1 degrees. The mean over seeds is that of ln D.

    law="all" names a law only where (1) its AICc is clear of every other's (10; 14 with one
    curve), (2) it predicts the last decade from those before, no worse than the others, (3) its
    residual is no larger or smoother than the noise, and (4) a richer law that holds it has its
    interval around it, or, if it is the richer one, away from the simpler one. Gradient descent on
    e^(−w), D = amplitude · ln(1 + x/time), must explain the curve less well. Else "undecided", as
    always below 1.5 decades of x, and for one curve that leaves the law slowly by more than 1.5 %,
    as nothing tells its noise from misfit. For noise of ln D with σ = 0.01 along 3.3 decades five
    seeds are enough for each law; one curve needs σ = 0.003.

    Args:
        x: (n ≥ 8,) updates or another clock, above 0, increasing.
        distance: D > 0, (n,) or (seeds, n).
        law: a name, or "all" to compare.
        window: (lowest, highest) x used; default all.
        level: confidence of the intervals.
        units: what x counts, for reports.
        norm0: ‖w_0‖ of the scale-invariant layers, if known; norm-growth then fits `rate` alone.

    Returns:
        Fit of the law, or Comparison of all laws.

    Raises:
        InputError: shapes, order or signs as above not met, fewer than 8 points, or a constant
            distance.

    Source: correlated noise: Harville 1977 (restricted likelihood); AICc: Hurvich & Tsai 1989;
        prediction of held-out points: Chow 1960; norm-growth: van Laarhoven 2017, Arora, Li & Lyu
        2019; log-power: Sinai 1982.
    """
    level = checked_level(level)
    choice("law", law, [*LAWS, "all"])
    if not isinstance(units, str):
        raise InputError(f"units={shown(units)}: give the name of what x counts")
    known = None if norm0 is None else positive("norm0", norm0)
    curves = checked_curves(x, distance, window)
    noise = noise_grid(curves)
    ends = float(np.log(curves.x[0])), float(np.log(curves.x[-1]))
    fits = {
        name: fit_of(solve(law_of(name, *ends, known), curves, noise), level=level, units=units)
        for name in ([*LAWS, *CONTROLS] if law == "all" else [law])
    }
    if law != "all":
        return fits[law]
    controls = {name: fits.pop(name) for name in CONTROLS}
    return compare(fits, controls)
