"""Routes to another batch size: each maps a schedule to a schedule, phase by phase.

All arithmetic is done in fractions of the decimals as written, so that .1 / .02 is 5.
"""

from collections.abc import Callable
from fractions import Fraction
from itertools import pairwise
from math import ceil

from noisescale.analysis.cautions import RuleWarning
from noisescale.analysis.checks import exact
from noisescale.analysis.limits import Limits, first_drop
from noisescale.analysis.pieces import Piece
from noisescale.analysis.schedule import Phase, Schedule, root
from noisescale.analysis.shapes import Shape
from noisescale.errors import InputError

# 1−m may exceed 1 by floating-point rounding.
ROUNDING = Fraction(1, 10**12)
# A batch ramp takes steps of at least this ratio (and of at least one granule).
RAMP_STEP = Fraction(1, 64)


def _pieces(phase: Phase, train_size: int | None) -> tuple[Piece, ...]:
    return phase.pieces(phase.clock_size(train_size))


def resized(
    phase: Phase,
    batch_size: int,
    factor: Fraction | float = Fraction(1),
    *,
    momentum: float | None = None,
    stretch: Fraction = Fraction(1),
    decay: str | None = None,
) -> Phase:
    """The phase at another batch size, its learning rate times `factor`.

    Args:
        momentum: the new one, if it changes.
        stretch: every duration, in examples, becomes so many times as long.
        decay: the form of weight decay, if λ is to keep the decay per example.
    """
    duration = phase.duration.stretched(stretch, phase.batch_size, batch_size)
    lengths = {"epochs": None, "updates": None, "examples": None}
    lengths[duration.unit] = getattr(duration, duration.unit)
    rate = phase.learning_rate
    if isinstance(rate, Shape):
        rate = rate.scaled(factor).stretched(stretch, phase.batch_size, batch_size)
    elif isinstance(factor, Fraction):
        rate = float(exact(rate) * factor)
    else:
        rate = rate * factor
    shrink = Fraction(1)
    if decay == "decoupled":  # ελ per update
        shrink = Fraction(batch_size, phase.batch_size) / Fraction(factor)
    elif decay == "independent":  # λ per update
        shrink = Fraction(batch_size, phase.batch_size)
    return phase.changed(
        learning_rate=rate,
        batch_size=batch_size,
        momentum=phase.momentum if momentum is None else momentum,
        weight_decay=float(exact(phase.weight_decay) * shrink),
        **lengths,
    )


# Per phase of the schedule given, the phases that take its place; and what is worth saying.
Groups = tuple[list[list[Phase]], list[RuleWarning]]
Segment = tuple[Fraction, Fraction, int]


def _grow_batch(schedule: Schedule, limits: Limits) -> Groups:
    groups, capped, highest, rises, takes = [], [], 0.0, False, False
    for number, phase in enumerate(schedule.phases, 1):
        segments: list[Segment] = []
        for piece in _pieces(phase, limits.train_size):
            rises = rises or (piece.end_value > highest > 0) or piece.last > piece.first
            highest = max(highest, piece.start_value)
            takes = takes or piece.start_value < highest or piece.falls
            found, over = _segments(phase, piece, highest, limits)
            segments += found
            highest = max(highest, piece.end_value)
            if over and number not in capped:
                capped.append(number)
        groups.append(_children(schedule, phase, segments, limits))
    if not takes:
        raise InputError(
            "the learning rate never drops, so there is no decay for the batch to take"
        )
    notes = _cap_note(limits, capped, "the learning rate takes the rest of the decay")
    if rises:
        notes.append(
            RuleWarning(
                "warm-up-kept",
                "the learning rate rises at first; the batch would have to shrink to take that "
                "up, so the rise stays in the learning rate",
                "Goyal et al. 2017, section 2.2",
            )
        )
    return groups, notes


