"""Each warning at its threshold, with the number it prints computed by hand."""

import pytest

from noisescale import InputError, Phase, Schedule, equivalents
from noisescale.analysis.accumulation import split_over_devices
from noisescale.analysis.cautions import RISKS, risk_of

N = 50000


def one(target=None, name="learning-rate", size=N, options=None, schedule=None, **phase):
    base = {"epochs": 30, "learning_rate": 0.1, "batch_size": 100, **phase}
    schedule = schedule or Schedule([Phase(**base)])
    (found,) = equivalents(
        schedule, size, routes=[name], target_batch_size=target, **(options or {})
    )
    return found


def message(found, code):
    return next((w.message for w in found.warnings if w.code == code), None)


def test_critical_batch_size():
    options = {"critical_batch_size": 500}
    assert message(one(500, options=options), "beyond-critical-batch") is None
    text = message(one(1000, options=options), "beyond-critical-batch")
    # 1/(1 + 500/1000) of a noiseless update; 1 + 1000/500 of the least examples.
    assert "2 times the critical" in text and "at most 67%" in text and "cost 3 times" in text


def test_sharpness_says_which_limit_is_nearer():
    # Stability: ε λ < 2(1+m). At .1, m = .9 and λ = 4 the ratio is .4/3.8.
    found = one(400, momentum=0.9, options={"sharpness": 4.0})
    rows = {i.name: i for i in found.invariants}
    assert rows["stability_ratio"].before == pytest.approx(0.4 / 3.8)
    assert rows["stability_ratio"].after == pytest.approx(1.6 / 3.8)
    assert rows["underdamping_ratio"].before == pytest.approx(0.4 / (1 - 0.9**0.5) ** 2)
    text = message(found, "sharpness-limit")
    assert "0.421 of the stability limit" in text and "(0.105 in the original)" in text
    # The rate may still grow 3.8/1.6-fold; the memory 400/(50000 × .1) = .08 epochs, √12.5-fold.
    assert "factor of 2.38" in text and "by 3.54" in text and "stability is the nearer" in text
    # With m' = .975 the learning rate stays, so stability does not come nearer; memory does.
    heavy = one(400, "momentum", momentum=0.9, options={"sharpness": 4.0})
    assert message(heavy, "sharpness-limit") is None
    assert "memory of momentum is the nearer" in message(heavy, "momentum-limit")
    unstable = one(1000, momentum=0.9, options={"sharpness": 4.0})
    assert "1.05 times the stability limit" in message(unstable, "unstable")
    assert unstable.risk == "high"
    assert message(one(900, momentum=0.9, options={"sharpness": 4.0}), "unstable") is None
    # Going down moves away from both.
    down = {w.code for w in one(50, momentum=0.9, options={"sharpness": 4.0}).warnings}
    assert not down & {"sharpness-limit", "momentum-limit", "unstable"}


def test_limits_are_those_of_the_highest_rate():
    """The peak of a warm-up counts, though the rate is lower nearly everywhere."""
    shape = {"shape": "cosine", "start": 0.1, "warmup": {"epochs": 1}}
    options = {"sharpness": 5.0}
    flat, peaked = (one(800, momentum=0.9, options=options, learning_rate=r) for r in (0.1, shape))
    rows = [{i.name: i for i in found.invariants} for found in (flat, peaked)]
    for name in ("stability_ratio", "underdamping_ratio"):
        assert rows[1][name].after == pytest.approx(rows[0][name].after, rel=1e-6)
    assert rows[1]["stability_ratio"].after == pytest.approx(0.8 * 5 / 3.8)
    assert "1.05 times the stability limit" in message(peaked, "unstable")


