"""Shapes in time against their textbook formulas, and the rest of a run against the whole."""

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from noisescale import Duration, InputError, Phase, Schedule, Shape, Warmup
from noisescale.analysis.handover import handover_notes
from tests.reference import shapes as twin

N, B = 1000, 16
WARM = {"epochs": 2, "start": 0.02}
EVERY = {
    "constant": {"shape": "constant", "start": 0.3, "warmup": WARM},
    "step": {"shape": "step", "start": 0.3, "factor": 4, "milestones": {"epochs": [3, 7.5]}},
    "step-updates": {
        "shape": "step",
        "start": 0.3,
        "factor": 10,
        "milestones": {"updates": [100, 333]},
        "warmup": {"examples": 777},
    },
    "linear": {"shape": "linear", "start": 0.3, "end": 0.06, "warmup": {"updates": 40}},
    "rising": {"shape": "linear", "start": 0.1, "end": 0.7},
    "cosine": {"shape": "cosine", "start": 0.3, "end": 0.0, "warmup": WARM},
    "cosine-end": {"shape": "cosine", "start": 0.3, "end": 0.03},
    "exponential": {"shape": "exponential", "start": 0.3, "end": 3e-4, "warmup": WARM},
    "polynomial": {"shape": "polynomial", "start": 0.3, "end": 0.01, "power": 1.7},
    "polynomial-linear": {"shape": "polynomial", "start": 0.3},
    "inverse-sqrt": {"shape": "inverse-sqrt", "start": 0.3, "warmup": WARM},
    "inverse-sqrt-time": {"shape": "inverse-sqrt", "start": 0.3, "timescale": {"examples": 500}},
    "wsd": {"shape": "wsd", "start": 0.3, "decay": {"epochs": 3}, "warmup": WARM},
    **{
        f"wsd-{form}": {
            "shape": "warmup-stable-decay",
            "start": 0.3,
            "end": 0.003,
            "decay": {"examples": 2900},
            "decay_form": form,
        }
        for form in ("linear", "cosine", "exponential", "sqrt")
    },
}


def phase(shape, **changes):
    return Phase(**{"epochs": 10.3, "learning_rate": shape, "batch_size": B, **changes})


@pytest.mark.parametrize("name", EVERY)
def test_update_k_has_the_rate_at_the_examples_seen_before_it(name):
    plan = Schedule([phase(EVERY[name])]).plan(N)
    seen = np.arange(plan.updates) * B
    expected = [twin.rate(EVERY[name], t, 10.3 * N, N, B) for t in seen]
    np.testing.assert_allclose(plan.learning_rates(), expected, rtol=1e-9, atol=1e-9)
    row = plan.rows[0]
    assert row.learning_rate == pytest.approx(expected[0])
    assert row.learning_rate_end == pytest.approx(twin.rate(EVERY[name], 10300, 10300, N, B))
    assert row.noise_scale == pytest.approx(row.learning_rate * N / B)
    assert row.noise_scale_end == pytest.approx(row.learning_rate_end * N / B)
    assert row.noise_scale_finite_population_end == pytest.approx(
        row.learning_rate_end * (N / B - 1)
    )
    assert plan.sde_time == pytest.approx(sum(expected))
    assert row.rate_square_sum == pytest.approx(sum(e**2 for e in expected))


