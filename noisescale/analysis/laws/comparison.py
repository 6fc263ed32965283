"""Which growth law is it? A law's name only where everything agrees, else "undecided"."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from noisescale.analysis.html import shown_number, table
from noisescale.analysis.laws.checks import check
from noisescale.analysis.laws.fit import Fit
from noisescale.analysis.laws.verdict import FEWEST_EARLY, FEWEST_HELDOUT, Case, decide

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Array = NDArray[np.float64]

# Two predictions are told apart at so many standard errors, sought up to so many decades ahead.
_TOLD_APART, _AHEAD = 3.0, 12.0


@dataclass(frozen=True, slots=True)
class Comparison:
    """Growth laws side by side.

    Args:
        verdict: the law's name, or "undecided".
        reason: the verdict in words, and what would decide.
        fits: fit by law.
        controls: fits of what is no growth law of its own: "drift", gradient descent on e^(−w).
        aicc_difference: AICc above the smallest, by law.
        misfit_p: p-value of the residual against the noise, by law.
        heldout_p: p-value of the prediction of the last decade from those before it, by law.
        heldout_error: mean error of that prediction in ln D, data less prediction, by law.
        score: ln density predicted for the last decade, less the best law's, by law; seeds' mean.
        heldout_from: first x of the last decade; None where the window is too short for it.
        best: the two laws with the smallest AICc that no check rejects (or of all).
        decides_at: x at which the predictions of the two differ by three standard errors; None if
            not within twelve decades.
    """

    verdict: str
    reason: str
    fits: Mapping[str, Fit]
    controls: Mapping[str, Fit]
    aicc_difference: Mapping[str, float]
    misfit_p: Mapping[str, float]
    heldout_p: Mapping[str, float]
    heldout_error: Mapping[str, float]
    score: Mapping[str, float]
    heldout_from: float | None
    best: tuple[str, str]
    decides_at: float | None

    @property
    def window(self) -> tuple[float, float]:
        """First and last x used."""
        return next(iter(self.fits.values())).window

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        names = ("aicc_difference", "misfit_p", "heldout_p", "heldout_error", "score")
        return {
            "verdict": self.verdict,
            "reason": self.reason,
            "best": list(self.best),
            "decides_at": self.decides_at,
            "heldout_from": self.heldout_from,
            "window": list(self.window),
            **{name: _numbers(getattr(self, name)) for name in names},
            "controls": {name: fit.to_dict() for name, fit in self.controls.items()},
            "fits": {name: fit.to_dict() for name, fit in self.fits.items()},
        }

    def _repr_html_(self) -> str:
        columns = (self.misfit_p, self.heldout_p, self.heldout_error, self.score)
        rows = [
            [law, self.aicc_difference[law], *(values.get(law) for values in columns)]
            for law in self.fits
        ]
        head = ["law", "AICc − least", "misfit p", "held-out p", "held-out error", "score"]
        first = next(iter(self.fits.values()))
        title = (
            f"Growth law: {self.verdict}; {first.units} {shown_number(first.window[0])} to "
            f"{shown_number(first.window[1])}, {first.n} points, seeds: {first.seeds}"
        )
        return table(title, head, rows, [self.reason])

    def plot(self, ax: "Axes | Sequence[Axes] | None" = None) -> "Sequence[Axes]":
        """Draw it on one panel, or curves and residuals on two (new ones without `ax`)."""
        from noisescale.plots.laws import draw_laws

        curves = next(iter(self.fits.values()))._solution.curves
        return draw_laws(ax, curves.x, np.exp(curves.logs), self)


def _numbers(values: Mapping[str, float]) -> dict[str, float | None]:
    return {name: float(v) if np.isfinite(v) else None for name, v in values.items()}


def compare(fits: Mapping[str, Fit], controls: Mapping[str, Fit]) -> Comparison:
    """Judge laws fitted to the same curves; `controls` are other explanations."""
    first = next(iter(fits.values()))
    curves = first._solution.curves
    lowest = min(fit.aicc for fit in fits.values())
    differences = {name: float(fit.aicc - lowest) for name, fit in fits.items()}
    cells = int(np.searchsorted(curves.u, curves.u[-1] - np.log(10) * (1 + 1e-9)))
    enough = cells >= FEWEST_EARLY and len(curves.u) - cells >= FEWEST_HELDOUT
    checks = {name: check(fit._solution, cells) for name, fit in fits.items()} if enough else {}
    case = Case(fits, controls, differences, checks, curves.decades)
    best = case.order[0], case.order[1]
    decides_at = _decides_at(fits[best[0]], fits[best[1]])
    verdict, reason, open_ = decide(case)
    if open_:
        reason += "; " + _what_decides(best, decides_at, first.units)
    top = max((c.scores.mean() for c in checks.values()), default=0.0)
    return Comparison(
        verdict=verdict,
        reason=reason,
        fits=fits,
        controls=controls,
        aicc_difference=differences,
        misfit_p={name: c.misfit_p for name, c in checks.items()},
        heldout_p={name: c.heldout_p for name, c in checks.items()},
        heldout_error={name: c.heldout_error for name, c in checks.items()},
        score={name: float(c.scores.mean() - top) for name, c in checks.items()},
        heldout_from=float(np.exp(curves.u[cells])) if enough else None,
        best=best,
        decides_at=decides_at,
    )


def _what_decides(best: tuple[str, str], x: float | None, units: str) -> str:
    pair = f"{best[0]} and {best[1]}"
    if x is None:
        return f"more seeds would tell {pair} apart; a longer run would not by itself"
    return f"at {x:.3g} {units} the predictions of {pair} differ by {_TOLD_APART:g} standard errors"


def _decides_at(one: Fit, other: Fit) -> float | None:
    last = one.window[1]
    x = last * np.logspace(0, _AHEAD, 481)
    with np.errstate(all="ignore"):
        gap = np.abs(np.log(one.predict(x)) - np.log(other.predict(x)))
        error = np.hypot(one.predict_stderr(x), other.predict_stderr(x))
        error = np.hypot(error, one.noise / np.sqrt(one.seeds))
    found = np.flatnonzero(gap > _TOLD_APART * error)
    return float(x[found[0]]) if len(found) else None
