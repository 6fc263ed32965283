"""Sweeps, and the controls that cost one line each."""

import json

import pytest

from noisescale import InputError
from noisescale.cli import main
from noisescale.experiment.parsing import parse_experiment
from noisescale.experiment.specification import shared_epochs

BASE = """
name = "sweep"
title = "A sweep"
[base]
[[base.phase]]
epochs = 2
batch_size = 20
learning_rate = 0.1
momentum = 0.9
[[base.phase]]
epochs = 1
batch_size = 20
learning_rate = 0.01
momentum = 0.5
[base.data]
subset = 100
[base.run]
seeds = 2
"""
CONTROLS = """
[[arm]]
name = "base"
[[arm]]
name = "other-order"
replica = 1
[[arm]]
name = "gradient-descent"
full_batch = true
[[arm]]
name = "not-decayed"
not_decayed = true
"""
GRID = """
[grid]
"phase.batch_size" = [10, 50]
"optimizer.clip_norm" = [0.0, 0.5, 5]
"""


def planned(text):
    return {arm.name: arm for arm in parse_experiment(text, "here").planned(100)}


def test_controls_are_one_line_each():
    arms = planned(BASE + CONTROLS)
    base = arms["base"].plan
    assert [row.updates for row in base.rows] == [10, 5]
    assert arms["other-order"].recipe.run.replica == 1
    assert arms["other-order"].plan == base
    descent = arms["gradient-descent"].plan
    assert [(r.updates, r.batch_size, r.learning_rate) for r in descent.rows] == [
        (10, 100, 0.1),
        (5, 100, 0.01),
    ]
    constant = arms["not-decayed"].plan
    assert [(r.learning_rate, r.momentum) for r in constant.rows] == [(0.1, 0.9), (0.1, 0.5)]


def test_a_grid_is_every_combination():
    arms = planned(BASE + GRID)
    assert list(arms) == [
        "batch_size-10_clip_norm-0.0",
        "batch_size-10_clip_norm-0.5",
        "batch_size-10_clip_norm-5",
        "batch_size-50_clip_norm-0.0",
        "batch_size-50_clip_norm-0.5",
        "batch_size-50_clip_norm-5",
    ]
    last = arms["batch_size-50_clip_norm-5"].recipe
    assert last.optimizer.clip_norm == 5
    assert {p.batch_size for p in last.schedule.phases} == {50}
    both = planned(BASE + CONTROLS + GRID)
    assert len(both) == 10


@pytest.mark.parametrize(
    ("grid", "message"),
    [
        ("[grid]\nphase.batch_size = [10]", "quote the key"),
        ('[grid]\n"phase.batch_size" = 10', "give a list of values"),
        ('[grid]\n"phase.batch_size" = []', "give a list of values"),
        ('[grid]\n"phase.batch_sise" = [1]', "did you mean 'batch_size'"),
        ('[grid]\n"optimiser.clip_norm" = [1]', "did you mean 'optimizer'"),
        ('[grid]\n"model.width" = [1, 1]', "named twice"),
        ("grid = 3", "not a table"),
        (
            '[grid]\n"model.width" = [' + ",".join(map(str, range(1, 200))) + "]\n"
            '"model.depth" = [' + ",".join(map(str, range(1, 200))) + "]",
            "at most 10,000",
        ),
        ('[[arm]]\nname = "a"\nfull_batch = 1', "true or false"),
        ('[[arm]]\nname = "a"\nreplica = "x"', "whole number"),
        ("", "'prediction' is missing|'arm' is missing"),
        ('[gate]\nmetric = "train_loss"\nbelow = 1.0\n[[arm]]\nname = "a"', "is missing"),
    ],
)
def test_bad_grids(grid, message):
    text = BASE + grid if not grid.startswith("grid") else grid + "\n" + BASE
    with pytest.raises(InputError, match=message):
        planned(text)


def test_a_sweep_is_run_and_reported_without_verdicts(tmp_path, capsys):
    path = tmp_path / "sweep.toml"
    path.write_text(BASE + CONTROLS + '[grid]\n"phase.learning_rate" = [0.05, 1e30]\n')
    assert main(["verify", str(path), "--out", str(tmp_path / "out"), "--json"]) == 0
    results = json.loads(capsys.readouterr().out)
    assert results["predictions"] == [] and results["gate"] is None
    assert results["fraction_of_protocol"] is None
    status = {arm["name"]: {s["status"] for s in arm["seeds"]} for arm in results["arms"]}
    # A diverged run is recorded, and the sweep goes on.
    assert status["learning_rate-1e-30"] == {"diverged"}
    assert all(v == {"finished"} for k, v in status.items() if k != "learning_rate-1e-30")
    report = (tmp_path / "out" / "report.md").read_text()
    assert "diverged" in report and "nothing is judged" in report
    curves = {arm["name"]: arm["seeds"][0]["curves"]["train_loss"] for arm in results["arms"]}
    assert curves["other-order"][0] == curves["base"][0] != curves["other-order"][-1]
    assert curves["other-order"][-1] != curves["base"][-1]
    assert main(["verify", str(path), "--dry-run"]) == 0


