"""Run folders as trajectories of the weights, and the losses around their initial weights."""

import json
from collections.abc import Sequence
from os import PathLike
from pathlib import Path

import numpy as np

from noisescale.analysis.roughness.landscape import Landscape, judge_landscape
from noisescale.analysis.walk import Trajectory
from noisescale.analysis.walk.trajectory import FEWEST_TIMES
from noisescale.errors import InputError, shown
from noisescale.formats.measured import ROWS, facts_of, run_folders
from noisescale.formats.measured_lines import CutOff, read_lines

LANDSCAPE = "landscape.json"


def read_trajectories(paths: Sequence[str | PathLike[str]]) -> list[Trajectory]:
    """Runs at a constant learning rate, batch size and momentum, from their folders.

    Args:
        paths: run folders, or folders of run folders.

    Raises:
        InputError: not a run folder; settings that change during the run.
    """
    found = []
    for folder in [f for path in paths for f in run_folders(Path(path))]:
        trajectory = _read(folder)
        if trajectory is not None:
            found.append(trajectory)
    return found


def _read(folder: Path) -> Trajectory | None:
    """None for a run that diverged or was measured too rarely."""
    facts = facts_of(folder)
    if not facts:
        raise InputError(f"{folder}: it has no recipe.json, so that its batch size is not known")
    lines = [line.fields for line in read_lines(folder / ROWS) if not isinstance(line, CutOff)]
    if facts["diverged"] or sum(row.get("sketch") is not None for row in lines) <= FEWEST_TIMES:
        return None
    settings = {name: facts[name] for name in ("train_size", "seed", "replica")}
    try:
        return Trajectory.from_rows(lines, **settings)
    except InputError as error:
        raise InputError(f"{folder}: {error}") from None


def read_landscapes(folders: Sequence[Path], *, level: float = 0.95) -> dict[str, Landscape]:
    """Judged losses around initial weights, by run folder, where landscape.json holds rays."""
    found = {}
    for folder in [f for path in folders for f in run_folders(path)]:
        path = folder / LANDSCAPE
        try:
            document = json.loads(path.read_bytes())
        except FileNotFoundError:
            continue
        except OSError as error:
            raise InputError(f"cannot read {shown(str(path))}: {error.strerror}") from None
        except (ValueError, RecursionError):
            raise InputError(f"{shown(str(path))} is damaged: it is not JSON") from None
        try:
            rays, points = document["rays"], document.get("points")
            # Losses are recorded as the float32 that they were computed in.
            found[str(folder)] = judge_landscape(
                rays["length"],
                np.array(rays["loss"], np.float32),
                document["loss"],
                points=None if points is None else (points["length"], points["loss"]),
                level=level,
            )
        except (KeyError, TypeError, ValueError) as error:
            if isinstance(error, InputError):
                raise InputError(f"{path}: {error}") from None
            raise InputError(
                f"{shown(str(path))} is damaged: it holds no losses along rays"
            ) from None
    return found
