import json
from dataclasses import FrozenInstanceError
from math import inf, isnan

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from noisescale.analysis.gradient_noise import gradient_noise_scale, measurements_needed
from noisescale.analysis.gradient_noise.blocks import autocorrelation
from noisescale.analysis.gradient_noise.ratio import fieller_interval
from noisescale.analysis.resampling import quantile_of
from noisescale.errors import InputError
from tests.reference import gradient_noise as reference

# 1/k spectra of 30 weights.
SPECTRUM = 1 / np.arange(1, 31)
SPECTRUM = SPECTRUM / SPECTRUM.sum()
GRADIENT = np.full(30, 30**-0.5)


def coverage(small, big, small_batch, big_batch, truth, **options):
    """Part of the intervals that hold the truth, and the estimates."""
    found = [
        gradient_noise_scale(s, b, small_batch, big_batch, level=0.9, **options)
        for s, b in zip(small, big, strict=True)
    ]
    inside = [f.interval[0] <= truth <= f.interval[1] for f in found]
    return np.mean(inside), found


def norms(rng, n, noise, **options):
    """Four-example parts, eight of them; |G|² = 1."""
    (small,), (big,) = reference.gaussian_norms(
        rng, 1, n, 8, 4, GRADIENT, noise * SPECTRUM, **options
    )
    return small, big


def test_equals_the_formulas_averaged_first():
    small, big = norms(np.random.default_rng(0), 12, 40.0)
    found = gradient_noise_scale(small, big, 4, 32, blocks=12)
    noise, signal = reference.pair(small, big, 4, 32)
    assert found.trace_cov == pytest.approx(noise, rel=1e-12)
    assert found.grad_sq_norm == pytest.approx(signal, rel=1e-12)
    assert found.value == pytest.approx(noise / signal, rel=1e-12)
    assert found.n == 12 and found.blocks == 12


@pytest.mark.parametrize("labels", [list(range(12)), [0, 0, 0, 1, 1, 2, 2, 2, 3, 4, 4, 5]])
def test_error_is_the_jackknifes(labels):
    small, big = norms(np.random.default_rng(1), 12, 10.0)
    found = gradient_noise_scale(small, big, 4, 32, blocks=labels, level=0.9)
    covariance, stderr = reference.jackknife(small, big, 4, 32, labels)
    assert found.stderr == pytest.approx(stderr, rel=1e-9)
    assert found.trace_cov_stderr == pytest.approx(covariance[0, 0] ** 0.5, rel=1e-9)
    assert found.grad_sq_norm_stderr == pytest.approx(covariance[1, 1] ** 0.5, rel=1e-9)
    without = [np.array(labels) != label for label in set(labels)]
    ratios = [np.divide(*reference.pair(small[kept], big[kept], 4, 32)) for kept in without]
    bias = (len(without) - 1) * (np.mean(ratios) - found.value)
    assert found.diagnostics["bias"] == pytest.approx(bias, rel=1e-6)
    # Fieller's ends: just inside compatible, just outside not.
    quantile = quantile_of(0.9, len(set(labels)) - 1)
    low, high = found.interval
    width = high - low

    def holds(v):
        return reference.fieller_holds(v, found.trace_cov, found.grad_sq_norm, covariance, quantile)

    assert holds(low + 1e-6 * width) and holds(high - 1e-6 * width) and holds(found.value)
    assert not holds(low - 1e-6 * width) and not holds(high + 1e-6 * width)


@given(
    st.lists(st.tuples(st.floats(0, 1e6), st.floats(0, 1e6)), min_size=1, max_size=12),
    st.integers(1, 10**6),
    st.integers(1, 10**6),
)
def test_exchanging_small_and_big_changes_nothing(pairs, first, second):
    if first == second:
        second += 1
    small, big = np.array(pairs).T
    one = gradient_noise_scale(small, big, first, second)
    other = gradient_noise_scale(big, small, second, first)
    assert repr(one) == repr(other)


