"""Environment after environment into a folder, from which a stopped simulation goes on."""

import platform
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from noisescale.errors import InputError
from noisescale.record import Record, RunFolder, sole_user
from noisescale.simulation.methods import environment, measure, whole_steps
from noisescale.simulation.rates import hop_rates
from noisescale.simulation.specification import Simulation

_LIBRARIES = ("numpy", "scipy", "numba", "jax")
_SECONDS_BETWEEN_CHECKPOINTS = 10.0


class Stopped(SystemExit):
    """The simulation was asked to stop and what it has is saved; uncaught, the exit code is 143."""

    def __init__(self) -> None:
        super().__init__(143)


def simulate(
    simulation: Simulation,
    directory: str | Path,
    *,
    resume: bool = True,
    report: Callable[[int, dict[str, Any]], None] | None = None,
    stop: Callable[[], bool] = lambda: False,
) -> Record:
    """Measure every environment; rows are written environment by environment.

    The rows depend on the simulation alone: neither on when it was stopped nor on threads. More
    environments can be asked for later, those that are there are kept.

    Args:
        simulation: what to do.
        directory: made if missing; holds recipe.json, rows.jsonl, result.json.
        resume: go on with what is there; False begins anew.
        report: called after every environment with its number + 1 and its last row.
        stop: asked between environments.

    Returns:
        The record; its rows are those of `methods.measure`.

    Raises:
        InputError: the folder holds another simulation.
        Stopped: `stop` said so.
    """
    folder = Path(directory)
    if folder.is_file():
        raise InputError(f"{str(folder)!r} is a file: choose another folder")
    _check_first(simulation)
    folder.mkdir(parents=True, exist_ok=True)
    with sole_user(folder):
        run = RunFolder(folder, _identity(simulation))
        rows = _begin(run, resume, simulation)
        if isinstance(rows, Record):
            return rows
        done = _environments(rows)
        saved = time.monotonic()
        for number in range(done, simulation.environments):
            if stop():
                run.save({}, {"environments": number})
                raise Stopped
            rows += tuple(measure(simulation, number))
            run.add_rows(rows)
            if time.monotonic() - saved > _SECONDS_BETWEEN_CHECKPOINTS:
                run.save({}, {"environments": number + 1})
                saved = time.monotonic()
            if report:
                report(number + 1, rows[-1])
        return _part(run.finish("finished", updates=_environments(rows)), simulation)


def _check_first(simulation: Simulation) -> None:
    """What the first environment would refuse is refused before there is a folder."""
    if simulation.method == "walkers":
        whole_steps(simulation.log_times)
    if simulation.method != "valleys":
        hop_rates(environment(simulation, 0), simulation.temperature, simulation.rates)


def _begin(run: RunFolder, resume: bool, simulation: Simulation) -> "Record | tuple[Any, ...]":
    finished = run.finished() if resume else None
    if finished is not None:
        if _environments(finished.rows) < simulation.environments:
            return run.reopen()
        return _part(finished, simulation)
    checkpoint = run.resume() if resume else None
    if checkpoint is not None:
        return checkpoint.rows
    run.begin(_provenance())
    return ()


def _part(record: Record, simulation: Simulation) -> Record:
    # The folder may hold more environments than are asked for.
    wanted = tuple(row for row in record.rows if row["seed"] < simulation.environments)
    return Record(record.identity, record.status, wanted)


def _environments(rows: tuple[dict[str, Any], ...]) -> int:
    return 1 + max((row["seed"] for row in rows), default=-1)


def _identity(simulation: Simulation) -> dict[str, Any]:
    # Not how many environments: those that are there serve a larger simulation as well.
    decisive = {k: v for k, v in simulation.as_dict().items() if k != "environments"}
    return {
        "simulation": decisive,
        "distances": simulation.distances.tolist(),
        "versions": _versions(simulation),
    }


def _versions(simulation: Simulation) -> dict[str, str]:
    from importlib.metadata import version

    needed = {"walkers": "jax"}.get(simulation.method)
    names = [n for n in _LIBRARIES if n != "jax" or n == needed]
    return {"noisescale": version("noisescale"), **{name: version(name) for name in names}}


def _provenance() -> dict[str, Any]:
    return {"python": platform.python_version(), "platform": platform.platform()}
