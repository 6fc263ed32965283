from itertools import pairwise

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from noisescale import InputError, Phase, Schedule, equivalents
from noisescale.recipe import step_schedule

N = 50000
SMITH = step_schedule(
    epochs=200,
    batch_size=128,
    learning_rate=0.1,
    momentum=0.9,
    weight_decay=5e-4,
    milestones=(60, 120, 160),
    decay_factor=5,
)


def route(schedule, name, **options):
    (found,) = equivalents(schedule, options.pop("train_size", N), routes=[name], **options)
    return found


def hyper(found):
    return [(p.learning_rate, p.batch_size, p.momentum) for p in found.schedule.phases]


def invariant(found, name):
    return next(i for i in found.invariants if i.name == name)


def codes(found):
    return {w.code for w in found.warnings}


def test_smith_increasing_batch_size():
    # Section 5.2, row 2: about 29,000 updates; past 5,120 the learning rate decays instead.
    found = route(SMITH, "grow-batch", max_batch_size=5120)
    assert hyper(found) == [
        (0.1, 128, 0.9),
        (0.1, 640, 0.9),
        (0.1, 3200, 0.9),
        (0.032, 5120, 0.9),
    ]
    assert (found.updates, found.plan.updates_exact) == (29141, 29140.625)
    assert "cap-reached" in codes(found)


def test_smith_hybrid():
    # Section 5.1: the first drop by the batch, the later ones by the rate; 34,375 updates.
    found = route(SMITH, "hybrid")
    assert hyper(found) == [
        (0.1, 128, 0.9),
        (0.1, 640, 0.9),
        (0.02, 640, 0.9),
        (0.004, 640, 0.9),
    ]
    assert found.updates == 34375
    capped = route(SMITH, "hybrid", max_batch_size=512)
    assert hyper(capped)[1] == (0.08, 512, 0.9)
    assert "cap-reached" in codes(capped)


def test_smith_increased_learning_rate_and_momentum():
    # Rows 3 and 4: fewer than 6,500 and 2,500 updates.
    composed = route(SMITH, "learning-rate+grow-batch", target_batch_size=640, max_batch_size=5120)
    assert (composed.name, composed.updates) == ("learning-rate+grow-batch", 6406)
    faster = route(SMITH, "learning-rate", target_batch_size=640)
    heavier = route(faster.schedule, "momentum", target_batch_size=3200)
    assert hyper(heavier)[0] == (0.5, 3200, 0.98)
    assert route(heavier.schedule, "grow-batch", max_batch_size=5120).updates == 2305


def test_blog_arms():
    blog = step_schedule(
        epochs=250,
        batch_size=128,
        learning_rate=0.1,
        momentum=0.9,
        milestones=(100, 150, 200),
        decay_factor=5,
    )
    by_name = {e.name: e for e in equivalents(blog, N)}
    grow, rate, momentum = (by_name[n] for n in ("grow-batch", "learning-rate", "momentum"))
    assert [p.batch_size for p in grow.schedule.phases] == [128, 640, 3200, 16000]
    assert hyper(rate)[0] == (0.5, 640, 0.9)
    assert hyper(momentum)[0] == (0.1, 640, 0.98)
    # 16,000 of 50,000 is not small: g is kept, the temperature is not (3.117 against 2.125).
    last = grow.plan.rows[-1]
    assert last.noise_scale == pytest.approx(3.125)
    assert last.noise_scale_finite_population == pytest.approx(2.125)
    assert invariant(grow, "noise_scale").kept
    temperature = invariant(grow, "temperature")
    assert not temperature.kept
    assert temperature.max_relative_deviation == pytest.approx(1 - 2.125 / 3.117, rel=1e-9)
    assert {"batch-not-small", "momentum-memory"} <= codes(grow)


