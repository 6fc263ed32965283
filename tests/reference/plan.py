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


def carry(phases: list[tuple[Fraction, int]], train_size: int) -> list[int]:
    """Updates per phase (epochs, batch size) on one stream: R_j = ⌊Σ E_i N/B_i + ½⌋."""
    ends, total = [0], Fraction(0)
    for epochs, batch in phases:
        total += epochs * train_size / batch
        ends.append(floor(total + Fraction(1, 2)))
    return [b - a for a, b in pairwise(ends)]
