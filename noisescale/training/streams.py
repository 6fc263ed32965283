"""Separate random streams of one seed: initial weights and data order."""

import jax
import numpy as np
from jaxtyping import Array, Int
from numpy.typing import NDArray

# The first word of every stream's entropy; a stream added later takes a new number.
_INITIAL_WEIGHTS = 1
_DATA_ORDER = 2
_DYNAMICS = 3


def initial_weights_key(seed: int) -> jax.Array:
    """The JAX key of the initial weights; replicas of a seed share it."""
    return jax.random.fold_in(jax.random.key(seed), _INITIAL_WEIGHTS)


def dynamics_key(seed: int, replica: int) -> jax.Array:
    """The JAX key of noise, dropout and augmentation; see `example_keys`."""
    key = jax.random.fold_in(jax.random.key(seed), _DYNAMICS)
    return jax.random.fold_in(key, replica)


def example_keys(
    key: jax.Array, epochs: Int[Array, " examples"], indices: Int[Array, " examples"]
) -> jax.Array:
    """One key per example: a function of (seed, epoch, example index) alone."""
    return jax.vmap(lambda e, i: jax.random.fold_in(jax.random.fold_in(key, e), i))(epochs, indices)


def epoch_order(seed: int, replica: int, epoch: int, train_size: int) -> NDArray[np.int64]:
    """A Philox permutation of 0 … N−1: a function of (seed, replica, epoch) alone."""
    entropy = np.random.SeedSequence([_DATA_ORDER, seed, replica, epoch])
    return np.random.Generator(np.random.Philox(entropy)).permutation(train_size)


class DataStream:
    """Per-epoch permutations one after the other; batches straddle epochs."""

    def __init__(self, seed: int, replica: int, train_size: int) -> None:
        self._seed, self._replica, self.train_size = seed, replica, train_size
        self._cached: tuple[int, NDArray[np.int64]] | None = None

    def indices(self, start: int, count: int) -> NDArray[np.int32]:
        """Examples start … start+count−1 of the stream, as indices into the training set."""
        parts = []
        while count:
            epoch, offset = divmod(start, self.train_size)
            part = self._order(epoch)[offset : offset + count]
            parts.append(part)
            start += len(part)
            count -= len(part)
        return np.concatenate(parts).astype(np.int32) if parts else np.empty(0, np.int32)

    def _order(self, epoch: int) -> NDArray[np.int64]:
        if self._cached is None or self._cached[0] != epoch:
            order = epoch_order(self._seed, self._replica, epoch, self.train_size)
            self._cached = (epoch, order)
        return self._cached[1]
