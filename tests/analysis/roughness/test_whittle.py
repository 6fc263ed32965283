import numpy as np
import pytest
from scipy.integrate import quad

from noisescale.analysis.roughness.fractional_noise import fractional_noise, noise_autocovariance
from noisescale.analysis.roughness.spectrum_checks import check_spectrum
from noisescale.analysis.roughness.whittle import (
    fit_whittle,
    log_shape,
    noise_spectral_density,
    used_frequencies,
    whittle_sigma,
)
from tests.reference import roughness as reference

ALPHAS = (0.3, 0.5, 1.0, 1.5, 1.9)


@pytest.mark.parametrize("alpha", ALPHAS)
def test_density_is_the_sum_of_its_aliases(alpha):
    for frequency in (1e-3, 0.2, 1.7, np.pi):
        expected = reference.spectral_density(frequency, alpha)
        found = noise_spectral_density(frequency, alpha, sigma=1.5)
        assert found == pytest.approx(1.5**2 * expected, rel=1e-7)


@pytest.mark.parametrize("alpha", ALPHAS)
def test_density_transforms_into_the_autocovariance(alpha):
    for k in (0, 1, 2, 7):
        # In y = λ^{2−α} the integrand is bounded where α > 1.
        power = 1 / (2 - alpha) if alpha > 1 else 1.0

        def integrand(y, k=k, power=power):
            x = y**power
            return 2 * np.cos(k * x) * noise_spectral_density(x, alpha) * power * x / y

        found = quad(integrand, 0, np.pi ** (1 / power), limit=200)[0]
        assert found == pytest.approx(float(noise_autocovariance(k, alpha)), abs=2e-9)


def test_white_noise_is_white():
    assert noise_spectral_density([0.1, 1, 3], 1.0) == pytest.approx(1 / (2 * np.pi), rel=1e-13)


