"""One update: gradients of micro-batches accumulated, then applied. Pure functions."""

from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

PyTree = Any


class Hyper(NamedTuple):
    """What a phase may change, as traced scalars: a change compiles nothing."""

    learning_rate: Array | float
    momentum: Array | float
    weight_decay: Array | float


class TrainState(NamedTuple):
    """Weights w and momentum buffer v, of one structure."""

    weights: PyTree
    velocity: PyTree


def cross_entropy(
    logits: Float[Array, "batch classes"], labels: Int[Array, " batch"]
) -> Float[Array, " batch"]:
    """ℓ = log Σ_c exp z_c − z_y per example, in nats."""
    chosen = jnp.take_along_axis(logits, labels[:, None], axis=1)[:, 0]
    return jax.nn.logsumexp(logits, axis=1) - chosen


def micro_step(
    static: PyTree,
    weights: PyTree,
    inputs: Float[Array, "batch *shape"],
    labels: Int[Array, " batch"],
    counts: Float[Array, " batch"],
) -> PyTree:
    """Σ_i c_i ∇ℓ_i over a micro-batch; c_i = 0 for padding.

    Args:
        static: the model without its arrays (equinox.partition).
        weights: its arrays.
        counts: c, 1 for an example and 0 for padding.
    """

    def total_loss(w: PyTree) -> Array:
        logits = jax.vmap(eqx.combine(w, static))(inputs)
        return jnp.sum(counts * cross_entropy(logits, labels))

    return jax.grad(total_loss)(weights)


def apply_update(
    state: TrainState, gradient: PyTree, hyper: Hyper, momentum_form: str
) -> TrainState:
    """d = gradient + λ w, then the heavy ball.

    "trace": v ← m v + d, w ← w − ε v.  "velocity": v ← m v − ε d, w ← w + v.

    Args:
        gradient: of the batch mean of the loss.
        momentum_form: see noisescale.recipe.OptimizerConfig.

    Source: Polyak 1964; the two forms: Goyal et al. 2017, section 3.
    """
    rate, momentum, decay = hyper
    w, v = state
    direction = jax.tree.map(lambda g, x: g + decay * x, gradient, w)
    if momentum_form == "trace":
        v = jax.tree.map(lambda a, d: momentum * a + d, v, direction)
        w = jax.tree.map(lambda x, a: x - rate * a, w, v)
    else:
        v = jax.tree.map(lambda a, d: momentum * a - rate * d, v, direction)
        w = jax.tree.map(lambda x, a: x + a, w, v)
    return TrainState(w, v)


def update(
    static: PyTree,
    momentum_form: str,
    state: TrainState,
    inputs: Float[Array, "examples *shape"],
    labels: Int[Array, " examples"],
    indices: Int[Array, "parts micro"],
    counts: Float[Array, "parts micro"],
    hyper: Hyper,
) -> TrainState:
    """One update from a batch given as `parts` micro-batches of indices into the data."""

    def part(row: Array, count: Array) -> PyTree:
        return micro_step(static, state.weights, inputs[row], labels[row], count)

    if indices.shape[0] == 1:
        total = part(indices[0], counts[0])
    else:
        zero = jax.tree.map(jnp.zeros_like, state.weights)
        total, _ = jax.lax.scan(
            lambda acc, rc: (jax.tree.map(jnp.add, acc, part(*rc)), None), zero, (indices, counts)
        )
    gradient = jax.tree.map(lambda g: g / jnp.sum(counts), total)
    return apply_update(state, gradient, hyper, momentum_form)