def test_values_that_can_be_read_off():
    def rates(shape, **changes):
        return (
            Schedule([phase(shape, epochs=100, batch_size=10, **changes)]).plan(N).learning_rates()
        )

    cosine = rates({"shape": "cosine", "start": 0.2})
    assert cosine[0] == 0.2 and cosine[5000] == pytest.approx(0.1)
    assert cosine[2500] == pytest.approx(0.1 + 0.1 / 2**0.5)
    # Goyal et al. 2017: from 0.1 to 3.2 over five epochs; at 0, 2.5 and 5 epochs.
    ramp = rates({"shape": "constant", "start": 3.2, "warmup": {"epochs": 5, "start": 0.1}})
    np.testing.assert_allclose(ramp[[0, 250, 500, 9999]], [0.1, 1.65, 3.2, 3.2])
    # Vaswani et al. 2017: ε √(warm-up/updates) after a linear warm-up.
    decay = rates({"shape": "inverse-sqrt", "start": 1.0, "warmup": {"updates": 400}})
    np.testing.assert_allclose(decay[[100, 400, 1600, 6400]], [0.25, 1, 0.5, 0.25])
    halves = rates({"shape": "exponential", "start": 1.0, "end": 1 / 16})
    np.testing.assert_allclose(halves[[2500, 5000, 7500]], [1 / 2, 1 / 4, 1 / 8])
    # The first update of a warm-up from 0 takes no step, as in optax and transformers.
    assert rates({"shape": "constant", "start": 1.0, "warmup": {"epochs": 5}})[0] == 0.0


def test_phases_are_joined_on_one_clock():
    """A phase whose start was rounded: its shape runs on the stream, not on the rounded phase."""
    schedule = Schedule(
        [
            phase(0.5, epochs=None, examples=100),  # 6.25 updates of 16: 6
            phase({"shape": "linear", "start": 1.0, "end": 0.0}, epochs=None, examples=640),
            phase({"shape": "linear", "start": 1.0, "end": 0.0}, epochs=None, examples=90),
        ]
    )
    rows = schedule.plan().rows
    assert [row.updates for row in rows] == [6, 40, 6]
    # Update 7 begins at example 96, before the second phase's nominal start at 100.
    second = rows[1].learning_rates()
    np.testing.assert_allclose(second[:3], [1.0, 1 - 12 / 640, 1 - 28 / 640])
    third = rows[2].learning_rates()  # from example 736, 4 before its start at 740
    np.testing.assert_allclose(third, [1.0, *(1 - (16 * k - 4) / 90 for k in range(1, 6))])


@pytest.mark.parametrize("partial", ["drop", "keep", "wrap"])
def test_partial_batches_pass_on_the_clock(partial):
    """Three batches of 300 and a rest of 100 per epoch of 1,000."""
    plan = Schedule(
        [phase({"shape": "linear", "start": 1.0, "end": 0.0}, epochs=4, batch_size=300)]
    ).plan(N, partial)
    begins = {
        "drop": [e * 1000 + 300 * j for e in range(4) for j in range(3)],
        "keep": [e * 1000 + 300 * j for e in range(4) for j in range(4)],
        "wrap": [1000 / 3 * k for k in range(12)],
    }[partial]
    np.testing.assert_allclose(plan.learning_rates(), 1 - np.array(begins) / 4000)


def test_very_many_updates_are_summed_to_the_integral():
    shape = {"shape": "cosine", "start": 0.2, "end": 0.1, "warmup": {"examples": 10**9}}
    plan = Schedule([phase(shape, epochs=None, examples=10**10, batch_size=100)]).plan()
    assert plan.updates == 10**8
    # ∫ over updates, plus half a step of the left end less the right one.
    warm, rest = 0.1 * 10**7, 0.15 * 9 * 10**7
    assert plan.sde_time == pytest.approx(warm + rest, rel=1e-8)
    squares = 0.2**2 / 3 * 10**7 + (0.15**2 + 0.05**2 / 2) * 9 * 10**7
    assert plan.rows[0].rate_square_sum == pytest.approx(squares, rel=1e-8)


