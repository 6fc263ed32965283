"""What every model takes and returns."""

from typing import NamedTuple, Protocol

import jax
from jaxtyping import Array, Float

from noisescale.training.ghost_batch_norm import Moments, Statistics


class Pass(NamedTuple):
    """How a batch goes through a model.

    Args:
        counts: 1 for an example and 0 for padding.
        ghosts: consecutive groups of equal length that share batch-norm statistics.
        keys: one per example for what the model draws; None: nothing is drawn (evaluation).
        running: statistics for evaluation, one per batch-norm layer; None in training.
    """

    counts: Float[Array, " examples"]
    ghosts: int
    keys: jax.Array | None
    running: tuple[Statistics, ...] | None


class Model(Protocol):
    """A batch to its logits; an Equinox module whose arrays are its weights."""

    @property
    def draws(self) -> bool:
        """Whether training draws random numbers (dropout, dropconnect)."""

    def __call__(
        self, x: Float[Array, "examples *shape"], how: Pass
    ) -> tuple[Float[Array, "examples classes"], tuple[Moments, ...]]:
        """(logits, in training the statistics of every batch-norm layer's ghosts)."""

    def start_statistics(self) -> tuple[Statistics, ...]:
        """Running statistics before the first update, one per batch-norm layer."""
