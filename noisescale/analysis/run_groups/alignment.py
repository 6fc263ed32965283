"""Curves of several groups on one clock: their common range, its points, values in between."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from noisescale.analysis.run_groups.runs import Array, MeasuredRun

# Where a quantity was measured more often, so many evenly spaced measurements stand for all.
MOST_POINTS = 200
# Clocks that agree to so many parts are equal: records hold seven digits.
_EQUAL = 1e-6


@dataclass(frozen=True, slots=True, eq=False)
class Aligned:
    """Values of one quantity at shared clock values.

    Args:
        times: (K,), measurements of the run that was measured least often in the common range, and
            the end of that range.
        values: per group (runs, K), linear in the clock between the measurements around.
        ends: first and last clock value that all runs bracket.
        interpolated: whether some run was not measured at some of `times`.
    """

    times: Array
    values: tuple[Array, ...]
    ends: tuple[float, float]
    interpolated: bool


def align(
    groups: Sequence[Sequence[MeasuredRun]], clock: str, quantity: str, after: float, start: float
) -> Aligned | None:
    """A quantity of all runs at the clock values > `after` and ≥ `start` that all runs bracket.

    Returns:
        None if some run lacks the quantity, or if no clock value is left.
    """
    curves = [[run.curve(clock, quantity) for run in runs] for runs in groups]
    flat = [curve for of_group in curves for curve in of_group]
    if any(not len(times) for times, _ in flat):
        return None
    low, high = max(t[0] for t, _ in flat), min(t[-1] for t, _ in flat)
    slack = _EQUAL * max(abs(low), abs(high))
    if low > high + slack:
        return None

    def inside(times: Array) -> Array:
        wanted = (times >= max(low, start) - slack) & (times <= high + slack)
        return times[wanted & (times > after + (slack if np.isfinite(after) else 0.0))]

    times = min((inside(t) for t, _ in flat), key=len)
    if not len(times):
        return None
    if len(times) > MOST_POINTS:
        nearest = np.searchsorted(times, np.linspace(times[0], times[-1], MOST_POINTS))
        times = times[np.unique(np.minimum(nearest, len(times) - 1))]
    # The end counts, even where the sparsest run was not measured there.
    if times[-1] < high - slack:
        times = np.append(times, high)
    values = tuple(np.array([np.interp(times, t, y) for t, y in of_group]) for of_group in curves)
    interpolated = any(np.abs(_nearest(times, t) - times).max() > slack for t, _ in flat)
    return Aligned(times, values, (float(low), float(high)), interpolated)


def shared_until(
    a: Sequence[MeasuredRun], b: Sequence[MeasuredRun], clock: str, quantity: str
) -> float | None:
    """The last clock value up to which equal seeds of two groups are equal to the last digit.

    None if the groups hold different seeds, or if not even two measurements after the first one
    are equal: runs that begin with the same weights share the first.
    """
    if not same_seeds(a, b):
        return None
    others = {run.seed: run for run in b}
    last = np.inf
    for run in a:
        times, values = run.curve(clock, quantity)
        other: Mapping[float, float] = dict(
            zip(*(c.tolist() for c in others[run.seed].curve(clock, quantity)), strict=True)
        )
        common = [(t, y, other[t]) for t, y in zip(times, values, strict=True) if t in other]
        equal = next((i for i, (_, x, y) in enumerate(common) if x != y), len(common))
        if equal < 3:
            return None
        last = min(last, common[equal - 1][0])
    return float(last)


def same_seeds(a: Sequence[MeasuredRun], b: Sequence[MeasuredRun]) -> bool:
    """Whether both groups hold the same seeds, each once."""
    seeds = [[run.seed for run in group] for group in (a, b)]
    known = None not in (*seeds[0], *seeds[1])
    return known and len(set(seeds[0])) == len(a) == len(b) and set(seeds[0]) == set(seeds[1])


def smallest_step(runs: Sequence[MeasuredRun], quantity: str) -> float:
    """The smallest difference of two measured values: of an error, one example in the test set."""
    values = np.concatenate([run.columns[quantity] for run in runs])
    values = np.unique(values[np.isfinite(values)])
    gaps = np.diff(values)
    gaps = gaps[gaps > _EQUAL * np.abs(values).max(initial=0.0)]
    return float(gaps.min(initial=np.inf)) if len(gaps) else 0.0


def _nearest(times: Array, known: Array) -> Array:
    right = np.clip(np.searchsorted(known, times), 1, max(len(known) - 1, 1))
    left = known[np.minimum(right, len(known) - 1) - 1] if len(known) > 1 else known[:1]
    right_values = known[np.minimum(right, len(known) - 1)]
    return np.where(np.abs(left - times) < np.abs(right_values - times), left, right_values)
