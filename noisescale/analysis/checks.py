"""Numbers as they are given: checked, kept exact, and shown in one line."""

from fractions import Fraction
from math import inf, isfinite
from numbers import Integral, Real

from noisescale.errors import InputError

LARGEST_INTEGER = 10**18
SMALLEST_REAL, LARGEST_REAL = 1e-100, 1e100


def exact(value: float | int) -> Fraction:
    """The decimal number as it was written: 0.1 is 1/10, not its binary neighbour."""
    return Fraction(int(value)) if isinstance(value, Integral) else Fraction(repr(float(value)))


def half_up(value: Fraction) -> int:
    """⌊value + ½⌋."""
    return (2 * value.numerator + value.denominator) // (2 * value.denominator)


def shown(value: object) -> str:
    """A value for an error message, cut to a line's length."""
    try:
        text = " ".join(repr(value).split())
    except ValueError:  # an int of more digits than Python prints
        text = "a number of thousands of digits"
    return text if len(text) <= 60 else text[:57] + "..."


def positive_integer(name: str, value: object) -> int:
    """`value` as an int from 1 to 10^18, or an InputError that names it."""
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
