"""Shares, exponents, clocks and errors against exact laws and loops."""

from itertools import combinations

import numpy as np
import pytest

from noisescale.analysis.walk import Trajectory, judge_walk
from noisescale.analysis.walk.arms import arms_of
from noisescale.analysis.walk.estimates import number, weights_without_one
from noisescale.analysis.walk.two_time import octaves, spreading
from tests.analysis.walk.confusion import judge
from tests.reference import worlds

N = worlds.TRAIN_SIZE
UPDATE = worlds.recorded(3000)


def law(distance, *, batches=(16, 64, 256), seeds=3, rate=0.1, momentum=0.0, update=UPDATE):
    """Runs along one line that follow D = distance(k, θ, t) to the last digit; replicas agree."""
    found = []
    for batch in (*batches, N):
        effective = rate / (1 - momentum)
        theta = effective * (1 / batch - 1 / N)
        for seed in range(seeds):
            for replica in range(2):
                d = np.concatenate([[0.0], distance(theta, effective * update[1:])])
                found.append(
                    dict(
                        update=update, distance=d, batch_size=batch, learning_rate=rate,
                        momentum=momentum, train_size=N, seed=seed, replica=replica,
                        positions=d[:, None] * [0.6, 0.8],
                    )
                )  # fmt: skip
    return found


@pytest.mark.parametrize("momentum", [0.0, 0.5])
@pytest.mark.parametrize(
    ("distance", "beta", "gamma", "clock"),
    [
        (lambda theta, t: t**0.4, 0.0, 0.4, "t"),
        (lambda theta, t: np.sqrt((theta + 1e-9) * t), 0.5, 0.5, "theta t"),
        (lambda theta, t: ((theta + 1e-9) * t) ** 0.25, 0.25, 0.25, "theta t"),
        (
            lambda theta, t: ((theta + 1e-9) * np.log(t / 1e-4)) ** 1.5,
            1.5,
            None,
            "theta ln(t/tau)",
        ),
    ],
)
def test_exponents_and_clocks_of_exact_laws(distance, beta, gamma, clock, momentum):
    # ln t grows so little that only near batch sizes ever read the same on that clock.
    batches = (16, 20, 25) if "tau" in clock else (16, 64, 256)
    verdict = judge(law(distance, momentum=momentum, batches=batches))
    np.testing.assert_allclose(verdict.batch_exponent.value, beta, atol=1e-5)
    if gamma is not None:
        for curve in verdict.time_exponent:
            known = np.isfinite(curve.value)
            np.testing.assert_allclose(curve.value[known], gamma, atol=1e-4)
    scores = {score.clock: score for score in verdict.collapse}
    assert [name for name, score in scores.items() if score.holds] == [clock]
    # τ is searched on a grid; the other clocks are exact up to interpolation of ln D in ln t.
    assert scores[clock].spread.value < 0.02
    if clock == "t":
        # At equal readings of θ t neighbours are ln(θ/θ') apart in ln t, and 0.4 of it in ln D.
        temperatures = [arm.temperature for arm in verdict.arms if not arm.full_batch]
        expected = 0.4 * np.sqrt(np.mean(np.diff(np.log(temperatures)) ** 2))
        assert scores["theta t"].spread.value == pytest.approx(expected, rel=1e-6)


def test_clocks_take_learning_rate_and_momentum():
    """D = √(θ t) from arms of three rates and momenta is one curve on θ t and on no other clock."""
    runs = []
    for rate, momentum, batch in ((0.2, 0.0, 16), (0.1, 0.5, 64), (0.02, 0.9, 256)):
        runs += law(
            lambda theta, t: np.sqrt((theta + 1e-9) * t),
            batches=(batch,), rate=rate, momentum=momentum,
        )[: 3 * 2]  # fmt: skip
    verdict = judge(runs)
    scores = {score.clock: score for score in verdict.collapse}
    assert scores["theta t"].spread.value < 1e-6 and scores["theta t"].holds
    assert scores["t"].excluded and not scores["theta ln(t/tau)"].holds
    expected = sorted((0.2 * (1 / 16 - 1 / N), 0.2 * (1 / 64 - 1 / N), 0.2 * (1 / 256 - 1 / N)))
    assert sorted(arm.temperature for arm in verdict.arms) == pytest.approx(expected)


