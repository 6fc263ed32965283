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
    clip_norm: Array | float = float("inf")


class Rule(NamedTuple):
    """What an optimizer does in every update; a change compiles anew.

    Args:
        momentum_form, nesterov: see noisescale.recipe.OptimizerConfig.
        clips: whether gradients are measured and clipped at all.
    """

    momentum_form: str = "trace"
    nesterov: bool = False
    clips: bool = False


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


def clipped(gradient: PyTree, norm: Array | float) -> PyTree:
    """gradient · min(1, c/‖gradient‖₂), the norm over all weights together.

    Source: Pascanu, Mikolov & Bengio 2013.
    """
    squares = sum(jnp.sum(g**2) for g in jax.tree.leaves(gradient))
    scale = jnp.minimum(1.0, norm / jnp.sqrt(squares))
    return jax.tree.map(lambda g: g * scale, gradient)


def apply_update(state: TrainState, gradient: PyTree, hyper: Hyper, rule: Rule) -> TrainState:
    """Clip the gradient, d = gradient + λ w, then the heavy ball.

    "trace": v ← m v + d, w ← w − ε v, with Nesterov w ← w − ε (d + m v).
    "velocity": v ← m v − ε d, w ← w + v, with Nesterov w ← w + m v − ε d.

    Args:
        gradient: of the batch mean of the loss.

    Source: Polyak 1964; the two forms: Goyal et al. 2017, section 3; Nesterov's momentum as in
    Sutskever et al. 2013, in the variables of PyTorch and of Keras.
    """
    rate, momentum, decay, clip_norm = hyper
    w, v = state
    if rule.clips:
        gradient = clipped(gradient, clip_norm)
    direction = jax.tree.map(lambda g, x: g + decay * x, gradient, w)
    if rule.momentum_form == "trace":
        v = jax.tree.map(lambda a, d: momentum * a + d, v, direction)
        step = v
        if rule.nesterov:
            step = jax.tree.map(lambda a, d: d + momentum * a, v, direction)
        w = jax.tree.map(lambda x, a: x - rate * a, w, step)
    else:
        v = jax.tree.map(lambda a, d: momentum * a - rate * d, v, direction)
        step = v
        if rule.nesterov:
            step = jax.tree.map(lambda a, d: momentum * a - rate * d, v, direction)
        w = jax.tree.map(lambda x, a: x + a, w, step)
    return TrainState(w, v)


def update(
    static: PyTree,
    rule: Rule,
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
    return apply_update(state, gradient, hyper, rule)
