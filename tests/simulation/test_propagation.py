"""Exact propagation against exact fractions, matrix exponentials and closed forms."""

import numpy as np
import pytest
from scipy.linalg import expm

from noisescale import InputError
from noisescale.simulation import (
    displacements,
    fractional_brownian,
    harmonic,
    mean_square_displacement,
    occupation,
    ramp_msd,
    sample_positions,
)
from noisescale.simulation.clocks import stehfest_weights
from noisescale.simulation.exact import ramp_msd_exponential_clock
from noisescale.simulation.propagation import central_starts
from noisescale.simulation.rates import RATES, hop_rates
from tests.reference.propagation import generator, resolvent_fractions


def rough(n, seed=0, alpha=1.0, sigma=1.0):
    return fractional_brownian(n, alpha, sigma, rng=np.random.default_rng(seed))


def squares(n):
    return (np.arange(n)[:, None] - np.arange(n)) ** 2


@pytest.mark.parametrize("rates", RATES)
def test_rates_are_those_of_the_generator_and_balance_in_detail(rates):
    V, T = rough(12), 0.7
    right, left = hop_rates(V, T, rates)
    L = generator(V, T, rates)
    np.testing.assert_allclose(np.diag(L, 1), right[:-1], rtol=1e-14)
    np.testing.assert_allclose(np.diag(L, -1), left[1:], rtol=1e-14)
    p = np.exp(-V / T)
    np.testing.assert_allclose(p[:-1] * right[:-1], p[1:] * left[1:], rtol=1e-12)


@pytest.mark.parametrize("log_t", [-3.0, 0.0, 5.0, 40.0, 300.0])
def test_exponential_clock_equals_exact_fractions_entry_by_entry(log_t):
    # σ/T = 4 over 16 sites: the entries span tens of decades.
    V = rough(16, sigma=4.0)
    right, left = hop_rates(V, 1.0)
    s = float(np.exp(-log_t))
    exact = resolvent_fractions(right.tolist(), left.tolist(), s)
    law = np.array([occupation(V, i, log_t=log_t) for i in range(16)])
    worst = max(abs(float(law[i, j] / exact[i][j] - 1)) for i in range(16) for j in range(16))
    assert worst < 1e-13
    msd = mean_square_displacement(V, log_t=[log_t])[0]
    for i in range(16):
        expected = sum((j - i) ** 2 * exact[i][j] for j in range(16))
        assert msd[i] == pytest.approx(float(expected), rel=1e-13)


@pytest.mark.parametrize("rates", RATES)
@pytest.mark.parametrize("T", [1.0, 0.5])
def test_fixed_time_equals_the_matrix_exponential(rates, T):
    V, times = rough(40, 1), [0.3, 3.0, 30.0, 300.0]
    msd = mean_square_displacement(V, times, T, clock="fixed", order=14, rates=rates)
    for k, t in enumerate(times):
        P = expm(t * generator(V, T, rates))
        np.testing.assert_allclose(msd[k], (P * squares(40)).sum(1), rtol=2e-3)
        law = occupation(V, 11, t, T, clock="fixed", order=14, rates=rates)
        np.testing.assert_allclose(law, P[11], atol=3e-4)
        assert law.sum() == pytest.approx(1, abs=1e-6)  # rounding × weights of 1e7


def test_a_higher_stehfest_order_is_more_accurate():
    V = rough(40, 1)
    exact = (expm(10 * generator(V)) * squares(40)).sum(1)
    errors = [
        np.abs(mean_square_displacement(V, [10.0], clock="fixed", order=n)[0] / exact - 1).max()
        for n in (6, 10, 14)
    ]
    assert errors[0] > 3 * errors[1] > 9 * errors[2] and errors[2] < 3e-4


def test_stehfest_inverts_a_known_transform():
    # f(t) = e^{−t} has E f(τ) = s/(s + 1).
    for t in (0.1, 1.0, 3.0):
        s = np.arange(1, 15) * np.log(2) / t
        assert np.dot(stehfest_weights(14), s / (s + 1)) == pytest.approx(np.exp(-t), abs=2e-5)


def test_long_times_end_in_boltzmann():
    V, T = rough(30, 2, sigma=2.0), 0.8
    weights = np.exp(-V / T)
    np.testing.assert_allclose(occupation(V, 3, log_t=200.0, T=T), weights / weights.sum(), 1e-12)
    np.testing.assert_allclose(occupation(V, 28, 1e30, T), weights / weights.sum(), 1e-10)


