"""Planted worlds with drawn parameters, and the verdicts that are right in each."""

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from noisescale.analysis.walk import Trajectory, WalkVerdict, judge_walk
from tests.reference import worlds

LATE = 3000  # updates of a run, unless drawn


@dataclass(frozen=True)
class Planted:
    """A world, the verdicts that are not wrong in it, and the one that should come most often."""

    draw: Callable[[np.random.Generator], list[dict]]
    right: frozenset[str]
    power: float


def judge(runs: list[dict], **options) -> WalkVerdict:
    return judge_walk([Trajectory(**run) for run in runs], **options)


def between(rng, low, high):
    return float(np.exp(rng.uniform(np.log(low), np.log(high))))


def world(make, right, power, **ranges):
    """Numbers given as pairs are drawn log-uniformly; `d` and `most` are rounded."""

    def draw(rng):
        numbers = {
            name: between(rng, *value) if isinstance(value, tuple) else value
            for name, value in ranges.items()
        }
        numbers |= {name: int(numbers[name]) for name in ("d", "most") if name in numbers}
        return make(rng=rng, **numbers)

    return Planted(draw, frozenset({*right, "undecided"}), power)


def relaxing_walk(rng, periods, **kinds):
    """Ornstein–Uhlenbeck over so many relaxation times."""
    return worlds.additive(None, relaxation=LATE / periods, rng=rng, **kinds)


def spectrum(rng, slowest, d):
    """Relaxation times of all sizes: V grows like a power or logarithm, yet all is linear."""
    return worlds.additive(None, d=d, relaxation=np.geomspace(1, slowest, d), rng=rng)


def induced_logarithm(rng, size, periods=None):
    """A logarithmic way ∝ θ that noise induces, with noise at rest or walking."""
    relaxation = None if periods is None else LATE / periods
    return worlds.additive(
        None, induced=lambda k: size * np.log1p(k / 30), relaxation=relaxation, rng=rng
    )


def induced_line(rng, speed):
    return worlds.additive(None, induced=lambda k: speed * k, rng=rng)


def settling(rng, reach, updates, periods=None):
    relaxation = None if periods is None else LATE / periods
    return worlds.settling_drift(reach, updates, relaxation=relaxation, rng=rng)


FREE, DRIFT, NORM, TRAP = {"free diffusion"}, {"drift"}, {"norm growth"}, {"trapping"}
LENGTH = dict(d=(200, 2000), most=(1000, 10_000))
# Noise of the linear drift at speed 1, for which V is D²/2 of the smallest batch at the end.
EQUAL = np.sqrt(16 * 2000 / 400)

PLANTED = {
    "gradient descent on exp(−w)": world(
        worlds.exponential_loss, DRIFT, 0.9,
        scale=(0.5, 2), rate=(0.1, 0.8), noise=(0.003, 0.1), **LENGTH,
    ),
    "linear drift dominates": world(
        worlds.linear_drift, DRIFT, 0.9, speed=1.0, noise=(0.001, 0.1), **LENGTH
    ),
    "descent, noise at rest": world(
        worlds.exponential_loss, DRIFT, 0.8,
        rate=(0.1, 0.8), noise=(0.1, 1), relaxation=(10, 1000), d=400,
    ),
    "drift and noise, half each": world(
        worlds.linear_drift, (), 0, speed=1.0, noise=(EQUAL, 2 * EQUAL), d=400, most=2000
    ),
    "noise dominates a drift": world(
        worlds.linear_drift, FREE, 0.7,
        speed=1.0, noise=(32 * EQUAL, 120 * EQUAL), d=400, most=2000,
    ),
    "early drift, then noise": world(
        settling, FREE, 0.5, reach=(5, 30), updates=(20, 80)
    ),
    "early drift, then rest": world(
        settling, (), 0, reach=(5, 30), updates=(20, 60), periods=(1, 300)
    ),
    # Most of its way lies in the last decade.
    "late drift, noise at rest": world(
        settling, DRIFT, 0, reach=(5, 30), updates=(500, 3000), periods=(1, 300)
    ),
    "free walk": world(worlds.additive, FREE, 0.9, drift=None, **LENGTH),
    "free walk, 3 seeds, sketched": world(
        worlds.additive, FREE, 0.4, drift=None, d=2000, seeds=3, sketch=256
    ),
    "Ornstein–Uhlenbeck, early": world(relaxing_walk, FREE, 0.7, periods=(0.01, 0.1)),
    "Ornstein–Uhlenbeck, about its time": world(relaxing_walk, (), 0, periods=(0.5, 2)),
    "Ornstein–Uhlenbeck, at rest": world(relaxing_walk, (), 0, periods=(3, 30)),
    "Ornstein–Uhlenbeck, all times": world(spectrum, (), 0, slowest=(1e3, 1e5), d=800),
    "scale-invariant": world(worlds.scale_invariant, NORM, 0.9, size=(1.5, 6), d=(200, 1000)),
    # |w|² grows by 1 to 45 %: below about 20 % the walk is free within the margins.
    "scale-invariant, early": world(
        worlds.scale_invariant, NORM | FREE, 0.5, size=(0.2, 1), d=(200, 1000)
    ),
    "scale-invariant with decay": world(
        worlds.scale_invariant, (), 0, size=(1, 3), decay=(0.01, 0.1), d=200
    ),
    "drift ∝ θ ln t, noise at rest": world(
        induced_logarithm, (), 0, size=(0.3, 10), periods=(3, 300)
    ),
    "drift ∝ θ ln t, walking noise": world(induced_logarithm, FREE, 0, size=(0.3, 3)),
    "drift ∝ θ t": world(induced_line, FREE, 0, speed=(0.003, 0.1)),
    "landscape α = ½ to 1½": world(
        worlds.landscape, TRAP, 0.8, alpha=(0.5, 1.5), noise=(8, 14), d=200, seeds=8
    ),
    "landscape, 4 seeds": world(
        worlds.landscape, TRAP, 0.3, alpha=(0.5, 1.5), noise=(4, 14), d=(50, 300)
    ),
    "landscape, sketched": world(
        worlds.landscape, TRAP, 0.8,
        alpha=(0.5, 1.5), noise=(8, 14), d=300, seeds=6, sketch=128,
    ),
    "landscape, cold": world(
        worlds.landscape, TRAP, 0, alpha=(0.5, 1.5), noise=(0.3, 3), d=200
    ),
    "landscape, hot": world(
        worlds.landscape, TRAP, 0, alpha=(0.5, 1.5), noise=(15, 40), d=200
    ),
    "landscape, early": world(
        worlds.landscape, TRAP, 0, alpha=(0.5, 1.5), noise=(4, 14), d=200, most=200
    ),
}  # fmt: skip


def count(name: str, draws: int, first: int = 0) -> Counter:
    """Verdicts of so many draws of one world."""
    index = list(PLANTED).index(name)
    found: Counter = Counter()
    for number in range(first, first + draws):
        runs = PLANTED[name].draw(np.random.default_rng([index, number]))
        found[judge(runs).verdict] += 1
    return found
