"""`noisescale equivalent`: a schedule in, its equivalents out."""

import argparse
import json
from pathlib import Path
from typing import Any

from noisescale.analysis.cautions import RISKS, check_risk
from noisescale.analysis.checks import positive
from noisescale.analysis.cost import Cost, checked_throughput, cost_of, costs, fastest
from noisescale.analysis.equivalence import Equivalent, find_routes, plan_if_possible
from noisescale.analysis.handover import handover_notes
from noisescale.analysis.plan import PARTIAL_BATCH_POLICIES, Plan
from noisescale.analysis.routes import ROUTES
from noisescale.analysis.schedule import Schedule
from noisescale.cli.schedules import (
    entry_of,
    print_comparison,
    print_costs,
    print_equivalents,
    print_origin,
    row_of,
    warning_of,
)
from noisescale.errors import InputError
from noisescale.formats import FORMATS, Export, exported
from noisescale.recipe import named_document, read_document, schedule_from, step_schedule

SCHEMA = "noisescale.equivalent/1"
DIFF_SCHEMA = "noisescale.diff/1"
ORIGINAL = "original"
_FLAG_OF = {
    "target_batch_size": "--to-batch",
    "max_batch_size": "--max-batch-size",
    "base_batch_size": "--base-batch-size",
    "micro_batch_size": "--micro-batch-size",
    "examples": "--at-examples",
    "epochs": "--at-epochs",
}
# Flags without a meaning for --diff, and their values when not given.
_UNUSED_BY_DIFF = {
    "to": None,
    "plot": None,
    "routes": None,
    "to_batch": None,
    "max_batch_size": None,
    "granularity": 1,
    "base_batch_size": None,
    "micro_batch_size": None,
    "devices": 1,
    "sharpness": None,
    "critical_batch_size": None,
    "throughput": None,
    "max_risk": None,
}
_EXAMPLES = """examples:
  noisescale equivalent --recipe smith2018-cifar10 --max-batch-size 5120
  noisescale equivalent --epochs 200 --batch-size 128 --learning-rate 0.1 --momentum 0.9 \\
      --milestones 60 120 160 --decay-factor 5 --train-size 50000 --to-batch 1024
  noisescale equivalent recipe.toml --routes learning-rate --to-batch 1024 --to pytorch > plan.py
  noisescale equivalent recipe.toml --at-epochs 60 --to-batch 64
  noisescale equivalent recipe.toml --diff other.toml"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command's arguments."""
    parser.epilog = _EXAMPLES
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    group = parser.add_argument_group
    add = group("the recipe: a file, a name, or flags").add_argument
    add("recipe", nargs="?", metavar="RECIPE", help="a recipe file (.toml or .json)")
    add("--recipe", dest="named", metavar="NAME", help="a built-in recipe, as smith2018-cifar10")
    add("--train-size", type=whole, metavar="N", help="training examples; without it g is per N")
    add("--epochs", type=float, metavar="E", help="total epochs")
    add("--batch-size", type=whole, metavar="B", help="examples per update over all devices")
    add("--learning-rate", type=float, metavar="RATE", help="first learning rate")
    add("--momentum", type=float, metavar="M", help="momentum in [0, 1) (default 0)")
    add("--weight-decay", type=float, metavar="L", help="coupled weight decay (default 0)")
    add("--milestones", type=float, nargs="+", metavar="E", help="epochs at which the rate drops")
    add("--decay-factor", type=float, metavar="F", help="the rate is divided by it at each drop")
    add(
        "--partial",
        metavar="POLICY",
        help=f"batches an epoch does not fill: {', '.join(PARTIAL_BATCH_POLICIES)} (default carry)",
    )
    add("--at-examples", type=whole, metavar="n", help="what is left after so many examples")
    add("--at-epochs", type=float, metavar="E", help="what is left after so many epochs")
    add = group("what to run instead").add_argument
    add(
        "--to-batch",
        type=whole,
        metavar="B",
        help="first batch size (default: first batch times the first drop of the rate)",
    )
    add("--max-batch-size", type=whole, metavar="B", help="no batch grows beyond it")
    add("--granularity", type=int, default=1, metavar="K", help="batch sizes are multiples of K")
    add(
        "--routes",
        nargs="+",
        metavar="ROUTE",
        help=f"{', '.join(ROUTES)}; compose with +, as learning-rate+grow-batch",
    )
    add("--base-batch-size", type=int, metavar="B", help="the batch the rate is stated for")
    add("--micro-batch-size", type=int, metavar="B", help="most examples at once per device")
    add("--devices", type=int, default=1, metavar="D", help="devices that share a batch")
    add = group("what is known of the model and the machine").add_argument
    add("--sharpness", type=float, metavar="S", help="largest curvature of the loss")
    add("--critical-batch-size", type=float, metavar="B", help="warn beyond it; S and E over least")
    add(
        "--throughput",
        nargs="+",
        metavar="B:RATE",
        help="measured examples per second at a batch size (or micro-batch x devices)",
    )
    add("--max-risk", metavar="RISK", help=f"for the fastest route: {', '.join(RISKS)} (some)")
    add = group("what comes out").add_argument
    add("--json", action="store_true", help="print one JSON document")
    add("--plot", metavar="FILE", help="draw rate, batch, g and updates against epochs")
    add("--to", metavar="FORMAT", help=f"print one route as a file: {', '.join(FORMATS)}")
    add("--diff", metavar="OTHER", help="is this recipe (file or name) the same run?")


