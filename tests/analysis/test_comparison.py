import numpy as np
import pytest
from scipy import stats

from noisescale import InputError
from noisescale.analysis.comparison import difference, holm, judge_order, judge_same, judge_worse


def test_intervals_are_those_of_the_textbook():
    rng = np.random.default_rng(0)
    a, b = rng.normal(0, 1, 7), rng.normal(0.4, 3, 12)
    welch = stats.ttest_ind(b, a, equal_var=False)
    ours = difference(a, b, paired=False)
    assert ours.interval == pytest.approx(tuple(welch.confidence_interval(0.9)), rel=1e-9)
    assert ours.degrees == pytest.approx(welch.df)
    pairs = stats.ttest_rel(b[:7], a)
    ours = difference(a, b[:7], paired=True)
    assert ours.interval == pytest.approx(tuple(pairs.confidence_interval(0.9)), rel=1e-9)
    assert ours.correlation == pytest.approx(stats.pearsonr(a, b[:7])[0])


def test_p_values_are_those_of_one_sided_tests():
    rng = np.random.default_rng(1)
    a, b = rng.normal(0, 1, 8), rng.normal(0.3, 1, 8)
    same = judge_same(a, b, margin=0.5, paired=False)
    below = stats.ttest_ind(b - 0.5, a, equal_var=False, alternative="less").pvalue
    above = stats.ttest_ind(b + 0.5, a, equal_var=False, alternative="greater").pvalue
    assert same.p_supported == pytest.approx(max(below, above), rel=1e-9)
    worse = judge_worse(a, b, paired=True)
    assert worse.p_supported == pytest.approx(
        stats.ttest_rel(b, a, alternative="greater").pvalue, rel=1e-9
    )


def rates(true, *, points=4, margin=1.0, seeds=6, repeats=1500, paired=False, rho=0.0):
    """Fractions supported and contradicted when every point differs by `true`."""
    rng = np.random.default_rng(2)
    counts = {"supported": 0, "contradicted": 0, "undecided": 0}
    for _ in range(repeats):
        common = np.sqrt(rho) * rng.normal(size=(seeds, 1))
        a = common + np.sqrt(1 - rho) * rng.normal(size=(seeds, points))
        b = true + common + np.sqrt(1 - rho) * rng.normal(size=(seeds, points))
        verdict = judge_same(
            a / 3, true + (b - true) / 3, margin=margin, paired=paired, plan=False
        ).verdict
        counts[verdict] += 1
    return counts["supported"] / repeats, counts["contradicted"] / repeats


@pytest.mark.parametrize("paired", [False, True])
def test_errors_are_at_most_the_level_on_the_margin(paired):
    supported, contradicted = rates(1.0, paired=paired, rho=0.8 if paired else 0.0)
    limit = 0.05 + 3 * np.sqrt(0.05 * 0.95 / 1500)  # 3 standard errors
    assert supported <= limit
    assert contradicted <= limit


def test_one_point_on_the_margin_uses_the_level_up():
    supported, contradicted = rates(1.0, points=1)
    # There both claims are wrong by a hair, and each is made at exactly the level.
    assert supported == pytest.approx(0.05, abs=3 * np.sqrt(0.05 * 0.95 / 1500))
    assert contradicted == pytest.approx(0.05, abs=3 * np.sqrt(0.05 * 0.95 / 1500))


def test_planted_differences_are_found():
    assert rates(0.0)[0] > 0.9
    assert rates(2.5)[1] > 0.9
    assert rates(2.5)[0] == 0.0
    assert rates(0.0)[1] == 0.0


