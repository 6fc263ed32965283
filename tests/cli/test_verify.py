import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from noisescale.cli import main
from noisescale.cli.verify import duration
from noisescale.experiment import find_experiment
from tests.cli.test_equivalent import fails

TINY = (
    find_experiment("increase-batch-size")
    .text.replace("train_size = 1437", "train_size = 240")
    .replace('name = "digits"', 'name = "digits"\nsubset = 240')
    .replace("epochs = 20", "epochs = 4")
    .replace("epochs = 10", "epochs = 2")
    .replace("batch_size = 8", "batch_size = 1")
    .replace('"phase.batch_size" = 40', '"phase.batch_size" = 5')
    .replace("target_batch_size = 40", "target_batch_size = 5")
    .replace("= 0.00004", "= 0.000008")
    .replace("= 0.0002", "= 0.00004")
    .replace("= 0.001", "= 0.0002")
    .replace("= 0.005\n", "= 0.001\n")
    .replace("= 0.005 }", "= 0.001 }")
    .replace("seeds = 20", "seeds = 3")
    .replace("below = 0.1", "below = 0.8")
)


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    """A tiny experiment, run once: (file, folder of results)."""
    folder = tmp_path_factory.mktemp("tiny")
    path = folder / "tiny.toml"
    path.write_text(TINY)
    assert main(["verify", str(path), "--out", str(folder / "out")]) == 0
    return path, folder / "out"


def results(folder: Path) -> dict:
    return json.loads((folder / "results.json").read_text())


def test_files(tiny):
    path, out = tiny
    names = sorted(p.name for p in out.iterdir())
    assert names == [
        "curves.png",
        "distance.png",
        "experiment.toml",
        "provenance.json",
        "report.md",
        "results.json",
        "runs",
        "schedules.png",
    ]
    assert (out / "experiment.toml").read_text() == path.read_text()


def test_results(tiny):
    document = results(tiny[1])
    for key in (
        "schema",
        "experiment",
        "experiment_sha256",
        "provenance",
        "fraction_of_protocol",
        "arms",
        "predictions",
        "informative",
    ):
        assert key in document
    assert document["fraction_of_protocol"] == pytest.approx(240 * 10 / 12.5e6)
    arms = {a["name"]: a for a in document["arms"]}
    assert arms["baseline"]["updates"] == 2400
    assert arms["increase-batch-size"]["updates"] == 960 + 96 + 19 + 4
    for arm in arms.values():
        assert [s["seed"] for s in arm["seeds"]] == [0, 1, 2]
        for seed in arm["seeds"]:
            assert seed["status"] == "finished"
            lengths = {len(c) for c in seed["curves"].values()}
            assert len(lengths) == 1
            assert seed["curves"]["update"][-1] == arm["updates"]
    for p in document["predictions"]:
        assert set(p) >= {"name", "verdict", "effect", "interval", "n", "seeds_needed"}
        assert p["n"] == 3
    report = (tiny[1] / "report.md").read_text()
    for p in document["predictions"]:
        assert p["statement"] in report and p["verdict"] in report


def test_shared_phases_are_one_run(tiny):
    arms = {a["name"]: a for a in results(tiny[1])["arms"]}
    for seed in range(3):
        base = arms["baseline"]["seeds"][seed]["curves"]
        for other in ("increase-batch-size", "not-decayed"):
            curves = arms[other]["seeds"][seed]["curves"]
            for column in ("update", "train_loss", "evaluation_error", "distance"):
                assert curves[column][:5] == base[column][:5]
            for column in ("train_loss", "distance"):
                assert curves[column][5:] != base[column][5:]
        again = arms["baseline-again"]["seeds"][seed]["curves"]
        assert again["train_loss"][0] == base["train_loss"][0]
        assert again["train_loss"][1] != base["train_loss"][1]


def test_a_branch_equals_the_arm_run_alone(tiny):
    from dataclasses import replace

    from noisescale.experiment import read_experiment
    from noisescale.experiment.execution import execute, work_of
    from noisescale.record import RunFolder
    from noisescale.training.data import load_dataset

    path, out = tiny
    experiment = read_experiment(path)
    dataset = load_dataset(experiment.base.data)
    arm = next(a for a in experiment.planned(240) if a.name == "increase-batch-size")
    done = []
    alone = execute(
        [replace(arm)], dataset, [1], path.parent / "alone", lambda what, n: done.append(n)
    )
    assert sum(done) == work_of([arm]) == arm.plan.updates
    # Shared phases count once: the baseline's first 960 updates serve three arms.
    arms = experiment.planned(240)
    assert work_of(arms) == sum(a.plan.updates for a in arms) - 2 * 960
    (record,) = alone["increase-batch-size"]
    branched = RunFolder(out / "runs" / arm.name / "seed-0001", record.identity).finished()
    assert branched is not None
    assert branched.rows == record.rows


