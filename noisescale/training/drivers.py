"""Two ways to run many updates: one compiled loop on the device, or one call per update.

XLA on CPU runs convolutions inside loops 10 to 30 times slower, hence the host loop; everything
else runs faster in the device loop. Both call steps.update and follow one trajectory.
"""

from collections.abc import Callable
from functools import partial
from math import ceil
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from numpy.typing import NDArray

from noisescale.training.steps import Hyper, PyTree, Rule, TrainState, update

# Examples in one compiled call: bounds the time between looks at the clock, not the result.
STRETCH_EXAMPLES = 1 << 18


class Driver:
    """Advances a state over consecutive batches of one phase.

    Args:
        static: the model without its arrays.
        inputs, labels: the training set, on the device.
        rule: see steps.apply_update.
        kind: "device" or "host".
        micro_batch_size: part of a batch whose gradient is taken at once; 0: the whole batch.
    """

    def __init__(
        self,
        static: PyTree,
        inputs: jax.Array,
        labels: jax.Array,
        *,
        rule: Rule,
        kind: str,
        micro_batch_size: int = 0,
    ) -> None:
        self._data = (inputs, labels)
        self._micro = micro_batch_size
        self._host = kind == "host"
        one: Callable[..., TrainState] = partial(update, static, rule)

        def stretch(
            state: TrainState,
            inputs: jax.Array,
            labels: jax.Array,
            indices: jax.Array,
            counts: jax.Array,
            number: jax.Array,
            learning_rates: jax.Array,
            momentum: jax.Array,
            weight_decay: jax.Array,
            clip_norms: jax.Array,
        ) -> TrainState:
            def body(k: jax.Array, current: TrainState) -> TrainState:
                hyper = Hyper(learning_rates[k], momentum, weight_decay, clip_norms[k])
                return one(current, inputs, labels, indices[k], counts, hyper)

            return jax.lax.fori_loop(0, number, body, state)

        self._one: Any = jax.jit(one)
        self._stretch: Any = jax.jit(stretch)

    def stretch_updates(self, batch_size: int) -> int:
        """Updates in one compiled call at this batch size."""
        return max(1, STRETCH_EXAMPLES // batch_size)

    def advance(
        self,
        state: TrainState,
        indices: NDArray[np.int32],
        batch_size: int,
        learning_rates: NDArray[np.float64],
        momentum: float,
        weight_decay: float,
        clip_norms: NDArray[np.float64] | None = None,
    ) -> TrainState:
        """The state after len(indices)/B updates, each with its learning rate.

        There may be at most `stretch_updates` of them. Norms to clip to are read if the rule
        clips.
        """
        number = len(indices) // batch_size
        batches, counts = self._parts(indices.reshape(number, batch_size))
        rates = learning_rates.astype(np.float32)
        clips = np.full(number, np.inf) if clip_norms is None else clip_norms
        clips = clips.astype(np.float32)
        others = (jnp.float32(momentum), jnp.float32(weight_decay))
        if self._host:
            for batch, rate, clip in zip(batches, rates, clips, strict=True):
                hyper = Hyper(jnp.float32(rate), *others, jnp.float32(clip))
                state = self._one(state, *self._data, batch, counts, hyper)
            return state
        most = self.stretch_updates(batch_size)
        padded = np.zeros((most, *batches.shape[1:]), np.int32)
        padded_rates, padded_clips = np.zeros((2, most), np.float32)
        padded[:number], padded_rates[:number], padded_clips[:number] = batches, rates, clips
        count = np.int32(number)
        return self._stretch(
            state, *self._data, padded, counts, count, padded_rates, *others, padded_clips
        )

    def compiled(self) -> int:
        """How many programs were compiled so far: one per distinct shape of a batch."""
        return int((self._one if self._host else self._stretch)._cache_size())

    def _parts(self, batches: NDArray[np.int32]) -> tuple[NDArray[np.int32], NDArray[np.float32]]:
        """(updates, parts, micro) indices and (parts, micro) counts, padded with index 0."""
        number, batch_size = batches.shape
        micro = min(self._micro or batch_size, batch_size)
        parts = ceil(batch_size / micro)
        shaped = np.zeros((number, parts * micro), np.int32)
        shaped[:, :batch_size] = batches
        counts = np.zeros(parts * micro, np.float32)
        counts[:batch_size] = 1.0
        return shaped.reshape(number, parts, micro), counts.reshape(parts, micro)
