"""Walks in steps of equal time, many environments and walkers at once, compiled by JAX.

A step takes one random word u of 32 bits: left where u < left[site], right where
2^32 − 1 − u < right[site], else the walker stays. The two thresholds are the probabilities of the
hops times 2^32, so that a step exponentiates nothing and cannot overflow. All arithmetic is on
integers: the walk is the same to the last bit however it is divided.
"""

from collections.abc import Callable
from functools import lru_cache

import jax
import jax.numpy as jnp
import numpy as np
from numpy.typing import NDArray

from noisescale.simulation.counter_random import environment_keys, threefry
from noisescale.simulation.threads import in_threads, slices

# Walkers in one call: on a CPU their state stays in a core's cache.
_AT_ONCE = {"cpu": 1 << 12}
_AT_ONCE_ELSEWHERE = 1 << 22
# Steps of all walkers in one call: a few seconds on one core.
_LONGEST = 1 << 30


def _thresholds(probability: NDArray[np.float64]) -> NDArray[np.uint32]:
    """2^32 p to the nearest integer, at most 2^32 − 1: within 2^-32 of p."""
    scaled = probability * 2.0**32
    np.rint(scaled, out=scaled)
    return np.minimum(scaled, 2.0**32 - 1, out=scaled).astype(np.uint32)


@lru_cache
def _compiled(device: str) -> Callable[..., tuple[jax.Array, jax.Array]]:
    """`_advance`, on a CPU with vectors of 512 bits where it has them: half as fast again."""
    options = {"xla_cpu_prefer_vector_width": 512} if device == "cpu" else {}
    try:
        jax.jit(lambda x: x + 1, compiler_options=options)(0)
    except jax.errors.JaxRuntimeError:  # a version without this option
        options = {}
    return jax.jit(_advance, static_argnames="periodic", compiler_options=options)


def _advance(position, turns, left, right, base, key, walker, n, start, stop, *, periodic):
    """Steps start … stop−1 of walkers (E, W); their positions and turns around a ring.

    left and right hold the thresholds of all environments, which begin at base (E, 1).
    """

    def two_steps(block, state):
        position, turns = state
        words = threefry(key, (walker, block.astype(jnp.uint32)))
        for half, word in enumerate(words):
            step = 2 * block + half
            # A stretch may begin or end in the middle of a block: hops of length 0 there.
            length = ((step >= start) & (step < stop)).astype(jnp.int32)
            site = base + position
            up = ~word < right.at[site].get(mode="promise_in_bounds")
            down = word < left.at[site].get(mode="promise_in_bounds")
            position = position + jnp.where(up, length, 0) - jnp.where(down, length, 0)
            if periodic:
                over, under = position == n, position < 0
                turns = turns + over.astype(jnp.int32) - under.astype(jnp.int32)
                position = jnp.where(over, 0, jnp.where(under, n - 1, position))
        return position, turns

    return jax.lax.fori_loop(start // 2, (stop + 1) // 2, two_steps, (position, turns))


def walk_ensemble(
    left: NDArray[np.float64],
    right: NDArray[np.float64],
    starts: NDArray[np.int64],
    record_at: NDArray[np.int64],
    *,
    seed: int,
    first_environment: int,
    periodic: bool,
    threads: int,
    positions: NDArray[np.int32],
) -> None:
    """Fill `positions` (E, W, K) of all walkers in some environments, not wrapped on a ring.

    Args:
        left, right: (E, n) probabilities of the hops, together at most 1.
        starts: (E, W).
        record_at: (K,) ascending numbers of steps.
        seed, first_environment: with walker and step, they determine a random word.
        threads: on a CPU.
    """
    environments, walkers = starts.shape
    n = np.int32(left.shape[1])
    device = jax.default_backend()
    at_once = _AT_ONCE.get(device, _AT_ONCE_ELSEWHERE)
    tables = _thresholds(left), _thresholds(right)
    indices = (first_environment + np.arange(environments)).astype(np.uint32)
    keys = [np.asarray(word) for word in environment_keys(seed, indices)]

    def part(task: tuple[slice, slice], go_on: Callable[[], None]) -> None:
        rows, columns = task
        fixed = (
            tables[0][rows].reshape(-1),
            tables[1][rows].reshape(-1),
            n * np.arange(rows.stop - rows.start, dtype=np.int32)[:, None],
            tuple(word[rows, None] for word in keys),
            np.arange(columns.start, columns.stop, dtype=np.uint32),
            n,
        )
        on_device = jax.device_put(fixed)
        _walk(
            starts[rows, columns], on_device, record_at, periodic, go_on, positions[rows, columns]
        )

    rows = slices(environments, max(1, at_once // walkers))
    tasks = [(row, column) for row in rows for column in slices(walkers, at_once)]
    in_threads(part, tasks, threads if device == "cpu" else 1)


def _walk(starts, fixed, record_at, periodic, go_on, positions):
    position = jnp.asarray(starts.astype(np.int32))
    turns = jnp.zeros_like(position)
    advance = _compiled(jax.default_backend())
    longest = max(2, _LONGEST // position.size)
    done = 0
    for k, until in enumerate(record_at.tolist()):
        while done < until:
            stop = min(until, done + longest)
            bounds = np.int32(done), np.int32(stop)
            position, turns = advance(position, turns, *fixed, *bounds, periodic=periodic)
            position.block_until_ready()
            done = stop
            go_on()
        here = position + fixed[-1] * turns if periodic else position
        positions[:, :, k] = np.asarray(here)
