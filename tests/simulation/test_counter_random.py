"""Threefry-2x32: published vectors, two other implementations, and small statistical tests."""

import jax
import numpy as np
import pytest

from noisescale.simulation import continuous_time
from noisescale.simulation.counter_random import environment_keys, threefry
from tests.reference.walkers import threefry as threefry_of_integers

ONES = 0xFFFFFFFF
# (rounds, key and counter, words): file kat_vectors of the Random123 distribution 1.14, where the
# counter stands before the key.
PUBLISHED = [
    (13, (0, 0), (0, 0), (0x9D1C5EC6, 0x8BD50731)),
    (13, (ONES, ONES), (ONES, ONES), (0xFD36D048, 0x2D17272C)),
    (13, (0x13198A2E, 0x03707344), (0x243F6A88, 0x85A308D3), (0xBA3E4725, 0xF27D669E)),
    (20, (0, 0), (0, 0), (0x6B200159, 0x99BA4EFE)),
    (20, (ONES, ONES), (ONES, ONES), (0x1CB996FC, 0xBB002BE7)),
    (20, (0x13198A2E, 0x03707344), (0x243F6A88, 0x85A308D3), (0xC4923A9C, 0x483DF7A0)),
]

compiled = jax.jit(threefry, static_argnums=2)


def words(key, counter, rounds=20):
    """(2, …) words as NumPy; all arrays broadcast."""
    arrays = [np.asarray(part, np.uint32) for part in (*key, *counter)]
    return np.stack([np.asarray(word) for word in compiled(arrays[:2], arrays[2:], rounds)])


@pytest.mark.parametrize(("rounds", "key", "counter", "expected"), PUBLISHED)
def test_published_vectors(rounds, key, counter, expected):
    assert tuple(words(key, counter, rounds).tolist()) == expected
    assert threefry_of_integers(key, counter, rounds) == expected
    if rounds == 20:
        scalars = [np.uint32(part) for part in (*key, *counter)]
        assert continuous_time.threefry(*scalars) == expected


def test_random_keys_agree_with_plain_integers_and_with_the_scalar_form():
    inputs = np.random.default_rng(0).integers(1 << 32, size=(4, 200), dtype=np.uint32)
    found = words(inputs[:2], inputs[2:])
    for column, pair in zip(inputs.T.tolist(), found.T.tolist(), strict=True):
        assert threefry_of_integers(column[:2], column[2:]) == tuple(pair)
        assert continuous_time.threefry(*map(np.uint32, column)) == tuple(pair)


def test_it_is_the_generator_of_jax_random():
    key = jax.random.key(7)
    start = np.asarray(jax.random.key_data(key))
    for data in (0, 1, 12345):
        folded = np.asarray(jax.random.key_data(jax.random.fold_in(key, data)))
        np.testing.assert_array_equal(words(start, (0, data)), folded)


def test_environments_have_keys_of_their_own_by_seed():
    index = np.arange(5000, dtype=np.uint32)
    keys = {seed: np.stack(environment_keys(seed, index), axis=1) for seed in (0, 1, 2**70)}
    distinct = {tuple(key) for found in keys.values() for key in found.tolist()}
    assert len(distinct) == 3 * 5000
    part = np.stack(environment_keys(1, index[100:200]), axis=1)
    np.testing.assert_array_equal(part, keys[1][100:200])


# --- statistics: 2^20 words at neighbouring keys and counters, as the walks ask for them --------
ENVIRONMENTS, WALKERS, BLOCKS = 32, 64, 256


def sample(rounds=20):
    """(environments, walkers, steps) words of the discrete walk."""
    e, w, b = np.ogrid[:ENVIRONMENTS, :WALKERS, :BLOCKS]
    key = [np.asarray(k)[:, None, None] for k in environment_keys(3, e.reshape(-1).astype("u4"))]
    pair = words(key, (w, b), rounds)
    return np.moveaxis(pair, 0, -1).reshape(ENVIRONMENTS, WALKERS, 2 * BLOCKS)


