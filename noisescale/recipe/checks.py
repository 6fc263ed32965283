"""Checks of a recipe's values that are not numbers of a schedule."""

from noisescale.analysis.checks import real_number
from noisescale.errors import InputError, shown


def whole(name: str, value: object, low: int, high: int = 10**9) -> None:
    """InputError unless it is an integer from `low` to `high`."""
    if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
        raise InputError(f"{name}={shown(value)}: it must be a whole number from {low} to {high:,}")


def true_or_false(name: str, value: object) -> None:
    """InputError unless it is a truth value."""
    if not isinstance(value, bool):
        raise InputError(f"{name}={shown(value)}: it must be true or false")


def positive(name: str, value: object) -> float:
    """The number; InputError unless it is finite and above 0."""
    return real_number(name, value, above=0.0, hint="it must be a finite number above 0")
