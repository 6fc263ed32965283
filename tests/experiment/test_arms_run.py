"""What arms may change is trained, and what they measure reaches results.json."""

import json

import pytest

from noisescale import InputError
from noisescale.experiment.parsing import parse_experiment
from noisescale.experiment.report import arm_table
from noisescale.experiment.verify import verify
from tests.experiment.test_grid import BASE

ARMS = """
[base.model]
width = 8
depth = 1
batch_norm = true
[[arm]]
name = "noise"
override = { "optimizer.noise_batch_size" = 5 }
[[arm]]
name = "by-distance"
override = { "run.until_distance" = [1e-3, 1e-3] }
[[arm]]
name = "measured"
override = { "probe.hessian_examples" = 20, "probe.recalibration_examples" = 0 }
"""


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    out = tmp_path_factory.mktemp("arms")
    experiment = parse_experiment(BASE + ARMS, "here")
    verify(experiment, out)
    report = (out / "report.md").read_text("utf-8")
    return json.loads((out / "results.json").read_text("utf-8")), report


def test_noise_and_stops_by_distance_are_arms(results):
    """Both are checked against phases, of which the programs they share have only blanks."""
    document, report = results
    arms = {arm["name"]: arm for arm in document["arms"]}
    # 100 examples, batch 20: five updates an epoch; the first look is after the first update.
    assert {s["curves"]["update"][-1] for s in arms["noise"]["seeds"]} == {15}
    assert {s["curves"]["update"][-1] for s in arms["by-distance"]["seeds"]} == {2}
    assert "| 2 of 15 |" in report


def test_columns_that_were_measured_are_kept(results):
    arms = {arm["name"]: arm for arm in results[0]["arms"]}
    measured = arms["measured"]["seeds"][0]
    assert all(value > 0 for value in measured["curves"]["hessian_eigenvalue"])
    assert "recalibrated_error" not in measured["curves"]
    noise = arms["noise"]["seeds"][0]
    assert "recalibrated_error" in noise["curves"]
    assert "hessian_eigenvalue" not in noise["curves"]
    distances = noise["distances"]
    pairs = list(zip(distances["first_tensor"], distances["distance"], strict=True))
    assert all(0 < first < whole for first, whole in pairs if first is not None)
    assert any(first is not None for first, _ in pairs)


def test_a_network_that_cannot_be_built_is_told_before_anything_is_trained(tmp_path):
    text = (
        BASE
        + """
[[arm]]
name = "plain"
[[arm]]
name = "tiny"
override = { "model.downsample" = 16 }
"""
    )
    with pytest.raises(InputError, match=r"arm 'tiny': model\.downsample=16: the images have 8×8"):
        verify(parse_experiment(text, "here"), tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_arms_that_share_a_phase_that_a_distance_ends(tmp_path):
    """Its length is known to nobody beforehand, so that the check of shared curves lets it be."""
    text = (
        BASE
        + """
[base.model]
width = 8
[[arm]]
name = "first"
override = { "run.until_distance" = [0.05] }
[[arm]]
name = "second"
override = { "run.until_distance" = [0.05], "phase.2.learning_rate" = 0.02 }
"""
    )
    results = verify(parse_experiment(text, "here"), tmp_path).results
    ends = [[s["curves"]["update"][-1] for s in arm["seeds"]] for arm in results["arms"]]
    assert ends[0] == ends[1] and max(ends[0]) < 15


def test_diverged_seeds_are_counted_by_their_status():
    """One of them may have ended on a number: it is no result."""
    seeds = [
        {"seed": 0, "status": "finished", "curves": {"update": [0, 10]}},
        {"seed": 1, "status": "diverged", "curves": {"update": [0, 2]}},
        {"seed": 2, "status": "diverged", "curves": {"update": [0, 5]}},
    ]
    for seed, loss in zip(seeds, (0.5, 2e35, None), strict=True):
        seed["curves"] |= {"train_loss": [2.3, loss], "evaluation_error": [0.9, 0.25]}
    phases = [{"learning_rate": 1.0, "batch_size": 8, "momentum": 0.0}]
    arm = {"name": "hot", "role": "arm", "phases": phases, "updates": 10, "seeds": seeds}
    (row,) = arm_table({"arms": [arm], "data": {"evaluation_split": "test"}})
    assert row[-3:] == ["10", "0.5 (2 diverged)", "25.00 (2 diverged)"]
