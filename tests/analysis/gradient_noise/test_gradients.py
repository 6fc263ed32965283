import json
from math import inf, isnan

import numpy as np
import pytest

from noisescale.analysis.gradient_noise import (
    gradient_noise_scale,
    noise_scale_from_examples,
    noise_scale_from_part_norms,
    noise_scale_from_parts,
    noise_scale_from_separate,
    noise_scale_over_time,
    recorded_moments,
)
from noisescale.errors import InputError
from tests.reference import gradient_noise as reference


def examples(rng, n, *, signal=1.0, tails=None, weights=12):
    """Per-example gradients with tr Σ = 6, |G|² = signal, correlated over weights."""
    root = np.tril(np.ones((weights, weights)))
    root *= np.sqrt(6 / np.sum(root**2))
    z = rng.standard_normal((n, weights)) @ root.T
    if tails is not None:
        z *= np.sqrt((tails - 2) / rng.chisquare(tails, (n, 1)))
    return z + np.sqrt(signal / weights)


def test_all_examples_are_the_population():
    gradients = examples(np.random.default_rng(0), 50)
    trace, signal = reference.population(gradients)
    found = noise_scale_from_examples(gradients, train_size=50)
    assert found.trace_cov == pytest.approx(trace, rel=1e-12)
    assert found.grad_sq_norm == pytest.approx(signal, rel=1e-12)
    assert found.stderr == 0 and found.n == 50


def test_examples_are_unbiased():
    """n − 1 in tr Σ, and |ḡ|² less its noise: exact with mean over all samples of 4 of 6."""
    gradients = examples(np.random.default_rng(1), 6)
    trace, signal = reference.population(gradients)
    from itertools import combinations

    found = [
        noise_scale_from_examples(gradients[list(chosen)], train_size=6)
        for chosen in combinations(range(6), 4)
    ]
    assert np.mean([f.trace_cov for f in found]) == pytest.approx(trace, rel=1e-12)
    assert np.mean([f.grad_sq_norm for f in found]) == pytest.approx(signal, rel=1e-12)


def test_one_steps_error_is_the_jackknife_by_hand():
    gradients = examples(np.random.default_rng(2), 15)
    found = noise_scale_from_examples(gradients)

    def pair(g):
        trace = np.var(g, axis=0, ddof=1).sum()
        return trace, (g.mean(axis=0) ** 2).sum() - trace / len(g)

    left = np.array([pair(np.delete(gradients, k, axis=0)) for k in range(15)])
    assert (found.trace_cov, found.grad_sq_norm) == pytest.approx(pair(gradients), rel=1e-12)
    errors = np.sqrt(14 / 15 * np.sum((left - left.mean(axis=0)) ** 2, axis=0))
    assert found.trace_cov_stderr == pytest.approx(errors[0], rel=1e-9)
    assert found.grad_sq_norm_stderr == pytest.approx(errors[1], rel=1e-9)


@pytest.mark.parametrize(
    ("signal", "n", "tails"), [(1.0, 40, None), (1.0, 60, 5), (0.05, 40, None), (0.001, 40, None)]
)
def test_coverage_of_one_steps_examples(signal, n, tails):
    """90 % intervals hold B_simple in 85 to 95 % of 600 (s.e. 1.2 %); more where |G|² is lost.

    There |ḡ|² is a sum of few squares; its least variance keeps the interval on the safe side.
    """
    rng = np.random.default_rng(3)
    found = [
        noise_scale_from_examples(examples(rng, n, signal=signal, tails=tails), level=0.9)
        for _ in range(600)
    ]
    inside = np.mean([f.interval[0] <= 6 / signal <= f.interval[1] for f in found])
    assert 0.85 <= inside <= (0.95 if signal == 1.0 else 1.0)


def test_a_lost_signal_is_known_no_better_than_its_noise():
    """Where ḡ = 0, the variance of |ḡ|² less its noise is that of normal gradients: 2 tr Σ²/n²."""
    gradients = examples(np.random.default_rng(10), 2000, signal=0.0)
    root = np.tril(np.ones((12, 12)))
    covariance = 6 * root @ root.T / np.sum(root**2)
    found = noise_scale_from_examples(gradients - gradients.mean(axis=0))
    expected = np.sqrt(2 * np.sum(covariance**2)) / 2000
    # 16,000 products of neighbours: their mean square is known to some 4 %.
    assert found.grad_sq_norm_stderr == pytest.approx(expected, rel=0.1)


def test_parts_of_several_steps_agree_with_their_norms():
    gradients = examples(np.random.default_rng(4), 40 * 8).reshape(40, 8, 12) / 2  # parts of 4
    found = noise_scale_from_parts(gradients, 4)
    squares = (gradients**2).sum(axis=-1)
    big = (gradients.mean(axis=1) ** 2).sum(axis=-1)
    by_norms = noise_scale_from_part_norms(squares, big, 4)
    paired = gradient_noise_scale(squares.mean(axis=1), big, 4, 32)
    for name in ("value", "stderr", "interval", "grad_sq_norm_stderr", "error_of_one"):
        assert getattr(found, name) == pytest.approx(getattr(by_norms, name), rel=1e-9)
    assert by_norms == paired
    # The same from the scatter about each step's mean.
    trace = 4 * np.mean(np.var(gradients, axis=1, ddof=1).sum(axis=-1))
    assert found.trace_cov == pytest.approx(trace, rel=1e-12)


