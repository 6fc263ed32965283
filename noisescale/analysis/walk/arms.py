"""Runs of equal batch size, learning rate and momentum, as arrays over seeds and times."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import reduce
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from noisescale.analysis.walk.trajectory import FEWEST_TIMES, Trajectory
from noisescale.analysis.walk.two_time import spreading, to_the_end
from noisescale.errors import InputError

Array = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Arm:
    """Means over the replicas of each seed, for one batch size; S seeds, n times.

    Args:
        time: t = ε k/(1 − m), (n,): the clock of gradient descent.
        temperature: θ = (ε/(1 − m)) (1/B − 1/N), 0 for the full batch; the noise adds variance
            ∝ θ per unit of t.
        square: E D², (S, n).
        overlap: E (w_a − w_0)·(w_b − w_0) over pairs of replicas, (S, n); None without pairs.
        noise: V = E |w_a − w_b|²/2 = E D² − overlap, (S, n); None without pairs.
        norms: |w|² − |w_0|², |w|⁴ − |w_0|⁴, |w_0|², |Δw|² (NaN if not recorded), (S, 4, n); None
            without norms.
        later: of δ = (w_a − w_b)/√2, between every time and the last: |δ_n − δ_j|² and
            (δ_n − δ_j)·δ_j, (S, 2, n); None without pairs.
        spreading: of δ, Δ²(k_i, k_j)/(k_j − k_i) and Δ²(0, k_i)/k_i with k_j ≈ 2 k_i, (S, 2, pairs
            of times); None without pairs.
        excess: (t, |w − w_full|² of the same seed and update against the full batch, (S, n'));
            None without positions of a full-batch arm of equal ε and m.
        replicas: fewest runs of a seed.
        numbers: p of the sketch, 0 for the weights themselves.
    """

    batch_size: int
    learning_rate: float
    momentum: float
    update: Array
    time: Array
    temperature: float
    square: Array
    overlap: Array | None
    noise: Array | None
    norms: Array | None
    later: Array | None
    spreading: Array | None
    excess: tuple[Array, Array] | None
    replicas: int
    numbers: int

    @property
    def full_batch(self) -> bool:
        return self.temperature == 0.0


def arms_of(given: Sequence[Trajectory]) -> tuple[list[Arm], list[int]]:
    """Arms from the noisiest to the full batch, and the seeds that all of them share.

    Raises:
        InputError: no trajectory; unequal train sizes or widths of positions; a run given twice;
            runs of an arm without enough common times; arms without a common seed.
    """
    if not given or not all(isinstance(t, Trajectory) for t in given):
        raise InputError("trajectories: give at least one Trajectory")
    sizes = {t.train_size for t in given}
    if len(sizes) > 1:
        raise InputError(f"trajectories of different train_size: {sorted(map(str, sizes))}")
    widths = {t.positions.shape[1] for t in given if t.positions is not None}
    if len(widths) > 1:
        raise InputError(f"positions of {sorted(widths)} numbers: use one projection for all runs")
    groups: dict[tuple[float, float, int], list[Trajectory]] = {}
    for t in given:
        groups.setdefault((t.learning_rate, t.momentum, t.batch_size), []).append(t)
    shared = set.intersection(*({t.seed for t in group} for group in groups.values()))
    if not shared:
        raise InputError("the arms share no seed: give runs of equal initial weights in every arm")
    seeds = sorted(shared)
    arms = [
        _arm(group, seeds, groups.get((*key[:2], given[0].train_size or 0)))
        for key, group in groups.items()
    ]
    return sorted(arms, key=lambda arm: (-arm.temperature, arm.batch_size)), seeds


def _arm(group: list[Trajectory], seeds: list[int], full: list[Trajectory] | None) -> Arm:
    first = group[0]
    name = f"batch size {first.batch_size}"
    if len({(t.seed, t.replica) for t in group}) < len(group):
        raise InputError(f"{name}: two runs have the same seed and replica")
    group = [t for t in group if t.seed in seeds]
    update = reduce(np.intersect1d, [t.update for t in group])
    if len(update) < FEWEST_TIMES:
        raise InputError(f"{name}: its runs share {len(update)} times; measure all at the same")
    by_seed = [[t for t in group if t.seed == seed] for seed in seeds]
    pairs = [_pairs(runs, update) for runs in by_seed]
    paired = [p for p in pairs if p is not None]
    complete = len(paired) == len(pairs)
    square = np.array([np.mean([_squares(t, update) for t in runs], axis=0) for runs in by_seed])
    noise = np.array([p.noise for p in paired]) if complete else None
    if noise is not None:
        # Of the replicas that form pairs alone, so that D² − V is their overlap exactly.
        square = np.array([p.square for p in paired])
    normed = all(t.weight_norm is not None for t in group)
    effective = first.learning_rate / (1 - first.momentum)
    inverse = 1 / first.batch_size
    if first.train_size is not None:
        inverse -= 1 / first.train_size
    sketched = any(t.sketched for t in group)
    positions = first.positions
    return Arm(
        batch_size=first.batch_size,
        learning_rate=first.learning_rate,
        momentum=first.momentum,
        update=update,
        time=effective * update,
        temperature=0.0 if first.full_batch else effective * inverse,
        square=square,
        overlap=None if noise is None else square - noise,
        noise=noise,
        norms=np.array([np.mean([_norms(t, update) for t in runs], axis=0) for runs in by_seed])
        if normed
        else None,
        later=np.array([p.later for p in paired]) if complete else None,
        spreading=np.array([p.spreading for p in paired]) if complete else None,
        excess=None if full is None or first.full_batch else _excess(by_seed, full, seeds, update),
        replicas=min(len(runs) for runs in by_seed),
        numbers=positions.shape[1] if sketched and positions is not None else 0,
    )


def _at(t: Trajectory, update: Array) -> NDArray[np.int64]:
    return np.searchsorted(t.update, update)


def _squares(t: Trajectory, update: Array) -> Array:
    return np.asarray(t.distance[_at(t, update)] ** 2)


@dataclass(frozen=True, slots=True)
class _Pairs:
    square: Array
    noise: Array
    later: Array
    spreading: Array


def _pairs(runs: list[Trajectory], update: Array) -> _Pairs | None:
    """Means over all pairs of replicas with positions; None without a pair."""
    placed = [t for t in runs if t.positions is not None]
    squares, noises, later, spread = [], [], [], []
    for a, b in combinations(placed, 2):
        x, y = _rows(a, update), _rows(b, update)
        da, db = a.distance[_at(a, update)], b.distance[_at(b, update)]
        # Of a sketch only the angle is used, whose error vanishes where the replicas agree.
        turn = x / np.linalg.norm(x, axis=1)[:, None] - y / np.linalg.norm(y, axis=1)[:, None]
        noises.append((da - db) ** 2 / 2 + da * db * np.einsum("ij,ij->i", turn, turn) / 2)
        squares.append((da**2 + db**2) / 2)
        delta = (x - y) / np.sqrt(2)
        later.append(to_the_end(delta))
        spread.append(spreading(delta, update))
    if not squares:
        return None
    means = [np.mean(found, axis=0) for found in (squares, noises, later, spread)]
    return _Pairs(*means)


def _excess(
    by_seed: list[list[Trajectory]], full: list[Trajectory], seeds: list[int], update: Array
) -> tuple[Array, Array] | None:
    """(t, |w − w_full|² (S, n')) at the updates that all have."""
    used = [t for t in full if t.seed in seeds]
    if any(t.positions is None for runs in [*by_seed, used] for t in runs):
        return None
    update = reduce(np.intersect1d, [t.update for t in used], update)
    if len(update) < FEWEST_TIMES:
        return None
    found = []
    for runs, seed in zip(by_seed, seeds, strict=True):
        at_rest = np.mean([_rows(t, update) for t in used if t.seed == seed], axis=0)
        gaps = [_rows(t, update) - at_rest for t in runs]
        found.append(np.mean([np.einsum("ij,ij->i", gap, gap) for gap in gaps], axis=0))
    first = by_seed[0][0]
    return first.learning_rate / (1 - first.momentum) * update, np.array(found)


def _rows(t: Trajectory, update: Array) -> Array:
    assert t.positions is not None
    return np.asarray(t.positions[_at(t, update)])


def _norms(t: Trajectory, update: Array) -> Array:
    """(4, n): |w|² − |w_0|², |w|⁴ − |w_0|⁴, |w_0|², |Δw|² (NaN if not recorded)."""
    assert t.weight_norm is not None
    initial = np.full(len(update), t.weight_norm[0] ** 2)
    square = t.weight_norm[1:][_at(t, update)] ** 2
    step = np.full(len(update), np.nan)
    if t.update_norm is not None:
        step = t.update_norm[_at(t, update)] ** 2
    return np.array([square - initial, square**2 - initial**2, initial, step])
