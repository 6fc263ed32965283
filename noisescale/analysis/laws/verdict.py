"""The verdict on several laws fitted to the same curves, and why."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import stdtrit

from noisescale.analysis.laws.checks import Check
from noisescale.analysis.laws.fit import Fit
from noisescale.analysis.laws.nested import ties

Array = NDArray[np.float64]

FEWEST_DECADES = 1.5
# The last decade must hold so many points, and the part before it too.
FEWEST_HELDOUT, FEWEST_EARLY = 3, 6
# AICc by which a rival must be behind to be out, for several seeds and for one ...
_CLEAR, _CLEAR_ONE = 10.0, 14.0
# ... and by which the law named may at most be behind any other.
_CLOSE = 6.0
# Checks fail below these p-values.
_MISFIT_P, _HELDOUT_P = 0.002, 0.002
# One curve: its slow residual, averaged over so many parts of the window, must be below this.
_PARTS, _LARGEST_ONE = 10, 0.015
# Several seeds: so many points may be missed by more than this and more than so many standard
# errors of their mean. Where the seeds' scatter is large early, tests over whole curves see little.
_MISSED_PART, _MISSED, _MISSED_ERRORS = 0.2, 0.03, 3.0
# One curve: a rival predicts the last decade better if ln of its density is so much larger.
_BETTER_ONE = 1.0
# Several: if it is so in the mean over seeds, beyond this quantile of Student's t.
_BETTER = 0.8


@dataclass(frozen=True, slots=True)
class Case:
    """What a verdict rests on, by law.

    Args:
        fits: of the laws. controls: of what is no law of its own.
        differences: AICc above the smallest.
        checks: empty where the window is too short for them.
        decades: of x.
    """

    fits: Mapping[str, Fit]
    controls: Mapping[str, Fit]
    differences: Mapping[str, float]
    checks: Mapping[str, Check]
    decades: float

    def rejected(self, name: str) -> bool:
        """Whether a law fails a check."""
        c = self.checks.get(name)
        return c is not None and (c.misfit_p < _MISFIT_P or c.heldout_p < _HELDOUT_P)

    @property
    def order(self) -> list[str]:
        """Laws by AICc, those that fail a check last."""
        return sorted(self.fits, key=lambda name: (self.rejected(name), self.differences[name]))


def decide(case: Case) -> tuple[str, str, bool]:
    """(law or "undecided", reason, whether a longer run may decide between the two best laws)."""
    if case.decades < FEWEST_DECADES * (1 - 1e-9):
        reason = (
            f"x spans {case.decades:.2f} decades: a verdict needs {FEWEST_DECADES:g}, as most laws "
            "resemble each other over less; run longer"
        )
        return "undecided", reason, False
    if not case.checks:
        reason = (
            f"too few points: {FEWEST_HELDOUT} are needed in the last decade and {FEWEST_EARLY} "
            "before it"
        )
        return "undecided", reason, False
    order = case.order
    if case.rejected(order[0]):
        return "undecided", "no law fits: " + "; ".join(_failure(case, n) for n in order), False
    names = [n for n in order if not case.rejected(n) and case.differences[n] <= _CLOSE]
    if not names:
        ahead = min(case.fits, key=lambda n: case.differences[n])
        return "undecided", f"the best fit is no law: {_failure(case, ahead)}", True
    # A simpler law that explains as much comes first.
    names.sort(key=lambda n: (case.fits[n]._solution.law.size, case.differences[n]))
    found: list[tuple[str, bool]] = []
    for name in names:
        problem, drift = _problem(case, name), _drift(case, name)
        if problem is None and drift is None:
            return name, _praise(case, name), False
        found.append((drift, False) if drift is not None else (str(problem), True))
    return "undecided", *found[0]


def _problem(case: Case, name: str) -> str | None:
    """Why a law is not told from the others; None if it is."""
    if case.fits[name].at_limit:
        return f"{name} fits best at its limit"
    if case.fits[name].seeds == 1 and (slow := _slow_residual(case.fits[name])) > _LARGEST_ONE:
        return (
            f"{name} fits one curve to {100 * slow:.1f} % in slow deviations, above "
            f"{100 * _LARGEST_ONE:g} %, where noise is not told from misfit: give 3 seeds"
        )
    if case.fits[name].seeds > 1 and (missed := _missed(case.fits[name])) > 0:
        return (
            f"{name} misses the mean of the seeds by up to {100 * missed:.2g} %, beyond its errors "
            f"at more than {100 * _MISSED_PART:g} % of the points"
        )
    clear = _clear(case.fits[name])
    nested = ties(name, case.fits)
    for simple in case.fits:
        tie = ties(simple, case.fits).get(name)
        if tie is not None and not tie.needed:
            return f"{name} is too near to {simple}: {tie.reason}"
    for rival in case.fits:
        gap = case.differences[rival] - case.differences[name]
        if rival == name or (case.rejected(rival) and gap > _CLOSE):
            continue
        if gap <= clear:
            if rival not in nested:
                return f"{name} and {rival} fit about as well (AICc differs by {abs(gap):.1f})"
            if not nested[rival].redundant:
                return f"{name} fits, but {rival} is not excluded: {nested[rival].reason}"
        elif not _predicts(case.checks[name].scores, case.checks[rival].scores):
            return f"{name} fits better than {rival}, which predicts the last decade better"
    return None


def _slow_residual(fit: Fit) -> float:
    """Root mean square of ln D less the law, averaged over parts of the window."""
    solution = fit._solution
    u, law = solution.curves.u, solution.law
    part = np.minimum((u - law.first) / law.span * _PARTS, _PARTS - 1).astype(int)
    starts = np.flatnonzero(np.diff(part, prepend=-1))
    means = np.add.reduceat(solution.residual, starts) / np.diff(np.append(starts, len(u)))
    return float(np.sqrt(np.mean(means**2)))


def _missed(fit: Fit) -> float:
    """The largest residual of the seeds' mean where many are beyond its errors, else 0."""
    error = fit._solution.curves.logs.std(axis=0, ddof=1) / np.sqrt(fit.seeds)
    size = np.abs(fit.residuals)
    far = size > np.maximum(_MISSED, _MISSED_ERRORS * error)
    return float(size.max()) if far.mean() > _MISSED_PART else 0.0