def test_parts_of_one_step_and_their_examples_tell_the_same():
    gradients = examples(np.random.default_rng(5), 6000)
    parts = gradients.reshape(500, 12, 12).mean(axis=1)
    by_parts = noise_scale_from_parts(parts, 12)
    by_examples = noise_scale_from_examples(gradients)
    assert by_parts.n == 500 and by_examples.n == 6000
    difference = by_parts.value - by_examples.value
    assert abs(difference) < 4 * by_parts.stderr < 2
    assert by_examples.stderr < by_parts.stderr
    # Without replacement from 6000: |G|² is then known exactly, tr Σ of parts is not.
    exact = noise_scale_from_parts(parts, 12, train_size=6000)
    assert exact.grad_sq_norm == pytest.approx((gradients.mean(axis=0) ** 2).sum(), rel=1e-9)


def test_one_part_is_undecided_and_no_crash():
    for found in (
        noise_scale_from_parts(np.ones((5, 1, 3)), 8),
        noise_scale_from_parts(np.ones((1, 3)), 8),
        noise_scale_from_part_norms(np.ones((5, 1)), np.ones(5), 8),
    ):
        assert found.verdict == "undecided" and "one part" in found.reason
        assert isnan(found.value) and found.interval is None and found.plan(0.1) is None
        assert json.loads(json.dumps(found.to_dict(), allow_nan=False))["value"] is None


def test_two_parts_of_one_step_have_no_error():
    found = noise_scale_from_parts(np.array([[1.0, 2.0], [2.0, 2.0]]), 4)
    # b Σ|g − ḡ|² = 4 · ½, |ḡ|² = 6.25, less 2/8.
    assert found.trace_cov == pytest.approx(2.0) and found.grad_sq_norm == pytest.approx(6.0)
    assert found.stderr is None and found.verdict == "undecided"


def test_separate_samples():
    """Coverage of 90 % intervals over 500 (s.e. 1.3 %), and the error by the formula."""
    rng = np.random.default_rng(6)
    spectrum, gradient = np.full(20, 40 / 20), np.full(20, 20**-0.5)

    def squares(n, batch):
        z = rng.standard_normal((500, n, 20)) * np.sqrt(spectrum / batch)
        return ((z + gradient) ** 2).sum(axis=-1)

    small, big = squares(60, 4), squares(25, 64)
    found = [
        noise_scale_from_separate(s, b, 4, 64, level=0.9) for s, b in zip(small, big, strict=True)
    ]
    inside = np.mean([f.interval[0] <= 40 <= f.interval[1] for f in found])
    assert 0.85 <= inside <= 0.95
    spread = np.std([f.value for f in found])
    assert np.median([f.stderr for f in found]) == pytest.approx(spread, rel=0.2)
    assert found[0].n == 25 and found[0].diagnostics["small_n"] == 60
    noise, signal = reference.pair([small[0].mean()], [big[0].mean()], 4, 64)
    assert found[0].value == pytest.approx(noise / signal, rel=1e-12)
    other = noise_scale_from_separate(big[0], small[0], 64, 4, level=0.9)
    assert other.interval == pytest.approx(found[0].interval, rel=1e-12)
    assert noise_scale_from_separate([9.0], [1.0, 1.1], 4, 64).stderr is None


def test_bad_gradients():
    for call, message in (
        (lambda: noise_scale_from_parts(np.ones(4), 2), "steps, parts, weights"),
        (lambda: noise_scale_from_parts(np.ones((4, 3)), 2, train_size=7), "more than train_size"),
        (lambda: noise_scale_from_parts(np.ones((4, 3)), 2, blocks=2), "one step"),
        (lambda: noise_scale_from_parts(np.full((4, 3), np.nan), 2), "not finite"),
        (lambda: noise_scale_from_part_norms(np.ones((4, 3)), np.ones(3), 2), "steps, parts"),
        (lambda: noise_scale_from_part_norms(-np.ones((4, 3)), np.ones(4), 2), "at least 0"),
    ):
        with pytest.raises(InputError, match=message):
            call()


def rows_of(rng, runs, updates, truth):
    """Rows as runs record them; B_simple of each update as given."""
    found = []
    for _ in range(runs):
        rows = [{"update": 0, "gradient_moments": None}]
        for update, noise in zip(updates, truth, strict=True):
            gradients = rng.standard_normal((8, 10)) * np.sqrt(noise / 10 / 16) + 10**-0.5
            small = (gradients**2).sum(axis=-1).mean()
            big = (gradients.mean(axis=0) ** 2).sum()
            rows.append(
                {
                    "update": int(update),
                    "gradient_moments": {
                        "small_batch": 16,
                        "big_batch": 128,
                        "small_sq_norm": float(small),
                        "big_sq_norm": float(big),
                    },
                }
            )
        found.append(rows)
    return found


