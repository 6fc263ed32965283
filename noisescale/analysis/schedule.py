"""Phases of constant hyper-parameters, and the one place that rounds durations into updates."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from fractions import Fraction
from math import inf, isfinite
from numbers import Integral, Real
from typing import Any, Literal

from noisescale.errors import InputError, unknown_name

PartialBatch = Literal["carry", "drop", "keep", "wrap"]
PARTIAL_BATCH_POLICIES = ("carry", "drop", "keep", "wrap")
LARGEST_INTEGER = 10**18
SMALLEST_REAL, LARGEST_REAL = 1e-100, 1e100


def exact(value: float | int) -> Fraction:
    """The decimal number as it was written: 0.1 is 1/10, not its binary neighbour."""
    return Fraction(int(value)) if isinstance(value, Integral) else Fraction(repr(float(value)))


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


@dataclass(frozen=True, slots=True, kw_only=True)
class Phase:
    """A stretch of training at constant hyper-parameters; exactly one duration.

    Args:
        epochs: duration in passes over the training set (may be fractional).
        updates: duration in weight updates.
        examples: duration in examples seen (tokens are examples).
        learning_rate: ε > 0, per update of the mean gradient.
        batch_size: B ≥ 1, examples per update over all devices.
        momentum: m in [0, 1), heavy ball: v ← m v + gradient, w ← w − ε v.
        weight_decay: λ ≥ 0, coupled: λ w is added to the gradient.

    Raises:
        InputError: none or several durations, or a value outside its range.
    """

    epochs: float | None = None
    updates: int | None = None
    examples: int | None = None
    learning_rate: float
    batch_size: int
    momentum: float = 0.0
    weight_decay: float = 0.0

    def __post_init__(self) -> None:
        given = [n for n in ("epochs", "updates", "examples") if getattr(self, n) is not None]
        if len(given) != 1:
            what = "none" if not given else " and ".join(given)
            raise InputError(
                f"a phase takes exactly one of epochs, updates, examples; given: {what}"
            )
        if self.epochs is not None:
            hint = "it must be a finite number above 0"
            real_number("epochs", self.epochs, above=0.0, hint=hint)
        else:
            name = given[0]
            object.__setattr__(self, name, positive_integer(name, getattr(self, name)))
        rate_hint = "it must be a finite number above 0"
        rate = real_number("learning_rate", self.learning_rate, above=0.0, hint=rate_hint)
        momentum = real_number("momentum", self.momentum, hint="it must lie in [0, 1)")
        if momentum >= 1:
            raise InputError(f"momentum={shown(self.momentum)}: it must lie in [0, 1)")
        decay_hint = "it must be a finite number of at least 0"
        decay = real_number("weight_decay", self.weight_decay, hint=decay_hint)
        object.__setattr__(self, "learning_rate", rate)
        object.__setattr__(self, "batch_size", positive_integer("batch_size", self.batch_size))
        object.__setattr__(self, "momentum", momentum)
        object.__setattr__(self, "weight_decay", decay)

    def exact_examples(self, train_size: int | None) -> Fraction:
        """Examples in the phase before any rounding: E N, U B, or as given."""
        if self.examples is not None:
            return Fraction(self.examples)
        if self.updates is not None:
            return Fraction(self.updates * self.batch_size)
        if train_size is None:
            raise InputError("a duration in epochs needs train_size; give it, or use examples=")
        assert self.epochs is not None
        return exact(self.epochs) * train_size


@dataclass(frozen=True, slots=True)
class PlanRow:
    """One phase with its whole number of updates.

    Args:
        start_update, updates: the phase runs updates start_update+1 … start_update+updates.
        start_examples, end_examples: where the phase lies on the clock of examples, as an
            exact fraction.
        examples: examples that these updates see.
        noise_scale: g = εN/(B(1−m)); ε/(B(1−m)), that is g per training example, without N.
        noise_scale_finite_population: ε(N/B−1)/(1−m); None without N.
    """

    start_update: int
    updates: int
    start_examples: Fraction
    end_examples: Fraction
    epochs: float | None
    examples: int
    learning_rate: float
    batch_size: int
    momentum: float
    weight_decay: float
    noise_scale: float
    noise_scale_finite_population: float | None

    @property
    def effective_learning_rate(self) -> float:
        """ε/(1−m)."""
        return self.learning_rate / (1.0 - self.momentum)

    @property
    def sde_time(self) -> float:
        """ε/(1−m) × updates: time of the stochastic differential equation spent here."""
        return self.effective_learning_rate * self.updates


@dataclass(frozen=True, slots=True)
class Plan:
    """A schedule in whole updates.

    Args:
        updates: total weight updates.
        updates_exact: Σ E N/B, before any rounding.
        examples: examples that the updates see.
        rows: one PlanRow per phase.
    """

    train_size: int | None
    partial: str
    updates: int
    updates_exact: float
    examples: int
    rows: tuple[PlanRow, ...]

    @property
    def sde_time(self) -> float:
        """Σ ε/(1−m) over the planned updates."""
        return sum(row.sde_time for row in self.rows)

    def update_at(self, epoch: float) -> int:
        """The update after which `epoch` epochs are nearest, half rounding up (`carry` only).

        It agrees with the phases' ends: update_at(end of phase j) is the last update of row j.
        """
        if self.partial != "carry" or self.train_size is None:
            raise InputError("update_at needs a plan with partial='carry' and a train_size")
        target = exact(epoch) * self.train_size
        done = Fraction(0)
        for row in self.rows:
            span = row.end_examples - row.start_examples
            inside = min(max(target - row.start_examples, Fraction(0)), span)
            done += inside / row.batch_size
        return min(_half_up(done), self.updates)


def _half_up(value: Fraction) -> int:
    return (2 * value.numerator + value.denominator) // (2 * value.denominator)


@dataclass(frozen=True, slots=True)
class Schedule:
    """Phases one after the other, for one optimizer.

    Args:
        phases: at least one Phase.
        optimizer: "sgd" (with or without momentum).

    Raises:
        InputError: no phase, or an unknown optimizer.
    """

    phases: tuple[Phase, ...]
    optimizer: str = field(default="sgd")

    def __post_init__(self) -> None:
        phases: Any = self.phases
        if isinstance(phases, Phase):
            phases = (phases,)
        if not isinstance(phases, Iterable):
            raise InputError(f"phases={phases!r}: give a list of Phase")
        phases = tuple(phases)
        if not phases:
            raise InputError("phases is empty: a schedule needs at least one phase")
        for phase in phases:
            if not isinstance(phase, Phase):
                raise InputError(f"phases holds {phase!r}: every entry must be a Phase")
        if self.optimizer != "sgd":
            raise unknown_name("optimizer", self.optimizer, ["sgd"])
        object.__setattr__(self, "phases", phases)

    def plan(self, train_size: int | None = None, partial: str = "carry") -> Plan:
        """Whole updates per phase: R_j = ⌊Σ_{i≤j} E_i N/B_i + ½⌋ under "carry".

        Args:
            train_size: N; may be None where no duration is in epochs and partial is "carry".
            partial: what happens to a batch that an epoch does not fill.
                "carry": the data is one stream of epochs and batches straddle them.
                "drop", "keep": each epoch's share n of a phase gives ⌊n/B⌋, ⌈n/B⌉ updates.
                "wrap": ⌊N/B⌋ updates count as an epoch of a stream that continues.

        Raises:
            InputError: N missing or not a whole number, B > N, an unknown policy, no update.

        A phase given in updates keeps that number under every policy.
        """
        if partial not in PARTIAL_BATCH_POLICIES:
            raise unknown_name("partial-batch policy", partial, PARTIAL_BATCH_POLICIES)
        if train_size is not None:
            train_size = positive_integer("train_size", train_size)
            for phase in self.phases:
                if phase.batch_size > train_size:
                    raise InputError(
                        f"batch_size={phase.batch_size} exceeds train_size={train_size}: stop "
                        "growing the batch and lower the learning rate instead"
                    )
        elif partial != "carry":
            raise InputError(f"partial={partial!r} cuts epochs, so it needs train_size")
        if partial in ("drop", "keep"):
            assert train_size is not None
            counts = _count_by_epoch(self.phases, train_size, keep=partial == "keep")
        else:
            counts = _count_stream(self.phases, train_size, wrap=partial == "wrap")
        return _assemble(self.phases, counts, train_size, partial)


def _count_stream(
    phases: tuple[Phase, ...], train_size: int | None, wrap: bool
) -> list[tuple[int, int]]:
    """(updates, examples) per phase where batches straddle epochs."""
    counts, exact_updates, done = [], Fraction(0), 0
    for phase in phases:
        if wrap and phase.updates is None:
            assert train_size is not None
            epochs = phase.exact_examples(train_size) / train_size
            exact_updates += epochs * (train_size // phase.batch_size)
        else:
            exact_updates += phase.exact_examples(train_size) / phase.batch_size
        end = _half_up(exact_updates)
        counts.append((end - done, (end - done) * phase.batch_size))
        done = end
    return counts


def _count_by_epoch(
    phases: tuple[Phase, ...], train_size: int, keep: bool
) -> list[tuple[int, int]]:
    """(updates, examples) per phase where every epoch drops or keeps its last partial batch."""
    counts, clock = [], Fraction(0)
    for phase in phases:
        start, batch = _half_up(clock), phase.batch_size
        if phase.updates is not None:
            end = _end_after_updates(start, phase.updates, batch, train_size, keep)
            clock, updates = Fraction(end), phase.updates
        else:
            clock += phase.exact_examples(train_size)
            end = _half_up(clock)
            updates = sum(
                times * (-(-share // batch) if keep else share // batch)
                for share, times in _shares(start, end, train_size)
            )
        counts.append((updates, end - start if keep else updates * batch))
    return counts


def _shares(start: int, end: int, train_size: int) -> list[tuple[int, int]]:
    """The examples [start, end) of the stream cut at epoch ends: (share, how many such)."""
    first_end = (start // train_size + 1) * train_size
    if end <= first_end:
        return [(end - start, 1)]
    full, last = divmod(end - first_end, train_size)
    return [(first_end - start, 1), (train_size, full), (last, 1)]


def _end_after_updates(start: int, updates: int, batch: int, train_size: int, keep: bool) -> int:
    """Where on the stream a number of updates ends; an epoch that can give no more is left."""

    def per_share(share: int) -> int:
        return -(-share // batch) if keep else share // batch

    first_end = (start // train_size + 1) * train_size
    in_first = per_share(first_end - start)
    if updates < in_first:
        return start + updates * batch
    full, rest = divmod(updates - in_first, per_share(train_size))
    return first_end + full * train_size + rest * batch


def _assemble(
    phases: tuple[Phase, ...],
    counts: list[tuple[int, int]],
    train_size: int | None,
    partial: str,
) -> Plan:
    rows, start_update, clock, exact_updates = [], 0, Fraction(0), Fraction(0)
    for phase, (updates, examples) in zip(phases, counts, strict=True):
        span = phase.exact_examples(train_size)
        exact_updates += span / phase.batch_size
        effective = phase.learning_rate / (1.0 - phase.momentum)
        ratio = 1 / phase.batch_size if train_size is None else train_size / phase.batch_size
        rows.append(
            PlanRow(
                start_update=start_update,
                updates=updates,
                start_examples=clock,
                end_examples=clock + span,
                epochs=None if train_size is None else float(span / train_size),
                examples=examples,
                learning_rate=phase.learning_rate,
                batch_size=phase.batch_size,
                momentum=phase.momentum,
                weight_decay=phase.weight_decay,
                noise_scale=effective * ratio,
                noise_scale_finite_population=None
                if train_size is None
                else effective * (ratio - 1.0),
            )
        )
        start_update += updates
        clock += span
    if start_update == 0:
        raise InputError(
            f"the plan has no update under partial={partial!r}: lengthen the phases or lower "
            "the batch size"
        )
    return Plan(
        train_size=train_size,
        partial=partial,
        updates=start_update,
        updates_exact=float(exact_updates),
        examples=sum(examples for _, examples in counts),
        rows=tuple(rows),
    )
