"""`train`: a recipe's seeds, each in its folder, resumed where they stopped."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import jax

from noisescale.errors import InputError, shown
from noisescale.recipe import ModelConfig, Recipe, plan_of, read_document, recipe_from
from noisescale.record import Record, RunFolder, sole_user
from noisescale.training.batches import check_batches
from noisescale.training.checkpoints import Keeper, stop_on_sigterm
from noisescale.training.data import load_dataset
from noisescale.training.models import Factory
from noisescale.training.processes import copy_from_first, own_folder
from noisescale.training.provenance import identity_of, provenance
from noisescale.training.run import Trainer
from noisescale.training.seeds import Status as Status
from noisescale.training.seeds import Teller, train_seeds


def train(
    recipe: str | Path | Mapping[str, Any] | Recipe,
    directory: str | Path,
    *,
    resume: bool = True,
    report: Callable[[Status], None] | None = None,
    data_dir: str | Path | None = None,
    stop: Callable[[], bool] = lambda: False,
    model: Factory | None = None,
    parallel: int = 1,
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
        parallel: seeds trained at a time, each on a device of its own.

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
    devices = len(jax.local_devices())
    if not isinstance(parallel, int) or not 1 <= parallel <= devices:
        raise InputError(f"parallel={shown(parallel)}: there are {devices} devices, give 1 or more")
    if parallel > 1 and (resolved.run.devices != 1 or jax.process_count() > 1):
        raise InputError(f"parallel={parallel} gives every seed one device: set run.devices = 1")
    make = partial(Trainer, resolved, dataset, model)
    trainer = make()
    seeds = range(resolved.run.seeds)
    with own_folder(_folder(directory)) as root:
        folders = {
            seed: RunFolder(root / f"seed-{seed:04d}", identity_of(resolved, seed, dataset, model))
            for seed in seeds
        }
        if resume:
            for folder in folders.values():
                copy_from_first(folder.folder)
                folder.finished()  # all of them are looked at before any work
        _claim(root)
        beside, seconds = provenance(), resolved.run.checkpoint_seconds
        with sole_user(root), stop_on_sigterm(stop) as asked:
            records = train_seeds(
                (lambda: trainer) if parallel == 1 else make,
                plan,
                folders,
                Teller(report, plan, len(seeds)),
                keeper=lambda folder, stop: Keeper(folder, seconds, stop, beside),
                stop=asked,
                resume=resume,
                parallel=parallel,
            )
    rows = tuple({"seed": seed, **row} for seed, record in records.items() for row in record.rows)
    diverged = any(record.status == "diverged" for record in records.values())
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
