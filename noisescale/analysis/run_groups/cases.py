"""One quantity of two groups: on its scale, at its points, judged."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from noisescale.analysis.comparison import FEWEST_SEEDS, Judgement, judge_same, same_p_values
from noisescale.analysis.difference import difference
from noisescale.analysis.run_groups.alignment import Aligned, align, smallest_step
from noisescale.analysis.run_groups.margins import Margins
from noisescale.analysis.run_groups.resampling import Calibration, calibrate, differences
from noisescale.analysis.run_groups.results import Curves
from noisescale.analysis.run_groups.runs import Array, MeasuredRun


@dataclass(frozen=True, slots=True)
class Window:
    """Which runs are compared, and where.

    Args:
        after: only clock values beyond it (equal seeds are one run until there).
        start: only clock values from it on.
        points: the last so many decide.
        matched: both list the same seeds in one order.
    """

    reference: Sequence[MeasuredRun]
    other: Sequence[MeasuredRun]
    clock: str
    after: float
    start: float
    points: int
    level: float
    paired: bool
    matched: bool


@dataclass(frozen=True, slots=True, eq=False)
class Case:
    """A judged quantity with the numbers behind it.

    Args:
        reference, other: (seeds, K) on the scale, at all points of the common range.
        margin: 0 where none was declared, below 0 where a control is not told from the reference.
        scan: (K,) p-values for a difference beyond the margin, times K.
    """

    quantity: str
    window: Window
    aligned: Aligned
    log_scale: bool
    reference: Array
    other: Array
    margin: float
    resolution: float
    judgement: Judgement
    scan: Array

    @property
    def points(self) -> Array:
        """The clock values that decide."""
        return self.aligned.times[-self.window.points :]

    @property
    def is_constant(self) -> bool:
        """No spread over seeds anywhere: a setting rather than a result."""
        groups = (self.reference, self.other)
        return all(len(g) > 1 and not np.ptp(g, axis=0).any() for g in groups)

    def curves(self) -> Curves:
        """What there is to draw."""
        from scipy.special import stdtrit

        times, a, b = self.aligned.times, self.reference, self.other
        effect = b.mean(axis=0) - a.mean(axis=0)
        half = np.full(len(times), np.nan)
        if min(len(a), len(b)) > 1:
            _, stderr, degrees = differences(a, b, self.window.paired, self.resolution)
            half = stdtrit(degrees, 1 - self.window.level) * stderr
        return Curves(times, a, b, effect, effect - half, effect + half)

    def calibration(self) -> Calibration | None:
        """How the comparison does at these spreads; None below three seeds or without a margin."""
        k, w = self.window.points, self.window
        if min(len(self.reference), len(self.other)) < FEWEST_SEEDS or self.margin <= 0:
            return None
        return calibrate(
            self.reference[:, -k:],
            self.other[:, -k:],
            margin=self.margin,
            level=w.level,
            paired=w.paired,
            resolution=self.resolution,
        )


def case_of(
    quantity: str, window: Window, margins: Margins, decides: bool, plan: bool
) -> Case | None:
    """A quantity judged; None if some run lacks it, or its logarithm, in the window."""
    groups = [window.reference, window.other, *([margins.control] if margins.control else [])]
    aligned = align(groups, window.clock, quantity, window.after, window.start)
    if aligned is None:
        return None
    log_scale = margins.relative is not None
    if log_scale:
        aligned = _logarithms(aligned, decides)
        if aligned is None:
            return None
    a, b = aligned.values[:2]
    k = window.points
    control = aligned.values[2][:, -k:] if margins.control else None
    margin = margins.of(decides, a[:, -k:], control, window.level)
    step = smallest_step([run for group in groups for run in group], quantity)
    resolution = step / float(np.exp(a.mean())) if log_scale else step
    times = aligned.times[-k:]
    if margin > 0:
        judgement = judge_same(
            a[:, -k:],
            b[:, -k:],
            margin=margin,
            epochs=times.tolist(),
            level=window.level,
            paired=window.paired,
            resolution=resolution,
            plan=decides and plan,
        )
    else:
        judgement = _judge_apart(a[:, -k:], b[:, -k:], times, window, resolution)
    scan = np.ones(len(aligned.times))
    if min(len(a), len(b)) >= FEWEST_SEEDS:
        scan = same_p_values(*differences(a, b, window.paired, resolution), max(margin, 0.0))[1]
    return Case(quantity, window, aligned, log_scale, a, b, margin, resolution, judgement, scan)


def _logarithms(aligned: Aligned, decides: bool) -> Aligned | None:
    """On a logarithmic scale; None if some value has no logarithm.

    What does not decide may begin at 0, as the distance from initialisation does.
    """
    defined = np.all([(values > 0).all(axis=0) for values in aligned.values], axis=0)
    first = 0 if decides else int(np.argmax(defined))
    if not defined[first:].all():
        return None
    values = tuple(np.log(values[:, first:]) for values in aligned.values)
    return replace(aligned, times=aligned.times[first:], values=values)


def _judge_apart(a: Array, b: Array, times: Array, window: Window, resolution: float) -> Judgement:
    """Without a margin: told apart, or not; never the same."""
    n, p = min(len(a), len(b)), np.ones(len(times))
    if n >= 2:
        p = same_p_values(*differences(a, b, window.paired, resolution), 0.0)[1]
    telling = int(np.argmin(p)) if n >= 2 else len(times) - 1
    point = difference(
        a[:, telling],
        b[:, telling],
        level=window.level,
        paired=window.paired,
        resolution=resolution,
    )
    told = n >= FEWEST_SEEDS and p[telling] <= window.level
    reason = "not told apart; without a margin it cannot be called the same"
    if n < FEWEST_SEEDS:
        reason = f"{n} seeds: a verdict needs at least {FEWEST_SEEDS}"
    return Judgement(
        "contradicted" if told else "undecided",
        "" if told else reason,
        point.effect,
        point.interval,
        n,
        None,
        float(times[telling]),
        1.0,
        float(p[telling]),
        window.paired,
        point.correlation,
    )
