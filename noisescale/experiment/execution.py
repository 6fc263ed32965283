"""Train every seed of every arm; arms that share their first phases are run once through them."""

import shutil
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import equinox as eqx
import jax

from noisescale.analysis.plan import PlanRow
from noisescale.errors import InputError
from noisescale.experiment.conclusion import SeedCurves
from noisescale.experiment.specification import PlannedArm
from noisescale.recipe import Recipe
from noisescale.record import Record, RunFolder, run_id
from noisescale.training.batches import check_batches
from noisescale.training.checkpoints import Keeper
from noisescale.training.data import Dataset
from noisescale.training.models import build_model
from noisescale.training.provenance import identity_of, provenance
from noisescale.training.run import Progress, Trainer, Watch

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
# Further columns, of runs that measure them.
MEASURED = ("recalibrated_loss", "recalibrated_error", "hessian_eigenvalue")


@dataclass(frozen=True, slots=True)
class Task:
    """One seed of one arm still to be trained."""

    arm: PlannedArm
    seed: int
    folder: RunFolder


def execute(
    arms: Sequence[PlannedArm],
    dataset: Dataset,
    seeds: Sequence[int],
    folder: Path,
    report: Callable[[str, int], None],
    total: Callable[[int], None] = lambda updates: None,
    stop: Callable[[], bool] = lambda: False,
    judged: bool = True,
) -> dict[str, list[Record]]:
    """The records of all arms and seeds; those already in `folder` are read, not trained.

    Args:
        folder: holds ARM/seed-K of every finished run; each is written as soon as it is done. What
            is being trained has its checkpoints in .unfinished.
        report: hears (what is running, updates just done).
        total: hears once how many updates are left to do.
        stop: asked between stretches of updates; where it says True a checkpoint is saved.
        judged: the file's hash stands for all runs, so one that does not fit is trained again; in
            a sweep, whose file may change, it is refused.

    Raises:
        Stopped: `stop` said so.
    """
    records: dict[str, dict[int, Record]] = {arm.name: {} for arm in arms}
    tasks = []
    for arm in arms:
        for seed in seeds:
            target = folder / arm.name / f"seed-{seed:04d}"
            run = RunFolder(target, identity_of(arm.recipe, seed, dataset))
            found = _kept(run) if judged else run.finished()
            if found is None:
                tasks.append(Task(arm, seed, run))
            else:
                records[arm.name][seed] = found
    total(sum(work_of([t.arm for t in tasks if t.seed == seed]) for seed in seeds))
    trainers: dict[Recipe, Trainer] = {}
    beside = provenance()
    unfinished = folder / ".unfinished"
    for seed in seeds:
        mine = [task for task in tasks if task.seed == seed]
        for kind, group in _groups(mine).items():
            shared = programs_of(kind)
            if shared not in trainers:
                trainers[shared] = Trainer(shared, dataset)
            branches = _Branches(trainers[shared], dataset, seed, unfinished, report, stop, beside)
            start = trainers[shared].start(seed, kind.run.replica)
            for task, progress in branches.grow(start, group, 0):
                task.folder.begin(beside)
                task.folder.add_rows(progress.rows)
                status = "diverged" if progress.diverged else "finished"
                records[task.arm.name][seed] = task.folder.finish(status, updates=progress.update)
        shutil.rmtree(unfinished, ignore_errors=True)
    return {name: [by_seed[seed] for seed in seeds] for name, by_seed in records.items()}


def check_arms(arms: Sequence[PlannedArm], dataset: Dataset) -> None:
    """InputError that names an arm whose batches cannot be laid out, or its network not built."""
    key, shape = jax.random.key(0), dataset.image_shape
    built = set()
    for arm in arms:
        try:
            check_batches(arm.recipe, arm.plan)
            model = arm.recipe.model
            if model not in built and not model.own:
                eqx.filter_eval_shape(build_model, model, shape, dataset.classes, key)
                built.add(model)
        except InputError as error:
            raise InputError(f"arm {arm.name!r}: {error}") from None


def _kept(run: RunFolder) -> Record | None:
    """A finished run; one that is damaged, or of other versions or data, is trained again."""
    try:
        return run.finished()
    except InputError:
        return None


def work_of(arms: Sequence[PlannedArm]) -> int:
    """Updates of one seed of all arms, shared phases counted once."""
    return sum(rows[-1].updates for _, rows in trunks_of(arms))


