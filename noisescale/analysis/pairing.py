"""Two schedules side by side on one clock."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import partial
from itertools import pairwise

from noisescale.analysis.pieces import Piece
from noisescale.analysis.schedule import Phase, Schedule

# Where a stretch with a changing rate is looked at, as shares of its length: in between, and
# next to its ends, where a monotone rate has its extremes.
_NEAR = 1e-9
_ROUTE_LOOKS = (_NEAR, 0.25, 0.5, 0.75, 0.999)
# Ends that are this near, as a share of the time, are one end written in two roundings.
_ROUNDED = Fraction(1, 10**10)
_DIFF_LOOKS = (_NEAR, *(k / 64 for k in range(1, 64)), 0.999)


@dataclass(frozen=True, slots=True)
class Values:
    """The hyper-parameters in force at one time."""

    learning_rate: float
    batch_size: int
    momentum: float
    weight_decay: float

    @property
    def effective_learning_rate(self) -> float:
        """ε/(1−m)."""
        return self.learning_rate / (1.0 - self.momentum)


@dataclass(frozen=True, slots=True)
class Point:
    """A time of the original (in epochs with a train size, else on its own clock), and values."""

    time: float
    before: Values
    after: Values


@dataclass(frozen=True, slots=True)
class Stretch:
    """A time in which both rates are monotone, or constant.

    Args:
        at: the point at a share in (0, 1) of the stretch.
        looks: the shares at which it is looked at.
    """

    at: Callable[[float], Point]
    looks: tuple[float, ...]

    def points(self) -> Iterator[Point]:
        """The points at the looks."""
        return map(self.at, self.looks)


def by_parents(
    before: Schedule, after: Schedule, parents: Sequence[int], train_size: int | None
) -> Iterator[Stretch]:
    """Each phase of `after` beside the part of the original phase that it replaces."""
    children: dict[int, list[Phase]] = {}
    for parent, child in zip(parents, after.phases, strict=True):
        children.setdefault(parent, []).append(child)
    clock, unit = 0.0, train_size or 1
    for number, phase in enumerate(before.phases):
        size = phase.clock_size(train_size)
        span = phase.exact_examples(size)
        group = children[number]
        spans = [child.exact_examples(child.clock_size(train_size)) for child in group]
        stretch, begin = sum(spans, Fraction(0)) / span, Fraction(0)
        steady = _steady(phase)
        olds = () if steady else phase.pieces(size)
        for child, length in zip(group, spans, strict=True):
            low, high = begin / stretch, (begin + length) / stretch
            begin += length
            if steady and _steady(child):
                yield _steady_stretch(clock + float(low) / unit, phase, child)
                continue
            news = child.pieces(child.clock_size(train_size))
            own = {p.begin for p in olds if low < p.begin < high}
            own |= {edge for edge in (low, high) if edge in (0, span)}
            edges = {low, high} | {low + p.begin / stretch for p in news if p.begin > 0}
            ahead = float(stretch)
            # An end that falls between two examples may be written on either of them.
            short = Fraction(1) if size == train_size else span * _ROUNDED
            for one, two in _without_slivers(own, edges, short):
                pieces = (
                    _piece_in(olds, one, two),
                    _piece_in(news, (one - low) * stretch, (two - low) * stretch),
                )
                old, new = partial(_values, phase, pieces[0]), partial(_values, child, pieces[1])
                at = partial(
                    _point, clock, unit, float(one), float(two), float(low), ahead, old, new
                )
                yield Stretch(at, _looks(_ROUTE_LOOKS, pieces))
        clock += float(span) / unit


def _point(
    clock: float,
    unit: int,
    begin: float,
    end: float,
    child_begin: float,
    ahead: float,
    old: Callable[[float], Values],
    new: Callable[[float], Values],
    share: float,
) -> Point:
    """The point at a share of [begin, end), in examples of the original's phase."""
    there = begin + share * (end - begin)
    # A stretch differs from its beginning, though it is first looked at just after.
    since = begin if share <= _NEAR else there
    return Point(clock + since / unit, old(there), new((there - child_begin) * ahead))


