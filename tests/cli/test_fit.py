"""`noisescale fit` as its user runs it: on our own runs and on another trainer's CSV."""

import json
import re
import shlex
from pathlib import Path

import numpy as np
import pytest

from noisescale.cli import main
from noisescale.formats.trajectories import read_landscapes, read_trajectories
from noisescale.plots.figure import new_figure
from tests.cli.test_equivalent import fails
from tests.reference import growth as reference

DOCS = Path(__file__).resolve().parents[2] / "docs"
RECIPE = """
[[phase]]
updates = 100
batch_size = {batch}
learning_rate = 0.05
[model]
width = 8
[data]
subset = 128
[run]
seeds = 3
replica = {replica}
evaluate_every = 1000
[probe]
per_decade = 10
layers = false
gradient_parts = 4
{more}
"""


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """Three seeds at B = 8 and 32 with two data orders each, and with the full batch."""
    folder = tmp_path_factory.mktemp("fit")
    for batch, replica in ((8, 0), (8, 1), (32, 0), (32, 1), (128, 0)):
        more = "rays = 12\nrandom_points = 100" if (batch, replica) == (8, 0) else ""
        recipe = folder / "recipe.toml"
        recipe.write_text(RECIPE.format(batch=batch, replica=replica, more=more))
        out = folder / f"batch-{batch}-{replica}"
        assert main(["train", str(recipe), "--out", str(out)]) == 0
    return folder


@pytest.fixture
def csv(tmp_path):
    """Five seeds of a trainer that counts steps, D = .3 √step with 1 % noise between seeds."""
    rng = np.random.default_rng(0)
    x = np.unique(np.geomspace(1, 1e4, 40).round())
    curve = reference.distance("power", x, (0.3, 0.5))
    lines = ["seed,step,weight_distance"]
    for seed in range(5):
        noisy = curve * np.exp(reference.noise(x, 1, 0.01, 1.0, 0.2, rng)[0])
        lines += [f"{seed},{s:g},{d:.8g}" for s, d in zip(x, noisy, strict=True)]
    path = tmp_path / "log.csv"
    path.write_text("\n".join(lines) + "\n")
    return path


CSV = ["--clock", "step", "--columns", "distance=weight_distance", "--seed-column", "seed"]


def document(capsys, *arguments):
    assert main(["fit", *map(str, arguments), "--json"]) == 0
    return json.loads(capsys.readouterr().out)


def test_the_law_of_a_csv(capsys, csv):
    found = document(capsys, csv, *CSV)
    assert found["schema"] == "noisescale.fit/1" and found["walk"] is None
    (group,) = found["groups"]
    assert group["seeds"] == 5 and group["laws"]["verdict"] == "power"
    power = group["laws"]["fits"]["power"]
    error = power["stderr"]["exponent"]
    assert abs(power["parameters"]["exponent"] - 0.5) < 4 * error < 0.05
    assert power["special"]["diffusive"]


def test_one_law_in_a_window(capsys, csv):
    found = document(capsys, csv, *CSV, "--law", "power", "--window", 10, 1000, "--level", 0.9)
    (group,) = found["groups"]
    assert group["laws"]["law"] == "power" and group["laws"]["level"] == 0.9
    low, high = group["laws"]["window"]
    assert 10 <= low and high <= 1000


def test_a_line_that_was_cut_off_is_told(capsys, csv):
    csv.write_text(csv.read_text() + "4,2000")
    assert main(["fit", str(csv), *CSV]) == 0
    assert re.search(r"note: .*line \d+, the last one, is cut off", flat(capsys.readouterr().out))


def flat(text):
    return " ".join(text.split())


def test_our_own_runs_tell_everything(capsys, trained, tmp_path):
    folders = sorted(trained.glob("batch-*"))
    figure = tmp_path / "fit.png"
    found = document(capsys, *folders, "--plot", figure)
    assert [g["batch_size"] for g in found["groups"]] == [8, 32, 128]
    assert [g["seeds"] for g in found["groups"]] == [3, 3, 3]
    assert found["groups"][0]["noise_scale"]["windows"]
    # 100 updates from B = 8 to the full batch: judged, whatever comes out.
    assert found["walk"]["batch_sizes"] == [8, 32, 128]
    assert found["walk"]["verdict"] in ("drift", "free diffusion", "undecided")
    assert len(found["landscapes"]) == 3
    assert {one["verdict"] for one in found["landscapes"].values()} <= {"smooth", "undecided"}
    drawn = {path.name for path in tmp_path.glob("*.png")}
    assert drawn == {"fit.png", "fit-noise.png", "fit-walk.png", "fit-landscape.png"}