def _segments(
    phase: Phase, piece: Piece, highest: float, limits: Limits
) -> tuple[list[Segment], bool]:
    """Stretches of a piece at the allowed sizes next to B·max ε/ε; whether the cap acts."""
    first, last = piece.start_value, piece.end_value
    top, lowest = exact(highest), min(first, last)
    most = _wanted(phase, top, lowest)
    over = limits.cap is not None and (most is None or most > limits.cap)
    if first == last or lowest >= highest or not highest:
        batch = limits.nearest(Fraction(phase.batch_size) if most is None else most)
        return [(piece.begin, piece.end, batch)], over
    if most is None and limits.cap is None:
        raise InputError(
            "the learning rate falls to 0, so the batch would grow without end: give "
            "max_batch_size or train_size"
        )
    if last > first and last > highest:  # a rise through the highest rate so far
        turn = _whole(piece.time_at(highest), limits, phase)
        turn = min(max(turn, piece.begin), piece.end)
        below = _ramp(phase, piece, top, limits, piece.begin, turn)
        if turn < piece.end:
            below.append((turn, piece.end, limits.nearest(Fraction(phase.batch_size))))
        return below, over
    return _ramp(phase, piece, top, limits, piece.begin, piece.end), over


def _wanted(phase: Phase, top: Fraction, rate: float) -> Fraction | None:
    """B·max ε/ε; None where the rate is 0 after it was not."""
    if rate > 0:
        return phase.batch_size * top / min(exact(rate), top)
    return None if top else Fraction(phase.batch_size)


def _whole(time: float, limits: Limits, phase: Phase) -> Fraction:
    """A time on whole examples, or on billionths of an epoch where N is not known."""
    if phase.clock_size(limits.train_size) == 1:
        return Fraction(round(time * 10**9), 10**9)
    return Fraction(round(time))


def _ramp(
    phase: Phase, piece: Piece, top: Fraction, limits: Limits, begin: Fraction, end: Fraction
) -> list[Segment]:
    """Batch sizes along a piece, rounded down: the learning rate never exceeds its highest."""
    ends = [_wanted(phase, top, rate) for rate in (piece.start_value, float(piece.at(float(end))))]
    sizes = [limits.below(Fraction(limits.cap or 1) if w is None else w) for w in ends]
    levels = [min(sizes)]
    while levels[-1] < max(sizes):
        granules = max(1, ceil(levels[-1] * RAMP_STEP / limits.granularity))
        levels.append(min(max(sizes), levels[-1] + limits.granularity * granules))
    grows = sizes[0] < sizes[1]
    if sizes[0] > sizes[1]:
        levels.reverse()
    # Where time is in epochs, how many examples an update takes is not known.
    in_examples = phase.clock_size(limits.train_size) != 1
    flat = phase.batch_size * float(top)
    segments: list[Segment] = []
    start, now = begin, levels[0]
    for here, after in pairwise(levels):
        turn = _whole(piece.time_at(flat / max(here, after)), limits, phase)
        turn = min(max(turn, start), end)
        # A size that no whole update would have is passed over, in favour of the smaller one.
        fits = not in_examples or (turn - start >= now and (not grows or end - turn >= after))
        if turn > start and fits:
            segments.append((start, turn, now))
            start, now = turn, after
        elif not grows or turn == start:
            now = after
    if end > start:
        segments.append((start, end, now))
    return segments


def _children(
    schedule: Schedule, phase: Phase, segments: list[Segment], limits: Limits
) -> list[Phase]:
    """The phase cut into segments of one batch size each; neighbours of equal size joined."""
    joined: list[Segment] = []
    for begin, end, batch in segments:
        if joined and joined[-1][2] == batch:
            joined[-1] = (joined[-1][0], end, batch)
        else:
            joined.append((begin, end, batch))
    return [
        resized(
            phase.part(begin, end, limits.train_size),
            batch,
            Fraction(batch, phase.batch_size),
            decay=schedule.decay,
        )
        for begin, end, batch in joined
    ]


