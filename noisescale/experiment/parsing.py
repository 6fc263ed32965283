"""From an experiment file, or a built-in name, to an Experiment: every key checked."""

import hashlib
from collections.abc import Mapping
from dataclasses import fields
from importlib import resources
from pathlib import Path
from typing import Any

from noisescale.errors import InputError, shown, unknown_name
from noisescale.experiment.grid import arms_of, at_each_target
from noisescale.experiment.specification import (
    KINDS,
    METRICS,
    NAME,
    Arm,
    Control,
    Experiment,
    Gate,
    Prediction,
    Protocol,
)
from noisescale.recipe import parse_toml, read_text, recipe_from

# Data sets from the smallest to the largest.
_SIZES = ("digits", "mnist", "cifar10", "cifar100")
PRESETS = {
    "quick": "digits, about a minute",
    "cpu": "the largest data set that fits a CPU",
    "paper": "the published protocol",
}


def built_in() -> dict[str, dict[str, str]]:
    """The built-in experiments: the file for each of an experiment's data sets, smallest first.

    Files are EXPERIMENT.DATASET.toml, and EXPERIMENT.DATASET.paper.toml for a published protocol,
    which stands under "paper".
    """
    found: dict[str, dict[str, str]] = {}
    for file in (resources.files("noisescale.catalogue") / "experiments").iterdir():
        if file.name.endswith(".toml"):
            name, dataset, *paper = file.name.removesuffix(".toml").split(".")
            found.setdefault(name, {})[paper[0] if paper else dataset] = file.name
    order = {key: number for number, key in enumerate((*_SIZES, "paper"))}
    return {
        name: dict(sorted(files.items(), key=lambda item: order[item[0]]))
        for name, files in sorted(found.items())
    }


def presets_of(files: Mapping[str, str]) -> dict[str, str]:
    """The file of every preset that an experiment has.

    Args:
        files: by data set, as in built_in.
    """
    larger = [key for key in files if key not in ("digits", "paper")]
    found = {"quick": files.get("digits"), "cpu": files[larger[-1]] if larger else None}
    found["paper"] = files.get("paper")
    return {preset: file for preset, file in found.items() if file is not None}


def find_experiment(name: str, dataset: str | None = None, preset: str | None = None) -> Experiment:
    """A built-in experiment by name, or one from a file.

    Args:
        dataset: by default digits, or the only one that the experiment has.
        preset: one of PRESETS: a size of the experiment, which has its own data set.
    """
    if name.endswith(".toml") or "/" in name:
        if preset is not None:
            raise InputError(f"--preset {preset!r} belongs to built-in experiments, not to a file")
        experiment = read_experiment(Path(name))
        if dataset not in (None, experiment.base.data.name):
            raise InputError(
                f"the file's base has data.name={experiment.base.data.name!r}, --dataset says "
                f"{dataset!r}: change the file, since rates and margins belong to a data set"
            )
        return experiment
    known = built_in()
    if name not in known:
        raise unknown_name("experiment", name, known)
    file = _file_of(name, known[name], dataset, preset)
    folder = resources.files("noisescale.catalogue") / "experiments"
    return parse_experiment((folder / file).read_text("utf-8"), name)


def _file_of(name: str, files: Mapping[str, str], dataset: str | None, preset: str | None) -> str:
    sets = [key for key in files if key != "paper"]
    published = {file.split(".")[1] for key, file in files.items() if key == "paper"}
    if dataset is not None and dataset not in sets and not (preset and dataset in published):
        raise unknown_name(f"data set of {name}", dataset, sets)
    if preset is None:
        chosen = dataset or ("digits" if "digits" in sets or len(sets) > 1 else sets[0])
        if chosen not in sets:
            raise InputError(f"{name} is not on digits: give --dataset {' or '.join(sets)}")
        return files[chosen]
    if preset not in PRESETS:
        raise unknown_name("preset", preset, PRESETS)
    has = presets_of(files)
    if preset not in has:
        listed = ", ".join(f"{p} ({file.split('.')[1]})" for p, file in has.items())
        raise InputError(f"{name} has no preset {preset!r}: it has {listed}")
    on = has[preset].split(".")[1]
    if dataset not in (None, on):
        raise InputError(
            f"preset {preset!r} of {name} is on {on}, --dataset says {dataset!r}: leave out one"
        )
    return has[preset]


