"""Walks on potentials drawn as they go, against potentials drawn beforehand and closed forms."""

from math import inf

import numpy as np
import pytest
from scipy.special import ndtr

from noisescale.errors import InputError
from noisescale.simulation import long_paths as module
from noisescale.simulation.long_paths import path_walk
from tests.reference import path_walk as naive


def agree(sample, other, what):
    """Two samples' means within 4 standard errors, which are at most a tenth of the spread."""
    stderr = np.sqrt(np.var(sample) / np.size(sample) + np.var(other) / np.size(other))
    assert abs(np.mean(sample) - np.mean(other)) <= 4 * stderr, what


@pytest.mark.parametrize("alpha", [0.3, 1.0, 1.7, 1.99])
def test_predictions_solve_the_normal_equations(alpha):
    """Weights and variance of m_k given all before, and ε white, from the joint covariance."""
    n = 12
    joint = naive.sphere_covariance(n, alpha)
    A, M = np.arange(n + 1), np.arange(n + 1, 2 * n + 1)
    to_pairs = np.zeros((2 * n, 2 * n + 1))
    for k in range(n):
        to_pairs[2 * k, M[k]], to_pairs[2 * k, A[k]] = 1, -1
        to_pairs[2 * k + 1, A[k + 1]], to_pairs[2 * k + 1, M[k]] = 1, -1
    covariance = to_pairs @ joint @ to_pairs.T
    white = covariance[1::2, 1::2]
    assert white == pytest.approx(0.5 * 2 ** (alpha / 2) * np.eye(n), abs=1e-10)
    found = list(module._predictors(alpha, n))
    assert len(found) == n
    for k, (weights, left) in enumerate(found):
        past, cross = covariance[: 2 * k, : 2 * k], covariance[: 2 * k, 2 * k]
        wanted = np.linalg.solve(past, cross) if k else np.zeros(0)
        assert covariance[2 * k, 1 + 2 * k :: 2] == pytest.approx(0.0, abs=1e-12)
        assert weights.ravel() == pytest.approx(wanted, abs=1e-10)
        assert left == pytest.approx(covariance[2 * k, 2 * k] - cross @ wanted, abs=1e-10)


@pytest.mark.parametrize(("dim", "alpha"), [(1, 0.8), (1, 1.5), (2, 1.0), (3, 1.7), (8, 1.0)])
def test_against_potentials_drawn_at_every_reachable_site(dim, alpha):
    """Mean V, V², |x| and moves, step by step: 1500 walkers of 8 steps, the same proposals."""
    rng = np.random.default_rng(dim)
    n, walkers, temperature = 8, 1500, 0.5
    directions = rng.standard_normal((n, dim))
    directions = np.eye(8) if dim == 8 else directions / np.linalg.norm(directions, axis=1)[:, None]
    heights, distances = naive.walks(directions, alpha, temperature, 10_000, rng)
    drawn = [
        module._metropolis(
            alpha, 1 / temperature, directions, rng.standard_normal(n), rng.random(n)
        )
        for _ in range(walkers)
    ]
    V, distance, accepted = np.moveaxis(np.array(drawn), 0, -1)
    for t in range(n):
        agree(V[t], heights[t], f"V after {t + 1}")
        agree(V[t] ** 2, heights[t] ** 2, f"V² after {t + 1}")
        agree(distance[t], distances[t], f"distance after {t + 1}")
    if dim == 8:  # orthogonal steps
        assert distance == pytest.approx(np.sqrt(accepted), abs=1e-12)


