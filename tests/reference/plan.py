"""Updates of a schedule counted by walking the data epoch by epoch, batch by batch."""

from fractions import Fraction
from itertools import pairwise
from math import floor


def by_epoch(phases: list[tuple[int, int]], train_size: int, keep: bool) -> list[int]:
    """Updates per phase (examples, batch size) if every epoch's share is cut on its own."""
    counts, position = [], 0
    for examples, batch in phases:
        updates, left = 0, examples
        while left:
            share = min(left, train_size - position % train_size)
            whole = 0
            while whole + batch <= share:
                whole += batch
                updates += 1
            if keep and whole < share:
                updates += 1
            left -= share
            position += share
        counts.append(updates)
    return counts


def walk(phases: list[tuple[str, Fraction, int]], train_size: int, keep: bool) -> list[int]:
    """Updates per phase ("examples" or "updates", how many, batch size), batch by batch.

    Phases in examples end where the running sum of examples, rounded half up, says. A phase in
    updates ends after them; an epoch that can give no further batch is left for the next.
    """
    counts, clock = [], Fraction(0)
    for unit, amount, batch in phases:
        position, updates = floor(clock + Fraction(1, 2)), 0
        if unit == "updates":
            while updates < amount:
                left = train_size - position % train_size
                if left >= batch or keep:
                    position += min(batch, left)
                    updates += 1
                else:
                    position += left
            left = train_size - position % train_size
            if left < batch and not keep and left < train_size:
                position += left
            clock = Fraction(position)
        else:
            clock += amount
            end = floor(clock + Fraction(1, 2))
            while position < end:
                share = min(end - position, train_size - position % train_size)
                updates += share // batch + bool(keep and share % batch)
                position += share
        counts.append(updates)
    return counts


def carry(phases: list[tuple[Fraction, int]], train_size: int) -> list[int]:
    """Updates per phase (epochs, batch size) on one stream: R_j = ⌊Σ E_i N/B_i + ½⌋."""
    ends, total = [0], Fraction(0)
    for epochs, batch in phases:
        total += epochs * train_size / batch
        ends.append(floor(total + Fraction(1, 2)))
    return [b - a for a, b in pairwise(ends)]
