"""Are groups of runs the same run? Curves on one clock, with a margin declared beforehand."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import inf, isfinite

import numpy as np

from noisescale.analysis.checks import positive_integer
from noisescale.analysis.run_groups.alignment import same_seeds, shared_until
from noisescale.analysis.run_groups.cases import Case, Window, case_of
from noisescale.analysis.run_groups.margins import Margins, declared
from noisescale.analysis.run_groups.results import (
    Divergence,
    GroupComparison,
)
from noisescale.analysis.run_groups.runs import MeasuredRun, check_run, check_units
from noisescale.analysis.run_groups.verdicts import Pair, corrected
from noisescale.errors import InputError, shown

Runs = Sequence[MeasuredRun]
# Columns that are set rather than measured.
_SETTINGS = frozenset(
    "update step global_step iteration epoch examples tokens batch_size learning_rate lr momentum "
    "weight_decay train_size seed time timestamp wall_time seconds".split()
)


def compare_groups(
    groups: Mapping[str, Runs],
    *,
    clock: str = "epoch",
    metrics: Sequence[str] = ("evaluation_loss",),
    margin: float | None = None,
    relative_margin: float | None = None,
    positive_control: Runs = (),
    start: float | None = None,
    points: int = 8,
    level: float = 0.05,
    paired: bool = False,
    plan: bool = True,
) -> GroupComparison:
    """|mean(b) − mean(a)| < δ at each of the last K points of the common range, at the level.

    "same": two one-sided tests reject |d| ≥ δ at every point. "different": |d| ≤ δ is rejected at
    some point at level/K. "undecided": neither; the result says how many seeds would decide. The
    first metric decides. Where it is the only one, all other quantities that every run holds are
    judged too, corrected over their number (Holm), for where the groups part. More than two
    groups: each against the first, corrected likewise.

    Values between measurements are linear in the clock; nothing is extrapolated. Equal seeds are
    paired if `paired`, or if they are equal to the last digit up to some point: then only what
    comes after it is compared. Diverged runs are left out, and where there are any the groups are
    never called the same.

    Args:
        groups: runs by label; the first group is the reference.
        clock: the column by which runs are aligned; choose what the rule under test keeps.
        margin: δ of the first metric, in its unit.
        relative_margin: r; logarithms are compared with δ = ln(1 + r), for every quantity.
        positive_control: runs known to differ from the reference; δ of a quantity is half of its
            difference there, at the end of the interval that is nearer to 0.
        start: compare only from this clock value on.
        points: K.
        level: one-sided error of each claim.
        plan: work out seeds_needed and the calibration, which take longer than the verdict.

    Raises:
        InputError: no margin or several, fewer than two groups, a metric that a run lacks, no
            common range of the clock, a run in two places, clocks in different units.

    Source: Schuirmann 1987; Berger 1982 (all points must be the same); Holm 1979.
    """
    margins = declared(margin, relative_margin, positive_control)
    runs = _checked(groups, clock, metrics, margins)
    points = positive_integer("points", points)
    if not 0 < level < 0.5:
        raise InputError(f"level={level!r}: it must lie in (0, 0.5)")
    if start is not None and not isfinite(start):
        raise InputError(f"start={start!r}: it must be a finite clock value")
    names = list(groups)
    options = _Options(clock, tuple(metrics), margins, start, points, level, paired, plan)
    pairs = [_judge(names[0], name, groups, options) for name in names[1:]]
    notes = tuple(f"{run.name}: {note}" for run in runs for note in run.notes)
    return GroupComparison(
        clock, metrics[0], level, margins.origin, tuple(corrected(pairs, level, plan)), notes
    )


@dataclass(frozen=True, slots=True)
class _Options:
    clock: str
    metrics: tuple[str, ...]
    margins: Margins
    start: float | None
    points: int
    level: float
    paired: bool
    plan: bool


def _checked(
    groups: Mapping[str, Runs], clock: str, metrics: Sequence[str], margins: Margins
) -> list[MeasuredRun]:
    """All runs, each once."""
    listed = isinstance(groups, Mapping) and all(
        isinstance(group, list | tuple) and all(isinstance(run, MeasuredRun) for run in group)
        for group in groups.values()
    )
    if not listed:
        raise InputError(f"groups={shown(groups)}: give lists of runs by label; see read_runs")
    if len(groups) < 2:
        raise InputError(f"give at least two groups of runs to compare; given: {len(groups)}")
    for name, group in groups.items():
        if not name:
            raise InputError("a group has an empty label: give it a name")
        if not group:
            raise InputError(f"group {name!r} holds no runs")
    if not metrics:
        raise InputError("metrics is empty: name the quantity that decides")
    if clock in metrics:
        raise InputError(f"metric {clock!r} is the clock: name a quantity that was measured")
    runs = [run for group in (*groups.values(), margins.control) for run in group]
    times_given = Counter(run.name for run in runs)
    for run in runs:
        if times_given[run.name] > 1:
            raise InputError(f"{run.name} is given twice: a run counts once, and in one group only")
        check_run(run, clock, metrics)
    for run in margins.control:
        if run.diverged:
            raise InputError(f"{run.name}: a positive control that diverged: leave it out")
    check_units(runs, clock)
    return runs


def _judge(first: str, second: str, groups: Mapping[str, Runs], options: _Options) -> Pair:
    """Every quantity of two groups."""
    both = [list(groups[first]), list(groups[second])]
    kept = [[run for run in group if not run.diverged] for group in both]
    notes, divergence = [], None
    lost = [len(group) - len(rest) for group, rest in zip(both, kept, strict=True)]
    for name, group, number in zip((first, second), both, lost, strict=True):
        if number:
            notes.append(f"{number} of {len(group)} runs of {name} diverged and are left out")
    if any(lost):
        divergence = Divergence(lost[0], lost[1], _fisher(lost, [len(group) for group in both]))
    n = (len(both[0]), len(both[1]))
    if not all(kept):
        return Pair((first, second), n, (), divergence, False, None, tuple(notes))
    shared, paired = None, options.paired
    if paired:
        kept, left_out = _paired(kept, (first, second))
        notes += left_out
    matched = same_seeds(*kept)
    if matched:
        order = {run.seed: i for i, run in enumerate(kept[0])}
        kept[1].sort(key=lambda run: order[run.seed])
        shared = shared_until(kept[0], kept[1], options.clock, options.metrics[0])
        paired = paired or shared is not None
    ends = [run.curve(options.clock, options.metrics[0])[0] for group in kept for run in group]
    wholly = shared is not None and shared >= min(t[-1] for t in ends if len(t))
    if wholly:
        notes.append("equal seeds are equal to the last digit throughout: these are the same runs")
    notes += _copies(kept, options)
    window = Window(
        kept[0],
        kept[1],
        options.clock,
        -inf if shared is None or wholly else shared,
        -inf if options.start is None else options.start,
        options.points,
        options.level,
        paired,
        matched,
    )
    cases, more = _cases(window, options)
    return Pair((first, second), n, cases, divergence, paired, shared, (*notes, *more))


def _cases(window: Window, options: _Options) -> tuple[tuple[Case, ...], list[str]]:
    """The metrics, and what else all runs hold if only one metric was named."""
    cases, notes = [], []
    for number, metric in enumerate(options.metrics):
        case = case_of(metric, window, options.margins, number == 0, options.plan)
        if case is None:
            raise _no_points(metric, window, options)
        cases.append(case)
    runs = [*window.reference, *window.other]
    ends = [float(run.curve(window.clock, options.metrics[0])[0][-1]) for run in runs]
    if max(ends) > min(ends) * (1 + 1e-6):
        short = runs[int(np.argmin(ends))]
        notes.append(
            f"{short.name} ends at {options.clock} {min(ends):g}, others go on to {max(ends):g}: "
            "compared up to where all are"
        )
    if cases[0].aligned.interpolated:
        notes.append(f"values between measurements are linear in {options.clock}")
    if len(options.metrics) == 1:
        for quantity in runs[0].columns:
            if quantity in _SETTINGS or quantity in (options.clock, *options.metrics):
                continue
            found = case_of(quantity, window, options.margins, False, False)
            if found is not None and not found.is_constant:
                cases.append(found)
    return tuple(cases), notes


def _no_points(metric: str, window: Window, options: _Options) -> InputError:
    """Why a metric has no points to compare."""
    runs = [*window.reference, *window.other, *options.margins.control]
    curves = [(run, *run.curve(window.clock, metric)) for run in runs]
    begin = max(window.start, window.after)
    for run, times, values in curves:
        if not len(times):
            return InputError(f"{run.name}: {metric} was never measured")
        bad = (values <= 0) & (times >= begin)
        if options.margins.relative is not None and bad.any():
            zero = f"{metric} is {values[bad][-1]:g} at {window.clock} {times[bad][-1]:g}"
            return InputError(
                f"{run.name}: {zero}, and a relative margin needs numbers above 0: give an "
                "absolute margin, or compare from a later point"
            )
    late = max(curves, key=lambda c: c[1][0])
    early = min(curves, key=lambda c: c[1][-1])
    if late[1][0] > early[1][-1]:
        return InputError(
            f"no common range: {early[0].name} ends at {window.clock} {early[1][-1]:g}, "
            f"{late[0].name} begins at {late[1][0]:g}"
        )
    return InputError(
        f"no measurement of {metric} from {window.clock} {begin:g} to {early[1][-1]:g}, where "
        f"{early[0].name} ends: compare from an earlier point"
    )


def _copies(groups: Sequence[Runs], options: _Options) -> list[str]:
    """A caution for every two runs of a group that are equal to the last digit."""
    notes = []
    for group in groups:
        known: dict[bytes, str] = {}
        for run in group:
            times, values = run.curve(options.clock, options.metrics[0])
            text = times.tobytes() + values.tobytes()
            if text in known and np.ptp(values):
                notes.append(
                    f"{known[text]} and {run.name} hold the same numbers: a copy is no other seed"
                )
            known.setdefault(text, run.name)
    return notes


def _paired(
    groups: Sequence[list[MeasuredRun]], names: tuple[str, str]
) -> tuple[list[list[MeasuredRun]], list[str]]:
    """The runs of seeds that both groups hold, and a note on the others."""
    for name, group in zip(names, groups, strict=True):
        seeds = [run.seed for run in group]
        if None in seeds or len(set(seeds)) < len(seeds):
            what = "holds a seed twice" if None not in seeds else "has runs of unknown seed"
            raise InputError(f"group {name!r} {what}, so it cannot be paired: compare unpaired")
    common = {run.seed for run in groups[0]} & {run.seed for run in groups[1]}
    if not common:
        raise InputError(f"groups {names[0]!r} and {names[1]!r} hold no seed in common to pair")
    left = sorted(str(r.seed) for group in groups for r in group if r.seed not in common)
    notes = [f"only one group holds seeds {', '.join(left)}: left out of the pairs"] if left else []
    return [[run for run in group if run.seed in common] for group in groups], notes


def _fisher(lost: Sequence[int], runs: Sequence[int]) -> float:
    from scipy.stats import fisher_exact

    table = [[k, n - k] for k, n in zip(lost, runs, strict=True)]
    return float(fisher_exact(table)[1])
