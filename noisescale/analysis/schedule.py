"""Schedules: phases one after the other, each with its learning rate, batch size and momentum."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, fields
from fractions import Fraction
from math import isqrt
from typing import Any

from noisescale.analysis.checks import (
    LARGEST_INTEGER,
    at_least_zero,
    choice,
    exact,
    fraction_below_one,
    half_up,
    listed,
    positive,
    positive_integer,
)
from noisescale.analysis.pieces import Piece, constant_piece
from noisescale.analysis.plan import PARTIAL_BATCH_POLICIES, Plan, make_plan
from noisescale.analysis.shapes import Duration, Shape, shape_of
from noisescale.errors import InputError, shown

WEIGHT_DECAYS = ("coupled", "decoupled", "independent")
# A part of a phase in epochs keeps that unit if so many decimals write it exactly.
_EPOCH_DECIMALS = 9


@dataclass(frozen=True, slots=True, kw_only=True)
class Phase:
    """A stretch of training at one batch size; exactly one duration.

    Args:
        epochs: duration in passes over the training set (may be fractional).
        updates: duration in weight updates.
        examples: duration in examples seen (tokens are examples).
        learning_rate: ε > 0, per update of the mean gradient; or a Shape in time, also as a
            mapping: {"shape": "cosine", "start": 0.1, "end": 0.0, "warmup": {"epochs": 5}}.
        batch_size: B ≥ 1, examples per update over all devices.
        momentum: m in [0, 1), heavy ball: v ← m v + gradient, w ← w − ε v.
        weight_decay: λ ≥ 0; see Schedule for how it enters.

    Raises:
        InputError: none or several durations, or a value outside its range.
    """

    epochs: float | None = None
    updates: int | None = None
    examples: int | None = None
    learning_rate: Any
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
        put, name = object.__setattr__, given[0]
        if name == "epochs":
            put(self, name, positive("epochs", self.epochs))
        else:
            put(self, name, positive_integer(name, getattr(self, name)))
        put(self, "learning_rate", _rate_of(self.learning_rate))
        put(self, "batch_size", positive_integer("batch_size", self.batch_size))
        put(self, "momentum", fraction_below_one("momentum", self.momentum))
        put(self, "weight_decay", at_least_zero("weight_decay", self.weight_decay))

    @property
    def duration(self) -> Duration:
        """Its length, with the unit."""
        return Duration(epochs=self.epochs, updates=self.updates, examples=self.examples)

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

    def pieces(self, train_size: int | None) -> tuple[Piece, ...]:
        """The learning rate as monotone pieces, in examples from the start of the phase."""
        length = self.exact_examples(train_size)
        if isinstance(self.learning_rate, Shape):
            return self.learning_rate.pieces(length, train_size, self.batch_size)
        return (constant_piece(self.learning_rate, length),)

    def units(self) -> set[str]:
        """The units that its durations are given in."""
        rate = self.learning_rate
        return {self.duration.unit} | (rate.units() if isinstance(rate, Shape) else set())

    def clock_size(self, train_size: int | None) -> int | None:
        """N, or without it 1 if all durations are in epochs: time is then counted in epochs.

        Raises:
            InputError: no N, and durations both in epochs and in another unit.
        """
        if train_size is not None or self.epochs is None:
            return train_size
        if self.units() - {"epochs"}:
            raise InputError(
                "a phase in epochs whose learning rate counts in updates or examples needs "
                "train_size"
            )
        return 1

    def changed(self, **changes: Any) -> "Phase":
        """The phase with some fields replaced."""
        kept = {f.name: getattr(self, f.name) for f in fields(self)}
        return Phase(**{**kept, **changes})

    def part(self, begin: Fraction, end: Fraction, train_size: int | None) -> "Phase":
        """The stretch [begin, end) of the phase, in examples (in epochs without a train size)."""
        size = self.clock_size(train_size)
        whole = self.exact_examples(size)
        if begin <= 0 and end >= whole:
            return self
        duration = self._duration(begin, end, size, train_size is None)
        rate = self.learning_rate
        if isinstance(rate, Shape):
            inside = [p for p in self.pieces(size) if p.begin < end and p.end > begin]
            if len(inside) == 1 and inside[0].form == "constant":
                rate = inside[0].first
            else:
                before = rate.skip.exact_examples(size, self.batch_size) if rate.skip else 0
                skip = None
                if before + begin > 0:
                    skip = self._duration(Fraction(0), before + begin, size, train_size is None)
                of = rate.of
                if of is None:  # the shape ends with the phase
                    of = self._duration(Fraction(0), before + whole, size, train_size is None)
                rate = rate.changed(of=of, skip=skip)
        lengths = {"epochs": None, "updates": None, "examples": None}
        lengths[duration.unit] = getattr(duration, duration.unit)
        return self.changed(learning_rate=rate, **lengths)

    def _duration(
        self, begin: Fraction, end: Fraction, size: int | None, in_epochs: bool
    ) -> Duration:
        """[begin, end) in the phase's own unit where that writes it exactly, else in examples."""
        span = end - begin
        if self.updates is not None and (span / self.batch_size).denominator == 1:
            return Duration(updates=int(span / self.batch_size))
        if self.epochs is not None:
            assert size is not None
            epochs = span / size
            short = (epochs * 10**_EPOCH_DECIMALS).denominator == 1
            if in_epochs or short or span.denominator != 1:
                return Duration(epochs=float(epochs))
        if self.epochs is not None and span > LARGEST_INTEGER:
            return Duration(epochs=float(span / (size or 1)))
        # Ends are rounded, not lengths, so that parts add up to the whole.
        return Duration(examples=max(1, half_up(end) - half_up(begin)))


