"""`train`: folders, resuming, diverging, refusing. Kills are in test_kills.py."""

import json
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import noisescale
from noisescale import InputError
from noisescale.record import CHECKPOINT, RECIPE, ROWS, read_arrays, sha256_of, sole_user
from noisescale.training.checkpoints import Stopped
from noisescale.training.train import train

BASE = {
    "phase": [
        {"epochs": 2, "batch_size": 24, "learning_rate": 0.05, "momentum": 0.9},
        {"epochs": 1.5, "batch_size": 48, "learning_rate": 0.02, "momentum": 0.8},
    ],
    "model": {"width": 12, "depth": 2, "batch_norm": True, "ghost_batch_size": 8, "dropout": 0.1},
    "data": {"subset": 200},
    "run": {"seeds": 1},
}


def recipe(**sections):
    document = json.loads(json.dumps(BASE))
    for name, values in sections.items():
        if isinstance(values, dict):
            document[name] = {**document.get(name, {}), **values}
        else:
            document[name] = values
    return document


def files(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def same_run(one: Path, other: Path) -> None:
    for name in ("rows.jsonl", "weights.npz", "result.json", "recipe.json"):
        assert (one / name).read_bytes() == (other / name).read_bytes(), name


@pytest.fixture(scope="module")
def reference(tmp_path_factory):
    """Two seeds run without interruption: (record, folder)."""
    folder = tmp_path_factory.mktemp("reference")
    return train(recipe(run={"seeds": 2}), folder), folder


def stop_after(looks):
    """A wish to stop at the n-th look."""
    seen = 0

    def stop():
        nonlocal seen
        seen += 1
        return seen > looks

    return stop


def test_the_contract(reference, tmp_path):
    record, folder = reference
    assert record.status == "finished" and record.identity["seed"] == [0, 1]
    assert [r["update"] for r in record.rows if r["seed"] == 0][-1] == 23
    assert sorted(p.name for p in folder.iterdir()) == ["seed-0000", "seed-0001"]
    assert sorted(p.name for p in (folder / "seed-0000").iterdir()) == [
        "provenance.json",
        "recipe.json",
        "result.json",
        "rows.jsonl",
        "timing.jsonl",
        "weights.npz",
    ]
    for name in ("provenance", "recipe", "result"):
        assert "schema" in json.loads((folder / "seed-0000" / f"{name}.json").read_text())
    beside = json.loads((folder / "seed-0000" / "provenance.json").read_text())
    assert set(beside) >= {"commit", "uncommitted_changes", "versions", "devices", "command"}
    result = json.loads((folder / "seed-0000" / "result.json").read_text())
    weights = read_arrays(folder / "seed-0000" / "weights.npz")
    assert result["weights_sha256"] == sha256_of(weights)
    assert "weights.weights[0]" in weights and "statistics[0].mean" in weights
    rows = (folder / "seed-0000" / ROWS).read_text().splitlines()
    assert [json.loads(line) for line in rows] == [
        {k: v for k, v in row.items() if k != "seed"} for row in record.rows if row["seed"] == 0
    ]
    timing = [
        json.loads(line)
        for line in (folder / "seed-0000" / "timing.jsonl").read_text().splitlines()
    ]
    assert timing[-1]["update"] == 23
    assert timing[-1]["seconds"] >= timing[-1]["train_seconds"] > 0
    # Read again from what is there, from a file and under its public name.
    before = files(folder)
    path = tmp_path / "recipe.json"
    path.write_text(json.dumps(recipe(run={"seeds": 2})))
    assert noisescale.train(path, folder) == record
    assert files(folder) == before


def test_a_stopped_run_goes_on_to_identical_weights_and_rows(reference, tmp_path):
    """Stopped at every look in turn: each part does one stretch."""
    _, whole = reference
    stops = 0
    while True:
        try:
            train(recipe(), tmp_path, stop=stop_after(1))
        except Stopped:
            stops += 1
            assert (tmp_path / "seed-0000" / CHECKPOINT).exists()
            assert stops < 100
        else:
            break
    assert stops > 8
    same_run(whole / "seed-0000", tmp_path / "seed-0000")
    assert not list((tmp_path / "seed-0000").glob(".*"))


def test_rows_beyond_the_checkpoint_are_cut(reference, tmp_path):
    _, whole = reference
    with pytest.raises(Stopped):
        train(recipe(), tmp_path, stop=stop_after(4))
    with open(tmp_path / "seed-0000" / ROWS, "ab") as file:
        file.write(b'{"update": 99}\n{"half')
    train(recipe(), tmp_path)
    same_run(whole / "seed-0000", tmp_path / "seed-0000")


def test_seeds_added_later_cost_only_themselves(reference, tmp_path):
    _, whole = reference
    train(recipe(), tmp_path)
    before = {p: p.stat().st_mtime_ns for p in (tmp_path / "seed-0000").iterdir()}
    record = train(recipe(run={"seeds": 2}), tmp_path)
    assert {p: p.stat().st_mtime_ns for p in (tmp_path / "seed-0000").iterdir()} == before
    same_run(whole / "seed-0001", tmp_path / "seed-0001")
    assert {row["seed"] for row in record.rows} == {0, 1}


@pytest.mark.parametrize(
    ("changed", "what"),
    [
        ({"optimizer": {"nesterov": True}}, "recipe.optimizer.nesterov: False there, True here"),
        ({"run": {"micro_batch_size": 8}}, "recipe.run.micro_batch_size: 0 there, 8 here"),
        ({"data": {"subset": 180}}, "recipe.data.subset: 200 there, 180 here"),
    ],
)
def test_a_folder_of_another_recipe_is_refused_and_kept(reference, changed, what):
    _, folder = reference
    before = files(folder)
    with pytest.raises(InputError) as error:
        train(recipe(**changed), folder)
    assert what in str(error.value) and "\n" not in str(error.value)
    assert files(folder) == before


def test_a_checkpoint_of_another_recipe_is_refused_and_kept(tmp_path):
    with pytest.raises(Stopped):
        train(recipe(), tmp_path, stop=stop_after(3))
    before = files(tmp_path)
    with pytest.raises(InputError, match=r"momentum: 0\.9 there, 0\.5 here"):
        phases = [{**BASE["phase"][0], "momentum": 0.5}, BASE["phase"][1]]
        train(recipe(phase=phases), tmp_path)
    assert files(tmp_path) == before
    head = json.loads((tmp_path / "seed-0000" / RECIPE).read_text())
    (tmp_path / "seed-0000" / RECIPE).write_text(json.dumps({**head, "schema": "x/9"}))
    with pytest.raises(InputError, match="schema 'x/9'"):
        train(recipe(), tmp_path)


def test_begun_anew_on_request(reference, tmp_path):
    _, whole = reference
    with pytest.raises(Stopped):
        train(recipe(), tmp_path, stop=stop_after(3))
    with pytest.raises(Stopped):
        train(recipe(), tmp_path, resume=False, stop=stop_after(2))
    train(recipe(), tmp_path, resume=False)
    same_run(whole / "seed-0000", tmp_path / "seed-0000")


def test_a_diverged_seed_is_recorded_and_the_others_go_on(tmp_path):
    wild = [{"epochs": 6, "batch_size": 4, "learning_rate": 1e20, "momentum": 0.9}]
    model = {"width": 12, "depth": 2, "batch_norm": False, "ghost_batch_size": 0}
    record = train(recipe(phase=wild, model=model, run={"seeds": 2}), tmp_path)
    assert record.status == "diverged"
    assert {row["seed"] for row in record.rows} == {0, 1}
    for seed in (0, 1):
        result = json.loads((tmp_path / f"seed-000{seed}" / "result.json").read_text())
        assert result["status"] == "diverged" and result["updates"] < 300
        last = [row for row in record.rows if row["seed"] == seed][-1]
        assert last["distance"] is None or last["train_loss"] is None
    again = train(recipe(phase=wild, model=model, run={"seeds": 2}), tmp_path)
    assert again == record


def test_what_may_change_nothing(reference, tmp_path, monkeypatch):
    """The length of stretches and the checkpoints' interval; identical files."""
    _, whole = reference
    monkeypatch.setattr("noisescale.training.run.FIRST_STRETCH", 2)
    monkeypatch.setattr("noisescale.training.run.STRETCH_SECONDS", 1e-9)
    monkeypatch.setattr("noisescale.training.drivers.STRETCH_EXAMPLES", 100)
    train(recipe(run={"checkpoint_seconds": 0}), tmp_path)
    same_run(whole / "seed-0000", tmp_path / "seed-0000")


@pytest.mark.parametrize("changed", [{"micro_batch_size": 8}, {"driver": "host"}])
def test_micro_batch_and_driver_change_rounding_only(reference, tmp_path, changed):
    _, whole = reference
    train(recipe(run=changed), tmp_path)
    one, other = (read_arrays(f / "seed-0000" / "weights.npz") for f in (whole, tmp_path))
    for name, array in one.items():
        # float32 over 23 updates; another mask or ghost would move 1e-2.
        np.testing.assert_allclose(array, other[name], atol=1e-4, rtol=1e-4)


def test_a_phase_ends_at_its_distance(tmp_path):
    run = {"seeds": 1, "until_distance": [1.0], "distance_checks": 8}
    record = train(recipe(run=run), tmp_path / "a")
    whole = train(recipe(), tmp_path / "b")
    rates = {row["update"]: row["learning_rate"] for row in record.rows}
    ended = max(update for update, rate in rates.items() if rate == 0.05)
    assert 0 < ended < 17
    row = next(r for r in record.rows if r["update"] == ended and r["train_loss"] is not None)
    assert row["distance"] >= 1.0
    # It ended at the first look (every update here, 8.3 per epoch) at which it was reached.
    earlier = [r for r in record.rows if r["update"] < ended]
    assert all(r["distance"] < 1.0 for r in earlier)
    # Until then it is the run without the rule, and the second phase is as long as ever.
    for r in earlier:
        if r["update"]:
            assert r["distance"] in [o["distance"] for o in whole.rows]
    last = record.rows[-1]
    assert last["update"] == ended + 6
    assert last["examples"] == 24 * ended + 48 * 6
    # A distance that is never reached changes nothing but the looks.
    never = train(recipe(run={**run, "until_distance": [1e6]}), tmp_path / "c")
    assert [r["distance"] for r in never.rows] == [r["distance"] for r in whole.rows]


def test_what_is_logged_does_not_decide_when_a_phase_ends(tmp_path):
    run = {"until_distance": [1.0], "distance_checks": 8}
    whole = train(recipe(run=run), tmp_path / "a")
    first = train(recipe(run=run, probe={"distance": "first-tensor"}), tmp_path / "b")
    assert [r["update"] for r in whole.rows] == [r["update"] for r in first.rows]


def test_a_phase_that_ends_at_a_distance_resumes(tmp_path):
    document = recipe(run={"until_distance": [1.0, 1.2], "distance_checks": 8})
    train(document, tmp_path / "whole")
    while True:
        try:
            train(document, tmp_path / "cut", stop=stop_after(1))
            break
        except Stopped:
            pass
    same_run(tmp_path / "whole" / "seed-0000", tmp_path / "cut" / "seed-0000")


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"optimizer": {"name": "adagrad"}}, "unknown optimizer 'adagrad'"),
        ({"optimizer": {"name": "adam"}}, "momentum belongs to SGD"),
        ({"optimizer": {"beta1": 0.8}}, "belongs to Adam"),
        ({"optimizer": {"normalize": True}}, "needs optimizer.clip_norm"),
        ({"optimizer": {"noise_batch_size": 25}}, "exceeds a phase's batch size"),
        ({"optimizer": {"momentum_forme": "trace"}}, "did you mean 'momentum_form'"),
        (
            {"model": {"ghost_batch_size": 0}, "run": {"micro_batch_size": 8}},
            "set ghost_batch_size",
        ),
        ({"run": {"micro_batch_size": 12}}, "no multiple"),
        ({"model": {"batch_norm": False}}, "ghost_batch_size needs model.batch_norm"),
        ({"model": {"running_statistics": "sequentially"}}, "did you mean 'sequential'"),
        ({"run": {"until_distance": [1, 2, 3]}}, "3 entries for 2 phases"),
        ({"data": {"sha256": 64 * "0"}}, "it is not the same data"),
        ({"data": {"sha256": "abc"}}, "64 hexadecimal digits"),
        ({"probe": {"gradient_parts": 1}}, "two parts or more"),
        ({"train_size": 1000}, "the data set has 200"),
        ({"ema_decay": 0.9}, "cannot be trained"),
        ({"optimizer": {"momentum_form": "dampend"}}, "did you mean 'dampened'"),
    ],
)
def test_bad_input_writes_nothing(tmp_path, changed, message):
    with pytest.raises(InputError) as error:
        train(recipe(**changed), tmp_path / "out")
    assert message in str(error.value) and "\n" not in str(error.value)
    assert list(tmp_path.iterdir()) == []