def test_batch_sizes_may_change_along_a_run():
    """Exact norms of |G|² = 2, tr Σ = 30 at sizes that grow."""
    small, big = np.array([2, 4, 8, 8]), np.array([16, 32, 64, 128])
    found = gradient_noise_scale(2 + 30 / small, 2 + 30 / big, small, big)
    assert found.value == pytest.approx(15, rel=1e-12)
    assert found.stderr == pytest.approx(0, abs=1e-9)


def test_without_replacement_is_exact_over_all_batches():
    """The mean over every batch of 2, 3, 5 and all 7 of 7 examples, by enumeration."""
    gradients = np.random.default_rng(2).standard_normal((7, 3)) + 0.5
    trace, signal = reference.population(gradients)
    squares = {b: reference.mean_square_of_all_batches(gradients, b) for b in (1, 2, 3, 5, 7)}
    for small, big in ((1, 2), (2, 5), (3, 7), (1, 7)):
        found = gradient_noise_scale([squares[small]], [squares[big]], small, big, train_size=7)
        assert found.trace_cov == pytest.approx(trace, rel=1e-12)
        assert found.grad_sq_norm == pytest.approx(signal, rel=1e-12)
    uncorrected = gradient_noise_scale([squares[2]], [squares[5]], 2, 5)
    assert uncorrected.trace_cov == pytest.approx(trace * 7 / 6, rel=1e-12)


def test_ratio_of_means_where_single_signals_are_negative():
    """Bias below 5 % with 4 standard errors to spare; the mean of ratios is nowhere near."""
    rng = np.random.default_rng(3)
    small, big = norms(rng, 4000, 100.0)
    found = gradient_noise_scale(small, big, 4, 32)
    assert found.diagnostics["negative_grad_sq_norms"] > 400
    assert abs(found.value - 100) < 4 * found.stderr < 20
    assert found.verdict == "measured" and found.reason == ""
    averages = [gradient_noise_scale(*norms(rng, 400, 20.0), 4, 32).value for _ in range(200)]
    assert np.mean(averages) == pytest.approx(20, rel=0.02)


# Regimes: measurements, tr Σ, tails. |G|² = 1, parts of 4, batch 32.
REGIMES = {
    "weak noise": (60, 8.0, None),
    "strong noise": (200, 500.0, None),
    "signal lost": (60, 5000.0, None),
    "six measurements": (6, 40.0, None),
    "heavy tails": (120, 60.0, 5),
}


@pytest.mark.parametrize("regime", REGIMES)
def test_coverage(regime):
    """Intervals of 90 % hold the truth in 85 to 95 % of 500 (s.e. 1.3 %)."""
    n, noise, tails = REGIMES[regime]
    rng = np.random.default_rng(sorted(REGIMES).index(regime))
    small, big = reference.gaussian_norms(
        rng, 500, n, 8, 4, GRADIENT, noise * SPECTRUM, tails=tails
    )
    part, found = coverage(small, big, 4, 32, noise)
    assert 0.85 <= part <= 0.95
    unbounded = np.mean([f.interval[1] == inf for f in found])
    assert (unbounded > 0.8) == (regime == "signal lost")
    if regime in ("weak noise", "heavy tails"):
        assert np.mean([f.value for f in found]) == pytest.approx(noise, rel=0.05)


def wandering(rng, replications, n, correlation):
    """(replications, n) AR(1) of unit variance."""
    z = np.empty((replications, n))
    z[:, 0] = rng.standard_normal(replications)
    for i in range(1, n):
        step = rng.standard_normal(replications)
        z[:, i] = correlation * z[:, i - 1] + np.sqrt(1 - correlation**2) * step
    return z


def test_autocorrelation_is_that_of_the_sums():
    """τ = 1 + 2 Σ_k ρ_k and 2 Σ_k k ρ_k/τ up to the first lag of five τ, by a loop over lags."""
    series = wandering(np.random.default_rng(17), 1, 200, 0.7)[0]
    x = series - series.mean()
    lag, time, weighted = 0, 1.0, 0.0
    while lag < 5 * time:
        lag += 1
        correlation = np.mean(x[lag:] * x[:-lag]) / np.mean(x**2)
        time += 2 * correlation
        weighted += 2 * lag * correlation
    assert autocorrelation([series]) == pytest.approx((time, weighted / time), rel=1e-9)
    # (1 + a)/(1 − a), known to √(2 (2 · 5 τ + 1)/n) of itself (Sokal 1997); 4 standard errors.
    series = wandering(np.random.default_rng(15), 1, 40000, 0.7)[0]
    assert autocorrelation([series])[0] == pytest.approx(1.7 / 0.3, rel=4 * 0.054)