def test_seeds_needed_give_the_planned_power():
    rng = np.random.default_rng(3)
    truth, spread = 0.3, 0.5
    pilot_a = spread * stats.norm.ppf((np.arange(200) + 0.5) / 200)
    pilot = judge_worse(rng.permutation(pilot_a), rng.permutation(pilot_a) + truth, paired=False)
    needed = pilot.seeds_needed
    assert needed is not None and 20 < needed < 60  # two-sample z formula: 34.3
    hits = 0
    for _ in range(1000):
        a, b = rng.normal(0, spread, needed), rng.normal(truth, spread, needed)
        hits += judge_worse(a, b, paired=False, plan=False).verdict == "supported"
    # 3 standard errors of 1,000 trials, and as much for the 1,000 draws of the plan.
    assert hits / 1000 == pytest.approx(0.8, abs=2 * 3 * np.sqrt(0.16 / 1000))


@pytest.mark.parametrize(("truth", "margin"), [(0.0, 0.3), (0.1, 0.3), (0.5, 0.3)])
def test_seeds_needed_of_a_whole_curve(truth, margin):
    """Seven points whose noise is correlated over seeds, near zero and on both sides of δ."""
    rng = np.random.default_rng(8)

    def curves(n):
        return 0.4 * (rng.normal(size=(n, 1)) + rng.normal(size=(n, 7)))

    pilot = judge_same(curves(400), truth + curves(400), margin=margin, paired=True)
    needed = pilot.seeds_needed
    assert needed is not None
    decided = 0
    for _ in range(600):
        one = judge_same(
            curves(needed), truth + curves(needed), margin=margin, paired=True, plan=False
        )
        decided += one.verdict != "undecided"
    # The pilot's own error in effect (.04) and spread moves the power; half or all is excluded.
    assert 0.68 <= decided / 600 <= 0.92


def test_pairing_helps_where_seeds_correlate():
    rng = np.random.default_rng(4)
    start = rng.normal(0, 1, 8)
    a, b = start + rng.normal(0, 0.05, 8), start + 0.2 + rng.normal(0, 0.05, 8)
    assert judge_worse(a, b, paired=True).verdict == "supported"
    assert judge_worse(a, b, paired=False).verdict == "undecided"


def test_the_point_that_decides_is_shown():
    rng = np.random.default_rng(5)
    a = rng.normal(0, 0.01, (5, 3))
    b = rng.normal(0, 0.01, (5, 3)) + np.array([0.0, 0.5, 0.12])
    parted = judge_same(a, b, margin=0.2, epochs=[1, 2, 4], paired=False)
    assert (parted.verdict, parted.epoch, parted.parts_at) == ("contradicted", 2.0, (2.0,))
    assert parted.effect == pytest.approx(0.5, abs=0.03)
    held = judge_same(a[:, ::2], b[:, ::2], margin=0.2, epochs=[1, 4], paired=False)
    assert (held.verdict, held.epoch, held.parts_at) == ("supported", 4.0, ())


def test_worse():
    rng = np.random.default_rng(6)
    a = rng.normal(1.0, 0.1, 10)
    assert judge_worse(a, a + 0.5 + rng.normal(0, 0.1, 10), paired=False).verdict == "supported"
    better = judge_worse(a, a - 0.5 + rng.normal(0, 0.1, 10), margin=0.1, paired=False)
    assert better.verdict == "contradicted"
    # Real, but too small to count: the claim is "worse by more than the margin".
    little = judge_worse(a, a + 0.1 + rng.normal(0, 0.02, 10), margin=0.5, paired=True)
    assert little.verdict == "contradicted"
    assert little.interval[0] > 0


def test_worse_errs_at_the_level_on_the_margin():
    rng = np.random.default_rng(9)
    counts = {"supported": 0, "contradicted": 0, "undecided": 0}
    for _ in range(1500):
        a, b = rng.normal(0, 1, 6), rng.normal(0.4, 1, 6)
        counts[judge_worse(a, b, margin=0.4, paired=True, plan=False).verdict] += 1
    for verdict in ("supported", "contradicted"):
        assert counts[verdict] / 1500 == pytest.approx(0.05, abs=3 * np.sqrt(0.05 * 0.95 / 1500))


