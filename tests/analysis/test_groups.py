"""Groups of runs compared: on simulated curves whose truth is known."""

import json
from itertools import combinations

import numpy as np
import pytest
from scipy import stats

from noisescale import InputError
from noisescale.analysis.difference import difference
from noisescale.analysis.run_groups.alignment import align, shared_until, smallest_step
from noisescale.analysis.run_groups.compare import compare_groups
from noisescale.analysis.run_groups.resampling import calibrate, differences
from noisescale.analysis.run_groups.runs import MeasuredRun

EPOCHS = np.arange(21.0)
DECAY = 2 * np.exp(-EPOCHS / 5) + 0.3
COMMON, OWN = 0.02, 0.01  # spread of a run as a whole, and of each of its points


def curve(rng, shift=0.0, since=8.0):
    return DECAY + COMMON * rng.normal() + OWN * rng.normal(size=21) + shift * (since <= EPOCHS)


def group(rng, runs, label, shift=0.0, *, since=8.0, nulls=0, seeds=False):
    """Runs of one schedule: noise common to all points and own to each, and a planted shift."""
    return [
        MeasuredRun(
            f"{label}{s}",
            {
                "epoch": EPOCHS,
                "evaluation_loss": curve(rng, shift, since),
                **{f"null{k}": rng.normal(size=21) + rng.normal() for k in range(nulls)},
            },
            seed=s if seeds else None,
        )
        for s in range(runs)
    ]


def run(name, columns, **more):
    return MeasuredRun(name, {k: np.array(v, dtype=float) for k, v in columns.items()}, **more)


def verdict_of(a, b, **options):
    options = {"margin": 0.03, "plan": False, **options}
    (pair,) = compare_groups({"A": a, "B": b}, **options).pairs
    return pair


def rates(shift, *, repeats=400, runs=5, seed=0, nulls=0, **options):
    """Fractions called same and different, and of those that part somewhere."""
    rng = np.random.default_rng(seed)
    counts = {"same": 0, "different": 0, "undecided": 0}
    parted = 0
    for _ in range(repeats):
        pair = verdict_of(
            group(rng, runs, "a", nulls=nulls), group(rng, runs, "b", shift, nulls=nulls), **options
        )
        counts[pair.verdict] += 1
        parted += pair.parts_at is not None
    return counts["same"] / repeats, counts["different"] / repeats, parted / repeats


LIMIT = 0.05 + 3 * np.sqrt(0.05 * 0.95 / 400)  # three standard errors of 400 repeats


def test_equal_groups_are_not_called_different():
    same, different, _ = rates(0.0, margin=0.05)
    assert different <= LIMIT
    assert same > 0.5


def test_on_the_margin_both_claims_err_at_most_at_the_level():
    for shift in (0.03, -0.03):
        same, different, _ = rates(shift)
        assert same <= LIMIT
        assert different <= LIMIT


def test_parting_errs_at_most_at_the_level_over_points_and_quantities():
    """Five quantities without any difference, 21 points each."""
    assert rates(0.0, nulls=4)[2] <= LIMIT


def exact_rows(covariance, seeds, rng):
    """Curves of `seeds` runs whose sample covariance is exactly this one."""
    rows = rng.normal(size=(seeds, len(covariance)))
    rows -= rows.mean(axis=0)
    rows = rows @ np.linalg.inv(np.linalg.cholesky(np.cov(rows, rowvar=False))).T
    return rows @ np.linalg.cholesky(covariance).T


@pytest.mark.parametrize(("runs", "margin"), [(9, 0.03), (20, 0.02)])
def test_a_planted_difference_is_found_as_often_as_declared(runs, margin):
    repeats = 400
    covariance = COMMON**2 + OWN**2 * np.eye(8)
    rng = np.random.default_rng(1)
    rows = exact_rows(covariance, runs, rng)
    declared = calibrate(rows, rows, margin=margin, level=0.05, paired=False, resolution=0.0)
    found = rates(2 * margin, runs=runs, margin=margin, repeats=repeats)[1]
    held = rates(0.0, runs=runs, margin=margin, repeats=repeats)[0]
    told = 0
    for _ in range(repeats):
        a, b = (np.array([curve(rng) for _ in range(runs)])[:, -8:] for _ in "ab")
        p = stats.ttest_ind(a, b + margin, equal_var=False).pvalue
        told += 8 * p.min() <= 0.05
    for power, rate in (
        (declared.power_different, found),
        (declared.power_same, held),
        (declared.power_margin, told / repeats),
    ):
        assert 0.1 < power < 0.999
        # Three standard errors of the repeats and of the 1,000 draws behind the power.
        error = np.sqrt(power * (1 - power) * (1 / repeats + 1 / declared.draws))
        assert rate == pytest.approx(power, abs=3 * error)


