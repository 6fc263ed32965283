"""What arms may change is trained, and what they measure reaches results.json."""

import json

import pytest

from noisescale.experiment.parsing import parse_experiment
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
