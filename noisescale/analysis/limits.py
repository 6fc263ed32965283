"""What new batch sizes must respect, and the ratio that the rules count with."""

from dataclasses import dataclass
from fractions import Fraction

from noisescale.analysis.checks import exact, positive_integer
from noisescale.analysis.schedule import Schedule
from noisescale.errors import InputError


@dataclass(frozen=True, slots=True)
class Limits:
    """What the new batch sizes must respect, and what the rules count from."""

    target: int | None
    cap: int | None
    granularity: int
    base: int | None
    micro: int | None
    devices: int
    train_size: int | None
    default: "Drop | None"

    def nearest(self, batch: Fraction) -> int:
        """The multiple of the granularity nearest to `batch`, from one granule up to the cap."""
        granules = max(1, int(batch / self.granularity + Fraction(1, 2)))
        if self.cap is not None:
            granules = min(granules, self.cap // self.granularity)
        return granules * self.granularity

    def below(self, batch: Fraction) -> int:
        """The largest multiple of the granularity up to `batch` and the cap, or one granule."""
        granules = max(1, int(batch / self.granularity))
        if self.cap is not None:
            granules = min(granules, self.cap // self.granularity)
        return granules * self.granularity

    def ratio(self, schedule: Schedule) -> Fraction:
        """κ = target / first batch; by default the factor of the original's first drop."""
        first = schedule.phases[0].batch_size
        if self.target is not None:
            return Fraction(self.target, first)
        if self.base is not None:
            return Fraction(1)
        drop = self.default
        if drop is None:
            raise InputError(
                "the learning rate never drops from one value to another, so there is no default "
                "target: give target_batch_size (--to-batch)"
            )
        if self.nearest(drop.factor * first) == first:
            raise InputError(
                f"the first drop, by {float(drop.factor):.3g}, does not change a batch of "
                f"{first} within the limits: give target_batch_size (--to-batch)"
            )
        return drop.factor


def limits_of(
    schedule: Schedule,
    train_size: int | None,
    *,
    target: int | None,
    cap: int | None,
    granularity: int,
    base: int | None,
    micro: int | None,
    devices: int,
) -> Limits:
    """The checked limits of the batch size."""
    granularity = positive_integer("granularity", granularity)
    devices = positive_integer("devices", devices)
    base = None if base is None else positive_integer("base_batch_size", base)
    micro = None if micro is None else positive_integer("micro_batch_size", micro)
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
    default = first_drop(schedule, train_size)
    return Limits(target, cap, granularity, base, micro, devices, train_size, default)


@dataclass(frozen=True, slots=True)
class Drop:
    """The first place where the learning rate falls from one value to another at once."""

    phase: int
    time: Fraction
    factor: Fraction


def first_drop(schedule: Schedule, train_size: int | None) -> Drop | None:
    """The first drop; None where there is none, or where the rate falls smoothly before it."""
    highest = 0.0
    for number, phase in enumerate(schedule.phases):
        for piece in phase.pieces(phase.clock_size(train_size)):
            if piece.start_value < highest:
                if not piece.start_value:  # a restart from 0 is no drop by a factor
                    return None
                factor = exact(highest) / exact(piece.start_value)
                return Drop(number, piece.begin, factor)
            if piece.falls:
                return None
            highest = max(highest, piece.end_value)
    return None
