import jax
import numpy as np
import pytest

from noisescale.training.streams import DataStream, epoch_order, initial_weights_key


def test_an_epoch_is_a_permutation_of_seed_and_epoch_alone():
    order = epoch_order(3, 0, 7, 100)
    assert sorted(order) == list(range(100))
    np.testing.assert_array_equal(order, epoch_order(3, 0, 7, 100))
    for other in (epoch_order(4, 0, 7, 100), epoch_order(3, 0, 8, 100), epoch_order(3, 1, 7, 100)):
        assert not np.array_equal(order, other)


def test_the_order_is_the_published_one():
    # Frozen: a change would silently change every recorded run.
    np.testing.assert_array_equal(epoch_order(0, 0, 0, 8), [2, 3, 1, 0, 4, 6, 5, 7])


@pytest.mark.parametrize("batch", [1, 3, 7, 10, 25])
def test_batches_straddle_epochs_whatever_their_size(batch):
    whole = np.concatenate([epoch_order(1, 0, e, 10) for e in range(6)])
    stream = DataStream(1, 0, 10)
    read = [stream.indices(start, batch) for start in range(0, 60 - batch + 1, batch)]
    np.testing.assert_array_equal(np.concatenate(read), whole[: len(read) * batch])
    assert read[0].dtype == np.int32
    assert len(stream.indices(3, 0)) == 0


def test_orders_are_uniform():
    # χ² of where example 0 lands: 9 degrees of freedom, mean 9, sd 4.2; 4 sd above.
    where = [int(np.flatnonzero(epoch_order(0, 0, e, 10) == 0)[0]) for e in range(2000)]
    counts = np.bincount(where, minlength=10)
    assert np.sum((counts - 200) ** 2 / 200) < 9 + 4 * np.sqrt(18)


def test_seeds_have_their_own_weights():
    a, b = (jax.random.normal(initial_weights_key(s), (3,)) for s in (0, 1))
    assert not np.allclose(a, b)
