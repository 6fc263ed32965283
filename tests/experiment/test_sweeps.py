"""Final values of a sweep, by condition and batch size."""

import numpy as np
import pytest

from noisescale import InputError
from noisescale.experiment.sweeps import against_batch_size, finals


def arm(name, ends, status="finished"):
    seeds = [
        {
            "seed": k,
            "status": status,
            "curves": {"evaluation_error": [0.9, e], "train_loss": [2.0, e]},
        }
        for k, e in enumerate(ends)
    ]
    return {"name": name, "seeds": seeds}


RESULTS = {
    "arms": [
        arm("none_128", [0.2, 0.3]),
        arm("none_32", [0.1, 0.1]),
        arm("medium-warmup-0.2_32", [0.4, 0.5]),
        arm("medium-warmup-0.2_128", [None, 0.6], status="finished"),
        arm("baseline", [0.5, 0.5]),
    ]
}


def test_conditions_and_batch_sizes():
    found = against_batch_size(RESULTS)
    assert list(found) == ["none", "medium-warmup-0.2"]
    np.testing.assert_array_equal(found["none"].batch_sizes, [32, 128])
    np.testing.assert_array_equal(found["none"].values, [[0.1, 0.2], [0.1, 0.3]])
    np.testing.assert_array_equal(found["medium-warmup-0.2"].values, [[0.4, 0.9], [0.5, 0.6]])


def test_diverged_seeds_count_with_their_worst_error():
    lost = {"arms": [arm("a", [0.2, 0.3], status="diverged")]}
    np.testing.assert_array_equal(finals(lost, "a"), [0.9, 0.9])
    assert np.isinf(finals(lost, "a", "train_loss")).all()


def test_refuses():
    with pytest.raises(InputError, match="no arm 'nobody'"):
        finals(RESULTS, "nobody")
    with pytest.raises(InputError, match="did not measure recalibrated_error"):
        finals(RESULTS, "baseline", "recalibrated_error")
