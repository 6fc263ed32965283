"""`noisescale equivalent`: a schedule in, its equivalents out."""

import argparse
import json
from pathlib import Path
from typing import Any

from noisescale.analysis.equivalence import Equivalent, find_routes, plan_if_possible
from noisescale.analysis.routes import ROUTES
from noisescale.analysis.schedule import PARTIAL_BATCH_POLICIES, Plan, Schedule
from noisescale.errors import InputError
from noisescale.recipe import parse_toml, read_text, schedule_from, step_schedule

SCHEMA = "noisescale.equivalent/1"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command's arguments."""
    parser.epilog = (
        "example: noisescale equivalent --epochs 200 --batch-size 128 --learning-rate 0.1 "
        "--momentum 0.9 --milestones 60 120 160 --decay-factor 5 --train-size 50000 "
        "--max-batch-size 5120"
    )
    add = parser.add_argument
    add("recipe", nargs="?", metavar="RECIPE.toml", help="a recipe file, instead of flags")
    add("--train-size", type=int, metavar="N", help="training examples; without it g is per N")
    add("--epochs", type=float, metavar="E", help="total epochs")
    add("--batch-size", type=int, metavar="B", help="examples per update over all devices")
    add("--learning-rate", type=float, metavar="RATE", help="first learning rate")
    add("--momentum", type=float, metavar="M", help="momentum in [0, 1) (default 0)")
    add("--weight-decay", type=float, metavar="L", help="coupled weight decay (default 0)")
    add("--milestones", type=float, nargs="+", metavar="E", help="epochs at which the rate drops")
    add("--decay-factor", type=float, metavar="F", help="the rate is divided by it at each drop")
    add(
        "--to-batch",
        type=int,
        metavar="B",
        help="first batch size of learning-rate and momentum (default: the first batch times the "
        "first drop factor)",
    )
    add("--max-batch-size", type=int, metavar="B", help="no batch grows beyond it")
    add("--granularity", type=int, default=1, metavar="K", help="batch sizes are multiples of K")
    add(
        "--routes",
        nargs="+",
        metavar="ROUTE",
        help=f"{', '.join(ROUTES)}; compose with +, as learning-rate+grow-batch",
    )
    add(
        "--partial",
        metavar="POLICY",
        help=f"batches an epoch does not fill: {', '.join(PARTIAL_BATCH_POLICIES)} (default carry)",
    )
    add("--json", action="store_true", help="print one JSON document")
    add("--plot", metavar="FILE", help="draw learning rate, batch and g against epochs")


def run(options: argparse.Namespace) -> int:
    """Print the table or the JSON document."""
    schedule, train_size, partial = _schedule(options)
    original = plan_if_possible(schedule, train_size, partial)
    limits = (options.to_batch, options.max_batch_size, options.granularity)
    found, left_out = find_routes(schedule, train_size, options.routes, limits, partial)
    if options.plot is not None:
        _draw(options.plot, train_size, schedule, original, found)
    if options.json:
        document = {
            "schema": SCHEMA,
            "train_size": train_size,
            "original": _entry("original", schedule, original, None),
            "equivalents": [_entry(e.name, e.schedule, e.plan, e) for e in found],
            "left_out": [{"name": k, "reason": v} for k, v in left_out.items()],
        }
        print(json.dumps(document, indent=2, allow_nan=False))
    else:
        _print_tables(schedule, train_size, partial, original, found, left_out)
    return 0


def _schedule(options: argparse.Namespace) -> tuple[Schedule, int | None, str]:
    flags = {
        "--epochs": options.epochs,
        "--batch-size": options.batch_size,
        "--learning-rate": options.learning_rate,
        "--momentum": options.momentum,
        "--weight-decay": options.weight_decay,
        "--milestones": options.milestones,
        "--decay-factor": options.decay_factor,
    }
    given = [name for name, value in flags.items() if value is not None]
    if options.recipe is not None:
        if given:
            raise InputError(f"{given[0]} and a recipe file: give one or the other")
        schedule, train_size, partial = schedule_from(
            parse_toml(read_text(options.recipe), options.recipe)
        )
        if options.train_size is not None:
            train_size = options.train_size
        return schedule, train_size, partial if options.partial is None else options.partial
    for name in ("--epochs", "--batch-size", "--learning-rate"):
        if flags[name] is None:
            raise InputError(
                f"give a recipe file, or at least --epochs, --batch-size and --learning-rate "
                f"({name} is missing)"
            )
    schedule = step_schedule(
        epochs=options.epochs,
        batch_size=options.batch_size,
        learning_rate=options.learning_rate,
        momentum=options.momentum or 0.0,
        weight_decay=options.weight_decay or 0.0,
        milestones=tuple(options.milestones or ()),
        decay_factor=options.decay_factor,
    )
    return schedule, options.train_size, "carry" if options.partial is None else options.partial


