"""The columns of one run while its lines come in: merged, checked, thinned when they grow long."""

from array import array
from collections.abc import Mapping
from math import nan
from typing import Any

import numpy as np
from numpy.typing import NDArray

from noisescale.analysis.checks import LARGEST_REAL
from noisescale.errors import InputError, shown
from noisescale.formats.measured_lines import Line

Array = NDArray[np.float64]

# Most rows of a run, most numbers of all runs read so far, and rows that are always kept.
MOST_ROWS = 2**20
MOST_NUMBERS = 2**25
FEWEST_ROWS = 2**12
# Columns beyond the wanted ones.
MOST_OTHERS = 1000
_EMPTY = ("", "NA", "null", "None")
_ABSENT = object()


class Table:
    """Rows of one run.

    Args:
        path: for messages.
        clock: (quantity, column) that orders the rows.
        columns: wanted quantity -> column.
        others: columns to read as well where they hold numbers; None: all but `labels`.
        labels: columns that tell runs apart.
        optional: wanted quantities that may be missing.
    """

    def __init__(
        self,
        path: str,
        clock: tuple[str, str],
        columns: Mapping[str, str],
        others: tuple[str, ...] | None,
        labels: tuple[str, ...],
        optional: frozenset[str] = frozenset(),
    ) -> None:
        self.path, self.clock, self.clock_column = path, *clock
        self.columns, self.others = columns, others
        self._taken = {self.clock_column, *columns.values(), *columns, self.clock, *labels}
        self._times = array("d")
        self._values: dict[str, array[float]] = {name: array("d") for name in columns}
        self._lines = self._without_clock = 0
        self._thinned = False
        self._left_out: dict[str, str] = {}
        # Wanted quantity -> (line, value, clock) of its first number that is not finite.
        self._broken: dict[str, tuple[int, float, float]] = {}
        self.optional = optional
        needed = [column for quantity, column in columns.items() if quantity not in optional]
        self.needed = (self.clock_column, *needed)
        self.seen: set[str] = set()

    def add(self, line: Line, runs: int) -> None:
        """Take a line; `runs` are being read in all, which share the memory."""
        time = self._time(line)
        if time is None:
            self._without_clock += 1
            return
        self._lines += 1
        if not self._times or time > self._times[-1]:
            self._times.append(time)
        elif time < self._times[-1]:
            raise InputError(
                f"{self.path}: line {line.number}: the clock {self.clock_column} falls from "
                f"{self._times[-1]:g} to {time:g}: a log that was restarted, or several runs; "
                "remove the lines that were trained again, or name the column that tells runs apart"
            )
        for quantity, column in self.columns.items():
            self._wanted(line, quantity, column, time)
        for column, value in line.fields.items():
            self._other(column, value)
        numbers = (len(self._values) + 1) * runs
        if len(self._times) > max(FEWEST_ROWS, min(MOST_ROWS, MOST_NUMBERS // numbers)):
            self._thin()

    def finish(self, name: str) -> tuple[dict[str, Array], tuple[str, ...], bool]:
        """(columns, notes, whether the run diverged)."""
        if self._lines > 1 and len(self._times) == 1:
            raise InputError(
                f"{name}: the clock {self.clock_column} is {self._times[0]:g} on all "
                f"{self._lines} lines: take a column that grows"
            )
        for quantity, column in self.columns.items():
            if len(self._values[quantity]) or quantity in self._broken:
                continue
            if quantity in self.optional:
                del self._values[quantity]
            else:
                raise InputError(f"{name}: no line holds a value of {column}")
        self._pad()
        columns = {self.clock: np.array(self._times), **_arrays(self._values)}
        notes = [f"{column} {why}" for column, why in self._left_out.items()]
        if self._without_clock:
            notes.append(f"{self._without_clock:,} lines without {self.clock_column} are left out")
        if self._thinned:
            notes.append(
                f"thinned from {self._lines:,} lines to {len(self._times):,}, evenly in the "
                f"logarithm of {self.clock_column}"
            )
        if self._broken:
            quantity, (number, value, time) = min(self._broken.items(), key=lambda b: b[1][2])
            notes.append(
                f"diverged: {self.columns[quantity]} is {value:g} from {self.clock_column} "
                f"{time:g} on (line {number})"
            )
            before = columns[self.clock] < time
            columns = {name: column[before] for name, column in columns.items()}
        return columns, tuple(notes), bool(self._broken)

    def _time(self, line: Line) -> float | None:
        found = _field(line.fields, self.clock_column)
        if found is _ABSENT:
            return None
        self.seen.add(self.clock_column)
        time = self._number(line, self.clock_column, found)
        if time is not None and not _usable(time):
            raise InputError(
                f"{self.path}: line {line.number}: the clock {self.clock_column} is {time:g}"
            )
        return time

    def _wanted(self, line: Line, quantity: str, column: str, time: float) -> None:
        found = _field(line.fields, column)
        if found is _ABSENT:
            return
        self.seen.add(column)
        value = self._number(line, column, found)
        if value is None:
            return
        if not _usable(value):
            self._broken.setdefault(quantity, (line.number, value, time))
            return
        if quantity in self._broken:
            number, broken, _ = self._broken[quantity]
            raise InputError(
                f"{self.path}: line {number}: {column} is {broken}, and finite again on line "
                f"{line.number}: leave the field empty (null) where nothing was measured"
            )
        former = self._set(quantity, value)
        if former is not None:
            raise InputError(
                f"{self.path}: line {line.number}: {self.clock_column} is {time:g} a second time, "
                f"with {column} {value:g} after {former:g}: take a clock that grows with every "
                "line, or name the column that tells runs apart"
            )

    def _other(self, column: str, value: object) -> None:
        if column in self._taken or (self.others is not None and column not in self.others):
            return
        if column in self._left_out:
            return
        try:
            number = as_number(value)
        except ValueError:
            return
        if number is None or not _usable(number):
            return
        if column not in self._values:
            if len(self._values) >= MOST_OTHERS + len(self.columns):
                return
            self._values[column] = array("d")
        if self._set(column, number) is not None:
            self._left_out[column] = f"has several values at one {self.clock_column}: left out"
            del self._values[column]

    def _number(self, line: Line, column: str, value: object) -> float | None:
        try:
            return as_number(value)
        except ValueError:
            raise InputError(
                f"{self.path}: line {line.number}: {column} is {shown(value)}, not a number"
                f"{' (write the decimal point as .)' if ',' in str(value) else ''}"
            ) from None

    def _set(self, quantity: str, value: float) -> float | None:
        """Write into the newest row; what stands there, if it is another number."""
        column, row = self._values[quantity], len(self._times) - 1
        if len(column) > row:
            former = column[row]
            return former if former != value else None
        column.extend([nan] * (row - len(column)))
        column.append(value)
        return None

    def _pad(self) -> None:
        for column in self._values.values():
            column.extend([nan] * (len(self._times) - len(column)))

    def _thin(self) -> None:
        """Keep rare measurements, and of the others rows evenly in the log of the clock."""
        self._pad()
        times, values = np.array(self._times), _arrays(self._values)
        quota = len(times) // (2 * max(1, len(values)))
        keep = np.zeros(len(times), dtype=bool)
        keep[[0, -1]] = True
        for column in values.values():
            known = np.flatnonzero(np.isfinite(column))
            keep[known[_evenly(times[known], quota)]] = True
        self._times = array("d", times[keep].tobytes())
        self._values = {name: array("d", c[keep].tobytes()) for name, c in values.items()}
        self._thinned = True


def as_number(value: object) -> float | None:
    """A field as a float, None if it is empty; ValueError if it is no number."""
    if value is None:
        return None
    if isinstance(value, str):
        text = value.strip()
        return None if text in _EMPTY else float(text)
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ValueError
    try:
        return float(value)
    except OverflowError:  # an integer beyond 1e308
        return float("inf")


def _usable(value: float) -> bool:
    """Finite, and small enough for its square to be so."""
    return abs(value) <= LARGEST_REAL


def _field(fields: Mapping[str, Any], column: str) -> Any:
    """A field by its name, or by the path "a.b" into an object."""
    if column in fields:
        return fields[column]
    found: Any = fields
    for part in column.split("."):
        if not isinstance(found, dict) or part not in found:
            return _ABSENT
        found = found[part]
    return found


def _arrays(values: Mapping[str, "array[float]"]) -> dict[str, Array]:
    return {name: np.array(column, dtype=np.float64) for name, column in values.items()}


def _evenly(times: Array, count: int) -> NDArray[np.intp]:
    """Indices of at most `count` of ascending times, evenly in their logarithm."""
    if len(times) <= count:
        return np.arange(len(times))
    first = times[times > 0][0] if times[-1] > 0 else None
    if first is None:
        return np.linspace(0, len(times) - 1, count).astype(np.intp)
    targets = np.geomspace(first, times[-1], count)
    return np.unique(np.minimum(np.searchsorted(times, targets), len(times) - 1))