def test_coverage_of_norms_that_wander_along_a_run():
    """|G|² fluctuates with a memory of some ten measurements; single ones as blocks fall short."""
    rng = np.random.default_rng(6)
    factor = 1 + 0.3 * wandering(rng, 400, 250, 0.8)
    small, big = reference.gaussian_norms(
        rng, 400, 250, 8, 4, factor[:, :, None, None] * GRADIENT, 20 * SPECTRUM
    )
    truth = 20 / (1 + 0.3**2)
    part, found = coverage(small, big, 4, 32, truth)
    assert 0.85 <= part <= 0.95
    assert np.median([f.diagnostics["autocorrelation_time"] for f in found]) > 1.5
    single, _ = coverage(small, big, 4, 32, truth, blocks=250)
    assert single < 0.8


def test_coverage_without_replacement():
    """Batches of 8 parts of 6 from 64 examples; ignoring it misses the truth."""
    rng = np.random.default_rng(7)
    gradients = rng.standard_normal((64, 10)) + 0.6
    trace, signal = reference.population(gradients)
    order = np.argsort(rng.random((400, 40, 64)), axis=-1)[:, :, :48]
    parts = gradients[order].reshape(400, 40, 8, 6, 10).mean(axis=3)
    small = (parts**2).sum(axis=-1).mean(axis=-1)
    big = (parts.mean(axis=2) ** 2).sum(axis=-1)
    part, _ = coverage(small, big, 6, 48, trace / signal, train_size=64)
    assert 0.85 <= part <= 0.95
    part, _ = coverage(small, big, 6, 48, trace / signal)
    assert part < 0.6


def test_a_lost_signal_is_undecided_and_says_what_would_decide():
    small, big = norms(np.random.default_rng(8), 30, 1000.0)
    found = gradient_noise_scale(small, big, 4, 32)
    low, high = found.interval
    assert found.verdict == "undecided" and low > 0 and high == inf
    assert str(found.measurements_to_decide) in found.reason
    assert found.measurements_to_decide > 30
    # 0.8416 is the normal distribution's 80 % quantile.
    quantile = quantile_of(0.95, found.blocks - 1)
    error, signal = found.grad_sq_norm_stderr, found.grad_sq_norm
    reach = signal if signal > 0 else signal + quantile * error
    needed = 30 * ((quantile + 0.8416) * error / reach) ** 2
    assert found.measurements_to_decide == int(np.ceil(needed))
    document = json.loads(json.dumps(found.to_dict(), allow_nan=False))
    assert document["interval"] == [low, None] and document["value"] == found.value


@pytest.mark.parametrize("mean", [0.395, 0.36])
def test_what_would_decide_is_the_power_of_the_test(mean):
    """|G|² as estimated, or at the end of its interval, is told by n' with probability 0.8."""
    away = 0.15 * np.array([1, 0.5, -0.7, -1, 0.2, 1.2, -0.5, 0.1, -1.2, 0.7, -0.2, -0.1])
    found = gradient_noise_scale(np.full(12, 3.0), mean + away, 4, 32)
    assert (found.grad_sq_norm > 0) == (mean > 0.375)
    quantile, n = quantile_of(0.95, found.blocks - 1), found.measurements_to_decide
    reach = found.grad_sq_norm
    if reach <= 0:
        reach += quantile * found.grad_sq_norm_stderr

    def power(number):
        error = found.grad_sq_norm_stderr * np.sqrt(12 / number)
        return stats.norm.sf(quantile - reach / error)

    assert n > 13 and power(n) >= 0.8 - 1e-5 and power(n - 1) < 0.8