def _entry(
    name: str, schedule: Schedule, plan: Plan | None, found: Equivalent | None
) -> dict[str, Any]:
    phases = []
    for number, phase in enumerate(schedule.phases):
        row = None if plan is None else plan.rows[number]
        per_example = phase.learning_rate / (phase.batch_size * (1 - phase.momentum))
        phases.append(
            {
                "epochs": phase.epochs if row is None else row.epochs,
                "learning_rate": phase.learning_rate,
                "batch_size": phase.batch_size,
                "momentum": phase.momentum,
                "weight_decay": phase.weight_decay,
                "updates": None if row is None else row.updates,
                "noise_scale": per_example if row is None else row.noise_scale,
                "noise_scale_finite_population": None
                if row is None
                else row.noise_scale_finite_population,
            }
        )
    return {
        "name": name,
        "phases": phases,
        "updates": None if plan is None else plan.updates,
        "updates_exact": None if plan is None else plan.updates_exact,
        "examples": None if plan is None else plan.examples,
        "invariants": []
        if found is None
        else [
            {
                "name": i.name,
                "before": i.before,
                "after": i.after,
                "max_relative_deviation": i.max_relative_deviation,
                "kept": i.kept,
            }
            for i in found.invariants
        ],
        "warnings": []
        if found is None
        else [{"code": w.code, "message": w.message, "source": w.source} for w in found.warnings],
    }


def _print_tables(
    schedule: Schedule,
    train_size: int | None,
    partial: str,
    original: Plan | None,
    found: list[Equivalent],
    left_out: dict[str, str],
) -> None:
    from rich.markup import escape

    from noisescale.cli.tables import Output, number, numbers, table

    console = Output()
    unit = "g" if train_size else "g / N"
    where = f"N = {train_size:,}" if train_size else "no train size: g per training example"
    console.print(f"[bold]Same noise scale g = εN/(B(1−m))[/bold]   {where}, partial = {partial}")
    rows = []
    for name, a_schedule, plan in [
        ("original", schedule, original),
        *((e.name, e.schedule, e.plan) for e in found),
    ]:
        entry = _entry(name, a_schedule, plan, None)
        phases = entry["phases"]
        rows.append(
            [
                name,
                "?" if plan is None else f"{plan.updates:,}",
                numbers(p["learning_rate"] for p in phases),
                numbers(p["batch_size"] for p in phases),
                numbers(p["momentum"] for p in phases),
                f"{number(phases[0]['noise_scale'])} → {number(phases[-1]['noise_scale'])}",
            ]
        )
    head = ["schedule", "updates", "learning rate", "batch", "momentum", unit]
    console.print(table(head, rows, right={1}))
    for name, reason in left_out.items():
        console.print(f"{name} cannot apply: {escape(reason)}")
    if not found:
        return
    rows = []
    for e in found:
        kept = ", ".join(i.name.replace("_", " ") for i in e.invariants if i.kept)
        broken = ", ".join(
            f"{i.name.replace('_', ' ')} {_change(i.before, i.after)}"
            for i in e.invariants
            if not i.kept
        )
        rows.append([e.name, kept, broken])
    console.print(table(["schedule", "kept (within 1 %)", "broken (where it differs most)"], rows))
    for e in found:
        for warning in e.warnings:
            text = escape(f"{warning.message} [{warning.source}]")
            console.print(f"[yellow]{e.name}[/yellow]: {text}")
    if original is None:
        console.print("Durations are in epochs: give --train-size to count updates.")


def _change(before: float, after: float) -> str:
    if not before:
        return f"0 → {after:.3g}"
    ratio = after / before
    return f"× {ratio:.3g}" if ratio >= 1.5 or ratio <= 0.67 else f"{ratio - 1:+.1%}"


def _draw(
    path: str,
    train_size: int | None,
    schedule: Schedule,
    original: Plan | None,
    found: list[Equivalent],
) -> None:
    if original is None:
        raise InputError("--plot draws against epochs: give --train-size")
    from noisescale.plots import draw_schedules, new_figure, save

    target = Path(path)
    plans = {"original": original} | {e.name: e.plan for e in found if e.plan is not None}
    figure = new_figure(1, 3, title="Schedules at equal noise scale")
    draw_schedules(figure.axes, plans)
    save(figure, target)
