"""Random walks that are simulated hop by hop, in a potential that does not change (quenched).

Both walks are in detailed balance with exp(−V/T). They are for short times and for validation:
the work grows with time, and walkers cannot leave deep valleys. The exact propagation of this
package costs the same at any time.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from noisescale.analysis.checks import choice, positive_integer
from noisescale.errors import InputError, shown
from noisescale.simulation import walker_checks as checked
from noisescale.simulation.rates import (
    BOUNDARIES,
    RATES,
    checked_potential,
    cumulative_rates,
    lattice_rates,
)
from noisescale.simulation.threads import in_threads, slices, thread_count

# A step's number is a signed 32-bit integer.
_MOST_STEPS = 2 * 10**9
# Sites whose thresholds are held at a time.
_MOST_SITES = 1 << 25

_TIME_UNITS = {
    "arrhenius": "one step: a hop to each neighbour with probability exp(-dV/2T)/L, L the largest "
    "exit rate in the environment, so that a step lasts 1/L of the walk in continuous time; a free "
    "walker's mean square displacement is 1 per step",
    "metropolis": "one step: a neighbour is proposed with probability 1/2 each and accepted with "
    "min(1, exp(-dV/T)); a free walker's mean square displacement is 1 per step",
    "heat_bath": "one step: a neighbour is proposed with probability 1/2 each and accepted with "
    "1/(1 + exp(dV/T)); a free walker's mean square displacement is 1/2 per step",
}


class HopLimitError(RuntimeError):
    """A walk in continuous time needs more hops than allowed; the message says what to do."""


@dataclass(frozen=True, slots=True)
class DiscreteWalk:
    """Positions of W walkers in each of E environments at K numbers of steps.

    Args:
        positions: (E, W, K) lattice sites; on a ring not wrapped: the site is position mod n.
        steps: (K,) numbers of steps done.
        rates: the rule of the hops.
        boundary: "reflecting" or "periodic".
        time_unit: what one step is, in words.
        time_step: (E,) duration of a step in the time of `random_walk` with the same rates.
        wall_fraction: (K,) share of the walkers on an end site; on a ring, of those that are n/2
            or more from their start. Where it is not small, the box shows.
    """

    positions: NDArray[np.int32]
    steps: NDArray[np.int64]
    rates: str
    boundary: str
    time_unit: str
    time_step: NDArray[np.float64]
    wall_fraction: NDArray[np.float64]


def random_walk(
    V: ArrayLike,
    x0: ArrayLike,
    times: ArrayLike,
    T: float = 1.0,
    rates: str = "arrhenius",
    rng: np.random.Generator | None = None,
    *,
    boundary: str = "reflecting",
    max_hops: int = 10**9,
    threads: int | None = None,
) -> NDArray[np.int64]:
    """Walks in continuous time with hop rates w(i → j), by rejection-free kinetic Monte Carlo.

    With ΔV = V_j − V_i: arrhenius exp(−ΔV/2T), metropolis min(1, exp(−ΔV/T)), heat_bath
    1/(1 + exp(ΔV/T)). A free walker hops to each of its 2d neighbours with rate 1, 1, ½: its mean
    square displacement is 2dt, 2dt, dt. The work grows with the number of hops, about 10^7 a
    second and core: for t up to 10^6 or so.

    Args:
        V: (n,), (n1, n2) or (n1, n2, n3) potential on lattice sites of spacing 1.
        x0: (W,) starting sites; (W, d) in d = 2, 3.
        times: (K,) ascending, at least 0.
        T: temperature, in units of V.
        rates: which of the three.
        rng: required; gives one key, with which each walker has a stream of random numbers of its
            own, and walks the same way whatever the number of walkers and threads.
        boundary: "reflecting" (no hops out of the box) or "periodic".
        max_hops: of all walkers together.
        threads: default: one per available core.

    Returns:
        (W, K) or (W, K, d) positions; on a ring not wrapped: the site is position mod n.

    Raises:
        InputError: an argument outside its range, or neighbours that differ by more than 1400 T.
        HopLimitError: more than `max_hops` hops, or 2·10^9 of one walker.

    Source: Bortz, Kalos & Lebowitz 1975; Gillespie 1976.
    """
    potential = checked_potential(V)
    shape = potential.shape
    if potential.ndim > 3 or min(shape) < 2:
        raise InputError(f"V of shape {shape}: one to three axes of at least two sites each")
    T = checked.temperature(T, V, "V")
    choice("rates", rates, RATES)
    choice("boundary", boundary, BOUNDARIES)
    starts = checked.sites("x0", x0, shape)
    single = potential.ndim == 1
    if starts.ndim != (1 if single else 2) or (not single and starts.shape[1] != potential.ndim):
        wanted = "(W,)" if single else f"(W, {potential.ndim})"
        raise InputError(f"x0 of shape {starts.shape}: it must be {wanted}, one site per walker")
    starts = starts.reshape(len(starts), potential.ndim)
    until = checked.times(times)
    if not isinstance(rng, np.random.Generator):
        raise InputError(f"rng={shown(rng)}: pass numpy.random.default_rng(seed)")
    most = positive_integer("max_hops", max_hops)
    workers = thread_count(threads)

    from noisescale.simulation.continuous_time import MOST_HOPS, walk

    cumulative = cumulative_rates(potential, T, rates, boundary == "periodic")
    key = rng.integers(1 << 32, size=2, dtype=np.uint32)
    hops = np.zeros(len(starts), np.int64)

    def part(rows: slice, go_on: Callable[[], None]) -> NDArray[np.int64]:
        def look() -> None:
            go_on()
            if hops.sum() > most or hops.max() > MOST_HOPS:
                raise HopLimitError(
                    f"more than max_hops={most:,} hops, or {MOST_HOPS:,} of one walker, up to time "
                    f"{until[-1]:g}: raise max_hops, ask for shorter times, or use "
                    "mean_square_displacement, whose work does not grow with time"
                )

        return walk(cumulative, shape, starts[rows], until, key, rows.start, hops[rows], look)

    parts = in_threads(part, slices(len(starts), -(-len(starts) // (4 * workers))), workers)
    positions = np.concatenate(parts)
    return positions[:, :, 0] if single else positions


def discrete_walk(
    potentials: ArrayLike,
    starts: ArrayLike,
    steps: int,
    T: float = 1.0,
    rates: str = "heat_bath",
    *,
    seed: int,
    record_at: ArrayLike | None = None,
    boundary: str = "reflecting",
    first_environment: int = 0,
    threads: int | None = None,
) -> DiscreteWalk:
    """Walks in equal steps: P(i → j) = w(i → j)/L to each neighbour, else the walker stays.

    w are the rates of `random_walk`. metropolis and heat_bath have L = 2: a neighbour is proposed
    with probability ½ each and accepted with min(1, exp(−ΔV/T)) or 1/(1 + exp(ΔV/T)). arrhenius
    has the largest exit rate of the environment. After a Poisson number of steps of mean L t the
    law is exactly that of the walk in continuous time at t (uniformisation).

    A random word is a function of (seed, environment, walker, step): the result does not depend on
    the division into batches, threads or calls. Probabilities are rounded to multiples of 2^-32;
    in K steps that moves a walker's law by at most K 2^-32 in total variation.

    Args:
        potentials: (E, n) on lattice sites of spacing 1; (n,) is one environment.
        starts: (E, W) starting sites, or (W,) for all environments alike.
        steps: to walk, at most 2·10^9.
        T: temperature, in units of the potentials.
        rates: "arrhenius", "metropolis" or "heat_bath".
        seed: at least 0.
        record_at: (K,) ascending numbers of steps up to `steps`; default: `steps` alone.
        boundary: "reflecting" (hops out of the box do not take place) or "periodic".
        first_environment: index of the first of these environments in a larger ensemble.
        threads: on a CPU; default: one per available core.

    Returns:
        A DiscreteWalk; its positions take 4 E W K bytes.

    Raises:
        InputError: an argument outside its range, or neighbours that differ by more than 1400 T.

    Source: Metropolis et al. 1953; Glauber 1963; uniformisation: Jensen 1953.
    """
    values = np.atleast_2d(checked_potential(potentials, "potentials"))
    environments, n = values.shape[0], values.shape[-1]
    if values.ndim != 2 or not environments or n > _MOST_STEPS:
        raise InputError(f"potentials of shape {values.shape}: it must be (E, n)")
    T = checked.temperature(T, potentials, "potentials")
    choice("rates", rates, RATES)
    choice("boundary", boundary, BOUNDARIES)
    begin = checked.sites("starts", starts, (n,))
    if begin.ndim not in (1, 2) or (begin.ndim == 2 and len(begin) != environments):
        raise InputError(f"starts of shape {begin.shape}: it must be (W,) or ({environments}, W)")
    begin = np.broadcast_to(begin, (environments, begin.shape[-1]))
    last = positive_integer("steps", steps)
    if last + n > _MOST_STEPS:
        raise InputError(f"steps={last:,}: at most {_MOST_STEPS - n:,} on {n:,} sites")
    record = checked.records(last if record_at is None else record_at, last)
    seed = checked.whole_number("seed", seed)
    first = checked.whole_number("first_environment", first_environment)
    if first + environments > 1 << 32:
        raise InputError(f"first_environment={first}: 2^32 environments are told apart, no more")
    workers = thread_count(threads)

    from noisescale.simulation.discrete_time import walk_ensemble

    periodic = boundary == "periodic"
    positions = np.empty((*begin.shape, record.size), np.int32)
    time_step = np.empty(environments)
    for group in slices(environments, max(1, _MOST_SITES // n)):
        probabilities, time_step[group] = _uniformised(values[group], T, rates, periodic)
        walk_ensemble(
            *probabilities,
            begin[group],
            record,
            seed=seed,
            first_environment=first + group.start,
            periodic=periodic,
            threads=workers,
            positions=positions[group],
        )
    if periodic:
        far = 2 * np.abs(positions - begin[:, :, None]) >= n
    else:
        far = (positions == 0) | (positions == n - 1)
    wall = far.mean(axis=(0, 1))
    return DiscreteWalk(positions, record, rates, boundary, _TIME_UNITS[rates], time_step, wall)


def _uniformised(
    values: NDArray[np.float64], T: float, rates: str, periodic: bool
) -> tuple[tuple[NDArray[np.float64], NDArray[np.float64]], NDArray[np.float64]]:
    # (P(left), P(right)), each (E, n), and 1/L of every environment.
    left, right = lattice_rates(values, 1, T, rates, periodic)
    largest = np.full(len(values), 2.0)
    if rates == "arrhenius":
        largest = (left + right).max(axis=1)
    left /= largest[:, None]
    right /= largest[:, None]
    return (left, right), 1.0 / largest
