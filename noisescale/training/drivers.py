"""Two ways to run many updates: one compiled loop on the device, or one call per update.

XLA on CPU runs convolutions inside loops 10 to 30 times slower, hence the host loop; everything
else runs faster in the device loop. Both call steps.update and follow one trajectory.
"""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import jax
import numpy as np
from numpy.typing import NDArray

from noisescale.training.batches import Batches
from noisescale.training.optimizers import Hyper, Rule
from noisescale.training.pytree import PyTree
from noisescale.training.steps import Batch, TrainState, update

# Examples in one compiled call: bounds the time between looks at the clock, not the result.
STRETCH_EXAMPLES = 1 << 18


class Driver:
    """Advances a state over consecutive batches of one phase.

    Args:
        static: the model without its arrays.
        inputs, labels: the training set, on the device.
        rule: see optimizers.apply_update.
        kind: "device" or "host".
    """

    def __init__(
        self, static: PyTree, inputs: jax.Array, labels: jax.Array, *, rule: Rule, kind: str
    ) -> None:
        self._data = (inputs, labels)
        self._host = kind == "host"
        one: Callable[..., TrainState] = partial(update, static, rule)

        def stretch(
            state: TrainState,
            inputs: jax.Array,
            labels: jax.Array,
            batches: Batch,
            key: jax.Array,
            hypers: Hyper,
            number: jax.Array,
        ) -> TrainState:
            def body(k: jax.Array, current: TrainState) -> TrainState:
                batch = _at(batches, k)
                hyper = Hyper(*(a[k] for a in hypers))
                return one(current, inputs, labels, batch, key, hyper)

            return jax.lax.fori_loop(0, number, body, state)

        self._one: Any = jax.jit(one)
        self._stretch: Any = jax.jit(stretch)

    def stretch_updates(self, batch_size: int) -> int:
        """Updates in one compiled call at this batch size."""
        return max(1, STRETCH_EXAMPLES // batch_size)

    def advance(
        self, state: TrainState, batches: Batches, hypers: Hyper, key: jax.Array, batch_size: int
    ) -> TrainState:
        """The state after one update per batch.

        There may be at most `stretch_updates` of them.

        Args:
            hypers: each an array with a value per update.
            key: of the run's dynamics, see streams.dynamics_key.
        """
        number = len(batches.indices)
        columns = [np.asarray(a, np.float32) for a in hypers]
        arrays: tuple[Any, ...] = batches[:3]
        if self._host:
            for k in range(number):
                batch = _at(arrays, k)
                hyper = Hyper(*(a[k] for a in columns))
                state = self._one(state, *self._data, batch, key, hyper)
            return state
        most = self.stretch_updates(batch_size)
        padded = Batch(*(a if a.ndim == 3 else _pad(a, most) for a in arrays))
        hyper = Hyper(*(_pad(a, most) for a in columns))
        return self._stretch(state, *self._data, padded, key, hyper, np.int32(number))

    def compiled(self) -> int:
        """How many programs were compiled so far: one per distinct shape of a batch."""
        return int((self._one if self._host else self._stretch)._cache_size())


def _at(batches: Sequence[Any], k: Any) -> Batch:
    """The batch of update k; what has no axis of updates is the same in all of them."""
    return Batch(*(a if a.ndim == 3 else a[k] for a in batches))


def _pad(values: NDArray[Any], length: int) -> NDArray[Any]:
    padded = np.zeros((length, *values.shape[1:]), values.dtype)
    padded[: len(values)] = values
    return padded