def test_power_at_one_point_is_students():
    """Eight pairs that differ by normal numbers of deviation 0.2: the noncentral t."""
    rng = np.random.default_rng(22)
    a, spread = rng.normal(size=(8, 1)), rng.normal(size=(8, 1))
    spread = 0.2 * (spread - spread.mean()) / spread.std(ddof=1)
    margin = 2.5 * 0.2 / np.sqrt(8)
    found = calibrate(a, a + spread, margin=margin, level=0.05, paired=True, resolution=0.0)
    two_sided, one_sided = stats.t.isf([0.025, 0.05], 7)
    for power, expected in (
        (found.power_margin, stats.nct.sf(two_sided, 7, 2.5)),
        # |d| ≤ δ is rejected where d = 2δ; that d is far below −δ has no weight.
        (found.power_different, stats.nct.sf(one_sided, 7, 2.5)),
    ):
        assert power == pytest.approx(expected, abs=4 * np.sqrt(0.25 / 1000))


def test_false_alarms_on_splits_are_counted_as_a_loop_would():
    rng = np.random.default_rng(2)
    a = np.array([curve(rng) for _ in range(7)])[:, -3:]
    found = calibrate(a, a + 1, margin=0.01, level=0.2, paired=False, resolution=0.0)
    assert (found.method, found.sizes) == ("splits", (3, 4))
    different, ways = 0, list(combinations(range(7), 3))
    for chosen in ways:
        x, y = a[list(chosen)], a[[i for i in range(7) if i not in chosen]]
        sign = np.sign(x.mean(axis=0) - y.mean(axis=0))
        # |d| ≥ what was seen where the truth is the end of the margin, at three points.
        p = sum(
            stats.ttest_ind(sign * x + end, sign * y, equal_var=False, alternative="greater").pvalue
            for end in (-0.01, 0.01)
        )
        different += 3 * p.min() <= 0.2
    assert (found.trials, found.different) == (len(ways), different)
    assert different > 0


def test_halves_of_an_even_group_are_counted_once():
    rng = np.random.default_rng(3)
    a = np.array([curve(rng) for _ in range(6)])[:, -3:]
    found = calibrate(a, a, margin=0.1, level=0.05, paired=False, resolution=0.0)
    assert (found.trials, found.sizes) == (10, (3, 3))
    many = np.array([curve(rng) for _ in range(16)])[:, -3:]
    found = calibrate(many, many, margin=0.1, level=0.05, paired=False, resolution=0.0)
    assert (found.trials, found.sizes, found.same) == (500, (8, 8), 500)
    twelve = np.array([curve(rng) for _ in range(12)])[:, -3:]
    found = calibrate(twelve, twelve, margin=0.1, level=0.05, paired=False, resolution=0.0)
    assert found.trials == 462
    few = calibrate(a[:5], a[:4], margin=0.1, level=0.05, paired=False, resolution=0.0)
    assert (few.method, few.trials, few.sizes) == ("resampled", 1000, (5, 4))


@pytest.mark.parametrize("paired", [False, True])
def test_differences_are_those_of_one_point_after_another(paired):
    rng = np.random.default_rng(4)
    a, b = rng.normal(size=(5, 3)), rng.normal(size=(5 if paired else 8, 3))
    found = differences(a, b, paired, 0.2)
    for k in range(3):
        point = difference(a[:, k], b[:, k], paired=paired, resolution=0.2)
        assert [x[k] for x in found] == pytest.approx([point.effect, point.stderr, point.degrees])
    # Seeds that agree to the resolution r are told to r/√n and no better.
    np.testing.assert_allclose(differences(a, b, paired, 9.0)[1], 9 / np.sqrt(5))