def test_shares_are_those_of_the_loops():
    rng = np.random.default_rng(0)
    update, d = np.arange(8), 30
    paths = rng.standard_normal((3, 3, 8, d)) + 2 * rng.standard_normal((3, 1, 8, d))
    paths[:, :, 0] = 0
    full = rng.standard_normal((3, 8, d))
    full[:, 0] = 0
    runs = [
        Trajectory(update, np.linalg.norm(w, axis=1), b, 0.1, 0.5, N, s, r, positions=w)
        for s in range(3)
        for b, r, w in [(64, r, paths[s, r]) for r in range(3)] + [(N, 0, full[s])]
    ]
    (arm, rest), seeds = arms_of(runs)
    assert seeds == [0, 1, 2] and rest.full_batch and arm.replicas == 3 and arm.numbers == 0
    assert arm.temperature == pytest.approx(0.2 * (1 / 64 - 1 / N))
    np.testing.assert_allclose(arm.time, 0.2 * update[1:])
    for s in range(3):
        w = paths[s, :, 1:]
        pairs = list(combinations(range(3), 2))
        overlap = np.mean([np.sum(w[a] * w[b], axis=1) for a, b in pairs], axis=0)
        noise = np.mean([np.sum((w[a] - w[b]) ** 2, axis=1) / 2 for a, b in pairs], axis=0)
        np.testing.assert_allclose(arm.square[s], np.mean(np.sum(w**2, axis=2), axis=0))
        np.testing.assert_allclose(arm.overlap[s], overlap, atol=1e-9)
        np.testing.assert_allclose(arm.noise[s], noise)
        excess = np.mean(np.sum((w - full[s, 1:]) ** 2, axis=2), axis=0)
        np.testing.assert_allclose(arm.excess[1][s], excess)
        gaps = [(w[a] - w[b]) / np.sqrt(2) for a, b in pairs]
        later = [np.sum((x[-1] - x) ** 2, axis=1) for x in gaps]
        np.testing.assert_allclose(arm.later[s, 0], np.mean(later, axis=0))
        # V_n − V_j = Δ² + 2 (δ_n − δ_j)·δ_j.
        grown = np.mean([np.sum(x[-1] ** 2) - np.sum(x**2, axis=1) for x in gaps], axis=0)
        np.testing.assert_allclose(arm.later[s, 0] + 2 * arm.later[s, 1], grown, atol=1e-10)


def exact_paths(shared, noise, rest, *, width=3, stretch=1.0):
    """Two replicas with one common and one own coordinate each; the full batch has the first."""
    found = []
    for batch in (16, 64, 256, N):
        theta, t = 0.1 * (1 / batch - 1 / N), 0.1 * UPDATE
        for seed in range(3):
            for replica in range(1 if batch == N else 2):
                w = np.zeros((len(t), width))
                w[:, 0] = rest(t) if batch == N else shared(theta, t)
                w[:, 1 + replica] = noise(theta, t)
                found.append(
                    dict(
                        update=UPDATE, distance=np.linalg.norm(w, axis=1), batch_size=batch,
                        learning_rate=0.1, train_size=N, seed=seed, replica=replica,
                        positions=stretch * w,
                    )
                )  # fmt: skip
    return found