def by_clock(
    before: Schedule, after: Schedule, train_size: int | None, in_examples: bool = True
) -> Iterator[Stretch]:
    """Both schedules at equal examples, as long as both run.

    Args:
        in_examples: whether the clock counts examples; else it counts epochs, with train_size 1.
    """
    tables: list[list[tuple[Fraction, Fraction, Phase, Piece]]] = []
    for schedule in (before, after):
        table, clock = [], Fraction(0)
        for phase in schedule.phases:
            for piece in phase.pieces(train_size):
                table.append((clock + piece.begin, clock, phase, piece))
            clock += phase.exact_examples(train_size)
        table.append((clock, clock, schedule.phases[-1], table[-1][3]))
        tables.append(table)
    stop = min(table[-1][0] for table in tables)
    edges = [{row[0] for row in table if row[0] < stop} | {stop} for table in tables]
    largest = max(phase.batch_size for schedule in (before, after) for phase in schedule.phases)
    # An end that falls inside an update may be written before it or after it.
    short = Fraction(largest) if in_examples else stop * _ROUNDED
    places = [0, 0]
    for begin, end in _without_slivers(edges[0], edges[1], short):
        rows = []
        for which, table in enumerate(tables):
            while table[places[which] + 1][0] <= begin:
                places[which] += 1
            rows.append(table[places[which]])
        pieces = [row[3] for row in rows]
        constant = all(piece.form == "constant" for piece in pieces)
        at = partial(_clock_point, float(begin), float(end), train_size or 1, rows)
        yield Stretch(at, (_NEAR,) if constant else _looks(_DIFF_LOOKS, pieces))


def _without_slivers(
    one: set[Fraction], other: set[Fraction], short: Fraction
) -> Iterator[tuple[Fraction, Fraction]]:
    """Neighbouring ends of two schedules, less what lies between two roundings of one end.

    A sliver begins at an end of one schedule alone and stops at an end of the other alone. A
    phase has both ends in its own schedule, so it is looked at however short it is. Slivers that
    make up half of the time are no rounding.
    """
    found = list(pairwise(sorted(one | other)))

    def sliver(begin: Fraction, end: Fraction) -> bool:
        apart = (begin in one) != (begin in other) and (begin in one) == (end in other)
        return end - begin <= short and apart and (end in one) != (end in other)

    lost = sum((end - begin for begin, end in found if sliver(begin, end)), Fraction(0))
    rounding = 2 * lost < found[-1][1] - found[0][0]
    yield from (pair for pair in found if not (rounding and sliver(*pair)))


def _clock_point(
    begin: float,
    end: float,
    unit: int,
    rows: Sequence[tuple[Fraction, Fraction, Phase, Piece]],
    share: float,
) -> Point:
    time = begin + share * (end - begin)
    old, new = (_values(phase, piece, time - float(start)) for _, start, phase, piece in rows)
    return Point((begin if share <= _NEAR else time) / unit, old, new)


def _steady(phase: Phase) -> bool:
    return isinstance(phase.learning_rate, float)


def _steady_stretch(time: float, phase: Phase, child: Phase) -> Stretch:
    point = Point(time, _values(phase, None, 0.0), _values(child, None, 0.0))
    return Stretch(lambda share: point, (_NEAR,))


def _looks(looks: tuple[float, ...], pieces: Sequence[Piece | None]) -> tuple[float, ...]:
    """The looks, and one next to the end unless a rate vanishes there and has no ratio."""
    vanishes = any(piece is not None and piece.last == 0 for piece in pieces)
    return looks if vanishes else (*looks, 1.0 - _NEAR)


def _piece_in(pieces: Sequence[Piece], begin: Fraction, end: Fraction) -> Piece | None:
    """The piece in force in the middle of [begin, end)."""
    middle = (begin + end) / 2
    return next((p for p in pieces if middle < p.end), pieces[-1] if pieces else None)


def _values(phase: Phase, piece: Piece | None, time: float) -> Values:
    rate = phase.learning_rate if piece is None else float(piece.at(time))
    return Values(rate, phase.batch_size, phase.momentum, phase.weight_decay)