def test_alignment_is_linear_between_and_never_outside():
    a = [run("a", {"t": [0, 2, 4, 8], "q": [0, 4, 8, 16]})]
    b = [run("b", {"t": [1, 3, 5, 7, 9, 11], "q": [3, 7, 11, 15, 19, 23]})]
    found = align([a, b], "t", "q", -np.inf, -np.inf)
    assert found.ends == (1, 8) and found.interpolated
    np.testing.assert_array_equal(found.times, [2, 4, 8])
    np.testing.assert_allclose(found.values[0], [[4, 8, 16]])
    np.testing.assert_allclose(found.values[1], [[5, 9, 17]])
    np.testing.assert_array_equal(align([a, b], "t", "q", 2.0, -np.inf).times, [4, 8])
    np.testing.assert_array_equal(align([a, b], "t", "q", -np.inf, 4.0).times, [4, 8])
    assert align([a, b], "t", "q", 8.0, -np.inf) is None
    late = [run("c", {"t": [9, 10], "q": [0, 0]})]
    assert align([a, late], "t", "q", -np.inf, -np.inf) is None
    assert align([a, b], "t", "other", -np.inf, -np.inf) is None


def test_clocks_of_seven_digits_are_the_same_clock():
    a = [run("a", {"t": [0, 1 / 3, 2 / 3, 1], "q": [0, 1, 2, 3]})]
    b = [run("b", {"t": [0, 0.3333333, 0.6666667, 0.9999999], "q": [0, 1, 2, 3]})]
    found = align([a, b], "t", "q", -np.inf, -np.inf)
    assert not found.interpolated and len(found.times) == 4
    np.testing.assert_allclose(found.values[1], [[0, 1, 2, 3]], atol=1e-5)


def test_dense_curves_are_compared_at_two_hundred_points():
    t = np.arange(5001.0)
    runs = [[run(name, {"t": t, "q": t**2})] for name in "ab"]
    found = align(runs, "t", "q", -np.inf, -np.inf)
    assert len(found.times) == 200 and (found.times[0], found.times[-1]) == (0, 5000)
    np.testing.assert_allclose(found.values[0][0], found.times**2)


def test_smallest_step_is_that_of_one_example():
    counts = np.random.default_rng(5).integers(20, 40, size=(6, 30))
    runs = [run(str(k), {"e": [*np.round(row / 360, 7), np.nan]}) for k, row in enumerate(counts)]
    assert smallest_step(runs, "e") == pytest.approx(1 / 360, rel=1e-3)
    assert smallest_step([run("a", {"e": [0.5, 0.5 + 1e-9]})], "e") == 0.0


def test_equal_errors_of_a_few_seeds_are_no_zero_spread():
    """Errors in steps of .01: three seeds that agree to the last image show less than that."""
    t = np.arange(4.0)
    a, b = (
        [run(f"{name}{s}", {"epoch": t, "e": [0.5, 0.3, 0.21, 0.2]}) for s in range(3)]
        for name in "ab"
    )
    assert verdict_of(a, b, metrics=["e"], margin=0.004, points=1).verdict == "undecided"
    assert verdict_of(a, b, metrics=["e"], margin=0.05, points=1).verdict == "same"


def test_where_they_part_and_in_what():
    rng = np.random.default_rng(6)
    a, b = group(rng, 6, "a", nulls=2), group(rng, 6, "b", 0.5, since=12, nulls=2)
    for one in b:
        one.columns["null1"][5:] += 20
    pair = verdict_of(a, b, margin=0.05)
    by_name = {q.quantity: q for q in pair.quantities}
    assert list(by_name) == ["evaluation_loss", "null0", "null1"]
    assert pair.verdict == "different" and by_name["null1"].verdict == "different"
    assert by_name["null0"].verdict == "undecided" and by_name["null0"].margin is None
    assert by_name["evaluation_loss"].parts_at == 12
    assert pair.parts_at == (5.0, "null1")
    assert by_name["evaluation_loss"].effect == pytest.approx(0.5, abs=0.05)
    # Only what was asked for, if more than one metric was.
    pair = verdict_of(a, b, metrics=["evaluation_loss", "null0"], margin=0.05)
    assert [q.quantity for q in pair.quantities] == ["evaluation_loss", "null0"]
    assert pair.parts_at == (12.0, "evaluation_loss")
    # From the last points on, the loss alone has parted already where the window begins.
    assert verdict_of(a, b, margin=0.05, start=15).parts_at[0] == 15