def test_free_walkers_spread_as_twice_the_time():
    # 401 sites: at t = 50 the walls are 20 standard deviations away from the middle.
    V, t = np.zeros(401), [0.5, 5.0, 50.0]
    middle = mean_square_displacement(V, t, starts=200)
    np.testing.assert_allclose(middle, 2 * np.array(t), rtol=1e-9)
    fixed = mean_square_displacement(V, t, clock="fixed", starts=200)
    np.testing.assert_allclose(fixed, 2 * np.array(t), rtol=1e-4)
    half = mean_square_displacement(V, t, starts=200, rates="heat_bath")
    np.testing.assert_allclose(half, t, rtol=1e-9)


def test_ramp_averages_to_its_closed_form():
    # Gauss–Hermite over the slope k ~ N(0, σ²): no sampling error.
    nodes, weights = np.polynomial.hermite_e.hermegauss(12)
    sigma, T, t = 0.5, 0.8, [1.0, 10.0]
    for clock, truth in (("fixed", ramp_msd), ("exponential", ramp_msd_exponential_clock)):
        total = np.zeros(2)
        for node, weight in zip(nodes, weights / weights.sum(), strict=True):
            V = sigma * node * np.arange(1201)
            total += weight * mean_square_displacement(V, t, T, clock, 14, starts=600)
        np.testing.assert_allclose(total, truth(t, sigma, T), rtol=1e-3)


def test_harmonic_relaxes_to_equipartition():
    # κ = 0.01: the lattice is fine, E (x − c)² = T/κ at equilibrium, one rate κ before it.
    V = harmonic(201, 0.01)
    late = mean_square_displacement(V, [1e9], starts=100)
    assert late[0] == pytest.approx(100, rel=1e-3)
    # Ornstein–Uhlenbeck: E x² = (T/κ)(1 − e^{−2κt}); at a clock of mean t: (T/κ) 2κt/(1 + 2κt).
    t = np.array([10.0, 50.0, 200.0])
    curve = mean_square_displacement(V, t, starts=100)
    np.testing.assert_allclose(curve, 100 * 0.02 * t / (1 + 0.02 * t), rtol=5e-3)


def median_of(laws, d):
    # Where P(|X| ≥ r), linear between whole r, is one half; half a site less.
    beyond = np.array([(laws * (abs(d) >= r)).sum(1).mean() for r in range(d.shape[1])])
    return np.interp(-0.5, -beyond, np.arange(d.shape[1])) - 0.5


def test_displacements_summarise_the_laws_of_their_starts():
    V, starts, log_t = rough(80, 3), [30, 41, 55], [1.0, 4.0]
    found = displacements(V, log_t=log_t, starts=starts, distances=[1, 4, 79])
    for k, value in enumerate(log_t):
        laws = np.array([occupation(V, i, log_t=value) for i in starts])
        d = np.arange(80) - np.array(starts)[:, None]
        mean = (laws * d).sum(1)
        assert found.mean_square[k] == pytest.approx((laws * d**2).sum(1).mean(), rel=1e-12)
        assert found.mean_absolute[k] == pytest.approx((laws * abs(d)).sum(1).mean(), rel=1e-12)
        variance = ((laws * d**2).sum(1) - mean**2).mean()
        assert found.thermal_variance[k] == pytest.approx(variance, rel=1e-10)
        assert found.same_site[k] == pytest.approx((laws**2).sum(1).mean(), rel=1e-12)
        assert found.median[k] == pytest.approx(median_of(laws, d), rel=1e-10)
        beyond = [(laws * (abs(d) >= r)).sum(1).mean() for r in (1, 4, 79)]
        np.testing.assert_allclose(found.farther[k], beyond, rtol=1e-12)
    assert found.n_starts == 3 and found.in_window.tolist() == [True, False]


def test_wall_fraction_bounds_the_walkers_that_touched_an_end():
    # With absorbing ends the mass that leaves is the share that touched, exactly.
    V, t = rough(40, 4), 30.0
    L = generator(V)
    L[0] = L[-1] = 0
    absorbed = np.linalg.inv(np.eye(40) - t * L)[:, [0, -1]].sum(1)
    wall = np.array([displacements(V, [t], starts=[i]).wall_fraction[0] for i in range(40)])
    assert (wall >= absorbed - 1e-12).all()
    # P(A) + P(B) exceeds P(A or B) by P(A and B), small where walls are rarely met.
    rare = absorbed < 0.05
    assert rare.any()
    np.testing.assert_allclose(wall[rare], absorbed[rare], rtol=0.05)


def test_fixed_clock_summaries_agree_with_the_matrix_exponential():
    V, starts, t = rough(60, 5), [20, 33], 20.0
    found = displacements(V, [t], clock="fixed", starts=starts)
    laws = expm(t * generator(V))[starts]
    d = np.arange(60) - np.array(starts)[:, None]
    assert found.mean_absolute[0] == pytest.approx((laws * abs(d)).sum(1).mean(), rel=1e-3)
    assert found.median[0] == pytest.approx(median_of(laws, d), rel=2e-3)
    assert np.isnan(found.same_site[0])


