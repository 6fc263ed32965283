"""One update: gradients of micro-batches accumulated, then applied. Pure functions."""

from collections.abc import Callable
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from noisescale.training.ghost_batch_norm import Moments, Statistics, fold
from noisescale.training.models import Pass
from noisescale.training.optimizers import Hyper, Rule, apply_update
from noisescale.training.pytree import PyTree
from noisescale.training.streams import example_keys


class TrainState(NamedTuple):
    """What an update changes.

    Args:
        weights: w.
        optimizer: the momentum buffer v of one structure with w, or Adam's moments.
        statistics: running statistics, one per batch-norm layer.
    """

    weights: PyTree
    optimizer: PyTree
    statistics: tuple[Statistics, ...] = ()


class Batch(NamedTuple):
    """One update's batch; the axes are (part, ghost, slot), see noisescale.training.batches."""

    indices: Any  # Int[Array, "parts ghosts slots"], and so on
    counts: Any
    epochs: Any


def cross_entropy(
    logits: Float[Array, "batch classes"], labels: Int[Array, " batch"]
) -> Float[Array, " batch"]:
    """ℓ = log Σ_c exp z_c − z_y per example, in nats."""
    chosen = jnp.take_along_axis(logits, labels[:, None], axis=1)[:, 0]
    return jax.nn.logsumexp(logits, axis=1) - chosen


# Streams of an example's key; a model's layers take 0, 1, 2 … of the third.
_LOSS_FACTOR, _LABEL, _MODEL, _AUGMENTATION = 0, 1, 2, 3


def loss_factors(keys: Array, variance: Array | float) -> Float[Array, " batch"]:
    """1 + √variance · z with one standard normal z per example.

    With variance = B/B_S − 1 the gradient of a batch of B has the covariance of one of B_S.

    Source: Hoffer, Hubara & Soudry 2017, section 4.1 (multiplicative noise), as one factor per
    example.
    """
    z = jax.vmap(lambda k: jax.random.normal(jax.random.fold_in(k, _LOSS_FACTOR)))(keys)
    return 1.0 + jnp.sqrt(variance) * z


def noisy_labels(
    keys: Array, labels: Int[Array, " batch"], probability: float, classes: int
) -> Int[Array, " batch"]:
    """Each label with `probability` replaced by one drawn uniformly from all classes."""

    def one(key: Array, label: Array) -> Array:
        chance, which = jax.random.split(jax.random.fold_in(key, _LABEL))
        replaced = jax.random.bernoulli(chance, probability)
        return jnp.where(replaced, jax.random.randint(which, (), 0, classes), label)

    return jax.vmap(one)(keys, labels)


def micro_step(
    static: PyTree,
    rule: Rule,
    weights: PyTree,
    inputs: Float[Array, "examples *shape"],
    labels: Int[Array, " examples"],
    counts: Float[Array, " examples"],
    ghosts: int = 1,
    keys: Array | None = None,
    noise_variance: Array | float = 0.0,
) -> tuple[PyTree, tuple[Moments, ...]]:
    """(Σ_i c_i f_i ∇ℓ_i over a micro-batch, the statistics of its ghosts).

    Args:
        static: the model without its arrays (equinox.partition).
        weights: its arrays.
        counts: c, 1 for an example and 0 for padding.
        ghosts: into how many consecutive ghosts the micro-batch is divided.
        keys: one per example where anything is drawn; f_i = 1 without noise.
    """
    model_keys = None
    factors = counts
    if keys is not None:
        model_keys = jax.vmap(lambda k: jax.random.fold_in(k, _MODEL))(keys)
        if rule.augmentation:
            inputs = rule.augmentation(
                jax.vmap(lambda k: jax.random.fold_in(k, _AUGMENTATION))(keys), inputs
            )
        if rule.optimizer.noise_batch_size:
            factors = counts * loss_factors(keys, noise_variance)

    def total_loss(w: PyTree) -> tuple[Array, tuple[Moments, ...]]:
        model = eqx.combine(w, static)
        logits, moments = model(inputs, Pass(counts, ghosts, model_keys, None))
        targets = labels
        if keys is not None and rule.optimizer.label_noise:
            targets = noisy_labels(keys, labels, rule.optimizer.label_noise, logits.shape[1])
        return jnp.sum(factors * cross_entropy(logits, targets)), moments

    return jax.grad(total_loss, has_aux=True)(weights)


def parts_of(
    static: PyTree,
    rule: Rule,
    weights: PyTree,
    inputs: Float[Array, "examples *shape"],
    labels: Int[Array, " examples"],
    batch: Batch,
    key: Array,
    hyper: Hyper,
) -> Callable[[Array | int], tuple[PyTree, tuple[Moments, ...]]]:
    """A function of the number of a micro-batch: its summed gradient and its ghosts' statistics."""
    draws = rule.draws or eqx.combine(weights, static).draws
    ghosts = batch.indices.shape[1]

    def part(number: Array | int) -> tuple[PyTree, tuple[Moments, ...]]:
        rows, counts, epochs = (a[number].reshape(-1) for a in batch)
        keys = example_keys(key, epochs, rows) if draws else None
        return micro_step(
            static,
            rule,
            weights,
            inputs[rows],
            labels[rows],
            counts,
            ghosts,
            keys,
            hyper.noise_variance,
        )

    return part


def update(
    static: PyTree,
    rule: Rule,
    state: TrainState,
    inputs: Float[Array, "examples *shape"],
    labels: Int[Array, " examples"],
    batch: Batch,
    key: Array,
    hyper: Hyper,
) -> TrainState:
    """One update from a batch given as micro-batches of indices into the data.

    Args:
        key: of the run's dynamics; every example's own follows from it.
    """
    part = parts_of(static, rule, state.weights, inputs, labels, batch, key, hyper)
    parts = batch.indices.shape[0]
    if parts == 1:
        total, moments = part(0)
    else:
        zero = jax.tree.map(jnp.zeros_like, state.weights)

        def accumulate(total: PyTree, number: Array) -> tuple[PyTree, tuple[Moments, ...]]:
            gradient, moments = part(number)
            return jax.tree.map(jnp.add, total, gradient), moments

        total, moments = jax.lax.scan(accumulate, zero, jnp.arange(parts))
        moments = jax.tree.map(lambda a: a.reshape(-1, *a.shape[2:]), moments)
    gradient = jax.tree.map(lambda g: g / jnp.sum(batch.counts), total)
    weights, optimizer = apply_update(state.weights, state.optimizer, gradient, hyper, rule)
    statistics = tuple(
        fold(running, new, mode=rule.running_statistics, decay=rule.batch_norm_decay)
        for running, new in zip(state.statistics, moments, strict=True)
    )
    return TrainState(weights, optimizer, statistics)
