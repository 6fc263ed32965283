"""Final values of arms that last longer than others: each at its own end."""

import json
from dataclasses import replace

import pytest

from noisescale import InputError
from noisescale.experiment import conclude
from noisescale.experiment.parsing import parse_experiment
from noisescale.experiment.report import effect_text
from tests.experiment.worlds import CONTROLS_TOLD, SIZE, world
from tests.experiment.worlds import EXPERIMENT as EQUAL

LONGER = """
[[arm]]
name = "longer"
override = { "phase.epochs" = 40 }

[[prediction]]
name = "longer-is-better"
statement = "training longer ends better"
kind = "worse"
arms = ["longer", "baseline"]
metric = "evaluation_error"
margin = 0.01
"""
# The positive controls are told from the baseline in their errors too.
TOLD = {"batch-only": 0.03, "not-decayed": 0.03}
EXPERIMENT = parse_experiment(EQUAL.text + LONGER, "longer.toml")


def longer_world(error, at_the_others_end):
    """The planted world and an arm of 160 epochs: its error at epoch 50, and what its end adds."""
    results = world(shifts=CONTROLS_TOLD, error_shifts=TOLD, error_noise=0.0005, seeds=12)
    results["longer"] = []
    for one in results["baseline"]:
        curves = {name: [*c, *([c[-1]] * 110)] for name, c in one.curves.items()}
        curves["epoch"] = [float(e) for e in range(161)]
        end = one.curves["evaluation_error"][-1] + error
        errors = [0.9] * 50 + [at_the_others_end] * 110
        curves["evaluation_error"] = [*errors, end]
        results["longer"].append(replace(one, curves=curves))
    return results


def judged(results):
    conclusion = conclude(EXPERIMENT, SIZE, 360, results)
    json.dumps(conclusion, allow_nan=False)
    return {p["name"]: p for p in conclusion["predictions"]}


def test_each_arm_at_its_own_end():
    """At epoch 50 the longer arm is far worse than the baseline, at its own end far better."""
    p = judged(longer_world(-0.02, at_the_others_end=0.5))["longer-is-better"]
    assert p["verdict"] == "supported"
    # What was planted; both ends hold the same noise.
    assert p["effect"] == pytest.approx(0.02, abs=1e-9)
    assert p["epoch"] is None
    assert effect_text(p, "test").endswith("test error at the end of each")


def test_its_own_end_may_be_worse():
    p = judged(longer_world(+0.02, at_the_others_end=0.0))["longer-is-better"]
    assert p["verdict"] == "contradicted"
    assert p["effect"] == pytest.approx(-0.02, abs=1e-9)


def test_arms_of_equal_length_are_judged_as_before():
    options = {"error_shifts": TOLD, "error_noise": 0.0005, "seeds": 12}
    equal = conclude(EQUAL, SIZE, 360, world(shifts=CONTROLS_TOLD, **options))
    longer = judged(longer_world(-0.02, at_the_others_end=0.5))
    for p in equal["predictions"]:
        assert p["epoch"] is not None
        # Holm's correction is over one prediction more.
        kept = {k: v for k, v in p.items() if k not in ("p_adjusted", "verdict", "reason")}
        assert {k: longer[p["name"]][k] for k in kept} == kept


def test_curves_and_controls_need_equal_lengths():
    curve = EQUAL.text + LONGER.replace('kind = "worse"', 'kind = "same"\nat = "curve"')
    control = (EQUAL.text + LONGER).replace('"not-decayed"]', '"not-decayed", "longer"]', 1)
    for text in (curve, control):
        with pytest.raises(InputError, match=r"'longer' lasts 160 epochs .* at equal epochs"):
            parse_experiment(text, "x").planned(SIZE)
