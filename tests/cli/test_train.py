"""`noisescale train` as its user runs it."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from noisescale.cli import main
from tests.cli.test_equivalent import fails

RECIPE = """
[[phase]]
epochs = 3
batch_size = 40
learning_rate = 0.05
momentum = 0.9
[model]
width = 16
batch_norm = true
ghost_batch_size = 20
[data]
subset = 400
[run]
seeds = 2
"""


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A recipe trained once: (file, folder)."""
    folder = tmp_path_factory.mktemp("train")
    path = folder / "recipe.toml"
    path.write_text(RECIPE)
    assert main(["train", str(path), "--out", str(folder / "out")]) == 0
    return path, folder / "out"


def rows_and_weights(folder: Path) -> dict[str, bytes]:
    names = ("rows.jsonl", "weights.npz", "result.json")
    return {f"{f.parent.name}/{f.name}": f.read_bytes() for n in names for f in folder.rglob(n)}


def test_a_table_and_files(trained, capsys):
    path, out = trained
    assert main(["train", str(path), "--out", str(out)]) == 0
    captured = capsys.readouterr()
    lines = captured.out.splitlines()
    assert [line.split()[:3] for line in lines if "finished" in line] == [
        ["0", "finished", "30"],
        ["1", "finished", "30"],
    ]
    assert max(map(len, lines)) <= 80
    assert f"wrote {out}" in captured.err
    assert len(rows_and_weights(out)) == 6


def test_the_default_folder_has_the_recipes_name(trained, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main(["train", str(trained[0]), "--seeds", "1"]) == 0
    assert [p.name for p in (tmp_path / "noisescale-runs").iterdir()] == ["recipe"]
    capsys.readouterr()


def test_json_alone_on_standard_output(trained, capsys):
    path, out = trained
    assert main(["train", str(path), "--out", str(out), "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["schema"] == "noisescale.train/1" and document["status"] == "finished"
    assert [one["seed"] for one in document["seeds"]] == [0, 1]
    for one in document["seeds"]:
        assert one["updates"] == 30 and len(one["weights_sha256"]) == 64
        assert 0 < one["final"]["train_loss"] < 1.5
        assert {"recalibrated_error", "distance", "evaluation_error"} <= set(one["final"])


def test_a_picture_and_tensorboard(trained, tmp_path, capsys):
    path, _ = trained
    out, logs = tmp_path / "out", tmp_path / "logs"
    command = ["train", str(path), "--seeds", "1", "--out", str(out)]
    command += ["--plot", str(tmp_path / "curves.png"), "--tensorboard", str(logs)]
    assert main(command) == 0
    assert (tmp_path / "curves.png").stat().st_size > 20000
    (events,) = logs.rglob("events.out.tfevents.*")
    content = events.read_bytes()
    assert b"train_loss" in content and b"distance" in content
    assert events.parent.name == "seed-0000"
    capsys.readouterr()


def test_without_tensorboard_one_line_says_what_to_install(trained, tmp_path, capsys, monkeypatch):
    import importlib.util

    found = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name: None if name == "tensorboardX" else found(name)
    )
    path, _ = trained
    with pytest.raises(SystemExit) as end:
        main(["train", str(path), "--tensorboard", str(tmp_path / "x")])
    error = capsys.readouterr().err
    assert end.value.code == 1 and "pip install 'noisescale[train,tensorboard]'" in error
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "give a recipe file"),
        (["RECIPE", "--recipe", "bigbatch-compat-f1-mnist"], "give a recipe file"),
        (["none.toml"], "no file"),
        (["RECIPE", "--seeds", "0"], "run.seeds=0"),
        (["RECIPE", "--seeds", "x"], "invalid int value"),
        (["RECIPE", "--plot", "x.gif"], "end the name in .png"),
        (["RECIPE", "--plot", "none/x.png"], "make it first"),
        (["RECIPE", "--plot", ""], "--plot is empty"),
        (["RECIPE", "--tensorboard", "RECIPE"], "it is a file"),
        (["RECIPE", "--out", "/proc/none"], "cannot write"),
        (["RECIPE", "--epochs", "3"], "unrecognized arguments"),
        (["--recipe", "bigbatch"], "did you mean 'bigbatch-compat-f1-mnist'"),
        (["--recipe", "goyal2017-resnet50-imagenet"], "it states no [model]"),
        (["--recipe", "bigbatch-compat-f1-mnist"], "--data-dir"),
        (["--recipe", "bigbatch-compat-f1-mnist", "--data-dir", "none"], "no folder"),
    ],
)
def test_bad_input(trained, capsys, tmp_path, monkeypatch, arguments, message):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("NOISESCALE_DATA", raising=False)
    given = [str(trained[0]) if a == "RECIPE" else a for a in arguments]
    fails(capsys, ["train", *given], message)
    assert list(tmp_path.iterdir()) == []


