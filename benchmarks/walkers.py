"""Walkers in steps against the loop one would write with numba, in alternating rounds.

python benchmarks/walkers.py [--rounds 9] [--quick]

Heat-bath walkers on one path with σ = T = 1; both sides look the two probabilities of a site up.
The peer's walker draws from a xoroshiro128+ stream of its own, seeded by SeedSequence, or from
numba's np.random (Mersenne Twister); a loop without a branch was faster than one with.
"""

import argparse
import os
import platform
from dataclasses import dataclass
from importlib.metadata import version

import numba
import numpy as np
from measuring import TARGETS_HEADING, alternating, at_least, ratios, row, told

from noisescale.simulation import fractional_brownian
from noisescale.simulation.rates import lattice_rates
from noisescale.simulation.walkers import discrete_walk, random_walk

SCRIPT = "`walkers.py`"
SINGLE_TARGET, PARALLEL_TARGET = 3.0, 1.0


@dataclass(frozen=True)
class Sizes:
    """Sites, walkers and steps of a round, and walkers and times of the walk in continuous time."""

    sites: int
    walkers: int
    steps: int
    hopping_walkers: int
    until: float


FULL = Sizes(1 << 20, 1 << 16, 4000, 1000, 1000.0)
QUICK = Sizes(1 << 14, 1 << 12, 500, 50, 100.0)


@numba.njit
def _one(left, stay, state, i, steps):
    """xoroshiro128+ (Blackman & Vigna 2018), 53 bits a step."""
    a, b = state[0], state[1]
    for _ in range(steps):
        word = a + b
        b ^= a
        a = ((a << np.uint64(24)) | (a >> np.uint64(40))) ^ b ^ (b << np.uint64(16))
        b = (b << np.uint64(37)) | (b >> np.uint64(27))
        u = (word >> np.uint64(11)) * 2.0**-53
        i += (u >= stay[i]) - (u < left[i])
    return i


@numba.njit
def xoroshiro(left, stay, states, starts, steps, found):
    for w in range(starts.size):
        found[w] = _one(left, stay, states[w], starts[w], steps)


@numba.njit(parallel=True)
def xoroshiro_parallel(left, stay, states, starts, steps, found):
    for w in numba.prange(starts.size):
        found[w] = _one(left, stay, states[w], starts[w], steps)


@numba.njit
def mersenne_twister(left, stay, states, starts, steps, found):
    np.random.seed(states[0, 0] & np.uint64(0xFFFFFFFF))  # noqa: NPY002
    for w in range(starts.size):
        i = starts[w]
        for _ in range(steps):
            u = np.random.random()  # noqa: NPY002
            i += (u >= stay[i]) - (u < left[i])
        found[w] = i


def discrete(sizes: Sizes, rounds: int) -> list[str]:
    """Whole calls of ours, tables included, on one thread and on all, against the loops."""
    V = fractional_brownian(sizes.sites, 1.0, rng=np.random.default_rng(1))
    rng = np.random.default_rng(2)
    starts = rng.integers(sizes.sites // 4, 3 * sizes.sites // 4, size=sizes.walkers)
    left, right = (0.5 * side for side in lattice_rates(V, 0, 1.0, "heat_bath", False))
    tables = left, 1.0 - right
    states = np.random.SeedSequence(3).generate_state(2 * sizes.walkers, np.uint64).reshape(-1, 2)
    ends = {}

    def ours(name: str, threads: int) -> None:
        ends[name] = discrete_walk(V, starts, sizes.steps, seed=4, threads=threads).positions[
            0, :, 0
        ]

    def peer(name: str, loop) -> None:
        ends[name] = np.empty_like(starts)
        loop(*tables, states, starts, sizes.steps, ends[name])

    cores = len(os.sched_getaffinity(0))
    cases = {
        "ours": lambda: ours("ours", cores),
        "ours, one thread": lambda: ours("ours, one thread", 1),
        "xoroshiro128+": lambda: peer("xoroshiro128+", xoroshiro),
        "np.random": lambda: peer("np.random", mersenne_twister),
        "xoroshiro128+, parallel": lambda: peer("xoroshiro128+, parallel", xoroshiro_parallel),
    }
    times = alternating(cases, rounds)
    for name, end in ends.items():
        squares = (end - starts) ** 2.0
        error = squares.std() / np.sqrt(squares.size)
        speed = [sizes.walkers * sizes.steps / t / 1e6 for t in times[name]]
        print(f"{name:24s} {told(speed, 0)} 10^6 steps/s, MSD {squares.mean():.2f} ± {error:.2f}")
    title = f"heat-bath walkers, {sizes.walkers:,} × {sizes.steps:,} steps, n = {sizes.sites:,}"
    rows = []
    for mine, other, target in [
        ("ours", "xoroshiro128+", SINGLE_TARGET),
        ("ours", "np.random", SINGLE_TARGET),
        ("ours", "xoroshiro128+, parallel", PARALLEL_TARGET),
        ("ours, one thread", "xoroshiro128+", PARALLEL_TARGET),
    ]:
        cells = at_least(target, ratios(times[other], times[mine]))
        threads = f"{cores} threads" if mine == "ours" else "one thread"
        rows.append(row(SCRIPT, f"{title}, {threads}", f"numba loop, {other}", *cells))
    return rows


def continuous(sizes: Sizes, rounds: int) -> str:
    """Hops per second and core of kinetic Monte Carlo, for the record."""
    V = np.zeros(1 << 16)
    starts = np.full(sizes.hopping_walkers, V.size // 2)

    def walk() -> None:
        random_walk(V, starts, [sizes.until], rng=np.random.default_rng(5), threads=1)

    times = alternating({"walk": walk}, rounds)["walk"]
    speed = [2 * sizes.until * sizes.hopping_walkers / t / 1e6 for t in times]
    return f"kinetic Monte Carlo, one thread: {told(speed, 1)} 10^6 hops/s"


def main() -> None:
    """Print speeds, then rows for TARGETS.md."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--quick", action="store_true", help="tiny sizes, to see that it works")
    arguments = parser.parse_args()
    sizes = QUICK if arguments.quick else FULL
    versions = ", ".join(f"{name} {version(name)}" for name in ("jax", "numba", "numpy"))
    print(f"{platform.machine()}, {os.cpu_count()} cores, {versions}, {arguments.rounds} rounds")
    rows = discrete(sizes, arguments.rounds)
    print(continuous(sizes, arguments.rounds))
    print("\n".join(["", TARGETS_HEADING, *rows]))


if __name__ == "__main__":
    main()