def test_text_for_people(capsys, trained):
    assert main(["fit", *map(str, sorted(trained.glob("batch-*")))]) == 0
    text = flat(capsys.readouterr().out)
    for word in ("B = 8", "saturating", "B_simple", "walk:", "landscape of"):
        assert word in text
    assert main(["fit", str(trained / "batch-8-0")]) == 0
    assert "walk:" not in capsys.readouterr().out


def test_sketches_and_settings_come_back(trained):
    found = read_trajectories([trained / "batch-8-0", trained / "batch-128-0"])
    assert {(t.batch_size, t.seed, t.replica, t.train_size) for t in found} == {
        (batch, seed, 0, 128) for batch in (8, 128) for seed in range(3)
    }
    first = found[0]
    assert first.positions.shape == (len(first.update), 256) and first.sketched
    # √(2/256) of a squared norm: 4 standard errors, and more where few weights moved.
    ratio = np.sum(first.positions[-1] ** 2) / first.distance[-1] ** 2
    assert ratio == pytest.approx(1.0, abs=0.4)
    landscapes = read_landscapes([trained / "batch-8-0"])
    assert len(landscapes) == 3
    ax = next(iter(landscapes.values())).plot(new_figure(1, 1, title="").axes[0])
    assert ax.get_xlabel()


BAD = [
    ("missing.csv", "no file or folder"),
    ("LOG --clock time", "did you mean"),
    ("LOG --columns distance=weight_distanc", "weight_distance"),
    ("LOG --columns weights=w", "unknown quantity"),
    ("LOG --law logarithm", "did you mean 'log'"),
    ("LOG --window 5 3", "window"),
    ("LOG --window 1 nan", "window"),
    ("LOG --level 2", "level"),
    ("LOG --plot fit.gif", ".png"),
    ("LOG --plot nowhere/fit.png", "no folder"),
]


@pytest.mark.parametrize(("line", "message"), BAD)
def test_bad_input_is_one_line(capsys, csv, monkeypatch, line, message):
    monkeypatch.chdir(csv.parent)
    arguments = ["fit"]
    for word in shlex.split(line):
        arguments += [str(csv), *CSV] if word == "LOG" else [word]
    fails(capsys, arguments, message)
    assert [path.name for path in csv.parent.iterdir()] == ["log.csv"]


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ("0,20000,nan\n0,30000,3", "finite again"),
        ("0,20000,x", "not a number"),
        ("0,20000,-3", "needs|above 0|below"),
        ("0,1,3", "falls from"),
    ],
)
def test_broken_rows_are_named(capsys, csv, row, message):
    csv.write_text(csv.read_text() + row + "\n")
    if message.startswith("needs"):
        # Values below 0 cannot be distances: they are left out of the curve.
        assert document(capsys, csv, *CSV)["groups"]
    else:
        fails(capsys, ["fit", str(csv), *CSV], message)


def test_a_noise_scale_without_distances(capsys, tmp_path):
    rng = np.random.default_rng(0)
    lines = ["update,small,big,b,B"]
    for k in range(1, 200):
        small, big = (1 + 200 / np.array([8, 64])) * (1 + 0.05 * rng.standard_normal(2))
        lines.append(f"{k},{small:.6g},{big:.6g},8,64")
    path = tmp_path / "norms.csv"
    path.write_text("\n".join(lines) + "\n")
    names = ["small_sq_norm=small", "big_sq_norm=big", "small_batch=b", "big_batch=B"]
    (group,) = document(capsys, path, "--columns", *names)["groups"]
    assert group["mean"] == [] and group["laws"]["verdict"] == "undecided"
    last = group["noise_scale"]["windows"][-1]
    # Within 4 of its own standard errors, which stay below 8 %.
    assert abs(last["value"] / 200 - 1) < 4 * last["stderr"] / last["value"] < 0.3