def _clear(fit: Fit) -> float:
    return _CLEAR if fit.seeds > 1 else _CLEAR_ONE


def _drift(case: Case, name: str) -> str | None:
    """Whether a control explains the curves as well. Log and power are limits of drift."""
    needed = -_CLOSE if name in ("log", "power") else _clear(case.fits[name])
    for control in case.controls.values():
        gap = control.aicc - case.fits[name].aicc
        if gap < needed:
            return (
                f"{name} is fitted, and so is {control.formula}, gradient descent on an "
                f"exponential loss (AICc differs by {gap:+.1f}): replicas with other data orders "
                "tell drift from noise"
            )
    return None


def _predicts(ours: Array, theirs: Array) -> bool:
    """Whether a law predicts the last decade no worse than its rival."""
    paired = ours - theirs
    if len(paired) < 2:
        return bool(paired[0] > -_BETTER_ONE)
    error = float(paired.std(ddof=1)) / np.sqrt(len(paired))
    return bool(paired.mean() > -stdtrit(len(paired) - 1, _BETTER) * error)


def _failure(case: Case, name: str) -> str:
    c = case.checks[name]
    if c.heldout_p < _HELDOUT_P:
        by, p = f"{c.heldout_error:+.2g}", f"{c.heldout_p:.1g}"
        return f"{name} misses the last decade by {by} in ln D (p = {p})"
    return f"{name} leaves a systematic residual (p = {c.misfit_p:.1g})"


def _praise(case: Case, name: str) -> str:
    nested = ties(name, case.fits)
    others = [n for n in case.fits if n != name and n not in nested]
    runner = min(others, key=lambda n: case.differences[n])
    behind = case.differences[runner] - case.differences[name]
    text = (
        f"{name} predicts the last decade (p = {case.checks[name].heldout_p:.2g}) and the next "
        f"law, {runner}, is behind by {behind:.1f} in AICc"
    )
    for rival, tie in nested.items():
        if tie.redundant and not case.rejected(rival):
            text += f"; {tie.reason}"
    return text
