"""Barrier trees against flooding, larger boxes, and the law of Kesten and Golosov."""

import numpy as np
import pytest

from noisescale.analysis.roughness.fractional_noise import fractional_noise
from noisescale.errors import InputError
from noisescale.simulation.barriers import barrier_tree
from tests.reference import barrier_tree as naive


def gaussian_walk(n, seed):
    return np.cumsum(np.random.default_rng(seed).standard_normal(n))


def landscapes(shape, seed):
    """Rough, smooth, and with many equal values."""
    rng = np.random.default_rng(seed)
    rough = rng.standard_normal(shape)
    return rough, np.cumsum(rough, axis=-1), rng.integers(0, 4, shape)


@pytest.mark.parametrize("shape", [(2,), (3,), (29,), (1, 9), (6, 7), (3, 3, 4), (2, 3, 2, 2)])
@pytest.mark.parametrize("kind", [0, 1, 2])
def test_valleys_as_found_by_flooding(shape, kind):
    V = landscapes(shape, seed=len(shape) + 3)[kind]
    tree, table, rank = barrier_tree(V), naive.valleys(V), naive.ranks(V)
    minima = [tuple(map(int, np.unravel_index(i, V.shape))) for i in tree.minima]
    assert minima == sorted(table)
    for valley, minimum in enumerate(minima):
        persistence, behind, wall = table[minimum]
        assert tree.persistence[valley] == persistence
        assert minima[tree.next[valley]] == behind
        assert tree.wall_barrier[valley] == wall
    for site in np.ndindex(V.shape):
        assert minima[tree.basin[site]] == naive.bottom(site, rank)


@pytest.mark.parametrize("kind", [0, 1, 2])
def test_a_line_is_a_sheet_one_site_wide(kind):
    V = landscapes((3000,), seed=8)[kind]
    line, sheet = barrier_tree(V), barrier_tree(V[:, None])
    for name in ("minima", "persistence", "next"):
        assert np.array_equal(getattr(line, name), getattr(sheet, name))
    assert np.array_equal(line.basin, sheet.basin[:, 0])
    barriers = np.array([0.0, 0.5, 1.0, 4.0, 20.0])
    assert np.array_equal(line.location(barriers), sheet.location(barriers)[..., 0].reshape(5, -1))


@pytest.mark.parametrize("shape", [(40,), (5, 6)])
def test_locations_follow_the_pointers(shape):
    V = landscapes(shape, seed=3)[1]
    tree, barriers = barrier_tree(V), np.array([0.0, 0.4, 0.9, 2.0, 3.5, 1e9])
    sites = np.array(list(np.ndindex(shape)))
    starts = sites[:, 0] if len(shape) == 1 else sites
    for few in (slice(0, 5), slice(None)):  # fewer starts than valleys, and more
        found = tree.location(barriers, starts[few]).reshape(barriers.size, -1, len(shape))
        for k, barrier in enumerate(barriers[1:-1], 1):
            for s, site in enumerate(sites[few]):
                assert tuple(found[k, s]) == naive.location(V, barrier, tuple(map(int, site)))
        lowest = np.unravel_index(np.argmin(V), shape)
        assert (found[-1] == np.array(lowest)).all()
    assert np.array_equal(tree.location(barriers), tree.location(barriers, starts))
    assert np.array_equal(tree.location(2.0, starts), tree.location(barriers, starts)[3:4])


@pytest.mark.parametrize(("shape", "cut"), [((4000,), (1500, 1900)), ((40, 40), (9, 31))])
def test_what_no_wall_limits_stays_in_a_larger_box(shape, cut):
    V = gaussian_walk(4000, 5) if len(shape) == 1 else landscapes(shape, seed=6)[0] * 3
    small, large = barrier_tree(V[(slice(*cut),) * V.ndim]), barrier_tree(V)
    barriers = np.array([1.0, 2.0, 4.0, 8.0])
    starts = np.array(list(np.ndindex(small.basin.shape)))
    outer = starts + cut[0]
    there = large.location(barriers, outer[:, 0] if V.ndim == 1 else outer)
    here = small.location(barriers) + cut[0]
    same = (here == there).reshape(4, len(starts), -1).all(axis=-1)
    limited = np.array([small.wall(barriers, s if V.ndim == 1 else [s]) for s in starts]).T > 0
    assert small.wall(barriers) == pytest.approx(limited.mean(axis=1))
    assert (np.diff(limited.mean(axis=1)) >= 0).all()
    assert same[~limited].mean() > 0.99  # drainage along the edge is not accounted for
    assert V.ndim > 1 or same[~limited].all()
    assert 0.1 < limited[-1].mean() < 0.95 and not same[limited].all()