def test_another_recipe_in_the_folder(trained, capsys, tmp_path):
    _, out = trained
    before = rows_and_weights(out)
    other = tmp_path / "other.toml"
    other.write_text(RECIPE.replace("width = 16", "width = 17"))
    fails(capsys, ["train", str(other), "--out", str(out)], "recipe.model.width: 16 there, 17 here")
    assert rows_and_weights(out) == before


CODE = """
import resource, signal, sys
signal.signal(signal.SIGINT, signal.default_int_handler)
limit = int(sys.argv.pop(1))
if limit:
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
from noisescale.cli import main
sys.exit(main(sys.argv[1:]))
"""
LONG = RECIPE.replace("epochs = 3", "epochs = 12000").replace(
    "seeds = 2", "seeds = 1\nevaluate_every = 3000\ncheckpoint_seconds = 0.3"
)


def command_of(path: Path, out: Path, limit: int = 0) -> list[str]:
    return [sys.executable, "-c", CODE, str(limit), "train", str(path), "--out", str(out)]


@pytest.fixture(scope="module")
def long(tmp_path_factory):
    """A run of some seconds without interruption: (file, folder)."""
    folder = tmp_path_factory.mktemp("long")
    path = folder / "long.toml"
    path.write_text(LONG)
    done = subprocess.run(command_of(path, folder / "out"), capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return path, folder / "out"


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_stopped_and_continued(long, tmp_path, number):
    path, whole = long
    out = tmp_path / "out"
    running = subprocess.Popen(
        command_of(path, out), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    checkpoint, deadline = out / "seed-0000" / "checkpoint.npz", time.monotonic() + 120
    while not checkpoint.exists() and time.monotonic() < deadline:
        time.sleep(0.01)
    os.kill(running.pid, number)
    _, error = running.communicate(timeout=60)
    assert running.returncode == 143, error
    last = error.splitlines()[-1]
    assert "the checkpoint is saved" in last and "the same command goes on" in last
    assert "Traceback" not in error
    assert checkpoint.exists() and not (out / "seed-0000" / "result.json").exists()
    subprocess.run(command_of(path, out), check=True, capture_output=True)
    assert rows_and_weights(out) == rows_and_weights(whole)


def test_a_full_disk_is_one_line_and_the_run_goes_on(long, tmp_path):
    """A limit on the size of files stands for the disk: rows fit for a while, then they do not."""
    path, whole = long
    out = tmp_path / "out"
    size = (whole / "seed-0000" / "rows.jsonl").stat().st_size
    done = subprocess.run(command_of(path, out, size // 2), capture_output=True, text=True)
    assert done.returncode == 1
    last = done.stderr.splitlines()[-1]
    assert "cannot write" in last and "the same command goes on" in last
    assert "Traceback" not in done.stderr
    subprocess.run(command_of(path, out), check=True, capture_output=True)
    assert rows_and_weights(out) == rows_and_weights(whole)