def _hybrid(schedule: Schedule, limits: Limits) -> Groups:
    drop = first_drop(schedule, limits.train_size)
    if drop is None:
        raise InputError(
            "the learning rate has no first drop from one value to another for the batch to "
            "take; for a smooth decay use grow-batch with max_batch_size"
        )
    groups, capped = [], []
    for number, phase in enumerate(schedule.phases):
        grown = phase.batch_size * drop.factor
        span = phase.exact_examples(phase.clock_size(limits.train_size))
        turn = drop.time if number == drop.phase else span if number < drop.phase else Fraction(0)
        before, after = limits.nearest(Fraction(phase.batch_size)), limits.nearest(grown)
        segments = [(Fraction(0), turn, before), (turn, span, after)]
        if turn < span and limits.cap is not None and grown > limits.cap:
            capped.append(number + 1)
        groups.append(_children(schedule, phase, [s for s in segments if s[0] < s[1]], limits))
    return groups, _cap_note(limits, capped, "the learning rate takes the rest of the first drop")


def _scaled(
    schedule: Schedule, limits: Limits, rest: str
) -> tuple[list[tuple[Phase, int, Fraction]], list[RuleWarning]]:
    """(phase, new batch size, κ that the rule counts with) per phase.

    `rest` says what a cap does.
    """
    kappa = limits.ratio(schedule)
    first = schedule.phases[0].batch_size
    stated = Fraction(first if limits.base is None else limits.base, first)
    wanted = [kappa * phase.batch_size for phase in schedule.phases]
    capped = [i for i, b in enumerate(wanted, 1) if limits.cap is not None and b > limits.cap]
    found = []
    for phase, batch in zip(schedule.phases, map(limits.nearest, wanted), strict=True):
        found.append((phase, batch, batch / (phase.batch_size * stated)))
    notes = _cap_note(limits, capped, rest)
    if stated != 1:
        notes.append(
            RuleWarning(
                "base-batch-size",
                f"the rule counts from a batch of {limits.base}, as if the recipe's learning rate "
                f"and durations were stated for it, while the recipe runs at {first}: before and "
                "after compare with the recipe as it stands",
                "declared base batch; Goyal et al. 2017 (0.1 per 256)",
            )
        )
    return found, notes


def _learning_rate(schedule: Schedule, limits: Limits) -> Groups:
    found, notes = _scaled(schedule, limits, "the learning rate follows the capped batch")
    return [
        [resized(phase, batch, ratio, decay=schedule.decay)] for phase, batch, ratio in found
    ], notes


def _momentum(schedule: Schedule, limits: Limits) -> Groups:
    found, notes = _scaled(schedule, limits, "the momentum follows the capped batch")
    groups = []
    for phase, batch, ratio in found:
        one_minus = (1 - exact(phase.momentum)) / ratio
        if 1 < one_minus <= 1 + ROUNDING:
            one_minus = Fraction(1)
        if one_minus > 1:
            smallest = (1 - exact(phase.momentum)) * phase.batch_size
            raise InputError(
                f"batch {phase.batch_size} → {batch} at momentum {phase.momentum:g} would need "
                f"1−m = {float(one_minus):.4g} above 1, a negative momentum: the batch cannot "
                f"shrink below (1−m) times its size, {float(smallest):.4g}; lower the learning "
                "rate instead"
            )
        momentum = float(1 - one_minus)
        if momentum == 1:
            raise InputError(
                f"batch {phase.batch_size} → {batch} at momentum {phase.momentum:g} would need "
                f"1−m = {float(one_minus):.4g}, which no float below 1 holds: raise the learning "
                "rate instead"
            )
        groups.append([resized(phase, batch, momentum=momentum, decay=schedule.decay)])
    return groups, notes


def _sqrt(schedule: Schedule, limits: Limits) -> Groups:
    found, notes = _scaled(schedule, limits, "the learning rate follows the capped batch")
    return [[resized(phase, batch, root(ratio))] for phase, batch, ratio in found], notes


def _regime_adaptation(schedule: Schedule, limits: Limits, whole: bool = False) -> Groups:
    found, notes = _scaled(schedule, limits, "rate and durations follow the capped batch")
    return [
        [resized(phase, batch, root(ratio), stretch=Fraction(ceil(ratio)) if whole else ratio)]
        for phase, batch, ratio in found
    ], notes