def read_experiment(path: Path) -> Experiment:
    """The experiment of a TOML file."""
    return parse_experiment(read_text(path), str(path))


def parse_experiment(text: str, origin: str) -> Experiment:
    """The experiment that a TOML document describes; `origin` names it in errors."""
    document = parse_toml(text, origin)
    known = ["name", "title", "base", "arm", "grid", "prediction", "gate", "control", "protocol"]
    # A sweep makes no claim, so that nothing has to be fixed beforehand.
    needed = ["name", "title", "base", "arm"]
    if "prediction" in document or not _sweeps(document):
        needed += ["prediction", "gate", "control", "protocol"]
    elif "grid" in document:
        needed.remove("arm")
    for key in document:
        if key not in known:
            raise unknown_name("key", key, known)
    for key in needed:
        if key not in document:
            listed = ", ".join(needed)
            raise InputError(f"{origin}: {key!r} is missing; an experiment needs {listed}")
    base_document = document["base"]
    if not isinstance(base_document, Mapping):
        raise InputError("[base] is not a table: write a recipe there")
    try:
        base = recipe_from(base_document)
    except InputError as error:
        raise InputError(f"[base] {error}") from None
    if base.partial != "carry":
        raise InputError(f"[base] partial={base.partial!r}: training uses 'carry' only")
    experiment = Experiment(
        name=_text("name", document["name"]),
        title=_text("title", document["title"]),
        base=base,
        base_document=base_document,
        arms=(
            *(
                _block(Arm, each, f"arm {i}")
                for i, block in _listed(document, "arm")
                for each in (at_each_target(block) if isinstance(block, Mapping) else [block])
            ),
            *arms_of(_table(document.get("grid", {}), "grid")),
        ),
        predictions=tuple(
            _block(Prediction, block, f"prediction {i}")
            for i, block in _listed(document, "prediction")
        ),
        gate=_block(Gate, document["gate"], "gate") if "gate" in document else None,
        control=_block(Control, document["control"], "control") if "control" in document else None,
        protocol=(
            _block(Protocol, document["protocol"], "protocol") if "protocol" in document else None
        ),
        sha256=hashlib.sha256(text.encode()).hexdigest(),
        text=text,
    )
    _check(experiment)
    return experiment


def _sweeps(document: Mapping[str, Any]) -> bool:
    """Whether the file asks for runs without a claim: no key of a claim is there."""
    return not {"prediction", "gate", "control"} & set(document) and (
        "grid" in document or "arm" in document
    )


def _table(block: object, where: str) -> Mapping[str, Any]:
    if not isinstance(block, Mapping):
        raise InputError(f"[{where}] is not a table of keys and values")
    return block


def _listed(document: Mapping[str, Any], key: str) -> list[tuple[int, Any]]:
    if key not in document:
        return []
    blocks = document[key]
    if not isinstance(blocks, list) or not blocks:
        raise InputError(f"write at least one [[{key}]]")
    return list(enumerate(blocks, 1))


def _text(name: str, value: object) -> str:
    if not isinstance(value, str) or not value:
        raise InputError(f"{name}={shown(value)}: it must be text")
    return value


def _block(kind: type[Any], block: object, where: str) -> Any:
    if not isinstance(block, Mapping):
        raise InputError(f"[{where}] is not a table of keys and values")
    if isinstance(block.get("name"), str):
        where = f"{where} {block['name']!r}"
    known = {f.name: f for f in fields(kind)}
    for key in block:
        if key not in known:
            raise InputError(f"{where}: {unknown_name('key', key, known)}")
    values = {}
    for key, value in block.items():
        wanted = str(known[key].type)
        if wanted.startswith("tuple"):
            fits = isinstance(value, list) and all(isinstance(v, str) for v in value)
            value = tuple(value) if fits else value
            what = "a list of names"
        elif wanted.startswith("collections") or "Mapping" in wanted:
            fits, what = isinstance(value, Mapping), "a table"
        elif "float" in wanted:
            fits = isinstance(value, int | float) and not isinstance(value, bool)
            fits, what = fits and abs(value) <= 1e100, "a finite number"
        elif "bool" in wanted:
            fits, what = isinstance(value, bool), "true or false"
        elif "int" in wanted:
            fits = isinstance(value, int) and not isinstance(value, bool)
            what = "a whole number"
        else:
            fits, what = isinstance(value, str), "text"
        if not fits:
            raise InputError(f"{where}: {key}={shown(value)} must be {what}")
        values[key] = value
    try:
        return kind(**values)
    except TypeError as error:
        missing = str(error).partition("argument")[2].strip(" s:") or str(error)
        raise InputError(f"{where}: missing {missing}") from None


