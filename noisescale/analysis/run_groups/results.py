"""What a comparison of groups of runs says."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import expm1
from typing import TYPE_CHECKING, Any, Literal

from noisescale.analysis.documents import document
from noisescale.analysis.html import table
from noisescale.analysis.run_groups.resampling import Calibration
from noisescale.analysis.run_groups.runs import Array
from noisescale.errors import InputError

if TYPE_CHECKING:
    from matplotlib.axes import Axes

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
        found = document(self)
        for pair in found["pairs"]:
            del pair["curves"]
        return found

    def _repr_html_(self) -> str:
        head = ["quantity", "verdict", "difference", "interval", "margin", "p", "part at"]
        parts = []
        for pair in self.pairs:
            rows = [
                [q.quantity, q.verdict, *_amounts(q), q.p_adjusted, q.parts_at]
                for q in pair.quantities
            ]
            sizes = f"{pair.reference} ({pair.n[0]}) and {pair.other} ({pair.n[1]})"
            title = f"{sizes}: {pair.verdict}"
            parts.append(table(title, head, rows, [pair.reason, *pair.notes]))
        confidence = f"{1 - 2 * self.level:.0%} intervals; clock: {self.clock}"
        return "".join(parts) + table(confidence, [], [], self.notes)

    def plot(self, ax: "Axes | None" = None) -> "Sequence[Axes]":
        """Curves and differences of every pair; with `ax`, the first pair's difference alone.

        Raises:
            InputError: no pair has curves, as all runs of a group diverged.
        """
        from noisescale.plots.groups import draw_group_difference, groups_figure

        drawn = [pair for pair in self.pairs if pair.curves is not None]
        if not drawn:
            raise InputError("nothing to draw: all runs of a group diverged")
        if ax is not None:
            return [draw_group_difference(ax, drawn[0], self.clock, self.level)]
        figure = groups_figure(self)
        assert figure is not None
        return figure.axes


def _amounts(q: QuantityVerdict) -> tuple[Any, Any, Any]:
    """Difference, interval and margin, in percent where logarithms are compared."""
    if q.scale == "linear":
        return q.effect, q.interval, q.margin
    ends = None if q.interval is None else tuple(f"{100 * expm1(end):+.3g}" for end in q.interval)
    margin = None if q.margin is None else f"{100 * expm1(q.margin):.3g} %"
    shown = None if ends is None else f"[{ends[0]}, {ends[1]}] %"
    return f"{100 * expm1(q.effect):+.3g} %", shown, margin