rates = st.one_of(
    st.floats(1e-3, 1.0).map(lambda r: round(r, 4)),
    st.builds(
        lambda kind, start, end, warm: {
            **SMOOTH[kind],
            "start": round(start, 4),
            **({"end": round(start * end, 6)} if "end" in SMOOTH[kind] else {}),
            **({"warmup": {"epochs": warm / 10, "start": round(start / 7, 6)}} if warm else {}),
        },
        st.sampled_from(range(6)),
        st.floats(1e-3, 1.0),
        st.floats(0.01, 1.0),
        st.integers(0, 9),
    ),
)
SMOOTH = [
    {"shape": "cosine", "end": None},
    {"shape": "linear", "end": None},
    {"shape": "exponential", "end": None},
    {"shape": "polynomial", "end": None, "power": 2},
    {"shape": "inverse-sqrt", "timescale": {"epochs": 2}},
    {"shape": "step", "factor": 3, "milestones": {"epochs": [0.95, 0.97]}},
]
recipes = st.builds(
    lambda batch, rates, momentum, epochs, decay, form: Schedule(
        [
            Phase(
                epochs=e,
                learning_rate=rate,
                batch_size=batch,
                momentum=momentum / 100,
                weight_decay=decay,
            )
            for e, rate in zip(epochs, rates, strict=True)
        ],
        decay=form,
    ),
    st.integers(1, 512),
    st.lists(rates, min_size=3, max_size=3),
    st.integers(0, 99),
    st.lists(st.integers(1, 90), min_size=3, max_size=3),
    st.sampled_from([0.0, 5e-4]),
    st.sampled_from(["coupled", "decoupled", "independent"]),
)

# What each rule promises at any batch size, cap and granularity.
KEEPS = {
    "grow-batch": {"noise_scale", "weight_decay_timescale_epochs"},
    "hybrid": {"noise_scale", "weight_decay_timescale_epochs"},
    "learning-rate": {"noise_scale", "weight_decay_timescale_epochs"},
    "momentum": {"noise_scale", "weight_decay_timescale_epochs"},
    "sqrt": {"diffusion_per_update"},
    "regime-adaptation": {"diffusion_per_update"},
    "learning-rate+grow-batch": {"noise_scale", "weight_decay_timescale_epochs"},
    "momentum+grow-batch": {"noise_scale", "weight_decay_timescale_epochs"},
    "learning-rate+hybrid": {"noise_scale", "weight_decay_timescale_epochs"},
    "accumulate": {"noise_scale", "diffusion_per_update", "momentum_memory_epochs", "updates"},
}


@settings(max_examples=150, deadline=None)
@given(
    recipes,
    st.integers(512, 60000),
    st.one_of(st.none(), st.integers(1, 512)),
    st.one_of(st.none(), st.integers(512, 5120)),
    st.sampled_from([1, 1, 8, 64]),
    st.sampled_from(["carry", "carry", "drop", "keep", "wrap"]),
)
def test_every_route_keeps_what_it_declares_or_says_so(
    schedule, train_size, target, cap, granularity, partial
):
    try:
        original = schedule.plan(train_size, partial)
    except InputError:
        return
    limits = {"target_batch_size": target, "max_batch_size": cap, "granularity": granularity}
    for name, promised in KEEPS.items():
        try:
            found = route(
                schedule,
                name,
                train_size=train_size,
                partial=partial,
                micro_batch_size=16,
                **limits,
            )
        except InputError:
            continue
        rows = {i.name: i for i in found.invariants}
        for quantity in promised & rows.keys():
            # 1−m loses digits as m → 1: rounding of m by 1e-16 over 1−m.
            closest = min(1 - p.momentum for p in found.schedule.phases)
            allowed = 1e-9 + 4e-16 / closest
            assert rows[quantity].max_relative_deviation <= allowed, (name, rows[quantity])
        if name != "accumulate":
            for phase in found.schedule.phases:
                assert phase.batch_size <= min(cap or train_size, train_size), name
                assert phase.batch_size % granularity == 0, name
        if "noise_scale" in promised:
            check_by_hand(schedule, found, train_size)
            ratio = found.plan.sde_time / original.sde_time
            assert abs(ratio - 1) <= 0.01 or "sde-time" in codes(found), name
        if partial == "carry" and name != "regime-adaptation":
            off = abs(found.plan.examples - original.examples)
            assert off <= most_off(found.schedule) + most_off(schedule), name
            sizes = [p.batch_size for p in found.schedule.phases]
            if sizes == sorted(sizes):
                assert off <= max(sizes) + schedule.phases[0].batch_size / 2, name
        if name == "regime-adaptation" and partial == "carry" and not capped(found):
            assert abs(found.updates - original.updates) <= 1


