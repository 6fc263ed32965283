import json
import subprocess
import sys

import pytest

from noisescale.cli import main

SMITH = (
    "equivalent --epochs 200 --batch-size 128 --learning-rate 0.1 --momentum 0.9 "
    "--milestones 60 120 160 --decay-factor 5 --train-size 50000 --max-batch-size 5120"
).split()
RECIPE = """
train_size = 50000
[[phase]]
epochs = 100
batch_size = 128
learning_rate = 0.1
momentum = 0.9
[[phase]]
epochs = 100
batch_size = 128
learning_rate = 0.02
momentum = 0.9
[model]
name = "anything: this command does not read it"
"""


def document(capsys, *arguments):
    assert main([*arguments, "--json"]) == 0
    captured = capsys.readouterr()
    assert captured.err == ""
    return json.loads(captured.out)


def test_json_of_the_published_schedule(capsys):
    result = document(capsys, *SMITH)
    assert result["schema"] == "noisescale.equivalent/1"
    assert result["train_size"] == 50000
    assert result["original"]["updates"] == 78125
    by_name = {e["name"]: e for e in result["equivalents"]}
    assert by_name["grow-batch"]["updates"] == 29141
    last = by_name["grow-batch"]["phases"][-1]
    assert (last["batch_size"], last["learning_rate"]) == (5120, 0.032)
    assert set(last) >= {
        "epochs",
        "learning_rate",
        "batch_size",
        "momentum",
        "updates",
        "noise_scale",
        "noise_scale_finite_population",
    }
    assert last["noise_scale"] == pytest.approx(3.125)
    for e in by_name.values():
        kept = {i["name"]: i["kept"] for i in e["invariants"]}
        by_sqrt = e["name"] in ("sqrt", "regime-adaptation")
        assert kept["noise_scale"] is not by_sqrt
        assert kept["diffusion_per_update"] is by_sqrt
        assert kept["updates"] is (e["name"] == "regime-adaptation")
        assert all(w["code"] and w["message"] and w["source"] for w in e["warnings"])


def test_table(capsys):
    assert main(SMITH) == 0
    printed = capsys.readouterr().out
    for expected in ("78,125", "29,141", "15,625", "390.6", "3.125", "temperature", "5120"):
        assert expected in printed


