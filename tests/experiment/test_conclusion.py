import json
from dataclasses import replace

import numpy as np
import pytest

from noisescale import InputError
from noisescale.experiment import conclude
from noisescale.experiment.conclusion import compared_epochs
from noisescale.experiment.specification import shared_epochs
from tests.experiment.worlds import CONTROLS_TOLD, EXPERIMENT, SIZE, world


def judged(results):
    conclusion = conclude(EXPERIMENT, SIZE, 360, results)
    json.dumps(conclusion, allow_nan=False)
    return conclusion, {p["name"]: p for p in conclusion["predictions"]}


def test_equal_world():
    conclusion, by_name = judged(world(shifts=CONTROLS_TOLD))
    assert conclusion["informative"]
    for name in ("grow-batch-same-loss", "learning-rate-same-loss", "momentum-same-loss"):
        assert by_name[name]["verdict"] == "supported", by_name[name]
        low, high = by_name[name]["interval"]
        assert -0.2 < low < high < 0.2


def test_equal_worlds_are_not_called_different():
    wrong = 0
    for seed in range(40):
        _, by_name = judged(world(shifts=CONTROLS_TOLD, rng_seed=seed))
        wrong += any(
            p["verdict"] == "contradicted" and p["kind"] == "same" for p in by_name.values()
        )
    assert wrong <= 2  # level 5 % of 40; the worlds lie inside the margin, so errors are rarer


def test_different_world():
    conclusion, by_name = judged(
        world(shifts={**CONTROLS_TOLD, "increase-momentum": 0.5, "increase-batch-size": -0.4})
    )
    assert conclusion["informative"]
    assert by_name["momentum-same-loss"]["verdict"] == "contradicted"
    assert by_name["momentum-same-loss"]["effect"] == pytest.approx(0.5, abs=0.1)
    assert by_name["grow-batch-same-loss"]["verdict"] == "contradicted"
    assert by_name["learning-rate-same-loss"]["verdict"] == "supported"


def test_dead_world_is_void():
    conclusion, by_name = judged(world(shifts=CONTROLS_TOLD, error=0.9))
    assert not conclusion["informative"]
    assert not conclusion["gate"]["passed"]
    assert {p["verdict"] for p in by_name.values()} == {"undecided"}
    assert "void" in by_name["grow-batch-same-loss"]["reason"]


def test_diverged_arm_is_void():
    conclusion, by_name = judged(
        world(shifts=CONTROLS_TOLD, status={"increase-momentum": "diverged"})
    )
    assert "increase-momentum diverged" in conclusion["gate"]["reason"]
    assert {p["verdict"] for p in by_name.values()} == {"undecided"}


def test_powerless_world_supports_nothing():
    # The controls do nothing here: the arms look the same because everything does.
    conclusion, by_name = judged(world(shifts={}))
    assert not conclusion["informative"]
    for p in by_name.values():
        if p["kind"] == "same":
            assert p["verdict"] == "undecided"
            assert "no power" in p["reason"]


def test_noisy_world_fails_its_a_a_control():
    conclusion, by_name = judged(world(shifts=CONTROLS_TOLD, noise=0.6))
    assert not conclusion["informative"]
    assert by_name["learning-rate-same-loss"]["verdict"] == "undecided"
    failed = {c["role"] for c in conclusion["controls"] if not c["passed"]}
    assert "aa" in failed


def test_a_metric_without_power_leaves_the_others():
    # The loss tells the controls apart, the final error does not.
    conclusion, by_name = judged(world(shifts=CONTROLS_TOLD, error_noise=0.001))
    assert by_name["grow-batch-same-loss"]["verdict"] == "supported"
    assert by_name["grow-batch-same-error"]["verdict"] == "undecided"
    assert not by_name["grow-batch-same-error"]["informative"]
    assert conclusion["informative"]


def test_worse_in_the_final_error():
    _, by_name = judged(
        world(shifts=CONTROLS_TOLD, error_shifts={"increase-momentum": 0.02}, error_noise=0.001)
    )
    assert by_name["momentum-worse-error"]["verdict"] == "supported"
    assert by_name["momentum-worse-error"]["effect"] == pytest.approx(0.02, abs=0.003)
    assert by_name["learning-rate-milder"]["verdict"] == "supported"


def test_two_seeds_decide_nothing():
    conclusion, by_name = judged(world(shifts=CONTROLS_TOLD, seeds=2))
    assert {p["verdict"] for p in by_name.values()} == {"undecided"}
    assert not conclusion["informative"]


