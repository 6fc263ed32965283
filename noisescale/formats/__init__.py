"""Schedules as the files that trainers read: one small module per format."""

from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module

from noisescale.analysis.plan import Plan
from noisescale.analysis.schedule import Schedule
from noisescale.errors import InputError, unknown_name

FORMATS = ("toml", "json", "csv", "markdown", "optax", "pytorch")
# These list or count updates, so they need a plan.
_NEEDS_PLAN = ("csv", "markdown", "optax", "pytorch")


@dataclass(frozen=True, slots=True)
class Export:
    """What a format writes down.

    Args:
        title: a line that says what it is.
        plan: None where durations in epochs lack a train size; only TOML and JSON do without.
    """

    title: str
    schedule: Schedule
    train_size: int | None
    partial: str
    plan: Plan | None


def exported(what: Export, name: str) -> str:
    """The text of a schedule in one of FORMATS.

    Raises:
        InputError: an unknown format, or one that counts updates without a train size.
    """
    if name not in FORMATS:
        raise unknown_name("format", name, FORMATS)
    if what.plan is None and name in _NEEDS_PLAN:
        raise InputError(f"format {name} counts updates: give train_size (--train-size)")
    write: Callable[[Export], str] = import_module(f"noisescale.formats.{name}").write
    return write(what)