def test_kesten_and_golosov():
    """Moments within 4 standard errors (of 128 blocks), the law at p > 0.001; n = 2²² sites."""
    from scipy.stats import kstest

    V = gaussian_walk(1 << 22, 1)
    tree, barriers = barrier_tree(V), np.array([10.0, 20.0])
    starts = np.arange(40_000, V.size - 40_000, 64)
    assert (tree.wall(barriers, starts) == 0).all()
    x = tree.location(barriers, starts) - starts
    for barrier, moved in zip(barriers, x, strict=True):
        y = moved / (barrier + 1.165) ** 2  # a step jumps over a level by 0.5826 σ on the average
        for sample, truth in ((np.abs(y), 5 / 6), (y**2, 61 / 45)):
            blocks = sample[: sample.size // 128 * 128].reshape(128, -1).mean(axis=1)
            stderr = blocks.std(ddof=1) / np.sqrt(blocks.size)
            assert stderr < 0.04 * truth
            assert abs(blocks.mean() - truth) < 4 * stderr
        apart = int(30 * barrier**2 / 64)
        assert kstest(y[::apart], naive.kesten_golosov_cdf).pvalue > 0.001
        assert kstest(y[::apart] * 2, naive.kesten_golosov_cdf).pvalue < 0.001


@pytest.mark.parametrize(
    ("alpha", "first", "tolerance"), [(1.0, 20.0, 0.1), (1.5, 20.0, 0.1), (1.75, 40.0, 0.25)]
)
def test_self_affine_exponent(alpha, first, tolerance):
    """d ln median|x| / d ln Γ = 2/α from Γ to 4Γ, within 4 standard errors and `tolerance`."""
    barriers = np.array([first, 4 * first])
    sites, environments = 1 << 18, 24
    rng = np.random.default_rng(11)
    starts = np.arange(0, sites, 256)
    exponents = []
    for _ in range(environments):
        tree = barrier_tree(np.cumsum(fractional_noise(sites, alpha, rng=rng)[0]))
        medians = np.median(np.abs(tree.location(barriers, starts) - starts), axis=1)
        exponents.append(np.log(medians[1] / medians[0]) / np.log(4))
    stderr = np.std(exponents, ddof=1) / np.sqrt(environments)
    assert 4 * stderr < 2 * tolerance
    assert abs(np.mean(exponents) - 2 / alpha) < max(4 * stderr, 0.02)
    assert abs(np.mean(exponents) - 2 / alpha) < tolerance


def test_error_against_the_exact_law():
    """Mean of |⟨X⟩ − x(Γ)|/Γ² at an exponential clock of mean e^Γ: 4 standard errors, n = 100."""
    from noisescale.simulation.propagation import occupation

    barrier, sites, errors = 20.0, 12_001, []
    for seed in range(100):
        V = gaussian_walk(sites, 1000 + seed)
        mean = occupation(V, sites // 2, log_t=barrier) @ np.arange(sites)
        tree = barrier_tree(V)
        errors.append(abs(mean - tree.location(barrier, sites // 2)[0, 0]) / barrier**2)
    stderr = np.std(errors) / np.sqrt(len(errors))
    assert stderr < 0.08
    assert abs(np.mean(errors) - tree.error(barrier)[0]) < 4 * stderr


def test_error_is_stated():
    line, sheet = barrier_tree([1.0, 0.0, 2.0]), barrier_tree(np.eye(3))
    assert line.error([75.0, 150.0], T=2.0) == pytest.approx([0.2, 0.1])
    assert line.error(0.0) == [1.0]
    assert np.isnan(sheet.error([75.0])).all()
    assert "indicative" in sheet.accuracy and "7.5 T/Γ" in line.accuracy


@pytest.mark.parametrize(
    ("V", "what"),
    [
        ([1.0], "at least two sites"),
        (3.0, "at least two sites"),
        (np.zeros((0, 3)), "at least two sites"),
        ([1.0, np.nan, 2.0], "1 NaN or infinities"),
        ([[1.0, np.inf], [np.inf, 2.0]], "2 NaN or infinities"),
        (["a", "b"], "array of numbers"),
        ([[1.0], [1.0, 2.0]], "array of numbers"),
        ([1j, 2.0], "array of numbers"),
        (None, "array of numbers"),
    ],
)
def test_refused_potentials(V, what):
    with pytest.raises(InputError, match=what) as error:
        barrier_tree(V)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    "Gamma", [-1.0, [1.0, 0.5], [np.nan], [np.inf], [], [[1.0]], "5", [[1.0], [1.0, 2.0]], None]
)
def test_refused_barriers(Gamma):
    tree = barrier_tree([1.0, 0.0, 2.0])
    for method in (tree.location, tree.wall, tree.error):
        with pytest.raises(InputError, match="finite, at least 0 and ascending"):
            method(Gamma)


@pytest.mark.parametrize(
    ("starts", "what"),
    [
        ([3], "outside"),
        ([-1], "outside"),
        ([0.5], "whole numbers"),
        ([], "whole numbers"),
        ([True], "whole numbers"),
        ([[0, 1]], "of this box are"),
    ],
)
def test_refused_starts(starts, what):
    with pytest.raises(InputError, match=what):
        barrier_tree([1.0, 0.0, 2.0]).location(1.0, starts)
    sheet = barrier_tree(np.eye(3))
    for wrong in ([0, 1], [[0, 3]], [[0, 1, 2]]):
        with pytest.raises(InputError, match=r"outside|of this box are"):
            sheet.wall(1.0, wrong)
