"""What is committed of the study's runs, and the verdicts that follow from it."""

import json
from pathlib import Path
from typing import Any

import numpy as np

from noisescale.analysis.growth import MOMENTS, Growth, growth_of
from noisescale.analysis.roughness.landscape import Landscape
from noisescale.analysis.run_groups.runs import MeasuredRun
from noisescale.analysis.walk import Trajectory, WalkVerdict, judge_walk
from noisescale.formats.measured import read_runs
from noisescale.formats.trajectories import read_trajectories

RESULTS = Path(__file__).resolve().parent / "results"
# Of long runs every second sketch is kept.
LONG = 10_000
_SETTINGS = ("batch_size", "learning_rate", "momentum", "train_size", "seed", "replica")


def collect(task: str, runs: Path) -> None:
    """Write TASK.npz (curves and sketches, rounded) and TASK.json (settings, verdicts)."""
    RESULTS.mkdir(exist_ok=True)
    arrays: dict[str, np.ndarray] = {}
    settings = []
    trajectories = read_trajectories(sorted(runs.glob("batch-*")))
    for number, t in enumerate(trajectories):
        settings.append({name: getattr(t, name) for name in _SETTINGS})
        assert t.positions is not None and t.weight_norm is not None
        step = 2 if t.update[-1] > LONG else 1
        chosen = np.arange(len(t.update) - 1, -1, -step)[::-1]
        arrays |= {
            f"{number}-update": t.update.astype(np.int32),
            f"{number}-distance": t.distance.astype(np.float32),
            f"{number}-weight_norm": t.weight_norm.astype(np.float32),
            f"{number}-chosen": chosen.astype(np.int16),
            f"{number}-positions": t.positions[chosen].astype(np.float16),
        }
        if t.update_norm is not None:
            arrays[f"{number}-update_norm"] = t.update_norm.astype(np.float32)
    noise = runs / "noise-scale"
    folders = [noise] if noise.exists() else sorted(runs.glob("batch-*"))
    moments = read_runs(
        folders,
        clock="update",
        columns={"distance": "distance"},
        optional={name: f"gradient_moments.{name}" for name in MOMENTS},
    )
    kept = [run for run in moments if all(name in run.columns for name in MOMENTS)]
    for number, run in enumerate(kept):
        names = ("update", "distance", *MOMENTS)
        arrays[f"moments-{number}"] = np.array([run.columns[n] for n in names], np.float64)
    # Losses in 7 digits, as they were computed.
    landscapes = {
        folder.name: json.loads((folder / "landscape.json").read_text())
        for folder in sorted((runs / "landscape").glob("seed-*"))
    }
    for name, landscape in landscapes.items():
        arrays[f"landscape-{name}"] = np.array(
            [landscape["rays"]["length"], *landscape["rays"]["loss"]], np.float32
        )
        arrays[f"points-{name}"] = np.array(list(landscape["points"].values()), np.float32)
    np.savez_compressed(RESULTS / f"{task}.npz", **arrays)  # type: ignore[arg-type]
    document: dict[str, Any] = {
        "schema": "noisescale.is-it-a-walk/1",
        "task": task,
        "runs": settings,
        "moments": [{name: getattr(run, name) for name in _SETTINGS} for run in kept],
        "start_loss": {name: one["loss"] for name, one in landscapes.items()},
        "evaluations": _evaluations(runs),
    }
    write(task, document)
    write(task, document | {"verdicts": verdicts(task)})


def write(task: str, document: dict[str, Any]) -> None:
    (RESULTS / f"{task}.json").write_text(json.dumps(document, indent=1, allow_nan=False) + "\n")


def _evaluations(runs: Path) -> dict[str, dict[str, list[float]]]:
    """Final training loss and test error of every arm, seed by seed."""
    found = {}
    for folder in sorted(runs.glob("batch-*")):
        finals: dict[str, list[float]] = {"update": [], "train_loss": [], "evaluation_error": []}
        for seed in sorted(folder.glob("seed-*")):
            rows = [json.loads(line) for line in (seed / "rows.jsonl").read_text().splitlines()]
            last = [row for row in rows if row["train_loss"] is not None][-1]
            for name, values in finals.items():
                values.append(last[name])
        found[folder.name] = finals
    return found


def document(task: str) -> dict[str, Any]:
    """TASK.json."""
    return json.loads((RESULTS / f"{task}.json").read_text())


def _arrays(task: str) -> Any:
    return np.load(RESULTS / f"{task}.npz")


def walk(task: str) -> WalkVerdict:
    """Judged anew from the committed sketches."""
    arrays, trajectories = _arrays(task), []
    for number, run in enumerate(document(task)["runs"]):
        chosen = arrays[f"{number}-chosen"]
        column = {
            name: arrays[f"{number}-{name}"].astype(np.float64)
            for name in ("update", "distance", "positions", "weight_norm", "update_norm")
            if f"{number}-{name}" in arrays
        }
        start = {"update": 0.0, "distance": 0.0, "update_norm": 0.0}
        at = {
            name: np.concatenate([[start[name]], column[name][chosen]])
            for name in start
            if name in column
        }
        norms = column["weight_norm"]
        trajectories.append(
            Trajectory(
                **{name: run[name] for name in _SETTINGS},
                **at,
                weight_norm=np.concatenate([norms[:1], norms[1:][chosen]]),
                positions=np.concatenate(
                    [np.zeros((1, column["positions"].shape[1])), column["positions"]]
                ),
            )
        )
    return judge_walk(trajectories)


def laws(task: str, window: tuple[float, float] | None = None) -> tuple[Growth, ...]:
    """Growth laws of every batch size, fitted anew to the committed distances."""
    arrays, runs = _arrays(task), []
    for number, run in enumerate(document(task)["runs"]):
        columns = {n: arrays[f"{number}-{n}"].astype(np.float64) for n in ("update", "distance")}
        settings = {**run, "batch_size": float(run["batch_size"])}
        runs.append(MeasuredRun(f"{task} {number}", columns, **settings))
    return growth_of(runs, window=window)


def noise_scale(task: str) -> tuple[Growth, ...]:
    """The gradient noise scale over time, where it was measured."""
    arrays, runs = _arrays(task), []
    names = ("update", "distance", *MOMENTS)
    for number, run in enumerate(document(task)["moments"]):
        columns = dict(zip(names, arrays[f"moments-{number}"], strict=True))
        settings = {**run, "batch_size": float(run["batch_size"])}
        runs.append(MeasuredRun(f"{task} {number}", columns, **settings))
    return growth_of(runs) if runs else ()


def landscapes(task: str) -> dict[str, Landscape]:
    """The loss around the initial weights of every seed."""
    from noisescale.analysis.roughness.landscape import judge_landscape

    arrays, found = _arrays(task), {}
    for name, start in document(task)["start_loss"].items():
        rays, points = arrays[f"landscape-{name}"], arrays[f"points-{name}"]
        found[name] = judge_landscape(rays[0], rays[1:], start, points=(points[0], points[1]))
    return found


def verdicts(task: str) -> dict[str, Any]:
    """All verdicts, as they stand in TASK.json."""
    judged = walk(task)
    return {
        "walk": {"verdict": judged.verdict, "reason": judged.reason},
        "laws": {g.label: g.laws.verdict for g in laws(task)},  # type: ignore[union-attr]
        "landscapes": {name: one.verdict for name, one in landscapes(task).items()},
    }


def last_update(task: str) -> int:
    """Updates of every run."""
    return int(_arrays(task)["0-update"][-1])
