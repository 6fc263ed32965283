"""What a comparison of groups of runs says."""

from dataclasses import dataclass, fields, is_dataclass
from typing import Any, Literal

import numpy as np

from noisescale.analysis.run_groups.resampling import Calibration
from noisescale.analysis.run_groups.runs import Array

Verdict = Literal["same", "different", "undecided"]


@dataclass(frozen=True, slots=True)
class QuantityVerdict:
    """One quantity of two groups.

    Args:
        scale: "log" where logarithms are compared, else "linear"; of effect, interval and margin.
        margin: what the difference must stay below to be "same"; None where none was declared,
            and then the quantity can only be told apart.
        effect, interval: other minus reference at `at`, the point that decides; confidence of the
            interval 1 − 2 level.
        p_same, p_different: against the opposite claims.
        p_adjusted: of the nearer claim, corrected over the quantities (Holm).
        correlation: of equal seeds at `at`; None where the groups hold different ones.
        parts_at: first clock value at which the groups differ by more than the margin (at all,
            where there is none), corrected over points and quantities.
        points: clock values compared.
        common_range: clock values that every run brackets.
        interpolated: some runs were not measured at these points.
    """

    quantity: str
    verdict: Verdict
    reason: str
    scale: Literal["log", "linear"]
    margin: float | None
    effect: float
    interval: tuple[float, float] | None
    at: float
    n: int
    seeds_needed: int | None
    correlation: float | None
    p_same: float
    p_different: float
    p_adjusted: float
    parts_at: float | None
    points: tuple[float, ...]
    common_range: tuple[float, float]
    interpolated: bool


@dataclass(frozen=True, slots=True, eq=False)
class Curves:
    """The deciding quantity of two groups over their common range, for drawing.

    Args:
        times: (K,); reference, other: (seeds, K), logarithms if the scale is "log".
        effect, low, high: (K,) difference and its interval; NaN below two seeds.
    """

    times: Array
    reference: Array
    other: Array
    effect: Array
    low: Array
    high: Array


@dataclass(frozen=True, slots=True)
class Divergence:
    """Runs of each group that diverged, and Fisher's exact test for a difference."""

    reference: int
    other: int
    p_value: float


@dataclass(frozen=True, slots=True)
class PairComparison:
    """Two groups.

    Args:
        verdict, reason: on the deciding quantity, with diverged runs and all groups in view.
        quantities: the deciding one first; empty if all runs of a group diverged.
        parts_at: the earliest (clock value, quantity) at which they part.
        paired: equal seeds were compared with each other.
        shared_until: equal seeds are equal to the last digit up to here, so only what comes after
            was compared.
        calibration: None below three seeds, or without a margin.
    """

    reference: str
    other: str
    n: tuple[int, int]
    verdict: Verdict
    reason: str
    quantities: tuple[QuantityVerdict, ...]
    parts_at: tuple[float, str] | None
    paired: bool
    shared_until: float | None
    divergence: Divergence | None
    calibration: Calibration | None
    curves: Curves | None
    notes: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class GroupComparison:
    """Every group against the first.

    Args:
        level: one-sided error of each claim.
        margin_from: how the margin was declared: "margin", "relative-margin", "positive-control".
    """

    clock: str
    metric: str
    level: float
    margin_from: str
    pairs: tuple[PairComparison, ...]
    notes: tuple[str, ...]

    def to_dict(self) -> dict[str, Any]:
        """All but the curves, as strict JSON has it."""
        return dict(_plain(self))


def _plain(value: Any) -> Any:
    if is_dataclass(value) and not isinstance(value, type):
        names = [f.name for f in fields(value) if f.name != "curves"]
        return {name: _plain(getattr(value, name)) for name in names}
    if isinstance(value, tuple):
        return [_plain(entry) for entry in value]
    if isinstance(value, float):
        return value if np.isfinite(value) else None
    return value