def naive_likelihood(increments, alpha):
    n = len(increments)
    j = np.arange(1, (n - 1) // 2 + 1)
    waves = np.exp(-2j * np.pi * np.outer(j, np.arange(n)) / n)
    power = np.abs(waves @ (increments - increments.mean())) ** 2 / (2 * np.pi * n)
    density = np.array([noise_spectral_density(2 * np.pi * i / n, alpha) for i in j])
    variance = np.mean(power / density)
    return np.log(variance) + np.mean(np.log(density)), variance


@pytest.mark.parametrize("alpha", [0.5, 1.3, 1.8])
@pytest.mark.parametrize("n", [64, 301])
def test_fit_is_the_minimum_of_the_likelihood(alpha, n):
    noise = 3.0 * fractional_noise(n, alpha, size=3, rng=np.random.default_rng(0))
    fit = fit_whittle(noise)
    for row, found, scale in zip(noise, fit.alpha, fit.scale, strict=True):
        if found >= 1.97:
            continue  # the density itself ends at 2
        around = [naive_likelihood(row, found + d)[0] for d in (-0.003, 0, 0.003)]
        vertex = 0.003 * (around[0] - around[2]) / (2 * (around[0] - 2 * around[1] + around[2]))
        assert abs(vertex) < 1e-4
        sigma = np.sqrt(naive_likelihood(row, found)[1])
        assert whittle_sigma(found, scale) == pytest.approx(sigma, rel=1e-9)


def test_rows_do_not_depend_on_each_other_nor_on_units():
    noise = fractional_noise(200, 1.4, size=5, rng=np.random.default_rng(1))
    together = fit_whittle(noise * np.array([[1e-60], [1], [7], [1e40], [3]]))
    for i, row in enumerate(noise):
        alone = fit_whittle(row[None])
        assert together.alpha[i] == pytest.approx(alone.alpha[0], abs=1e-9)
        assert together.stderr[i] == pytest.approx(alone.stderr[0], rel=1e-6)
        assert together.ratios[i] == pytest.approx(alone.ratios[0], rel=1e-6)


@pytest.mark.parametrize("alpha", [0.5, 1.0, 1.5, 1.9])
def test_error_is_the_cramer_rao_bound_and_honest(alpha):
    n, size = 512, 400
    noise = fractional_noise(n, alpha, size=size, rng=np.random.default_rng(20))
    fit = fit_whittle(noise)
    error = fit.alpha - alpha
    bound = reference.cramer_rao(n, alpha)
    # An RMSE of 400 has a standard error of 3.5 %: three of them, and 5 % for a finite n.
    assert np.sqrt(np.mean(error**2)) < 1.15 * bound
    assert fit.stderr.mean() == pytest.approx(bound, rel=0.04)
    # Binomial, 3.3 standard errors.
    assert np.mean(np.abs(error) < 1.96 * fit.stderr) == pytest.approx(0.95, abs=0.036)
    assert abs(error.mean()) < 4 * bound / np.sqrt(size) + 0.1 * bound


@pytest.mark.parametrize(
    ("alpha", "bound"), [(0.5, 0.033), (1.0, 0.040), (1.5, 0.042), (1.9, 0.043)]
)
def test_standard_error_at_1024_points(alpha, bound):
    """The bounds as they were computed from the exact covariance when the method was chosen."""
    frequencies, _ = used_frequencies(1024, (0.0, np.pi))
    slope = (log_shape(frequencies, alpha + 1e-4) - log_shape(frequencies, alpha - 1e-4)) / 2e-4
    assert 1 / np.sqrt(np.sum((slope - slope.mean()) ** 2)) == pytest.approx(bound, abs=0.0008)


def test_band_leaves_frequencies_out():
    frequencies, inside = used_frequencies(100, (0.5, 2.0))
    assert frequencies.min() >= 0.5 and frequencies.max() <= 2.0
    assert inside.sum() == len(frequencies) == 24  # j = 8 … 31 of 2πj/100
    noise = fractional_noise(4096, 1.5, size=20, rng=np.random.default_rng(2))
    spoiled = noise + np.diff(np.random.default_rng(3).normal(0, 1.0, (20, 4097)))
    whole, low = fit_whittle(spoiled).alpha, fit_whittle(spoiled, (0.0, 0.15)).alpha
    assert whole.mean() < 1.1
    assert low.mean() == pytest.approx(1.5, abs=0.15)


def ratios_of(noise):
    fit = fit_whittle(noise)
    frequencies, _ = used_frequencies(noise.shape[1], (0.0, np.pi))
    return [
        check_spectrum(frequencies, row, a) for row, a in zip(fit.ratios, fit.alpha, strict=True)
    ]


def test_checks_of_the_spectrum_have_their_levels():
    noise = fractional_noise(512, 1.2, size=200, rng=np.random.default_rng(4))
    checks = ratios_of(noise)
    # ½ χ² with one degree: 5 % above 2.71; 3.2 standard errors of 200.
    assert np.mean([c.noise > 2.71 for c in checks]) == pytest.approx(0.05, abs=0.049)
    assert np.mean([c.correlation > 2.71 for c in checks]) == pytest.approx(0.05, abs=0.049)
    assert np.mean([c.octaves_p < 0.05 for c in checks]) == pytest.approx(0.05, abs=0.049)
    assert np.std([c.fluctuation for c in checks]) == pytest.approx(1.0, abs=0.25)


def test_checks_of_the_spectrum_name_what_is_there():
    rng = np.random.default_rng(5)
    noise = fractional_noise(1024, 1.5, size=10, rng=rng)
    noisy = noise + np.diff(rng.normal(0, 1.5, (10, 1025)))
    assert min(c.noise for c in ratios_of(noisy)) > 20
    decay = np.exp(-1 / 10)
    values = np.zeros((10, 1025))
    for i in range(1, 1025):
        values[:, i] = decay * values[:, i - 1] + rng.normal(size=10)
    for c in ratios_of(np.diff(values)):
        assert c.correlation > max(10, c.noise)
