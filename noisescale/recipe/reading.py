"""Recipes from TOML, JSON or a dict, every key checked."""

import tomllib
from collections.abc import Mapping
from dataclasses import fields
from itertools import pairwise
from pathlib import Path
from typing import Any, TypeVar

from noisescale.analysis.checks import (
    at_least_zero,
    choice,
    exact,
    fraction_below_one,
    listed,
    positive_integer,
    real_number,
)
from noisescale.analysis.plan import PARTIAL_BATCH_POLICIES
from noisescale.analysis.schedule import Phase, Schedule
from noisescale.errors import InputError, shown, unknown_name
from noisescale.recipe.sections import (
    DataConfig,
    ModelConfig,
    OptimizerConfig,
    ProbeConfig,
    Recipe,
    RunConfig,
)

Section = TypeVar("Section")
RECIPE_SCHEMA = "noisescale.recipe/1"


_PHASE_KEYS = tuple(f.name for f in fields(Phase))
# Keys of [optimizer] that phases without a value of their own take.
_PHASE_DEFAULTS = ("momentum", "weight_decay")
_TOP_LEVEL = ("title", "train_size", "partial", "ema_decay", "batch_norm_decay", "sources")
_SECTIONS: dict[str, type[Any]] = {
    "optimizer": OptimizerConfig,
    "model": ModelConfig,
    "data": DataConfig,
    "run": RunConfig,
    "probe": ProbeConfig,
}


def parse_toml(text: str, origin: str) -> dict[str, Any]:
    """The document as a dict; `origin` names it in the InputError if it is not TOML."""
    _check_text(text, origin)
    try:
        return tomllib.loads(text)
    except RecursionError:
        raise InputError(f"{origin} is nested too deeply: write flat tables") from None
    except ValueError as error:  # TOMLDecodeError, or an int of too many digits
        raise InputError(f"{origin} is not valid TOML: {error}") from None


def named_recipes() -> dict[str, str]:
    """The text of every recipe that ships with noisescale, by name."""
    from importlib.resources import files

    folder = files("noisescale.catalogue") / "recipes"
    found = sorted((f for f in folder.iterdir() if f.name.endswith(".toml")), key=lambda f: f.name)
    return {f.name.removesuffix(".toml"): f.read_text("utf-8") for f in found}


def named_document(name: str) -> dict[str, Any]:
    """A recipe that ships with noisescale, such as "smith2018-cifar10"."""
    known = named_recipes()
    return parse_toml(known[choice("recipe", name, known)], name)


def read_document(path: str | Path) -> dict[str, Any]:
    """A recipe from a TOML file, or from a JSON file (by its ending)."""
    text = read_text(path)
    if Path(path).suffix.lower() == ".json":
        return parse_json(text, str(path))
    return parse_toml(text, str(path))


