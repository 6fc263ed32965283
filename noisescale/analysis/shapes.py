"""Learning rates that change inside a phase: shapes in time, on the clock of examples."""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from fractions import Fraction
from itertools import pairwise
from typing import Any

from noisescale.analysis.checks import (
    at_least_zero,
    choice,
    exact,
    half_up,
    listed,
    positive,
    positive_integer,
)
from noisescale.analysis.pieces import Piece, whole_piece, window
from noisescale.errors import InputError, shown, unknown_name

SHAPES = (
    "constant",
    "step",
    "linear",
    "cosine",
    "exponential",
    "polynomial",
    "inverse-sqrt",
    "warmup-stable-decay",
)
_ALSO = {"wsd": "warmup-stable-decay", "inverse-square-root": "inverse-sqrt"}
DECAY_FORMS = ("linear", "cosine", "exponential", "sqrt")
UNITS = ("epochs", "updates", "examples")


@dataclass(frozen=True, slots=True, kw_only=True)
class Duration:
    """A stretch of time in exactly one unit.

    Args:
        epochs: passes over the training set.
        updates: weight updates at the phase's batch size.
        examples: examples (tokens are examples).
    """

    epochs: float | None = None
    updates: int | None = None
    examples: int | None = None

    def __post_init__(self) -> None:
        given = [unit for unit in UNITS if getattr(self, unit) is not None]
        if len(given) != 1:
            what = "none" if not given else " and ".join(given)
            raise InputError(
                f"a duration takes exactly one of epochs, updates, examples; given: {what}"
            )
        name = given[0]
        value = getattr(self, name)
        checked = positive(name, value) if name == "epochs" else positive_integer(name, value)
        object.__setattr__(self, name, checked)

    @property
    def unit(self) -> str:
        """Which of the three units it is given in."""
        return next(unit for unit in UNITS if getattr(self, unit) is not None)

    def exact_examples(self, train_size: int | None, batch_size: int) -> Fraction:
        """Examples before any rounding: E N, U B, or as given."""
        if self.examples is not None:
            return Fraction(self.examples)
        if self.updates is not None:
            return Fraction(self.updates * batch_size)
        if train_size is None:
            raise InputError("a duration in epochs needs train_size; give it, or use examples=")
        assert self.epochs is not None
        return exact(self.epochs) * train_size

    def stretched(self, factor: Fraction, old_batch: int, new_batch: int) -> "Duration":
        """`factor` times as many examples, kept in its unit where that is exact."""
        if self.epochs is not None:
            return Duration(epochs=float(exact(self.epochs) * factor))
        if self.updates is not None:
            updates = self.updates * factor * old_batch / new_batch
            if updates.denominator == 1 and updates >= 1:
                return Duration(updates=int(updates))
            return Duration(examples=max(1, half_up(self.updates * old_batch * factor)))
        assert self.examples is not None
        return Duration(examples=max(1, half_up(self.examples * factor)))


def duration_of(name: str, value: Any) -> Duration:
    """A Duration, or a mapping such as {"epochs": 5}."""
    if isinstance(value, Duration):
        return value
    if not isinstance(value, Mapping):
        raise InputError(f"{name}={shown(value)}: write it as {{epochs=5}}, with its unit")
    for key in value:
        if key not in UNITS:
            raise unknown_name(f"unit in {name}", key, UNITS)
    try:
        return Duration(**value)
    except InputError as error:
        raise InputError(f"{name}: {error}") from None


@dataclass(frozen=True, slots=True, kw_only=True)
class Warmup:
    """A straight line from `start` to the shape's own start, at the beginning of the shape.

    Args:
        epochs, updates, examples: its duration, exactly one.
        start: learning rate before the first update (default 0).
    """

    epochs: float | None = None
    updates: int | None = None
    examples: int | None = None
    start: float = 0.0

    def __post_init__(self) -> None:
        object.__setattr__(self, self.duration.unit, getattr(self.duration, self.duration.unit))
        object.__setattr__(self, "start", at_least_zero("warmup.start", self.start))

    @property
    def duration(self) -> Duration:
        """How long it lasts."""
        return Duration(epochs=self.epochs, updates=self.updates, examples=self.examples)