def whole(text: str) -> int:
    """A whole number, also as 5e4."""
    try:
        return int(text)
    except ValueError:
        number = float(text)
        if abs(number) > 2**53 or number != int(number):
            raise ValueError(text) from None
        return int(number)


whole.__name__ = "whole number"  # argparse says "invalid whole number value"


def run(options: argparse.Namespace) -> int:
    """Print the table, the JSON document, a file in a trainer's format, or the comparison."""
    try:
        return _answer(options)
    except InputError as error:
        # The library names its arguments; who typed a flag looks for the flag.
        message = str(error)
        for name, flag in _FLAG_OF.items():
            typed = getattr(options, flag[2:].replace("-", "_")) is not None
            if typed and message.startswith(f"{name}=") and flag not in message:
                raise InputError(f"{flag}: {message}") from None
        raise


def _answer(options: argparse.Namespace) -> int:
    document = _document(options)
    schedule, train_size, partial = _schedule(options, document)
    if options.at_examples is not None or options.at_epochs is not None:
        schedule = schedule.after(
            examples=options.at_examples, epochs=options.at_epochs, train_size=train_size
        )
    if options.diff is not None:
        return _diff(options, schedule, train_size, partial)
    routes = options.routes
    if options.to is not None:
        if options.json or options.plot is not None:
            raise InputError("--to prints a file: leave --json and --plot out")
        if routes is None or len(routes) != 1:
            raise InputError(
                f"--to writes one schedule: name it with --routes ({', '.join(ROUTES)}, a "
                f"composition, or {ORIGINAL})"
            )
    if routes == [ORIGINAL]:
        # Nothing is asked of the routes, but what is given must be right.
        find_routes(schedule, train_size, **{**_route_options(options, partial), "routes": None})
    found: list[Equivalent] = []
    left_out: dict[str, str] = {}
    given = _known_costs(options)
    if routes != [ORIGINAL]:
        found, left_out = find_routes(schedule, train_size, **_route_options(options, partial))
    original = plan_if_possible(schedule, train_size, partial)
    if options.to is not None:
        what = found[0] if found else None
        chosen = schedule if what is None else what.schedule
        plan = original if what is None else what.plan
        title = f"{routes[0]} of {options.recipe or options.named or 'the recipe given by flags'}"
        split = None if what is None else what.split
        text = exported(Export(title, chosen, train_size, partial, plan, split), options.to)
        print(text, end="")
        return 0
    listed, best = _costs(given, original, found)
    if options.plot is not None:
        _draw(options.plot, schedule, original, found)
    if options.json:
        notes = handover_notes(schedule, schedule, train_size)
        first = entry_of(ORIGINAL, schedule, original, None, listed)
        answer = {
            "schema": SCHEMA,
            "title": (document or {}).get("title"),
            "sources": (document or {}).get("sources", {}),
            "train_size": train_size,
            "original": first | {"warnings": [warning_of(w) for w in notes]},
            "equivalents": [entry_of(e.name, e.schedule, e.plan, e, listed) for e in found],
            "left_out": [{"name": k, "reason": v} for k, v in left_out.items()],
        }
        if options.throughput is not None:
            answer["fastest"] = None if best is None else best.name
        print(json.dumps(answer, indent=2, allow_nan=False))
    else:
        print_origin(document)
        print_equivalents(schedule, train_size, partial, original, found, left_out)
        now = schedule.phases[0].batch_size
        if (options.to_batch or now) < now and options.micro_batch_size is None:
            print(
                f"Or change nothing and accumulate {now} examples per update: "
                "--micro-batch-size says how."
            )
        if listed:
            print_costs(listed, best, options.max_risk or "some")
    return 0


def _route_options(options: argparse.Namespace, partial: str) -> dict[str, Any]:
    return {
        "routes": options.routes,
        "target_batch_size": options.to_batch,
        "max_batch_size": options.max_batch_size,
        "granularity": options.granularity,
        "base_batch_size": options.base_batch_size,
        "micro_batch_size": options.micro_batch_size,
        "devices": options.devices,
        "sharpness": options.sharpness,
        "critical_batch_size": options.critical_batch_size,
        "partial": partial,
    }


def _flags(options: argparse.Namespace) -> dict[str, Any]:
    """The flags that describe a recipe."""
    return {
        "--epochs": options.epochs,
        "--batch-size": options.batch_size,
        "--learning-rate": options.learning_rate,
        "--momentum": options.momentum,
        "--weight-decay": options.weight_decay,
        "--milestones": options.milestones,
        "--decay-factor": options.decay_factor,
    }