def test_parting_is_corrected_over_points_and_quantities():
    """Effects whose two-sided p-values times 21 points are 3 % at epoch 5 and 0.1 % at 12."""
    spread = np.array([-2.0, -1, 0, 1, 2])[:, None]
    stderr = np.sqrt(2 * 2.5 / 5)
    effect = np.zeros(21)
    for epoch, p in ((5, 0.03), (12, 0.001)):
        effect[epoch] = stats.t.isf(p / 21 / 2, 8) * stderr

    def runs(label, shift):
        rows = zip(spread + 0 * EPOCHS, spread + shift, strict=True)
        return [
            run(f"{label}{s}", {"epoch": EPOCHS, "null": null, "q": q})
            for s, (null, q) in enumerate(rows)
        ]

    options = {"margin": 100.0, "points": 21}
    pair = verdict_of(runs("a", 0 * effect), runs("b", effect), metrics=["null", "q"], **options)
    assert pair.parts_at == (12.0, "q")
    assert pair.quantities[1].p_adjusted == pytest.approx(0.001)


def test_a_real_difference_within_the_margin_is_no_parting():
    rng = np.random.default_rng(21)
    pair = verdict_of(group(rng, 30, "a"), group(rng, 30, "b", 0.04), margin=0.08)
    assert pair.verdict == "same" and pair.parts_at is None
    assert pair.quantities[0].interval[0] > 0


def test_settings_are_no_quantities():
    rng = np.random.default_rng(7)
    a, b = group(rng, 3, "a"), group(rng, 3, "b")
    for number, one in enumerate([*a, *b]):
        one.columns["learning_rate"] = np.full(21, 0.1 * (1 + (number > 2)))
        one.columns["weight_of_batch"] = np.full(21, 1.0 + (number > 2))
    assert [q.quantity for q in verdict_of(a, b).quantities] == ["evaluation_loss"]


def test_relative_margins_compare_logarithms():
    rng = np.random.default_rng(8)

    def runs(label, factor):
        return [
            run(
                f"{label}{s}",
                {
                    "epoch": EPOCHS,
                    "evaluation_loss": factor * DECAY * np.exp(0.02 * rng.normal()),
                    "distance": EPOCHS * (1 + 0.01 * rng.normal()),
                },
            )
            for s in range(6)
        ]

    pair = verdict_of(runs("a", 1.0), runs("b", 1.5), margin=None, relative_margin=0.1)
    loss, distance = pair.quantities
    assert pair.verdict == "different" and loss.scale == "log"
    assert loss.effect == pytest.approx(np.log(1.5), abs=0.05)
    assert loss.margin == pytest.approx(np.log(1.1))
    # The distance begins at 0, which has no logarithm: it is compared from then on.
    assert distance.verdict == "same" and distance.common_range == (0, 20)
    zero = runs("z", 1.0)
    zero[0].columns["evaluation_loss"][4] = 0.0
    with pytest.raises(InputError, match="evaluation_loss is 0 at epoch 4"):
        verdict_of(runs("a", 1.0), zero, margin=None, relative_margin=0.1)


def test_a_positive_control_declares_half_of_its_effect():
    rng = np.random.default_rng(9)
    a, b, c = group(rng, 20, "a"), group(rng, 20, "b"), group(rng, 20, "c", 0.1)
    pair = verdict_of(a, b, margin=None, positive_control=c)
    finals = [np.array([x.columns["evaluation_loss"][-8:].mean() for x in g]) for g in (a, c)]
    low = stats.ttest_ind(finals[1], finals[0], equal_var=False).confidence_interval(0.9).low
    assert pair.quantities[0].margin == pytest.approx(low / 2)
    assert pair.verdict == "same"
    lower = verdict_of(a, b, margin=None, positive_control=group(rng, 20, "d", -0.1))
    assert lower.quantities[0].margin == pytest.approx(0.05, abs=0.015)
    untold = verdict_of(a, b, margin=None, positive_control=group(rng, 3, "e"))
    assert untold.verdict == "undecided" and untold.quantities[0].margin is None
    assert "control is not told from the reference" in untold.reason


