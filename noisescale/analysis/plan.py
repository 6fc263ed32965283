"""A schedule in whole updates: the one place that rounds durations."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from itertools import pairwise
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from noisescale.analysis.checks import at_least_zero, exact, half_up
from noisescale.analysis.documents import plain
from noisescale.analysis.pieces import Piece
from noisescale.analysis.schedule_tables import plan_table
from noisescale.errors import InputError

if TYPE_CHECKING:
    from noisescale.analysis.schedule import Phase

PartialBatch = Literal["carry", "drop", "keep", "wrap"]
PARTIAL_BATCH_POLICIES = ("carry", "drop", "keep", "wrap")
# A sum over more updates than this is taken at midpoints (relative error below 1e-7).
MOST_SUMMED, MIDPOINTS = 1 << 20, 1 << 16
# Updates listed one by one at most.
MOST_LISTED = 10**8


@dataclass(frozen=True, slots=True)
class Clock:
    """Where the updates of a phase begin, in examples from the phase's start.

    Update s = 0, 1, … of the phase begins at offset + s·step while s < in_first; after that,
    every epoch has `per_epoch` updates, the first of them at epoch_offset + k·epoch_size.
    """

    offset: float
    step: float
    in_first: int | None = None
    per_epoch: int = 1
    epoch_offset: float = 0.0
    epoch_size: float = 0.0

    def at(self, updates: NDArray[np.float64]) -> NDArray[np.float64]:
        """The examples at which these updates begin."""
        plain = self.offset + updates * self.step
        if self.in_first is None:
            return plain
        later = np.maximum(updates - self.in_first, 0.0)
        epoch, inside = np.floor_divide(later, self.per_epoch), np.mod(later, self.per_epoch)
        cut = self.epoch_offset + epoch * self.epoch_size + inside * self.step
        return np.where(updates < self.in_first, plain, cut)


@dataclass(frozen=True, slots=True)
class PlanRow:
    """One phase with its whole number of updates.

    Args:
        start_update, updates: the phase runs updates start_update+1 … start_update+updates.
        start_examples, end_examples: where the phase lies on the clock of examples, as an
            exact fraction.
        examples: examples that these updates see.
        learning_rate, learning_rate_end: ε at the phase's start and at its end.
        noise_scale, noise_scale_end: g = εN/(B(1−m)); ε/(B(1−m)), that is g per training
            example, without N.
        noise_scale_finite_population, …_end: ε(N/B−1)/(1−m); None without N.
        rate: the pieces of the learning rate over the phase.
        clock: when each update begins.
        stream: where the phase begins and ends on the stream of examples.
        rate_sum, rate_square_sum: Σ ε and Σ ε² over the phase's updates.
    """

    start_update: int
    updates: int
    start_examples: Fraction
    end_examples: Fraction
    epochs: float | None
    examples: int
    learning_rate: float
    learning_rate_end: float
    batch_size: int
    momentum: float
    weight_decay: float
    noise_scale: float
    noise_scale_end: float
    noise_scale_finite_population: float | None
    noise_scale_finite_population_end: float | None
    rate: tuple[Piece, ...]
    clock: Clock
    stream: tuple[int, int]
    rate_sum: float = 0.0
    rate_square_sum: float = 0.0

    @property
    def domain(self) -> tuple[float, float]:
        """Where the rate is defined, in examples from the phase's start.

        Rounding may let an update begin just outside the phase. A part of a longer shape goes on
        there; elsewhere the value at the phase's end holds.
        """
        first, last = self.rate[0], self.rate[-1]
        span = self.end_examples - self.start_examples
        return float(min(Fraction(0), first.origin)), float(max(span, last.origin + last.length))

    @property
    def constant(self) -> bool:
        """Whether the learning rate is the same at every update."""
        return len(self.rate) == 1 and self.rate[0].form == "constant"

    @property
    def peak(self) -> float:
        """The highest ε of the phase."""
        return max(max(piece.start_value, piece.end_value) for piece in self.rate)

    def described(self) -> dict[str, float | int | None]:
        """The phase for a JSON document; `_end` twins where a value changes."""
        names = ("learning_rate", "noise_scale", "noise_scale_finite_population")
        values: dict[str, float | int | None] = {
            "epochs": self.epochs,
            "learning_rate": self.learning_rate,
            "batch_size": self.batch_size,
            "momentum": self.momentum,
            "weight_decay": self.weight_decay,
            "updates": self.updates,
            "noise_scale": self.noise_scale,
            "noise_scale_finite_population": self.noise_scale_finite_population,
        }
        if not self.constant:
            values |= {f"{name}_end": getattr(self, f"{name}_end") for name in names}
            values |= {"learning_rate_max": self.peak}
        return values

    def learning_rates(self, first: int = 0, last: int | None = None) -> NDArray[np.float64]:
        """ε of the phase's updates first+1 … last, at the examples seen before each."""
        last = self.updates if last is None else last
        if last - first > MOST_LISTED:
            raise InputError(f"{last - first:.3g} updates are too many to list: ask for fewer")
        if self.constant:
            return np.full(max(0, last - first), self.learning_rate)
        return self.rates_at(np.arange(first, last, dtype=np.float64))

    def rates_at(self, updates: NDArray[np.float64]) -> NDArray[np.float64]:
        """ε at increasing numbers, whole or not, of updates counted from the phase's start."""
        times = np.clip(self.clock.at(updates), *self.domain)
        if len(self.rate) == 1:
            return self.rate[0].at(times)
        # Time increases with the update, so every piece has a slice of them.
        inner = np.searchsorted(times, [float(piece.begin) for piece in self.rate[1:]])
        cuts = [0, *inner.tolist(), len(times)]
        slices = zip(self.rate, pairwise(cuts), strict=True)
        return np.concatenate([piece.at(times[low:high]) for piece, (low, high) in slices])

    @property
    def sde_time(self) -> float:
        """Σ ε/(1−m) over the updates: time of the stochastic differential equation."""
        return self.rate_sum / (1.0 - self.momentum)


