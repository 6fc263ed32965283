"""Formulas that the other tests would let pass if they were a little wrong, each by hand."""

from math import exp

import numpy as np
import pytest

from noisescale import Phase, Schedule, equivalents
from noisescale.analysis import noise_scale as scale
from noisescale.analysis.accumulation import split_over_devices
from noisescale.analysis.cost import cost_of, fastest
from noisescale.analysis.equivalence import find_routes
from noisescale.analysis.same_run import compare_runs
from noisescale.formats import exported
from noisescale.recipe import parse_json, parse_toml, schedule_from, step_schedule
from tests.formats import test_pytorch
from tests.formats.test_formats import export, module_of
from tests.reference import shapes as twin

N = 10000
SMITH = step_schedule(
    epochs=200,
    batch_size=128,
    learning_rate=0.1,
    momentum=0.9,
    milestones=(60, 120, 160),
    decay_factor=5,
)
stand_in = test_pytorch.stand_in


def phase(**changed):
    return Phase(**{"epochs": 10, "learning_rate": 0.1, "batch_size": 100, **changed})


def route(schedule, name, size=N, **options):
    (found,) = equivalents(schedule, size, routes=[name], **options)
    return found


def row(found, name):
    return next(r for r in found.invariants if r.name == name)


def codes(found):
    return {w.code for w in found.warnings}


# Reshuffled epochs.


@pytest.mark.parametrize("memory", [0.04, 0.4, 4.0, 49.0, 51.0, 500.0])
def test_reshuffling_factor_is_one_function_of_any_memory(memory):
    """∫ (1−s)³ e^{−s/μ} ds / μ by quadrature, where the closed form cancels as well."""
    x, weights = np.polynomial.legendre.leggauss(200)
    s = (x + 1) / 2
    expected = np.sum(weights / 2 * (1 - s) ** 3 * np.exp(-s / memory)) / memory
    assert scale.reshuffling_factor(memory) == pytest.approx(expected, rel=1e-6)


def test_slow_variance_of_reshuffled_epochs_by_hand():
    # g = .1 × 10,000/100 = 10 without momentum, 100 with .9, whose memory is .1 epochs.
    assert scale.reshuffled_slow_variance(0.1, 100, 0.0, N) == pytest.approx(10**2 / (6 * N))
    left = 1 - 0.3 + 0.06 - 0.006 * (1 - exp(-10))
    expected = 100**2 / (6 * N) * left
    assert scale.reshuffled_slow_variance(0.1, 100, 0.9, N) == pytest.approx(expected)


def test_a_memory_of_more_than_an_epoch_is_told():
    # 5,000/(10,000 × .5) is one epoch.
    plain = Schedule([phase(momentum=0.5)])
    assert "momentum-memory" not in codes(route(plain, "learning-rate", target_batch_size=5000))
    assert "momentum-memory" in codes(route(plain, "learning-rate", target_batch_size=5001))


# The clock.


@pytest.mark.parametrize(
    ("partial", "begins"),
    [
        # 500 examples of the first epoch are left: one batch of 300, or two with the rest.
        ("drop", [0, 500, 800, 1100, 1500, 1800, 2100]),
        ("keep", [0, 300, 500, 800, 1100, 1400, 1500, 1800, 2100, 2400]),
    ],
)
def test_a_shape_inside_an_epoch_follows_the_clock_of_whole_batches(partial, begins):
    line = {"shape": "linear", "start": 1.0, "end": 0.0}
    schedule = Schedule(
        [
            phase(epochs=0.5, batch_size=300),
            phase(epochs=2.5, batch_size=300, learning_rate=line),
        ]
    )
    rates = schedule.plan(1000, partial).rows[1].learning_rates()
    np.testing.assert_allclose(rates, 1 - np.array(begins) / 2500)