def _check(experiment: Experiment) -> None:
    names = [arm.name for arm in experiment.arms]
    for name in (experiment.name, *names):
        if not NAME.fullmatch(name):
            raise InputError(
                f"name {shown(name)}: use up to 64 letters, digits, '.', '_' or '-', as in a "
                "file name"
            )
    for arm in experiment.arms:
        options = {
            "target_batch_size": arm.target_batch_size is not None,
            "max_batch_size": arm.max_batch_size is not None,
            "granularity": arm.granularity != 1,
        }
        given = [name for name, is_given in options.items() if is_given]
        if arm.route is None and given:
            raise InputError(f"arm {arm.name!r}: {given[0]} belongs to a route; give one")
    for listed, what in ((names, "arm"), ([p.name for p in experiment.predictions], "prediction")):
        twice = {name for name in listed if listed.count(name) > 1}
        if twice:
            raise InputError(f"{what} {sorted(twice)[0]!r} is named twice")
    if experiment.protocol is not None:
        for number in (experiment.protocol.train_size, experiment.protocol.epochs):
            if not number > 0:
                raise InputError(f"[protocol] {number!r}: sizes and epochs must be above 0")
    control = experiment.control
    if control is None or experiment.gate is None:
        return
    if not control.positive:
        raise InputError("control.positive is empty: name an arm that must be told apart")
    for name in (control.against, *control.positive, control.aa):
        if name not in names:
            raise unknown_name("arm in [control]", name, names)
    if experiment.gate.metric not in METRICS:
        raise unknown_name("metric in [gate]", experiment.gate.metric, METRICS)
    if not experiment.gate.below > 0:
        raise InputError(f"gate.below={experiment.gate.below:g}: it must be above 0")
    for name in experiment.gate.may_fail:
        if name not in names:
            raise unknown_name("arm in gate.may_fail", name, names)
        if name in (control.against, *control.positive, control.aa):
            raise InputError(
                f"gate.may_fail names {name!r}, which is in [control]: what a report rests on must "
                "not fail"
            )
    roles = (control.against, *control.positive, control.aa)
    if len(set(roles)) < len(roles):
        raise InputError(f"[control] names an arm in two roles: {', '.join(roles)}")
    for prediction in experiment.predictions:
        try:
            _check_prediction(prediction, names, control)
        except InputError as error:
            raise InputError(f"prediction {prediction.name!r}: {error}") from None


def _check_prediction(p: Prediction, names: list[str], control: Control) -> None:
    for value, what, known in (
        (p.kind, "kind", KINDS),
        (p.metric, "metric", METRICS),
        (p.at, "at", ("curve", "final")),
    ):
        if value not in known:
            raise unknown_name(what, value, known)
    for name in p.arms:
        if name not in names:
            raise unknown_name("arm", name, names)
    if (
        len(p.arms) != len(set(p.arms))
        or len(p.arms) < 2
        or (p.kind != "order" and len(p.arms) > 2)
    ):
        wanted = "two or more different arms" if p.kind == "order" else "two different arms"
        raise InputError(f"arms={list(p.arms)}: kind {p.kind!r} compares {wanted}")
    if p.kind != "same" and p.at == "curve":
        raise InputError(f"kind {p.kind!r} compares final values: leave out at = 'curve'")
    if p.margin < 0 or (p.kind == "same" and p.margin == 0):
        least = "above 0" if p.kind == "same" else "at least 0"
        raise InputError(f"margin={p.margin!r}: it must be {least}")
    if not 0 < p.level < 0.5:
        raise InputError(f"level={p.level!r}: it must lie in (0, 0.5)")
    for name in p.controls:
        if name not in control.positive:
            raise unknown_name("positive control", name, control.positive)