def test_warm_up_shorter_than_the_momentum_memory():
    def warmed(examples, momentum=0.9):
        rate = {"shape": "constant", "start": 0.1, "warmup": {"examples": examples}}
        return one(200, learning_rate=rate, momentum=momentum)

    # 200/(1 − .9) = 2,000 examples.
    assert "averages over 2,000" in message(warmed(1999), "warm-up-short")
    assert message(warmed(2000), "warm-up-short") is None
    assert message(warmed(10, momentum=0.0), "warm-up-short") is None
    # In steps: two short phases that rise.
    steps = [
        Phase(examples=n, learning_rate=r, batch_size=100, momentum=0.9)
        for n, r in ((500, 0.02), (500, 0.05), (90000, 0.1))
    ]
    assert "lasts 1,000 examples" in message(one(200, schedule=Schedule(steps)), "warm-up-short")
    plain = one(200, momentum=0.9)
    assert message(plain, "warm-up-short") is None


def test_partial_batches():
    options = {"partial": "drop"}
    lost = one(15000, options=options)  # 3 of 3⅓ updates per epoch
    assert "loses 10.00%" in message(lost, "partial-batches")
    assert "-10.00% in all" in message(lost, "sde-time")
    kept = one(15000, options={"partial": "keep"})
    assert "adds 20.00%" in message(kept, "partial-batches")
    assert message(one(10000, options=options), "partial-batches") is None


def test_memories_of_averages():
    schedule = Schedule(
        [Phase(epochs=30, learning_rate=0.1, batch_size=100)],
        ema_decay=0.999,
        batch_norm_decay=0.9,
    )
    found = one(400, schedule=schedule)
    rows = {i.name: i for i in found.invariants}
    assert rows["ema_memory_epochs"].before == pytest.approx(100 * 1000 / N)
    assert rows["ema_memory_epochs"].after == pytest.approx(400 * 1000 / N)
    assert rows["batch_norm_memory_epochs"].after == pytest.approx(400 * 10 / N)
    texts = [w.message for w in found.warnings if w.code == "averaging-memory"]
    assert len(texts) == 2
    assert f"{0.999**4:.6g}" in texts[0] and f"{0.9**4:.6g}" in texts[1]
    assert not [w for w in one(100, schedule=schedule).warnings if w.code == "averaging-memory"]


def test_reshuffled_epochs_and_momentum():
    """Slow directions keep ρ(μ')/ρ(μ) of their spread, with μ the memory in epochs."""
    found = one(1000, momentum=0.95)  # μ: 100/(50000 × .05) = .04 → .4
    ratio = {i.name: i for i in found.invariants}["reshuffled_slow_variance"]
    # By hand: 1 − 1.2 + .96 − .384 (1 − e^{−2.5}) and 1 − .12 + .0096 − .000384.
    expected = 0.4075 / 0.8892
    assert ratio.after / ratio.before == pytest.approx(expected, rel=5e-3)
    assert "46% of their variance" in message(found, "reshuffled-memory")
    assert message(one(1000, momentum=0.0), "reshuffled-memory") is None


def test_a_steep_start_without_warm_up():
    assert "starts at 2 times" in message(one(200), "no-warm-up")
    assert message(one(199), "no-warm-up") is None
    assert message(one(400, "momentum", momentum=0.5), "no-warm-up") is None
    warm = {"shape": "constant", "start": 0.1, "warmup": {"epochs": 1, "start": 0.01}}
    assert message(one(800, learning_rate=warm), "no-warm-up") is None


def test_a_memory_of_exactly_an_epoch_is_not_more():
    assert message(one(5000, momentum=0.9), "momentum-memory") is None
    assert "1.00 epochs" in message(one(5001, momentum=0.9), "momentum-memory")


def test_a_run_of_two_examples_has_all_its_rows():
    shape = {"shape": "linear", "start": 0.1, "warmup": {"examples": 1}}
    tiny = Schedule([Phase(examples=2, learning_rate=shape, batch_size=1)])
    found = one(2, size=10, schedule=tiny)
    assert {i.name: i for i in found.invariants}["noise_scale"].kept


def test_rules_outside_their_derivation():
    assert "1/(1−m) updates" in message(one(4000, "momentum", momentum=0.9), "outside-derivation")
    assert message(one(200, "momentum", momentum=0.9), "outside-derivation") is None
    assert "weight decay is a drift" in message(
        one(200, "sqrt", weight_decay=1e-4), "outside-derivation"
    )
    assert message(one(5000, "sqrt"), "outside-derivation") is None
    assert "much smaller" in message(one(5001, "sqrt"), "outside-derivation")
    assert message(one(5001), "outside-derivation") is None