def test_odd_arguments(tmp_path):
    with pytest.raises(InputError, match="no file"):
        train(tmp_path / "none.toml", tmp_path)
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="folder"):
        train(recipe(), tmp_path / "file")
    with pytest.raises(InputError, match="cannot write"):
        train(recipe(), "/proc/none")


def test_programs_are_compiled_once_per_shape_of_a_batch(tmp_path):
    """Two seeds, stretches of many lengths, rates and probes: one program per micro-batch."""
    from noisescale.recipe import recipe_from
    from noisescale.training.data import load_dataset
    from noisescale.training.run import Trainer

    for changed, programs in (({}, 2), ({"micro_batch_size": 8}, 1), ({"driver": "host"}, 2)):
        resolved = recipe_from(recipe(run=changed))
        dataset = load_dataset(resolved.data)
        trainer = Trainer(resolved, dataset)
        plan = resolved.schedule.plan(200)
        for seed in (0, 1):
            progress = trainer.start(seed)
            for number in range(2):
                progress = trainer.run_phase(progress, plan, number)
        assert trainer.compiled == programs


def test_two_processes_do_not_share_a_folder(tmp_path):
    with sole_user(tmp_path):
        with pytest.raises(InputError, match="another process is writing"):
            train(recipe(), tmp_path)
        assert list(tmp_path.iterdir()) == []
    train(recipe(), tmp_path)