def test_finished_runs_are_kept_and_seeds_added_cost_only_themselves(tiny, capsys):
    path, out = tiny
    before = {p: p.stat().st_mtime_ns for p in out.glob("runs/*/seed-*/rows.jsonl")}
    assert len(before) == 21
    assert main(["verify", str(path), "--out", str(out), "--seeds", "4", "--json"]) == 0
    captured = capsys.readouterr()
    document = json.loads(captured.out)
    assert [len(a["seeds"]) for a in document["arms"]] == [4] * 7
    after = {p: p.stat().st_mtime_ns for p in out.glob("runs/*/seed-*/rows.jsonl")}
    assert len(after) == 28
    assert all(after[p] == t for p, t in before.items())
    assert main(["verify", str(path), "--out", str(out)]) == 0  # back to three seeds
    assert len(results(out)["arms"][0]["seeds"]) == 3


def test_a_damaged_run_is_trained_again(tiny, capsys):
    path, out = tiny
    good = results(out)
    folder = out / "runs" / "batch-only"
    text = (folder / "seed-0001" / "rows.jsonl").read_text()
    lines = text.splitlines(keepends=True)
    (folder / "seed-0000" / "rows.jsonl").write_text("3\n")
    (folder / "seed-0001" / "rows.jsonl").write_text("".join(lines[:3]))
    (folder / "seed-0002" / "rows.jsonl").write_text("")
    again = out / "runs" / "baseline-again" / "seed-0000"
    (again / "recipe.json").write_text("[]")
    assert main(["verify", str(path), "--out", str(out)]) == 0
    assert results(out)["arms"] == good["arms"]
    capsys.readouterr()


def test_another_experiment_is_not_overwritten(tiny, capsys, tmp_path):
    path, out = tiny
    other = tmp_path / "other.toml"
    other.write_text(path.read_text().replace("margin = 0.2", "margin = 0.3"))
    kept = (out / "results.json").read_bytes()
    fails(capsys, ["verify", str(other), "--out", str(out)], "choose another --out")
    assert (out / "results.json").read_bytes() == kept


def test_an_out_that_holds_something_else(tiny, capsys, tmp_path):
    path, _ = tiny
    (tmp_path / "a").write_text("a file")
    fails(capsys, ["verify", str(path), "--out", str(tmp_path / "a")], "choose another --out")
    (tmp_path / "b").mkdir()
    (tmp_path / "b" / "experiment.toml").write_bytes(b"\xff")
    fails(capsys, ["verify", str(path), "--out", str(tmp_path / "b")], "another experiment")
    (tmp_path / "c" / "results.json").mkdir(parents=True)
    fails(capsys, ["verify", str(path), "--out", str(tmp_path / "c")], "is a folder")
    (tmp_path / "d").mkdir()
    (tmp_path / "d" / "runs").write_text("a file")
    fails(capsys, ["verify", str(path), "--out", str(tmp_path / "d")], "choose another --out")


def test_a_dead_experiment_is_void(tiny, capsys, tmp_path):
    path, out = tiny
    dead = tmp_path / "dead.toml"
    dead.write_text(path.read_text().replace("below = 0.8", "below = 0.0001"))
    shutil.copytree(out / "runs", tmp_path / "out" / "runs")
    assert main(["verify", str(dead), "--out", str(tmp_path / "out")]) == 0
    assert "void" in capsys.readouterr().out
    document = results(tmp_path / "out")
    assert not document["informative"] and not document["gate"]["passed"]
    assert {p["verdict"] for p in document["predictions"]} == {"undecided"}
    assert "NOT informative" in (tmp_path / "out" / "report.md").read_text()


def test_a_diverged_arm_is_void_and_drawn(tiny, capsys, tmp_path):
    path, out = tiny
    wild = tmp_path / "wild.toml"
    text = path.read_text()
    assert '"phase.batch_size" = 5' in text
    wild.write_text(text.replace('"phase.batch_size" = 5', '"phase.learning_rate" = 1e20'))
    shutil.copytree(out / "runs", tmp_path / "out" / "runs")
    assert main(["verify", str(wild), "--out", str(tmp_path / "out")]) == 0
    assert "seed 0 of batch-only diverged" in capsys.readouterr().out
    document = results(tmp_path / "out")
    status = {a["name"]: {s["status"] for s in a["seeds"]} for a in document["arms"]}
    assert status["batch-only"] == {"diverged"} and status["baseline"] == {"finished"}
    assert {p["verdict"] for p in document["predictions"]} == {"undecided"}
    assert (tmp_path / "out" / "curves.png").stat().st_size > 5000


def test_text_of_the_file_is_not_markup(tiny, capsys, tmp_path):
    path, _ = tiny
    odd = tmp_path / "odd.toml"
    text = path.read_text().replace('title = "', 'title = "[/bold] ')
    odd.write_text(text.replace('statement = "', 'statement = "[/x] '))
    assert main(["verify", str(odd), "--dry-run"]) == 0
    assert "[/x] " in capsys.readouterr().out


