"""A batch on its way through a network: what every model takes and returns."""

from abc import abstractmethod
from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from noisescale.training.ghost_batch_norm import (
    GhostBatchNorm,
    Moments,
    Statistics,
    at_least_float32,
)
from noisescale.training.models.layers import average_pool
from noisescale.training.pytree import PyTree


class Pass(NamedTuple):
    """How a batch goes through a model.

    Args:
        counts: 1 for an example and 0 for padding.
        ghosts: consecutive groups of equal length that share batch-norm statistics.
        keys: one per example for what the model draws; None: nothing is drawn (evaluation).
        running: statistics for evaluation, one per batch-norm layer; None in training.
        dtype: of activations and products.
    """

    counts: Float[Array, " examples"]
    ghosts: int
    keys: jax.Array | None
    running: tuple[Statistics, ...] | None
    dtype: str = "float32"


def norms_of(network: PyTree) -> list[GhostBatchNorm]:
    """Every batch-norm layer, in the order of its fields."""

    def is_norm(node: object) -> bool:
        return isinstance(node, GhostBatchNorm)

    return [n for n in jax.tree.leaves(network, is_leaf=is_norm) if is_norm(n)]


class Flow:
    """Hands every layer of a network its share of a Pass, and collects what the norms measure.

    Args:
        network: whose layers will be called.
    """

    def __init__(self, network: PyTree, how: Pass) -> None:
        self.how = how
        norms = norms_of(network)
        self._place = {id(norm): k for k, norm in enumerate(norms)}
        self._moments: list[Moments | None] = [None] * len(norms)
        self._drawn = 0

    def normalize(self, norm: GhostBatchNorm | None, x: Array) -> Array:
        """x normalised over its ghost, or by the running statistics; as it is without a norm."""
        if norm is None:
            return x
        place = self._place[id(norm)]
        running = None if self.how.running is None else self.how.running[place]
        y, self._moments[place] = norm(x, self.how.counts, self.how.ghosts, running)
        return y

    def drop(self, x: Array, probability: float) -> Array:
        """x · Bernoulli(1−p)/(1−p) in training: activations set to 0, each example by its key.

        Source: Srivastava et al. 2014.
        """
        if self.how.keys is None or not probability:
            return x
        kept = 1.0 - probability

        def one(key: Array, row: Array) -> Array:
            mask = jax.random.bernoulli(key, kept, row.shape)
            return jnp.where(mask, row / kept, jnp.zeros_like(row))

        return jax.vmap(one)(self.draw(), x)

    def draw(self) -> Array:
        """New keys, one per example."""
        assert self.how.keys is not None
        self._drawn += 1
        number = self._drawn - 1
        return jax.vmap(lambda key: jax.random.fold_in(key, number))(self.how.keys)

    def moments(self) -> tuple[Moments, ...]:
        """What every norm has measured; nothing in evaluation."""
        if self.how.running is not None:
            return ()
        found = tuple(m for m in self._moments if m is not None)
        assert len(found) == len(self._moments), "a batch-norm layer was never called"
        return found


class Network(eqx.Module):
    """A batch of images to its logits; the arrays of the module are its weights.

    A network of one's own defines `logits`, calls its batch norms through `flow.normalize` and its
    dropout through `flow.drop`, and says in `draws` whether it has any.
    """

    @property
    def draws(self) -> bool:
        """Whether training draws random numbers (dropout, dropconnect)."""
        return False

    @abstractmethod
    def logits(
        self, x: Float[Array, "examples *shape"], flow: Flow
    ) -> Float[Array, "examples classes"]:
        """Scores of the classes, before the softmax."""

    def __call__(
        self, x: Float[Array, "examples *shape"], how: Pass
    ) -> tuple[Float[Array, "examples classes"], tuple[Moments, ...]]:
        """(logits in float32, in training the statistics of every batch-norm layer's ghosts)."""
        flow = Flow(self, how)
        # float32 is the type of the images; tests give them in float64.
        logits = self.logits(x if how.dtype == "float32" else x.astype(how.dtype), flow)
        return at_least_float32(logits), flow.moments()

    def start_statistics(self) -> tuple[Statistics, ...]:
        """Running statistics before the first update, one per batch-norm layer."""
        return tuple(norm.start() for norm in norms_of(self))


class Downsampled(Network):
    """A network behind images averaged over squares of s × s pixels.

    Args:
        network: takes the smaller images.
        window: s.
    """

    network: Network
    window: int = eqx.field(static=True)

    @property
    def draws(self) -> bool:
        """As the network does."""
        return self.network.draws

    def logits(
        self, x: Float[Array, "examples height width channels"], flow: Flow
    ) -> Float[Array, "examples classes"]:
        """The network's, of the smaller images."""
        return self.network.logits(average_pool(x, self.window), flow)


class PerExample(Network):
    """Any callable pytree from one image (height, width, channels) to its logits, over a batch.

    Args:
        module: an Equinox module; in training it is called with key= if it takes one.
        takes_key: whether it does.
    """

    module: PyTree
    takes_key: bool = eqx.field(static=True)

    @property
    def draws(self) -> bool:
        """Whether the module takes a key."""
        return self.takes_key

    def logits(
        self, x: Float[Array, "examples height width channels"], flow: Flow
    ) -> Float[Array, "examples classes"]:
        """The module's, every example by itself."""
        module = jax.tree.map(
            lambda a: a.astype(x.dtype) if eqx.is_inexact_array(a) else a, self.module
        )
        if flow.how.keys is not None and self.takes_key:
            return jax.vmap(lambda image, key: module(image, key=key))(x, flow.draw())
        return jax.vmap(eqx.nn.inference_mode(module))(x)