def most_off(schedule):
    """Rounding R_j by ½ at most moves the examples by ½ (B_n + Σ |B_j − B_{j+1}|) at most."""
    sizes = [p.batch_size for p in schedule.phases]
    return (sizes[-1] + sum(abs(a - b) for a, b in pairwise(sizes))) / 2


def capped(found):
    return bool({"cap-reached", "rounded-to-granularity"} & codes(found))


def check_by_hand(schedule, found, train_size):
    """g of the new schedule beside g of the old one at equal epochs, without the report."""
    epochs = float(sum(p.exact_examples(train_size) for p in schedule.phases)) / train_size
    times = np.linspace(0.013, 0.987, 29) * epochs * train_size
    old, new = (noise_at(s, times, train_size) for s in (schedule, found.schedule))
    closest = min(1 - p.momentum for p in found.schedule.phases)
    np.testing.assert_allclose(new, old, rtol=2e-6 + 4e-16 / closest)


def noise_at(schedule, times, train_size):
    values, start = np.full(times.shape, np.nan), 0.0
    for phase in schedule.phases:
        span = float(phase.exact_examples(train_size))
        for piece in phase.pieces(train_size):
            inside = (times - start >= float(piece.begin)) & (times - start < float(piece.end))
            rate = piece.at(times[inside] - start)
            values[inside] = rate / (phase.batch_size * (1 - phase.momentum))
        start += span
    return values


@settings(max_examples=60, deadline=None)
@given(recipes, st.integers(2000, 60000), st.integers(2, 6), st.integers(2, 6))
def test_routes_compose_where_nothing_rounds(schedule, train_size, one, two):
    first = schedule.phases[0].batch_size
    if any(p.batch_size * one * two > train_size for p in schedule.phases):
        return
    for name in ("learning-rate", "momentum", "sqrt"):
        there = route(schedule, name, train_size=train_size, target_batch_size=first * one)
        on = route(there.schedule, name, train_size=train_size, target_batch_size=first * one * two)
        straight = route(schedule, name, train_size=train_size, target_batch_size=first * one * two)
        assert_alike(on.schedule, straight.schedule, train_size)


def assert_alike(one, two, train_size):
    for a, b in zip(one.phases, two.phases, strict=True):
        assert a.batch_size == b.batch_size
        assert a.momentum == pytest.approx(b.momentum, abs=1e-12)
        assert a.weight_decay == pytest.approx(b.weight_decay, rel=1e-9)
        times = np.linspace(0, 0.99, 7) * float(a.exact_examples(train_size))
        for p, q in zip(a.pieces(train_size), b.pieces(train_size), strict=True):
            inside = times[(times >= float(p.begin)) & (times < float(p.end))]
            np.testing.assert_allclose(p.at(inside), q.at(inside), rtol=1e-9)


@settings(max_examples=100, deadline=None)
@example(Schedule([Phase(epochs=1, learning_rate=0.1, batch_size=1)]), 3)  # 1−m = 1/3, back to 1
@given(recipes, st.integers(2, 8))
def test_routes_invert(schedule, factor):
    first = schedule.phases[0].batch_size
    size = 60000
    for name in ("learning-rate", "momentum", "sqrt", "regime-adaptation"):
        there = route(schedule, name, train_size=size, target_batch_size=first * factor)
        back = route(there.schedule, name, train_size=size, target_batch_size=first)
        assert_alike(back.schedule, schedule, size)


def test_downwards():
    down = route(SMITH, "learning-rate", target_batch_size=32)
    assert hyper(down)[0] == (0.025, 32, 0.9)
    assert down.updates == 4 * 78125
    lower = route(SMITH, "momentum", target_batch_size=64)
    assert hyper(lower)[0] == (0.1, 64, 0.8)
    least = route(
        Schedule([Phase(epochs=1, learning_rate=0.1, batch_size=100, momentum=0.9)]),
        "momentum",
        target_batch_size=10,
    )
    assert hyper(least) == [(0.1, 10, 0.0)]
    with pytest.raises(InputError, match="cannot shrink below"):
        route(SMITH, "momentum", target_batch_size=12)
    assert "momentum" not in [e.name for e in equivalents(SMITH, N, target_batch_size=12)]