@dataclass(frozen=True, slots=True)
class Plan:
    """A schedule in whole updates.

    Args:
        updates: total weight updates.
        updates_exact: Σ E N/B, before any rounding.
        examples: examples that the updates see.
        rows: one PlanRow per phase.
    """

    train_size: int | None
    partial: str
    updates: int
    updates_exact: float
    examples: int
    rows: tuple[PlanRow, ...]

    @property
    def sde_time(self) -> float:
        """Σ ε/(1−m) over the planned updates."""
        return sum(row.sde_time for row in self.rows)

    def to_dict(self) -> dict[str, Any]:
        """Totals and phases as strict JSON; see PlanRow.described."""
        names = ("train_size", "partial", "updates", "updates_exact", "examples")
        phases = [row.described() for row in self.rows]
        return dict(plain({**{n: getattr(self, n) for n in names}, "phases": phases}))

    def _repr_html_(self) -> str:
        return plan_table(self)

    def plot(self, ax: Any = None, name: str = "plan") -> Any:
        """Learning rate, batch size, noise scale and updates against epochs; `ax`: 1 to 4 panels.

        Raises:
            InputError: a plan without a train size.
        """
        from noisescale.plots import draw_schedules, new_figure

        if self.train_size is None:
            raise InputError("the axis is in epochs: make the plan with a train_size")
        axes = new_figure(2, 2, title="").axes if ax is None else list(np.ravel(ax))
        return draw_schedules(axes, {name: self})

    def learning_rates(self) -> NDArray[np.float64]:
        """ε of every update, in order."""
        return np.concatenate([row.learning_rates() for row in self.rows])

    def batch_sizes(self) -> NDArray[np.int64]:
        """B of every update, in order."""
        if self.updates > MOST_LISTED:
            raise InputError(f"{self.updates:.3g} updates are too many to list")
        sizes = [row.batch_size for row in self.rows]
        return np.repeat(np.array(sizes, dtype=np.int64), [row.updates for row in self.rows])

    def update_at(self, epoch: float) -> int:
        """The update after which `epoch` epochs are nearest, half rounding up (`carry` only).

        It agrees with the phases' ends: update_at(end of phase j) is the last update of row j.
        """
        if self.partial != "carry" or self.train_size is None:
            raise InputError("update_at needs a plan with partial='carry' and a train_size")
        target = exact(at_least_zero("epoch", epoch)) * self.train_size
        done = Fraction(0)
        for row in self.rows:
            span = row.end_examples - row.start_examples
            inside = min(max(target - row.start_examples, Fraction(0)), span)
            done += inside / row.batch_size
        return min(half_up(done), self.updates)


def make_plan(phases: "Sequence[Phase]", train_size: int | None, partial: str) -> Plan:
    """The plan of checked phases; see Schedule.plan."""
    if partial in ("drop", "keep"):
        assert train_size is not None
        counts = _count_by_epoch(phases, train_size, keep=partial == "keep")
    else:
        counts = _count_stream(phases, train_size, wrap=partial == "wrap")
    return _assemble(phases, counts, train_size, partial)


_Count = tuple[int, int, Clock, tuple[int, int]]


