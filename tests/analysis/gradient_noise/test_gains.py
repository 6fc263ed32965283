import json
from math import inf, isnan

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from noisescale.analysis.gradient_noise import (
    adascale_gain,
    critical_batch_size,
    gradient_noise_scale,
    linear_rule_limit,
    steps_and_examples,
)
from noisescale.errors import InputError


def measured():
    small = [5.0, 5.4, 5.1, 5.3, 4.9, 5.2, 5.0, 5.6]
    big = [1.5, 1.7, 1.4, 1.6, 1.5, 1.5, 1.6, 1.7]
    return gradient_noise_scale(small, big, 4, 32)


def of_mean(big):
    """Twelve measurements: tr Σ is told from 0, |G|² = (32 b − 12)/28 in its mean is not."""
    away = 0.15 * np.array([1, 0.5, -0.7, -1, 0.2, 1.2, -0.5, 0.1, -1.2, 0.7, -0.2, -0.1])
    return gradient_noise_scale(np.full(12, 3.0), big + away, 4, 32)


def lost():
    """|G|² = 0.02, not told from 0."""
    return of_mean(0.395)


def negative():
    """|G|² = −0.02."""
    return of_mean(0.36)


def test_at_the_critical_batch_both_cost_twice_the_least():
    found = steps_and_examples(100.0, [100.0, 50.0, 1000.0])
    np.testing.assert_allclose(found.steps, [2, 3, 1.1])
    np.testing.assert_allclose(found.examples, [2, 1.5, 11])
    np.testing.assert_allclose((found.steps - 1) * (found.examples - 1), 1)
    assert float(steps_and_examples(100.0, 25).steps) == 5.0


def test_intervals_are_carried_through():
    noise = measured()
    low, high = noise.interval
    found = steps_and_examples(noise, np.array([32.0, 64.0]))
    np.testing.assert_allclose(found.steps_interval[0], [1 + low / 32, 1 + high / 32])
    np.testing.assert_allclose(found.examples_interval[1], [1 + 64 / high, 1 + 64 / low])
    assert found.verdict == "measured"
    sizes = np.array([8.0, 32.0, 128.0, 512.0])
    sweep = critical_batch_size(sizes, 100 * (1 + 60 / sizes))
    assert float(steps_and_examples(sweep, 60).steps) == pytest.approx(2, rel=1e-9)


def test_a_lost_signal_leaves_an_end_open():
    noise = lost()
    assert noise.grad_sq_norm > 0 and noise.interval[1] == inf
    found = steps_and_examples(noise, 32)
    assert found.steps_interval[1] == inf and found.examples_interval[0] == 1
    document = json.loads(json.dumps(found.to_dict(), allow_nan=False))
    assert document["steps_interval"][1] is None and document["verdict"] == "undecided"
    gain = adascale_gain(noise, 4, 8)
    assert gain.interval[1] == 8 and 1 < gain.interval[0] < gain.value < 8


def test_a_negative_signal_gives_no_number_but_an_interval():
    noise = negative()
    assert noise.value < 0
    found = steps_and_examples(noise, [32.0])
    assert isnan(found.steps[0]) and found.steps_interval[0, 0] > 1
    gain = adascale_gain(noise, 4, 8)
    assert isnan(gain.value) and gain.verdict == "undecided" and gain.reason == noise.reason
    assert gain.interval[1] == 8
    limit = linear_rule_limit(noise, 2.0, batch_size=32)
    assert limit.value is None and limit.reason == noise.reason and limit.interval[1] == inf


@given(st.floats(1e-6, 1e6), st.floats(1e-6, 1e6), st.floats(0.5, 1e4), st.floats(1, 1e4))
def test_both_forms_of_the_gain(trace, signal, base, scale):
    """(σ² + μ²)/(σ²/S + μ²) with σ² = tr Σ/B₁ is (1 + x)/(1 + x/S); within [1, S]."""
    sigma2 = trace / base
    expected = (sigma2 + signal) / (sigma2 / scale + signal)
    pair = adascale_gain((trace, signal), base, scale)
    assert float(pair) == pytest.approx(expected, rel=1e-12)
    assert adascale_gain(trace / signal, base, scale).value == pytest.approx(expected, rel=1e-12)
    assert 1 - 1e-12 <= float(pair) <= scale * (1 + 1e-12)


def test_limits_of_the_gain():
    assert adascale_gain((5.0, 0.0), 4, 8).value == 8
    assert adascale_gain((0.0, 5.0), 4, 8).value == 1
    assert adascale_gain(4.0, 4, 3).value == pytest.approx(2 / (1 + 1 / 3))
    assert isnan(adascale_gain((5.0, -1.0), 4, 8).value)
    assert adascale_gain(7.0, 4, 1).value == 1