def test_missing_arm():
    results = world(shifts=CONTROLS_TOLD)
    del results["baseline-again"]
    with pytest.raises(InputError, match="baseline-again"):
        conclude(EXPERIMENT, SIZE, 360, results)


def edited(results, arm, seed, **changes):
    """The results with columns or fields of one seed of an arm changed."""
    listed = list(results[arm])
    curves = {**listed[seed].curves, **changes.pop("curves", {})}
    listed[seed] = replace(listed[seed], curves=curves, **changes)
    return {**results, arm: listed}


def test_seeds_are_matched():
    results = world(shifts=CONTROLS_TOLD)
    results["increase-momentum"] = results["increase-momentum"][::-1]
    with pytest.raises(InputError, match="different seeds"):
        judged(results)


def test_arms_must_agree_while_they_are_one_run():
    results = world(shifts=CONTROLS_TOLD)
    loss = list(results["increase-batch-size"][2].curves["train_loss"])
    loss[20] *= 1.001
    changed = edited(results, "increase-batch-size", 2, curves={"train_loss": loss})
    with pytest.raises(InputError, match=r"seed 2 .* differ before epoch 20"):
        judged(changed)
    loss[20] /= 1.001
    loss[21] *= 1.001  # from where they part, they may differ
    judged(edited(results, "increase-batch-size", 2, curves={"train_loss": loss}))


def test_a_missing_value_is_no_zero():
    results = world(shifts=CONTROLS_TOLD)
    loss = list(results["increase-momentum"][1].curves["train_loss"])
    loss[4] = None
    with pytest.raises(InputError, match="seed 1 has no train_loss at epoch 4"):
        judged(edited(results, "increase-momentum", 1, curves={"train_loss": loss}))


def test_the_gate_is_a_bound_on_every_seed():
    results = world(shifts=CONTROLS_TOLD)
    for final, passes in ((0.0999, True), (0.1, False)):
        errors = [0.9] * 50 + [final]
        one = edited(results, "batch-only", 3, curves={"evaluation_error": errors})
        conclusion, _ = judged(one)
        assert conclusion["gate"]["passed"] is passes
        assert conclusion["gate"]["worst"] == final


def test_a_verdict_survives_holm_or_is_none():
    held_back = 0
    for seed in range(12):
        shifted = {"increase-momentum": 0.0035}  # a margin and a half: p near the level
        _, by_name = judged(world(shifts=CONTROLS_TOLD, error_shifts=shifted, rng_seed=seed))
        for p in by_name.values():
            if p["verdict"] != "undecided":
                assert p["p_adjusted"] <= p["level"]
            held_back += "Holm" in p["reason"]
    assert held_back > 0


def test_a_failed_control_vetoes_the_refutation_of_worse_but_not_its_support():
    options = {"shifts": CONTROLS_TOLD, "error_noise": 0.0005, "seeds": 20}
    _, by_name = judged(world(**options))
    assert by_name["momentum-worse-error"]["verdict"] == "undecided"
    assert "no power" in by_name["momentum-worse-error"]["reason"]
    told = {"batch-only": 0.02, "not-decayed": -0.02}
    _, by_name = judged(world(**options, error_shifts=told))
    assert by_name["momentum-worse-error"]["verdict"] == "contradicted"
    assert by_name["momentum-worse-error"]["informative"]


def test_noise_shared_by_seeds_is_no_noise_between_arms():
    """Equal worlds but for a spread over seeds that all arms of a seed share."""
    results = world(shifts=CONTROLS_TOLD)
    rng = np.random.default_rng(0)
    factors = np.exp(rng.normal(0, 0.5, 8))
    for name in list(results):
        for seed in range(8):
            loss = list(np.array(results[name][seed].curves["train_loss"]) * factors[seed])
            results = edited(results, name, seed, curves={"train_loss": loss})
    _, by_name = judged(results)
    assert by_name["learning-rate-same-loss"]["verdict"] == "supported"
    assert by_name["learning-rate-same-loss"]["correlation"] > 0.9


def test_where_arms_part():
    arms = {a.name: a for a in EXPERIMENT.planned(SIZE)}
    base = arms["baseline"]
    assert shared_epochs(base, arms["increase-batch-size"]) == 20
    assert shared_epochs(base, arms["not-decayed"]) == 20
    assert shared_epochs(base, arms["increase-momentum"]) == 0
    assert shared_epochs(base, arms["baseline-again"]) == 0  # another data order
    assert shared_epochs(base, base) == 50


