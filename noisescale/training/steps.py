"""One update: gradients of micro-batches accumulated, then applied. Pure functions."""

from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from noisescale.training.ghost_batch_norm import Moments, Statistics, fold
from noisescale.training.mesh import divided, divided_ghosts, kept_on_all
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
    images: Array,
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
    model_keys = augmentation_keys = None
    factors = counts
    if keys is not None:
        model_keys = jax.vmap(lambda k: jax.random.fold_in(k, _MODEL))(keys)
        augmentation_keys = jax.vmap(lambda k: jax.random.fold_in(k, _AUGMENTATION))(keys)
        if rule.optimizer.noise_batch_size:
            factors = counts * loss_factors(keys, noise_variance)
    inputs = rule.inputs(images, augmentation_keys)

    def total_loss(w: PyTree) -> tuple[Array, tuple[Moments, ...]]:
        model = eqx.combine(w, static)
        logits, moments = model(inputs, Pass(counts, ghosts, model_keys, None, rule.dtype))
        targets = labels
        if keys is not None and rule.optimizer.label_noise:
            targets = noisy_labels(keys, labels, rule.optimizer.label_noise, logits.shape[1])
        return jnp.sum(factors * cross_entropy(logits, targets)), moments

    return jax.grad(total_loss, has_aux=True)(weights)


def part_of(
    static: PyTree,
    rule: Rule,
    weights: PyTree,
    images: Array,
    labels: Int[Array, " examples"],
    part: Batch,
    key: Array,
    noise_variance: Array | float,
) -> tuple[PyTree, tuple[Moments, ...]]:
    """(summed gradient, statistics of the ghosts) of one micro-batch of indices into the data.

    Args:
        part: its axes are (ghost, slot).
        key: of the run's dynamics; every example's own follows from it.
    """
    draws = rule.draws or eqx.combine(weights, static).draws
    ghosts = part.indices.shape[0]
    whole = divided_ghosts(rule.mesh, part)
    rows, counts, epochs = (divided(rule.mesh, a.reshape(-1)) for a in whole)
    keys = example_keys(key, epochs, rows) if draws else None
    return micro_step(
        static, rule, weights, images[rows], labels[rows], counts, ghosts, keys, noise_variance
    )


class Accumulated(NamedTuple):
    """What the micro-batches of an update have added up to.

    Args:
        gradient: Σ_i c_i ∇ℓ_i.
        examples: Σ c.
        ghosts: how many.
        statistics: the running ones, folded so far.
    """

    gradient: PyTree
    examples: Array
    ghosts: Array
    statistics: tuple[Statistics, ...]


def nothing(state: TrainState) -> Accumulated:
    """Before the first micro-batch of an update."""
    zero = jax.tree.map(jnp.zeros_like, state.weights)
    examples = jnp.zeros((), jax.tree.leaves(zero)[0].dtype)
    return Accumulated(zero, examples, jnp.zeros((), jnp.int32), state.statistics)


def accumulate(
    static: PyTree,
    rule: Rule,
    state: TrainState,
    so_far: Accumulated,
    images: Array,
    labels: Int[Array, " examples"],
    part: Batch,
    key: Array,
    noise_variance: Array | float,
    ghosts: Array | float,
) -> Accumulated:
    """One more micro-batch of an update, at the weights before it.

    Args:
        ghosts: how many the whole update has.
    """
    gradient, moments = part_of(
        static, rule, state.weights, images, labels, part, key, noise_variance
    )
    statistics = tuple(
        fold(
            running,
            new,
            mode=rule.running_statistics,
            decay=rule.batch_norm_decay,
            total=ghosts,
            done=so_far.ghosts,
        )
        for running, new in zip(so_far.statistics, moments, strict=True)
    )
    here = jnp.sum(jnp.any(part.counts > 0, axis=1), dtype=jnp.int32)
    return Accumulated(
        jax.tree.map(jnp.add, so_far.gradient, gradient),
        so_far.examples + jnp.sum(part.counts),
        so_far.ghosts + here,
        statistics,
    )


def finish(rule: Rule, state: TrainState, total: Accumulated, hyper: Hyper) -> TrainState:
    """The state after an update whose micro-batches are accumulated."""
    gradient = jax.tree.map(lambda g: g / total.examples, total.gradient)
    weights, optimizer = apply_update(state.weights, state.optimizer, gradient, hyper, rule)
    return kept_on_all(rule.mesh, TrainState(weights, optimizer, total.statistics))


def update(
    static: PyTree,
    rule: Rule,
    state: TrainState,
    images: Array,
    labels: Int[Array, " examples"],
    batch: Batch,
    key: Array,
    hyper: Hyper,
    first: Array | int = 0,
    parts: Array | int | None = None,
    ghosts: Array | float | None = None,
) -> TrainState:
    """One update from a batch given as micro-batches.

    Args:
        batch: its micro-batches, and maybe those of other updates.
        key: of the run's dynamics.
        first, parts: where its micro-batches begin in `batch` and how many they are, by default
            all; a traced number compiles nothing anew.
        ghosts: how many ghosts it has; by default they are counted.
    """
    if ghosts is None:
        ghosts = jnp.sum(jnp.any(batch.counts > 0, axis=-1))
    if parts is None:
        parts = batch.indices.shape[0]

    def add(number: Array | int, so_far: Accumulated) -> Accumulated:
        part = Batch(*(a[first + number] for a in batch))
        variance = hyper.noise_variance
        return accumulate(static, rule, state, so_far, images, labels, part, key, variance, ghosts)

    # A single micro-batch needs no loop, in which some programs run slower.
    if isinstance(parts, int) and parts == 1:
        total = add(0, nothing(state))
    else:
        total = jax.lax.fori_loop(0, parts, add, nothing(state))
    return finish(rule, state, total, hyper)
