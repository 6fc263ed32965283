"""Two real processes over loopback: one run, a clear end when one dies, and it goes on."""

import contextlib
import json
import socket
import subprocess
import sys
import time

import numpy as np
import pytest

from noisescale import train
from noisescale.errors import InputError
from noisescale.training.processes import Job

RECIPE = """
[[phase]]
epochs = {epochs}
batch_size = 60
learning_rate = 0.05
momentum = 0.9
[model]
batch_norm = true
width = 16
depth = 2
ghost_batch_size = 20
[run]
seeds = 1
checkpoint_seconds = 0
evaluate_every = 5
"""


EPOCHS, UPDATES = 10, 240


def free_ports():
    """A port whose successor is free as well."""
    while True:
        with socket.socket() as first, socket.socket() as second:
            first.bind(("127.0.0.1", 0))
            port = first.getsockname()[1]
            with contextlib.suppress(OSError, OverflowError):
                second.bind(("127.0.0.1", port + 1))
                return port


def started(recipe, out):
    """The processes of a run on this machine, each with one device."""
    port = free_ports()
    return [
        subprocess.Popen(
            [
                *(sys.executable, "-m", "noisescale", "train", str(recipe), "--out", str(out)),
                *("--json", "--coordinator", f"127.0.0.1:{port}"),
                *("--processes", "2", "--process", str(k)),
            ],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for k in range(2)
    ]


def ended(processes, seconds=120):
    """(exit code, standard output, standard error) of each."""
    found = []
    for process in processes:
        out, err = process.communicate(timeout=seconds)
        found.append((process.returncode, out, err))
    return found


@pytest.fixture(scope="module")
def recipe(tmp_path_factory):
    path = tmp_path_factory.mktemp("recipes") / "recipe.toml"
    path.write_text(RECIPE.format(epochs=EPOCHS))
    return path


@pytest.fixture(scope="module")
def together(recipe, tmp_path_factory):
    """(folder, what the processes said) of a run that nobody disturbed."""
    out = tmp_path_factory.mktemp("together")
    return out, ended(started(recipe, out))


def test_two_processes_are_one(together, recipe, tmp_path):
    out, ((rc, said, _), (other_rc, other_said, _)) = together
    assert (rc, other_rc) == (0, 0)
    summary = json.loads(said)  # nothing else on standard output
    assert other_said == ""
    assert summary["status"] == "finished"
    alone = train(recipe, tmp_path / "alone")
    rows = [json.loads(line) for line in (out / "seed-0000/rows.jsonl").read_text().splitlines()]
    assert len(rows) == len(alone.rows)
    for mine, theirs in zip(alone.rows, rows, strict=True):
        for key in ("train_loss", "evaluation_loss", "distance", "weight_norm"):
            if mine[key] is not None:
                assert theirs[key] == pytest.approx(mine[key], rel=2e-3, abs=1e-5)
    assert rows[-1]["distance"] > 0.5
    provenance = json.loads((out / "seed-0000/provenance.json").read_text())
    assert provenance["processes"] == 2 and len(provenance["devices"]) == 2


def until_saved(checkpoint, processes, update=0):
    """Wait for a checkpoint after more than so many updates; where it was."""
    limit = time.monotonic() + 90
    while time.monotonic() < limit:
        if checkpoint.exists() and (place := place_of(checkpoint)["update"]) > update:
            return place
        time.sleep(0.02)
    raise AssertionError(ended(processes, 1))


@pytest.mark.parametrize("killed", [0, 1])
def test_one_is_killed(together, recipe, tmp_path, killed):
    """The other ends with one line and code 1, and the run resumes to identical weights."""
    undisturbed, _ = together
    out = tmp_path / "run"
    checkpoint = out / "seed-0000/checkpoint.npz"
    processes = started(recipe, out)
    until_saved(checkpoint, processes)
    processes[killed].kill()
    began = time.monotonic()
    ((rc, _, said),) = ended([processes[1 - killed]], 60)
    assert time.monotonic() - began < 30
    ended([processes[killed]])
    assert rc == 1
    last = said.strip().splitlines()[-1]
    assert f"process {killed} of 2 has ended: start all processes again" in last
    assert "Traceback" not in said
    assert 0 < place_of(checkpoint)["update"] < UPDATES
    assert [rc for rc, _, _ in ended(started(recipe, out))] == [0, 0]
    for name in ("result.json", "rows.jsonl"):
        mine, theirs = (folder / "seed-0000" / name for folder in (out, undisturbed))
        assert mine.read_bytes() == theirs.read_bytes()


def test_one_is_asked_to_stop(recipe, tmp_path):
    out = tmp_path / "run"
    checkpoint = out / "seed-0000/checkpoint.npz"
    processes = started(recipe, out)
    place = until_saved(checkpoint, processes)
    processes[1].terminate()  # one hears it, all stop
    assert [rc for rc, _, _ in ended(processes)] == [143, 143]
    assert place <= place_of(checkpoint)["update"] < UPDATES


def place_of(checkpoint):
    for _ in range(100):
        with contextlib.suppress(OSError, ValueError), np.load(checkpoint) as found:
            return json.loads(bytes(found["head"]).decode())["place"]
        time.sleep(0.02)
    raise AssertionError("no checkpoint can be read")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--coordinator", "nowhere", "--process", "0"], "HOST:PORT"),
        (["--coordinator", "127.0.0.1:65535", "--process", "0"], "1 to 65534"),
        (["--coordinator", "127.0.0.1:4000"], "--process"),
        (["--coordinator", "127.0.0.1:4000", "--process", "2"], "from 0 to 1"),
        (["--coordinator", "127.0.0.1:4000", "--process", "0", "--processes", "1"], "two or more"),
        (["--process", "1"], "needs --coordinator"),
        (["--devices", "4096"], "lower it"),
        (["--devices", "-1"], "whole number from 0"),
    ],
)
def test_refused(recipe, tmp_path, capsys, options, message):
    from noisescale.cli import main

    with pytest.raises(SystemExit) as ended_with:
        main(["train", str(recipe), "--out", str(tmp_path / "run"), *options])
    assert ended_with.value.code == 2
    (line,) = capsys.readouterr().err.strip().splitlines()
    assert message in line
    assert not (tmp_path / "run").exists()


def test_nobody_is_there(monkeypatch):
    from noisescale.training import processes

    monkeypatch.setattr(processes, "PATIENCE_SECONDS", 0.3)
    for process in (0, 1):
        job = Job(coordinator=f"127.0.0.1:{free_ports()}", processes=2, process=process)
        with pytest.raises(InputError, match="did not meet the others"):
            with processes.joined(job):
                pass