def test_declared_base_batch_size():
    found = one(2048, "sqrt", batch_size=128, options={"base_batch_size": 256})
    assert found.schedule.phases[0].learning_rate == pytest.approx(0.1 * 8**0.5)
    assert "counts from a batch of 256" in message(found, "base-batch-size")
    own = one(2048, "sqrt", batch_size=128)
    assert own.schedule.phases[0].learning_rate == pytest.approx(0.4)
    assert message(own, "base-batch-size") is None
    linear = one(512, batch_size=128, options={"base_batch_size": 256})
    assert linear.schedule.phases[0].learning_rate == pytest.approx(0.2)
    # Without a target the batch stays and only the rule is applied: 0.1 per 256, at 128.
    stated = one(None, batch_size=128, options={"base_batch_size": 256})
    assert stated.schedule.phases[0] == Phase(epochs=30, learning_rate=0.05, batch_size=128)
    longer = one(2048, "regime-adaptation", batch_size=128, options={"base_batch_size": 256})
    assert longer.schedule.phases[0].epochs == 240


def test_accumulation():
    assert split_over_devices(1024, 64, 4) == (64, 4, 4)
    assert split_over_devices(1024, None, 4) == (256, 1, 4)
    assert split_over_devices(1000, 64, 2) == (64, 8, 2)
    assert split_over_devices(32, 64, 1) == (32, 1, 1)
    options = {"micro_batch_size": 25, "devices": 2}
    found = one(name="accumulate", options=options)
    assert found.split == ((25, 2, 2),)
    assert all(i.kept for i in found.invariants)
    assert found.schedule == Schedule([Phase(epochs=30, learning_rate=0.1, batch_size=100)])
    assert "25 × 2 step(s) × 2 device(s)" in message(found, "accumulation")
    assert "statistics come from 25 examples instead of 100" in message(
        found, "batch-norm-accumulation"
    )
    assert message(found, "uneven-accumulation") is None
    uneven = one(130, "learning-rate+accumulate", options=options)
    assert "or take 100 or 150" in message(uneven, "uneven-accumulation")
    assert uneven.split == ((25, 3, 2),)
    whole = one(name="accumulate", options={"micro_batch_size": 500})
    assert whole.split == ((100, 1, 1),)
    assert message(whole, "accumulation") is None
    with pytest.raises(InputError, match="give micro_batch_size"):
        one(name="accumulate")


def test_nothing_to_do_is_said():
    found = one(200, "learning-rate+momentum", momentum=0.5)
    assert "momentum changes nothing" in message(found, "no-change")
    assert message(one(200), "no-change") is None


def test_weight_decay_that_a_route_adapts_is_said():
    for decay, new in (("decoupled", 4e-4), ("independent", 4e-4)):
        phase = Phase(epochs=30, learning_rate=0.1, batch_size=100, momentum=0.5, weight_decay=1e-4)
        found = one(400, "momentum", schedule=Schedule([phase], decay=decay))
        assert found.schedule.phases[0].weight_decay == pytest.approx(new)
        assert "from 0.0001 to 0.0004" in message(found, "weight-decay-changed")
        assert {i.name: i for i in found.invariants}["weight_decay_per_epoch"].kept
    coupled = one(400, "momentum", momentum=0.5, weight_decay=1e-4)
    assert coupled.schedule.phases[0].weight_decay == 1e-4
    by_rate = one(400, schedule=Schedule([phase], decay="decoupled"))
    assert by_rate.schedule.phases[0].weight_decay == pytest.approx(1e-4)


def test_risk():
    assert one(199).risk == "none"
    assert one(200).risk == "some"  # twice the learning rate from the first update on
    assert one(200, "sqrt").risk == "some"  # another noise scale
    assert one(10000).risk == "some"
    assert risk_of([]) == "none"
    assert RISKS == ("none", "some", "high")