def trunks_of(
    arms: Sequence[PlannedArm],
) -> dict[tuple[Recipe, tuple[PlanRow, ...]], PlannedArm]:
    """Every phase that one seed trains: its kind, the phases up to it, an arm that it is of."""
    found: dict[tuple[Recipe, tuple[PlanRow, ...]], PlannedArm] = {}
    for arm in arms:
        kind = _kind(arm)
        for number in range(len(arm.plan.rows)):
            found.setdefault((kind, arm.plan.rows[: number + 1]), arm)
    return found


def programs_of(kind: Recipe) -> Recipe:
    """What decides the compiled programs: not the schedule, nor the data order."""
    return replace(kind, run=replace(kind.run, replica=0))


def _kind(arm: PlannedArm) -> Recipe:
    """The recipe without its schedule: what must be equal for two arms to share phases."""
    recipe = arm.recipe
    # The smallest schedule that the rest of the recipe allows.
    batch_size = max(1, recipe.optimizer.noise_batch_size)
    first = replace(recipe.schedule.phases[0], **_BLANK, batch_size=batch_size)
    phases = (first,) * max(1, len(recipe.run.until_distance))
    return replace(recipe, schedule=replace(recipe.schedule, phases=phases))


_BLANK: dict[str, Any] = {
    "epochs": 1.0,
    "updates": None,
    "examples": None,
    "learning_rate": 1.0,
    "momentum": 0.0,
    "weight_decay": 0.0,
}


def _groups(tasks: Sequence[Task]) -> dict[Recipe, list[Task]]:
    groups: dict[Recipe, list[Task]] = {}
    for task in tasks:
        groups.setdefault(_kind(task.arm), []).append(task)
    return groups


@dataclass(frozen=True, slots=True)
class _Branches:
    """One seed's arms that share everything but their schedules, as a tree of phases."""

    trainer: Trainer
    dataset: Dataset
    seed: int
    folder: Path
    report: Callable[[str, int], None]
    stop: Callable[[], bool]
    provenance: dict[str, Any]

    def grow(
        self, progress: Progress, tasks: Sequence[Task], depth: int
    ) -> Iterator[tuple[Task, Progress]]:
        """Train phase `depth` once per distinct phase and go on from its end."""
        by_row: dict[PlanRow, list[Task]] = {}
        for task in tasks:
            rows = task.arm.plan.rows
            if depth == len(rows):
                yield task, progress
            else:
                by_row.setdefault(rows[depth], []).append(task)
        for group in by_row.values():
            after = self._phase(progress, group[0].arm, depth)
            yield from self.grow(after, group, depth + 1)

    def _phase(self, progress: Progress, arm: PlannedArm, depth: int) -> Progress:
        """The end of a phase, from its last checkpoint if there is one."""
        phases = arm.recipe.schedule.phases[: depth + 1]
        run = arm.recipe.run
        run = replace(run, until_distance=run.until_distance[: depth + 1])
        schedule = arm.recipe.schedule.with_phases(phases)
        so_far = replace(arm.recipe, schedule=schedule, run=run)
        identity = identity_of(so_far, self.seed, self.dataset)
        folder = RunFolder(self.folder / run_id(identity)[:16], identity)
        keeper = Keeper(folder, arm.recipe.run.checkpoint_seconds, self.stop, self.provenance)
        blank = self.trainer.blank(self.seed, arm.recipe.run.replica)
        found = keeper.resume(blank)
        what = f"seed {self.seed}, {arm.name}"
        if found is not None:
            self.report(what, found.update - progress.update)
            progress = self.trainer.placed(found)
        watch = Watch(report=partial(self.report, what), between=keeper.between)
        return self.trainer.run_phase(progress, arm.plan, depth, watch)


def curves_of(record: Record) -> SeedCurves:
    """The columns of a record at its evaluation epochs."""
    rows = [row for row in record.rows if row["train_error"] is not None]
    measured = [name for name in MEASURED if any(row.get(name) is not None for row in rows)]
    return SeedCurves(
        seed=record.identity["seed"],
        status=record.status,
        curves={name: [row[name] for row in rows] for name in (*COLUMNS, *measured)},
    )


def distances_of(record: Record) -> dict[str, list[Any]]:
    """Distance from the initial weights at every update where it was measured.

    Beside that of all weights that of the first tensor, where tensors were measured one by one.
    """
    by_update = {row["update"]: row for row in record.rows if row["update"]}
    found: dict[str, list[Any]] = {"update": list(by_update)}
    found["distance"] = [row["distance"] for row in by_update.values()]
    layers = [row.get("layers") for row in by_update.values()]
    if any(layers):
        found["first_tensor"] = [
            None if not tensors else next(iter(tensors.values()))["distance"] for tensors in layers
        ]
    return found
