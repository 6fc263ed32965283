"""The Kesten–Golosov law and the ramp against published constants and quadrature."""

import numpy as np
import pytest
from scipy.integrate import quad

from noisescale import InputError
from noisescale.simulation import (
    kesten_golosov_cdf,
    kesten_golosov_moments,
    kesten_golosov_pdf,
    kesten_golosov_ppf,
    ramp_msd,
)
from noisescale.simulation.exact import ramp_msd_exponential_clock


def test_density_integrates_to_one_and_has_its_moments():
    for order, truth in ((0, 1.0), (1, 5 / 6), (2, 61 / 45)):
        half = quad(lambda y, m=order: float(kesten_golosov_pdf(y)) * y**m, 0, 60, epsabs=1e-12)[0]
        assert 2 * half == pytest.approx(truth, rel=1e-9)
        assert kesten_golosov_moments(order) == pytest.approx(truth, rel=1e-12)


def test_distribution_is_the_integral_of_the_density():
    for y in (-3.0, -0.5, -0.01, 0.0, 0.015, 0.3, 2.0):
        area = quad(lambda u: float(kesten_golosov_pdf(u)), 0, y, epsabs=1e-13)[0]
        assert kesten_golosov_cdf(y) == pytest.approx(0.5 + area, abs=1e-11)


def test_density_is_half_the_survival_of_a_brownian_path():
    # ½ P(|B| < 1 up to |y|) = ½ (1 − 2 Σ (−1)^k erfc((2k+1)/√(2|y|))), the other series of it.
    from scipy.special import erfc

    k = np.arange(20)
    for y in (0.021, 0.1, 0.7):
        inner = np.sum((-1.0) ** k * erfc((2 * k + 1) / np.sqrt(2 * y)))
        assert kesten_golosov_pdf(y) == pytest.approx(0.5 * (1 - 2 * inner), rel=1e-11)


def test_quantiles_of_the_size():
    # Median and 90 % quantile of |y|, as published with the law.
    np.testing.assert_allclose(kesten_golosov_ppf([0.75, 0.95]), [0.58732, 1.89198], atol=6e-6)
    q = np.array([0.001, 0.2, 0.5, 0.9])
    np.testing.assert_allclose(kesten_golosov_cdf(kesten_golosov_ppf(q)), q, atol=1e-12)


def test_ramp_is_the_average_over_slopes():
    # Given k: drift velocity 2 sinh(k/2T), spread 2 cosh(k/2T) t.
    sigma, T, t = 0.7, 0.9, 3.0

    def given(k, square):
        weight = np.exp(-0.5 * (k / sigma) ** 2) / (sigma * np.sqrt(2 * np.pi))
        return weight * (square * (2 * np.sinh(k / 2 / T)) ** 2 + 2 * np.cosh(k / 2 / T) * t)

    for square, function in ((t**2, ramp_msd), (2 * t**2, ramp_msd_exponential_clock)):
        mean = quad(given, -8, 8, args=(square,), epsabs=1e-12)[0]
        assert function(t, sigma, T) == pytest.approx(mean, rel=1e-9)


def test_bad_input():
    with pytest.raises(InputError, match="level"):
        kesten_golosov_ppf(1.0)
    with pytest.raises(InputError, match="order"):
        kesten_golosov_moments(-1)
    with pytest.raises(InputError, match="times"):
        ramp_msd([-1.0], 1.0)