def test_half_a_controls_effect_is_called_the_same_at_most_at_the_level():
    for shift in (0.05, -0.05):
        rng = np.random.default_rng(10)
        same = 0
        for _ in range(400):
            control = group(rng, 5, "c", 0.1)
            pair = verdict_of(
                group(rng, 5, "a"), group(rng, 5, "b", shift), margin=None, positive_control=control
            )
            same += pair.verdict == "same"
        assert same / 400 <= LIMIT


def test_groups_that_are_one_run_until_some_point():
    rng = np.random.default_rng(11)
    a, b = group(rng, 5, "a", seeds=True), group(rng, 5, "b", seeds=True)
    for x, y in zip(a, reversed(b), strict=True):
        y.columns["evaluation_loss"][:10] = x.columns["evaluation_loss"][:10]
        y.columns["evaluation_loss"][10:] = x.columns["evaluation_loss"][10:] + 0.001
    assert shared_until(a, b, "epoch", "evaluation_loss") is None  # seeds in another order
    b = [MeasuredRun(y.name, y.columns, seed=4 - y.seed) for y in b]
    assert shared_until(a, b, "epoch", "evaluation_loss") == 9
    pair = verdict_of(a, b, margin=0.002, points=100)
    assert pair.paired and pair.shared_until == 9 and pair.verdict == "same"
    assert pair.quantities[0].points == tuple(range(10, 21))
    assert pair.quantities[0].correlation == pytest.approx(1)
    # Two measurements in common are the same initial weights, no more.
    for y in b:
        y.columns["evaluation_loss"][2:] += 1e-9
    assert verdict_of(a, b, margin=0.002).paired is False
    assert verdict_of(a, b, margin=0.002).verdict == "undecided"
    again = [MeasuredRun(f"again{x.seed}", x.columns, seed=x.seed) for x in a]
    pair = verdict_of(a, again, margin=0.002)
    assert pair.verdict == "same" and "these are the same runs" in pair.notes[0]


def test_pairing_when_asked():
    rng = np.random.default_rng(12)
    a, b = group(rng, 6, "a", seeds=True), group(rng, 5, "b", seeds=True)
    for x, y in zip(a, b, strict=False):
        y.columns["evaluation_loss"][:] = x.columns["evaluation_loss"] + 0.004 * rng.normal(size=21)
    pair = verdict_of(a, b, margin=0.015, paired=True)
    assert pair.paired and pair.verdict == "same" and pair.quantities[0].n == 5
    assert pair.quantities[0].correlation > 0.8
    assert "seeds 5: left out" in pair.notes[0]
    assert verdict_of(a, b, margin=0.015).verdict == "undecided"
    with pytest.raises(InputError, match="runs of unknown seed"):
        verdict_of(a, group(rng, 5, "c"), paired=True)
    other = [MeasuredRun(f"o{s}", b[0].columns, seed=10 + s) for s in range(3)]
    with pytest.raises(InputError, match="no seed in common"):
        verdict_of(a, other, paired=True)


def test_one_seed_each_says_nothing():
    rng = np.random.default_rng(13)
    pair = verdict_of(group(rng, 1, "a"), group(rng, 1, "b", 5.0), plan=True)
    assert pair.verdict == "undecided" and pair.calibration is None and pair.parts_at is None
    assert "no spread, so neither same nor different can be said" in pair.reason
    assert pair.quantities[0].effect == pytest.approx(5, abs=0.2)
    assert pair.quantities[0].interval is None and pair.quantities[0].seeds_needed is None
    two = verdict_of(group(rng, 2, "a"), group(rng, 9, "b", 5.0))
    assert two.verdict == "undecided" and "at least 3" in two.reason


def test_short_runs_shorten_the_range():
    rng = np.random.default_rng(14)
    a, b = group(rng, 4, "a"), group(rng, 4, "b")
    b[2] = MeasuredRun("b2", {k: v[:11] for k, v in b[2].columns.items()})
    pair = verdict_of(a, b, margin=0.2)
    assert pair.quantities[0].common_range == (0, 10)
    assert pair.quantities[0].points[-1] == 10
    assert any("b2 ends at epoch 10, others go on to 20" in note for note in pair.notes)
    with pytest.raises(InputError, match="no measurement of evaluation_loss from epoch 15 to 10"):
        verdict_of(a, b, start=15)


