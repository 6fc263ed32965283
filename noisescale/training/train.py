"""`train`: a recipe's seeds, each in its folder, resumed where they stopped."""

import json
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from noisescale.analysis.plan import Plan
from noisescale.errors import InputError, shown
from noisescale.recipe import ModelConfig, Recipe, plan_of, read_document, recipe_from
from noisescale.record import Record, RunFolder, sha256_of, sole_user, write_text
from noisescale.training.batches import check_batches
from noisescale.training.checkpoints import Keeper, arrays_of, stop_on_sigterm
from noisescale.training.data import load_dataset
from noisescale.training.models import Factory
from noisescale.training.provenance import identity_of, provenance
from noisescale.training.run import Progress, Stopwatch, Trainer, Watch

LANDSCAPE_SCHEMA = "noisescale.landscape/1"


@dataclass(frozen=True, slots=True)
class Status:
    """How far training is.

    Args:
        update, updates: of this seed.
        done, total: updates of all seeds; what earlier calls did counts as done.
        examples_per_second: of this seed since it went on, evaluations included; 0 at first.
        row: the last measurement with a loss.
    """

    seed: int
    update: int
    updates: int
    done: int
    total: int
    examples_per_second: float
    row: Mapping[str, Any]


def train(
    recipe: str | Path | Mapping[str, Any] | Recipe,
    directory: str | Path,
    *,
    resume: bool = True,
    report: Callable[[Status], None] | None = None,
    data_dir: str | Path | None = None,
    stop: Callable[[], bool] = lambda: False,
    model: Factory | None = None,
) -> Record:
    """Train every seed of a recipe: w_{k+1} = w_k − ε_k · (what its optimizer makes of ∇L_B(w_k)).

    Args:
        recipe: a TOML or JSON file, its content as a dict, or a Recipe.
        directory: gets a folder seed-0000 … per seed, with rows.jsonl (measurements), timing.jsonl,
            recipe.json, provenance.json, result.json, weights.npz and, until it is finished,
            checkpoint.npz.
        resume: finished seeds are read and a stopped one goes on to identical weights and rows;
            False: what the directory holds of these seeds is replaced.
        report: hears a Status after every stretch of updates.
        data_dir: where data sets that are not embedded lie.
        stop: asked between stretches of updates; where it says True a checkpoint is saved. SIGTERM
            does the same, unless the program handles it itself.
        model: makes the network instead of the recipe's [model]: (image_shape, classes, key=) → an
            Equinox module from one image (height, width, channels) to its logits, or a
            noisescale.training.models.Network.

    Returns:
        The rows of all seeds, each with its "seed"; "diverged" if one of them is.

    Raises:
        InputError: a malformed recipe, missing data, or a directory that holds something else;
            before any work.
        Stopped: asked to stop, and the checkpoint is saved. It is a SystemExit with code 143.
    """
    resolved = _resolved(recipe)
    for name, given in (("report", report), ("stop", stop)):
        if given is not None and not callable(given):
            raise InputError(f"{name}={shown(given)}: give a function")
    if model is not None:
        resolved = replace(resolved, model=_own(resolved.model, model))
    dataset = load_dataset(resolved.data, None if data_dir is None else _folder(data_dir))
    plan = plan_of(resolved, dataset.train_size)
    check_batches(resolved, plan)
    root = _folder(directory)
    seeds = range(resolved.run.seeds)
    folders = [
        RunFolder(root / f"seed-{seed:04d}", identity_of(resolved, seed, dataset, model))
        for seed in seeds
    ]
    if resume:
        for folder in folders:
            folder.finished()  # all of them are looked at before any work
    trainer = Trainer(resolved, dataset, model)
    _claim(root)
    records, beside = [], provenance()
    with sole_user(root), stop_on_sigterm(stop) as stop:
        for seed, folder in zip(seeds, folders, strict=True):
            record = folder.finished() if resume else None
            if record is None:
                keeper = Keeper(folder, resolved.run.checkpoint_seconds, stop, beside)
                teller = _Teller(report, seed, plan, len(seeds))
                record = _train_seed(trainer, plan, seed, folder, keeper, teller, resume)
            records.append(record)
    rows = tuple(
        {"seed": seed, **row}
        for seed, record in zip(seeds, records, strict=True)
        for row in record.rows
    )
    diverged = any(record.status == "diverged" for record in records)
    identity = {**records[0].identity, "seed": list(seeds)}
    return Record(identity, "diverged" if diverged else "finished", rows)


