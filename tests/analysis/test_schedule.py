from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from noisescale import InputError, Phase, Schedule, sgd_noise_scale
from noisescale.recipe import step_schedule
from tests.reference import plan as naive

SMITH = step_schedule(
    epochs=200,
    batch_size=128,
    learning_rate=0.1,
    momentum=0.9,
    milestones=(60, 120, 160),
    decay_factor=5,
)


def phase(**changed):
    return Phase(**{"epochs": 1, "learning_rate": 0.1, "batch_size": 10, **changed})


def test_published_count_of_the_original_schedule():
    # Smith et al. 2018, section 5.2: about 80,000 updates.
    plan = SMITH.plan(50000)
    assert plan.updates == 78125
    assert plan.updates_exact == 78125.0
    assert plan.examples == 10_000_000
    assert [row.updates for row in plan.rows] == [23438, 23437, 15625, 15625]


@pytest.mark.parametrize(
    ("partial", "updates"), [("drop", 78000), ("keep", 78200), ("wrap", 78000)]
)
def test_other_policies(partial, updates):
    assert SMITH.plan(50000, partial).updates == updates  # 200 × ⌊390.625⌋ or ⌈390.625⌉


def test_rates_are_divided_as_decimals():
    assert [p.learning_rate for p in SMITH.phases] == [0.1, 0.02, 0.004, 0.0008]


phases = st.lists(st.tuples(st.integers(1, 400), st.integers(1, 30)), min_size=1, max_size=5)


@given(phases, st.integers(30, 90))
def test_drop_and_keep_equal_a_walk_over_the_batches(listed, train_size):
    schedule = Schedule([phase(epochs=None, examples=e, batch_size=b) for e, b in listed])
    for partial in ("drop", "keep"):
        expected = naive.by_epoch(listed, train_size, keep=partial == "keep")
        if not sum(expected):
            with pytest.raises(InputError, match="no update"):
                schedule.plan(train_size, partial)
            continue
        plan = schedule.plan(train_size, partial)
        assert [row.updates for row in plan.rows] == expected
        seen = sum(e for e, _ in listed)
        assert plan.examples == (
            seen if partial == "keep" else sum(r.updates * r.batch_size for r in plan.rows)
        )


mixed = st.lists(
    st.one_of(
        st.tuples(st.just("epochs"), st.integers(1, 60), st.integers(1, 30)),  # tenths of epochs
        st.tuples(st.just("examples"), st.integers(1, 200), st.integers(1, 30)),
        st.tuples(st.just("updates"), st.integers(1, 20), st.integers(1, 30)),
    ),
    min_size=1,
    max_size=6,
)


@settings(max_examples=400)
@given(mixed, st.integers(30, 77), st.booleans())
def test_drop_and_keep_of_mixed_durations_equal_a_walk(listed, train_size, keep):
    phases, walked = [], []
    for unit, amount, batch in listed:
        if unit == "epochs":
            phases.append(phase(epochs=amount / 10, batch_size=batch))
            walked.append(("examples", Fraction(amount, 10) * train_size, batch))
        else:
            phases.append(phase(epochs=None, batch_size=batch, **{unit: amount}))
            walked.append((unit, Fraction(amount), batch))
    expected = naive.walk(walked, train_size, keep)
    if sum(expected):
        plan = Schedule(phases).plan(train_size, "keep" if keep else "drop")
        assert [row.updates for row in plan.rows] == expected


@given(
    st.lists(st.tuples(st.integers(1, 999), st.integers(1, 64)), min_size=1, max_size=6),
    st.integers(64, 3000),
)
def test_carry_equals_the_formula_in_fractions(listed, train_size):
    schedule = Schedule([phase(epochs=e / 10, batch_size=b) for e, b in listed])
    expected = naive.carry([(Fraction(e, 10), b) for e, b in listed], train_size)
    if not sum(expected):
        return
    plan = schedule.plan(train_size)
    assert [row.updates for row in plan.rows] == expected
    assert plan.updates == sum(expected)
    end = Fraction(0)
    for (e, _), row in zip(listed, plan.rows, strict=True):
        end += Fraction(e, 10)
        last = row.start_update + row.updates
        assert plan.update_at(float(end)) == last or float(end) != end
    assert plan.update_at(0) == 0


def test_a_tie_rounds_up_even_where_floats_would_not():
    # 0.1 + 0.2 epochs of 25 examples at B = 3: 2.5 updates exactly.
    plan = Schedule([phase(epochs=0.1, batch_size=3), phase(epochs=0.2, batch_size=3)]).plan(25)
    assert plan.updates_exact == 2.5
    assert plan.updates == 3


