"""Where curves pass a level: exact where they are straight in ln x; coverage of the interval."""

import json
from math import inf

import numpy as np
import pytest

import noisescale
from noisescale import InputError
from noisescale.analysis.crossing import crossing

BATCHES = np.array([32, 64, 128, 256, 512, 1024])


def test_a_straight_line_in_the_logarithm_is_passed_where_it_is_passed():
    """error = .3 + .04 log₂(B/32): .05 is added at 32 · 2^1.25."""
    errors = 0.3 + 0.04 * np.log2(BATCHES / 32)
    found = noisescale.fall_off_batch_size(BATCHES, [errors] * 3, 0.05)
    assert found.value == pytest.approx(32 * 2**1.25, rel=1e-12)
    assert found.interval == pytest.approx((found.value, found.value))
    assert found.verdict == "measured" and found.n == 3
    json.dumps(found.to_dict(), allow_nan=False)
    assert "measured" in found._repr_html_()


def test_the_first_passage_counts_and_either_direction():
    x = [1, 2, 4, 8]
    assert crossing(x, [-1, 1, -1, 1]).seeds[0] == pytest.approx(2**0.5)
    assert crossing(x, [3, 1, -1, 5]).seeds[0] == pytest.approx(2**1.5)


def test_seeds_that_never_fall_leave_the_question_open():
    flat, falling = np.full(6, 0.3), 0.3 + 0.04 * np.log2(BATCHES / 32)
    found = noisescale.fall_off_batch_size(BATCHES, [flat, falling, falling])
    assert found.value is None and found.verdict == "undecided"
    assert found.interval == pytest.approx((32 * 2**1.25, inf))
    assert "1 of 3 seeds" in found.reason
    none = noisescale.fall_off_batch_size(BATCHES, [flat] * 3)
    assert none.interval == (1024, inf)
    assert json.loads(json.dumps(none.to_dict(), allow_nan=False))["interval"] == [1024, None]


def test_two_seeds_are_undecided_with_the_estimate_in_hand():
    errors = 0.3 + 0.04 * np.log2(BATCHES / 32)
    found = noisescale.fall_off_batch_size(BATCHES, [errors] * 2)
    assert found.verdict == "undecided" and found.value > 0 and found.interval is None


def test_coverage_of_the_interval():
    """90 % intervals hold the truth in .9 ± 4 standard errors of 1,000 draws of 4 seeds."""
    rng = np.random.default_rng(0)
    draws, hits = 1000, 0
    for _ in range(draws):
        # Log-normal over seeds, and smooth in ln B, so that interpolation adds no error.
        true = 200 * np.exp(0.3 * rng.standard_normal(4))
        errors = 0.3 + 0.05 * np.log(BATCHES / 32) / np.log(true / 32)[:, None]
        found = noisescale.fall_off_batch_size(BATCHES, np.minimum(errors, 1), 0.05)
        hits += found.interval[0] <= 200 <= found.interval[1]
    assert abs(hits / draws - 0.9) < 4 * np.sqrt(0.9 * 0.1 / draws)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (([32, 64], [0.1, 0.2, 0.3]), "2 entries and errors have 3"),
        (([64, 32], [0.1, 0.2]), "increase"),
        (([0, 32], [0.1, 0.2]), "above 0"),
        (([32, 64], [0.1, 1.2]), "lie in 0.1 … 1.2.*divide percentages by 100"),
        (([32, 64], [[[0.1, 0.2]], [[0.1, 0.2]]]), "shape"),
        (([32, 64], [0.1, np.nan]), "not finite"),
        (([32, 64], [0.1, 0.2], 0), r"\(0, 1\)"),
        (([32, 64], [0.1, 0.2], 1.5), r"\(0, 1\)"),
    ],
)
def test_refuses(arguments, message):
    with pytest.raises(InputError, match=message):
        noisescale.fall_off_batch_size(*arguments)


def test_a_curve_that_begins_at_the_level_is_refused():
    with pytest.raises(InputError, match="begins at the level"):
        crossing([1, 2], [0.0, 1.0])


def test_confidence_is_named_as_it_is_given():
    with pytest.raises(InputError, match="confidence=90"):
        noisescale.fall_off_batch_size([32, 64], [0.1, 0.2], confidence=90)


def test_dead_runs_do_not_fall_off_beyond_the_last_batch():
    found = noisescale.fall_off_batch_size([32, 64, 128], [[1.0, 1.0, 1.0]] * 3)
    assert found.value is None and found.interval is None and found.verdict == "undecided"
    assert "3 of 3 seeds begin at an error that cannot grow" in found.reason


def test_the_last_batch_counts_though_rounding_falls_short():
    found = noisescale.fall_off_batch_size([32, 64, 128], [[0.1, 0.1, 0.15]] * 3, 0.05)
    assert found.value == pytest.approx(128)