def test_recipe_file_gives_the_same_as_flags(capsys, tmp_path):
    path = tmp_path / "recipe.toml"
    path.write_text(RECIPE)
    flags = "--epochs 200 --batch-size 128 --learning-rate 0.1 --momentum 0.9 --milestones 100"
    by_flags = document(
        capsys, "equivalent", *flags.split(), "--decay-factor", "5", "--train-size", "50000"
    )
    assert document(capsys, "equivalent", str(path)) == by_flags
    other = document(capsys, "equivalent", str(path), "--train-size", "40000", "--partial", "drop")
    assert other["original"]["updates"] == 200 * (40000 // 128)


def test_routes_and_target(capsys):
    result = document(capsys, *SMITH, "--routes", "learning-rate+grow-batch", "--to-batch", "640")
    (only,) = result["equivalents"]
    assert (only["name"], only["updates"]) == ("learning-rate+grow-batch", 6406)


def test_without_a_train_size(capsys):
    flags = "equivalent --epochs 9 --batch-size 32 --learning-rate 0.1 --to-batch 64".split()
    result = document(capsys, *flags)
    phase = result["original"]["phases"][0]
    assert result["train_size"] is None
    assert result["original"]["updates"] is None
    assert phase["noise_scale"] == pytest.approx(0.1 / 32)
    assert phase["noise_scale_finite_population"] is None
    assert main(flags) == 0
    assert "--train-size" in capsys.readouterr().out


def test_nothing_applies(capsys):
    flags = "equivalent --epochs 9 --batch-size 32 --learning-rate 0.1 --train-size 999".split()
    assert document(capsys, *flags)["equivalents"] == []
    assert main(flags) == 0
    assert "--to-batch" in capsys.readouterr().out


@pytest.mark.parametrize("ending", ["png", "pdf", "svg"])
def test_plot(capsys, tmp_path, ending):
    path = tmp_path / f"routes.{ending}"
    assert main([*SMITH, "--plot", str(path)]) == 0
    assert path.stat().st_size > 5000
    assert [p.name for p in tmp_path.iterdir()] == [path.name]


def fails(capsys, arguments, message, code=2):
    with pytest.raises(SystemExit) as exit_:
        main(arguments)
    captured = capsys.readouterr()
    assert exit_.value.code == code
    assert captured.out == ""
    assert captured.err.startswith("noisescale: error: ")
    assert captured.err.count("\n") == 1, captured.err
    assert message in captured.err


BASE = "equivalent --epochs 10 --batch-size 8 --learning-rate 0.1".split()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "give a command"),
        (["equivalents"], "invalid choice"),
        (["equivalent"], "--epochs is missing"),
        (BASE[:-2], "--learning-rate is missing"),
        ([*BASE, "--batch", "9"], "unrecognized arguments"),
        ([*BASE, "--batch-size", "8.5"], "invalid whole number value"),
        ([*BASE, "--batch-size", "0"], "batch_size=0"),
        ([*BASE, "--learning-rate", "-1"], "learning_rate=-1.0"),
        ([*BASE, "--learning-rate", "nan"], "learning_rate=nan"),
        ([*BASE, "--momentum", "1"], "momentum=1.0"),
        ([*BASE, "--milestones", "5"], "decay_factor"),
        ([*BASE, "--decay-factor", "5"], "milestones"),
        ([*BASE, "--milestones", "5", "3", "--decay-factor", "5"], "must increase"),
        ([*BASE, "--milestones", "12", "--decay-factor", "5"], "must increase"),
        ([*BASE, "--milestones", "5", "--decay-factor", "0"], "decay_factor=0.0"),
        ([*BASE, "--train-size", "4"], "exceeds train_size=4"),
        ([*BASE, "--train-size", "-4"], "train_size=-4"),
        ([*BASE, "--partial", "keeep"], "did you mean 'keep'"),
        ([*BASE, "--routes", "momentun"], "did you mean 'momentum'"),
        ([*BASE, "--routes", "grow-batch"], "never drops"),
        ([*BASE, "--routes", "momentum", "--to-batch", "4"], "negative momentum"),
        ([*BASE, "--to-batch", "64", "--max-batch-size", "32"], "exceeds max_batch_size"),
        ([*BASE, "--granularity", "0"], "granularity=0"),
        ([*BASE, "--train-size", "99", "--plot", "x.gif"], "end the name in .png"),
        ([*BASE, "--train-size", "99", "--plot", "no/such/x.png"], "no folder"),
        ([*BASE, "--plot", "x.png"], "give --train-size"),
        ([*BASE, "--partial", ""], "partial-batch policy"),
        ([*BASE, "--train-size", "99", "--plot", ""], "end the name in .png"),
        ([*BASE, "--train-size", "99", "--plot", "/proc/x.png"], "cannot write '/proc/x.png'"),
        ([*BASE, "--learning-rate", "1e308"], "1e-100 … 1e100"),
        ([*BASE, "--epochs", "1e308"], "1e-100 … 1e100"),
        ([*BASE, "--milestones", "5", "--decay-factor", "1e-300"], "1e-100 … 1e100"),
        ([*BASE, "--batch-size", "9" * 400], "batch_size=9"),
        (["equivalent", "none.toml"], "no file 'none.toml'"),
        (["equivalent", "."], "cannot read"),
        ([*BASE, "recipe.toml"], "one or the other"),
    ],
)
def test_bad_input(capsys, tmp_path, monkeypatch, arguments, message):
    monkeypatch.chdir(tmp_path)
    fails(capsys, arguments, message)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("phase = 3", "[[phase]]"),
        ("", "no [[phase]] block"),
        ("[[phase]]\nepochs = ", "not valid TOML"),
        (RECIPE.replace("train_size", "trainsize"), "did you mean 'train_size'"),
        (RECIPE.replace("momentum", "momentun", 1), "phase 1: unknown key 'momentun'"),
        (RECIPE.replace("epochs = 100", "", 1), "phase 1: a phase takes exactly one"),
        (RECIPE.replace("learning_rate = 0.02", ""), "phase 2: missing"),
        (RECIPE.replace("50000", "0"), "train_size=0"),
        (RECIPE.replace("50000", '"many"'), "train_size='many'"),
        ("partial = 'dorp'\n" + RECIPE, "did you mean 'drop'"),
        ("optimizer = {name = 'adam'}\n" + RECIPE, "unknown optimizer 'adam'"),
        (RECIPE.replace("50000", "9" * 400), "train_size=9"),
        (RECIPE.replace("50000", "9" * 5000), "not valid TOML"),
        (RECIPE.replace("0.1", "9" * 400), "learning_rate=9"),
        (RECIPE.replace("momentum = 0.9", "weight_decay = 1e308", 1), "weight_decay=1e+308"),
        ("a = " + "[" * 5000, "nested too deeply"),
        (RECIPE.replace("batch_size = 128", "batch_size = [128]"), "batch_size=[128]"),
        (RECIPE.replace("learning_rate = 0.1", "learning_rate = {start=1}"), "needs 'shape'"),
    ],
)
def test_bad_recipes(capsys, tmp_path, text, message):
    path = tmp_path / "recipe.toml"
    path.write_text(text)
    fails(capsys, ["equivalent", str(path)], message)


