"""The whole of `verify`: train, judge, write results.json, report.md and figures."""

import json
import platform
import re
import shutil
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from noisescale.cores import usable_cores
from noisescale.errors import InputError, shown
from noisescale.experiment.conclusion import SeedCurves, conclude
from noisescale.experiment.report import markdown_report
from noisescale.experiment.specification import Experiment, PlannedArm
from noisescale.record import Record, finite, sole_user, write_text

SCHEMA = "noisescale.verify/1"
MOST_SEEDS = 10_000
PROVENANCE_SCHEMA = "noisescale.provenance/1"
FILES = (
    "results.json",
    "experiment.toml",
    "report.md",
    "curves.png",
    "schedules.png",
    "distance.png",
    "provenance.json",
)


@dataclass(frozen=True, slots=True)
class Verified:
    """results.json as a dict, and the files written."""

    results: dict[str, Any]
    files: tuple[Path, ...]


def verify(
    experiment: Experiment,
    out: Path,
    *,
    data_dir: Path | None = None,
    seeds: int | None = None,
    report: Callable[[str, int], None] = lambda what, updates: None,
    total: Callable[[int], None] = lambda updates: None,
    stop: Callable[[], bool] = lambda: False,
) -> Verified:
    """Train every arm of an experiment that `out` does not hold yet, and judge its predictions.

    Args:
        out: folder of results.json, report.md, experiment.toml, provenance.json (with the commit,
            which decides no number), the figures and runs/.
        data_dir: where data sets that are not embedded lie.
        seeds: how many seeds (0 … seeds−1); by default what the base recipe says.
        report: hears (what is running, updates just done).
        total: hears once how many updates are left to do.
        stop: asked between stretches of updates; where it says True a checkpoint is saved.

    Raises:
        InputError: bad data, or an `out` that holds another experiment; before any training.
    """
    from noisescale.experiment.execution import check_arms, curves_of, distances_of, execute
    from noisescale.training.data import load_dataset
    from noisescale.training.provenance import provenance

    seeds = experiment.base.run.seeds if seeds is None else seeds
    if isinstance(seeds, bool) or not isinstance(seeds, int) or not 1 <= seeds <= MOST_SEEDS:
        raise InputError(f"seeds={shown(seeds)}: it must be from 1 to {MOST_SEEDS:,}")
    dataset = load_dataset(experiment.base.data, data_dir)
    arms = experiment.planned(dataset.train_size)
    check_arms(arms, dataset)
    _claim(out, experiment)
    origin = provenance()
    judged = bool(experiment.predictions)
    with sole_user(out):
        records = execute(arms, dataset, range(seeds), out / "runs", report, total, stop, judged)
    curves = {name: [curves_of(record) for record in listed] for name, listed in records.items()}
    results = {
        "schema": SCHEMA,
        "experiment": experiment.name,
        "title": experiment.title,
        "experiment_sha256": experiment.sha256,
        "provenance": _provenance(),
        "fraction_of_protocol": experiment.fraction_of_protocol(dataset.train_size),
        "protocol": None if experiment.protocol is None else asdict(experiment.protocol),
        "data": {
            "name": dataset.name,
            "train_size": dataset.train_size,
            "evaluation_split": dataset.evaluation_split,
            "evaluation_size": len(dataset.evaluation_labels),
            "sha256": dataset.fingerprint,
        },
        "arms": [
            _arm_entry(experiment, arm, curves[arm.name], records[arm.name], distances_of)
            for arm in arms
        ],
        **_rounded(
            conclude(experiment, dataset.train_size, len(dataset.evaluation_labels), curves)
        ),
    }
    beside = out / "provenance.json"
    write_text(beside, json_text({"schema": PROVENANCE_SCHEMA, **origin}))
    return Verified(results, (*write_report(results, experiment, out), beside))


