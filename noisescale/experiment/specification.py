"""What an experiment file says: arms, predictions, gate and controls, fixed before training."""

import copy
import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from importlib import resources
from itertools import pairwise
from pathlib import Path
from typing import Any

from noisescale.analysis.equivalence import equivalents
from noisescale.analysis.schedule import Plan, shown
from noisescale.errors import InputError, unknown_name
from noisescale.recipe import Recipe, parse_toml, read_text, recipe_from

# Losses are compared as ratios (differences of logarithms), errors as differences.
METRICS = ("train_loss", "train_error", "evaluation_loss", "evaluation_error")
KINDS = ("same", "worse", "order")
OVERRIDABLE = ("phase", "optimizer", "model", "data", "run")
# Names become folders and files.
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
MOST_UPDATES, MOST_EVALUATIONS = 10**9, 10**5


@dataclass(frozen=True, slots=True, kw_only=True)
class Arm:
    """One recipe of the experiment: the base, changed by a route or by overrides.

    Args:
        route: of noisescale.equivalents, applied to the base's schedule.
        target_batch_size, max_batch_size, granularity: its options.
        override: dotted keys of the base and their new values; "phase.x" sets every phase.
    """

    name: str
    route: str | None = None
    target_batch_size: int | None = None
    max_batch_size: int | None = None
    granularity: int = 1
    override: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Prediction:
    """A claim about arms, with the numbers that decide it.

    Args:
        kind: "same" (two arms), "worse" (the second is worse), "order" (each worse than the
            one before).
        metric: one of METRICS.
        at: "curve" (log-spaced epochs after the arms part) or "final".
        margin: the smallest difference that counts; of logarithms for losses.
        level: one-sided error allowed.
        controls: positive controls that must be told from the baseline in this metric; by
            default all of [control].
    """

    name: str
    statement: str
    kind: str
    arms: tuple[str, ...]
    metric: str
    margin: float
    at: str = "final"
    level: float = 0.05
    controls: tuple[str, ...] = ()
    source: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Gate:
    """Every seed of every arm must end with `metric` under `below`, or the report is void."""

    metric: str
    below: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Control:
    """Arms that must be told from `against` (positive), and one that must not (aa)."""

    against: str
    positive: tuple[str, ...]
    aa: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Protocol:
    """The published experiment that this one scales down."""

    source: str
    dataset: str
    model: str
    train_size: int
    epochs: float


@dataclass(frozen=True, slots=True)
class PlannedArm:
    """An arm resolved for a train size."""

    name: str
    recipe: Recipe
    plan: Plan


@dataclass(frozen=True, slots=True, kw_only=True)
class Experiment:
    """A whole experiment file."""

    name: str
    title: str
    base: Recipe
    base_document: Mapping[str, Any]
    arms: tuple[Arm, ...]
    predictions: tuple[Prediction, ...]
    gate: Gate
    control: Control
    protocol: Protocol
    sha256: str
    text: str

    def planned(self, train_size: int) -> tuple[PlannedArm, ...]:
        """Every arm with its recipe and its plan in whole updates at N = train_size.

        Raises:
            InputError: a route that cannot apply, or an override that makes no recipe.
        """
        if self.base.train_size not in (None, train_size):
            raise InputError(
                f"base.train_size={self.base.train_size}, but the data set has {train_size} "
                "training examples: correct or remove it"
            )
        planned = []
        for arm in self.arms:
            try:
                recipe = self._recipe(arm, train_size)
                plan = recipe.schedule.plan(train_size, "carry")
                self._check_arm(recipe, plan)
            except InputError as error:
                raise InputError(f"arm {arm.name!r}: {error}") from None
            planned.append(PlannedArm(arm.name, recipe, plan))
        self._check_roles({arm.name: arm for arm in planned})
        return tuple(planned)

    def _check_arm(self, recipe: Recipe, plan: Plan) -> None:
        if recipe.data != self.base.data:
            raise InputError("it changes [data]: the arms of an experiment share one data set")
        if recipe.run.evaluate_every != self.base.run.evaluate_every:
            raise InputError("it changes run.evaluate_every: arms are compared at equal epochs")
        evaluations = float(plan.rows[-1].end_examples) / (plan.train_size or 1)
        evaluations /= recipe.run.evaluate_every
        if plan.updates > MOST_UPDATES or evaluations > MOST_EVALUATIONS:
            raise InputError(
                f"its plan has {plan.updates:.3g} updates and {evaluations:.3g} evaluations; at "
                f"most {MOST_UPDATES:.0e} and {MOST_EVALUATIONS:.0e} can be run"
            )

    def _check_roles(self, arms: Mapping[str, PlannedArm]) -> None:
        """Controls and comparisons that could not say anything are errors, not results."""
        control = self.control
        against, again = arms[control.against], arms[control.aa]
        same_run = replace(again.recipe, run=against.recipe.run) == against.recipe
        if not same_run or again.recipe.run.replica == against.recipe.run.replica:
            raise InputError(
                f"the A/A control {control.aa!r} must be {control.against!r} with nothing changed "
                'but the data order: override = { "run.replica" = 1 }'
            )
        for name in control.positive:
            if shared_epochs(against, arms[name]) == _epochs(against):
                raise InputError(
                    f"the positive control {name!r} is the same run as {control.against!r}: "
                    "change what it must be told apart by"
                )
        for arm in arms.values():
            if _epochs(arm) != _epochs(against):
                raise InputError(
                    f"arm {arm.name!r} lasts {_epochs(arm):g} epochs and {control.against!r} "
                    f"{_epochs(against):g}: arms are compared at equal epochs"
                )
        for p in self.predictions:
            for first, second in pairwise(p.arms):
                if shared_epochs(arms[first], arms[second]) == _epochs(arms[first]):
                    raise InputError(
                        f"prediction {p.name!r}: {first!r} and {second!r} are one run to the "
                        "end, so there is nothing to compare; change an arm"
                    )

    def fraction_of_protocol(self, train_size: int) -> float:
        """Training examples seen per arm, over those of the published protocol."""
        baseline = next(a for a in self.planned(train_size) if a.name == self.control.against)
        return baseline.plan.examples / (self.protocol.train_size * self.protocol.epochs)

    def _recipe(self, arm: Arm, train_size: int) -> Recipe:
        document = copy.deepcopy(dict(self.base_document))
        for key, value in arm.override.items():
            _override(document, key, value)
        recipe = recipe_from(document)
        if arm.route is None:
            return recipe
        (found,) = equivalents(
            recipe.schedule,
            train_size,
            routes=[arm.route],
            target_batch_size=arm.target_batch_size,
            max_batch_size=arm.max_batch_size,
            granularity=arm.granularity,
        )
        return replace(recipe, schedule=found.schedule)


