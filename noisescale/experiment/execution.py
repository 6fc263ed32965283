"""Train every seed of every arm; arms that share their first phases are run once through them."""

import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import jax

from noisescale.analysis.plan import PlanRow
from noisescale.experiment.conclusion import SeedCurves
from noisescale.experiment.specification import PlannedArm
from noisescale.recipe import Recipe
from noisescale.record import Record, finite, read_record, write_record
from noisescale.training.data import Dataset
from noisescale.training.run import Progress, Trainer, stops_of

# Columns of results.json's curves; a change of the list is a change of its schema.
COLUMNS = (
    "epoch",
    "update",
    "train_loss",
    "train_error",
    "evaluation_loss",
    "evaluation_error",
    "distance",
)


@dataclass(frozen=True, slots=True)
class Task:
    """One seed of one arm still to be trained."""

    arm: PlannedArm
    seed: int
    folder: Path
    identity: dict[str, Any]


def identity_of(arm: PlannedArm, seed: int, dataset: Dataset) -> dict[str, Any]:
    """Everything that decides a run's numbers."""
    import equinox
    import jaxlib
    import numpy

    recipe = asdict(replace(arm.recipe, run=replace(arm.recipe.run, seeds=1), train_size=None))
    return {
        "recipe": recipe,
        "seed": seed,
        "train_size": dataset.train_size,
        "data": dataset.fingerprint,
        "device": jax.devices()[0].device_kind,
        "threads": os.cpu_count(),
        "versions": {m.__name__: m.__version__ for m in (numpy, jax, jaxlib, equinox)},
    }


def execute(
    arms: Sequence[PlannedArm],
    dataset: Dataset,
    seeds: Sequence[int],
    folder: Path,
    report: Callable[[str, int], None],
    total: Callable[[int], None] = lambda updates: None,
) -> dict[str, list[Record]]:
    """The records of all arms and seeds; those already in `folder` are read, not trained.

    Args:
        folder: holds ARM/seed-K of every finished run; each is written as soon as it is done.
        report: hears (what is running, updates just done).
        total: hears once how many updates are left to do.
    """
    records: dict[str, dict[int, Record]] = {arm.name: {} for arm in arms}
    tasks = []
    for arm in arms:
        for seed in seeds:
            target = folder / arm.name / f"seed-{seed:04d}"
            identity = identity_of(arm, seed, dataset)
            found = read_record(target, identity)
            if found is None:
                tasks.append(Task(arm, seed, target, identity))
            else:
                records[arm.name][seed] = found
    total(sum(work_of([t.arm for t in tasks if t.seed == seed]) for seed in seeds))
    trainers: dict[Recipe, Trainer] = {}
    for seed in seeds:
        mine = [task for task in tasks if task.seed == seed]
        for kind, group in _groups(mine).items():
            # Arms that differ in their schedule or data order alone share compiled programs.
            shared = replace(kind, run=replace(kind.run, replica=0))
            if shared not in trainers:
                trainers[shared] = Trainer(shared, dataset)
            start = trainers[shared].start(seed, kind.run.replica)
            for task, record in _branches(trainers[shared], start, group, 0, report):
                write_record(task.folder, record)
                records[task.arm.name][seed] = record
    return {name: [by_seed[seed] for seed in seeds] for name, by_seed in records.items()}


def work_of(arms: Sequence[PlannedArm]) -> int:
    """Updates of one seed of all arms, shared phases counted once."""
    trunks = set()
    for arm in arms:
        kind = _kind(arm)
        for number in range(len(arm.plan.rows)):
            trunks.add((kind, arm.plan.rows[: number + 1]))
    return sum(rows[-1].updates for _, rows in trunks)


def _kind(arm: PlannedArm) -> Recipe:
    """The recipe without its schedule: what must be equal for two arms to share phases."""
    first = arm.recipe.schedule.phases[0]
    blank = replace(arm.recipe.schedule, phases=(replace(first, **_BLANK),))
    return replace(arm.recipe, schedule=blank)


_BLANK: dict[str, Any] = {
    "epochs": 1.0,
    "updates": None,
    "examples": None,
    "learning_rate": 1.0,
    "batch_size": 1,
    "momentum": 0.0,
    "weight_decay": 0.0,
}


def _groups(tasks: Sequence[Task]) -> dict[Recipe, list[Task]]:
    groups: dict[Recipe, list[Task]] = {}
    for task in tasks:
        groups.setdefault(_kind(task.arm), []).append(task)
    return groups


def _branches(
    trainer: Trainer,
    progress: Progress,
    tasks: Sequence[Task],
    depth: int,
    report: Callable[[str, int], None],
) -> Iterator[tuple[Task, Record]]:
    """Train phase `depth` once per distinct phase and go on from its end."""
    by_row: dict[PlanRow, list[Task]] = {}
    for task in tasks:
        rows = task.arm.plan.rows
        if depth == len(rows):
            status = "diverged" if progress.diverged else "finished"
            plain = tuple({k: finite(v) for k, v in row.items()} for row in progress.rows)
            yield task, Record(task.identity, status, plain)
        else:
            by_row.setdefault(rows[depth], []).append(task)
    for row, group in by_row.items():
        recipe, name = group[0].arm.recipe, group[0].arm.name
        stops = stops_of(group[0].arm.plan, depth, recipe.run.evaluate_every)
        what = f"seed {progress.seed}, {name}"
        after = trainer.run_phase(progress, row, stops, partial(report, what))
        yield from _branches(trainer, after, group, depth + 1, report)


def curves_of(record: Record) -> SeedCurves:
    """The columns of a record at its evaluation epochs."""
    rows = [row for row in record.rows if row["train_error"] is not None]
    return SeedCurves(
        seed=record.identity["seed"],
        status=record.status,
        curves={name: [row[name] for row in rows] for name in COLUMNS},
    )


def distances_of(record: Record) -> dict[str, list[Any]]:
    """Distance from the initial weights at every update where it was measured."""
    by_update = {row["update"]: row["distance"] for row in record.rows if row["update"]}
    return {"update": list(by_update), "distance": list(by_update.values())}