def write_report(results: dict[str, Any], experiment: Experiment, out: Path) -> tuple[Path, ...]:
    """Write results.json, experiment.toml, report.md and the figures of `results` to `out`."""
    from noisescale.plots import save, verify_figures

    planned = experiment.planned(results["data"]["train_size"])
    files = [out / name for name in FILES[:3]]
    write_text(files[0], json_text(results))
    write_text(files[1], experiment.text)
    write_text(files[2], markdown_report(results))
    for name, figure in verify_figures(results, {a.name: a.plan for a in planned}).items():
        save(figure, out / f"{name}.png")
        files.append(out / f"{name}.png")
    return tuple(files)


def json_text(results: dict[str, Any]) -> str:
    """Indented JSON with every list of numbers on one line, so that a diff can be read."""
    text = json.dumps(results, indent=1, allow_nan=False)
    return re.sub(r"\[\n[^\[\]{}\"]*\]", lambda m: re.sub(r"\s+", "", m[0]), text) + "\n"


def curves_from(results: dict[str, Any]) -> dict[str, list[SeedCurves]]:
    """The curves of a results.json, as `conclude` takes them."""
    return {
        arm["name"]: [SeedCurves(s["seed"], s["status"], s["curves"]) for s in arm["seeds"]]
        for arm in results["arms"]
    }


def conclusions_of(experiment: Experiment, results: dict[str, Any]) -> dict[str, Any]:
    """What `conclude` says of a results.json, rounded as it is there."""
    if experiment.sha256 != results["experiment_sha256"]:
        raise InputError("results.json belongs to another version of the experiment file")
    data = results["data"]
    sizes = (data["train_size"], data["evaluation_size"])
    return dict(_rounded(conclude(experiment, *sizes, curves_from(results))))


def _claim(out: Path, experiment: Experiment) -> None:
    """Make `out` if need be; refuse one that cannot be written or holds something else."""
    former = out / "experiment.toml"
    try:
        changed = former.exists() and former.read_bytes() != experiment.text.encode()
        # A sweep may grow: its runs are told apart one by one.
        if changed and (experiment.predictions or b"[[prediction]]" in former.read_bytes()):
            raise InputError(
                f"{str(out)!r} holds the results of another experiment file: choose another --out"
            )
        out.mkdir(parents=True, exist_ok=True)
        (out / "runs").mkdir(exist_ok=True)
        for name in FILES:
            if (out / name).is_dir():
                raise InputError(f"{str(out / name)!r} is a folder: choose another --out")
        with tempfile.TemporaryFile(dir=out):
            pass
    except OSError as error:
        raise InputError(
            f"cannot write to {shown(str(out))} ({error.strerror}): choose another --out"
        ) from None
    write_text(former, experiment.text)
    # Drafts of a run that was killed while it was being written.
    for draft in (out / "runs").glob("*/.seed-*"):
        shutil.rmtree(draft, ignore_errors=True)


def _provenance() -> dict[str, Any]:
    import jax

    import noisescale

    versions = {}
    for name in ("jax", "jaxlib", "equinox", "numpy", "scipy"):
        versions[name] = __import__(name).__version__
    return {
        "noisescale": noisescale.__version__,
        "python": platform.python_version(),
        "platform": platform.platform(),
        "device": jax.devices()[0].device_kind,
        "threads": usable_cores(),
        "versions": versions,
    }


def _arm_entry(
    experiment: Experiment,
    arm: PlannedArm,
    curves: Sequence[SeedCurves],
    records: Sequence[Record],
    distances_of: Callable[[Record], dict[str, list[Any]]],
) -> dict[str, Any]:
    role = "arm"
    control = experiment.control
    if control is not None and arm.name in control.positive:
        role = "positive control"
    elif control is not None and arm.name == control.aa:
        role = "A/A control"
    return {
        "name": arm.name,
        "role": role,
        "updates": arm.plan.updates,
        "phases": [row.described() for row in arm.plan.rows],
        "seeds": [
            {
                "seed": one.seed,
                "status": one.status,
                "curves": dict(one.curves),
                "distances": distances_of(record),
            }
            for one, record in zip(curves, records, strict=True)
        ],
    }


def _rounded(value: Any) -> Any:
    if isinstance(value, dict):
        return {k: _rounded(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [_rounded(v) for v in value]
    return finite(value)
