"""`noisescale verify`: train every arm of an experiment and judge its predictions."""

import argparse
import json
import sys
from dataclasses import asdict
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from noisescale.cli import fail
from noisescale.cli.data import add_data_arguments, data_dir_of
from noisescale.cli.extras import TRAIN, need
from noisescale.cli.interrupts import stop_wish
from noisescale.cli.progress import counting
from noisescale.cli.progress import stop as stop_bar
from noisescale.errors import InputError
from noisescale.experiment.parsing import PRESETS, built_in, find_experiment
from noisescale.experiment.specification import Experiment, PlannedArm
from noisescale.experiment.verify import MOST_SEEDS, Verified, verify
from noisescale.record import finite

if TYPE_CHECKING:
    from noisescale.training.data import Dataset


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command's arguments."""
    names = "; ".join(
        f"{name} ({', '.join(key for key in files if key != 'paper')})"
        for name, files in built_in().items()
    )
    presets = "; ".join(f"{name}: {what}" for name, what in PRESETS.items())
    parser.epilog = (
        "example: noisescale verify increase-batch-size --dataset mnist --data-dir data --seeds 5"
    )
    add = parser.add_argument
    add("experiment", metavar="EXPERIMENT", help=f"a file, or built in: {names}")
    add(
        "--dataset",
        metavar="NAME",
        help="data set of a built-in experiment (default: digits, or its only one)",
    )
    add("--preset", metavar="NAME", help=f"size of a built-in experiment. {presets}")
    add("--seeds", type=int, metavar="K", help="number of seeds (default: as in the experiment)")
    add_data_arguments(parser)
    add("--out", metavar="DIR", help="results (default: noisescale-runs/EXPERIMENT-DATASET)")
    add(
        "--dry-run",
        action="store_true",
        help="show arms, plans and what they will cost, by a trial of some seconds; write nothing",
    )
    add("--no-trial", action="store_true", help="a dry run without trial: no estimate of cost")
    add("--json", action="store_true", help="print results.json on standard output")


def run(options: argparse.Namespace) -> int:
    """Train, judge, write, print."""
    if options.seeds is not None and not 1 <= options.seeds <= MOST_SEEDS:
        raise InputError(f"--seeds {options.seeds}: it must be from 1 to {MOST_SEEDS:,}")
    experiment = find_experiment(options.experiment, options.dataset, options.preset)
    if options.no_trial and not options.dry_run:
        raise InputError("--no-trial belongs to --dry-run")
    if options.dry_run:
        return _dry_run(experiment, options)
    need("verify")
    data_dir = data_dir_of(options, experiment.base.data.name)
    name = f"{experiment.name}-{experiment.base.data.name}"
    if options.preset == "paper":
        name += "-paper"
    out = Path(options.out) if options.out else Path("noisescale-runs") / name
    done = _train(experiment, out, data_dir, options.seeds)
    if options.json:
        print(json.dumps(done.results, indent=1, allow_nan=False))
    else:
        _print(done)
    return 0


def _train(experiment: Experiment, out: Path, data_dir: Path | None, seeds: int | None) -> Verified:
    bar = counting("updates")
    task = bar.add_task("compiling", total=None)

    def begin(updates: int) -> None:
        if updates:
            bar.update(task, total=updates)
            bar.start()

    def report(what: str, updates: int) -> None:
        bar.update(task, description=what, advance=updates)

    from noisescale.training.checkpoints import Stopped

    try:
        with stop_wish() as stop:
            return verify(
                experiment,
                out,
                data_dir=data_dir,
                seeds=seeds,
                report=report,
                total=begin,
                stop=stop,
            )
    except (Stopped, KeyboardInterrupt):
        stop_bar(bar)
        kept = len(list((out / "runs").glob("*/seed-*/result.json")))
        fail(f"stopped; {kept} finished runs are kept in {out}, the same command goes on", 143)
    finally:
        stop_bar(bar)


def _dry_run(experiment: Experiment, options: argparse.Namespace) -> int:
    from noisescale.cli.tables import Output, numbers, table

    dataset, missing = _dataset(experiment, options)
    train_size = experiment.base.train_size if dataset is None else dataset.train_size
    assert train_size is not None
    arms = experiment.planned(train_size)
    seeds = experiment.base.run.seeds if options.seeds is None else options.seeds
    cost = _cost(arms, dataset, seeds, "--no-trial" if options.no_trial else missing)
    if options.json:
        document = {
            "schema": "noisescale.verify-plan/1",
            "experiment": experiment.name,
            "experiment_sha256": experiment.sha256,
            "train_size": train_size,
            "seeds": seeds,
            "fraction_of_protocol": experiment.fraction_of_protocol(train_size),
            "arms": [{"name": arm.name, "updates": arm.plan.updates} for arm in arms],
            "estimate": cost,
        }
        print(json.dumps(document, indent=1, allow_nan=False))
        return 0
    from rich.markup import escape

    console = Output()
    line = (
        f"[bold]{escape(experiment.title)}[/bold]: {experiment.base.data.name}, "
        f"N = {train_size:,}, seeds: {seeds}"
    )
    fraction = experiment.fraction_of_protocol(train_size)
    if fraction is not None and experiment.protocol is not None:
        from noisescale.analysis.html import percent_text

        source = escape(experiment.protocol.source)
        line += f", {percent_text(fraction)} of the protocol ({source})"
    console.print(line)
    rows = [
        [
            arm.name,
            f"{arm.plan.updates:,}",
            numbers(r.learning_rate for r in arm.plan.rows),
            numbers(r.batch_size for r in arm.plan.rows),
            numbers(r.momentum for r in arm.plan.rows),
        ]
        for arm in arms
    ]
    head = ["arm", "updates", "learning rate", "batch", "momentum"]
    console.print(table(head, rows, right={1}))
    for prediction in experiment.predictions:
        console.print(f"{prediction.kind}: {escape(prediction.statement)}")
    console.print(escape(_cost_text(cost, seeds)))
    return 0


