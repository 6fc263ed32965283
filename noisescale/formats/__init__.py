"""Schedules as the files that trainers read: one small module per format."""

from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module

from noisescale.analysis.checks import choice
from noisescale.analysis.plan import Plan
from noisescale.analysis.schedule import Schedule
from noisescale.errors import InputError, shown

FORMATS = ("toml", "json", "csv", "markdown", "optax", "pytorch")
# These list or count updates, so they need a plan.
_NEEDS_PLAN = ("csv", "markdown", "optax", "pytorch")


@dataclass(frozen=True, slots=True)
class Export:
    """What a format writes down.

    Args:
        title: a line that says what it is.
        plan: None where durations in epochs lack a train size; only TOML and JSON do without.
        split: per phase (micro-batch, steps, devices), if a batch is to be split.
    """

    title: str
    schedule: Schedule
    train_size: int | None
    partial: str
    plan: Plan | None
    split: tuple[tuple[int, int, int], ...] | None = None

    @property
    def start(self) -> int:
        """Examples that were seen before a run that was cut."""
        return 0 if self.schedule.resumed is None else self.schedule.resumed.examples

    @property
    def momentum_factor(self) -> float:
        """(1−m)/(1−m'): what the buffer of a run that was cut is multiplied with."""
        if self.schedule.resumed is None:
            return 1.0
        return (1 - self.schedule.resumed.momentum) / (1 - self.schedule.phases[0].momentum)

    @property
    def micro_batch_size(self) -> int | None:
        """The most examples that a device takes at once, where a split is given."""
        return None if self.split is None else max(micro for micro, _, _ in self.split)


def exported(what: Export, name: str) -> str:
    """The text of a schedule in one of FORMATS.

    Raises:
        InputError: an unknown format, or one that counts updates without a train size.
    """
    choice("format", name, FORMATS)
    if not isinstance(what, Export):
        raise InputError(f"what={shown(what)}: give an Export")
    if what.plan is None and name in _NEEDS_PLAN:
        raise InputError(f"format {name} counts updates: give train_size (--train-size)")
    write: Callable[[Export], str] = import_module(f"noisescale.formats.{name}").write
    return write(what)