def test_granularity_is_absorbed():
    found = route(SMITH, "grow-batch", granularity=100, max_batch_size=5000)
    assert [p.batch_size for p in found.schedule.phases] == [100, 600, 3200, 5000]
    assert hyper(found)[0][0] == pytest.approx(0.1 * 100 / 128)
    heavy = route(SMITH, "momentum", target_batch_size=640, granularity=100)
    assert hyper(heavy)[0] == (0.1, 600, pytest.approx(1 - 0.1 * 128 / 600))


def test_a_rising_rate_stays_in_the_learning_rate():
    ramp = Schedule(
        [
            Phase(epochs=5, learning_rate=r, batch_size=64, momentum=0.9)
            for r in (0.02, 0.1, 0.05, 0.025)
        ]
    )
    found = route(ramp, "grow-batch")
    assert hyper(found) == [
        (0.02, 64, 0.9),
        (0.1, 64, 0.9),
        (0.1, 128, 0.9),
        (0.1, 256, 0.9),
    ]
    assert "warm-up-kept" in codes(found)


def test_durations_in_updates_keep_their_examples():
    schedule = Schedule([Phase(updates=100, learning_rate=0.1, batch_size=8, momentum=0.9)])
    (found,) = equivalents(schedule, routes=["learning-rate"], target_batch_size=16)
    assert found.schedule.phases[0].updates == 50
    assert found.updates == 50
    odd = route(schedule, "learning-rate", train_size=None, target_batch_size=7)
    assert odd.schedule.phases[0].examples == 800  # 114.3 updates of 7
    assert invariant(found, "examples").kept
    assert invariant(found, "sde_time").kept


def test_without_a_train_size():
    found = route(SMITH, "learning-rate", train_size=None, target_batch_size=256)
    assert found.plan is None and found.updates is None
    temperature = invariant(found, "temperature")
    assert temperature.kept and temperature.before == pytest.approx(0.1 / (128 * 0.1))


def test_what_the_rules_break():
    grow = route(SMITH, "grow-batch", max_batch_size=5120)
    assert invariant(grow, "updates").after == 29141
    assert invariant(grow, "momentum_memory_epochs").after == pytest.approx(5120 / (N * 0.1))
    rate = route(SMITH, "learning-rate", target_batch_size=640)
    # ε²/(B(1−m)²) grows by κ per update and stays per epoch.
    per_update = invariant(rate, "diffusion_per_update")
    assert per_update.after / per_update.before == pytest.approx(5)
    assert invariant(rate, "diffusion_per_epoch").kept
    assert invariant(rate, "temperature").max_relative_deviation == pytest.approx(
        1 - (1 / 640 - 1 / N) / (1 / 128 - 1 / N) * 5, rel=1e-9
    )
    heavy = route(SMITH, "momentum", target_batch_size=3200)
    assert invariant(heavy, "momentum_memory_epochs").after == pytest.approx(16.0)
    assert {"momentum-memory", "momentum-cold-start"} <= codes(heavy)


def test_weight_decay_and_diffusion_are_those_of_the_planned_updates():
    schedule = Schedule([Phase(epochs=4, learning_rate=0.1, batch_size=10, weight_decay=1e-3)])
    options = {"train_size": 100, "target_batch_size": 60}
    for partial, updates in (("carry", 7), ("drop", 4), ("keep", 8), ("wrap", 4)):
        found = route(schedule, "learning-rate", partial=partial, **options)
        assert found.updates == updates  # of 60; 40 of 10 in the original
        shrinkage = invariant(found, "weight_decay_per_epoch")
        assert shrinkage.before == pytest.approx(10 * 0.1 * 1e-3)
        assert shrinkage.after == pytest.approx(updates / 4 * 0.6 * 1e-3)
        diffusion = invariant(found, "diffusion_per_epoch")
        assert diffusion.before == pytest.approx(10 * 0.1**2 / 10)
        assert diffusion.after == pytest.approx(updates / 4 * 0.6**2 / 60)
        assert shrinkage.kept == (abs(updates * 0.6 / 4 - 1) <= 0.01)


