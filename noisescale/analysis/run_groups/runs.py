"""A run as it was measured, whatever trained it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from noisescale.analysis.checks import LARGEST_REAL
from noisescale.errors import InputError, shown, unknown_name

Array = NDArray[np.float64]

# Ends of a clock that lie further apart than this are not in the same unit.
_OTHER_UNIT = 20.0


@dataclass(frozen=True, slots=True, eq=False)
class MeasuredRun:
    """Columns of equal length, a row per measurement; NaN where nothing was measured.

    Args:
        name: where it came from, for messages.
        columns: by quantity, (rows,) float64 each; the clock ascends strictly.
        seed: of this run, or another label that tells it from its group's others.
        group: the label of its group, where a column says it.
        replica: same initial weights, another data order.
        batch_size, learning_rate, momentum: None where unknown or where they change.
        train_size: examples.
        diverged: its numbers stopped being finite; what is here is what came before.
        truncated: its last line was cut off, or it is not over.
        notes: what a reader of results from it should know, a sentence each.
    """

    name: str
    columns: Mapping[str, Array]
    seed: int | str | None = None
    group: str | None = None
    replica: int | None = None
    batch_size: float | None = None
    learning_rate: float | None = None
    momentum: float | None = None
    train_size: int | None = None
    diverged: bool = False
    truncated: bool = False
    notes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        columns = {}
        for quantity, values in self.columns.items():
            try:
                column = np.asarray(values, np.float64)
            except (TypeError, ValueError):
                column = np.empty((0, 0))
            if column.ndim != 1 or not len(column):
                raise InputError(
                    f"{self.name}: {quantity}={shown(values)}: give a list of numbers, NaN where "
                    "nothing was measured"
                )
            columns[quantity] = column
        object.__setattr__(self, "columns", columns)

    def curve(self, clock: str, quantity: str) -> tuple[Array, Array]:
        """(clock, values) where the quantity was measured; empty if it never was."""
        if quantity not in self.columns:
            return np.empty(0), np.empty(0)
        times, values = self.columns[clock], self.columns[quantity]
        known = np.isfinite(values)
        return times[known], values[known]


def check_run(run: MeasuredRun, clock: str, quantities: Sequence[str]) -> None:
    """InputError unless the columns are as `MeasuredRun` says."""
    for quantity in (clock, *quantities):
        if quantity not in run.columns:
            raise InputError(f"{run.name}: {unknown_name('column', quantity, run.columns)}")
    times = run.columns[clock]
    if times.ndim != 1 or not np.all(np.diff(times) > 0) or not np.all(np.isfinite(times)):
        raise InputError(f"{run.name}: {clock} does not ascend: sort the rows and merge equal ones")
    for quantity, values in run.columns.items():
        if values.shape != times.shape:
            raise InputError(
                f"{run.name}: {quantity} has shape {values.shape}, {clock} {times.shape}"
            )
        if not np.all(np.abs(values[~np.isnan(values)]) <= LARGEST_REAL):
            raise InputError(
                f"{run.name}: {quantity} is beyond {LARGEST_REAL:g}: write NaN for what was not "
                "measured"
            )


def check_units(runs: Sequence[MeasuredRun], clock: str) -> None:
    """InputError if the clock ends so differently that it counts different things.

    Runs that were cut off or that diverged may end anywhere.
    """
    ends = [(float(run.columns[clock][-1]), run.name) for run in runs if not _ended_early(run)]
    if len(ends) < 2:
        return
    (low, short), (high, long) = min(ends), max(ends)
    if high > _OTHER_UNIT * max(low, 0.0):
        raise InputError(
            f"the clock {clock!r} ends at {low:g} in {short} and at {high:g} in {long}: these look "
            "like different units (epochs and updates?); take a clock that all runs count alike, "
            "or leave the short run out"
        )


def _ended_early(run: MeasuredRun) -> bool:
    return run.diverged or run.truncated
