"""Which example lies where: against a loop over the stream."""

from itertools import pairwise

import numpy as np
import pytest

from noisescale import InputError, Phase, Schedule
from noisescale.recipe import ModelConfig
from noisescale.training.batches import Arrangement, Feed
from noisescale.training.streams import DataStream, epoch_order

SIZE = 50


def batches_of(phases, partial):
    """Every update's (examples in order, their epoch), one example at a time."""
    plan = Schedule(phases).plan(SIZE, partial)
    position, found = 0, []
    for phase, row in zip(phases, plan.rows, strict=True):
        end = row.stream[1]
        for _ in range(row.updates):
            batch = []
            while len(batch) < phase.batch_size:
                if partial in ("drop", "keep"):
                    share_ends = position and position % SIZE == 0
                    if batch and (share_ends or position == end):
                        if partial == "keep":
                            break
                        batch = []  # dropped
                    left = min(SIZE - position % SIZE, end - position)
                    if partial == "drop" and not batch and left < phase.batch_size:
                        position += left
                        continue
                epoch, offset = divmod(position, SIZE)
                batch.append((int(epoch_order(7, 0, epoch, SIZE)[offset]), epoch))
                position += 1
            found.append(batch)
        if partial in ("drop", "keep"):
            position = end
    return plan, found


PHASES = [
    Phase(epochs=1.3, learning_rate=0.1, batch_size=8),
    Phase(updates=9, learning_rate=0.1, batch_size=12),
    Phase(epochs=2.1, learning_rate=0.1, batch_size=20),
]


@pytest.mark.parametrize("partial", ["carry", "drop", "keep", "wrap"])
@pytest.mark.parametrize("stretch", [1, 4, 1000])
def test_a_feed_is_the_stream_cut_into_batches(partial, stretch):
    plan, expected = batches_of(PHASES, partial)
    stream, position, before, found, begins = DataStream(7, 0, SIZE), 0, 0, [], []
    for row in plan.rows:
        arrangement = Arrangement(row.batch_size, ModelConfig(), 0)
        assert position == row.stream[0]
        feed = Feed(
            stream,
            row,
            partial,
            position,
            arrangement,
            with_epochs=True,
            batch_before=before,
        )
        before = row.batch_size
        for first in range(0, row.updates, stretch):
            last = min(first + stretch, row.updates)
            batches = feed.batches(first, last)
            counts = np.broadcast_to(batches.counts, batches.indices.shape)
            for k in range(last - first):
                kept = counts[k].ravel() > 0
                indices = batches.indices[k].ravel()[kept]
                epochs = batches.epochs[k].ravel()[kept]
                found.append(list(zip(indices.tolist(), epochs.tolist(), strict=True)))
            begins += batches.begins_epoch.tolist()
        position = feed.position(row.updates)
    assert found == expected
    assert len(found) == plan.updates
    # An epoch begins where the first example is of another one than the update's before.
    first_epochs = [batch[0][1] for batch in found]
    if partial != "wrap":
        changes = [True, *(a != b for a, b in pairwise(first_epochs))]
        assert begins == changes


def test_keep_ends_every_epoch_with_what_is_left():
    plan = Schedule([Phase(epochs=2, learning_rate=0.1, batch_size=20)]).plan(SIZE, "keep")
    arrangement = Arrangement(20, ModelConfig(), 0)
    feed = Feed(DataStream(0, 0, SIZE), plan.rows[0], "keep", 0, arrangement, with_epochs=False)
    begins, sizes = feed.spans(0, 6)
    assert begins.tolist() == [0, 20, 40, 50, 70, 90]
    assert sizes.tolist() == [20, 20, 10, 20, 20, 10]
    assert [feed.position(k) for k in range(7)] == [0, 20, 40, 50, 70, 90, 100]


@pytest.mark.parametrize(
    ("batch", "ghost", "policy", "micro", "shape", "sizes"),
    [
        (32, 8, "own", 0, (1, 4, 8), [8, 8, 8, 8]),
        (32, 8, "own", 16, (2, 2, 8), [8, 8, 8, 8]),
        (30, 8, "own", 16, (2, 2, 8), [8, 8, 8, 6]),
        (30, 8, "even", 0, (1, 4, 8), [8, 8, 7, 7]),
        (30, 8, "drop", 8, (3, 1, 8), [8, 8, 8]),
        (30, 8, "chunk", 0, (1, 3, 10), [10, 10, 10]),
        (30, 0, "own", 0, (1, 1, 30), [30]),
        (6, 8, "own", 0, (1, 1, 6), [6]),
        (33, 8, "own", 0, (1, 5, 8), [8, 8, 8, 8, 1]),
    ],
)
def test_ghosts_are_laid_out_whole(batch, ghost, policy, micro, shape, sizes):
    model = ModelConfig(batch_norm=True, ghost_batch_size=ghost, partial_ghost=policy)
    arrangement = Arrangement(batch, model, micro)
    assert arrangement.shape == shape and list(arrangement.sizes) == sizes
    places = arrangement.places(batch)
    assert len(places) == sum(sizes) == len(set(places.tolist()))
    # Example e of ghost l lies in slot e of row l.
    expected = [shape[2] * row + slot for row, n in enumerate(sizes) for slot in range(n)]
    assert places.tolist() == expected


@pytest.mark.parametrize(
    ("batch", "ghost", "policy", "micro", "message"),
    [
        (32, 0, "own", 8, "set ghost_batch_size"),
        (32, 8, "own", 12, "no multiple"),
        (30, 8, "even", 8, "leave out run.micro_batch_size"),
        (30, 8, "chunk", 16, "leave out run.micro_batch_size"),
    ],
)
def test_a_micro_batch_never_cuts_a_ghost(batch, ghost, policy, micro, message):
    model = ModelConfig(batch_norm=True, ghost_batch_size=ghost, partial_ghost=policy)
    with pytest.raises(InputError, match=message):
        Arrangement(batch, model, micro)


@pytest.mark.parametrize(
    ("batch", "model", "micro", "wanted", "shape"),
    [
        (32, ModelConfig(), 0, 4, (4, 1, 8)),
        (30, ModelConfig(), 0, 4, (4, 1, 7)),
        (30, ModelConfig(), 5, 4, (6, 1, 5)),
        (3, ModelConfig(), 0, 4, (3, 1, 1)),
        (1, ModelConfig(), 0, 4, None),
        (32, ModelConfig(), 0, 0, None),
        (32, ModelConfig(batch_norm=True, ghost_batch_size=8), 0, 4, (4, 1, 8)),
        (64, ModelConfig(batch_norm=True, ghost_batch_size=8), 0, 4, (4, 2, 8)),
        (60, ModelConfig(batch_norm=True, ghost_batch_size=8), 0, 3, (3, 2, 8)),
        (32, ModelConfig(batch_norm=True), 0, 4, None),
    ],
)
def test_parts_for_the_moments_are_equal_and_of_whole_ghosts(batch, model, micro, wanted, shape):
    assert Arrangement(batch, model, micro).equal_parts(wanted) == shape
