"""What decides a run's numbers, and where they come from."""

import hashlib
import platform
import subprocess
import sys
from dataclasses import asdict, replace
from functools import cache
from pathlib import Path
from typing import Any

import equinox as eqx
import jax

from noisescale.cores import usable_cores
from noisescale.recipe import Recipe, RunConfig
from noisescale.training.data import Dataset
from noisescale.training.drivers import driver_of
from noisescale.training.models import Factory, build_model

LIBRARIES = ("numpy", "scipy", "jax", "jaxlib", "equinox", "optax")


def identity_of(
    recipe: Recipe, seed: int, dataset: Dataset, factory: Factory | None = None
) -> dict[str, Any]:
    """Everything that decides a run's numbers: equal identities give identical weights and rows."""
    import noisescale

    plain = RunConfig()
    run = replace(
        recipe.run,
        seeds=1,
        checkpoint_seconds=plain.checkpoint_seconds,
        driver=driver_of(recipe),
        devices=recipe.run.devices or len(jax.devices()),
    )
    own = {}
    if recipe.model.own:
        # What a recipe does not tell of one's own module: its structure.
        shape, key = dataset.image_shape, jax.random.key(0)
        found = build_model(recipe.model, shape, dataset.classes, key, factory)
        own = {"module": hashlib.sha256(eqx.tree_pformat(found).encode()).hexdigest()}
    return {
        "recipe": asdict(replace(recipe, run=run, train_size=None)),
        **own,
        "seed": seed,
        "train_size": dataset.train_size,
        "data": dataset.fingerprint,
        "device": jax.devices()[0].device_kind,
        "threads": usable_cores(),
        "versions": {
            "noisescale": noisescale.__version__,
            **{name: library_versions()[name] for name in LIBRARIES if name != "scipy"},
        },
    }


@cache
def library_versions() -> dict[str, str]:
    """Versions of the libraries that compute."""
    from importlib.metadata import version

    return {name: version(name) for name in LIBRARIES}


def provenance() -> dict[str, Any]:
    """Versions, platform and devices, and the commit of noisescale if it runs from a checkout."""
    import noisescale

    return {
        "noisescale": noisescale.__version__,
        **_commit(),
        "command": [Path(sys.argv[0]).name, *(_told(argument) for argument in sys.argv[1:])],
        "python": platform.python_version(),
        "platform": platform.platform(),
        "devices": [device.device_kind for device in jax.devices()],
        "processes": jax.process_count(),
        "threads": usable_cores(),
        "versions": library_versions(),
    }


def _told(argument: str) -> str:
    """Where folders lie on a machine is nobody else's business; their names are told."""
    return f"…/{Path(argument).name}" if Path(argument).is_absolute() else argument


def _commit() -> dict[str, Any]:
    root = Path(__file__).resolve().parents[2]
    if not (root / ".git").exists():
        return {"commit": None, "uncommitted_changes": None}

    def git(*arguments: str) -> str:
        command = ["git", "-C", str(root), *arguments]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()

    try:
        changed = bool(git("status", "--porcelain", "--untracked-files=no"))
        return {"commit": git("rev-parse", "HEAD"), "uncommitted_changes": changed}
    except (OSError, subprocess.CalledProcessError):
        return {"commit": None, "uncommitted_changes": None}