def _resolved(recipe: str | Path | Mapping[str, Any] | Recipe) -> Recipe:
    if isinstance(recipe, Recipe):
        return recipe
    if isinstance(recipe, str | Path):
        return recipe_from(read_document(recipe))
    if isinstance(recipe, Mapping):
        return recipe_from(recipe)
    raise InputError(f"recipe={shown(recipe)}: give a file, a dict or a Recipe")


def _own(config: ModelConfig, factory: Factory) -> ModelConfig:
    """The [model] block for a network made by `factory`: its own name, batch norm as it is."""
    if not callable(factory):
        raise InputError(f"model={shown(factory)}: give a function or class")
    name = f"{getattr(factory, '__module__', '')}:{getattr(factory, '__qualname__', 'factory')}"
    plain = ModelConfig(name=name, batch_norm=config.batch_norm)
    return replace(
        plain,
        ghost_batch_size=config.ghost_batch_size,
        partial_ghost=config.partial_ghost,
        running_statistics=config.running_statistics,
        dtype=config.dtype,
    )


def _folder(name: str | Path) -> Path:
    if not isinstance(name, str | Path):
        raise InputError(f"{shown(name)}: give the name of a folder")
    return Path(name)


def _claim(root: Path) -> None:
    """Make the folder if need be; refuse one that cannot be written."""
    import tempfile

    try:
        root.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=root):
            pass
    except OSError as error:
        raise InputError(
            f"cannot write to {shown(str(root))} ({error.strerror}): choose another folder"
        ) from None


class _Teller:
    """Turns stretches of updates into a Status."""

    def __init__(
        self, report: Callable[[Status], None] | None, seed: int, plan: Plan, seeds: int
    ) -> None:
        self._report, self._seed, self._plan = report, seed, plan
        self._total = seeds * plan.updates
        self._began: tuple[float, int] | None = None

    def tell(self, progress: Progress) -> None:
        now = (time.monotonic(), progress.examples)
        if self._began is None:
            self._began = now
        if self._report is None:
            return
        seconds = now[0] - self._began[0]
        speed = (now[1] - self._began[1]) / seconds if seconds > 0 else 0.0
        done = self._seed * self._plan.updates + progress.update
        losses = [row for row in progress.rows if row["train_loss"] is not None]
        row = losses[-1] if losses else {}
        self._report(
            Status(self._seed, progress.update, self._plan.updates, done, self._total, speed, row)
        )


def _train_seed(
    trainer: Trainer,
    plan: Plan,
    seed: int,
    folder: RunFolder,
    keeper: Keeper,
    teller: _Teller,
    resume: bool,
) -> Record:
    replica = trainer.recipe.run.replica
    blank = trainer.blank(seed, replica)
    progress = keeper.resume(blank) if resume else None
    if progress is not None:
        progress = trainer.placed(progress)
    else:
        keeper.begin()
        _look_around(trainer, blank, folder)
        progress = trainer.start(seed, replica)
        folder.add_rows(progress.rows)
    clock, began, before = Stopwatch(), time.monotonic(), len(progress.rows)

    def between(now: Progress) -> None:
        nonlocal before
        folder.add_rows(now.rows)
        if len(now.rows) > before:
            folder.add_timing(_timing(now, clock, time.monotonic() - began))
            before = len(now.rows)
        keeper.between(now)
        teller.tell(now)

    teller.tell(progress)
    for number in range(max(progress.phase, 0), len(plan.rows)):
        progress = trainer.run_phase(progress, plan, number, Watch(between=between, clock=clock))
    weights = {
        **{f"weights.{name}": a for name, a in arrays_of(progress.state.weights).items()},
        **{f"statistics{name}": a for name, a in arrays_of(progress.state.statistics).items()},
    }
    return folder.finish(
        "diverged" if progress.diverged else "finished",
        weights,
        updates=progress.update,
        weights_sha256=sha256_of(weights),
    )


def _timing(progress: Progress, clock: Stopwatch, seconds: float) -> dict[str, float | int]:
    """Seconds since the run began or was resumed, and where they went."""
    return {
        "update": progress.update,
        "seconds": seconds,
        "train_seconds": clock.train,
        "evaluation_seconds": clock.evaluate,
        "probe_seconds": clock.probe,
    }


def _look_around(trainer: Trainer, blank: Progress, folder: RunFolder) -> None:
    """landscape.json, where a landscape is asked for."""
    found = trainer.landscape(blank)
    if found:
        text = json.dumps({"schema": LANDSCAPE_SCHEMA, **found}, allow_nan=False)
        write_text(folder.folder / "landscape.json", text + "\n")
