"""One small committed arm trained again, another one at every commit."""

import hashlib
import json
import subprocess
from dataclasses import replace

import numpy as np
import pytest

from noisescale.analysis.schedule import Schedule
from noisescale.experiment import read_experiment
from noisescale.experiment.execution import curves_of, execute
from noisescale.training.data import load_dataset
from tests.conftest import ROOT

MOST_UPDATES = 1200
# Where versions or machine differ, rounding does: a run may leave its record by so many standard
# deviations over the committed seeds, an error by two examples besides.
DEVIATIONS = 5.0


def candidates():
    """(results.json, arm, number of the seed) of everything small that is committed on digits."""
    found = []
    for path in sorted(ROOT.glob("experiments/*/results/*/results.json")):
        results = json.loads(path.read_text("utf-8"))
        if results["data"]["name"] == "digits":
            # Where a distance ends a phase, the update may be another one on another machine.
            arms = [
                arm
                for arm in results["arms"]
                if arm["updates"] <= MOST_UPDATES and arm["name"] != "by-distance"
            ]
            found += [(path, arm["name"], k) for arm in arms for k in range(len(arm["seeds"]))]
    return found


def picked():
    """The one that the commit's hash picks; outside a checkout the first."""
    listed = candidates()
    try:
        command = ["git", "-C", str(ROOT), "rev-parse", "HEAD"]
        head = subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return listed[0]
    return listed[int(hashlib.sha256(head.encode()).hexdigest(), 16) % len(listed)]


def trained_again(path, name, number, folder, rate=1.0):
    """(committed curves of all seeds, new curves of this one)."""
    results = json.loads(path.read_text("utf-8"))
    experiment = read_experiment(path.parent / "experiment.toml")
    dataset = load_dataset(experiment.base.data, None)
    arm = next(a for a in experiment.planned(dataset.train_size) if a.name == name)
    if rate != 1:
        phases = [
            replace(p, learning_rate=rate * p.learning_rate) for p in arm.recipe.schedule.phases
        ]
        schedule = Schedule(phases)
        arm = replace(
            arm,
            recipe=replace(arm.recipe, schedule=schedule),
            plan=schedule.plan(dataset.train_size, "carry"),
        )
    committed = next(a for a in results["arms"] if a["name"] == name)["seeds"]
    seed = committed[number]["seed"]
    records = execute([arm], dataset, [seed], folder, lambda what, updates: None)
    return [one["curves"] for one in committed], curves_of(records[name][0]).curves


def leaves_its_record(all_curves, number, again):
    """Which columns end elsewhere than in the record."""
    wrong = []
    for column in ("train_loss", "evaluation_loss", "evaluation_error", "distance"):
        ends = np.array([curves[column][-1] for curves in all_curves], float)
        end, allowance = float(again[column][-1]), 0.0
        if column.endswith("error"):
            allowance = 2 / 360
        else:
            ends, end = np.log(ends), np.log(end)
        if abs(end - ends[number]) > allowance + DEVIATIONS * ends.std(ddof=1):
            wrong.append(column)
    return wrong


def test_a_committed_arm_comes_out_again(tmp_path):
    path, name, number = picked()
    print(f"{path.parent.relative_to(ROOT)}: arm {name}, seed number {number}")
    committed, again = trained_again(path, name, number, tmp_path)
    record = committed[number]
    for column in ("epoch", "update"):
        assert again[column] == record[column]
    # Initial weights are drawn, not computed: equal up to the last digits of an evaluation.
    assert again["train_loss"][0] == pytest.approx(record["train_loss"][0], rel=1e-5)
    assert not leaves_its_record(committed, number, again)


def test_a_wrong_learning_rate_would_be_seen(tmp_path):
    """The check has power: twice the rate leaves the record."""
    path, name = ROOT / "experiments/train_longer/results/digits/results.json", "learning-rate"
    committed, again = trained_again(path, name, 0, tmp_path / "right")
    assert not leaves_its_record(committed, 0, again)
    committed, again = trained_again(path, name, 0, tmp_path / "wrong", rate=2.0)
    assert "train_loss" in leaves_its_record(committed, 0, again)