@dataclass(frozen=True, slots=True, kw_only=True)
class Shape:
    """ε(x), x the share of the shape's examples seen: "cosine" ε_end + (ε−ε_end)(1+cos πx)/2, …

    Args:
        shape: "constant", "step", "linear", "cosine", "exponential", "polynomial",
            "inverse-sqrt" or "warmup-stable-decay" ("wsd").
        start: ε, the learning rate after the warm-up and before any decay.
        end: the learning rate at the end (default 0; needed by "exponential", above 0).
        power: p of "polynomial", ε_end + (ε−ε_end)(1−x)^p (default 1).
        timescale: τ of "inverse-sqrt", ε √(τ/(τ+s)) at s examples after the warm-up; by
            default the warm-up's duration, which gives ε √(warm-up/examples seen).
        milestones: of "step": {"epochs": [30, 60]}; at each, ε is divided by `factor`.
        factor: of "step".
        decay: of "warmup-stable-decay": how long its decay lasts, at the end.
        decay_form: of "warmup-stable-decay": "linear" (default), "cosine", "exponential" or
            "sqrt" (ε (1 − √x)).
        warmup: a Warmup or {"epochs": 5, "start": 0.0}: a straight line up to ε first.
        of: the whole duration of the shape; by default that of its phase.
        skip: how much of the shape is already over when the phase begins.

    Raises:
        InputError: an unknown shape, or an argument missing, superfluous or out of range.
    """

    shape: str
    start: float
    end: float | None = None
    power: float | None = None
    timescale: Duration | None = None
    milestones: Any = None
    factor: float | None = None
    decay: Duration | None = None
    decay_form: str | None = None
    warmup: Warmup | None = None
    of: Duration | None = None
    skip: Duration | None = None

    def __post_init__(self) -> None:
        name = _ALSO.get(self.shape, self.shape) if isinstance(self.shape, str) else self.shape
        name = choice("shape", name, SHAPES)
        put = object.__setattr__
        put(self, "shape", name)
        put(self, "start", positive("start", self.start))
        self._only_what_belongs(str(name))
        if self.end is not None:
            put(self, "end", at_least_zero("end", self.end))
        for key in ("power", "factor"):
            if getattr(self, key) is not None:
                put(self, key, positive(key, getattr(self, key)))
        if self.factor is not None and self.factor <= 1:
            raise InputError(
                f"factor={self.factor:g}: the rate is divided by it at each milestone, so it must "
                "be above 1 (PyTorch's gamma is its inverse)"
            )
        for key in ("timescale", "decay", "of", "skip"):
            if getattr(self, key) is not None:
                put(self, key, duration_of(key, getattr(self, key)))
        put(self, "warmup", _warmup_of(self.warmup))
        put(self, "milestones", _milestones_of(self.milestones))
        self._check_needs()

    def _only_what_belongs(self, name: str) -> None:
        for key in ("end", "power", "timescale", "milestones", "factor", "decay", "decay_form"):
            if getattr(self, key) is not None and name not in _BELONGS[key]:
                allowed = ", ".join(_BELONGS[key])
                raise InputError(f"{key} does not belong to shape {name!r}, only to {allowed}")

    def _check_needs(self) -> None:
        if self.shape == "step" and (not self.milestones or self.factor is None):
            raise InputError("shape 'step' needs milestones={epochs=[30, 60]} and factor=10")
        if self.shape == "warmup-stable-decay" and self.decay is None:
            raise InputError("shape 'warmup-stable-decay' needs decay={epochs=20}, its last part")
        if self.decay_form is not None:
            choice("decay_form", self.decay_form, DECAY_FORMS)
        exponential = self.shape == "exponential" or self.decay_form == "exponential"
        if exponential and not self.end:
            raise InputError("an exponential decay needs an end above 0")
        if self.shape == "inverse-sqrt" and self.timescale is None and self.warmup is None:
            raise InputError("shape 'inverse-sqrt' needs a warmup or a timescale={updates=10000}")

    def units(self) -> set[str]:
        """The units that its durations are given in."""
        parts = [self.timescale, self.decay, self.of, self.skip, *(self.milestones or ())]
        found = {part.unit for part in parts if part is not None}
        return found | ({self.warmup.duration.unit} if self.warmup else set())

    def changed(self, **changes: Any) -> "Shape":
        """The shape with some fields replaced."""
        return _replaced(self, **changes)

    def scaled(self, factor: Fraction | float) -> "Shape":
        """Every learning rate of the shape times `factor`."""

        def times(value: float) -> float:
            if isinstance(factor, Fraction):
                return float(exact(value) * factor)
            return value * factor

        warmup = self.warmup
        if warmup is not None:
            warmup = _replaced(warmup, start=times(warmup.start))
        end = None if self.end is None else times(self.end)
        return _replaced(self, start=times(self.start), end=end, warmup=warmup)

    def stretched(self, factor: Fraction, old_batch: int, new_batch: int) -> "Shape":
        """Every duration `factor` times as many examples, at another batch size."""
        changes: dict[str, Any] = {}
        for key in ("timescale", "decay", "of", "skip"):
            value = getattr(self, key)
            if value is not None:
                changes[key] = value.stretched(factor, old_batch, new_batch)
        if self.warmup is not None:
            longer = self.warmup.duration.stretched(factor, old_batch, new_batch)
            changes["warmup"] = Warmup(
                start=self.warmup.start, **{longer.unit: getattr(longer, longer.unit)}
            )
        if self.milestones:
            changes["milestones"] = tuple(
                m.stretched(factor, old_batch, new_batch) for m in self.milestones
            )
        return _replaced(self, **changes) if changes else self

    def pieces(
        self, length: Fraction, train_size: int | None, batch_size: int
    ) -> tuple[Piece, ...]:
        """The monotone pieces over a phase of `length` examples at this batch size.

        Raises:
            InputError: a part longer than the shape, or a unit that needs a train size.
        """

        def examples(duration: Duration) -> Fraction:
            return duration.exact_examples(train_size, batch_size)

        skip = Fraction(0) if self.skip is None else examples(self.skip)
        whole = skip + length if self.of is None else examples(self.of)
        # Rounding of durations to whole examples or decimals may exceed the shape by as much.
        slack = Fraction(1) + whole * Fraction(1, 10**9)
        if skip + length > whole + slack:
            raise InputError(
                f"the phase runs to {float(skip + length):,.6g} examples of a shape of "
                f"{float(whole):,.6g}: lengthen `of` or shorten the phase"
            )
        pieces = self._all_pieces(whole, examples)
        return window(pieces, skip, length)

    def _all_pieces(self, whole: Fraction, examples: Any) -> list[Piece]:
        warm = Fraction(0) if self.warmup is None else examples(self.warmup.duration)
        if warm >= whole:
            raise InputError(
                f"the warmup of {float(warm):,.6g} examples fills the shape of "
                f"{float(whole):,.6g}: shorten the warmup or lengthen the phase"
            )
        pieces = []
        if self.warmup is not None:
            pieces.append(whole_piece(Fraction(0), warm, "linear", self.warmup.start, self.start))
        begin, end = warm, 0.0 if self.end is None else self.end
        if self.shape == "step":
            pieces += self._steps(warm, whole, [examples(m) for m in self.milestones])
        elif self.shape == "constant":
            pieces.append(whole_piece(begin, whole, "constant", self.start, self.start))
        elif self.shape == "inverse-sqrt":
            tau = float(warm if self.timescale is None else examples(self.timescale))
            last = self.start * (tau / (tau + float(whole - warm))) ** 0.5
            pieces.append(whole_piece(begin, whole, "inverse-sqrt", self.start, last, tau))
        elif self.shape == "warmup-stable-decay":
            assert self.decay is not None
            turn = whole - examples(self.decay)
            if turn < warm:
                raise InputError(
                    "warmup and decay together are longer than the shape: shorten one of them"
                )
            if turn > warm:
                pieces.append(whole_piece(begin, turn, "constant", self.start, self.start))
            pieces.append(whole_piece(turn, whole, self.decay_form or "linear", self.start, end))
        else:
            power = 1.0 if self.power is None else self.power
            parameter = power if self.shape == "polynomial" else 0.0
            pieces.append(whole_piece(begin, whole, self.shape, self.start, end, parameter))
        return pieces

    def _steps(self, warm: Fraction, whole: Fraction, milestones: list[Fraction]) -> list[Piece]:
        edges = [warm, *milestones, whole]
        for low, high in pairwise(edges):
            if not low < high:
                raise InputError(
                    "milestones must increase, from after the warmup to before the shape's end"
                )
        assert self.factor is not None
        try:
            rates = [
                positive("learning rate after a milestone", float(exact(self.start) / f))
                for f in (exact(self.factor) ** j for j in range(len(edges) - 1))
            ]
        except (InputError, OverflowError):
            raise InputError(
                f"factor={self.factor:g}: the learning rates after {len(edges) - 2} milestones "
                "leave 1e-100 … 1e100; use a smaller factor or fewer milestones"
            ) from None
        return [
            whole_piece(low, high, "constant", rate, rate)
            for (low, high), rate in zip(pairwise(edges), rates, strict=True)
        ]


