"""Conditions of a verdict, asked of whole intervals."""

from dataclasses import dataclass

from noisescale.analysis.walk.estimates import Number


@dataclass(frozen=True, slots=True)
class Check:
    """One condition.

    Args:
        text: quantity, value and what was asked of it.
        holds: the whole interval meets it.
        open: the value meets it but the interval reaches beyond: more seeds may settle it.
    """

    text: str
    holds: bool
    open: bool = False


def within(name: str, n: Number | None, low: float, high: float) -> Check:
    """low ≤ n ≤ high."""
    if n is None:
        return Check(f"{name} is not known", False)
    holds = low <= n.interval[0] and n.interval[1] <= high
    return Check(f"{name} = {shown(n)} (asked: {low:g} to {high:g})", holds, low <= n.value <= high)


def above(name: str, n: Number | None, low: float) -> Check:
    """n > low."""
    if n is None:
        return Check(f"{name} is not known", False)
    return Check(f"{name} = {shown(n)} (asked: above {low:g})", n.interval[0] > low, n.value > low)


def below(name: str, n: Number | None, high: float) -> Check:
    """n < high."""
    if n is None:
        return Check(f"{name} is not known", False)
    return Check(
        f"{name} = {shown(n)} (asked: below {high:g})", n.interval[1] < high, n.value < high
    )


def shown(n: Number) -> str:
    """A number with the half-width of its interval."""
    return f"{n.value:.2f} ± {(n.interval[1] - n.interval[0]) / 2:.2f}"
