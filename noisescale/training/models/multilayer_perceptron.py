"""The multilayer perceptron."""

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from noisescale.training.ghost_batch_norm import GhostBatchNorm
from noisescale.training.models.forward import Flow, Network
from noisescale.training.models.layers import flat


class MultilayerPerceptron(Network):
    """x ← max(0, norm(W x + b)) per hidden layer, then logits = W x + b.

    Weights start as N(0, 2/fan-in), biases at 0 (He et al. 2015). With five hidden layers of 512
    units and batch norm it is the F1 of Keskar et al. 2017 and Hoffer et al. 2017.

    Args:
        features: pixels times channels.
        batch_norm: whether norm is a GhostBatchNorm, or nothing.
        dropout: hidden activations are set to 0 with this probability in training, the others
            divided by 1 − p (Srivastava et al. 2014).
        dropconnect: the same for the weights that hidden layers feed, drawn for every example
            (Wan et al. 2013; evaluated at the mean weights).
    """

    weights: list[Float[Array, "fan_in fan_out"]]
    biases: list[Float[Array, " fan_out"]]
    norms: list[GhostBatchNorm]
    dropout: float = eqx.field(static=True)
    dropconnect: float = eqx.field(static=True)

    def __init__(
        self,
        features: int,
        width: int,
        depth: int,
        classes: int,
        *,
        batch_norm: bool = False,
        dropout: float = 0.0,
        dropconnect: float = 0.0,
        key: jax.Array,
    ) -> None:
        sizes = [features, *[width] * depth, classes]
        keys = jax.random.split(key, len(sizes) - 1)
        self.weights = [
            jnp.sqrt(2.0 / fan_in) * jax.random.normal(k, (fan_in, fan_out))
            for k, fan_in, fan_out in zip(keys, sizes[:-1], sizes[1:], strict=True)
        ]
        self.biases = [jnp.zeros(fan_out) for fan_out in sizes[1:]]
        self.norms = [GhostBatchNorm(width) for _ in range(depth)] if batch_norm else []
        self.dropout, self.dropconnect = dropout, dropconnect

    @property
    def draws(self) -> bool:
        """Whether training draws random numbers."""
        return bool(self.dropout or self.dropconnect)

    def logits(
        self, x: Float[Array, "examples *shape"], flow: Flow
    ) -> Float[Array, "examples classes"]:
        """Scores of the classes, from images or from their pixels in a row."""
        x, last = flat(x), len(self.weights) - 1
        for layer, (weight, bias) in enumerate(zip(self.weights, self.biases, strict=True)):
            y = self._product(x, weight.astype(x.dtype), flow, layer) + bias.astype(x.dtype)
            if layer == last:
                return y
            y = flow.normalize(self.norms[layer] if self.norms else None, y)
            x = flow.drop(jax.nn.relu(y), self.dropout)
        raise AssertionError("a network has an output layer")

    def _product(self, x: Array, weight: Array, flow: Flow, layer: int) -> Array:
        if flow.how.keys is None or not self.dropconnect or layer == 0:
            return x @ weight
        kept = 1.0 - self.dropconnect

        def one(key: Array, row: Array) -> Array:
            mask = jax.random.bernoulli(key, kept, weight.shape)
            return row @ jnp.where(mask, weight / kept, jnp.zeros_like(weight))

        return jax.vmap(one)(flow.draw(), x)
