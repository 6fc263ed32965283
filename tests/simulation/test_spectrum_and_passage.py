"""Relaxation rates and mean first-passage times."""

import numpy as np
import pytest

from noisescale import InputError
from noisescale.simulation import fractional_brownian, mean_first_passage_time, relaxation_rates
from tests.reference.propagation import generator, rates_decimal


def rough(n, sigma=1.0, seed=0):
    return fractional_brownian(n, 1.0, sigma, rng=np.random.default_rng(seed))


def test_rates_to_high_relative_accuracy():
    # σ/T = 15 on 25 sites: rates over 20 decades, against 60-digit bisection.
    V = rough(25, 15.0)
    exact = rates_decimal(V, 1.0)
    assert exact[1] < 1e-12 * exact[-1]
    np.testing.assert_allclose(relaxation_rates(V, 1.0), exact, rtol=2e-13)
    np.testing.assert_allclose(relaxation_rates(V, 1.0, 6), exact[:6], rtol=2e-13)


def test_free_rates_are_those_of_the_path():
    # 2 (1 − cos(π k / n)), reflecting ends.
    k = np.arange(60)
    np.testing.assert_allclose(
        relaxation_rates(np.zeros(60), 1.0), 4 * np.sin(np.pi * k / 120) ** 2, rtol=1e-12
    )


def test_bisection_and_dqds_agree():
    V = rough(4000, 2.0, 1)
    np.testing.assert_allclose(
        relaxation_rates(V, 1.0, 20), relaxation_rates(V, 1.0)[:20], rtol=1e-12
    )


def test_rates_of_each_rule_against_a_dense_solver():
    for rates in ("metropolis", "heat_bath"):
        V = rough(30, 0.5, 2)
        dense = np.sort(-np.linalg.eigvals(generator(V, 1.0, rates)).real)
        np.testing.assert_allclose(
            relaxation_rates(V, 1.0, rates=rates), dense, rtol=1e-9, atol=1e-12
        )


def test_two_sites():
    np.testing.assert_allclose(relaxation_rates([0.0, 1.0], 1.0), [0, 2 * np.cosh(0.5)])


def test_first_passage_is_the_published_double_sum():
    V, T = rough(30, 1.0, 3), 0.9
    p = np.exp(-V / T)
    right = np.exp(-np.diff(V) / (2 * T))
    for a, b in ((0, 29), (4, 17), (16, 17)):
        direct = sum(p[: k + 1].sum() / (p[k] * right[k]) for k in range(a, b))
        assert mean_first_passage_time(V, T, a, b) == pytest.approx(direct, rel=1e-12)


@pytest.mark.parametrize("rates", ["arrhenius", "metropolis", "heat_bath"])
def test_first_passage_solves_the_backward_equation_on_both_sides(rates):
    V, target = rough(25, 1.0, 4), 10
    keep = np.arange(25) != target
    L = generator(V, 1.0, rates)[np.ix_(keep, keep)]
    exact = np.linalg.solve(-L, np.ones(24))
    found = mean_first_passage_time(V, 1.0, np.arange(25), target, rates=rates)
    assert found[target] == 0
    np.testing.assert_allclose(found[keep], exact, rtol=1e-10)


def test_free_passage_time_from_a_reflecting_end():
    # Σ_{k<N} (k + 1) = N (N + 1)/2 for rate 1 to each side.
    assert mean_first_passage_time(np.zeros(11), 1.0, 0, 10) == pytest.approx(55, rel=1e-14)


@pytest.mark.parametrize(
    ("call", "part"),
    [
        (lambda: relaxation_rates(np.zeros(5), 1.0, 6), "5 sites have 5 rates"),
        (lambda: relaxation_rates(np.zeros(5), 1.0, 0), "k=0"),
        (lambda: relaxation_rates(np.zeros(30_000), 1.0), "give k"),
        (lambda: relaxation_rates(np.zeros(5), -1.0), "T=-1"),
        (lambda: relaxation_rates(np.zeros((2, 5)), 1.0), "one potential"),
        (lambda: mean_first_passage_time(np.zeros(5), 1.0, 0, 5), "from 0 to 4"),
        (lambda: mean_first_passage_time(np.zeros(5), 1.0, -1, 2), "from 0 to 4"),
        (lambda: mean_first_passage_time(np.zeros(5), 1.0, 0, [1, 2]), "one site"),
        (lambda: mean_first_passage_time(250.0 * np.arange(9), 1.0, 0, 8), "1e308"),
    ],
)
def test_bad_input_is_refused_in_one_line(call, part):
    with pytest.raises(InputError, match=part):
        call()
