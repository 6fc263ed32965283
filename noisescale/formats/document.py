"""A schedule as plain tables: what TOML and JSON hold and what `noisescale.recipe` reads."""

from collections.abc import Mapping
from dataclasses import fields
from typing import Any

from noisescale.analysis.schedule import Phase
from noisescale.analysis.shapes import Duration, Shape
from noisescale.formats import Export


def document_of(what: Export) -> dict[str, Any]:
    """The recipe's keys; those that were not given are left out."""
    schedule = what.schedule
    document: dict[str, Any] = {"title": what.title, "partial": what.partial}
    for key, value in (
        ("train_size", what.train_size),
        ("ema_decay", schedule.ema_decay),
        ("batch_norm_decay", schedule.batch_norm_decay),
    ):
        if value is not None:
            document[key] = value
    document["phase"] = [phase_table(phase) for phase in schedule.phases]
    if schedule.decay != "coupled":
        document["optimizer"] = {"name": schedule.optimizer, "decay": schedule.decay}
    return document


def phase_table(phase: Phase) -> dict[str, Any]:
    """A phase's keys and values."""
    rate = phase.learning_rate
    return {
        **_plain(phase.duration),
        "batch_size": phase.batch_size,
        "learning_rate": shape_table(rate) if isinstance(rate, Shape) else rate,
        "momentum": phase.momentum,
        "weight_decay": phase.weight_decay,
    }


def shape_table(shape: Shape) -> dict[str, Any]:
    """A shape's keys and values, as they are written in a recipe."""
    table = _plain(shape)
    if shape.milestones:
        units = {m.unit for m in shape.milestones}
        if len(units) == 1:
            (unit,) = units
            table["milestones"] = {unit: [getattr(m, unit) for m in shape.milestones]}
        else:
            table["milestones"] = [_plain(m) for m in shape.milestones]
    return table


def _plain(value: Any) -> dict[str, Any]:
    table = {}
    for entry in fields(value):
        given = getattr(value, entry.name)
        if given is None:
            continue
        if isinstance(given, Duration) or (hasattr(given, "duration")):
            given = _plain(given)
        table[entry.name] = given
    return table


def inline(table: Mapping[str, Any]) -> str:
    """A small table on one line, in TOML's notation."""

    def text(value: Any) -> str:
        if isinstance(value, Mapping):
            return inline(value)
        if isinstance(value, list | tuple):
            return "[" + ", ".join(map(text, value)) + "]"
        return f'"{value}"' if isinstance(value, str) else repr(value)

    return "{" + ", ".join(f"{key} = {text(value)}" for key, value in table.items()) + "}"
