"""Routes to another batch size: each maps a schedule to a schedule, phase by phase.

All arithmetic is done in fractions of the decimals as written, so that .1 / .02 is 5.
"""

from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction

from noisescale.analysis.invariants import ROUNDING, RuleWarning
from noisescale.analysis.schedule import Phase, Schedule, exact, positive_integer
from noisescale.errors import InputError


@dataclass(frozen=True, slots=True)
class Limits:
    """Target and limits of the batch size."""

    target: int | None
    cap: int | None
    granularity: int
    default_factor: Fraction | None

    def nearest(self, batch: Fraction) -> int:
        """The multiple of the granularity nearest to `batch`, from one granule up to the cap."""
        granules = max(1, int(batch / self.granularity + Fraction(1, 2)))
        if self.cap is not None:
            granules = min(granules, self.cap // self.granularity)
        return granules * self.granularity

    def ratio(self, schedule: Schedule) -> Fraction:
        """κ = target / first batch; by default the factor of the original's first drop."""
        first = schedule.phases[0].batch_size
        if self.target is not None:
            return Fraction(self.target, first)
        if self.default_factor is None:
            raise InputError(
                "the learning rate never drops, so there is no default target: give "
                "target_batch_size (--to-batch)"
            )
        if self.nearest(self.default_factor * first) == first:
            raise InputError(
                f"the first drop, by {float(self.default_factor):.3g}, does not change a batch of "
                f"{first} within the limits: give target_batch_size (--to-batch)"
            )
        return self.default_factor


def limits_of(
    schedule: Schedule,
    train_size: int | None,
    target: int | None,
    cap: int | None,
    granularity: int,
) -> Limits:
    """The checked limits; the default target is the first drop of the original schedule."""
    granularity = positive_integer("granularity", granularity)
    if target is not None:
        target = positive_integer("target_batch_size", target)
    if cap is not None:
        cap = positive_integer("max_batch_size", cap)
        if target is not None and target > cap:
            raise InputError(
                f"target_batch_size={target} exceeds max_batch_size={cap}: lower the target or "
                "raise the cap"
            )
    if train_size is not None:
        train_size = positive_integer("train_size", train_size)
        if target is not None and target > train_size:
            raise InputError(
                f"target_batch_size={target} exceeds train_size={train_size}: lower the target"
            )
        cap = train_size if cap is None else min(cap, train_size)
    if cap is not None and granularity > cap:
        raise InputError(
            f"granularity={granularity} exceeds the largest batch size allowed, {cap}: lower it"
        )
    return Limits(target, cap, granularity, first_drop_factor(schedule))


def first_drop_factor(schedule: Schedule) -> Fraction | None:
    highest = exact(schedule.phases[0].learning_rate)
    for phase in schedule.phases[1:]:
        rate = exact(phase.learning_rate)
        if rate < highest:
            return highest / rate
        highest = rate
    return None


def _resized(
    phase: Phase,
    batch_size: int,
    learning_rate: Fraction | None = None,
    momentum: float | None = None,
) -> Phase:
    """The phase over the same examples with another batch size, rate or momentum."""
    examples = phase.examples
    if phase.updates is not None and batch_size != phase.batch_size:
        examples = phase.updates * phase.batch_size
    return Phase(
        epochs=phase.epochs,
        updates=phase.updates if examples is None else None,
        examples=examples,
        learning_rate=phase.learning_rate if learning_rate is None else float(learning_rate),
        batch_size=batch_size,
        momentum=phase.momentum if momentum is None else momentum,
        weight_decay=phase.weight_decay,
    )


_Route = tuple[Schedule, list[RuleWarning]]


def _grow_batch(schedule: Schedule, limits: Limits) -> _Route:
    if first_drop_factor(schedule) is None:
        raise InputError(
            "the learning rate never drops, so there is no decay for the batch to take"
        )
    phases, capped, rises = [], [], False
    highest = exact(schedule.phases[0].learning_rate)
    for number, phase in enumerate(schedule.phases, 1):
        rate = exact(phase.learning_rate)
        rises = rises or rate > highest
        highest = max(highest, rate)
        wanted = phase.batch_size * highest / rate
        batch = limits.nearest(wanted)
        if limits.cap is not None and wanted > limits.cap:
            capped.append(number)
        phases.append(_resized(phase, batch, rate * batch / phase.batch_size))
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
    return Schedule(tuple(phases), schedule.optimizer), notes


def _hybrid(schedule: Schedule, limits: Limits) -> _Route:
    factor = first_drop_factor(schedule)
    if factor is None:
        raise InputError("the learning rate never drops: there is no decay for the batch to take")
    phases, capped, dropped = [], [], False
    highest = exact(schedule.phases[0].learning_rate)
    for number, phase in enumerate(schedule.phases, 1):
        rate = exact(phase.learning_rate)
        dropped = dropped or rate < highest
        highest = max(highest, rate)
        wanted = phase.batch_size * (factor if dropped else Fraction(1))
        batch = limits.nearest(wanted)
        if limits.cap is not None and wanted > limits.cap:
            capped.append(number)
        phases.append(_resized(phase, batch, rate * batch / phase.batch_size))
    notes = _cap_note(limits, capped, "the learning rate takes the rest of the first drop")
    return Schedule(tuple(phases), schedule.optimizer), notes


def _scaled(
    schedule: Schedule, limits: Limits, rest: str
) -> tuple[list[tuple[Phase, int]], list[RuleWarning]]:
    """Each phase with κ times its batch size, within the limits; `rest` says what a cap does."""
    kappa = limits.ratio(schedule)
    wanted = [kappa * phase.batch_size for phase in schedule.phases]
    capped = [i for i, b in enumerate(wanted, 1) if limits.cap is not None and b > limits.cap]
    sizes = [limits.nearest(batch) for batch in wanted]
    pairs = list(zip(schedule.phases, sizes, strict=True))
    return pairs, _cap_note(limits, capped, rest)


def _learning_rate(schedule: Schedule, limits: Limits) -> _Route:
    pairs, notes = _scaled(schedule, limits, "the learning rate follows the capped batch")
    phases = [
        _resized(phase, batch, exact(phase.learning_rate) * batch / phase.batch_size)
        for phase, batch in pairs
    ]
    return Schedule(tuple(phases), schedule.optimizer), notes


def _momentum(schedule: Schedule, limits: Limits) -> _Route:
    pairs, notes = _scaled(schedule, limits, "the momentum follows the capped batch")
    phases = []
    for phase, batch in pairs:
        smallest = (1 - exact(phase.momentum)) * phase.batch_size
        one_minus = smallest / batch
        if 1 < one_minus <= 1 + Fraction(ROUNDING):
            one_minus = Fraction(1)
        if one_minus > 1:
            raise InputError(
                f"batch {phase.batch_size} → {batch} at momentum {phase.momentum:g} would need "
                f"1−m = {float(one_minus):.4g} above 1, a negative momentum: the batch cannot "
                f"shrink below (1−m) times its size, {float(smallest):.4g}; lower the learning "
                "rate instead"
            )
        phases.append(_resized(phase, batch, momentum=float(1 - one_minus)))
    return Schedule(tuple(phases), schedule.optimizer), notes


ROUTES: dict[str, Callable[[Schedule, Limits], _Route]] = {
    "grow-batch": _grow_batch,
    "hybrid": _hybrid,
    "learning-rate": _learning_rate,
    "momentum": _momentum,
}


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
    if wanted % limits.granularity == 0:
        return []
    return [
        RuleWarning(
            "rounded-to-granularity",
            f"batch sizes are multiples of {limits.granularity}, which {wanted} is not: the first "
            f" phase runs at {after.batch_size} with learning rate {after.learning_rate:.4g} "
            f"and momentum {after.momentum:.4g}",
            "rounding; the noise scale is kept",
        )
    ]