def raw_sample(rounds=20):
    """The same at the bare keys (0, 0), (1, 0), …, which differ in a few bits."""
    e, w, b = np.ogrid[:ENVIRONMENTS, :WALKERS, :BLOCKS]
    pair = words((e, np.zeros_like(e)), (w, b), rounds)
    return np.moveaxis(pair, 0, -1).reshape(ENVIRONMENTS, WALKERS, 2 * BLOCKS)


def chi_square_z(counts):
    """(χ² − ν)/√(2ν) of cells that should be equally full; about normal for ν = 255."""
    expected = counts.sum() / counts.size
    chi_square = ((counts - expected) ** 2 / expected).sum()
    return (chi_square - (counts.size - 1)) / np.sqrt(2 * (counts.size - 1))


def neighbours(x):
    """Pairs that differ by one in environment, in walker, in step, and by one block."""
    return [
        (x[:-1], x[1:]),
        (x[:, :-1], x[:, 1:]),
        (x[..., :-1], x[..., 1:]),
        (x[..., :-2], x[..., 2:]),
        (x[:-1, 1:], x[1:, :-1]),
    ]


def worst_deviation(x):
    """The largest |z| over bits, bytes, pairs of nibbles and correlations."""
    found = []
    for bit in range(32):
        ones = int(((x >> np.uint32(bit)) & np.uint32(1)).sum())
        found.append((ones - x.size / 2) / np.sqrt(x.size / 4))
    for shift in (0, 8, 16, 24):
        found.append(chi_square_z(np.bincount(((x >> np.uint32(shift)) & 255).ravel())))
    for shift in (0, 14, 28):
        nibbles = (x >> np.uint32(shift)) & 15
        for a, b in neighbours(nibbles):
            found.append(chi_square_z(np.bincount((16 * a + b).ravel(), minlength=256)))
    for a, b in neighbours(x / 2.0**32 - 0.5):
        found.append(12 * (a * b).sum() / np.sqrt(a.size))  # var of the product is 1/144
    return np.abs(found).max()


@pytest.mark.parametrize("draw", [sample, raw_sample])
def test_words_are_uniform_and_neighbours_independent(draw):
    """56 statistics within 5 standard errors."""
    assert worst_deviation(draw()) < 5


def test_the_statistics_see_a_weak_generator():
    assert worst_deviation(raw_sample(rounds=4)) > 50
    count = np.arange(ENVIRONMENTS * WALKERS * 2 * BLOCKS, dtype=np.uint32)
    congruential = (count * np.uint32(1664525) + np.uint32(1013904223)).reshape(
        ENVIRONMENTS, WALKERS, 2 * BLOCKS
    )
    assert worst_deviation(congruential) > 50


def avalanche(rounds):
    """(128, 64): how often an output bit flips when one bit of key or counter does, as z."""
    n = 2000
    inputs = np.random.default_rng(5).integers(1 << 32, size=(4, n), dtype=np.uint32)
    before = words(inputs[:2], inputs[2:], rounds)
    flips = np.empty((128, 64))
    for bit in range(128):
        other = inputs.copy()
        other[bit // 32] ^= np.uint32(1 << (bit % 32))
        changed = before ^ words(other[:2], other[2:], rounds)
        bits = (changed[:, :, None] >> np.arange(32, dtype=np.uint32)) & np.uint32(1)
        flips[bit] = bits.sum(axis=1).reshape(64)
    return (flips - n / 2) / np.sqrt(n / 4)


def test_one_flipped_bit_changes_half_of_the_output():
    """Each of 8192 frequencies within 5.5 standard errors; their mean square is that of chance."""
    z = avalanche(20)
    assert np.abs(z).max() < 5.5
    # A word of 32 bits flips 16 on average.
    assert abs(z.mean()) * np.sqrt(z.size) < 5
    assert abs((z**2).mean() - 1) < 5 * np.sqrt(2 / z.size)
    assert np.abs(avalanche(4)).max() > 20