def _epochs(arm: PlannedArm) -> float:
    return float(arm.plan.rows[-1].end_examples / (arm.plan.train_size or 1))


def shared_epochs(a: PlannedArm, b: PlannedArm) -> float:
    """Epochs over which two arms are one run: equal first phases and equal everything else."""
    if replace(a.recipe, schedule=b.recipe.schedule) != b.recipe:
        return 0.0
    shared = 0.0
    for row_a, row_b in zip(a.plan.rows, b.plan.rows, strict=False):
        if row_a != row_b:
            break
        shared = float(row_a.end_examples / (a.plan.train_size or 1))
    return shared


def _override(document: dict[str, Any], key: str, value: Any) -> None:
    section, dot, name = key.partition(".")
    if not dot or not name:
        raise InputError(f"override {key!r}: write section.key, such as phase.batch_size")
    if section not in OVERRIDABLE:
        raise unknown_name("section in override", section, OVERRIDABLE)
    if section == "phase":
        for phase in document.get("phase", []):
            phase[name] = value
    else:
        document.setdefault(section, {})[name] = value


def built_in() -> dict[str, list[str]]:
    """Names of the built-in experiments and the data sets that each one has."""
    found: dict[str, list[str]] = {}
    for file in (resources.files("noisescale.catalogue") / "experiments").iterdir():
        if file.name.endswith(".toml"):
            name, _, dataset = file.name.removesuffix(".toml").rpartition(".")
            found.setdefault(name, []).append(dataset)
    return {name: sorted(datasets) for name, datasets in sorted(found.items())}


def find_experiment(name: str, dataset: str | None = None) -> Experiment:
    """A built-in experiment by name (data set: digits by default), or one from a file."""
    if name.endswith(".toml") or "/" in name:
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
    dataset = "digits" if dataset is None else dataset
    if dataset not in known[name]:
        raise unknown_name(f"data set of {name}", dataset, known[name])
    folder = resources.files("noisescale.catalogue") / "experiments"
    return parse_experiment((folder / f"{name}.{dataset}.toml").read_text("utf-8"), name)


def read_experiment(path: Path) -> Experiment:
    """The experiment of a TOML file."""
    return parse_experiment(read_text(path), str(path))


def parse_experiment(text: str, origin: str) -> Experiment:
    """The experiment that a TOML document describes; `origin` names it in errors."""
    document = parse_toml(text, origin)
    known = ["name", "title", "base", "arm", "prediction", "gate", "control", "protocol"]
    for key in document:
        if key not in known:
            raise unknown_name("key", key, known)
    for key in known:
        if key not in document:
            listed = ", ".join(known)
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
        arms=tuple(_block(Arm, block, f"arm {i}") for i, block in _listed(document, "arm")),
        predictions=tuple(
            _block(Prediction, block, f"prediction {i}")
            for i, block in _listed(document, "prediction")
        ),
        gate=_block(Gate, document["gate"], "gate"),
        control=_block(Control, document["control"], "control"),
        protocol=_block(Protocol, document["protocol"], "protocol"),
        sha256=hashlib.sha256(text.encode()).hexdigest(),
        text=text,
    )
    _check(experiment)
    return experiment


def _listed(document: Mapping[str, Any], key: str) -> list[tuple[int, Any]]:
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
    control = experiment.control
    if not control.positive:
        raise InputError("control.positive is empty: name an arm that must be told apart")
    for name in (control.against, *control.positive, control.aa):
        if name not in names:
            raise unknown_name("arm in [control]", name, names)
    if experiment.gate.metric not in METRICS:
        raise unknown_name("metric in [gate]", experiment.gate.metric, METRICS)
    if not experiment.gate.below > 0:
        raise InputError(f"gate.below={experiment.gate.below:g}: it must be above 0")
    roles = (control.against, *control.positive, control.aa)
    if len(set(roles)) < len(roles):
        raise InputError(f"[control] names an arm in two roles: {', '.join(roles)}")
    for number in (experiment.protocol.train_size, experiment.protocol.epochs):
        if not number > 0:
            raise InputError(f"[protocol] {number!r}: sizes and epochs must be above 0")
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
        raise InputError(f"margin={p.margin!r}: it must be above 0")
    if not 0 < p.level < 0.5:
        raise InputError(f"level={p.level!r}: it must lie in (0, 0.5)")
    for name in p.controls:
        if name not in control.positive:
            raise unknown_name("positive control", name, control.positive)