def test_evidence_of_exact_paths():
    """D² = c² + n² with c = f + g shared, n of one replica alone, f of the full batch."""

    def f(t):
        return t**0.2

    def g(theta, t):
        return 40 * theta * t**0.3

    def n(theta, t):
        return 3 * np.sqrt(theta * t)

    found = judge(exact_paths(lambda theta, t: f(t) + g(theta, t), n, f)).evidence
    times = 0.1 * UPDATE[1:]
    late = times[times >= times[-1] / 10 * (1 - 1e-9)]
    assert found.window == pytest.approx((late[0], late[-1]))
    ends = late[[0, -1]]
    for arm, batch in zip(found.arms, (16, 64, 256), strict=True):
        theta = 0.1 * (1 / batch - 1 / N)
        c2, n2 = (f(ends) + g(theta, ends)) ** 2, n(theta, ends) ** 2
        d2, f2, g2 = c2 + n2, f(ends) ** 2, g(theta, ends) ** 2
        distance = np.hypot(f(late) + g(theta, late), n(theta, late))
        expected = {
            "drift_share": c2[1] / d2[1],
            "growth_share": np.diff(c2)[0] / np.diff(d2)[0],
            "full_growth": np.diff(f2)[0] / np.diff(d2)[0],
            "full_ratio": np.sqrt(f2 / d2)[1],
            "time_exponent": np.polyfit(np.log(late), np.log(distance), 1)[0],
            "noise_exponent": 0.5,
            "excess_overlap": g2[1] / (g2 + n2)[1],
        }
        for name, value in expected.items():
            assert getattr(arm, name).value == pytest.approx(value, rel=1e-9), name
    assert found.noise_batch_exponent.value == pytest.approx(0.5, rel=1e-9)
    # Odds g²/n² ∝ θ²/θ.
    assert found.odds_exponent.value == pytest.approx(1.0, rel=1e-9)


def test_error_of_a_sketch_is_added():
    """Equal seeds leave the sketch's own error alone: q (1 − q) √(2/p)."""
    runs = exact_paths(
        lambda theta, t: t**0.4, lambda theta, t: 3 * np.sqrt(theta * t), lambda t: t**0.4,
        width=50, stretch=1.05,
    )  # fmt: skip
    verdict = judge(runs)
    for curve in verdict.drift_share:
        q = curve.value
        assert 0.01 < q[-1] < 0.99
        np.testing.assert_allclose(curve.stderr, q * (1 - q) * np.sqrt(2 / 50), rtol=1e-6)


def test_octaves():
    i, j = octaves(np.array([1.0, 1.5, 2.0, 4.0, 7.0, 100.0]))
    np.testing.assert_array_equal(i, [0, 2, 3])  # 1.5 → 4 and 7 → 100 are no octaves
    np.testing.assert_array_equal(j, [2, 3, 4])
    x = np.arange(6.0)[:, None]
    np.testing.assert_allclose(
        spreading(x, np.array([1.0, 1.5, 2.0, 4.0, 7.0, 100.0]))[1], [0, 2, 9 / 4]
    )


def test_jackknife_of_a_mean_is_its_standard_error():
    x = np.random.default_rng(1).standard_normal(7)
    found = number(weights_without_one(7) @ x, 0.9)
    assert found.value == pytest.approx(x.mean())
    assert found.stderr == pytest.approx(x.std(ddof=1) / np.sqrt(7))
    half = 1.943180280515 * found.stderr  # Student's t, 6 degrees, 95 %
    assert found.interval == pytest.approx((x.mean() - half, x.mean() + half))


@pytest.mark.parametrize("sketch", [None, 64])
def test_drift_share_and_its_interval(sketch):
    """Half drift, half noise at the end: q = ½ lies in 95 % of the intervals."""
    d, most, rate = 300, 1000, 0.1
    noise = np.sqrt(16 * most / d / (1 - 16 / N))  # ε² s² (1/B − 1/N) k d = ε² k²
    covered, values = [], []
    for draw in range(80):
        runs = worlds.linear_drift(
            1.0, d=d, most=most, rate=rate, noise=noise, seeds=4, sketch=sketch, batches=(16, 64),
            rng=np.random.default_rng([2, draw]),
        )  # fmt: skip
        q = judge(runs).drift_share[0]
        assert q.time[-1] == pytest.approx(rate * most)
        values.append(q.value[-1])
        covered.append(q.low[-1] <= 0.5 <= q.high[-1])
    # 4 standard errors of the mean; a ratio of means of 4 seeds is biased by some 0.002.
    assert abs(np.mean(values) - 0.5) < 4 * np.std(values) / np.sqrt(80) + 0.004
    # Binomial, 80 draws: 3 standard errors of 95 % are 7 %.
    assert np.mean(covered) > 0.88