def test_a_shape_may_be_written_as_a_class_or_a_mapping():
    by_class = Shape(
        shape="cosine", start=0.1, end=0.01, warmup=Warmup(epochs=5), of=Duration(epochs=90)
    )
    by_mapping = {
        "shape": "cosine",
        "start": 0.1,
        "end": 0.01,
        "warmup": {"epochs": 5},
        "of": {"epochs": 90},
    }
    assert phase(by_class, epochs=60) == phase(by_mapping, epochs=60)
    assert phase({"shape": "constant", "start": 0.1}).learning_rate == 0.1
    assert phase(by_class).learning_rate.warmup.duration == Duration(epochs=5.0)
    scaled = by_class.scaled(Fraction(5))
    assert (scaled.start, scaled.end, scaled.warmup.start) == (0.5, 0.05, 0.0)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"shape": "cosin"}, "did you mean 'cosine'"),
        ({"start": 0}, "start=0"),
        ({"start": "high"}, "start='high'"),
        ({"end": -1}, "end=-1"),
        ({"end": float("nan")}, "end=nan"),
        ({"power": 2}, "power does not belong to shape 'cosine', only to polynomial"),
        ({"warmup": 5}, "with its unit"),
        ({"warmup": {"epochs": 5, "updates": 3}}, "given: epochs and updates"),
        ({"warmup": {"epoch": 5}}, "did you mean 'epochs'"),
        ({"warmup": {"epochs": -1}}, "epochs=-1"),
        ({"warmup": {"epochs": 11}}, "fills the shape"),
        ({"of": {"epochs": 9}}, "lengthen `of`"),
        ({"skip": {"epochs": 2}, "of": {"epochs": 11}}, "runs to 12,300 examples"),
        ({"shape": "step", "end": None}, "needs milestones"),
        ({"shape": "step", "end": None, "milestones": [60], "factor": 10}, "with their unit"),
        ({"shape": "step", "end": None, "milestones": {"epochs": 60}, "factor": 10}, "their unit"),
        (
            {"shape": "step", "end": None, "milestones": {"epochs": [5, 3]}, "factor": 10},
            "must increase",
        ),
        (
            {"shape": "step", "end": None, "milestones": {"epochs": [50]}, "factor": 10},
            "must increase",
        ),
        ({"shape": "exponential", "end": 0}, "end above 0"),
        ({"shape": "exponential", "end": None}, "end above 0"),
        ({"shape": "inverse-sqrt", "end": None}, "needs a warmup or a timescale"),
        ({"shape": "inverse-sqrt"}, "end does not belong"),
        ({"shape": "wsd"}, "needs decay"),
        ({"shape": "wsd", "decay": {"epochs": 11}}, "longer than the shape"),
        ({"shape": "wsd", "decay": {"epochs": 1}, "decay_form": "cos"}, "did you mean 'cosine'"),
        ({"stert": 1}, "did you mean 'start'"),
    ],
)
def test_refuses(changes, message):
    shape = {"shape": "cosine", "start": 0.1, "end": 0.0, **changes}
    shape = {k: v for k, v in shape.items() if v is not None}
    with pytest.raises(InputError, match=message.replace("(", r"\(")):
        Schedule([phase(shape)]).plan(N)


def test_units_that_need_a_train_size():
    mixed = phase({"shape": "linear", "start": 1.0, "warmup": {"updates": 3}}, epochs=2)
    with pytest.raises(InputError, match="needs train_size"):
        mixed.clock_size(None)
    tokens = phase(
        {"shape": "linear", "start": 1.0, "warmup": {"updates": 3}}, epochs=None, examples=1600
    )
    assert Schedule([tokens]).plan().updates == 100


# The rest of a run -------------------------------------------------------------------------