def test_warnings_at_their_thresholds():
    def one(batch, momentum=0.0, epochs=10, target=None, size=1000):
        schedule = Schedule(
            [Phase(epochs=epochs, learning_rate=0.1, batch_size=batch, momentum=momentum)]
        )
        return route(schedule, "learning-rate", train_size=size, target_batch_size=target or batch)

    assert "batch-not-small" not in codes(one(10, target=100))  # exactly a tenth of N
    assert "batch-not-small" in codes(one(10, target=101))
    # The buffer costs m(1−mⁿ)/(n(1−m)) of n updates: .9 (1 − .9⁵)/(.5) = .737 of five updates.
    cold = one(10, 0.9, epochs=0.5, target=100)
    (warning,) = [w for w in cold.warnings if w.code == "momentum-cold-start"]
    assert "73.7%" in warning.message
    assert "17.9%" in warning.message  # 50 updates before: .9 (1 − .9⁵⁰)/5
    # Going down, the share is smaller than the original's: nothing to warn of.
    assert "momentum-cold-start" not in codes(one(100, 0.9, epochs=0.5, target=10))
    # Whole updates: 10 in all become 3 of 33.3 — one phase is far off though the sum is not.
    short = Schedule([Phase(epochs=e, learning_rate=0.1, batch_size=10) for e in (50, 0.1)])
    uneven = route(short, "learning-rate", train_size=1000, target_batch_size=70)
    assert abs(uneven.plan.sde_time / short.plan(1000).sde_time - 1) < 0.01
    assert "sde-time" in codes(uneven)
    rounded = route(SMITH, "learning-rate", target_batch_size=640, granularity=100)
    assert "rounded-to-granularity" in codes(rounded)
    assert "rounded-to-granularity" not in codes(route(SMITH, "grow-batch", granularity=64))


def test_the_default_target_is_the_first_drop_from_the_highest_rate():
    def at(*rates):
        return Schedule([Phase(epochs=9, learning_rate=r, batch_size=10) for r in rates])

    found = route(at(0.1, 0.4, 0.1), "learning-rate")
    assert found.schedule.phases[0].batch_size == 40
    assert route(at(0.4, 0.1), "grow-batch+learning-rate").schedule.phases[0].batch_size == 40
    with pytest.raises(InputError, match="does not change a batch"):
        route(at(0.1, 0.099), "learning-rate")
    # Nearest multiple, half up: 10 × 1.25 = 12.5.
    assert route(at(0.5, 0.4), "learning-rate").schedule.phases[0].batch_size == 13


def test_reasons_and_duplicates():
    from noisescale.analysis.equivalence import find_routes

    found, left_out = find_routes(SMITH, N, target_batch_size=8)
    assert "momentum" not in [e.name for e in found]
    assert "cannot shrink below" in left_out["momentum"]
    twice = equivalents(SMITH, N, routes=["grow-batch", "grow-batch"])
    assert [e.name for e in twice] == ["grow-batch"]


def test_dropped_batches_are_reported():
    schedule = Schedule([Phase(epochs=10, learning_rate=0.1, batch_size=10)])
    found = route(schedule, "learning-rate", train_size=100, target_batch_size=60, partial="drop")
    assert found.updates == 10  # one of 60 per epoch; 40 examples are lost
    assert "sde-time" in codes(found)
    deviation = invariant(found, "sde_time").max_relative_deviation
    assert deviation == pytest.approx(0.4)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"routes": ["grow-batches"]}, "did you mean 'grow-batch'"),
        ({"routes": []}, "routes is empty"),
        ({"target_batch_size": 0}, "target_batch_size=0"),
        ({"target_batch_size": 256, "max_batch_size": 200}, "exceeds max_batch_size=200"),
        ({"target_batch_size": 60000}, "exceeds train_size"),
        ({"granularity": 0}, "granularity=0"),
        ({"granularity": 300, "max_batch_size": 200}, "granularity=300 exceeds"),
        ({"partial": "none"}, "partial-batch policy"),
    ],
)
def test_refuses(options, message):
    with pytest.raises(InputError, match=message):
        equivalents(SMITH, N, **options)


def test_a_constant_rate_needs_a_target():
    constant = Schedule([Phase(epochs=1, learning_rate=0.1, batch_size=10)])
    assert equivalents(constant, 100) == []
    for name in ("grow-batch", "learning-rate", "momentum"):
        with pytest.raises(InputError, match="never drops"):
            equivalents(constant, 100, routes=[name])
    with pytest.raises(InputError, match="give a Schedule"):
        equivalents([1, 2], 100)
