"""Fractional Brownian fields: the embedding's covariance exactly, and what is sampled from it."""

import numpy as np
import pytest
from scipy.fft import dctn

from noisescale.errors import InputError
from noisescale.simulation import fields
from noisescale.simulation.fields import fractional_brownian_field

ALPHAS = [0.1, 0.7, 1.0, 1.01, 1.3, 1.5, 1.51, 1.75, 1.9, 1.99]
SHAPES = [(2, 2), (9, 9), (5, 13), (2, 40), (31, 24), (5, 5, 5), (2, 3, 7), (9, 8, 7)]


def distances(sides):
    return np.sqrt(sum(line**2 for line in np.ogrid[tuple(map(slice, sides))]))


@pytest.mark.parametrize("sides", SHAPES)
@pytest.mark.parametrize("alpha", ALPHAS)
def test_embedded_variogram(sides, alpha):
    """φ on the torus and the ramp give |x − y|^α to 1e-10 inside the box; no eigenvalue is < 0."""
    eigenvalues = fields._eigenvalues(sides, alpha)
    assert eigenvalues.min() > 1e-9 * eigenvalues.max()  # not merely clipped to zero
    covariance = dctn(eigenvalues, type=1) / np.prod(fields._periods(sides, alpha))
    box = covariance[tuple(map(slice, sides))]
    length = np.sqrt(sum((n - 1) ** 2 for n in sides))
    smooth = fields._local_covariance(alpha, len(sides))[2]
    r = distances(sides) / length
    assert covariance.flat[0] - box + smooth * r**2 == pytest.approx(r**alpha, abs=1e-10)


@pytest.mark.parametrize(("sides", "alpha"), [((3, 4), 1.2), ((4, 3), 1.8), ((2, 3, 2), 1.4)])
def test_sampler_has_the_embedded_covariance(sides, alpha):
    """The sum over deviates of the products of what each contributes, to 1e-12."""
    amplitudes = fields._embedding(sides, alpha)
    one_each = np.eye(2 * amplitudes.size)
    parts = fields._stationary(amplitudes, sides, one_each).reshape(len(one_each), -1)
    sites = np.array(list(np.ndindex(sides)))
    apart = np.linalg.norm(sites[:, None] - sites[None], axis=-1)
    length = np.linalg.norm(np.array(sides) - 1)
    wanted = fields._covariance(apart / length, alpha, len(sides))
    assert parts.T @ parts == pytest.approx(wanted, abs=1e-12)


@pytest.mark.parametrize(
    ("sides", "alpha"), [((12, 9), 0.6), ((12, 9), 1.5), ((9, 12), 1.9), ((6, 5, 4), 1.3)]
)
def test_sampled_variogram(sides, alpha):
    """Within 4 standard errors at lags along every axis and both diagonals, 4000 samples."""
    sigma, size = 1.7, 4000
    V = fractional_brownian_field(sides, alpha, sigma, size=size, rng=np.random.default_rng(4))
    assert V.shape == (size, *sides)
    assert (V.reshape(size, -1)[:, 0] == 0).all()
    corner = np.array(sides) - 1
    unit = np.eye(len(sides), dtype=int)
    pairs = [(0 * corner, corner), (corner * unit[0], corner * (1 - unit[0]))]
    pairs += [(corner // 2, corner // 2 + axis) for axis in unit]
    pairs += [(corner - axis * corner, corner) for axis in unit]
    for one, other in pairs:
        squares = (V[(..., *one)] - V[(..., *other)]) ** 2
        truth = sigma**2 * np.linalg.norm(one - other) ** alpha
        # The difference is Gaussian: a square has the variance 2 truth².
        assert abs(squares.mean() - truth) < 4 * truth * np.sqrt(2 / size)
    assert abs(V.mean(axis=0)).max() < 5 * V.std(axis=0).max() / np.sqrt(size)


def test_alpha_two_is_a_ramp():
    V = fractional_brownian_field((6, 5, 4), 2.0, 0.5, size=3000, rng=np.random.default_rng(1))
    slopes = np.stack([V[:, 1, 0, 0], V[:, 0, 1, 0], V[:, 0, 0, 1]], axis=1)
    ramps = sum(
        slopes[:, i, None, None, None] * line for i, line in enumerate(np.ogrid[:6, :5, :4])
    )
    assert V == pytest.approx(ramps, abs=1e-12)
    # k ~ N(0, σ² I): variances and covariances within 4 standard errors
    covariance = slopes.T @ slopes / 3000
    assert np.diag(covariance) == pytest.approx(0.25, abs=4 * 0.25 * np.sqrt(2 / 3000))
    assert covariance[np.triu_indices(3, 1)] == pytest.approx(0.0, abs=4 * 0.25 / np.sqrt(3000))


def test_samples_do_not_depend_on_the_batch():
    one, other = np.random.default_rng(9), np.random.default_rng(9)
    together = fractional_brownian_field((5, 6), 1.6, size=3, rng=one)
    alone = [fractional_brownian_field((5, 6), 1.6, rng=other) for _ in range(3)]
    assert np.array_equal(together, alone)


def test_an_embedding_that_is_not_positive_is_refused(monkeypatch):
    monkeypatch.setattr(fields, "_local_covariance", lambda alpha, d: (1.0, 1 - 0.95, 0.95, 0.0))
    with pytest.raises(FloatingPointError, match="eigenvalue"):
        fields._eigenvalues((20, 20), 1.9)


@pytest.mark.parametrize(
    ("change", "what"),
    [
        ({"alpha": 2.01}, r"\(0, 2\]"),
        ({"alpha": 0.0}, r"\(0, 2\]"),
        ({"alpha": np.nan}, r"\(0, 2\]"),
        ({"sigma": -1.0}, "above 0"),
        ({"shape": 16}, "sites of each side"),
        ({"shape": (16,)}, "sites of each side"),
        ({"shape": (4, 4, 4, 4)}, "sites of each side"),
        ({"shape": (16, 1)}, "at least 2"),
        ({"shape": (16, 2.5)}, "whole number"),
        ({"size": 0}, "at least 1"),
        ({"rng": 3}, "Generator"),
    ],
)
def test_refused(change, what):
    given = {"shape": (4, 4), "alpha": 1.0, "rng": np.random.default_rng(0)} | change
    with pytest.raises(InputError, match=what) as error:
        fractional_brownian_field(given.pop("shape"), given.pop("alpha"), **given)
    assert "\n" not in str(error.value)