_BELONGS = {
    "end": ("linear", "cosine", "exponential", "polynomial", "warmup-stable-decay"),
    "power": ("polynomial",),
    "timescale": ("inverse-sqrt",),
    "milestones": ("step",),
    "factor": ("step",),
    "decay": ("warmup-stable-decay",),
    "decay_form": ("warmup-stable-decay",),
}


def shape_of(value: Any) -> Shape:
    """A Shape, or a mapping such as {"shape": "cosine", "start": 0.1, "end": 0.0}."""
    if isinstance(value, Shape):
        return value
    known = [f.name for f in fields(Shape)]
    for key in value:
        if key not in known:
            raise unknown_name("key of a shape", key, known)
    for needed in ("shape", "start"):
        if needed not in value:
            raise InputError(f"a shape needs {needed!r}: write it as {{shape='cosine', start=0.1}}")
    return Shape(**value)


def _replaced(value: Any, **changes: Any) -> Any:
    kept = {f.name: getattr(value, f.name) for f in fields(value)}
    return type(value)(**{**kept, **changes})


def _warmup_of(value: Any) -> Warmup | None:
    if value is None or isinstance(value, Warmup):
        return value
    if isinstance(value, Duration):
        value = {value.unit: getattr(value, value.unit)}
    if not isinstance(value, Mapping):
        raise InputError(f"warmup={shown(value)}: write it as {{epochs=5}}, with its unit")
    known = (*UNITS, "start")
    for key in value:
        if key not in known:
            raise unknown_name("key of warmup", key, known)
    try:
        return Warmup(**value)
    except InputError as error:
        raise InputError(f"warmup: {error}") from None


def _milestones_of(value: Any) -> tuple[Duration, ...] | None:
    hint = "write them as {epochs=[30, 60]}, with their unit"
    if value is None:
        return None
    if isinstance(value, Mapping):
        if len(value) != 1 or next(iter(value)) not in UNITS:
            raise InputError(f"milestones={shown(dict(value))}: {hint}")
        ((unit, times),) = value.items()
        times = listed("milestones", times, hint)
        return tuple(duration_of("milestones", {unit: time}) for time in times)
    value = listed("milestones", value, hint)
    if not all(isinstance(m, Duration | Mapping) for m in value):
        raise InputError(f"milestones={shown(value)}: {hint}")
    return tuple(duration_of("milestones", m) for m in value)
