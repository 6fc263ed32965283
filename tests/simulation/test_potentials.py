"""Potentials: variograms within sampling error, exact covariances, controls."""

import numpy as np
import pytest

from noisescale import InputError
from noisescale.analysis.roughness.fractional_noise import (
    _embedding,
    embedding,
    fractional_noise,
    noise_autocovariance,
)
from noisescale.simulation import fractional_brownian, harmonic, smooth_short_range

ALPHAS = (0.1, 0.5, 1.0, 1.5, 1.9, 1.99)


@pytest.mark.parametrize("alpha", ALPHAS)
def test_autocovariance_sums_to_the_variogram(alpha):
    # Var of the sum of r increments is σ² r^α: an identity of γ, near and far from the series.
    for r in (1, 2, 7, 99, 150, 3000):
        k = np.arange(1, r)
        gamma = noise_autocovariance(np.arange(r), alpha, 2.0)
        variance = r * gamma[0] + 2 * np.sum((r - k) * gamma[1:])
        assert variance == pytest.approx(4 * r**alpha, rel=1e-11)


def test_autocovariance_series_joins_the_definition():
    # 50-digit decimals of the definition on both sides of the switch.
    from decimal import Decimal, getcontext

    getcontext().prec = 50
    for alpha in ("0.3", "1.7"):
        a = Decimal(alpha)
        for k in (99, 100, 101, 5000):
            exact = ((Decimal(k) + 1) ** a - 2 * Decimal(k) ** a + (Decimal(k) - 1) ** a) / 2
            assert noise_autocovariance(k, float(a)) == pytest.approx(float(exact), rel=1e-11)


@pytest.mark.parametrize("alpha", [0.1, 0.5, 1.5, 1.9, 1.99])
def test_embedding_reproduces_the_covariance_and_is_not_negative(alpha):
    # The law is exact if the amplitudes' squares transform back into γ.
    half = 500
    amplitudes = _embedding(alpha, half)
    assert amplitudes.min() > 0
    gamma = np.fft.irfft(amplitudes**2 / (2 * half))[: half + 1]
    np.testing.assert_allclose(gamma, noise_autocovariance(np.arange(half + 1), alpha), atol=1e-13)


@pytest.mark.parametrize("alpha", [0.5, 1.0, 1.5, 1.9])
def test_sampled_variogram_within_five_standard_errors(alpha):
    rng, sigma = np.random.default_rng(1), 1.5
    V = fractional_brownian(257, alpha, sigma, size=20_000, rng=rng)
    assert V.shape == (20_000, 257) and (V[:, 0] == 0).all()
    for i, j in ((0, 1), (0, 256), (100, 110), (30, 230)):
        ratio = np.mean((V[:, i] - V[:, j]) ** 2) / (sigma**2 * abs(i - j) ** alpha)
        assert abs(ratio - 1) < 5 * np.sqrt(2 / 20_000)


def test_ramp_at_two_is_straight():
    V = fractional_brownian(50, 2.0, 3.0, size=4000, rng=np.random.default_rng(2))
    assert np.abs(np.diff(V, 2)).max() < 1e-10
    assert abs(np.mean(V[:, 1] ** 2) / 9 - 1) < 5 * np.sqrt(2 / 4000)


def test_samples_do_not_depend_on_how_many_are_drawn_at_once():
    for alpha in (1.0, 1.5):
        whole = fractional_brownian(33, alpha, size=5, rng=np.random.default_rng(3))
        rng = np.random.default_rng(3)
        parts = [fractional_brownian(33, alpha, size=k, rng=rng) for k in (1, 3, 1)]
        np.testing.assert_array_equal(whole, np.concatenate(parts))
        single = fractional_brownian(33, alpha, rng=np.random.default_rng(3))
        np.testing.assert_array_equal(single, whole[0])


def test_odd_lengths_and_two_sites():
    for n in (2, 3, 7, 1000):
        assert fractional_brownian(n, 1.3, rng=np.random.default_rng(4)).shape == (n,)


def test_smooth_potential_has_its_structure_function():
    rng, length, sigma = np.random.default_rng(5), 10.0, 2.0
    V = smooth_short_range(400, length, sigma, size=20_000, rng=rng)
    for r in (1, 10, 100):
        truth = 2 * sigma**2 * (1 - np.exp(-0.5 * (r / length) ** 2))
        ratio = np.mean((V[:, 50] - V[:, 50 + r]) ** 2) / truth
        assert abs(ratio - 1) < 5 * np.sqrt(2 / 20_000)


def test_harmonic_is_a_centred_parabola():
    V = harmonic(5, 2.0)
    np.testing.assert_array_equal(V, [4, 1, 0, 1, 4])


def test_an_impossible_covariance_is_refused():
    with pytest.raises(FloatingPointError, match="eigenvalue"):
        embedding(np.array([1.0, 0.9, -0.9, 0.9]))


@pytest.mark.parametrize(
    ("call", "part"),
    [
        (lambda rng: fractional_brownian(10, 0.0, rng=rng), r"\(0, 2\]"),
        (lambda rng: fractional_brownian(10, 2.1, rng=rng), r"\(0, 2\]"),
        (lambda rng: fractional_brownian(10, float("nan"), rng=rng), r"\(0, 2\]"),
        (lambda rng: fractional_noise(10, 2.0, rng=rng), "straight ramp"),
        (lambda rng: fractional_brownian(10, 1.0, -1.0, rng=rng), "sigma"),
        (lambda rng: fractional_brownian(1, 1.0, rng=rng), "two sites"),
        (lambda rng: fractional_brownian(2.5, 1.0, rng=rng), "whole number"),
        (lambda rng: fractional_brownian(9, 1.0, size=0, rng=rng), "size"),
        (lambda rng: smooth_short_range(40, 11.0, rng=rng), "a quarter"),
        (lambda rng: smooth_short_range(40, -1.0, rng=rng), "correlation_length"),
        (lambda rng: harmonic(40, 0.0), "stiffness"),
    ],
)
def test_bad_input_is_refused_in_one_line(call, part):
    with pytest.raises(InputError, match=part) as caught:
        call(np.random.default_rng(0))
    assert "\n" not in str(caught.value)