SCRIPT = """
import json, sys
import noisescale
recipe, folder = json.loads(sys.argv[1]), sys.argv[2]
noisescale.train(recipe, folder, report=lambda status: print(status.update, flush=True))
"""


def test_sigterm_reaches_a_script_of_the_users_own(tmp_path):
    document = recipe(
        phase=[{"epochs": 20000, "batch_size": 40, "learning_rate": 0.01}],
        run={"evaluate_every": 5000},
    )
    command = [sys.executable, "-c", SCRIPT, json.dumps(document), str(tmp_path)]
    running = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    while int(running.stdout.readline()) < 200:
        pass
    running.send_signal(signal.SIGTERM)
    _, error = running.communicate(timeout=60)
    assert running.returncode == 143 and error == ""
    assert (tmp_path / "seed-0000" / CHECKPOINT).exists()


ODD = """
import noisescale
for recipe, directory in ((3, "here"), (["phase"], "here"), ({}, 3), ({"phase": []}, "here")):
    try:
        noisescale.train(recipe, directory)
    except noisescale.InputError as error:
        print(error)
"""


def test_arguments_of_other_types(tmp_path):
    """In a fresh interpreter, where types are not checked by the tests."""
    done = subprocess.run(
        [sys.executable, "-c", ODD], capture_output=True, text=True, cwd=tmp_path, check=True
    )
    assert len(done.stdout.splitlines()) == 4
    assert done.stdout.count("give a file, a dict or a Recipe") == 2
    assert list(tmp_path.iterdir()) == []