def test_memory_and_ageing_of_an_ornstein_uhlenbeck_process():
    """1/M = (1 + a)(1 − e)/2 … from V = v (1 − e^{−2kr}) and δ_n = c δ_j + noise, exactly."""
    relaxation = 700.0
    runs = worlds.additive(
        None, d=4000, relaxation=relaxation, seeds=4, rng=np.random.default_rng(3)
    )
    verdict = judge(runs)
    for curve, arm in zip(verdict.memory, verdict.arms, strict=False):
        k, last = arm.update[:-1], arm.update[-1]
        c = np.exp(-(last - k) / relaxation)
        before, after = (-np.expm1(-2 * t / relaxation) for t in (k, last))
        exact = (after - before) / ((1 - c) ** 2 * before + (1 - c**2))
        # Correlations of 4 × 4000 numbers: 1/√16000 of the variances, 5 standard errors.
        np.testing.assert_allclose(curve.value, exact, atol=0.06)
        half = np.argmin(np.abs(np.log(k / last * np.sqrt(10))))
        number = verdict.evidence.arms[verdict.arms.index(arm)].uncorrelated
        assert number.value == pytest.approx(curve.value[half], rel=1e-12)
    for curve, arm in zip(verdict.ageing, verdict.arms, strict=False):
        i, j = octaves(arm.time)
        k, later = arm.update[i], arm.update[j]
        c = np.exp(-(later - k) / relaxation)
        before = -np.expm1(-2 * k / relaxation)
        exact = ((1 - c) ** 2 * before + (1 - c**2)) / (later - k) / (before / k)
        np.testing.assert_allclose(curve.value, exact, rtol=0.12)


def test_ageing_tells_growing_norms_from_linear_noise():
    rng = np.random.default_rng(4)
    for relaxation in (None, 500.0, np.geomspace(1, 1e4, 1000)):
        verdict = judge(worlds.additive(None, d=1000, relaxation=relaxation, rng=rng))
        for curve in verdict.ageing:
            assert curve.value.mean() > 0.97
    slowing = judge(worlds.scale_invariant(4.0, d=400, rng=rng)).ageing[0]
    assert slowing.high[-1] < 0.9


def test_seeds_that_an_arm_lacks_are_left_out():
    runs = worlds.additive(None, d=50, seeds=5, rng=np.random.default_rng(5))
    assert judge(runs).seeds == 5
    assert judge([r for r in runs if (r["seed"], r["batch_size"]) != (4, 64)]).seeds == 4


def test_level_widens_intervals():
    runs = worlds.additive(None, d=50, rng=np.random.default_rng(6))
    few, many = (judge_walk([Trajectory(**r) for r in runs], level=p) for p in (0.5, 0.99))
    assert np.all(few.drift_share[0].low > many.drift_share[0].low)
    np.testing.assert_array_equal(few.drift_share[0].value, many.drift_share[0].value)
    np.testing.assert_allclose(few.noise_share[0].value, 1 - few.drift_share[0].value)
    np.testing.assert_allclose(few.noise_share[0].low, 1 - few.drift_share[0].high)


def test_the_share_of_a_drift_that_noise_induces_falls_with_the_noise():
    """Beyond the full batch: C = (a θ/θ_16)² and V = v θ/θ_16, so C/V ∝ θ and C/(C + V) exactly."""
    relaxation, rate, d = 50.0, 0.1, 4000
    runs = worlds.additive(
        None, d=d, rate=rate, relaxation=relaxation, induced=lambda k: 3 * np.log1p(k / 30),
        rng=np.random.default_rng(7),
    )  # fmt: skip
    evidence = judge(runs).evidence
    assert evidence.odds_exponent.value == pytest.approx(1, abs=0.06)
    size = rate * np.sqrt(1 / 16 - 1 / N)
    noise = size**2 * relaxation / 2 * d
    drift = (3 * np.log1p(3000 / 30)) ** 2
    # 4 seeds of 4000 coordinates: 2 % of V, some 1 % of |direction|².
    expected = drift / (drift + noise)
    assert evidence.arms[0].excess_overlap.value == pytest.approx(expected, abs=0.03)
    assert evidence.arms[0].full_growth.value == pytest.approx(0, abs=1e-6)
