"""One environment of a simulation, measured by any of the methods."""

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from noisescale.errors import InputError
from noisescale.simulation.clocks import time_of
from noisescale.simulation.potentials import fractional_brownian, harmonic, smooth_short_range
from noisescale.simulation.propagation import Displacements, central_starts, displacements
from noisescale.simulation.rates import hop_rates
from noisescale.simulation.specification import Simulation

Array = NDArray[np.float64]
# Walkers of one start: two, so that their difference tells the thermal variance.
_PAIR = 2


def environment(simulation: Simulation, number: int) -> Array:
    """The potential (n,) of environment `number`; its random numbers depend on nothing else."""
    n, rng = simulation.sites, _stream(simulation, 0, number)
    if simulation.potential == "self-affine":
        return fractional_brownian(n, simulation.alpha, simulation.sigma, rng=rng)
    if simulation.potential == "smooth":
        return smooth_short_range(n, simulation.correlation_length, simulation.sigma, rng=rng)
    if simulation.potential == "harmonic":
        return harmonic(n, simulation.stiffness)
    return np.zeros(n)


def measure(simulation: Simulation, number: int) -> list[dict[str, Any]]:
    """Rows of environment `number`, one per time.

    `update`, `distance` and `seed` are those of a training run's rows: the clock, here the time in
    units of the free walker's hop (None beyond 1e308), the distance from the start, here the
    median over starts and walkers, and the number of the independent repetition, here the
    environment. `farther` is the share of walkers at or beyond each of `Simulation.distances`.
    """
    potential = environment(simulation, number)
    starts = central_starts(simulation.sites, simulation.starts)
    found = _METHODS[simulation.method](simulation, potential, starts, number)
    columns = {
        "distance": found.median,
        "mean_square": found.mean_square,
        "mean_absolute": found.mean_absolute,
        "thermal_variance": found.thermal_variance,
        "same_site": found.same_site,
        "wall_fraction": found.wall_fraction,
    }
    return [
        {
            "seed": number,
            "update": time_of(float(log_t)),
            "log_time": float(log_t),
            **{name: float(values[k]) for name, values in columns.items()},
            "farther": found.farther[k].tolist(),
        }
        for k, log_t in enumerate(found.log_t)
    ]


def _exact(
    simulation: Simulation, V: Array, starts: NDArray[np.int64], number: int
) -> Displacements:
    return displacements(
        V,
        T=simulation.temperature,
        clock="fixed" if simulation.method == "exact-fixed" else "exponential",
        starts=starts,
        log_t=simulation.log_times,
        rates=simulation.rates,
        distances=simulation.distances,
    )


def _valleys(
    simulation: Simulation, V: Array, starts: NDArray[np.int64], number: int
) -> Displacements:
    from noisescale.simulation.barriers import barrier_tree

    barriers = simulation.temperature * np.array(simulation.log_times)
    tree = barrier_tree(V)
    moved = np.abs(tree.location(barriers, starts) - starts)[..., None]
    return _summary(simulation, np.array(simulation.log_times), moved, tree.wall(barriers, starts))


def _walkers(
    simulation: Simulation, V: Array, starts: NDArray[np.int64], number: int
) -> Displacements:
    from noisescale.simulation.walkers import discrete_walk

    steps = whole_steps(simulation.log_times, _steps_per_time(simulation, V))
    walk = discrete_walk(
        V[None],
        np.repeat(starts, _PAIR),
        int(steps[-1]),
        simulation.temperature,
        simulation.rates,
        seed=int(_stream(simulation, 1, number).integers(2**31)),
        record_at=steps,
    )
    x = walk.positions[0].astype(np.int64).reshape(starts.size, _PAIR, steps.size)
    logs = np.array(simulation.log_times)
    return _summary(simulation, logs, _displacement(x, starts), walk.wall_fraction)


def _kinetic_monte_carlo(
    simulation: Simulation, V: Array, starts: NDArray[np.int64], number: int
) -> Displacements:
    from noisescale.simulation.walkers import random_walk

    logs = np.array(simulation.log_times)
    positions = random_walk(
        V,
        np.repeat(starts, _PAIR),
        np.exp(logs),
        simulation.temperature,
        simulation.rates,
        rng=_stream(simulation, 1, number),
    )
    x = positions.reshape(starts.size, _PAIR, logs.size)
    walls = ((x == 0) | (x == simulation.sites - 1)).mean((0, 1))
    return _summary(simulation, logs, _displacement(x, starts), walls)


_METHODS: dict[str, Callable[[Simulation, Array, NDArray[np.int64], int], Displacements]] = {
    "exact": _exact,
    "exact-fixed": _exact,
    "valleys": _valleys,
    "walkers": _walkers,
    "kinetic-monte-carlo": _kinetic_monte_carlo,
}


def _steps_per_time(simulation: Simulation, V: Array) -> float:
    # Two proposals for metropolis and heat_bath, the largest exit rate for arrhenius.
    if simulation.rates != "arrhenius":
        return 2.0
    right, left = hop_rates(V, simulation.temperature)
    return float((right + left).max())


def whole_steps(log_times: tuple[float, ...], per_time: float = 2.0) -> NDArray[np.int64]:
    """Numbers of steps nearest to the times; InputError if two of them coincide."""
    steps = np.rint(per_time * np.exp(log_times)).astype(np.int64)
    if (np.diff(steps) <= 0).any() or steps[0] < 1:
        raise InputError(
            "log_times: two of them round to one number of steps, or the first to none; take fewer"
        )
    return steps


def _displacement(x: NDArray[np.int64], starts: NDArray[np.int64]) -> NDArray[np.int64]:
    return np.moveaxis(x - starts[:, None, None], -1, 0)


def _summary(
    simulation: Simulation, log_t: Array, moved: NDArray[np.int64], walls: Array
) -> Displacements:
    """Of displacements (K, S, walkers); with one walker per start its spread is not known."""
    distance = np.abs(moved)
    pair = moved.shape[-1] == _PAIR
    apart = moved[..., 0] - moved[..., -1]
    unknown = np.full(log_t.size, np.nan)
    return Displacements(
        log_t=log_t,
        clock="fixed",
        rates=simulation.rates,
        temperature=simulation.temperature,
        n_starts=moved.shape[1],
        mean_square=(distance.astype(np.float64) ** 2).mean((1, 2)),
        mean_absolute=distance.mean((1, 2)),
        median=_medians(distance),
        thermal_variance=0.5 * (apart.astype(np.float64) ** 2).mean(1) if pair else unknown,
        same_site=(apart == 0).mean(1) if pair else unknown,
        wall_fraction=walls,
        distances=simulation.distances,
        farther=np.stack([(distance >= d).mean((1, 2)) for d in simulation.distances], -1),
    )


def _medians(distance: NDArray[np.int64]) -> Array:
    # As `Displacements.median`: between whole distances, half a site less.
    found = []
    for one in distance.reshape(len(distance), -1):
        counts = np.bincount(one)
        beyond = 1 - (np.cumsum(counts) - counts) / one.size
        found.append(np.interp(-0.5, -np.append(beyond, 0.0), np.arange(beyond.size + 1)) - 0.5)
    return np.maximum(found, 0.0)


def _stream(simulation: Simulation, purpose: int, number: int) -> np.random.Generator:
    # Environments and dynamics draw from separate streams, one per environment.
    sequence = np.random.SeedSequence(simulation.seed, spawn_key=(purpose, number))
    return np.random.Generator(np.random.PCG64DXSM(sequence))
