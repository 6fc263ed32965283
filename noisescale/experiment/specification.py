"""What an experiment file says: arms, predictions, gate and controls, fixed before training."""

import copy
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from itertools import pairwise
from typing import Any

from noisescale.analysis.equivalence import equivalents
from noisescale.analysis.plan import Plan
from noisescale.analysis.schedule import Schedule
from noisescale.analysis.shapes import Shape
from noisescale.errors import InputError, unknown_name
from noisescale.recipe import Recipe, check_length, recipe_from

# Losses are compared as ratios (differences of logarithms), errors as differences.
METRICS = ("train_loss", "train_error", "evaluation_loss", "evaluation_error")
KINDS = ("same", "worse", "order")
_AUGMENTATION = ("augmentation", "augmentation_parameters", "padding", "fill")
OVERRIDABLE = ("phase", "optimizer", "model", "data", "run", "probe")
# Names become folders and files.
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Arm:
    """One recipe of the experiment: the base, changed by a route or by overrides.

    Args:
        route: of noisescale.equivalents, applied to the base's schedule.
        target_batch_size, max_batch_size, granularity: its options.
        override: dotted keys of the base and their new values; "phase.x" sets every phase,
            "phase.1.x" the first.
        replica: the same initial weights with the data order of this number.
        full_batch: gradient descent, B = N, for as many updates as the base makes.
        not_decayed: every phase with the first one's learning rate.
    """

    name: str
    route: str | None = None
    target_batch_size: int | None = None
    max_batch_size: int | None = None
    granularity: int = 1
    override: Mapping[str, Any] = field(default_factory=dict)
    replica: int = 0
    full_batch: bool = False
    not_decayed: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Prediction:
    """A claim about arms, with the numbers that decide it.

    Args:
        kind: "same" (two arms), "worse" (the second is worse), "order" (each worse than the
            one before).
        metric: one of METRICS.
        at: "curve" (log-spaced epochs after the arms part) or "final" (each arm at its own last
            evaluation, so that arms may last longer than others).
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
    """Every seed of every arm must end with `metric` under `below`, or the report is void.

    Args:
        may_fail: arms for which failing is an answer, such as a rate that is expected to be too
            high; a diverged seed of theirs counts with the worst error it ever had.
    """

    metric: str
    below: float
    may_fail: tuple[str, ...] = ()


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
    """A whole experiment file; a sweep has neither predictions nor what judges them."""

    name: str
    title: str
    base: Recipe
    base_document: Mapping[str, Any]
    arms: tuple[Arm, ...]
    predictions: tuple[Prediction, ...]
    gate: Gate | None
    control: Control | None
    protocol: Protocol | None
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
        # Augmentation happens in the update; everything else of [data] makes another data set.
        drawn = {f: getattr(self.base.data, f) for f in _AUGMENTATION}
        if replace(recipe.data, **drawn) != self.base.data:
            raise InputError(
                "it changes [data] other than its augmentation: the arms of an experiment share "
                "one data set"
            )
        if recipe.run.seeds != self.base.run.seeds:
            raise InputError("it changes run.seeds: all arms are trained with the same seeds")
        if recipe.run.evaluate_every != self.base.run.evaluate_every:
            raise InputError("it changes run.evaluate_every: arms are compared at equal epochs")
        check_length(plan, recipe.run.evaluate_every)

    def _check_roles(self, arms: Mapping[str, PlannedArm]) -> None:
        """Controls and comparisons that could not say anything are errors, not results."""
        control = self.control
        if control is None:
            return
        against, again = arms[control.against], arms[control.aa]
        order = replace(again.recipe.run, replica=against.recipe.run.replica)
        same_run = replace(again.recipe, run=order) == against.recipe
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
        compared = {control.against, *control.positive, control.aa}
        compared.update(name for p in self.predictions if p.at == "curve" for name in p.arms)
        for arm in (arms[name] for name in arms if name in compared):
            if any(arm.recipe.run.until_distance):
                raise InputError(
                    f"arm {arm.name!r} ends a phase at a distance, so its length is not known: "
                    "controls, and arms of predictions with at = 'curve', are compared at equal "
                    "epochs; compare its final values"
                )
            if _epochs(arm) != _epochs(against):
                raise InputError(
                    f"arm {arm.name!r} lasts {_epochs(arm):g} epochs and {control.against!r} "
                    f"{_epochs(against):g}: controls, and arms of predictions with at = 'curve', "
                    "are compared at equal epochs"
                )
        for p in self.predictions:
            for first, second in pairwise(p.arms):
                if shared_epochs(arms[first], arms[second]) == _epochs(arms[first]):
                    raise InputError(
                        f"prediction {p.name!r}: {first!r} and {second!r} are one run to the "
                        "end, so there is nothing to compare; change an arm"
                    )

    def fraction_of_protocol(self, train_size: int) -> float | None:
        """Training examples of the baseline over those of the published protocol, if there is one.

        The baseline is what the controls stand against, in a sweep the first arm.
        """
        if self.protocol is None:
            return None
        name = self.arms[0].name if self.control is None else self.control.against
        baseline = next(a for a in self.planned(train_size) if a.name == name)
        return baseline.plan.examples / (self.protocol.train_size * self.protocol.epochs)

    def _recipe(self, arm: Arm, train_size: int) -> Recipe:
        document = copy.deepcopy(dict(self.base_document))
        for key, value in arm.override.items():
            _override(document, key, value)
        if arm.replica:
            _override(document, "run.replica", arm.replica)
        recipe = recipe_from(document)
        if arm.not_decayed:
            recipe = replace(recipe, schedule=not_decayed(recipe.schedule))
        if arm.full_batch:
            recipe = replace(recipe, schedule=full_batch(recipe.schedule, train_size))
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


def not_decayed(schedule: Schedule) -> Schedule:
    """Every phase with the first one's learning rate: of a shape, that before any decay.

    Raises:
        InputError: a schedule that does not decay.
    """
    first = schedule.phases[0].learning_rate
    rate = first.start if isinstance(first, Shape) else first
    phases = [replace(p, learning_rate=rate) for p in schedule.phases]
    if phases == list(schedule.phases):
        raise InputError("not_decayed = true, but the base's learning rate never changes")
    return schedule.with_phases(phases)


def full_batch(schedule: Schedule, train_size: int) -> Schedule:
    """B = N in every phase, for as many updates as the schedule makes."""
    rows = schedule.plan(train_size, "carry").rows
    phases = [
        replace(phase, epochs=None, examples=None, updates=row.updates, batch_size=train_size)
        for phase, row in zip(schedule.phases, rows, strict=True)
        if row.updates
    ]
    return schedule.with_phases(phases)


def _epochs(arm: PlannedArm) -> float:
    return float(arm.plan.rows[-1].end_examples / (arm.plan.train_size or 1))


def shared_epochs(a: PlannedArm, b: PlannedArm) -> float:
    """Epochs over which two arms are one run: equal first phases and equal everything else."""
    # One by one: Adam's recipe with SGD's schedule would be no recipe.
    others = (f.name for f in fields(a.recipe) if f.name != "schedule")
    if any(getattr(a.recipe, name) != getattr(b.recipe, name) for name in others):
        return 0.0
    shared = 0.0
    distances = a.recipe.run.until_distance
    for number, (row_a, row_b) in enumerate(zip(a.plan.rows, b.plan.rows, strict=False)):
        # Where a distance ends a phase, nobody knows beforehand how long it is shared.
        if row_a != row_b or any(distances[number : number + 1]):
            break
        shared = float(row_a.end_examples / (a.plan.train_size or 1))
    return shared


def _override(document: dict[str, Any], key: str, value: Any) -> None:
    section, dot, name = key.partition(".")
    if isinstance(value, Mapping) and not dot and section in OVERRIDABLE:
        inner = next(iter(value), "learning_rate")
        raise InputError(f'override {section} is a table: quote the key, as in "{key}.{inner}" = …')
    if not dot or not name:
        raise InputError(f"override {key!r}: write section.key, such as phase.batch_size")
    if section not in OVERRIDABLE:
        raise unknown_name("section in override", section, OVERRIDABLE)
    if section == "phase":
        number, inner, field_name = name.partition(".")
        phases = document.get("phase", [])
        if inner:
            if not number.isdecimal() or not 1 <= int(number) <= len(phases):
                raise InputError(
                    f"override {key!r}: there is no such phase; number them from 1 to {len(phases)}"
                )
            phases, name = [phases[int(number) - 1]], field_name
        for phase in phases:
            phase[name] = value
    else:
        document.setdefault(section, {})[name] = value