@settings(max_examples=150, deadline=None)
@given(
    st.sampled_from(sorted(EVERY)),
    st.sampled_from(sorted(EVERY)),
    st.integers(0, 1300),
    st.integers(1, 40),
)
def test_the_rest_of_a_run_has_the_rates_of_the_whole(one, two, updates, batch):
    """Cut after whole updates, the rest is the tail of the plan."""
    schedule = Schedule(
        [
            phase(EVERY[one], batch_size=batch, momentum=0.9),
            phase(EVERY[two], epochs=None, updates=400, batch_size=batch),
        ]
    )
    try:
        whole = schedule.plan(N)
    except InputError:  # a milestone or warm-up in updates that is longer than the phase
        return
    updates = min(updates, whole.updates - 1)
    rest = schedule.after(examples=updates * batch, train_size=N)
    tail = rest.plan(N).learning_rates()
    assert abs(len(tail) - (whole.updates - updates)) <= 1
    number = min(len(tail), whole.updates - updates)
    boundary = whole.rows[0].updates - updates  # rounding may move the update at the seam
    keep = np.abs(np.arange(number) - boundary) > 1
    np.testing.assert_allclose(
        tail[:number][keep],
        whole.learning_rates()[updates:][:number][keep],
        rtol=1e-6,
        atol=1e-9,
    )


def test_cutting_twice_is_cutting_once():
    schedule = Schedule([phase(EVERY["cosine"]), phase(0.1), phase(EVERY["wsd"])])
    for first, second in ((500, 300), (10300, 5), (12000, 9000), (2000, 25000)):
        once = schedule.after(examples=first + second, train_size=N)
        twice = schedule.after(examples=first, train_size=N).after(examples=second, train_size=N)
        assert twice.resumed.examples == first + second == once.resumed.examples
        np.testing.assert_allclose(
            twice.plan(N).learning_rates(), once.plan(N).learning_rates(), rtol=1e-12
        )
    assert schedule.after(examples=0, train_size=N) is schedule


def test_what_is_left_keeps_its_unit_where_that_is_exact():
    plain = Schedule([phase(0.1, epochs=2), phase(0.02, epochs=None, updates=50)])
    rest = plain.after(examples=500, train_size=N)
    assert rest.phases[0] == phase(0.1, epochs=1.5)
    assert rest.phases[1] == plain.phases[1]
    later = plain.after(examples=2000 + 5 * B, train_size=N)
    assert later.phases == (phase(0.02, epochs=None, updates=45),)
    odd = plain.after(examples=2001, train_size=N)
    assert odd.phases == (phase(0.02, epochs=None, examples=50 * B - 1),)
    assert (later.resumed.updates, later.resumed.batch_size) == (130, B)
    assert plain.after(examples=2000, train_size=N).resumed.learning_rate == 0.1


def test_after_refuses():
    schedule = Schedule([phase(0.1, epochs=2)])
    for examples, message in (
        (2000, "over after 2,000 examples"),
        (-1, "examples=-1"),
        (0.5, "examples=0.5"),
        (True, "examples=True"),
    ):
        with pytest.raises(InputError, match=message):
            schedule.after(examples=examples, train_size=N)
    with pytest.raises(InputError, match="needs train_size"):
        schedule.after(examples=5)
    with pytest.raises(InputError, match="train_size=0"):
        schedule.after(examples=5, train_size=0)


def test_handover_says_what_becomes_of_the_state():
    run = Schedule([Phase(epochs=10, learning_rate=0.1, batch_size=100, momentum=0.9)])
    rest = run.after(examples=3000, train_size=N)
    assert handover_notes(run, run, N) == []
    same = {w.code: w.message for w in handover_notes(rest, rest, N)}
    assert "keep the momentum buffer;" in same["momentum-buffer"]
    assert "times 1;" in same["momentum-buffer"]
    assert "stands at 30 (3,000 examples)" in same["scheduler-step"]
    changed = rest.with_phases([Phase(epochs=7, learning_rate=0.2, batch_size=400, momentum=0.95)])
    notes = {w.code: w.message for w in handover_notes(rest, changed, N)}
    # v is ∇/(1−m) in the end: × .1/.05; with ε inside, × .2/.1 as well.
    assert "(1−m)/(1−m') = 2;" in notes["momentum-buffer"]
    assert "times 4;" in notes["momentum-buffer"]
    assert "19 updates of drift" in notes["momentum-buffer"]
    assert "changes 0.25-fold" in notes["adam-moments"]
    assert "moves 4 times as far" in notes["scheduler-step"]