def _regime_adaptation_ceil(schedule: Schedule, limits: Limits) -> Groups:
    return _regime_adaptation(schedule, limits, whole=True)


def _accumulate(schedule: Schedule, limits: Limits) -> Groups:
    if limits.micro is None and limits.devices == 1:
        raise InputError(
            "accumulation splits a batch over micro-batches and devices: give micro_batch_size "
            "(--micro-batch-size) or devices (--devices)"
        )
    return [[phase] for phase in schedule.phases], []


ROUTES: dict[str, Callable[[Schedule, Limits], Groups]] = {
    "grow-batch": _grow_batch,
    "hybrid": _hybrid,
    "learning-rate": _learning_rate,
    "momentum": _momentum,
    "sqrt": _sqrt,
    "regime-adaptation": _regime_adaptation,
    "regime-adaptation-ceil": _regime_adaptation_ceil,
    "accumulate": _accumulate,
}
# What is answered when no route is named; "accumulate" joins them where a split is given.
DEFAULT_ROUTES = tuple(
    name for name in ROUTES if name not in ("regime-adaptation-ceil", "accumulate")
)


def apply(
    name: str, schedule: Schedule, limits: Limits
) -> tuple[Schedule, list[int], list[RuleWarning]]:
    """The schedule after a route such as "learning-rate+grow-batch".

    Returns:
        The new schedule; for each of its phases, which phase of the original it belongs to; notes.
    """
    changed, parents = schedule, list(range(len(schedule.phases)))
    notes: list[RuleWarning] = []
    for step in name.split("+"):
        groups, more = ROUTES[step](changed, limits)
        parents = [parents[i] for i, group in enumerate(groups) for _ in group]
        result = changed.with_phases(phase for group in groups for phase in group)
        if result == changed and step != "accumulate":
            more = [
                *more,
                RuleWarning(
                    "no-change",
                    f"{step} changes nothing: the batch already has the size it would give",
                    "the rule itself",
                ),
            ]
        changed = result
        notes += more
    return changed, parents, notes


def _cap_note(limits: Limits, capped: list[int], rest: str) -> list[RuleWarning]:
    if not capped:
        return []
    where = ", ".join(map(str, capped))
    largest = limits.nearest(Fraction(limits.cap or 0))
    return [
        RuleWarning(
            "cap-reached",
            f"the batch stops at {largest} in phase {where}; {rest}",
            "Smith, Kindermans, Ying & Le 2018, section 5.2",
        )
    ]


def rounding_note(old: Schedule, new: Schedule, limits: Limits) -> list[RuleWarning]:
    """A first batch size or a target that the granularity has moved is worth a word."""
    wanted, after = limits.target or old.phases[0].batch_size, new.phases[0]
    if wanted % limits.granularity == 0 or old.phases[0].batch_size == after.batch_size:
        return []
    rate = _pieces(after, limits.train_size)[0].start_value
    return [
        RuleWarning(
            "rounded-to-granularity",
            f"batch sizes are multiples of {limits.granularity}, which {wanted} is not: the first "
            f"phase runs at {after.batch_size} with learning rate {rate:.4g} and momentum "
            f"{after.momentum:.4g}",
            "rounding; the rule is applied to the rounded batch",
        )
    ]


def decay_note(old: Schedule, new: Schedule, parents: list[int]) -> list[RuleWarning]:
    """A weight decay that a route has changed is said."""
    for phase, parent in zip(new.phases, parents, strict=True):
        before = old.phases[parent].weight_decay
        if before and abs(phase.weight_decay / before - 1) > 1e-9:
            return [
                RuleWarning(
                    "weight-decay-changed",
                    f"{old.decay} weight decay goes from {before:.4g} to {phase.weight_decay:.4g} "
                    "so that the shrinkage per epoch stays",
                    "docs/theory.md, weight decay",
                )
            ]
    return []