def test_one_dimension_against_a_lattice():
    """1000 walkers of 20 steps against paths drawn at all sites beforehand, 4 standard errors."""
    step, sigma, temperature, n, samples, alpha = 0.5, 1.4, 0.8, 20, 10_000, 1.3
    rng = np.random.default_rng(5)
    sites = step * np.arange(-n, n + 1.0)[:, None]
    covariance = sigma**2 * naive.field_covariance(sites, alpha)
    values, vectors = np.linalg.eigh(covariance)
    V = (vectors * np.sqrt(np.maximum(values, 0))) @ rng.standard_normal((2 * n + 1, samples))
    at, every = np.full(samples, n), np.arange(samples)
    walk = path_walk(1, alpha, n, step, temperature, 1000, rng, sigma=sigma)
    assert walk.V.shape == walk.distance.shape == walk.log_t.shape == (n, 1000)
    assert walk.log_t[:, 3] == pytest.approx(np.log(np.arange(1, n + 1)))
    for t in range(n):
        to = at + rng.choice([-1, 1], samples)
        change = V[to, every] - V[at, every]
        at = np.where(rng.random(samples) < np.exp(-np.maximum(change, 0) / temperature), to, at)
        if t in (0, 4, 10, 19):
            agree(walk.V[t], V[at, every], f"V after {t + 1}")
            agree(walk.distance[t], step * abs(at - n), f"|x| after {t + 1}")
            agree(walk.distance[t] ** 2, step**2 * (at - n) ** 2, f"x² after {t + 1}")


@pytest.mark.parametrize(("alpha", "temperature"), [(1.0, 0.25), (1.6, 0.5), (2.0, 0.5)])
def test_infinite_dimension_against_orthogonal_steps(alpha, temperature):
    """Moves and V after 40 proposals: no sphere means there, and rejected points are kept."""
    n, walkers = 40, 400
    rng = np.random.default_rng(7)
    walk = path_walk(inf, alpha, n, 1.0, temperature, 2000, rng)
    drawn = [
        module._metropolis(alpha, 1 / temperature, np.eye(n), rng.standard_normal(n), rng.random(n))
        for _ in range(walkers)
    ]
    V, _, accepted = np.moveaxis(np.array(drawn), 0, -1)
    for t in (1, 5, 40):
        moves = (walk.log_t < np.log(t + 0.5)).sum(axis=0)
        heights = np.concatenate([np.zeros((1, 2000)), walk.V])[moves, np.arange(2000)]
        agree(accepted[t - 1], moves, f"moves by {t}")
        agree(V[t - 1], heights, f"V at {t}")
        agree(V[t - 1] ** 2, heights**2, f"V² at {t}")


def test_many_dimensions_approach_infinitely_many():
    """d = 400 and d = ∞: the mean square distance after 60 proposals within 4 standard errors."""
    rng = np.random.default_rng(2)
    finite = path_walk(400, 1.0, 60, 2.0, 0.5, 200, rng)
    limit = path_walk(inf, 1.0, 60, 2.0, 0.5, 1000, rng)
    moves = (limit.log_t < np.log(60.5)).sum(axis=0)
    agree(finite.accepted[-1], moves, "moves")
    agree(finite.distance[-1] ** 2, 4.0 * moves, "distance²")
    assert limit.distance**2 == pytest.approx(4.0 * limit.accepted)


@pytest.mark.parametrize("temperature", [0.2, 1.0])
def test_acceptance_on_the_ramp(temperature):
    """α = 2: ½ + e^{s²/2} Φ(−s), s = σδ/T, d = ∞ and 3000 dimensions; 4 standard errors."""
    step, sigma = 0.6, 0.5
    s = step * sigma / temperature
    acceptance = 0.5 + np.exp(s**2 / 2) * ndtr(-s)
    rng = np.random.default_rng(1)
    walk = path_walk(inf, 2.0, 100, step, temperature, 300, rng, sigma=sigma)
    waits = np.diff(np.exp(walk.log_t), axis=0, prepend=0.0)
    assert waits == pytest.approx(np.round(waits), abs=1e-6)
    stderr = np.sqrt((1 - acceptance) / acceptance**2 / waits.size)
    assert abs(waits.mean() - 1 / acceptance) < 4 * stderr
    assert waits.var() == pytest.approx((1 - acceptance) / acceptance**2, rel=0.1)
    # The gain per move, E[ΔV | accepted]: −σδ (e^{s²/2} Φ(−s) s)/acceptance by parts.
    gain = -sigma * step * s * np.exp(s**2 / 2) * ndtr(-s) / acceptance
    moved = np.diff(walk.V, axis=0, prepend=0.0)
    assert abs(moved.mean() - gain) < 4 * moved.std() / np.sqrt(moved.size)


