import json
from math import inf

import numpy as np
import pytest
from scipy import optimize, stats

from noisescale.analysis.gradient_noise import critical_batch_size
from noisescale.errors import InputError
from tests.reference import gradient_noise as reference

SIZES = 2.0 ** np.arange(3, 14, 2)


@pytest.mark.parametrize("critical", [20.0, 300.0, 5000.0])
def test_recovers_noiseless_data(critical):
    steps = reference.steps_to_target(SIZES, 500.0, critical)
    found = critical_batch_size(SIZES, steps)
    assert found.value == pytest.approx(critical, rel=1e-9)
    assert found.min_steps == pytest.approx(500, rel=1e-9)
    assert found.min_examples == pytest.approx(500 * critical, rel=1e-9)
    assert found.verdict == "measured" and found.reason == ""
    for interval, truth in (
        (found.interval, critical),
        (found.min_steps_interval, 500),
        (found.min_examples_interval, 500 * critical),
    ):
        assert interval == pytest.approx((truth, truth), rel=1e-9)
    S, E = np.array(steps), SIZES * steps
    product = (S / found.min_steps - 1) * (E / found.min_examples - 1)
    np.testing.assert_allclose(product, 1, rtol=1e-7)


@pytest.mark.parametrize(("spread", "seeds", "sizes"), [(0.05, 1, SIZES), (0.15, 4, SIZES[::2])])
def test_coverage(spread, seeds, sizes):
    """90 % intervals of all three hold the truth in 85 to 95 % of 400 (s.e. 1.5 %)."""
    rng = np.random.default_rng(0)
    truth = np.array([300.0, 500.0, 150000.0])
    inside, values = np.zeros(3), []
    for _ in range(400):
        noise = np.exp(spread * rng.standard_normal((seeds, len(sizes))))
        found = critical_batch_size(
            sizes, reference.steps_to_target(sizes, 500.0, 300.0) * noise, level=0.9
        )
        ends = found.interval, found.min_steps_interval, found.min_examples_interval
        inside += [low <= t <= high for (low, high), t in zip(ends, truth, strict=True)]
        values.append((np.log(found.value), found.stderr / found.value))
    assert np.all((inside / 400 > 0.85) & (inside / 400 < 0.95))
    logs, errors = np.array(values).T
    assert abs(logs.mean() - np.log(300)) < 4 * logs.std() / 400**0.5 + 0.02
    assert np.median(errors) == pytest.approx(logs.std(), rel=0.2)


def test_seeds_may_stand_in_one_list():
    rng = np.random.default_rng(1)
    steps = reference.steps_to_target(SIZES, 500.0, 300.0) * np.exp(
        0.1 * rng.standard_normal((3, 6))
    )
    table = critical_batch_size(SIZES, steps)
    flat = critical_batch_size(np.tile(SIZES, 3), steps.ravel())
    assert flat.value == pytest.approx(table.value, rel=1e-9) and flat.n == table.n == 18
    assert flat.interval == pytest.approx(table.interval, rel=1e-6)


def test_interval_is_the_likelihoods():
    """At its ends the sum of squares has risen by t² s²."""
    rng = np.random.default_rng(2)
    steps = reference.steps_to_target(SIZES, 500.0, 300.0) * np.exp(0.1 * rng.standard_normal(6))
    found = critical_batch_size(SIZES, steps, level=0.95)

    def rest(critical):
        logs = np.log(steps) - np.log(1 + critical / SIZES)
        return np.sum((logs - logs.mean()) ** 2)

    # Student's 97.5 % quantile of 4 degrees is 2.7764.
    allowed = rest(found.value) * (1 + 2.7764451**2 / 4)
    assert rest(found.interval[0]) == pytest.approx(allowed, rel=1e-6)
    assert rest(found.interval[1]) == pytest.approx(allowed, rel=1e-6)


def test_errors_are_those_of_least_squares():
    """σ² (J Jᵀ)⁻¹ in (ln S_min, ln B_crit), and ends of S_min, E_min with B_crit free."""
    rng = np.random.default_rng(2)
    logs = np.log(reference.steps_to_target(SIZES, 500.0, 300.0)) + 0.1 * rng.standard_normal(6)
    found = critical_batch_size(SIZES, np.exp(logs), level=0.95)

    def rest(log_min, critical):
        return np.sum((logs - log_min - np.log(1 + critical / SIZES)) ** 2)

    least = rest(np.log(found.min_steps), found.value)
    J = np.stack([np.ones(6), 1 / (1 + SIZES / found.value)])
    variance = (least / 4 * np.linalg.inv(J @ J.T))[1, 1]
    assert found.stderr == pytest.approx(found.value * np.sqrt(variance), rel=1e-6)
    # Student's 97.5 % quantile of 4 degrees is 2.7764.
    allowed = least * (1 + 2.7764451**2 / 4)
    for share, ends in ((0, found.min_steps_interval), (1, found.min_examples_interval)):
        for end in np.log(ends):
            # ln S_min = ln E_min − ln B_crit.
            best = optimize.minimize_scalar(
                lambda c, end=end, share=share: rest(end - share * c, np.exp(c)),
                bounds=(0, 12),
                method="bounded",
            )
            assert best.fun == pytest.approx(allowed, rel=1e-3)