def test_an_arm_whose_ghosts_would_be_cut_is_named_before_any_work(tmp_path, capsys):
    path = tmp_path / "sweep.toml"
    path.write_text(
        BASE
        + '[base.model]\nbatch_norm = true\n[[arm]]\nname = "whole"\n'
        + '[[arm]]\nname = "cut"\noverride = { "run.micro_batch_size" = 10 }\n'
    )
    with pytest.raises(SystemExit) as end:
        main(["verify", str(path), "--out", str(tmp_path / "out")])
    error = capsys.readouterr().err
    assert end.value.code == 2 and "arm 'cut'" in error and "set ghost_batch_size" in error
    assert not list((tmp_path / "out").glob("runs/*"))


def test_a_sweep_may_grow_and_keeps_its_runs(tmp_path, capsys):
    path, out = tmp_path / "sweep.toml", tmp_path / "out"
    small = BASE.replace("epochs = 2", "epochs = 1").replace("seeds = 2", "seeds = 1")
    path.write_text(small + '[[arm]]\nname = "base"\n')
    assert main(["verify", str(path), "--out", str(out)]) == 0
    kept = {p: p.stat().st_mtime_ns for p in out.glob("runs/*/seed-*/*")}
    path.write_text(small + '[[arm]]\nname = "base"\n[[arm]]\nname = "other"\nreplica = 1\n')
    assert main(["verify", str(path), "--out", str(out)]) == 0
    assert {p: p.stat().st_mtime_ns for p in kept} == kept
    assert len(list(out.glob("runs/*/seed-*"))) == 2
    # An arm that is now another run is refused, not replaced.
    path.write_text(small + '[[arm]]\nname = "base"\noverride = { "model.width" = 3 }\n')
    with pytest.raises(SystemExit):
        main(["verify", str(path), "--out", str(out)])
    assert "recipe.model.width: 64 there, 3 here" in capsys.readouterr().err
    assert {p: p.stat().st_mtime_ns for p in kept} == kept


def test_not_decayed_takes_a_shape_at_its_start():
    cosine = BASE.replace(
        "learning_rate = 0.1\n",
        'learning_rate = {shape = "cosine", start = 0.2, end = 0.0}\n',
    )
    arms = planned(cosine + CONTROLS)
    rows = arms["not-decayed"].plan.rows
    assert [(r.learning_rate, r.constant) for r in rows] == [(0.2, True), (0.2, True)]
    flat = BASE.replace("learning_rate = 0.01", "learning_rate = 0.1")
    with pytest.raises(InputError, match="never changes"):
        planned(flat + CONTROLS)


def test_a_list_of_targets_is_an_arm_for_each():
    text = (
        BASE + '[[arm]]\nname = "linear"\nroute = "learning-rate"\ntarget_batch_size = [40, 10]\n'
    )
    arms = planned(text)
    assert list(arms) == ["linear_40", "linear_10"]
    rates = {name: [row.learning_rate for row in arm.plan.rows] for name, arm in arms.items()}
    assert rates == {"linear_40": [0.2, 0.02], "linear_10": [0.05, 0.005]}


def test_an_override_of_one_phase():
    text = BASE + '[[arm]]\nname = "longer"\noverride = { "phase.1.epochs" = 4 }\n'
    text += '[[arm]]\nname = "plain"\n'
    arms = planned(text)
    assert [row.updates for row in arms["longer"].plan.rows] == [20, 5]
    assert [row.updates for row in arms["plain"].plan.rows] == [10, 5]


def test_a_sweep_may_name_its_protocol():
    protocol = """
[protocol]
source = "somebody"
dataset = "digits"
model = "m"
train_size = 1000
epochs = 30
"""
    experiment = parse_experiment(BASE + protocol + CONTROLS, "here")
    # Three epochs of 100 examples, of thirty of 1,000.
    assert experiment.fraction_of_protocol(100) == pytest.approx(0.01)
    assert parse_experiment(BASE + CONTROLS, "here").fraction_of_protocol(100) is None


def test_arms_of_other_optimizers_share_nothing():
    text = (
        BASE
        + """
[[arm]]
name = "sgd"
[[arm]]
name = "adam"
override = { "optimizer.name" = "adam", "phase.momentum" = 0.0, "phase.learning_rate" = 0.1 }
[[arm]]
name = "adam-longer"
override = { "optimizer.name" = "adam", "phase.momentum" = 0.0, "phase.2.epochs" = 2 }
[[arm]]
name = "sgd-longer"
override = { "phase.2.epochs" = 2 }
"""
    )
    arms = planned(text)
    assert shared_epochs(arms["sgd"], arms["adam"]) == 0
    assert shared_epochs(arms["adam"], arms["sgd"]) == 0
    assert shared_epochs(arms["sgd"], arms["sgd-longer"]) == 2