def diverged(one):
    return MeasuredRun(one.name, {k: v[:5] for k, v in one.columns.items()}, diverged=True)


def test_diverged_runs_are_left_out_and_forbid_sameness():
    rng = np.random.default_rng(15)
    a, b = group(rng, 6, "a"), group(rng, 6, "b")
    assert verdict_of(a, b, margin=0.2).verdict == "same"
    pair = verdict_of(a, [diverged(b[0]), *b[1:]], margin=0.2)
    assert pair.verdict == "undecided" and pair.quantities[0].verdict == "same"
    assert "1 of 6 runs of B diverged, 0 of 6 of A" in pair.reason
    assert pair.quantities[0].n == 5 and pair.quantities[0].common_range == (0, 20)
    pair = verdict_of(a, [diverged(x) for x in b], margin=0.2)
    assert (pair.verdict, pair.quantities, pair.curves) == ("different", (), None)
    # Fisher's exact test: 2 of the C(12, 6) tables.
    assert pair.divergence.p_value == pytest.approx(2 / 924)
    few = verdict_of(a[:3], [diverged(x) for x in b[:3]], margin=0.2)
    assert few.verdict == "undecided" and "chance" in few.reason


def test_more_than_two_groups_are_corrected():
    rng = np.random.default_rng(16)
    a = group(rng, 5, "a")
    groups = {"A": a, **{f"B{k}": group(rng, 5, f"b{k}", 0.01) for k in range(4)}}
    result = compare_groups(groups, margin=0.05, plan=False)
    assert [pair.other for pair in result.pairs] == ["B0", "B1", "B2", "B3"]
    single = [
        compare_groups({"A": a, "B": groups[f"B{k}"]}, margin=0.05, plan=False).pairs[0]
        for k in range(4)
    ]
    raw = [min(p.quantities[0].p_same, p.quantities[0].p_different) for p in single]
    order, expected, running = np.argsort(raw), {}, 0.0
    for rank, k in enumerate(order):
        running = max(running, min(1.0, (4 - rank) * raw[k]))
        expected[k] = running
    found = [pair.quantities[0].p_adjusted for pair in result.pairs]
    assert found == pytest.approx([expected[k] for k in range(4)])
    for pair, p, alone in zip(result.pairs, found, single, strict=True):
        assert pair.verdict == (alone.verdict if p <= 0.05 else "undecided")


def test_the_band_is_the_interval_that_decides():
    """One-sided tests at the level are an interval of confidence 1 − 2 level."""
    rng = np.random.default_rng(23)
    a, b = group(rng, 4, "a"), group(rng, 6, "b")
    curves = verdict_of(a, b).curves
    x, y = (np.array([one.columns["evaluation_loss"] for one in g]) for g in (a, b))
    expected = stats.ttest_ind(y, x, equal_var=False).confidence_interval(0.9)
    np.testing.assert_allclose(curves.effect, y.mean(axis=0) - x.mean(axis=0), atol=1e-12)
    np.testing.assert_allclose(curves.low, expected.low)
    np.testing.assert_allclose(curves.high, expected.high)


def test_a_copy_is_no_other_seed():
    rng = np.random.default_rng(17)
    a = group(rng, 4, "a")
    a[1] = MeasuredRun("copy", a[0].columns)
    notes = verdict_of(a, group(rng, 4, "b")).notes
    assert notes == ("a0 and copy hold the same numbers: a copy is no other seed",)