def test_misfit_is_the_f_test_against_free_means():
    rng = np.random.default_rng(4)
    law = np.log(reference.steps_to_target(SIZES, 500.0, 300.0))
    logs = law + 0.1 * rng.standard_normal((3, 6)) + 0.08 * np.sin(SIZES)
    found = critical_batch_size(SIZES, np.exp(logs))
    fitted = np.log(reference.steps_to_target(SIZES, found.min_steps, found.value))
    rest, pure = np.sum((logs - fitted) ** 2), np.sum((logs - logs.mean(axis=0)) ** 2)
    p = stats.f.sf((rest - pure) / 4 / (pure / 12), 4, 12)
    assert 0.001 < p < 0.5
    assert found.diagnostics["misfit_p"] == pytest.approx(p, rel=1e-9)


@pytest.mark.parametrize(("critical", "where", "end"), [(1e5, "above", inf), (0.5, "below", 0.0)])
def test_a_sweep_on_one_side_is_undecided(critical, where, end):
    rng = np.random.default_rng(3)
    steps = reference.steps_to_target(SIZES[:4], 500.0, critical)
    exact = critical_batch_size(SIZES[:4], steps)
    assert exact.value == pytest.approx(critical, rel=1e-5)
    noisy = critical_batch_size(SIZES[:4], steps * np.exp(0.1 * rng.standard_normal(4)))
    for found in (exact, noisy):
        assert found.verdict == "undecided" and f"add batch sizes {where}" in found.reason
    assert end in noisy.interval
    json.dumps(noisy.to_dict(), allow_nan=False)


def test_noise_too_large_to_find_the_bend():
    found = critical_batch_size([8, 100, 1000], [1000.0, 700.0, 150.0])
    assert found.interval == (0, inf) and found.min_examples_interval[1] > 1e6
    assert found.verdict == "undecided" and "do not locate the bend" in found.reason
    assert 8 < found.value < 1000


def test_steps_that_grow_with_the_batch_are_no_law():
    found = critical_batch_size(SIZES, SIZES)
    assert found.value == 0 and found.verdict == "undecided" and found.stderr is None


def test_a_law_that_does_not_fit():
    """Steps rise again at large batches, far above the seeds' spread."""
    steps = reference.steps_to_target(SIZES, 500.0, 300.0) * np.array([1, 1, 1, 1, 1.5, 3.0])
    seeds = np.array([[1.01], [0.99], [1.0], [1.005]])
    found = critical_batch_size(SIZES, steps * seeds)
    assert found.verdict == "undecided"
    assert found.diagnostics["misfit_p"] < 1e-6
    good = critical_batch_size(SIZES, reference.steps_to_target(SIZES, 500.0, 300.0) * seeds)
    assert good.verdict == "measured" and good.diagnostics["misfit_p"] > 0.9


def test_few_batch_sizes():
    two = critical_batch_size([8, 800], reference.steps_to_target([8, 800], 500.0, 90.0))
    assert two.value == pytest.approx(90, rel=1e-9)
    assert two.verdict == "undecided" and "2 batch sizes" in two.reason and two.interval is None
    one = critical_batch_size([8], [100.0])
    assert one.verdict == "undecided" and one.to_dict()["value"] is None
    repeated = critical_batch_size([8, 8, 800, 800], [6000.0, 6200.0, 540.0, 560.0])
    assert repeated.verdict == "undecided" and repeated.interval is not None


@pytest.mark.parametrize(
    ("sizes", "steps", "message"),
    [
        ([8, 16], [1.0], "2 batch sizes and 1"),
        ([8, -16], [1.0, 2.0], "above 0"),
        ([8, 16], [1.0, 0.0], "above 0"),
        ([[8, 16]], [1.0, 2.0], "shape"),
        ([8, 16], [1.0, float("nan")], "not finite"),
    ],
)
def test_bad_sweeps(sizes, steps, message):
    with pytest.raises(InputError, match=message):
        critical_batch_size(sizes, steps)
