"""A plan's learning rate as functions of the update's number, for generated code."""

from dataclasses import dataclass
from math import ceil, floor, log

from noisescale.analysis.pieces import Piece
from noisescale.analysis.plan import Plan, PlanRow
from noisescale.errors import InputError

# Lines of generated code at most.
MOST_SEGMENTS = 3000
FORMS = ("constant", "linear", "cosine", "exponential", "polynomial", "sqrt", "inverse-sqrt")


@dataclass(frozen=True, slots=True)
class Segment:
    """ε at update k (from 0) for k ≥ first, until the next segment begins.

    With x = (k − begun − begun_part)·per_update passed and y = (ends − k + ends_part)·per_update
    left, both in [0, 1] and each without a difference of large numbers.

    Args:
        form: index into FORMS.
        parameter: log(b/a) of exponential, p of polynomial, τ/length of inverse-sqrt, else 1.
    """

    first: int
    form: int
    a: float
    b: float
    begun: int
    begun_part: float
    ends: int
    ends_part: float
    per_update: float
    parameter: float


def segments_of(plan: Plan) -> list[Segment]:
    """The segments of all phases; neighbours that go on alike are joined."""
    joined: list[Segment] = []
    for row in plan.rows:
        epochs = row.updates / row.clock.per_epoch if row.clock.in_first is not None else 1
        if not row.constant and len(joined) + epochs > MOST_SEGMENTS:
            raise InputError(
                f"partial={plan.partial!r} cuts the learning rate at every epoch, and {epochs:.3g} "
                "epochs are too many for a file: take carry, or the csv format"
            )
        for low, high, time in _straight(row):
            for one in _of_stretch(row, low, high, time):
                constant = one.form == 0 and joined and joined[-1].form == 0
                if not (constant and one.a == joined[-1].a):
                    joined.append(one)
    return joined


def _of_stretch(row: PlanRow, low: int, high: int, time: float) -> list[Segment]:
    """The segments of the phase's updates [low, high), the first of which begins at `time`."""
    if row.constant:
        return [_held(row.start_update + low, row.learning_rate)]

    def first_at(begin: float) -> int:
        """The first update that begins at `begin` or later."""
        number = max(ceil((begin - time) / row.clock.step) - 1, 0)
        while time + number * row.clock.step < begin:
            number += 1
        return min(low + number, high)

    # Where rounding has moved updates outside the phase, the values at its ends hold.
    inside, beyond = map(first_at, row.domain)
    found = [_held(row.start_update + low, row.learning_rate)] if low < inside else []
    for piece in row.rate:
        first = inside if piece is row.rate[0] else max(inside, first_at(float(piece.begin)))
        last = beyond if piece is row.rate[-1] else first_at(float(piece.end))
        if first < last:
            found.append(_segment(piece, first, low, time, row))
    if beyond < high:
        found.append(_held(row.start_update + beyond, row.learning_rate_end))
    return found


def _held(first: int, rate: float) -> Segment:
    return Segment(first, 0, rate, rate, 0, 0.0, 0, 0.0, 0.0, 1.0)


def _straight(row: PlanRow) -> list[tuple[int, int, float]]:
    """(low, high, when low begins) of the phase's updates where time runs evenly."""
    clock = row.clock
    if not row.updates:
        return []
    if clock.in_first is None or row.constant:
        return [(0, row.updates, clock.offset)]
    stretches = [(0, min(clock.in_first, row.updates), clock.offset)]
    low, epoch = clock.in_first, 0
    while low < row.updates:
        high = min(low + clock.per_epoch, row.updates)
        stretches.append((low, high, clock.epoch_offset + epoch * clock.epoch_size))
        low, epoch = high, epoch + 1
    return [s for s in stretches if s[0] < s[1]]


def _segment(piece: Piece, first: int, low: int, time: float, row: PlanRow) -> Segment:
    if piece.form == "constant":
        return _held(row.start_update + first, piece.first)
    step, length = row.clock.step, float(piece.length)
    # The update, counted from the run's start and not whole, at which the piece begins and ends.
    base = row.start_update + low
    begun = (float(piece.origin) - time) / step
    ends = (float(piece.origin + piece.length) - time) / step
    parameter = 1.0
    if piece.form == "exponential":
        parameter = log(piece.last / piece.first)
    elif piece.form == "polynomial":
        parameter = piece.parameter
    elif piece.form == "inverse-sqrt":
        parameter = piece.parameter / length
    return Segment(
        first=row.start_update + first,
        form=FORMS.index(piece.form),
        a=piece.first,
        b=piece.last,
        begun=base + floor(begun),
        begun_part=begun - floor(begun),
        ends=base + floor(ends),
        ends_part=ends - floor(ends),
        per_update=step / length,
        parameter=parameter,
    )


def table_text(plan: Plan) -> str:
    """The segments as lines of Python tuples."""
    lines = []
    for s in segments_of(plan):
        values = (
            s.first,
            s.form,
            s.a,
            s.b,
            s.begun,
            s.begun_part,
            s.ends,
            s.ends_part,
            s.per_update,
            s.parameter,
        )
        lines.append(f"    {values!r},")
    return "\n".join(lines)


def phases_text(plan: Plan) -> str:
    """(first update from 0, batch size, momentum, weight decay) per phase, as Python tuples."""
    lines, before = [], None
    for row in plan.rows:
        values = (row.batch_size, row.momentum, row.weight_decay)
        if row.updates and values != before:
            lines.append(f"    {(row.start_update, *values)!r},")
            before = values
    return "\n".join(lines)