def test_gain_is_the_progress_of_that_many_steps():
    """One step at S B₁ makes the progress of r steps at B₁, each at its best rate.

    On a quadratic with unit Hessian that progress is μ⁴/(2(μ² + σ²/S)).
    """
    trace, signal, base, scale = 30.0, 2.0, 5.0, 6.0

    def progress(batch):
        return signal**2 / (2 * (signal + trace / batch))

    expected = progress(scale * base) / progress(base)
    assert float(adascale_gain((trace, signal), base, scale)) == pytest.approx(expected)


def test_limit_of_the_linear_rule():
    """Full batch: C²; pure noise: none."""
    assert linear_rule_limit(0.0, 2.0).value == 4
    assert linear_rule_limit(10.0, 2.0).value == 34
    assert linear_rule_limit(1e6, 1.5).value == pytest.approx(1.25e6 + 2.25)
    noise = measured()
    found = linear_rule_limit(noise, 2.0, batch_size=32)
    assert found.value == pytest.approx(4 + 3 * noise.value / 32)
    assert found.interval[0] == pytest.approx(4 + 3 * noise.interval[0] / 32)


def test_limit_at_the_equilibrium_of_a_normalised_toy():
    """L = −cos of the angle to a target, noise across it: where G and N stay, the norm obeys it.

    κ at which R'/R = C with G' = G/C and N' = N/(κC) is κ_max, from the equilibrium equation.
    """
    rate, decay, G, N, C = 0.01, 0.01, 1.0, 7.0, 1.7

    def norm(kappa, signal, noise):
        step = kappa * rate
        return step**2 * (signal + noise) / (2 * step * decay - step**2 * decay**2)

    kappa = linear_rule_limit(N / G, C).value
    assert norm(kappa, G / C, N / (kappa * C)) == pytest.approx(C * norm(1, G, N), rel=2e-3)


def test_equilibrium_norm_by_simulation():
    """R(2ηλ − η²λ²) = η²(G + N) for a gradient across w; within 4 standard errors."""
    rng = np.random.default_rng(0)
    rate, decay, G, N = 0.1, 0.05, 0.5, 2.0
    w = rng.standard_normal((400, 40))
    direction = np.zeros(40)
    direction[0] = 1.0
    norms = []
    for step in range(1500):
        noise = rng.standard_normal((400, 40))
        raw = np.sqrt(G) * direction * np.sqrt(40 / 39) + noise * np.sqrt(N / 39)
        # Orthogonal to w, as of a loss that does not depend on |w|.
        unit = w / np.linalg.norm(w, axis=1, keepdims=True)
        g = raw - np.sum(raw * unit, axis=1, keepdims=True) * unit
        if step >= 1000:
            size = np.sum(g**2, axis=1)
            norms.append((np.sum(w**2, axis=1), size))
        w = (1 - rate * decay) * w - rate * g
    R, total = np.mean(norms, axis=0).mean(axis=1)
    left = R * (2 * rate * decay - rate**2 * decay**2)
    spread = np.mean(norms, axis=0)[0].std() / 20 / R
    assert left == pytest.approx(rate**2 * total, rel=4 * spread + 0.01)


@pytest.mark.parametrize(
    ("flags", "word"),
    [
        ({"normalised_network": False}, "normalised"),
        ({"momentum": 0.9}, "momentum is 0.9"),
        ({"weight_decay": False}, "weight decay"),
        ({"constant_learning_rate": False}, "constant"),
        ({"at_equilibrium": False}, "equilibrium"),
    ],
)
def test_the_limit_does_not_apply(flags, word):
    found = linear_rule_limit(10.0, 2.0, **flags)
    assert found.value is None and found.interval is None
    assert found.reason.startswith("not applicable") and word in found.reason
    assert json.loads(json.dumps(found.to_dict()))["assumptions"] == found.assumptions


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: steps_and_examples(0.0, 4), "noise_scale=0.0"),
        (lambda: steps_and_examples(3.0, [4.0, 0.0]), "batch_size"),
        (lambda: steps_and_examples(3.0, "4"), "batch_size"),
        (lambda: adascale_gain(3.0, 0, 4), "base_batch"),
        (lambda: adascale_gain(3.0, 4, 0.5), "at least 1"),
        (lambda: adascale_gain((3.0, 1.0, 1.0), 4, 2), "give"),
        (lambda: linear_rule_limit(-1.0, 2.0), "at least 0"),
        (lambda: linear_rule_limit(1.0, 1.0), "above 1"),
        (lambda: linear_rule_limit(1.0, 2.0, batch_size=3), "NSR already"),
        (lambda: linear_rule_limit(measured(), 2.0), "give batch_size"),
    ],
)
def test_bad_arguments(call, message):
    with pytest.raises(InputError, match=message):
        call()