def test_a_result_is_strict_json():
    rng = np.random.default_rng(18)
    result = compare_groups({"A": group(rng, 3, "a"), "B": group(rng, 1, "b")}, margin=0.1)
    document = json.loads(json.dumps(result.to_dict(), allow_nan=False))
    assert document["pairs"][0]["quantities"][0]["interval"] is None
    assert "curves" not in document["pairs"][0]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"margin": None}, "no margin was given"),
        ({"relative_margin": 0.1}, "several margins"),
        ({"margin": 0.0}, "margin=0.0"),
        ({"margin": None, "relative_margin": float("nan")}, "relative margin=nan"),
        ({"points": 0}, "points=0"),
        ({"level": 0.5}, "level=0.5"),
        ({"start": float("nan")}, "start=nan"),
        ({"metrics": []}, "metrics is empty"),
        ({"metrics": ["evaluation_los"]}, "a0: unknown column .* did you mean 'evaluation_loss'"),
        ({"clock": "update"}, "unknown column 'update'"),
    ],
)
def test_refuses(options, message):
    rng = np.random.default_rng(19)
    with pytest.raises(InputError, match=message):
        verdict_of(group(rng, 3, "a"), group(rng, 3, "b"), **options)


def test_refuses_groups_that_are_none():
    rng = np.random.default_rng(20)
    a = group(rng, 3, "a")
    for groups, message in [
        ({"A": a}, "at least two groups"),
        ({"A": a, "B": []}, "group 'B' holds no runs"),
        ({"A": a, "B": a[:1]}, "a0 is given twice"),
    ]:
        with pytest.raises(InputError, match=message):
            compare_groups(groups, margin=0.1)
    late = [run("late", {"epoch": [30, 40], "evaluation_loss": [1, 1]})]
    with pytest.raises(InputError, match="no common range: a0 ends at epoch 20, late begins at"):
        verdict_of(a, late)
    updates = [run("u", {"epoch": [0, 500], "evaluation_loss": [1, 1]})]
    with pytest.raises(InputError, match="different units"):
        verdict_of(a, updates)
    lost = [diverged(x) for x in group(rng, 3, "c")]
    with pytest.raises(InputError, match="c0: a positive control that diverged"):
        verdict_of(a, group(rng, 3, "b"), margin=None, positive_control=lost)
    for columns, message in [
        ({"epoch": [0, 2, 1], "evaluation_loss": [1, 1, 1]}, "epoch does not ascend"),
        ({"epoch": [0, np.nan], "evaluation_loss": [1, 1]}, "epoch does not ascend"),
        ({"epoch": [0, 1], "evaluation_loss": [1]}, r"has shape \(1,\)"),
        ({"epoch": [0, 1], "evaluation_loss": [1, np.inf]}, "beyond 1e"),
        ({"epoch": [0, 1], "evaluation_loss": [1, 1], "other": [1, 1e200]}, "other is beyond 1e"),
    ]:
        with pytest.raises(InputError, match=message):
            verdict_of(a, [run("bad", columns)])
    never = [run("n", {"epoch": [0, 20], "evaluation_loss": [np.nan, np.nan]})]
    with pytest.raises(InputError, match="n: evaluation_loss was never measured"):
        verdict_of(a, never)


@pytest.mark.long
@pytest.mark.parametrize(("runs", "points"), [(3, 8), (5, 1), (8, 8)])
def test_rates_of_the_whole_comparison(runs, points):
    """2,000 repeats: each claim on its boundary at most at the level, by three standard errors."""
    limit = 0.05 + 3 * np.sqrt(0.05 * 0.95 / 2000)
    for shift in (0.03, -0.03):
        same, different, _ = rates(shift, repeats=2000, runs=runs, points=points)
        assert same <= limit
        assert different <= limit
    assert rates(0.0, repeats=2000, runs=runs, points=points, nulls=4)[2] <= limit


def test_the_end_of_the_common_range_is_compared():
    # a is measured at 0, 1000 … 8000 and 8500, b at 0, 1600 … 8000 and 8576: 8500 is their end.
    ends = {"a": (1000, 8500), "b": (1600, 8576)}
    groups = {}
    for name, (step, end) in ends.items():
        times = np.append(np.arange(0, 8001, step), end).astype(float)
        loss = 2 - times / 1e4
        groups[name] = [
            MeasuredRun(f"{name}{s}", {"examples": times, "loss": loss + 1e-3 * s}, seed=s)
            for s in range(3)
        ]
    found = compare_groups(groups, clock="examples", metrics=["loss"], margin=0.1, plan=False)
    first = found.pairs[0].quantities[0]
    assert first.points[-1] == 8500.0 == first.common_range[1]
    assert abs(first.effect) < 1e-9
