"""What is measured between stretches: loss, error, distance from the initial weights."""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from noisescale.training.steps import PyTree, cross_entropy

# Examples per forward pass of an evaluation; a last part is padded to it.
EVALUATION_CHUNK = 8192


def _distance(weights: PyTree, initial: PyTree) -> jax.Array:
    squares = jax.tree.map(lambda a, b: jnp.sum((a - b) ** 2), weights, initial)
    return jnp.sqrt(sum(jax.tree.leaves(squares)))


class Probes:
    """Measurements of weights; each is one compiled program.

    Args:
        static: the model without its arrays.
    """

    def __init__(self, static: PyTree) -> None:
        def sums(
            weights: PyTree, inputs: jax.Array, labels: jax.Array, counts: jax.Array
        ) -> tuple[jax.Array, jax.Array]:
            logits = jax.vmap(eqx.combine(weights, static))(inputs)
            wrong = jnp.argmax(logits, axis=1) != labels
            return jnp.sum(counts * cross_entropy(logits, labels)), jnp.sum(counts * wrong)

        self._sums: Any = jax.jit(sums)
        self._distance: Any = jax.jit(_distance)

    def distance(self, weights: PyTree, initial: PyTree) -> float:
        """‖w − w_0‖₂ over all weights and biases."""
        return float(self._distance(weights, initial))

    def loss_and_error(
        self, weights: PyTree, inputs: jax.Array, labels: jax.Array
    ) -> tuple[float, float]:
        """Mean cross-entropy in nats, and the fraction of wrong labels."""
        total, chunk = len(labels), min(EVALUATION_CHUNK, len(labels))
        loss = wrong = 0.0
        for start in range(0, total, chunk):
            # The last part is the last `chunk` examples; those seen already count 0.
            begin = min(start, total - chunk)
            counts = (np.arange(begin, begin + chunk) >= start).astype(np.float32)
            part = slice(begin, begin + chunk)
            sums = self._sums(weights, inputs[part], labels[part], counts)
            loss += float(sums[0])
            wrong += float(sums[1])
        return loss / total, wrong / total
