"""Which examples an update sees, and where in a micro-batch each of them lies."""

from math import ceil
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from noisescale.analysis.plan import Plan, PlanRow
from noisescale.errors import InputError
from noisescale.recipe import ModelConfig, Recipe
from noisescale.training.ghost_batch_norm import ghost_sizes
from noisescale.training.streams import DataStream


class Batches(NamedTuple):
    """Consecutive updates' batches; the axes are (update, part, ghost, slot).

    Args:
        indices: into the training set; 0 for padding.
        counts: 1 for an example and 0 for padding; without the first axis where all are alike.
        epochs: how often the example was seen before; without the first axis, all 0, if nobody
            asks.
        begins_epoch: whether an epoch begins with the update.
        ghosts: how many the update has.
    """

    indices: NDArray[np.int32]
    counts: NDArray[np.float32]
    epochs: NDArray[np.int32]
    begins_epoch: NDArray[np.bool_]
    ghosts: NDArray[np.float32]


class Arrangement:
    """How a batch of B examples is laid out in micro-batches of whole ghosts.

    Args:
        batch_size: B.
        model: its batch norm and ghosts; without batch norm a micro-batch is one ghost.
        micro_batch_size: examples whose gradient is taken at once; 0: all of them.

    Raises:
        InputError: a micro-batch that would cut a ghost.
    """

    def __init__(self, batch_size: int, model: ModelConfig, micro_batch_size: int) -> None:
        self.batch_size, self._policy = batch_size, model.partial_ghost
        micro = min(micro_batch_size or batch_size, batch_size)
        self._normalises = model.batch_norm
        self._ghost = min(model.ghost_batch_size or batch_size, batch_size)
        if model.batch_norm:
            _check_ghosts(batch_size, model, micro)
            sizes = ghost_sizes(batch_size, self._ghost, self._policy, batch_size)
            slots = max(*sizes, self._ghost) if self._policy == "even" else max(sizes)
            per_part = len(sizes) if micro == batch_size else max(1, micro // self._ghost)
        else:
            self._ghost, self._policy = micro, "own"
            sizes = ghost_sizes(batch_size, micro, "own", batch_size)
            slots, per_part = micro, 1
        self.sizes = tuple(sizes)
        self.shape = (ceil(len(sizes) / per_part), per_part, slots)
        self._places = {batch_size: self._places_of(sizes)}

    def _places_of(self, sizes: list[int]) -> NDArray[np.int64]:
        """The flat slot of every example that takes part, in order."""
        starts = self.shape[2] * np.arange(len(sizes))
        return np.concatenate([s + np.arange(n) for s, n in zip(starts, sizes, strict=True)])

    def places(self, number: int) -> NDArray[np.int64]:
        """The flat slot of each of n ≤ B examples; fewer than n where some are left out."""
        if number not in self._places:
            sizes = ghost_sizes(number, self._ghost, self._policy, self.batch_size)
            self._places[number] = self._places_of(sizes)
        return self._places[number]

    def ghosts(self, number: int) -> int:
        """How many ghosts n ≤ B examples make."""
        return len(ghost_sizes(number, self._ghost, self._policy, self.batch_size))

    def equal_parts(self, wanted: int) -> tuple[int, int, int] | None:
        """(parts, ghosts, slots), all filled, for the batch's first examples; None if one ghost.

        At least `wanted` parts where there are so many whole ghosts (without batch norm: examples),
        none larger than a micro-batch.
        """
        parts = max(wanted, self.shape[0])
        if self._normalises:
            whole = sum(size == self.sizes[0] for size in self.sizes)
            parts = min(parts, whole)
            shape = (parts, whole // parts, self.sizes[0])
        else:
            parts = min(parts, self.batch_size)
            shape = (parts, 1, self.batch_size // parts)
        return shape if wanted and parts > 1 else None


def check_batches(recipe: Recipe, plan: Plan) -> None:
    """InputError if a batch of the plan cannot be laid out in whole ghosts."""
    for batch_size in {row.batch_size for row in plan.rows}:
        Arrangement(batch_size, recipe.model, recipe.run.micro_batch_size)


def _check_ghosts(batch_size: int, model: ModelConfig, micro: int) -> None:
    if micro == batch_size:
        return
    if not model.ghost_batch_size:
        raise InputError(
            f"plain batch norm takes its statistics over the whole batch of {batch_size}, but "
            f"run.micro_batch_size is {micro}: set ghost_batch_size"
        )
    if model.partial_ghost in ("even", "chunk") and batch_size % model.ghost_batch_size:
        raise InputError(
            f"model.partial_ghost={model.partial_ghost!r} makes ghosts of other sizes of a batch "
            f"of {batch_size}: leave out run.micro_batch_size"
        )
    if micro % model.ghost_batch_size:
        raise InputError(
            f"run.micro_batch_size={micro} is no multiple of model.ghost_batch_size="
            f"{model.ghost_batch_size}: ghosts are not cut"
        )


class Feed:
    """The batches of one phase of a run.

    Args:
        stream: the run's data.
        row: the phase.
        partial: the plan's policy for partial batches.
        start: where on the stream the phase begins, in examples.
        arrangement: of its batches.
        with_epochs: whether the epoch of every example is wanted.
        batch_before: size of the batch before the phase; 0: there is none.
    """

    def __init__(
        self,
        stream: DataStream,
        row: PlanRow,
        partial: str,
        start: int,
        arrangement: Arrangement,
        *,
        with_epochs: bool,
        batch_before: int = 0,
    ) -> None:
        self._batch_before = batch_before
        self._stream, self._arrangement, self._with_epochs = stream, arrangement, with_epochs
        self._size, self._start, self._row = stream.train_size, start, row
        self._by_epoch = partial in ("drop", "keep")
        self._keep = partial == "keep"
        begin, end = row.stream
        self._end = start + end - begin

    def spans(self, first: int, last: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Where the phase's updates first+1 … last begin on the stream, and how much they take."""
        updates, batch = np.arange(first, last, dtype=np.int64), self._row.batch_size
        if not self._by_epoch:
            return self._start + updates * batch, np.full(len(updates), batch)
        share = min(self._size - self._start % self._size, self._end - self._start)
        in_first, per_epoch = self._per(share), self._per(self._size)
        later = updates - in_first
        epoch, inside = np.divmod(later, per_epoch)
        next_epoch = (self._start // self._size + 1) * self._size
        begins = np.where(
            later < 0,
            self._start + updates * batch,
            next_epoch + epoch * self._size + inside * batch,
        )
        epoch_ends = np.minimum((begins // self._size + 1) * self._size, self._end)
        return begins, np.minimum(batch, epoch_ends - begins)

    def _per(self, share: int) -> int:
        batch = self._row.batch_size
        return -(-share // batch) if self._keep else share // batch

    def position(self, update: int) -> int:
        """Where the stream stands after so many of the phase's updates."""
        if update == 0:
            return self._start
        if update == self._row.updates:
            return self._end if self._by_epoch else self._start + update * self._row.batch_size
        begins, sizes = self.spans(update - 1, update)
        return int(begins[0] + sizes[0])

    def batches(self, first: int, last: int) -> Batches:
        """The batches of the phase's updates first+1 … last."""
        begins, sizes = self.spans(first, last)
        number, shape = last - first, self._arrangement.shape
        slots = int(np.prod(shape))
        batch = self._arrangement.batch_size
        indices = np.zeros((number, slots), np.int32)
        counts = np.zeros((number if self._by_epoch else 1, slots), np.float32)
        epochs = np.zeros((number if self._with_epochs else 1, slots), np.int32)
        if not self._by_epoch:
            # One piece of the stream.
            places = self._arrangement.places(batch)
            piece = self._stream.indices(self._start + first * batch, number * batch)
            indices[:, places] = piece.reshape(number, batch)[:, : len(places)]
            counts[:, places] = 1.0
            if self._with_epochs:
                seen = (begins[:, None] + np.arange(len(places))) // self._size
                epochs[:, places] = seen
        else:
            for k, (begin, size) in enumerate(zip(begins, sizes, strict=True)):
                places = self._arrangement.places(int(size))
                indices[k, places] = self._stream.indices(int(begin), int(size))[: len(places)]
                counts[k, places] = 1.0
                if self._with_epochs:
                    epochs[k, places] = begin // self._size
        before = begins - (1 if self._by_epoch else batch)
        if first == 0 and number and not self._by_epoch:
            before[0] = self._start - self._batch_before if self._batch_before else -1
        return Batches(
            indices.reshape(number, *shape),
            counts.reshape(-1, *shape) if self._by_epoch else counts.reshape(shape),
            epochs.reshape(-1, *shape) if self._with_epochs else epochs.reshape(shape),
            begins // self._size != before // self._size,
            np.array([self._arrangement.ghosts(int(n)) for n in sizes], np.float32),
        )

    def filled(self, update: int, shape: tuple[int, int, int]) -> Batches | None:
        """The first examples of the batch after so many updates; None if it has fewer."""
        begins, sizes = self.spans(update, update + 1)
        number = int(np.prod(shape))
        if number > sizes[0]:
            return None
        begin = int(begins[0])
        seen = (begin + np.arange(number)) // self._size
        return Batches(
            self._stream.indices(begin, number).reshape(shape),
            np.ones(shape, np.float32),
            seen.astype(np.int32).reshape(shape),
            np.zeros(1, np.bool_),
            np.full(1, number // shape[2], np.float32),
        )
