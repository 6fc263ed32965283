"""The multilayer perceptron."""

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float


class MultilayerPerceptron(eqx.Module):
    """x ← max(0, W x + b) per hidden layer, then logits = W x + b.

    Weights start as N(0, 2/fan-in), biases at 0 (He et al. 2015).
    """

    weights: list[Float[Array, "fan_in fan_out"]]
    biases: list[Float[Array, " fan_out"]]

    def __init__(
        self, features: int, width: int, depth: int, classes: int, *, key: jax.Array
    ) -> None:
        sizes = [features, *[width] * depth, classes]
        keys = jax.random.split(key, len(sizes) - 1)
        self.weights = [
            jnp.sqrt(2.0 / fan_in) * jax.random.normal(k, (fan_in, fan_out))
            for k, fan_in, fan_out in zip(keys, sizes[:-1], sizes[1:], strict=True)
        ]
        self.biases = [jnp.zeros(fan_out) for fan_out in sizes[1:]]

    def __call__(self, x: Float[Array, " features"]) -> Float[Array, " classes"]:
        """Logits of one example."""
        last = len(self.weights) - 1
        for layer, (weight, bias) in enumerate(zip(self.weights, self.biases, strict=True)):
            x = x @ weight + bias
            if layer < last:
                x = jax.nn.relu(x)
        return x
