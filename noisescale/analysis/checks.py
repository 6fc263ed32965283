"""Numbers as they are given: checked, kept exact, and shown in one line."""

from collections.abc import Iterable
from fractions import Fraction
from functools import lru_cache
from math import inf, isfinite
from numbers import Integral, Real

from noisescale.errors import InputError, shown, unknown_name

LARGEST_INTEGER = 10**18
SMALLEST_REAL, LARGEST_REAL = 1e-100, 1e100


@lru_cache(maxsize=1 << 16)  # schedules repeat their numbers, and parsing them takes longest
def exact(value: float | int) -> Fraction:
    """The decimal number as it was written: 0.1 is 1/10, not its binary neighbour."""
    return Fraction(int(value)) if isinstance(value, Integral) else Fraction(repr(float(value)))


def half_up(value: Fraction) -> int:
    """⌊value + ½⌋."""
    return (2 * value.numerator + value.denominator) // (2 * value.denominator)


def positive_integer(name: str, value: object) -> int:
    """`value` as an int from 1 to 10^18 (1e6 is one), or an InputError that names it."""
    if isinstance(value, float) and value.is_integer() and abs(value) <= 2**53:
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, Integral) or int(value) < 1:
        raise InputError(f"{name}={shown(value)}: it must be a whole number of at least 1")
    if int(value) > LARGEST_INTEGER:
        raise InputError(f"{name}={shown(value)}: it must be at most {LARGEST_INTEGER:.0e}")
    return int(value)


def real_number(
    name: str, value: object, *, above: float | None = None, low: float = 0.0, hint: str
) -> float:
    """`value` as a finite float > `above` (or ≥ `low`), or an InputError that names it.

    Magnitudes outside 1e-100 … 1e100 are refused: their products would overflow.
    """
    try:
        number = float(value) if isinstance(value, Real) and not isinstance(value, bool) else None
    except OverflowError:
        number = inf
    if number is None or not isfinite(number):
        raise InputError(f"{name}={shown(value)}: {hint}")
    if number < low or (above is not None and number <= above):
        raise InputError(f"{name}={shown(value)}: {hint}")
    if number and not SMALLEST_REAL <= abs(number) <= LARGEST_REAL:
        raise InputError(f"{name}={shown(value)}: its size must lie in 1e-100 … 1e100")
    return number


def positive(name: str, value: object) -> float:
    """`value` as a finite float above 0, or an InputError that names it."""
    return real_number(name, value, above=0.0, hint="it must be a finite number above 0")


def at_least_zero(name: str, value: object) -> float:
    """`value` as a finite float of at least 0, or an InputError that names it."""
    return real_number(name, value, hint="it must be a finite number of at least 0")


def fraction_below_one(name: str, value: object) -> float:
    """`value` as a float in [0, 1), or an InputError that names it."""
    hint = "it must lie in [0, 1)"
    number = real_number(name, value, hint=hint)
    if number >= 1:
        raise InputError(f"{name}={shown(value)}: {hint}")
    return number


def choice(kind: str, value: object, known: Iterable[str]) -> str:
    """`value` if it is one of the `known` names, else an InputError with the nearest."""
    options = list(known)
    if not isinstance(value, str) or value not in options:
        raise unknown_name(kind, value, options)
    return value


def listed(name: str, value: object, hint: str) -> list[object]:
    """`value` as a list, or an InputError if it is a text, a mapping or nothing to iterate."""
    if isinstance(value, Iterable) and not isinstance(value, str | bytes | dict):
        try:
            return list(value)
        except TypeError:  # an array without dimensions
            pass
    raise InputError(f"{name}={shown(value)}: {hint}")