def test_log_spaced_epochs():
    epochs = [0.0, *range(1, 51)]
    assert compared_epochs(epochs, 0) == [1, 2, 4, 8, 16, 32, 50]
    assert compared_epochs(epochs, 20) == [21, 22, 24, 28, 36, 50]
    assert compared_epochs(epochs, 50) == []
    assert compared_epochs([0, 2.5, 5], 0) == [2.5, 5]


def test_an_arm_that_may_fail_does_not_void_the_report():
    """Its diverged seeds count with their worst error; its losses cannot be compared."""
    gate = replace(EXPERIMENT.gate, may_fail=("increase-momentum",))
    lenient = replace(EXPERIMENT, gate=gate)
    results = world(shifts=CONTROLS_TOLD, status={"increase-momentum": "diverged"})
    conclusion = conclude(lenient, SIZE, 360, results)
    by_name = {p["name"]: p for p in conclusion["predictions"]}
    assert [p["name"] for p in conclusion["predictions"]] == [
        p.name for p in EXPERIMENT.predictions
    ]
    assert conclusion["gate"]["passed"]
    assert by_name["grow-batch-same-loss"]["verdict"] == "supported"
    lost = by_name["momentum-same-loss"]
    assert lost["verdict"] == "undecided" and "increase-momentum diverged" in lost["reason"]
    worse = by_name["momentum-worse-error"]
    assert worse["verdict"] == "supported"
    finals = [seed.curves["evaluation_error"][-1] for seed in results["baseline"]]
    # .9 before training.
    assert worse["effect"] == pytest.approx(0.9 - np.mean(finals), abs=1e-9)


def test_curves_of_a_seed_that_diverged_early_are_not_the_arms():
    gate = replace(EXPERIMENT.gate, may_fail=("increase-momentum",))
    results = world(shifts=CONTROLS_TOLD)
    first, *others = results["increase-momentum"]
    cut = {name: column[:3] for name, column in first.curves.items()}
    results["increase-momentum"] = [replace(first, status="diverged", curves=cut), *others]
    conclusion = conclude(replace(EXPERIMENT, gate=gate), SIZE, 360, results)
    worse = next(p for p in conclusion["predictions"] if p["name"] == "momentum-worse-error")
    assert worse["n"] == 8 and worse["epoch"] == 50
    assert worse["effect"] == pytest.approx(0.9 / 8, abs=0.01)


def test_seeds_that_end_at_their_own_time_are_compared_at_it():
    """Where a distance ends a phase, every seed has another last epoch."""
    results = world(shifts=CONTROLS_TOLD)
    plain, _ = judged(results)
    moved = []
    for number, seed in enumerate(results["increase-momentum"]):
        epochs = list(seed.curves["epoch"])
        epochs[-1] += 0.1 * number
        moved.append(replace(seed, curves={**seed.curves, "epoch": epochs}))
    results["increase-momentum"] = moved
    final = [p for p in EXPERIMENT.predictions if p.at == "final"]
    only = replace(EXPERIMENT, predictions=tuple(final))
    again = conclude(only, SIZE, 360, results)
    expected = {p["name"]: p for p in plain["predictions"]}
    for p in again["predictions"]:
        assert p["effect"] == expected[p["name"]]["effect"]
        assert p["epoch"] == (None if "increase-momentum" in p["arms"] else 50)


def test_nothing_is_told_between_dead_arms():
    gate = replace(EXPERIMENT.gate, may_fail=("increase-momentum", "increase-learning-rate"))
    lenient = replace(EXPERIMENT, gate=gate)
    status = {"increase-momentum": "diverged"}
    # One diverged, the other is stuck at chance.
    stuck = {**CONTROLS_TOLD, "increase-learning-rate": 0.0}
    results = world(shifts=stuck, status=status, error_shifts={"increase-learning-rate": 0.87})
    conclusion = conclude(lenient, SIZE, 360, results)
    assert conclusion["gate"] == {**conclusion["gate"], "passed": True}
    assert conclusion["gate"]["may_fail"] == list(gate.may_fail)
    by_name = {p["name"]: p for p in conclusion["predictions"]}
    milder = by_name["learning-rate-milder"]
    assert set(milder["arms"]) == set(gate.may_fail)
    assert milder["verdict"] == "undecided" and "between dead arms" in milder["reason"]
    # A live arm against a dead one is judged.
    assert by_name["momentum-worse-error"]["verdict"] == "supported"