def test_what_would_decide_decides():
    """With the number named, |G|² > 0 is told in 80 % of cases (4 s.e. of 300: 9 %)."""
    rng = np.random.default_rng(9)
    # One estimate whose |G|² and error are the true ones, from very many measurements.
    small, big = norms(rng, 20000, 300.0)
    truth = gradient_noise_scale(small, big, 4, 32)
    n, quantile = 20000, quantile_of(0.95, 19)
    needed = int(n * ((quantile + 0.8416) * truth.grad_sq_norm_stderr / truth.grad_sq_norm) ** 2)
    small, big = reference.gaussian_norms(rng, 300, needed, 8, 4, GRADIENT, 300 * SPECTRUM)
    told = [
        gradient_noise_scale(s, b, 4, 32).verdict == "measured"
        for s, b in zip(small, big, strict=True)
    ]
    assert 0.7 < np.mean(told) < 0.9


def test_negative_estimates_are_kept_and_named():
    small, big = [3.0, 2.9, 3.2, 3.1, 2.8, 3.0], [0.1, 0.3, 0.2, 0.2, 0.1, 0.3]
    found = gradient_noise_scale(small, big, 4, 32)
    assert found.grad_sq_norm == pytest.approx((32 * 0.2 - 4 * 3.0) / 28)
    assert found.value < 0 and found.verdict == "undecided"
    assert "below 0" in found.reason and "same weights" in found.reason
    noisy = gradient_noise_scale(
        [1.0, 3.0, 2.0, 9.0, 1.0, 2.0], [0.1, 0.6, 0.2, 0.7, 0.2, 0.1], 4, 32
    )
    assert noisy.grad_sq_norm < 0 and noisy.value < 0 and noisy.interval[1] == inf
    assert noisy.verdict == "undecided" and "is not above 0" in noisy.reason
    assert "at least" in noisy.reason


def test_noise_that_is_not_seen():
    rng = np.random.default_rng(10)
    big = 1 + 0.01 * rng.standard_normal(20)
    found = gradient_noise_scale(big + 1e-4 * rng.standard_normal(20), big, 4, 32)
    assert found.verdict == "undecided" and "tr Σ" in found.reason
    assert found.interval[0] < 0 < found.interval[1] < 0.01


def test_one_measurement():
    found = gradient_noise_scale([5.0], [1.5], 4, 32)
    assert found.value == pytest.approx(16 / (1.5 - 0.5))
    assert found.stderr is None and found.interval is None and found.verdict == "undecided"
    assert found.plan(0.1) is None
    zero = gradient_noise_scale([0.0], [0.0], 4, 32)
    assert isnan(zero.value) and zero.to_dict()["value"] is None


def test_few_blocks_give_no_verdict():
    found = gradient_noise_scale([5.0, 5.1, 5.2, 5.0], [1.5, 1.51, 1.5, 1.49], 4, 32)
    assert found.interval[1] < inf and found.verdict == "undecided" and "4 indep" in found.reason


@pytest.mark.parametrize(("noise", "n", "checks"), [(20.0, 60, 800), (50.0, 500, 150)])
def test_the_planned_number_gives_the_wanted_error(noise, n, checks):
    """The error of the number planned (median of 100 pilots); 9 of 10 pilots within a factor 2."""
    rng = np.random.default_rng(11)
    small, big = reference.gaussian_norms(rng, 100, n, 8, 4, GRADIENT, noise * SPECTRUM)
    planned = [
        gradient_noise_scale(s, b, 4, 32).plan(0.05) for s, b in zip(small, big, strict=True)
    ]
    number = int(np.median(planned))
    values = []
    for _ in range(checks):
        values.append(gradient_noise_scale(*norms(rng, number, noise), 4, 32).value)
    truth = number * (np.std(values, ddof=1) / noise / 0.05) ** 2
    assert 0.7 < number / truth < 1.4  # s.e. of a variance of 150: 12 %, of 800: 5 %
    assert np.mean((np.array(planned) > truth / 2) & (np.array(planned) < truth * 2)) > 0.9