def test_a_recipe_that_is_not_text(capsys, tmp_path):
    path = tmp_path / "recipe.toml"
    path.write_bytes(b"\xff\xfe\x00")
    fails(capsys, ["equivalent", str(path)], "not UTF-8")


def test_help_has_an_example(capsys):
    for command in ("equivalent", "verify"):
        with pytest.raises(SystemExit) as exit_:
            main([command, "--help"])
        assert exit_.value.code == 0
        assert f" noisescale {command} " in " ".join(capsys.readouterr().out.split())


def test_as_a_program(tmp_path):
    done = subprocess.run(
        [sys.executable, "-m", "noisescale", *SMITH, "--json"],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        check=True,
    )
    assert json.loads(done.stdout)["original"]["updates"] == 78125
    assert done.stderr == ""
    version = subprocess.run(
        [sys.executable, "-m", "noisescale", "--version"], capture_output=True, text=True
    )
    assert version.stdout.strip().count(".") == 2


def test_a_reader_that_leaves(tmp_path):
    """`noisescale … | head -1`: no traceback."""
    for option, first in (("--json", "{"), ("", "S")):
        command = f"{sys.executable} -m noisescale {' '.join(SMITH)} {option} | head -c 1; "
        command += "exit ${PIPESTATUS[0]}"
        done = subprocess.run(
            command, shell=True, capture_output=True, text=True, executable="/bin/bash"
        )
        assert (done.stdout, done.stderr, done.returncode) == (first, "", 0)


def test_a_route_that_cannot_apply_says_why(capsys):
    arguments = [*SMITH, "--to-batch", "8"]
    assert main(arguments) == 0
    assert "momentum cannot apply" in capsys.readouterr().out
    (left_out,) = document(capsys, *arguments)["left_out"]
    assert left_out["name"] == "momentum" and "cannot shrink" in left_out["reason"]


@pytest.mark.parametrize("columns", ["60", "160"])
def test_numbers_and_names_are_whole_at_any_width(capsys, monkeypatch, columns):
    monkeypatch.setenv("COLUMNS", columns)
    assert main(SMITH) == 0
    printed = capsys.readouterr().out
    for whole in ("grow-batch", "learning-rate", "momentum", "78,125", "29,141"):
        assert whole in printed
