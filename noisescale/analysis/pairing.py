"""Two schedules side by side on one clock."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from itertools import pairwise

from noisescale.analysis.pieces import Piece
from noisescale.analysis.schedule import Phase, Schedule

# Where a stretch with a changing rate is looked at, as shares of its length.
_LOOKS = (1e-6, 0.5, 0.999)


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


def by_parents(
    before: Schedule, after: Schedule, parents: Sequence[int], train_size: int | None
) -> Iterator[Point]:
    """Each phase of `after` beside the part of the original phase that it replaces."""
    children: dict[int, list[Phase]] = {}
    for parent, child in zip(parents, after.phases, strict=True):
        children.setdefault(parent, []).append(child)
    clock = 0.0
    for number, phase in enumerate(before.phases):
        size = phase.clock_size(train_size)
        span = phase.exact_examples(size)
        group = children.get(number, [])
        spans = [child.exact_examples(child.clock_size(train_size)) for child in group]
        stretch, begin = sum(spans, Fraction(0)) / span, Fraction(0)
        for child, length in zip(group, spans, strict=True):
            if _steady(phase) and _steady(child):
                looks: Sequence[float] = (0.0,)
            else:
                looks = _LOOKS
            pieces = child.pieces(child.clock_size(train_size)) if len(looks) > 1 else ()
            olds = phase.pieces(size) if len(looks) > 1 else ()
            for look in looks:
                inside = float(length) * look
                there = float(begin / stretch) + inside / float(stretch)
                # A stretch differs from its beginning, though it is first looked at just after.
                since = float(begin / stretch) if look == looks[0] else there
                yield Point(
                    clock + since / (train_size or 1),
                    _values(phase, olds, there),
                    _values(child, pieces, inside),
                )
            begin += length
        clock += float(span) / (train_size or 1)


def by_clock(before: Schedule, after: Schedule, train_size: int | None) -> Iterator[Point]:
    """Both schedules at equal examples, as long as both run."""
    edges: set[Fraction] = set()
    tables = []
    for schedule in (before, after):
        table, clock = [], Fraction(0)
        for phase in schedule.phases:
            span = phase.exact_examples(train_size)
            pieces = phase.pieces(train_size)
            table.append((clock, clock + span, phase, pieces))
            edges.update(clock + piece.begin for piece in pieces)
            clock += span
        edges.add(clock)
        tables.append(table)
    stop = min(table[-1][1] for table in tables)
    places = [0, 0]
    for begin, end in pairwise(sorted(edge for edge in edges if edge <= stop)):
        rows = []
        for which, table in enumerate(tables):
            while table[places[which]][1] <= begin:
                places[which] += 1
            rows.append(table[places[which]])
        looks = (0.0,) if all(_steady(row[2]) for row in rows) else _LOOKS
        for look in looks:
            time = float(begin) + look * float(end - begin)
            old, new = (_values(row[2], row[3], time - float(row[0])) for row in rows)
            since = float(begin) if look == looks[0] else time
            yield Point(since / (train_size or 1), old, new)


def _steady(phase: Phase) -> bool:
    return isinstance(phase.learning_rate, float)


def _values(phase: Phase, pieces: Sequence[Piece], time: float) -> Values:
    rate = phase.learning_rate
    if not isinstance(rate, float):
        piece = next((p for p in pieces if time < float(p.end)), pieces[-1])
        rate = float(piece.at(time))
    return Values(rate, phase.batch_size, phase.momentum, phase.weight_decay)