@pytest.mark.parametrize(("runs", "units"), [(10, "runs"), (3, "blocks")])
def test_over_time_follows_a_noise_scale_that_grows(runs, units):
    """B_simple jumps from 50 to 400 at update 100: each side's windows hold their own."""
    updates = np.unique(np.geomspace(1, 10**4, 80).astype(int))
    truth = np.where(updates < 100, 50.0, 400.0)
    moments = [recorded_moments(r) for r in rows_of(np.random.default_rng(7), runs, updates, truth)]
    found = noise_scale_over_time(
        [m.updates for m in moments],
        [m.small_sq_norms for m in moments],
        [m.big_sq_norms for m in moments],
        [m.small_batch for m in moments],
        128,
        edges=[0, 10, 100, 1000, 10001],
    )
    assert found.units == units and found.runs == runs
    assert [w.blocks == runs for w in found.windows] == [units == "runs"] * 4
    for window, expected in zip(found.windows, (50, 50, 400, 400), strict=True):
        assert abs(window.value - expected) < 4 * window.stderr < 2 * expected
        assert window.interval[0] < window.value < window.interval[1]
    assert found.windows[1].window[0] >= 10 and found.windows[1].window[1] < 100
    assert sum(w.n for w in found.windows) == runs * len(updates)
    json.dumps(found.to_dict(), allow_nan=False)


def test_over_time_default_windows_hold_everything():
    rng = np.random.default_rng(8)
    (rows,) = rows_of(rng, 1, range(40), [20.0] * 40)
    m = recorded_moments(rows)
    found = noise_scale_over_time(m.updates, m.small_sq_norms, m.big_sq_norms, 16, 128, windows=3)
    assert sum(w.n for w in found.windows) == 40 and found.runs == 1
    np.testing.assert_allclose(found.edges, np.geomspace(1, 41, 4) - 1, atol=1e-8)


def test_whole_runs_cover_where_runs_differ():
    """|G|² differs by run: with runs as units 90 % intervals hold the truth, with blocks not."""
    rng = np.random.default_rng(9)
    spectrum = np.full(10, 3.0)
    inside = {"runs": 0, "blocks": 0}
    signal = np.exp(0.5 * rng.standard_normal((300, 10)) - 0.125)
    for row in signal:
        gradient = np.sqrt(row / 10)[:, None, None, None]
        small, big = reference.gaussian_norms(rng, 10, 12, 4, 8, gradient, spectrum)
        when = np.tile(np.arange(12), (10, 1))
        whole = noise_scale_over_time(when, small, big, 8, 32, windows=1, level=0.9).windows[0]
        blocks = gradient_noise_scale(small.T.ravel(), big.T.ravel(), 8, 32, level=0.9)
        for name, found in (("runs", whole), ("blocks", blocks)):
            inside[name] += found.interval[0] <= 30 <= found.interval[1]
    assert 0.83 <= inside["runs"] / 300 <= 0.96  # 4 s.e. of 1.7 % below 0.9
    assert inside["blocks"] / 300 < 0.75


def test_bad_runs():
    for arguments, message in (
        (([[1, 2]], [[1.0, 2.0, 3.0]], [[1.0, 2.0]], 4, 8), r"\[3\] entries per run"),
        (([[-1, 2]], [[1.0, 2.0]], [[1.0, 2.0]], 4, 8), "from 0"),
        (([], [], [], 4, 8), "empty"),
        (([[1, 2]], [[1.0, 2.0]], [[1.0, 2.0]], 4, -8), "big_batch"),
    ):
        with pytest.raises(InputError, match=message):
            noise_scale_over_time(*arguments)
    good = ([1, 2], [2.0, 3.0], [1.0, 1.0], 4, 8)
    for edges, message in (([5, 9], "no measurement"), ([3, 2], "increasing")):
        with pytest.raises(InputError, match=message):
            noise_scale_over_time(*good, edges=edges)


def test_rows_without_moments():
    with pytest.raises(InputError, match="gradient_parts"):
        recorded_moments([{"update": 1, "gradient_moments": None}])
    with pytest.raises(InputError, match="'big_sq_norm'"):
        recorded_moments(
            [{"update": 1, "gradient_moments": {"small_sq_norm": 1.0, "small_batch": 2}}]
        )


def test_an_unbounded_window_is_null_in_json():
    found = noise_scale_over_time([1, 2, 3], [5.0, 4.0, 6.0], [0.7, 0.4, 0.9], 4, 32, windows=1)
    assert found.windows[0].interval[1] == inf
    assert found.to_dict()["windows"][0]["interval"][1] is None