def _dataset(experiment: Experiment, options: argparse.Namespace) -> tuple["Dataset | None", str]:
    """The data set, or why there is none; where its size is declared, a plan can do without."""
    data = experiment.base.data
    needed = experiment.base.train_size is None or options.data_dir is not None
    if needed or data.name == "digits":
        need("verify")
    elif any(find_spec(name) is None for name in TRAIN):
        return None, "it needs pip install 'noisescale[train]'"
    elif options.no_trial:
        return None, ""
    from noisescale.training.data import load_dataset

    try:
        return load_dataset(data, None if options.data_dir is None else Path(options.data_dir)), ""
    except InputError:
        if needed or data.name == "digits":
            raise
        return None, f"the files of {data.name} are missing (--data-dir)"


def _cost(
    arms: tuple[PlannedArm, ...], dataset: "Dataset | None", seeds: int, reason: str
) -> dict[str, Any]:
    """The estimate as a document."""
    if dataset is None or reason:
        nothing = ("seconds", "memory_bytes", "disk_bytes", "trial_seconds")
        return {**dict.fromkeys(nothing), "measured": False, "reason": reason}
    from noisescale.experiment.estimate import estimate

    bar = counting("kinds of arm tried")
    task = bar.add_task("compiling", total=None)
    bar.start()
    try:
        found = estimate(
            arms,
            dataset,
            seeds,
            report=lambda tried, kinds: bar.update(task, completed=tried, total=kinds),
        )
    finally:
        stop_bar(bar)
    return finite(asdict(found))


def _cost_text(cost: dict[str, Any], seeds: int) -> str:
    if not cost["measured"]:
        return f"no estimate of time, memory and disk: {cost['reason']}"
    parts = [f"about {duration(cost['seconds'])}", f"{cost['disk_bytes'] / 1e6:,.1f} MB on disk"]
    if cost["memory_bytes"] is not None:
        parts.insert(1, f"{cost['memory_bytes'] / 1e9:.2g} GB of memory")
    tried = f"{cost['tried']} of {cost['kinds']} kinds of arm tried"
    return f"{seeds} seeds here: {', '.join(parts)} ({tried}, {cost['trial_seconds']:.0f} s)"


def duration(seconds: float) -> str:
    """Seconds, minutes or hours with two digits that mean something."""
    for unit, length in (("hours", 3600.0), ("minutes", 60.0), ("seconds", 1.0)):
        if seconds >= 1.5 * length or unit == "seconds":
            break
    number = seconds / length
    return f"{number:.2g} {unit}" if number < 10 else f"{number:,.0f} {unit}"


def _print(done: Verified) -> None:
    from rich.markup import escape

    from noisescale.analysis.html import scaled_text
    from noisescale.cli.tables import Output, table
    from noisescale.experiment.report import (
        arm_head,
        arm_table,
        confidence_text,
        effect_text,
        parts_text,
    )

    results = done.results
    console = Output()
    n = max(len(arm["seeds"]) for arm in results["arms"])
    line = f"\n[bold]{escape(results['title'])}[/bold]: {results['data']['name']}, seeds: {n}"
    if results["fraction_of_protocol"] is not None:
        line += f", {scaled_text(results['fraction_of_protocol'])}"
    console.print(line)
    arms = [[row[0], *row[5:]] for row in arm_table(results)]
    head = arm_head(results)
    console.print(table([head[0], *head[5:]], arms, right={1}))
    colour = {"supported": "green", "contradicted": "red", "undecided": "yellow"}
    rows, split = [], results["data"]["evaluation_split"]
    for p in results["predictions"]:
        verdict = f"[{colour[p['verdict']]}]{p['verdict']}[/]"
        notes = [p["reason"]] if p["reason"] else []
        if p["parts_at"]:
            notes.append(parts_text(p))
        rows.append([escape(p["statement"]), verdict, "; ".join([effect_text(p, split), *notes])])
    if rows:
        console.print(
            table(["prediction", "verdict", f"effect [{confidence_text(results)} interval]"], rows)
        )
        if not results["gate"]["passed"]:
            console.print(f"[red]void[/red]: {results['gate']['reason']}")
        told = sum(c["passed"] for c in results["controls"])
        state = "informative" if results["informative"] else "[red]not informative[/red]"
        console.print(f"{state}; {told} of {len(results['controls'])} control checks passed")
    for file in done.files:
        print(f"wrote {file}", file=sys.stderr)