def test_sampled_positions_follow_the_law():
    V, W = rough(50, 6), 40_000
    rng = np.random.default_rng(7)
    drawn = sample_positions(V, np.full(W, 20), 50.0, rng=rng)
    law = occupation(V, 20, 50.0)
    expected = W * law
    keep = expected > 10
    counts = np.bincount(drawn, minlength=50)
    chi2 = ((counts - expected)[keep] ** 2 / expected[keep]).sum()
    degrees = keep.sum() - 1
    assert abs(chi2 - degrees) < 4 * np.sqrt(2 * degrees)


def test_long_range_is_accurate_where_subtraction_fails():
    # Offsets of 1e6 sites cancel 12 digits of E X² − 2 x0 E X + x0²; here nothing is subtracted.
    V = rough(4001, 8)
    near = mean_square_displacement(V[1900:2101], [1.0], starts=100)
    far = mean_square_displacement(V, [1.0], starts=2000)
    assert far[0] == pytest.approx(near[0], rel=1e-13)


def test_sinai_walkers_approach_the_asymptote_from_below_with_a_shift():
    # E x² = (61/45)(ln t − δ)⁴ for σ = T = 1, with δ near 2 + γ at an exponential clock.
    rng, logs = np.random.default_rng(9), np.array([16.0, 20.0, 24.0])
    curves = np.array(
        [
            displacements(V, log_t=logs, starts=central_starts(V.size, 64)).mean_square
            for V in fractional_brownian(2**14, 1.0, size=60, rng=rng)
        ]
    )
    mean, error = curves.mean(0), curves.std(0, ddof=1) / np.sqrt(60)
    shift = logs - (mean * 45 / 61) ** 0.25
    spread = error / mean / 4 * (logs - shift)
    assert (np.abs(shift - 2.6) < 4 * spread + 0.4).all()


def test_scales_of_the_potential_and_the_temperature_are_one():
    V = rough(100, 10)
    a = mean_square_displacement(V, [5.0], 0.5)
    b = mean_square_displacement(2 * V, [5.0], 1.0)
    np.testing.assert_allclose(a, b, rtol=1e-12)


def test_default_starts_are_central_and_bounded():
    starts = central_starts(10_000)
    assert starts.size == 4096 and starts.min() == 2500 and starts.max() == 7499
    assert central_starts(8).tolist() == [2, 3, 4, 5]


@pytest.mark.parametrize(
    ("call", "part"),
    [
        (lambda V: mean_square_displacement(V, [1.0], T=0), "T=0"),
        (lambda V: mean_square_displacement(V, [1.0], T=float("nan")), "T=nan"),
        (lambda V: mean_square_displacement(V, [2.0, 1.0]), "must ascend"),
        (lambda V: mean_square_displacement(V, [0.0, 1.0]), "above 0"),
        (lambda V: mean_square_displacement(V), "exactly one of times and log_t"),
        (lambda V: mean_square_displacement(V, [1.0], log_t=[0.0]), "exactly one"),
        (lambda V: mean_square_displacement(V, log_t=[600.0]), "540"),
        (lambda V: mean_square_displacement(V, ["a"]), "number or a list"),
        (lambda V: mean_square_displacement(V, [1.0], clock="poisson"), "exponential"),
        (lambda V: mean_square_displacement(V, [1.0], clock="fixed", order=7), "even number"),
        (lambda V: mean_square_displacement(V, [1.0], starts=50), "from 0 to 49"),
        (lambda V: mean_square_displacement(V, [1.0], starts=[1.5]), "whole numbers"),
        (lambda V: mean_square_displacement(V, [1.0], rates="kramers"), "arrhenius"),
        (lambda V: mean_square_displacement(np.append(V, np.nan), [1.0]), "1 NaN"),
        (lambda V: mean_square_displacement(np.zeros(1), [1.0]), "two sites"),
        (lambda V: mean_square_displacement(V[None], [1.0]), "one potential"),
        (lambda V: mean_square_displacement("V", [1.0]), "array of numbers"),
        (lambda V: mean_square_displacement(1e4 * V, [1.0]), "300 T"),
        (lambda V: occupation(V, 50, 1.0), "from 0 to 49"),
        (lambda V: occupation(V, [1, 2], 1.0), "give one site"),
        (lambda V: occupation(V, 3, [1.0, 2.0]), "of one time"),
    ],
)  # fmt: skip
def test_bad_input_is_refused_in_one_line(call, part):
    with pytest.raises(InputError, match=part) as caught:
        call(rough(50))
    assert "\n" not in str(caught.value)