def test_a_part_of_a_shape_goes_on_before_its_phase():
    # 6 updates of 16 for 100 examples: update 7 begins 4 examples before its phase, where the
    # shape stands at 196 examples.
    line = {"shape": "linear", "start": 1.0, "end": 0.0, "of": {"examples": 1000}}
    for skip, first in ((0, 1.0), (200, 1 - 196 / 1000)):  # a part of a shape goes on before it
        cut = {"skip": {"examples": skip}} if skip else {}
        parts = [
            phase(epochs=None, examples=100, batch_size=16),
            phase(epochs=None, examples=640, batch_size=16, learning_rate=line | cut),
        ]
        rates = Schedule(parts).plan().rows[1].learning_rates()
        later = [1 - (skip + 12) / 1000, 1 - (skip + 28) / 1000]
        np.testing.assert_allclose(rates[:3], [first, *later])


def test_a_run_cut_at_an_epoch_is_cut_at_the_nearest_example():
    run = Schedule([phase()]).after(epochs=0.5, train_size=1001)
    assert run.resumed.examples == 501


def test_a_phase_states_its_highest_rate():
    shape = {"shape": "linear", "start": 0.1, "end": 0.0, "warmup": {"epochs": 2, "start": 0.02}}
    described = Schedule([phase(learning_rate=shape)]).plan(N).rows[0].described()
    names = ("learning_rate", "learning_rate_max", "learning_rate_end")
    assert [described[name] for name in names] == [0.02, 0.1, 0.0]


def test_a_run_cut_twice_counts_all_its_updates():
    once = Schedule([phase()]).after(examples=30000, train_size=N)
    assert once.resumed.updates == 300
    assert once.after(examples=2000, train_size=N).resumed.updates == 320


def test_the_rate_at_the_cut_is_that_of_the_piece_it_is_in():
    shape = {"shape": "linear", "start": 0.1, "end": 0.0, "warmup": {"epochs": 2}}
    run = Schedule([phase(learning_rate=shape)])
    # Half of the way down from epoch 2 to epoch 10; half of the way up to epoch 2.
    assert run.after(examples=6 * N, train_size=N).resumed.learning_rate == pytest.approx(0.05)
    assert run.after(examples=N, train_size=N).resumed.learning_rate == pytest.approx(0.05)
    later = run.after(examples=9 * N, train_size=N).resumed.learning_rate
    assert later == pytest.approx(0.0125)


@pytest.mark.usefixtures("stand_in")
def test_the_sampler_ends_a_phase_at_the_rounded_example(tmp_path):
    # Half of 1,001 examples is 500.5: the first phase has 501, and its last batch one.
    schedule = Schedule([phase(epochs=0.5, batch_size=50), phase(epochs=0.5, batch_size=70)])
    text = exported(export(schedule, "keep", 1001), "pytorch")
    batches = list(module_of(text, tmp_path, "made_keep").BatchPlan(1001))
    assert [len(b) for b in batches] == [50] * 10 + [1] + [70] * 7 + [10]


# Batch ramps.

FALLING = {
    "linear": {"shape": "linear", "start": 0.1, "end": 0.0},
    "cosine": {"shape": "cosine", "start": 0.1, "end": 0.0},
    "exponential": {"shape": "exponential", "start": 0.1, "end": 0.01},
    "polynomial": {"shape": "polynomial", "start": 0.1, "end": 0.0, "power": 2.5},
    "inverse-sqrt": {"shape": "inverse-sqrt", "start": 0.1, "timescale": {"epochs": 0.3}},
    "wsd-sqrt": {
        "shape": "wsd",
        "start": 0.1,
        "end": 0.01,
        "decay": {"epochs": 8},
        "decay_form": "sqrt",
    },
}


