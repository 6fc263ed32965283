"""Two recipes compared: are they the same run, and if not, what differs and from when?"""

from dataclasses import dataclass, replace
from typing import Any

from noisescale.analysis.checks import choice, positive_integer
from noisescale.analysis.documents import document
from noisescale.analysis.html import table
from noisescale.analysis.invariants import DECISIVE, Invariant, invariants_of
from noisescale.analysis.pairing import by_clock
from noisescale.analysis.plan import PARTIAL_BATCH_POLICIES
from noisescale.analysis.schedule import Schedule
from noisescale.analysis.schedule_tables import invariant_cells
from noisescale.errors import InputError, shown


@dataclass(frozen=True, slots=True)
class Comparison:
    """Two schedules as runs.

    Args:
        same: noise scale at every time, SDE time, weight decay per epoch and examples all agree
            within 1 %: the same stochastic differential equation for the same time.
        reason: one sentence.
        invariants: all quantities, of the first schedule and of the second.
    """

    same: bool
    reason: str
    invariants: tuple[Invariant, ...]

    def to_dict(self) -> dict[str, Any]:
        """All fields as strict JSON."""
        return document(self)

    def _repr_html_(self) -> str:
        head = ["quantity", "first", "second", "largest deviation", "kept", "differs from"]
        rows = [[*invariant_cells(r), r.differs_from] for r in self.invariants]
        return table("The same run" if self.same else "Not the same run", head, rows, [self.reason])


def compare_runs(
    first: Schedule, second: Schedule, train_size: int | None = None, partial: str = "carry"
) -> Comparison:
    """Whether two schedules are the same run, quantity by quantity, on the clock of examples.

    Args:
        train_size: N; may be None where all durations of both are in epochs, or none is.

    Raises:
        InputError: durations that cannot be laid on one clock without N.
    """
    for name, schedule in (("first", first), ("second", second)):
        if not isinstance(schedule, Schedule):
            raise InputError(f"{name}={shown(schedule)}: give a Schedule")
    choice("partial-batch policy", partial, PARTIAL_BATCH_POLICIES)
    if train_size is not None:
        train_size = positive_integer("train_size", train_size)
    elif partial != "carry":
        raise InputError(f"partial={partial!r} cuts epochs, so it needs train_size")
    units = {unit for schedule in (first, second) for p in schedule.phases for unit in p.units()}
    if train_size is None and "epochs" in units and units != {"epochs"}:
        raise InputError(
            "one recipe counts in epochs and one in updates or examples: give train_size"
        )
    in_epochs = train_size is None and units == {"epochs"}
    stretches = list(by_clock(first, second, 1 if in_epochs else train_size, not in_epochs))
    plans = [None if in_epochs else s.plan(train_size, partial) for s in (first, second)]
    rows = invariants_of(first, second, stretches, plans[0], plans[1], train_size)
    if in_epochs:
        rows = (*rows, _lengths(first, second))
    size = 1 if in_epochs else train_size
    ends = [sum(p.exact_examples(size) for p in s.phases) for s in (first, second)]
    rows = _since(rows, float(min(ends)) / (size or 1))
    # Without N, per-epoch sums cannot be taken; rates per example stand for them.
    decisive = (*DECISIVE, "epochs", "weight_decay_timescale_examples")
    broken = [row for row in rows if row.name in decisive and not row.kept]
    if not broken:
        others = [row.name.replace("_", " ") for row in rows if not row.kept]
        reason = "the same run, as far as noise scale, SDE time, weight decay and examples tell"
        if others:
            reason += f"; they differ in {', '.join(others)}"
        return Comparison(True, reason, rows)
    since = {r.name: r.differs_from for r in broken if r.differs_from is not None}
    # The earliest; the noise scale where it is as early as any, since time and decay follow it.
    soon = 1.05 * min(since.values(), default=0.0)
    early = [r for r in broken if since.get(r.name, soon + 1) <= soon] or broken
    worst = min(early, key=lambda r: (r.name != "noise_scale", since.get(r.name, 0.0)))
    where = ""
    if worst.differs_from is not None:
        where = f" from {_when(worst.differs_from, train_size is not None or in_epochs)}"
    reason = (
        f"not the same run: {worst.name.replace('_', ' ')} differs{where}, "
        f"{worst.before:.6g} against {worst.after:.6g} where it differs most"
    )
    return Comparison(False, reason, rows)


def _when(time: float, in_epochs: bool) -> str:
    return f"epoch {time:.6g}" if in_epochs else f"example {time:,.6g}"


def _lengths(first: Schedule, second: Schedule) -> Invariant:
    """Epochs of both, where examples cannot be counted."""
    old, new = (
        float(sum(phase.exact_examples(1) for phase in schedule.phases))
        for schedule in (first, second)
    )
    relative = abs(new / old - 1)
    return Invariant("epochs", old, new, relative, relative <= 0.01)


def _since(rows: tuple[Invariant, ...], end: float) -> tuple[Invariant, ...]:
    """What accumulates differs from where its rate differs, or from the end of the shorter run."""
    by_name = {row.name: row for row in rows}
    rates = {"sde_time": "noise_scale", "sde_time_per_epoch": "noise_scale"}
    for unit in ("epoch", "example"):
        rates[f"weight_decay_per_{unit}"] = f"weight_decay_timescale_{unit}s"
    found = []
    for row in rows:
        if not row.kept and row.differs_from is None:
            rate = by_name.get(rates.get(row.name, ""))
            since = rate.differs_from if rate is not None else None
            if row.name in ("examples", "epochs"):
                since = end
            row = replace(row, differs_from=since)
        found.append(row)
    return tuple(found)
