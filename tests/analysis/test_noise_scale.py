import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from noisescale import InputError, sgd_noise_scale
from noisescale.analysis import noise_scale as scale


def test_published_values():
    # Smith et al. 2018, CIFAR-10: ε .1, B 128, m .9, N 50,000.
    assert sgd_noise_scale(0.1, 128, 50000, 0.9) == pytest.approx(390.625, rel=1e-12)
    exact = sgd_noise_scale(0.1, 128, 50000, 0.9, finite_population=True)
    assert exact == pytest.approx(389.625, rel=1e-12)
    # ImageNet: the three (m, B) pairs of section 5.3 share one g.
    pairs = [(0.9, 8192), (0.95, 16384), (0.975, 32768)]
    values = [sgd_noise_scale(3.0, b, 1281167, m) for m, b in pairs]
    assert values == pytest.approx([4691.8] * 3, rel=1e-5)


def test_finite_population_is_the_variance_of_batches_without_replacement():
    """g = ε N Var(batch mean) / Σ, with the variance over all batches without replacement."""
    from itertools import combinations

    x = np.array([0.3, -1.0, 2.5, 0.7, -2.0, 1.1])
    n, b, rate = len(x), 2, 0.1
    means = [np.mean(x[list(c)]) for c in combinations(range(n), b)]
    covariance = x.var(ddof=1)  # Σ, with the N−1 of sampling without replacement
    # Var(batch mean) = Σ (1/B − 1/N), so g = ε N (1/B − 1/N) = N Var ε / Σ.
    expected = rate * n * np.var(means) / covariance
    assert sgd_noise_scale(rate, b, n, finite_population=True) == pytest.approx(expected, rel=1e-12)


def test_broadcasts():
    g = sgd_noise_scale([0.1, 0.2], np.array([[128], [256]]), 50000, 0.9)
    assert g.shape == (2, 2)
    assert g[1, 1] == pytest.approx(sgd_noise_scale(0.2, 256, 50000, 0.9))
    assert isinstance(sgd_noise_scale(0.1, 128, 50000), float)


@pytest.mark.parametrize(
    ("arguments", "name"),
    [
        ((-0.1, 128, 50000), "learning_rate"),
        ((float("nan"), 128, 50000), "learning_rate"),
        (("fast", 128, 50000), "learning_rate"),
        ((0.1, 0, 50000), "batch_size"),
        ((0.1, 128, 0), "train_size"),
        ((0.1, 128, 50000, 1.0), "momentum"),
        ((0.1, 128, 50000, -0.1), "momentum"),
    ],
)
def test_refuses(arguments, name):
    with pytest.raises(InputError, match=name):
        sgd_noise_scale(*arguments)


def test_refuses_a_finite_population_smaller_than_the_batch():
    with pytest.raises(InputError, match="exceeds train_size"):
        sgd_noise_scale(0.1, 200, 100, finite_population=True)


def test_refuses_shapes_that_do_not_broadcast():
    with pytest.raises(InputError, match="broadcast"):
        sgd_noise_scale([0.1, 0.2], [1, 2, 3], 100)


@given(st.floats(1e-4, 1), st.integers(1, 1000), st.floats(0, 0.99))
def test_temperature_times_size_is_the_finite_population_g(rate, batch, momentum):
    t = scale.temperature(rate, batch, momentum, 1000)
    g = sgd_noise_scale(rate, batch, 1000, momentum, finite_population=True)
    assert 1000 * t == pytest.approx(g, rel=1e-9, abs=1e-12)


def test_heavy_ball_on_a_flat_landscape_diffuses_as_stated():
    """Var(w)/k → ε²/(B(1−m)²) per unit covariance: a free walk of the recursion itself."""
    rng = np.random.default_rng(0)
    rate, batch, m, walkers, updates = 0.1, 4, 0.8, 20000, 400
    w, v = np.zeros(walkers), np.zeros(walkers)
    for k in range(updates):
        if k == updates // 2:
            before = w.copy()
        v = m * v + rng.standard_normal(walkers) / np.sqrt(batch)
        w = w - rate * v
    # Increments of two halves are independent but for the momentum memory of 1/(1−m) = 5.
    measured = np.var(w - before) / (updates / 2)
    expected = scale.diffusion_per_update(rate, batch, m)
    # Relative standard error of a variance is √(2/walkers) = 1 %; k = 4, plus memory 2.5/200.
    assert measured == pytest.approx(expected, rel=4 * 0.01 + 0.0225)