def test_the_plan_needs_a_signal():
    found = gradient_noise_scale([3.0, 2.9, 3.2], [0.1, 0.3, 0.2], 4, 32)
    assert measurements_needed(found, 0.1) is None
    with pytest.raises(InputError, match="relative_error=0"):
        measurements_needed(found, 0)


def test_fieller_where_terms_have_extreme_units():
    covariance = np.array([[0.04, 0.001], [0.001, 0.01]])
    low, high = fieller_interval(5.0, 2.0, covariance, 2.0)
    for top, bottom in ((1e-150, 1e-90), (1e120, 1e-120)):
        scaled = covariance * np.array([[top**2, top * bottom], [top * bottom, bottom**2]])
        found = fieller_interval(5.0 * top, 2.0 * bottom, scaled, 2.0)
        np.testing.assert_allclose(np.array(found) * bottom / top, [low, high], rtol=1e-9)


@pytest.mark.parametrize("unit", [1e-90, 1e90])
def test_units_of_the_loss_do_not_matter(unit):
    small, big = norms(np.random.default_rng(12), 30, 20.0)
    one = gradient_noise_scale(small, big, 4, 32)
    other = gradient_noise_scale(unit * small, unit * big, 4, 32)
    for name in ("value", "stderr", "interval", "error_of_one", "blocks"):
        assert getattr(other, name) == pytest.approx(getattr(one, name), rel=1e-9)
    assert other.verdict == one.verdict


@pytest.mark.parametrize("correlation", [0.0, 0.9])
def test_error_of_one_is_the_same_from_blocks_of_one(correlation):
    rng = np.random.default_rng(13)
    factor = 1 + 0.3 * wandering(rng, 1, 400, correlation)
    (small,), (big,) = reference.gaussian_norms(
        rng, 1, 400, 8, 4, factor[:, :, None, None] * GRADIENT, 20 * SPECTRUM
    )
    ours = gradient_noise_scale(small, big, 4, 32)
    single = gradient_noise_scale(small, big, 4, 32, blocks=400)
    time = ours.diagnostics["autocorrelation_time"]
    assert (time > 1.5) == (correlation > 0)
    assert single.error_of_one == pytest.approx(ours.error_of_one / time**0.5, rel=2e-3)
    assert single.stderr == pytest.approx(single.value * single.error_of_one / 20, rel=0.01)


def test_fieller_where_nothing_is_told():
    assert fieller_interval(0.1, 0.1, np.eye(2), 2.0) == (-inf, inf)
    assert fieller_interval(0.0, 1.0, np.zeros((2, 2)), 2.0) == (0.0, 0.0)
    low, high = fieller_interval(-5.0, 0.1, np.eye(2), 2.0)
    assert low == -inf and high < 0


BAD = [
    (([1.0], [1.0, 2.0], 4, 32), "noise_scale_from_separate"),
    (([1.0], [1.0], 32, 32), "both 32"),
    (([1.0], [-1.0], 4, 32), "at least 0"),
    (([1.0], [float("nan")], 4, 32), "not finite"),
    (([1.0], [1.0], 0, 32), "above 0"),
    (([1.0, 2.0], [1.0, 2.0], [4, 4, 4], 32), "each of the 2"),
    (([], [], 4, 32), "at least 1"),
    ((1.0, 2.0, 4, 32), "list"),
]


@pytest.mark.parametrize(("arguments", "message"), BAD)
def test_bad_input(arguments, message):
    with pytest.raises(InputError, match=message):
        gradient_noise_scale(*arguments)


def test_bad_options():
    good = ([5.0, 6.0], [1.5, 1.4], 4, 32)
    for options, message in (
        ({"level": 1.0}, "level"),
        ({"train_size": 31}, "more than train_size"),
        ({"train_size": 1}, "no gradient noise"),
        ({"blocks": 3}, "only 2"),
        ({"blocks": [1, 2, 3]}, "label"),
    ):
        with pytest.raises(InputError, match=message):
            gradient_noise_scale(*good, **options)
    with pytest.raises(FrozenInstanceError):
        gradient_noise_scale(*good).value = 1.0