def parse_json(text: str, origin: str) -> dict[str, Any]:
    """The document as a dict, without its schema; `origin` names it in the InputError."""
    import json

    _check_text(text, origin)

    def no_constant(name: str) -> None:
        raise ValueError(f"{name} is no number of JSON")

    def no_twin(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        table: dict[str, Any] = {}
        for key, value in pairs:
            if key in table:
                raise ValueError(f"key {shown(key)} stands twice in one object")
            table[key] = value
        return table

    try:
        document = json.loads(text, parse_constant=no_constant, object_pairs_hook=no_twin)
    except RecursionError:
        raise InputError(f"{origin} is nested too deeply: write flat tables") from None
    except ValueError as error:
        raise InputError(f"{origin} is not valid JSON: {error}") from None
    if not isinstance(document, dict):
        raise InputError(f"{origin} is not a JSON object with a recipe's keys")
    schema = document.pop("schema", RECIPE_SCHEMA)
    if schema != RECIPE_SCHEMA:
        raise InputError(f"{origin} has schema {shown(schema)}; a recipe's is {RECIPE_SCHEMA!r}")
    # JSON writes "not given" as null, TOML by silence.
    return {key: value for key, value in document.items() if value is not None}


def _check_text(text: object, origin: str) -> None:
    if not isinstance(text, str):
        raise InputError(f"{origin}: {shown(text)} is not text")


def read_text(path: str | Path) -> str:
    """The file's text; InputError where it is missing, unreadable or not UTF-8."""
    try:
        return Path(path).read_text("utf-8-sig")
    except FileNotFoundError:
        raise InputError(f"no file {str(path)!r}: check the path") from None
    except (TypeError, AttributeError):
        raise InputError(f"path={shown(path)}: give the name of a file") from None
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or "it is not UTF-8 text"
        raise InputError(f"cannot read {str(path)!r}: {reason}") from None


def schedule_from(
    document: Mapping[str, Any], *, to_train: bool = False
) -> tuple[Schedule, int | None, str]:
    """(schedule, train_size, partial) of a recipe; what only training needs is not read.

    optimizer.weight_decay and optimizer.momentum, if given, are those of phases that state none.

    Args:
        to_train: accept optimizers that can be trained but have no noise scale g = εN/(B(1−m)).
    """
    if not isinstance(document, Mapping):
        raise InputError(f"{shown(document)} is not a table of keys and values: give a recipe")
    known = [*_TOP_LEVEL, "phase", *_SECTIONS]
    for key in document:
        if key in _PHASE_KEYS:
            raise InputError(f"key {key!r} belongs to a phase: write it under [[phase]]")
        if key not in known:
            raise unknown_name("key", key, known)
    _check_sources(document)
    optimizer = _optimizer_of(document, to_train)
    defaults = {k: v for k, v in optimizer.items() if k in _PHASE_DEFAULTS}
    blocks = document.get("phase")
    if isinstance(blocks, Mapping):
        raise InputError("[phase] is one table: write [[phase]], in double brackets")
    if not isinstance(blocks, list | tuple) or not blocks:
        raise InputError("the recipe has no [[phase]] block: add at least one")
    phases = []
    for number, block in enumerate(blocks, 1):
        try:
            whole = {**defaults, **block} if isinstance(block, Mapping) else block
            phases.append(_from_mapping(Phase, whole, "key"))
        except InputError as error:
            raise InputError(f"phase {number}: {error}") from None
    train_size = document.get("train_size")
    if train_size is not None:
        train_size = positive_integer("train_size", train_size)
    partial = document.get("partial", "carry")
    choice("partial-batch policy", partial, PARTIAL_BATCH_POLICIES)
    schedule = Schedule(
        tuple(phases),
        decay=optimizer.get("decay", _plain_decay(optimizer)),
        ema_decay=document.get("ema_decay"),
        batch_norm_decay=document.get("batch_norm_decay"),
    )
    return schedule, train_size, partial


def _plain_decay(optimizer: Mapping[str, Any]) -> str:
    return "decoupled" if optimizer.get("name") == "adamw" else "coupled"


def _optimizer_of(document: Mapping[str, Any], to_train: bool) -> Mapping[str, Any]:
    """The [optimizer] block; keys that only training reads are known, and not checked further."""
    block = document.get("optimizer", {})
    if not isinstance(block, Mapping):
        raise InputError(f"[optimizer]: {shown(block)} is not a table of keys and values")
    known = ["name", *_PHASE_DEFAULTS, "decay"]
    known += [f.name for f in fields(OptimizerConfig) if f.name != "name"]
    for key in block:
        if key not in known:
            raise unknown_name("key in [optimizer]", key, known)
    if to_train:
        choice("optimizer", block.get("name", "sgd"), ["sgd", "adam", "adamw"])
    else:
        choice("optimizer", block.get("name", "sgd"), ["sgd"])
        if block.get("momentum_form") == "dampened":
            raise InputError(
                "optimizer.momentum_form='dampened' is 'trace' at the learning rate ε(1−m): "
                "write the recipe in that form"
            )
    for key, check in (("momentum", fraction_below_one), ("weight_decay", at_least_zero)):
        if key in block:
            check(f"optimizer.{key}", block[key])
    return block


def _check_sources(document: Mapping[str, Any]) -> None:
    """`title` is text, `sources` a table from keys of the recipe to where their values are from."""
    title, sources = document.get("title", ""), document.get("sources", {})
    if not isinstance(title, str):
        raise InputError(f"title={shown(title)}: it must be text")
    if not isinstance(sources, Mapping) or not all(isinstance(v, str) for v in sources.values()):
        raise InputError(f"sources={shown(sources)}: it must be a table of texts")


def recipe_from(document: Mapping[str, Any]) -> Recipe:
    """A whole recipe; every unknown key is an error that names the nearest known one."""
    schedule, train_size, partial = schedule_from(document, to_train=True)
    sections = {}
    for name, kind in _SECTIONS.items():
        block = document.get(name, {})
        if name == "optimizer" and isinstance(block, Mapping):
            # They are part of the schedule.
            block = {k: v for k, v in block.items() if k not in (*_PHASE_DEFAULTS, "decay")}
        try:
            sections[name] = _from_mapping(kind, block, "key")
        except InputError as error:
            raise InputError(f"[{name}]: {error}") from None
    return Recipe(schedule=schedule, train_size=train_size, partial=partial, **sections)


def _from_mapping(kind: type[Section], block: object, what: str) -> Section:
    if not isinstance(block, Mapping):
        raise InputError(f"{shown(block)} is not a table of keys and values")
    known = [f.name for f in fields(kind)]  # type: ignore[arg-type]
    for key in block:
        if key not in known:
            raise unknown_name(what, key, known)
    try:
        return kind(**block)
    except TypeError as error:
        missing = str(error).partition("argument")[2].strip(" s:") or str(error)
        raise InputError(f"missing {missing}") from None


def step_schedule(
    *,
    epochs: float,
    batch_size: int,
    learning_rate: float,
    momentum: float = 0.0,
    weight_decay: float = 0.0,
    milestones: tuple[float, ...] = (),
    decay_factor: float | None = None,
) -> Schedule:
    """ε_j = ε / f^j between milestones: the schedule that most recipes state.

    Args:
        epochs: total duration.
        milestones: epochs at which the learning rate is divided by `decay_factor`.
        decay_factor: f > 0; needed with milestones.

    Raises:
        InputError: milestones not increasing, outside (0, epochs), or without a factor.
    """
    hint = "it must be a finite number above 0"
    total = real_number("epochs", epochs, above=0.0, hint=hint)
    rate = real_number("learning_rate", learning_rate, above=0.0, hint=hint)
    milestones = tuple(listed("milestones", milestones, "give a list of epochs"))  # type: ignore[arg-type]
    if milestones and decay_factor is None:
        raise InputError("milestones need a decay_factor: by what is the learning rate divided?")
    factor = 1.0
    if decay_factor is not None:
        factor = real_number("decay_factor", decay_factor, above=0.0, hint=hint)
        if not milestones:
            raise InputError("decay_factor needs milestones: when does the learning rate drop?")
    times = [at_least_zero("milestones", m) for m in milestones]
    edges = [0.0, *times, total]
    for low, high in pairwise(edges):
        if not low < high:
            given = " ".join(f"{m:g}" for m in times)
            raise InputError(
                f"milestones {given} must increase from above 0 to below epochs={total:g}"
            )
    # Divided as decimals, so that 0.1 / 5 / 5 is 0.004 and the batch sizes come out whole.
    return Schedule(
        tuple(
            Phase(
                epochs=float(exact(high) - exact(low)),
                learning_rate=float(exact(rate) / exact(factor) ** number),
                batch_size=batch_size,
                momentum=momentum,
                weight_decay=weight_decay,
            )
            for number, (low, high) in enumerate(pairwise(edges))
        )
    )
