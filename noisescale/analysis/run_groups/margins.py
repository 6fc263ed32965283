"""What counts as the same: a margin that was declared, or half of a known difference."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import log1p

from noisescale.analysis.checks import positive
from noisescale.analysis.difference import difference
from noisescale.analysis.run_groups.runs import Array, MeasuredRun
from noisescale.errors import InputError


@dataclass(frozen=True, slots=True)
class Margins:
    """Exactly one of three ways to say it.

    Args:
        absolute: of the deciding quantity, in its own unit.
        relative: r: ratios of (geometric) means from 1/(1+r) to 1+r are the same; all quantities.
        control: runs that are known to be different.
    """

    absolute: float | None
    relative: float | None
    control: tuple[MeasuredRun, ...]

    @property
    def origin(self) -> str:
        """Which of them it is."""
        if self.control:
            return "positive-control"
        return "margin" if self.relative is None else "relative-margin"

    def of(self, decides: bool, reference: Array, control: Array | None, level: float) -> float:
        """δ of one quantity; 0 where none was declared, below 0 where the control is not told.

        With a control, δ is half of what its difference from the reference is at least, at
        confidence 1 − level, averaged over the points: half of the estimate would be too much
        half of the time.

        Args:
            decides: it is the deciding quantity.
            reference, control: (seeds, K).
        """
        if self.relative is not None:
            return log1p(self.relative)
        if control is None:
            return self.absolute if decides and self.absolute is not None else 0.0
        told = difference(reference.mean(axis=1), control.mean(axis=1), level=level, paired=False)
        if told.interval is None:
            return -1.0
        low, high = told.interval
        return max(low, -high) / 2


def declared(
    absolute: float | None, relative: float | None, control: Sequence[MeasuredRun]
) -> Margins:
    """The margins; InputError unless exactly one way was taken."""
    given = (absolute is not None) + (relative is not None) + bool(control)
    if given != 1:
        what = "no margin was given" if not given else "several margins were given"
        raise InputError(
            f"{what}: say what counts as the same with exactly one of margin (in the metric's "
            "unit), relative margin (0.1 is 10 %) or a positive control (runs known to differ)"
        )
    if absolute is not None:
        positive("margin", absolute)
    if relative is not None:
        positive("relative margin", relative)
    return Margins(absolute, relative, tuple(control))