def test_wrap_counts_whole_batches_as_an_epoch():
    plan = Schedule([phase(epochs=3, batch_size=30)]).plan(100, "wrap")
    assert (plan.updates, plan.examples) == (9, 270)
    same = Schedule([phase(epochs=None, examples=300, batch_size=30)]).plan(100, "wrap")
    assert same.updates == 9
    # The sum is rounded, not each phase: 1.5 + 1.5 updates.
    halves = Schedule([phase(epochs=0.5, batch_size=30), phase(epochs=0.5, batch_size=30)])
    assert [row.updates for row in halves.plan(100, "wrap").rows] == [2, 1]


@pytest.mark.parametrize("partial", ["carry", "drop", "keep", "wrap"])
def test_a_duration_in_updates_is_kept(partial):
    plan = Schedule([phase(epochs=None, updates=7), phase(epochs=None, updates=40)]).plan(
        33, partial
    )
    assert [row.updates for row in plan.rows] == [7, 40]


def test_epochs_after_updates_start_where_those_end():
    # drop: 33 examples give 3 updates of 10; 4 updates end 10 examples into epoch 2.
    schedule = Schedule([phase(epochs=None, updates=4), phase(epochs=1)])
    assert [r.updates for r in schedule.plan(33, "drop").rows] == [4, 2 + 1]


def test_without_a_train_size():
    plan = Schedule([phase(epochs=None, examples=1000, batch_size=8, momentum=0.5)]).plan()
    row = plan.rows[0]
    assert (plan.updates, row.epochs, row.noise_scale_finite_population) == (125, None, None)
    assert row.noise_scale == pytest.approx(0.1 / (8 * 0.5))
    with pytest.raises(InputError, match="train_size"):
        Schedule([phase()]).plan()
    with pytest.raises(InputError, match="train_size"):
        Schedule([phase(epochs=None, updates=3)]).plan(partial="drop")


def test_rows_carry_the_noise_scale():
    row = SMITH.plan(50000).rows[1]
    arguments = (row.learning_rate, row.batch_size, 50000, row.momentum)
    assert row.noise_scale == pytest.approx(sgd_noise_scale(*arguments), rel=1e-12)
    exact = sgd_noise_scale(*arguments, finite_population=True)
    assert row.noise_scale_finite_population == pytest.approx(exact, rel=1e-12)
    assert row.sde_time == pytest.approx(0.02 / 0.1 * 23437)


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"epochs": None}, "exactly one of epochs, updates, examples; given: none"),
        ({"updates": 3}, "given: epochs and updates"),
        ({"epochs": 0}, "epochs=0"),
        ({"epochs": float("inf")}, "epochs=inf"),
        ({"epochs": "long"}, "epochs='long'"),
        ({"epochs": None, "updates": 2.5}, "updates=2.5"),
        ({"epochs": None, "examples": -1}, "examples=-1"),
        ({"learning_rate": 0}, "learning_rate=0"),
        ({"learning_rate": float("nan")}, "learning_rate=nan"),
        ({"learning_rate": True}, "learning_rate=True"),
        ({"batch_size": 12.5}, "batch_size=12.5"),
        ({"batch_size": 0}, "batch_size=0"),
        ({"momentum": 1.0}, "momentum=1.0"),
        ({"weight_decay": -1e-4}, "weight_decay"),
    ],
)
def test_a_phase_refuses(changed, message):
    with pytest.raises(InputError, match=message.replace("(", r"\(")):
        phase(**changed)


def test_a_schedule_refuses():
    with pytest.raises(InputError, match="empty"):
        Schedule([])
    with pytest.raises(InputError, match="every entry must be a Phase"):
        Schedule([{"epochs": 1}])
    with pytest.raises(InputError, match="give a list"):
        Schedule(3)
    with pytest.raises(InputError, match="unknown optimizer 'adm'"):
        Schedule([phase()], optimizer="adm")
    with pytest.raises(InputError, match="did you mean 'carry'"):
        Schedule([phase()]).plan(100, "cary")
    with pytest.raises(InputError, match="batch_size=10 exceeds train_size=9"):
        Schedule([phase()]).plan(9)
    with pytest.raises(InputError, match="train_size=0"):
        Schedule([phase()]).plan(0)
    with pytest.raises(InputError, match="no update"):
        Schedule([phase(epochs=0.01)]).plan(50)


@settings(max_examples=30)
@given(st.lists(st.tuples(st.integers(1, 50), st.integers(1, 64)), min_size=1, max_size=5))
def test_update_at_ends_every_phase_on_its_last_update(listed):
    plan = Schedule([phase(epochs=e, batch_size=b) for e, b in listed]).plan(500)
    end = 0
    for (epochs, _), row in zip(listed, plan.rows, strict=True):
        end += epochs
        assert plan.update_at(end) == row.start_update + row.updates


def test_update_at_needs_the_stream():
    with pytest.raises(InputError, match="carry"):
        SMITH.plan(50000, "drop").update_at(1)