def _rate_of(value: Any) -> float | Shape:
    if isinstance(value, Mapping | Shape):
        try:
            shape = shape_of(value)
        except InputError as error:
            raise InputError(f"learning_rate: {error}") from None
        plain = shape.shape == "constant" and shape.warmup is None
        return shape.start if plain else shape
    if isinstance(value, str):
        raise InputError(
            f"learning_rate={shown(value)}: write a number without quotes, or a shape such as "
            "{shape='cosine', start=0.1}"
        )
    return positive("learning_rate", value)


@dataclass(frozen=True, slots=True)
class Handover:
    """The point at which a run was cut, and what it ran with until there.

    Args:
        examples, updates: done so far (updates before any rounding, rounded half up; None
            where they cannot be counted).
        learning_rate, batch_size, momentum: in force just before.
    """

    examples: int
    updates: int | None
    learning_rate: float
    batch_size: int
    momentum: float


@dataclass(frozen=True, slots=True)
class Schedule:
    """Phases one after the other, for one optimizer.

    Args:
        phases: at least one Phase.
        optimizer: "sgd" (with or without momentum).
        decay: how λ enters. "coupled": λw is added to the gradient (PyTorch's SGD);
            "decoupled": w ← w − ελw beside the step; "independent": w ← w − λw.
        ema_decay: ρ in [0, 1) of an average of the weights, w̄ ← ρ w̄ + (1−ρ) w per update.
        batch_norm_decay: the same for the running statistics of batch norm (Keras calls it
            momentum; PyTorch's momentum is 1 minus it).
        resumed: set by `after`.

    Raises:
        InputError: no phase, or an unknown optimizer or form of decay.
    """

    phases: tuple[Phase, ...]
    optimizer: str = "sgd"
    decay: str = "coupled"
    ema_decay: float | None = None
    batch_norm_decay: float | None = None
    resumed: Handover | None = field(default=None, compare=False)

    def __post_init__(self) -> None:
        phases: Any = self.phases
        if isinstance(phases, Phase):
            phases = (phases,)
        phases = tuple(listed("phases", phases, "give a list of Phase"))
        if not phases:
            raise InputError("phases is empty: a schedule needs at least one phase")
        for phase in phases:
            if not isinstance(phase, Phase):
                raise InputError(f"phases holds {shown(phase)}: every entry must be a Phase")
        choice("optimizer", self.optimizer, ["sgd"])
        choice("weight decay", self.decay, WEIGHT_DECAYS)
        for name in ("ema_decay", "batch_norm_decay"):
            if getattr(self, name) is not None:
                value = fraction_below_one(name, getattr(self, name))
                object.__setattr__(self, name, value)
        object.__setattr__(self, "phases", phases)

    def with_phases(self, phases: Iterable[Phase]) -> "Schedule":
        """Other phases for the same optimizer."""
        return Schedule(
            tuple(phases),
            self.optimizer,
            self.decay,
            self.ema_decay,
            self.batch_norm_decay,
            self.resumed,
        )

    def plan(self, train_size: int | None = None, partial: str = "carry") -> Plan:
        """Whole updates per phase: R_j = ⌊Σ_{i≤j} E_i N/B_i + ½⌋ under "carry".

        A shape's learning rate is that at the examples seen before the update.

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
        choice("partial-batch policy", partial, PARTIAL_BATCH_POLICIES)
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
        return make_plan(self.phases, train_size, partial)

    def after(
        self,
        *,
        examples: int | None = None,
        epochs: float | None = None,
        train_size: int | None = None,
    ) -> "Schedule":
        """The rest of the run after so many examples: ε(t), B(t), m(t) for t ≥ examples.

        What to do with the momentum buffer, Adam's moments and the scheduler's step is said
        by `handover_notes` and in the warnings of `equivalents` of the rest.

        Args:
            examples: seen so far, over all phases; 0 leaves the schedule whole.
            epochs: the same in epochs, rounded to whole examples; give one of the two.
            train_size: N; needed where durations are in epochs.

        Raises:
            InputError: the run is over by then, or N is missing.
        """
        if train_size is not None:
            train_size = positive_integer("train_size", train_size)
        if (examples is None) == (epochs is None):
            raise InputError("after takes exactly one of examples and epochs")
        if epochs is not None:
            if train_size is None:
                raise InputError("epochs are counted in examples: give train_size")
            examples = half_up(exact(at_least_zero("epochs", epochs)) * train_size)
        elif type(examples) is not int or examples:
            examples = positive_integer("examples", examples)
        assert examples is not None
        if not examples:
            return self
        start, updates = Fraction(0), Fraction(0)
        for number, phase in enumerate(self.phases):
            span = phase.exact_examples(train_size)
            inside = examples - start
            if inside < span:
                return self._cut(number, inside, updates, examples, train_size)
            start += span
            updates += span / phase.batch_size
        raise InputError(
            f"examples={examples:,}: the run is over after {float(start):,.10g} examples, so "
            "nothing is left"
        )

    def _cut(
        self, number: int, inside: Fraction, updates: Fraction, examples: int, size: int | None
    ) -> "Schedule":
        phase = self.phases[number]
        span = phase.exact_examples(size)
        left = self.phases[number + 1 :]
        if span - inside >= Fraction(1, 2):  # less is no example
            left = (phase.part(inside, span, size), *left)
        ran = phase if inside else self.phases[number - 1]
        updates += inside / phase.batch_size
        at = float(inside if inside else ran.exact_examples(size))
        rate = next(p for p in reversed(ran.pieces(size)) if p.begin <= at)
        handover = Handover(
            examples if self.resumed is None else self.resumed.examples + examples,
            half_up(updates) + ((self.resumed.updates or 0) if self.resumed else 0),
            float(rate.at(at)),
            ran.batch_size,
            ran.momentum,
        )
        return Schedule(
            left, self.optimizer, self.decay, self.ema_decay, self.batch_norm_decay, handover
        )


def root(value: Fraction) -> Fraction | float:
    """√value, exact where both terms are squares."""
    up, down = isqrt(value.numerator), isqrt(value.denominator)
    if up * up == value.numerator and down * down == value.denominator:
        return Fraction(up, down)
    return float(value) ** 0.5
