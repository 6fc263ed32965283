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

from noisescale.recipe import Recipe
from noisescale.training.batches import Batches
from noisescale.training.optimizers import Hyper, Rule
from noisescale.training.pytree import PyTree
from noisescale.training.steps import (
    Batch,
    TrainState,
    accumulate,
    finish,
    nothing,
    update,
)

# Examples in one compiled call: bounds the time between looks at the clock, not the result.
STRETCH_EXAMPLES = 1 << 16


def driver_of(recipe: Recipe) -> str:
    """ "device" or "host": the recipe's, or the faster one for its model on this backend."""
    if recipe.run.driver != "auto":
        return recipe.run.driver
    return "host" if recipe.model.convolutional and jax.default_backend() == "cpu" else "device"


class Driver:
    """Advances a state over consecutive batches of one phase.

    What is compiled depends on the shape of a micro-batch, not on how many of them an update has:
    batch sizes that are accumulated from equal micro-batches share their programs.

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
            ghosts: jax.Array,
            number: jax.Array,
            parts: jax.Array | None,
        ) -> TrainState:
            def body(k: jax.Array, current: TrainState) -> TrainState:
                hyper = Hyper(*(a[k] for a in hypers))
                if parts is None:
                    where: tuple[Any, ...] = (_at(batches, k), key, hyper, 0, 1)
                else:
                    where = (batches, key, hyper, k * parts, parts)
                return one(current, inputs, labels, *where, ghosts[k])

            return jax.lax.fori_loop(0, number, body, state)

        self._stretch: Any = jax.jit(stretch)
        self._one: Any = jax.jit(partial(one, first=0, parts=1))
        self._accumulate: Any = jax.jit(partial(accumulate, static, rule))
        self._nothing: Any = jax.jit(nothing)
        self._finish: Any = jax.jit(partial(finish, rule))

    def stretch_updates(self, shape: tuple[int, int, int]) -> int:
        """Updates in one compiled call, of batches of (parts, ghosts, slots)."""
        parts, ghosts, slots = shape
        return max(1, STRETCH_EXAMPLES // (ghosts * slots) // parts)

    def advance(
        self, state: TrainState, batches: Batches, hypers: Hyper, key: jax.Array
    ) -> TrainState:
        """The state after one update per batch.

        There may be at most `stretch_updates` of them.

        Args:
            hypers: each an array with a value per update.
            key: of the run's dynamics, see streams.dynamics_key.
        """
        number, parts, ghosts, slots = batches.indices.shape
        columns = [np.asarray(a, np.float32) for a in hypers]
        arrays: tuple[Any, ...] = batches[:3]
        if self._host:
            for k in range(number):
                batch, hyper = _at(arrays, k), Hyper(*(a[k] for a in columns))
                state = self._from_host(state, batch, key, hyper, batches.ghosts[k])
            return state
        room = max(1, STRETCH_EXAMPLES // (ghosts * slots))
        if parts == 1:
            listed = Batch(*(a if a.ndim == 3 else _pad(a, room) for a in arrays))
        else:
            # A batch of more parts than there is room for makes room, by doubling.
            room = max(room, 1 << (parts - 1).bit_length())
            rows = (np.broadcast_to(a, batches.indices.shape) for a in arrays)
            listed = Batch(*(_pad(a.reshape(-1, ghosts, slots), room) for a in rows))
        return self._stretch(
            state,
            *self._data,
            listed,
            key,
            Hyper(*(_pad(a, room) for a in columns)),
            _pad(batches.ghosts, room),
            np.int32(number),
            None if parts == 1 else np.int32(parts),
        )

    def compiled(self) -> int:
        """How many programs for gradients were compiled: one per shape of a micro-batch."""
        used = (self._one, self._accumulate) if self._host else (self._stretch,)
        return sum(int(program._cache_size()) for program in used)

    def _from_host(
        self, state: TrainState, batch: Batch, key: jax.Array, hyper: Hyper, ghosts: Any
    ) -> TrainState:
        """One update, a call per micro-batch."""
        if len(batch.indices) == 1:
            return self._one(state, *self._data, batch, key, hyper, ghosts=ghosts)
        total = self._nothing(state)
        for number in range(len(batch.indices)):
            part = Batch(*(a[number] for a in batch))
            total = self._accumulate(
                state, total, *self._data, part, key, hyper.noise_variance, ghosts
            )
        return self._finish(state, total, hyper)


def _at(batches: Sequence[Any], k: Any) -> Batch:
    """The batch of update k; what has no axis of updates is the same in all of them."""
    return Batch(*(a if a.ndim == 3 else a[k] for a in batches))


def _pad(values: NDArray[Any], length: int) -> NDArray[Any]:
    padded = np.zeros((length, *values.shape[1:]), values.dtype)
    padded[: len(values)] = values
    return padded
