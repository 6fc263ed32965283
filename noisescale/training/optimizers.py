"""What an update does with the gradient of a batch: clip, decay, step. Pure functions."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax.sharding import Mesh
from jaxtyping import Array

from noisescale.recipe import OptimizerConfig
from noisescale.training.inputs import Inputs
from noisescale.training.parameters import parameters_of
from noisescale.training.pytree import PyTree


class Hyper(NamedTuple):
    """What may change from update to update, as traced numbers: a change compiles nothing.

    Each is a number, or in front of a driver an array of one per update.

    Args:
        learning_rate: ε.
        momentum: m.
        weight_decay: λ.
        clip_norm: ∞ where nothing is clipped.
        noise_variance: B/B_S − 1.
        keep: 0 where the momentum buffer is emptied before the update, else 1.
    """

    learning_rate: Any
    momentum: Any = 0.0
    weight_decay: Any = 0.0
    clip_norm: Any = float("inf")
    noise_variance: Any = 0.0
    keep: Any = 1.0


class Rule(NamedTuple):
    """What an optimizer does in every update; a change compiles anew.

    Args:
        optimizer: the recipe's.
        decay: "coupled", "decoupled" or "independent", see noisescale.Schedule.
        running_statistics, batch_norm_decay: mode and decay of the running statistics, see
            ghost_batch_norm.fold.
        inputs: how images become what the model sees.
        dtype: of activations and products.
        mesh: of devices among which examples are divided; None: one device.
    """

    optimizer: OptimizerConfig = OptimizerConfig()
    decay: str = "coupled"
    running_statistics: str = "sequential"
    batch_norm_decay: float = 0.9
    inputs: Inputs = Inputs()
    dtype: str = "float32"
    mesh: Mesh | None = None

    @property
    def draws(self) -> bool:
        """Whether an update draws random numbers of its own."""
        noise = self.optimizer.noise_batch_size or self.optimizer.label_noise
        return bool(noise or self.inputs.augmentation)


def start_of(weights: PyTree, optimizer: OptimizerConfig) -> PyTree:
    """The optimizer's state before the first update: v = 0, or Adam's moments 0."""
    if optimizer.name == "sgd":
        return jax.tree.map(jnp.zeros_like, weights)
    return _adam(optimizer).init(weights)


def _adam(optimizer: OptimizerConfig):  # type: ignore[no-untyped-def]
    import optax

    return optax.scale_by_adam(optimizer.beta1, optimizer.beta2, optimizer.epsilon)


def clipped(gradient: PyTree, norm: Array | float) -> PyTree:
    """gradient · min(1, c/‖gradient‖₂), the norm over all weights together.

    Source: Pascanu, Mikolov & Bengio 2013.
    """
    squares = sum(jnp.sum(g**2) for g in jax.tree.leaves(gradient))
    scale = jnp.minimum(1.0, norm / jnp.sqrt(squares))
    return jax.tree.map(lambda g: g * scale, gradient)


def normalized(gradient: PyTree, norm: Array | float) -> PyTree:
    """gradient · c/‖gradient‖₂, the norm over all weights together; as it is if c = ∞ or it is 0.

    Source: the slides on Hoffer, Hubara & Soudry 2017 (initial iterations).
    """
    length = jnp.sqrt(sum(jnp.sum(g**2) for g in jax.tree.leaves(gradient)))
    acts = jnp.isfinite(norm) & (length > 0)
    scale = jnp.where(acts, norm / jnp.where(acts, length, 1.0), 1.0)
    return jax.tree.map(lambda g: g * scale, gradient)


def apply_update(
    weights: PyTree, state: PyTree, gradient: PyTree, hyper: Hyper, rule: Rule
) -> tuple[PyTree, PyTree]:
    """(weights, state) after: clip the gradient, d = gradient + λ w if coupled, then step.

    "trace": v ← m v + d, w ← w − ε v, with Nesterov w ← w − ε (d + m v).
    "velocity": v ← m v − ε d, w ← w + v, with Nesterov w ← w + m v − ε d.
    "dampened": v ← m v + (1−m) d, w ← w − ε v, with Nesterov w ← w − ε ((1−m) d + m v).
    "adam", "adamw": w ← w − ε m̂/(√v̂ + epsilon) of optax.
    Decoupled decay adds −ε λ w to the step, independent decay −λ w, of the w before it.

    Args:
        gradient: of the batch mean of the loss.

    Source: Polyak 1964; the first two forms: Goyal et al. 2017, section 3; Nesterov's momentum as
    in Sutskever et al. 2013, in the variables of PyTorch and of Keras; Kingma & Ba 2015;
    Loshchilov & Hutter 2019.
    """
    optimizer = rule.optimizer
    if optimizer.clip_norm:
        cut = normalized if optimizer.normalize else clipped
        gradient = cut(gradient, hyper.clip_norm)
    direction = gradient
    if rule.decay == "coupled":
        direction = _with_decay(optimizer, gradient, weights, hyper.weight_decay)
    if optimizer.name == "sgd":
        step, state = _momentum_step(state, direction, hyper, optimizer)
    else:
        scaled, state = _adam(optimizer).update(direction, state)
        step = jax.tree.map(lambda a: -hyper.learning_rate * a, scaled)
    moved = jax.tree.map(jnp.add, weights, step)
    if rule.decay != "coupled":
        rate = hyper.learning_rate if rule.decay == "decoupled" else 1.0
        moved = _with_decay(optimizer, moved, weights, -rate * hyper.weight_decay)
    return moved, state


def _with_decay(
    optimizer: OptimizerConfig, tree: PyTree, weights: PyTree, factor: Array | float
) -> PyTree:
    """tree + factor · w, for the tensors that decay."""
    if optimizer.decay_norm_and_bias:
        return jax.tree.map(lambda a, w: a + factor * w, tree, weights)
    leaves, structure = jax.tree.flatten(tree)
    decayed = [
        a if p.is_norm or p.is_bias else a + factor * w
        for a, w, p in zip(leaves, jax.tree.leaves(weights), parameters_of(weights), strict=True)
    ]
    return jax.tree.unflatten(structure, decayed)


def _momentum_step(
    v: PyTree, direction: PyTree, hyper: Hyper, optimizer: OptimizerConfig
) -> tuple[PyTree, PyTree]:
    """(w's increment, the new v)."""
    rate, m = hyper.learning_rate, hyper.momentum
    if optimizer.momentum_reset != "never":
        v = jax.tree.map(lambda a: hyper.keep * a, v)
    if optimizer.momentum_form == "velocity":
        v = jax.tree.map(lambda a, d: m * a - rate * d, v, direction)
        if not optimizer.nesterov:
            return v, v
        return jax.tree.map(lambda a, d: m * a - rate * d, v, direction), v
    if optimizer.momentum_form == "dampened":
        direction = jax.tree.map(lambda d: (1.0 - m) * d, direction)
    v = jax.tree.map(lambda a, d: m * a + d, v, direction)
    ahead = jax.tree.map(lambda a, d: d + m * a, v, direction) if optimizer.nesterov else v
    return jax.tree.map(lambda a: -rate * a, ahead), v