@pytest.mark.parametrize("name", FALLING)
def test_a_ramp_has_the_batch_next_below_the_decay(name):
    size, batch, cap = 10**6, 64, 400
    found = route(
        Schedule([phase(learning_rate=FALLING[name], batch_size=batch)]),
        "grow-batch",
        size,
        max_batch_size=cap,
    )
    assert found.plan.rows[-1].batch_size > 150
    for number, grown in enumerate(found.plan.rows):
        times = np.linspace(float(grown.start_examples), float(grown.end_examples), 9)[1:-1]
        for time in times:
            rate = twin.rate(FALLING[name], time, 10 * size, size, batch)
            wanted = min(batch * 0.1 / rate, cap)
            # Steps of a 64th, rounded up to a whole example; the batch is never above the decay.
            step = -(-grown.batch_size // 64)
            assert -0.01 <= wanted - grown.batch_size <= 1.05 * step, (number, time)


@pytest.mark.parametrize("name", FALLING)
def test_a_ramp_has_the_original_noise_scale_at_every_update(name):
    """Also at the first update of a stretch, which rounding lets begin beside its boundary."""
    size, batch, cap = 50000, 64, 400
    schedule = Schedule([phase(learning_rate=FALLING[name], batch_size=batch)])
    found = route(schedule, "grow-batch", size, max_batch_size=cap)
    sizes, rates = found.plan.batch_sizes(), found.plan.learning_rates()
    seen = np.concatenate([[0], np.cumsum(sizes)[:-1]])
    inside = seen < 10 * size
    wanted = [twin.rate(FALLING[name], time, 10 * size, size, batch) for time in seen[inside]]
    np.testing.assert_allclose((rates / sizes)[inside], np.array(wanted) / batch, rtol=1e-6)


def test_a_ramp_never_exceeds_the_highest_rate():
    # 100 lies nearer to 128 than to 64, but 128 would ask for 1.28 times the learning rate.
    schedule = Schedule([phase(learning_rate=FALLING["linear"])])
    found = route(schedule, "grow-batch", 10**6, granularity=64, max_batch_size=1000)
    assert [found.plan.rows[i].batch_size for i in (0, 1, -1)] == [64, 128, 960]
    assert found.plan.learning_rates().max() < 0.1001  # an update begins just before its part


def test_a_cap_between_two_granules_is_not_exceeded():
    found = route(SMITH, "grow-batch", 50000, granularity=100, max_batch_size=5150)
    assert found.schedule.phases[-1].batch_size == 5100
    assert found.schedule.phases[-1].learning_rate == pytest.approx(0.0008 * 5100 / 128)


def test_without_a_cap_no_batch_exceeds_the_training_set():
    found = route(SMITH, "grow-batch", N)
    assert [p.batch_size for p in found.schedule.phases] == [128, 640, 3200, N]
    assert found.schedule.phases[-1].learning_rate == pytest.approx(0.0008 * N / 128)


def test_a_cap_that_just_suffices_stops_nothing():
    assert "cap-reached" not in codes(route(SMITH, "grow-batch", 50000, max_batch_size=16000))
    assert "cap-reached" in codes(route(SMITH, "grow-batch", 50000, max_batch_size=15999))
    target = {"target_batch_size": 640, "max_batch_size": 640}
    assert "cap-reached" not in codes(route(SMITH, "learning-rate", 50000, **target))


# Routes.


def test_a_scaled_warm_up_keeps_g_from_its_first_update():
    shape = {"shape": "constant", "start": 0.1, "warmup": {"epochs": 2, "start": 0.02}}
    found = route(Schedule([phase(learning_rate=shape)]), "learning-rate", target_batch_size=400)
    rates = found.plan.learning_rates()
    assert rates[0] == pytest.approx(0.08)
    assert rates[25] == pytest.approx(0.24)  # half of the 50 updates of the warm-up
    assert row(found, "noise_scale").max_relative_deviation < 1e-9


@pytest.mark.parametrize("name", ["cosine", "step", "wsd", "inverse-sqrt"])
def test_regime_adaptation_keeps_the_rate_of_every_update(name):
    warm = {"epochs": 2, "start": 0.02}
    shape = {
        "cosine": {"shape": "cosine", "start": 0.1, "warmup": warm},
        "step": {"shape": "step", "start": 0.1, "factor": 5, "milestones": {"epochs": [3, 7.5]}},
        "wsd": {"shape": "wsd", "start": 0.1, "decay": {"updates": 300}, "warmup": warm},
        "inverse-sqrt": {"shape": "inverse-sqrt", "start": 0.1, "timescale": {"examples": 7000}},
    }[name]
    old = Schedule([phase(learning_rate=shape)])
    found = route(old, "regime-adaptation", target_batch_size=400)
    # √4 times the rate, update by update, over four times the epochs.
    np.testing.assert_allclose(
        found.plan.learning_rates(), 2 * old.plan(N).learning_rates(), rtol=1e-9
    )
    assert row(found, "diffusion_per_update").max_relative_deviation < 1e-9


def test_a_composed_route_knows_the_phases_of_the_original():
    shape = {"shape": "step", "start": 0.1, "factor": 4, "milestones": {"epochs": [3, 6]}}
    schedule = Schedule([phase(learning_rate=shape), phase(learning_rate=0.00625)])
    found = route(schedule, "grow-batch+learning-rate", target_batch_size=200)
    assert found.parents == (0, 0, 0, 1)
    assert row(found, "noise_scale").kept and row(found, "sde_time").kept


def test_a_route_dates_its_first_difference_in_epochs():
    found = route(SMITH, "grow-batch", 50000, max_batch_size=5120)
    assert row(found, "noise_scale").differs_from is None
    assert row(found, "momentum_memory_epochs").differs_from == pytest.approx(60)
    # 1/B − 1/N against a fifth of it at five times the batch: 1.03 %; so already at 60 epochs.
    assert row(found, "temperature").differs_from == pytest.approx(60)
    # The correction 1 − B/N: .9974 against .9872, 1.03 %.
    assert row(found, "finite_population_correction").differs_from == pytest.approx(60)


def test_of_equal_deviations_the_largest_quantity_is_shown():
    """√κ less noise in every phase: the first, with the highest g, is shown."""
    found = route(SMITH, "sqrt", 50000, target_batch_size=512)
    g = row(found, "noise_scale")  # .1 × 50,000/(128 × .1), and .2 of 512
    assert (g.before, g.after) == pytest.approx((390.625, 195.3125))


@pytest.mark.parametrize("name", ["sqrt", "regime-adaptation"])
def test_only_rounding_is_told_as_lost_time(name):
    # 1,000 updates become 250, or stay 1,000: nothing is rounded, though the SDE time changes.
    found = route(Schedule([phase()]), name, target_batch_size=400)
    assert not row(found, "sde_time").kept
    assert "sde-time" not in codes(found)


def test_a_batch_that_devices_do_not_divide_is_covered():
    assert split_over_devices(10, None, 4) == (3, 1, 4)
    assert split_over_devices(10, 2, 4) == (2, 2, 4)


def test_both_sides_are_planned_by_the_same_policy():
    found, _ = find_routes(
        Schedule([phase(batch_size=60)]),
        100,
        routes=["learning-rate"],
        target_batch_size=30,
        partial="drop",
    )
    updates = row(found[0], "updates")  # one of 60 and three of 30 per epoch
    assert (updates.before, updates.after) == (10, 30)


def test_the_fastest_is_that_of_equal_progress():
    """100 and 900 examples at a critical batch of 900: a tenth and a half of a noiseless update."""
    plans = {b: Schedule([phase(batch_size=b)]).plan(9000) for b in (100, 900)}
    throughput = {100: 1000.0, 900: 1500.0}
    listed = [
        cost_of(str(b), plan, throughput=throughput, critical_batch_size=900)
        for b, plan in plans.items()
    ]
    # 90,000 examples in 90 or 60 s; 900 updates of 1/10 or 100 of 1/2: 90 or 50 noiseless ones.
    assert [c.seconds for c in listed] == pytest.approx([90, 60])
    assert [c.progress for c in listed] == pytest.approx([90, 50])
    assert fastest(listed, "none").name == "100"


# Two recipes side by side.


def test_a_later_cosine_written_as_a_whole_is_the_same_run():
    parts = Schedule(
        [phase(epochs=5), phase(learning_rate={"shape": "cosine", "start": 0.1, "end": 0.01})]
    )
    shape = {"shape": "wsd", "start": 0.1, "end": 0.01, "decay": {"epochs": 10}}
    whole = Schedule([phase(epochs=15, learning_rate=shape | {"decay_form": "cosine"})])
    found = compare_runs(parts, whole, N)
    assert found.same, found.reason
    assert row(found, "noise_scale").max_relative_deviation < 1e-9


def test_two_forms_of_decay_are_each_counted_in_their_own():
    """λ ε/(1−m) coupled is what 10 λ ε is decoupled at m = .9."""
    coupled = Schedule([phase(momentum=0.9, weight_decay=1e-4)])
    decoupled = Schedule([phase(momentum=0.9, weight_decay=1e-3)], decay="decoupled")
    found = compare_runs(coupled, decoupled, N)
    assert found.same, found.reason
    shrinkage = row(found, "weight_decay_per_epoch")  # 100 updates of 1e-4
    assert (shrinkage.before, shrinkage.after) == pytest.approx((0.01, 0.01))


def test_the_time_of_a_difference_is_exact():
    """.1 (1 − x) against .1 (1 − x/2): .5 x/(1 − x) = 1 % at x = .02/1.02 of ten epochs."""
    one, other = (
        Schedule([phase(learning_rate={"shape": "linear", "start": 0.1, "end": end})])
        for end in (0.0, 0.05)
    )
    found = row(compare_runs(one, other, N), "noise_scale")
    assert found.differs_from == pytest.approx(0.2 / 1.02, rel=1e-6)


def test_a_difference_in_the_middle_counts():
    rates = (0.1, 0.05, 0.02), (0.1, 0.06, 0.02)
    one, other = (Schedule([phase(learning_rate=r) for r in listed]) for listed in rates)
    g = row(compare_runs(one, other, N), "noise_scale")
    assert not g.kept
    assert (g.before, g.after) == pytest.approx((5, 6))  # × 10,000/100
    assert g.differs_from == pytest.approx(10)


def test_the_earliest_difference_is_told():
    one = Schedule([phase(), phase(learning_rate=0.02)])
    # The weight decay differs from epoch 5, the noise scale from epoch 10.
    other = Schedule(
        [
            phase(epochs=5),
            phase(epochs=5, weight_decay=1e-4),
            phase(learning_rate=0.03, weight_decay=1e-4),
        ]
    )
    found = compare_runs(one, other, N)
    assert row(found, "noise_scale").differs_from == pytest.approx(10)
    assert "weight decay per epoch differs from epoch 5," in found.reason


# Recipes.


def test_milestones_of_several_units_read_back():
    shape = {
        "shape": "step",
        "start": 0.1,
        "factor": 5,
        "milestones": [{"epochs": 3}, {"updates": 400}, {"examples": 60000}],
    }
    schedule = Schedule([phase(learning_rate=shape)])
    for form, read in (("toml", parse_toml), ("json", parse_json)):
        text = exported(export(schedule, "carry", N), form)
        assert schedule_from(read(text, "x")) == (schedule, N, "carry")


def test_step_schedule_divides_decimals_not_floats():
    # In binary floating point 0.7 / 5 is 0.13999999999999999.
    schedule = step_schedule(
        epochs=9, batch_size=4, learning_rate=0.7, milestones=(3, 6), decay_factor=5
    )
    assert [p.learning_rate for p in schedule.phases] == [0.7, 0.14, 0.028]
