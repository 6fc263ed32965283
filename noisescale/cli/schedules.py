"""Schedules and their invariants, as tables and as JSON."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from noisescale.analysis.cautions import RuleWarning
from noisescale.analysis.cost import Cost
from noisescale.analysis.equivalence import Equivalent
from noisescale.analysis.handover import handover_notes
from noisescale.analysis.invariants import Invariant
from noisescale.analysis.plan import Plan
from noisescale.analysis.same_run import Comparison
from noisescale.analysis.schedule import Phase, Schedule
from noisescale.analysis.shapes import Shape
from noisescale.cli.tables import Output, number, table
from noisescale.formats.document import shape_table


def entry_of(
    name: str,
    schedule: Schedule,
    plan: Plan | None,
    found: Equivalent | None,
    listed: Sequence[Cost] = (),
) -> dict[str, Any]:
    """One schedule of the JSON document."""
    if plan is not None:
        phases: list[dict[str, Any]] = [row.described() for row in plan.rows]
    else:
        phases = [_without_plan(phase) for phase in schedule.phases]
    for entry_phase, phase in zip(phases, schedule.phases, strict=True):
        if isinstance(phase.learning_rate, Shape):
            entry_phase |= {"shape": shape_table(phase.learning_rate)}
    if found is not None and found.split is not None:
        for entry_phase, (micro, steps, devices) in zip(phases, found.split, strict=True):
            entry_phase |= {"micro_batch_size": micro, "steps": steps, "devices": devices}
    entry: dict[str, Any] = {
        "name": name,
        "phases": phases,
        "updates": None if plan is None else plan.updates,
        "updates_exact": None if plan is None else plan.updates_exact,
        "examples": None if plan is None else plan.examples,
        "invariants": [] if found is None else [row_of(i) for i in found.invariants],
        "warnings": [] if found is None else [warning_of(w) for w in found.warnings],
        "risk": "none" if found is None else found.risk,
    }
    for cost in listed:
        if cost.name == name:
            entry["cost"] = {
                "seconds": cost.seconds,
                "extrapolated": cost.extrapolated,
                "steps_ratio": cost.steps_ratio,
                "examples_ratio": cost.examples_ratio,
                "progress": cost.progress,
            }
    return entry


def row_of(row: Invariant) -> dict[str, Any]:
    """An invariant for a JSON document."""
    return {
        "name": row.name,
        "before": row.before,
        "after": row.after,
        "max_relative_deviation": row.max_relative_deviation,
        "kept": row.kept,
        "differs_from": row.differs_from,
        "assumes": row.assumes,
    }


def warning_of(warning: RuleWarning) -> dict[str, str]:
    """A warning for a JSON document."""
    return {
        "code": warning.code,
        "message": warning.message,
        "source": warning.source,
        "risk": warning.risk,
    }


def _without_plan(phase: Phase) -> dict[str, Any]:
    """A phase whose updates cannot be counted without N; g is per training example."""
    pieces = phase.pieces(phase.clock_size(None))
    per_rate = 1.0 / (phase.batch_size * (1 - phase.momentum))
    entry: dict[str, Any] = {
        "epochs": phase.epochs,
        "learning_rate": pieces[0].start_value,
        "batch_size": phase.batch_size,
        "momentum": phase.momentum,
        "weight_decay": phase.weight_decay,
        "updates": None,
        "noise_scale": pieces[0].start_value * per_rate,
        "noise_scale_finite_population": None,
    }
    if len(pieces) > 1 or pieces[0].form != "constant":
        entry["learning_rate_end"] = pieces[-1].end_value
        entry["noise_scale_end"] = pieces[-1].end_value * per_rate
        entry["noise_scale_finite_population_end"] = None
    return entry


def course(values: Iterable[float]) -> str:
    """A quantity in the order of time: every value it stops at, or first, highest and last."""
    listed = [f"{v:,}" if isinstance(v, int) else number(v) for v in values]
    changes = [v for i, v in enumerate(listed) if not i or v != listed[i - 1]]
    if len(changes) <= 5:
        return " → ".join(changes)
    highest = max(changes, key=lambda text: float(text.replace(",", "")))
    ends = [changes[0], highest, changes[-1]]
    return " ⇝ ".join(v for i, v in enumerate(ends) if not i or v != ends[i - 1])


def _rates(schedule: Schedule, train_size: int | None) -> Iterable[tuple[float, Phase]]:
    for phase in schedule.phases:
        for piece in phase.pieces(phase.clock_size(train_size)):
            yield piece.start_value, phase
            yield piece.end_value, phase


def print_origin(document: Mapping[str, Any] | None) -> None:
    """The title of a recipe."""
    from rich.markup import escape

    title, sources = (document or {}).get("title"), (document or {}).get("sources")
    if title:
        where = "   (--json has the source of every number)" if sources else ""
        Output().print(f"[bold]{escape(title)}[/bold]{where}")


def print_equivalents(
    schedule: Schedule,
    train_size: int | None,
    partial: str,
    original: Plan | None,
    found: Sequence[Equivalent],
    left_out: dict[str, str],
) -> None:
    """The tables of `noisescale equivalent`."""
    from rich.markup import escape

    console = Output()
    unit = "g" if train_size else "g / N"
    where = f"N = {train_size:,}" if train_size else "no train size: g per training example"
    after = ""
    if schedule.resumed is not None:
        after = f"   after {schedule.resumed.examples:,} examples"
    console.print(
        f"[bold]Same noise scale g = εN/(B(1−m))[/bold]   {where}, partial = {partial}{after}"
    )
    rows = []
    for name, a_schedule, plan in [
        ("original", schedule, original),
        *((e.name, e.schedule, e.plan) for e in found),
    ]:
        rates = list(_rates(a_schedule, train_size))
        scales = [
            (train_size or 1) * rate / (phase.batch_size * (1 - phase.momentum))
            for rate, phase in rates
        ]
        rows.append(
            [
                name,
                "?" if plan is None else f"{plan.updates:,}",
                course(rate for rate, _ in rates),
                course(phase.batch_size for phase in a_schedule.phases),
                course(phase.momentum for phase in a_schedule.phases),
                course(scales),
            ]
        )
    head = ["schedule", "updates", "learning rate", "batch", "momentum", unit]
    console.print(table(head, rows, right={1}))
    for name, reason in left_out.items():
        console.print(f"{name} cannot apply: {escape(reason)}")
    if found:
        rows = []
        for e in found:
            kept = ", ".join(
                i.name.replace("_", " ") for i in e.invariants if i.kept and "_if_" not in i.name
            )
            broken = ", ".join(
                f"{i.name.replace('_', ' ')} {change(i.before, i.after)}"
                for i in e.invariants
                if not i.kept and "_if_" not in i.name
            )
            rows.append([e.name, kept, broken])
        head = ["schedule", "kept (within 1 %)", "broken (where it differs most)"]
        console.print(table(head, rows))
    notes: dict[RuleWarning, list[str]] = {}
    if not found:
        notes = {w: ["original"] for w in handover_notes(schedule, schedule, train_size)}
    for e in found:
        for warning in e.warnings:
            notes.setdefault(warning, []).append(e.name)
    colours = {"none": "green", "some": "yellow", "high": "red"}
    for warning, names in notes.items():
        who = "all" if len(names) == len(found) > 1 else ", ".join(names)
        risk = "" if warning.risk == "none" else f", {warning.risk} risk"
        text = escape(f"{warning.message} [{warning.source}]")
        console.print(f"• [{colours[warning.risk]}]{who}: {warning.code}{risk}[/]. {text}")
    if original is None:
        console.print("Durations are in epochs: give --train-size to count updates.")


def change(before: float, after: float) -> str:
    """How a quantity changes, as a factor or in per cent."""
    if not before:
        return f"0 → {after:.3g}"
    ratio = after / before
    return f"× {ratio:.3g}" if ratio >= 1.5 or ratio <= 0.67 else f"{ratio - 1:+.1%}"


def print_costs(listed: Sequence[Cost], best: Cost | None, max_risk: str) -> None:
    """Wall-clock, steps and examples of every route, and the fastest within the risk."""
    console = Output()
    rows = [
        [
            c.name,
            "" if c.seconds is None else _clock(c.seconds) + (" *" if c.extrapolated else ""),
            _equal_progress(c, listed[0]),
            "" if c.steps_ratio is None else f"{c.steps_ratio:.3g}",
            "" if c.examples_ratio is None else f"{c.examples_ratio:.3g}",
            c.risk,
        ]
        for c in listed
    ]
    head = ["schedule", "wall-clock", "equal progress", "S/S_min", "E/E_min", "risk"]
    console.print(table(head, rows, right={1, 2, 3, 4}))
    if any(c.extrapolated for c in listed):
        console.print("* beyond the batch sizes measured: measure there")
    if any(c.seconds is not None for c in listed):
        answer = "none" if best is None else f"[bold]{best.name}[/bold]"
        console.print(f"fastest at risk up to {max_risk!r}: {answer}")


def _equal_progress(cost: Cost, original: Cost) -> str:
    """The wall-clock to the original's progress."""
    if cost.seconds is None or not cost.progress or not original.progress:
        return ""
    return _clock(cost.seconds * original.progress / cost.progress)


def _clock(seconds: float) -> str:
    if seconds < 120:
        return f"{seconds:.3g} s"
    if seconds < 7200:
        return f"{seconds / 60:.3g} min"
    return f"{seconds / 3600:,.3g} h"


def print_comparison(found: Comparison) -> None:
    """The answer of --diff, with the quantities that decide it."""
    from rich.markup import escape

    console = Output()
    colour = "green" if found.same else "red"
    console.print(f"[{colour}]{escape(found.reason)}[/]")
    rows = [
        [
            row.name.replace("_", " "),
            number(row.before),
            number(row.after),
            f"{row.max_relative_deviation:.2%}",
            "kept" if row.kept else f"differs{_since(row)}",
        ]
        for row in found.invariants
    ]
    head = ["quantity", "first", "second", "deviation", "from when"]
    console.print(table(head, rows, right={1, 2, 3}, fold_names=True))


def _since(row: Invariant) -> str:
    return "" if row.differs_from is None else f" from {number(row.differs_from)}"