def _count_stream(phases: "Sequence[Phase]", train_size: int | None, wrap: bool) -> list[_Count]:
    """(updates, examples, clock, stream) per phase where batches straddle epochs."""
    counts, exact_updates, done, begin = [], Fraction(0), 0, 0
    start, seen = Fraction(0), Fraction(0)
    for phase in phases:
        span, step = phase.exact_examples(train_size), Fraction(phase.batch_size)
        if wrap and phase.updates is None:
            assert train_size is not None
            # An epoch ends after ⌊N/B⌋ updates, so each of them takes a larger share of it.
            step = Fraction(train_size, train_size // phase.batch_size)
        exact_updates += span / step
        end = half_up(exact_updates)
        clock = Clock(float(seen - start), float(step))
        examples = (end - done) * phase.batch_size
        counts.append((end - done, examples, clock, (begin, begin + examples)))
        begin += examples
        start += span
        seen += (end - done) * step
        done = end
    return counts


def _count_by_epoch(phases: "Sequence[Phase]", train_size: int, keep: bool) -> list[_Count]:
    """The same where every epoch drops or keeps its last partial batch."""
    counts, clock = [], Fraction(0)
    for phase in phases:
        nominal, start, batch = clock, half_up(clock), phase.batch_size
        if phase.updates is not None:
            end = _end_after_updates(start, phase.updates, batch, train_size, keep)
            clock, updates = Fraction(end), phase.updates
        else:
            clock += phase.exact_examples(train_size)
            end = half_up(clock)
            updates = sum(
                times * (-(-share // batch) if keep else share // batch)
                for share, times in _shares(start, end, train_size)
            )
        counts.append(
            (
                updates,
                end - start if keep else updates * batch,
                Clock(0.0, float(batch))
                if phase.updates is not None
                else _clock_by_epoch(start, float(start - nominal), batch, train_size, keep),
                (start, end),
            )
        )
    return counts


def _clock_by_epoch(start: int, offset: float, batch: int, train_size: int, keep: bool) -> Clock:
    first_share = (start // train_size + 1) * train_size - start

    def per_share(share: int) -> int:
        return -(-share // batch) if keep else share // batch

    return Clock(
        offset=offset,
        step=float(batch),
        in_first=per_share(first_share),
        per_epoch=per_share(train_size),
        epoch_offset=offset + first_share,
        epoch_size=float(train_size),
    )


def _shares(start: int, end: int, train_size: int) -> list[tuple[int, int]]:
    """The examples [start, end) of the stream cut at epoch ends: (share, how many such)."""
    first_end = (start // train_size + 1) * train_size
    if end <= first_end:
        return [(end - start, 1)]
    full, last = divmod(end - first_end, train_size)
    return [(first_end - start, 1), (train_size, full), (last, 1)]


def _end_after_updates(start: int, updates: int, batch: int, train_size: int, keep: bool) -> int:
    """Where on the stream a number of updates ends; an epoch that can give no more is left."""

    def per_share(share: int) -> int:
        return -(-share // batch) if keep else share // batch

    first_end = (start // train_size + 1) * train_size
    in_first = per_share(first_end - start)
    if updates < in_first:
        return start + updates * batch
    full, rest = divmod(updates - in_first, per_share(train_size))
    return first_end + full * train_size + rest * batch


def _sums(row: PlanRow) -> tuple[float, float]:
    """Σ ε and Σ ε² over the updates; of very many, at evenly spaced midpoints."""
    if row.updates <= MOST_SUMMED:
        rates, width = row.learning_rates(), 1.0
    else:
        width = row.updates / MIDPOINTS
        middles = (np.arange(MIDPOINTS, dtype=np.float64) + 0.5) * width - 0.5
        rates = row.rates_at(middles)
    return float(np.sum(rates)) * width, float(np.sum(rates**2)) * width


def _assemble(
    phases: "Sequence[Phase]", counts: list[_Count], train_size: int | None, partial: str
) -> Plan:
    rows, start_update, start, exact_updates = [], 0, Fraction(0), Fraction(0)
    for phase, (updates, examples, clock, stream) in zip(phases, counts, strict=True):
        span = phase.exact_examples(train_size)
        exact_updates += span / phase.batch_size
        pieces = phase.pieces(train_size)
        first, last = pieces[0].start_value, pieces[-1].end_value
        ratio = 1 / phase.batch_size if train_size is None else train_size / phase.batch_size
        effective = 1.0 - phase.momentum
        finite = None if train_size is None else ratio - 1.0
        ends = [None if finite is None else rate / effective * finite for rate in (first, last)]
        row = PlanRow(
            start_update=start_update,
            updates=updates,
            start_examples=start,
            end_examples=start + span,
            epochs=None if train_size is None else float(span / train_size),
            examples=examples,
            learning_rate=first,
            learning_rate_end=last,
            batch_size=phase.batch_size,
            momentum=phase.momentum,
            weight_decay=phase.weight_decay,
            noise_scale=first / effective * ratio,
            noise_scale_end=last / effective * ratio,
            noise_scale_finite_population=ends[0],
            noise_scale_finite_population_end=ends[1],
            rate=pieces,
            clock=clock,
            stream=stream,
            # Right where the rate is constant, and corrected where it is not.
            rate_sum=updates * first,
            rate_square_sum=updates * first**2,
        )
        if not row.constant:
            rate_sum, square_sum = _sums(row)
            row = replace(row, rate_sum=rate_sum, rate_square_sum=square_sum)
        rows.append(row)
        start_update += updates
        start += span
    if start_update == 0:
        raise InputError(
            f"the plan has no update under partial={partial!r}: lengthen the phases or lower "
            "the batch size"
        )
    return Plan(
        train_size=train_size,
        partial=partial,
        updates=start_update,
        updates_exact=float(exact_updates),
        examples=sum(examples for _, examples, _, _ in counts),
        rows=tuple(rows),
    )