def test_equal_counts_at_few_seeds_prove_nothing():
    """An error in steps of one example: three equal counts are no zero spread."""
    step, repeats = 1 / 360, 2000
    rng = np.random.default_rng(10)
    wrong = {0.0: 0, step: 0}
    for _ in range(repeats):
        # The true difference, .9 images, lies outside the margin of .85 images.
        d = np.where(rng.random(3) < 0.7, 0.0, 3.0) * step
        for resolution in wrong:
            same = judge_same(
                np.zeros(3),
                d,
                margin=0.85 * step,
                paired=True,
                resolution=resolution,
                plan=False,
            )
            wrong[resolution] += same.verdict == "supported"
    assert wrong[0.0] / repeats > 0.3  # what the floor is for: .7³ of the samples show no spread
    assert wrong[step] / repeats <= 0.05


def test_order():
    rng = np.random.default_rng(7)
    samples = [rng.normal(mean, 0.1, 8) for mean in (0, 1, 2)]
    assert judge_order(samples, paired=False).verdict == "supported"
    # One pair at p = .04 is not enough among two.
    rng = np.random.default_rng(11)
    near = [np.zeros(5), rng.normal(3, 0.1, 5)]
    p = judge_worse(near[1], near[1] - 0.1 + rng.normal(0, 0.1, 5), paired=True)
    low = near[1] - 0.1 + (np.array([-1, -0.5, 0, 0.5, 1.1]) * 0.12)
    single = judge_worse(near[1], low, paired=True)
    assert 0.025 < single.p_contradicted < 0.05, single
    assert judge_order([near[0], near[1], low], paired=True).verdict == "undecided"
    assert p.n == 5
    swapped = judge_order([samples[0], samples[2], samples[1]], paired=False)
    assert swapped.verdict == "contradicted"
    assert swapped.effect == pytest.approx(-1, abs=0.2)
    with pytest.raises(InputError, match="at least two"):
        judge_order(samples[:1], paired=False)


def test_few_seeds_are_undecided():
    for n in (1, 2):
        verdict = judge_same(np.zeros(n), np.full(n, 9.0), margin=0.1, paired=True)
        assert verdict.verdict == "undecided"
        assert "at least 3" in verdict.reason
        assert verdict.effect == 9.0


def test_no_spread_at_all():
    same = judge_same(np.ones(3), np.ones(3), margin=0.1, paired=True)
    assert (same.verdict, same.interval, same.seeds_needed) == ("supported", (0.0, 0.0), 3)
    apart = judge_same(np.ones(3), np.full(3, 2.0), margin=0.1, paired=True)
    assert apart.verdict == "contradicted"


def test_holm():
    assert holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])
    assert holm([]) == []
    assert holm([0.9, 0.8]) == pytest.approx([1.0, 1.0])


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: judge_same([1, np.nan, 2], [1, 2, 3], margin=1, paired=True), "non-finite"),
        (lambda: judge_same([1, 2, 3], [1, 2, 3], margin=0, paired=True), "margin=0"),
        (lambda: judge_same([[1, 2]], [[1, 2, 3]], margin=1, paired=True), "differ in length"),
        (
            lambda: judge_same([[1, 2]], [[1, 2]], margin=1, epochs=[1], paired=True),
            "epochs has 1",
        ),
        (lambda: difference([1, 2, 3], [1, 2], paired=True), "3 and 2 seeds"),
        (lambda: difference([], [1.0], paired=False), "one number per seed"),
        (lambda: difference([1, 2], [1, 2], level=0.5, paired=False), "level=0.5"),
        (lambda: judge_worse([1, 2], [1, 2], margin=-1, paired=False), "margin=-1"),
        (lambda: judge_same(np.zeros((2, 2, 2)), [1], margin=1, paired=True), "points"),
    ],
)
def test_refuses(call, message):
    with pytest.raises(InputError, match=message):
        call()