def _document(options: argparse.Namespace) -> dict[str, Any] | None:
    """The recipe of a file or a name; None where flags give it."""
    if options.recipe is not None and options.named is not None:
        raise InputError("--recipe NAME and a recipe file: give one or the other")
    given = [name for name, value in _flags(options).items() if value is not None]
    if given and (options.recipe is not None or options.named is not None):
        raise InputError(f"{given[0]} and a recipe: give one or the other")
    if options.recipe is not None:
        return read_document(options.recipe)
    return None if options.named is None else named_document(options.named)


def _schedule(
    options: argparse.Namespace, document: dict[str, Any] | None
) -> tuple[Schedule, int | None, str]:
    flags = _flags(options)
    if document is not None:
        schedule, train_size, partial = schedule_from(document)
        if options.train_size is not None:
            train_size = options.train_size
        return schedule, train_size, partial if options.partial is None else options.partial
    for name in ("--epochs", "--batch-size", "--learning-rate"):
        if flags[name] is None:
            raise InputError(
                f"give a recipe file, --recipe NAME, or at least --epochs, --batch-size and "
                f"--learning-rate ({name} is missing)"
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


def _diff(
    options: argparse.Namespace, schedule: Schedule, train_size: int | None, partial: str
) -> int:
    from noisescale.analysis.same_run import compare_runs

    for flag, default in _UNUSED_BY_DIFF.items():
        if getattr(options, flag) != default:
            name = flag.replace("_", "-")
            raise InputError(f"--diff compares two recipes as they stand: leave --{name} out")
    path = Path(options.diff)
    is_file = path.suffix.lower() in (".toml", ".json") or "/" in options.diff
    document = read_document(path) if is_file else named_document(options.diff)
    other, other_size, other_partial = schedule_from(document)
    if options.train_size is None and None not in (train_size, other_size):
        if train_size != other_size:
            raise InputError(
                f"the recipes are for train sizes {train_size} and {other_size}: say which one "
                "counts with --train-size"
            )
    if options.partial is None and partial != other_partial:
        raise InputError(
            f"the recipes have partial={partial!r} and {other_partial!r}: say which one counts "
            "with --partial"
        )
    train_size = other_size if train_size is None else train_size
    found = compare_runs(schedule, other, train_size, partial)
    if options.json:
        document = {
            "schema": DIFF_SCHEMA,
            "train_size": train_size,
            "same": found.same,
            "reason": found.reason,
            "invariants": [row_of(row) for row in found.invariants],
        }
        print(json.dumps(document, indent=2, allow_nan=False))
    else:
        print_comparison(found)
    return 0


def _known_costs(options: argparse.Namespace) -> dict[str, Any]:
    """What is known of costs, checked: throughput, critical batch size, risk."""
    if options.max_risk is not None and options.throughput is None:
        raise InputError("--max-risk chooses the fastest route: give --throughput")
    table = None if options.throughput is None else _throughput(options.throughput)
    critical = options.critical_batch_size
    return {
        "throughput": None if table is None else checked_throughput(table),
        "critical_batch_size": None
        if critical is None
        else positive("critical_batch_size", critical),
        "max_risk": check_risk(options.max_risk or "some"),
    }


def _costs(
    given: dict[str, Any], original: Plan | None, found: list[Equivalent]
) -> tuple[list[Cost], Cost | None]:
    known = {key: given[key] for key in ("throughput", "critical_batch_size")}
    if all(value is None for value in known.values()):
        return [], None
    if original is None:
        raise InputError("costs are counted in updates: give --train-size")
    listed = [cost_of(ORIGINAL, original, **known), *costs(found, **known)]
    return listed, fastest(listed, given["max_risk"])


def _throughput(texts: list[str]) -> dict[int, float]:
    table = {}
    for text in texts:
        batch, _, rate = text.partition(":")
        try:
            if int(batch) in table:
                raise InputError(f"--throughput {text!r}: batch {batch} is given twice")
            table[int(batch)] = float(rate)
        except InputError:
            raise
        except ValueError:
            raise InputError(
                f"--throughput {text!r}: write batch:examples-per-second, as 128:2500"
            ) from None
    return table


def _draw(path: str, schedule: Schedule, original: Plan | None, found: list[Equivalent]) -> None:
    if original is None or original.train_size is None:
        raise InputError("--plot draws against epochs: give --train-size")
    from noisescale.plots import draw_schedules, new_figure, save

    plans = {ORIGINAL: original} | {e.name: e.plan for e in found if e.plan is not None}
    what = "Schedules at equal noise scale, and other rules"
    if schedule.resumed is not None:
        what += f", after {schedule.resumed.examples:,} examples"
    figure = new_figure(2, 2, title=what)
    draw_schedules(figure.axes, plans)
    save(figure, Path(path))