def test_dry_run(tiny, capsys, tmp_path, monkeypatch):
    path, _ = tiny
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("NOISESCALE_DATA", raising=False)
    assert main(["verify", str(path), "--dry-run", "--no-trial"]) == 0
    out = capsys.readouterr().out
    assert "2,400" in out and "no estimate of time, memory and disk: --no-trial" in out
    assert main(["verify", str(path), "--dry-run", "--json"]) == 0
    plan = json.loads(capsys.readouterr().out)
    assert plan["arms"][0] == {"name": "baseline", "updates": 2400}
    cost = plan["estimate"]
    assert cost["measured"] and (cost["tried"], cost["kinds"]) == (4, 4)
    assert cost["seconds"] > 0 and cost["disk_bytes"] > 21 * 10 * 200  # runs, rows, bytes
    assert cost["memory_bytes"] is None or cost["memory_bytes"] > 1e7
    assert main(["verify", "increase-batch-size", "--dataset", "mnist", "--dry-run"]) == 0
    assert "the files of mnist are missing" in capsys.readouterr().out
    assert main(["verify", "increase-batch-size", "--preset", "paper", "--dry-run", "--json"]) == 0
    cost = json.loads(capsys.readouterr().out)["estimate"]
    assert not cost["measured"] and cost["seconds"] is None and "cifar10" in cost["reason"]
    assert list(tmp_path.iterdir()) == []


def test_durations_are_told_in_units_that_fit():
    found = [duration(seconds) for seconds in (7.13, 89.0, 91.0, 5000.0, 5400.0, 1e6)]
    wanted = ["7.1 seconds", "89 seconds", "1.5 minutes", "83 minutes", "1.5 hours", "278 hours"]
    assert found == wanted


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["increase-batch"], "did you mean 'increase-batch-size'"),
        (["none.toml"], "no file"),
        (["increase-batch-size", "--dataset", "imagenet"], "unknown data set"),
        (["increase-batch-size", "--seeds", "0"], "--seeds 0"),
        (["increase-batch-size", "--seeds", "999999999999"], "from 1 to 10,000"),
        (["increase-batch-size", "--seeds", "many"], "invalid int value"),
        (["increase-batch-size", "--dataset", "mnist"], "--data-dir"),
        (["increase-batch-size", "--dataset", "mnist", "--data-dir", "no"], "no folder"),
        (["increase-batch-size", "--out", "/proc/none"], "cannot write"),
        (["increase-batch-size", "--out", 300 * "x"], "cannot write"),
        (["increase-batch-size", "--dataset", ""], "unknown data set"),
        (["increase-batch-size", "--sedes", "3"], "unrecognized arguments"),
        (["increase-batch-size", "--preset", "full"], "known are quick, cpu, paper"),
        (["distance-growth", "--preset", "paper"], "it has cpu (mnist)"),
        (["increase-batch-size", "--no-trial"], "--no-trial belongs to --dry-run"),
        ([], "EXPERIMENT"),
    ],
)
def test_bad_input(capsys, tmp_path, monkeypatch, arguments, message):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("NOISESCALE_DATA", raising=False)
    fails(capsys, ["verify", *arguments], message)
    assert list(tmp_path.iterdir()) == []


def test_a_bad_experiment_file_writes_nothing(capsys, tmp_path):
    path = tmp_path / "bad.toml"
    path.write_text(TINY.replace("learning_rate = 0.001", "learning_rate = -1", 1))
    fails(capsys, ["verify", str(path), "--out", str(tmp_path / "out")], "learning_rate=-1")
    assert [p.name for p in tmp_path.iterdir()] == ["bad.toml"]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_stopped_and_continued(tiny, tmp_path, number):
    path, _ = tiny
    out = tmp_path / "out"
    # A process started in the background ignores SIGINT; a user's terminal does not.
    code = (
        "import signal, sys; signal.signal(signal.SIGINT, signal.default_int_handler); "
        "from noisescale.cli import main; sys.exit(main(sys.argv[1:]))"
    )
    command = [sys.executable, "-c", code, "verify", str(path), "--out", str(out)]
    command += ["--seeds", "40"]
    running = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    deadline = time.monotonic() + 120
    while len(list(out.glob("runs/*/seed-*/rows.jsonl"))) < 9 and time.monotonic() < deadline:
        time.sleep(0.02)
    os.kill(running.pid, number)
    _, err = running.communicate(timeout=60)
    assert running.returncode == 143, err
    assert "the same command goes on" in err
    assert "Traceback" not in err
    finished = {p: p.read_bytes() for p in out.glob("runs/*/seed-*/rows.jsonl")}
    assert len(finished) >= 9
    assert not (out / "results.json").exists()
    command[-1] = "3"
    subprocess.run(command, check=True, capture_output=True)
    assert all(p.read_bytes() == content for p, content in finished.items())
    fresh, whole = results(out), results(tiny[1])
    for document in (fresh, whole):
        del document["provenance"]
    assert fresh == whole
    hidden = [p for p in out.rglob(".*") if p.is_dir()]
    assert hidden == []
