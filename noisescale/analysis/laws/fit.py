"""What a fit of one growth law returns."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from noisescale.analysis.arrays import traces
from noisescale.analysis.html import plus_minus, shown_number, table
from noisescale.analysis.laws.errors import Spread, likelihood, parameter_errors, spread
from noisescale.analysis.laws.noise import akaike
from noisescale.analysis.laws.solve import Solution, model
from noisescale.errors import InputError

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Array = NDArray[np.float64]

# Special cases worth knowing of: law -> name -> (parameter, value).
SPECIAL: Mapping[str, Mapping[str, tuple[str, float]]] = {
    "power": {"diffusive": ("exponent", 0.5), "ballistic": ("exponent", 1.0)},
    "log-power": {"log": ("exponent", 1.0)},
    "saturating": {"exponential": ("exponent", 1.0)},
}


@dataclass(frozen=True, slots=True)
class Fit:
    """A growth law D(x) with its errors.

    Args:
        law: its name.
        formula: D as a function of x.
        parameters: estimates by name.
        covariance: (parameters, parameters) in the same order.
        stderr: standard errors by name.
        interval: (low, high) of confidence `level` by name; infinite where the data bound a
            parameter on one side only.
        level: confidence of the intervals.
        window: first and last x used.
        n: points per curve.
        seeds: curves.
        units: what x counts.
        special: special cases of the law ("diffusive": exponent 1/2 …), and whether the interval
            holds them.
        at_limit: whether the best fit lies at a limit where the law turns into a simpler one.
        residuals: (n,) ln D, averaged over seeds, less the law.
        noise: standard deviation of ln D of one curve about the law.
        correlation_length: ℓ of the noise, in ln x; 0 where independent noise fits best.
        log_likelihood, aicc: of all curves; the noise's three parameters are counted.
    """

    law: str
    formula: str
    parameters: Mapping[str, float]
    covariance: Array
    stderr: Mapping[str, float]
    interval: Mapping[str, tuple[float, float]]
    level: float
    window: tuple[float, float]
    n: int
    seeds: int
    units: str
    special: Mapping[str, bool]
    at_limit: bool
    residuals: Array
    noise: float
    correlation_length: float
    log_likelihood: float
    aicc: float
    _solution: Solution = field(repr=False, compare=False)
    _spread: Spread = field(repr=False, compare=False)

    def predict(self, x: ArrayLike) -> Array:
        """D at x > 0; not a number where the law has no positive distance."""
        u = _log_clock(x)
        with np.errstate(all="ignore"):
            value = self._solution.law.curve(self._solution.phi, u.ravel())[0]
        return np.asarray(np.exp(value).reshape(u.shape))

    def predict_stderr(self, x: ArrayLike) -> Array:
        """Standard error of ln D at x by the parameters' errors, D being the law itself."""
        u = _log_clock(x)
        with np.errstate(all="ignore"):
            J = self._solution.law.curve(self._solution.phi, u.ravel())[1]
            variance = np.einsum("ni,ij,nj->n", J, self._spread.covariance, J)
        return np.asarray(np.sqrt(variance).reshape(u.shape))

    def to_dict(self) -> dict[str, Any]:
        """For JSON; infinite ends of intervals are None."""
        return {
            "law": self.law,
            "formula": self.formula,
            "parameters": {k: _number(v) for k, v in self.parameters.items()},
            "covariance": [[_number(v) for v in row] for row in self.covariance],
            "stderr": {k: _number(v) for k, v in self.stderr.items()},
            "interval": {k: [_number(e) for e in v] for k, v in self.interval.items()},
            "level": self.level,
            "window": list(self.window),
            "n": self.n,
            "seeds": self.seeds,
            "units": self.units,
            "special": dict(self.special),
            "at_limit": self.at_limit,
            "noise": _number(self.noise),
            "correlation_length": _number(self.correlation_length),
            "log_likelihood": _number(self.log_likelihood),
            "aicc": _number(self.aicc),
        }

    def _repr_html_(self) -> str:
        rows: list[list[Any]] = [
            [name, plus_minus(value, self.stderr[name]), self.interval[name]]
            for name, value in self.parameters.items()
        ]
        rows.append(["noise of ln D", self.noise, None])
        title = (
            f"Law {self.law}: {self.formula}; {self.units} {shown_number(self.window[0])} to "
            f"{shown_number(self.window[1])}, {self.n} points, seeds: {self.seeds}"
        )
        notes = [
            f"the interval {'holds' if holds else 'excludes'} the special case {name}"
            for name, holds in self.special.items()
        ]
        notes += ["the best fit lies at a limit of the law"] * self.at_limit
        head = ["parameter", "± standard error", f"{self.level:.0%} interval"]
        return table(title, head, rows, notes)

    def plot(self, ax: "Axes | Sequence[Axes] | None" = None) -> "Sequence[Axes]":
        """Draw it on one panel, or curve and residuals on two (new ones without `ax`)."""
        from noisescale.plots.laws import draw_laws

        curves = self._solution.curves
        return draw_laws(ax, curves.x, np.exp(curves.logs), self)


def fit_of(solution: Solution, *, level: float, units: str) -> Fit:
    """The result of a solution."""
    law, curves = solution.law, solution.curves
    errors = spread(solution)
    covariance, intervals = parameter_errors(solution, errors, level)
    with np.errstate(invalid="ignore"):
        stderr = np.sqrt(np.diag(covariance))
    values = dict(zip(law.names, map(float, law.natural(solution.phi)), strict=True))
    interval = dict(zip(law.names, intervals, strict=True))
    log_likelihood, parameters, numbers = likelihood(solution)
    special = {
        name: interval[parameter][0] <= value <= interval[parameter][1]
        for name, (parameter, value) in SPECIAL.get(law.name, {}).items()
    }
    with np.errstate(all="ignore"):
        fitted = law.curve(solution.phi, np.log(curves.x))[0]
    # One curve: its residual; several: about the law, seeds' scatter included.
    about = curves.y - model(law, solution.phi, curves)[0]
    return Fit(
        law=law.name,
        formula=law.formula,
        parameters=values,
        covariance=covariance,
        stderr=dict(zip(law.names, map(float, stderr), strict=True)),
        interval=interval,
        level=level,
        window=(float(curves.x[0]), float(curves.x[-1])),
        n=len(curves.x),
        seeds=curves.seeds,
        units=units,
        special=special,
        at_limit=solution.limited,
        residuals=curves.logs.mean(axis=0) - fitted,
        noise=float(np.sqrt(np.mean(about**2))),
        correlation_length=float(solution.noise.lengths[solution.node]),
        log_likelihood=log_likelihood,
        aicc=akaike(log_likelihood, parameters, numbers),
        _solution=solution,
        _spread=errors,
    )


def _log_clock(x: ArrayLike) -> Array:
    traces("x", np.atleast_1d(x), fewest=1)
    values = np.asarray(x, np.float64)
    if values.min() <= 0:
        raise InputError("x holds values of 0 or below; give x > 0")
    return np.asarray(np.log(values))


def _number(value: float) -> float | None:
    return float(value) if np.isfinite(value) else None