def test_waiting_times():
    """At T → 0 every move goes down; waits are geometric (4 standard errors), in logarithms."""
    rng = np.random.default_rng(4)
    walk = path_walk(inf, 1.0, 60, 1.0, 1e-3, 200, rng)
    assert np.isfinite(walk.log_t).all() and (np.diff(walk.log_t, axis=0) >= 0).all()
    assert np.diff(walk.V, axis=0, prepend=0.0).max() < 0.02
    numbers = module._log_proposals(np.log(np.full(40_000, 0.3)), rng.random(40_000))
    counts = np.exp(numbers)
    assert counts == pytest.approx(np.round(counts))
    for k in (1, 2, 5):
        truth = 0.3 * 0.7 ** (k - 1)
        found = np.mean(np.round(counts) == k)
        assert abs(found - truth) < 4 * np.sqrt(truth * (1 - truth) / 40_000)
    assert module._log_proposals(np.array([-1000.0]), np.array([0.5])) == pytest.approx(
        1000 + np.log(np.log(2))
    )


@pytest.mark.parametrize("dim", [1, 3, inf])
@pytest.mark.parametrize("alpha", [0.7, 2.0])
def test_walkers_do_not_depend_on_their_number(dim, alpha):
    one = path_walk(dim, alpha, 20, 1.0, 0.5, 5, np.random.default_rng(3))
    few = path_walk(dim, alpha, 20, 1.0, 0.5, 2, np.random.default_rng(3))
    assert one.V[:, :2] == pytest.approx(few.V, abs=1e-12)
    assert one.log_t[:, :2] == pytest.approx(few.log_t, abs=1e-12)
    assert np.array_equal(one.accepted[:, :2], few.accepted)


def test_units():
    """σ, δ and T enter as s = σ δ^{α/2}/T."""
    for dim in (2, inf):
        plain = path_walk(dim, 1.5, 15, 1.0, 0.4, 3, np.random.default_rng(1))
        scaled = path_walk(
            dim, 1.5, 15, 4.0, 0.4 * 3.0 * 4.0**0.75, 3, np.random.default_rng(1), sigma=3.0
        )
        assert scaled.distance == pytest.approx(4.0 * plain.distance)
        assert scaled.V == pytest.approx(3.0 * 4.0**0.75 * plain.V)
        assert scaled.log_t == pytest.approx(plain.log_t)


@pytest.mark.parametrize(
    ("change", "what"),
    [
        ({"dim": 0}, "whole number"),
        ({"dim": 2.5}, "whole number"),
        ({"dim": -inf}, "whole number"),
        ({"dim": np.nan}, "whole number"),
        ({"alpha": 0}, r"\(0, 2\]"),
        ({"alpha": 2.5}, r"\(0, 2\]"),
        ({"n_steps": 0}, "n_steps=0"),
        ({"step": 0.0}, "above 0"),
        ({"T": 0.0}, "T=0.0"),
        ({"T": -1.0}, "T=-1.0"),
        ({"n_walkers": 1.5}, "n_walkers=1.5"),
        ({"rng": 5}, "Generator"),
    ],
)
def test_refused(change, what):
    given = {
        "dim": 2,
        "alpha": 1.0,
        "n_steps": 3,
        "step": 1.0,
        "T": 1.0,
        "n_walkers": 1,
        "rng": np.random.default_rng(0),
    }
    with pytest.raises(InputError, match=what) as error:
        path_walk(**given | change)
    assert "\n" not in str(error.value)
    with pytest.raises(InputError, match="sigma=-1"):
        path_walk(**given, sigma=-1)


def test_a_walk_unpacks_into_log_times_and_potentials():
    walk = path_walk(inf, 1.0, 5, 1.0, 1.0, 3, np.random.default_rng(1))
    log_t, V = walk
    assert log_t is walk.log_t and V is walk.V and V.shape == (5, 3)
