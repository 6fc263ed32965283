"""Kinetic Monte Carlo: a walker waits an exponential time and always hops, one walker at a time."""

from collections.abc import Callable

import numba
import numpy as np
from numpy.typing import NDArray

# Hops between two looks at the limits, a fraction of a second.
_SLICE = 1 << 21
# A hop takes two blocks of the walker's 2^32.
MOST_HOPS = (1 << 31) - 2 * _SLICE


@numba.njit(nogil=True)
def threefry(key0, key1, counter0, counter1):
    """The 64 bits of Threefry-2x32-20, as two uint32: `counter_random.threefry` for a scalar."""
    key2 = np.uint32(key0 ^ key1 ^ np.uint32(0x1BD11BDA))
    x, y = np.uint32(counter0 + key0), np.uint32(counter1 + key1)
    turns = (13, 15, 26, 6, 17, 29, 16, 24)
    for part in range(5):
        for k in range(4):
            turn = turns[4 * (part & 1) + k]
            x = np.uint32(x + y)
            y = np.uint32((y << turn) | (y >> (32 - turn))) ^ x
        # The key schedule moves on by one word after every four rounds.
        key0, key1, key2 = key1, key2, key0
        x, y = np.uint32(x + key0), np.uint32(y + key1 + np.uint32(part + 1))
    return x, y


@numba.njit(nogil=True)
def _uniform(key, walker, block):
    """Uniform in (0, 1), a multiple of 2^-53 plus 2^-54."""
    x, y = threefry(key[0], key[1], np.uint32(walker), np.uint32(block))
    return ((np.uint64(x) << 21 | np.uint64(y) >> 11) + 0.5) * 2.0**-53


@numba.njit(nogil=True)
def _advance(cumulative, shape, times, key, first, x, clock, hops, recorded, positions, budget):
    """Walk on until all is recorded or `budget` hops are done; the hops left.

    A walker's state between calls is its position x, the time of its last hop, the number of its
    hops and of its records; the random numbers follow from its index and the number of hops.
    """
    dimensions = shape.size
    here = np.empty(dimensions, np.int64)
    for w in range(clock.size):
        k, t, hop = recorded[w], clock[w], hops[w]
        site = 0
        for axis in range(dimensions):
            here[axis] = x[w, axis] % shape[axis]
            site = site * shape[axis] + here[axis]
        while k < times.size and budget > 0:
            total = cumulative[site, 2 * dimensions - 1]
            until = np.inf
            if total > 0.0:
                until = t - np.log(_uniform(key, first + w, 2 * hop)) / total
            while k < times.size and times[k] < until:
                for axis in range(dimensions):
                    positions[w, k, axis] = x[w, axis]
                k += 1
            if k == times.size:
                break
            part = _uniform(key, first + w, 2 * hop + 1) * total
            if part >= total:  # rounded up
                part = 0.0
            direction = 0
            while part >= cumulative[site, direction]:
                direction += 1
            axis, sign = direction // 2, 2 * (direction % 2) - 1
            x[w, axis] += sign
            here[axis] += sign
            if here[axis] == shape[axis]:
                here[axis] = 0
            elif here[axis] < 0:
                here[axis] = shape[axis] - 1
            site = 0
            for a in range(dimensions):
                site = site * shape[a] + here[a]
            t, hop, budget = until, hop + 1, budget - 1
        recorded[w], clock[w], hops[w] = k, t, hop
        if budget == 0:
            break
    return budget


def walk(
    cumulative: NDArray[np.float64],
    shape: tuple[int, ...],
    starts: NDArray[np.int64],
    times: NDArray[np.float64],
    key: NDArray[np.uint32],
    first: int,
    hops: NDArray[np.int64],
    go_on: Callable[[], None],
) -> NDArray[np.int64]:
    """Positions (W, K, d) of some of the walkers, not wrapped on a ring.

    Args:
        cumulative: (sites, 2d) running sums of the rates of a site's hops, those to lower and to
            higher index along each axis in turn; 0 for a hop that a wall forbids.
        shape: of the lattice.
        starts: (W, d).
        times: (K,) ascending.
        key: two words, of all walkers together.
        first: index of the first of these walkers.
        hops: (W,) zeros, filled with the hops so far.
        go_on: called now and then; it raises where the walk must end.
    """
    x = starts.copy()
    clock, recorded = np.zeros(len(x)), np.zeros(len(x), np.int64)
    positions = np.empty((len(x), times.size, len(shape)), np.int64)
    sides = np.array(shape)
    arguments = (cumulative, sides, times, key, first, x, clock, hops, recorded, positions)
    while _advance(*arguments, _SLICE) == 0:
        go_on()
    go_on()
    return positions
