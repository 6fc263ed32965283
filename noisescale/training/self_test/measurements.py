"""Measurements: distances, sketch, evaluation, gradient moments, Hessian, rays."""

from collections.abc import Iterator

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from noisescale.training import landscape, probes, streams
from noisescale.training.batches import Batches
from noisescale.training.optimizers import Hyper, Rule
from noisescale.training.parameters import parameters_of
from noisescale.training.pytree import PyTree
from noisescale.training.self_test import twins
from noisescale.training.self_test.checks import check, off, trees_off
from noisescale.training.self_test.problems import (
    KINK,
    doubles,
    random_examples,
    single,
    small_perceptron,
)
from noisescale.training.steps import TrainState


@check("squared distances per tensor, distance, norm and angle", 2e-6)
def _distance() -> Iterator[float]:
    _, weights = small_perceptron(features=5, width=7, classes=3, batch_norm=True)
    _, initial = small_perceptron(features=5, width=7, classes=3, batch_norm=True, number=1)
    _, before = small_perceptron(features=5, width=7, classes=3, batch_norm=True, number=2)
    measure = _probes()
    found = measure.squares(weights, initial, before)
    w, w_0, w_1 = doubles(weights), doubles(initial), doubles(before)
    true = [
        [np.sum((a - b) ** 2) for a, b in zip(w, w_0, strict=True)],
        [np.sum(a**2) for a in w],
        [np.sum(b**2) for b in w_0],
        [np.sum((a - b) ** 2) for a, b in zip(w, w_1, strict=True)],
    ]
    yield from trees_off(found, true)
    a, b = (np.concatenate([leaf.ravel() for leaf in tree]) for tree in (w, w_0))
    lengths = np.linalg.norm(a), np.linalg.norm(b)
    way = measure.way(found)
    true_way = (np.linalg.norm(a - b), lengths[0], np.arccos(a @ b / lengths[0] / lengths[1]))
    for computed, expected in zip(way, true_way, strict=True):
        yield off(computed, expected)


@check("the sketch of a distance", 2e-6)
def _sketch() -> Iterator[float]:
    _, weights = small_perceptron(features=5, width=7, classes=3, batch_norm=True)
    _, origin = small_perceptron(features=5, width=7, classes=3, batch_norm=True, number=1)
    flat, flat_origin = (
        np.concatenate([leaf.ravel() for leaf in doubles(tree)]) for tree in (weights, origin)
    )
    order, signs = probes.sketch_plan(flat.size, 16)
    yield off(np.sort(order[signs != 0]), np.arange(flat.size))
    for start, moved in ((origin, flat - flat_origin), (None, flat)):
        true = np.zeros(16)
        for bucket in range(16):
            for place, sign in zip(order[bucket], signs[bucket], strict=True):
                true[bucket] += sign * moved[place]
        yield off(_probes().sketch(weights, start, 16), true)


@check("mean loss and error in two chunks that overlap", 1e-5, multiplies=True)
def _evaluation() -> Iterator[float]:
    _, weights = small_perceptron(features=5, width=7, classes=3)
    number = probes.EVALUATION_CHUNK + 3
    x, y = random_examples(np.random.default_rng(12), number + 1000, features=5, classes=3)
    logits = twins.perceptron(doubles(weights), x, y, np.ones(len(x))).logits
    ordered = np.sort(logits, axis=1)
    clear = np.flatnonzero(ordered[:, -1] - ordered[:, -2] > KINK)[:number]
    x, y, logits = x[clear], y[clear], logits[clear]
    found = _probes(batch_norm=False).loss_and_error(weights, (), jnp.asarray(x), jnp.asarray(y))
    yield off(found[0], np.mean(twins.cross_entropy(logits, y)[0]))
    yield off(found[1], np.mean(np.argmax(logits, axis=1) != y))


@check("squared gradients of the parts of a batch, and of the whole", 2e-5, multiplies=True)
def _gradient_moments() -> Iterator[float]:
    _, weights = small_perceptron(features=5, width=7, classes=3)
    rng = np.random.default_rng(13)
    x, y = random_examples(rng, 101, features=5, classes=3)
    shape = (5, 1, 7)
    indices = rng.permutation(101)[:35].reshape(shape).astype(np.int32)
    batches = Batches(
        indices,
        np.ones(shape, np.float32),
        np.zeros(shape, np.int32),
        np.zeros(1, np.bool_),
        np.full(1, 5.0, np.float32),
    )
    found = _probes(batch_norm=False).gradient_moments(
        TrainState(weights, None),
        jnp.asarray(x),
        jnp.asarray(y),
        batches,
        streams.dynamics_key(0, 0),
        Hyper(0.1),
    )
    leaves = doubles(weights)
    parts = [
        np.concatenate([g.ravel() / 7 for g in twins.gradients(leaves, x[rows], y[rows])])
        for rows in indices.reshape(5, 7)
    ]
    yield off(found[0], np.mean([part @ part for part in parts]))
    whole = np.mean(parts, axis=0)
    yield off(found[1], whole @ whole)


@check("the largest eigenvalue of known Hessians", 2e-5)
def _hessian() -> Iterator[float]:
    rng = np.random.default_rng(14)
    turn, _ = np.linalg.qr(rng.standard_normal((60, 60)))
    matrix = single((turn * np.asarray([*np.linspace(-3.0, 2.0, 59), 5.0])) @ turn.T)
    directions = single(rng.standard_normal((17, 12)))

    def quadratic(matrix: Array, w: PyTree) -> Array:
        flat = jnp.concatenate([w["a"].ravel(), w["b"]])
        return 0.5 * flat @ matrix @ flat

    def log_cosh(directions: Array, w: Array) -> Array:
        return jnp.sum(jnp.logaddexp(directions @ w, -directions @ w))

    flat = single(0.3 * rng.standard_normal(60))
    loss = jax.tree_util.Partial(quadratic, jnp.asarray(matrix))
    found = landscape.largest_hessian_eigenvalue(loss, {"a": flat[:20, None], "b": flat[20:]})
    yield off(found.value, np.linalg.eigvalsh(matrix.astype(np.float64))[-1])
    # Few weights: every column of the Hessian Σ a aᵀ / cosh²(a·w).
    at = flat[:12]
    rows = directions.astype(np.float64)
    true = (rows.T / np.cosh(rows @ at) ** 2) @ rows
    loss = jax.tree_util.Partial(log_cosh, jnp.asarray(directions))
    found = landscape.largest_hessian_eigenvalue(loss, at)
    yield off(found.value, np.linalg.eigvalsh(true)[-1])


@check("a quadratic along random rays and at random points", 1e-5)
def _rays() -> Iterator[float]:
    lengths, origin = np.linspace(0.5, 10.0, 7), {"a": jnp.zeros((5, 7)), "b": jnp.zeros(101)}

    def loss(w: PyTree) -> Array:
        return 0.5 * (jnp.sum(w["a"] ** 2) + jnp.sum(w["b"] ** 2))

    found = landscape.loss_along_rays(loss, origin, lengths, rays=3, seed=0)
    yield off(found, np.tile(0.5 * lengths**2, (3, 1)))
    at, losses = landscape.loss_at_random_points(loss, origin, points=33, longest=10.0, seed=0)
    yield off(losses, 0.5 * at**2)


def _probes(*, batch_norm: bool = True) -> probes.Probes:
    static, weights = small_perceptron(features=5, width=7, classes=3, batch_norm=batch_norm)
    return probes.Probes(static, Rule(), parameters_of(weights))
