"""`noisescale compare` as its user runs it: on our own runs and on another trainer's CSV."""

import json
import re
import shlex
import shutil

import numpy as np
import pytest

from noisescale.analysis.run_groups.compare import compare_groups
from noisescale.cli import main
from noisescale.formats.measured import read_runs
from noisescale.plots import new_figure
from noisescale.plots.groups import draw_group_curves, draw_group_difference, groups_figure
from tests.cli.test_equivalent import fails

RECIPE = """
[[phase]]
epochs = 3
batch_size = 40
learning_rate = {rate}
momentum = 0.9
[model]
width = 16
[data]
subset = 400
[run]
seeds = 6
[probe]
per_decade = 2
layers = false
sketch = 0
gradient_parts = 0
"""


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """Six seeds at two learning rates: {label: folder}."""
    folder = tmp_path_factory.mktemp("compare")
    for label, rate in (("slow", 0.01), ("fast", 0.05)):
        recipe = folder / f"{label}.toml"
        recipe.write_text(RECIPE.format(rate=rate))
        assert main(["train", str(recipe), "--out", str(folder / label)]) == 0
    return folder


@pytest.fixture
def tables(tmp_path):
    """CSV files of a trainer that counts steps: a.csv, same.csv and other.csv, six seeds each."""
    rng = np.random.default_rng(0)
    for name, shift in (("a", 0.0), ("same", 0.0), ("other", 0.2)):
        lines = ["seed;step;val_loss;val_acc"]
        for seed in range(6):
            offset = 0.01 * rng.normal() + shift
            lines += [
                f"{seed};{step};{1 + np.exp(-step / 500) + offset:.6f};{rng.integers(80, 90)}"
                for step in range(0, 2001, 100)
            ]
        (tmp_path / f"{name}.csv").write_text("\n".join(lines) + "\n")
    return tmp_path


STEPS = ["--clock", "step", "--metric", "val_loss", "--seed-column", "seed"]


def document(capsys, *arguments):
    assert main(["compare", *map(str, arguments), "--json"]) == 0
    captured = capsys.readouterr()
    assert captured.err == ""
    return json.loads(captured.out, parse_constant=pytest.fail)


def group(label, *paths):
    return ["--group", label, *map(str, paths)]


def test_our_own_runs(trained, capsys):
    slow, fast = group("slow", trained / "slow"), group("fast", trained / "fast")
    result = document(capsys, *slow, *fast, "--relative-margin", 0.1)
    assert result["schema"] == "noisescale.compare/1"
    (pair,) = result["pairs"]
    assert (pair["verdict"], pair["n"]) == ("different", [6, 6])
    main_quantity, *others = pair["quantities"]
    assert main_quantity["quantity"] == "evaluation_loss" and main_quantity["effect"] < -0.2
    # The numbers are those of the rows.
    at = int(main_quantity["at"])
    last = {
        label: [
            np.log(run.curve("epoch", "evaluation_loss")[1][at])
            for run in read_runs(
                [trained / label], clock="epoch", columns={"evaluation_loss": "evaluation_loss"}
            )
        ]
        for label in ("slow", "fast")
    }
    assert main_quantity["effect"] == pytest.approx(np.mean(last["fast"]) - np.mean(last["slow"]))
    names = {q["quantity"] for q in others}
    assert {"distance", "weight_norm", "train_error", "update_norm"} <= names
    assert not names & {"update", "examples", "learning_rate", "batch_size"}
    assert pair["parts_at"][0] < 2
    assert pair["calibration"]["method"] == "splits" and pair["calibration"]["trials"] == 10


def test_halves_of_one_group_are_not_different(trained, capsys):
    seeds = sorted((trained / "fast").iterdir())
    halves = [*group("a", *seeds[:3]), *group("b", *seeds[3:])]
    (pair,) = document(capsys, *halves, "--relative-margin", 0.5)["pairs"]
    assert pair["verdict"] != "different" and pair["parts_at"] is None


def test_a_copy_of_all_runs_is_the_same(trained, tmp_path, capsys):
    shutil.copytree(trained / "slow", tmp_path / "copy")
    both = [*group("slow", trained / "slow"), *group("copy", tmp_path / "copy")]
    (pair,) = document(capsys, *both, "--margin", 0.01)["pairs"]
    assert pair["verdict"] == "same" and pair["paired"]
    assert "these are the same runs" in pair["notes"][0]


def test_csv_of_another_trainer(tables, capsys):
    a, same, other = (group(n, tables / f"{n}.csv") for n in ("a", "same", "other"))
    result = document(capsys, *a, *same, *other, *STEPS, "--margin", 0.05, "--from", 500)
    assert [p["verdict"] for p in result["pairs"]] == ["same", "different"]
    assert [p["n"] for p in result["pairs"]] == [[6, 6], [6, 6]]
    loss, accuracy = result["pairs"][1]["quantities"]
    assert loss["effect"] == pytest.approx(0.2, abs=0.02)
    assert accuracy["quantity"] == "val_acc" and accuracy["margin"] is None
    assert result["pairs"][1]["parts_at"] == [500, "val_loss"]


def test_names_of_columns_and_one_metric_after_another(tables, capsys):
    a, other = group("a", tables / "a.csv"), group("b", tables / "other.csv")
    columns = ["--columns", "evaluation_loss=val_loss", "update=step", "--clock", "update"]
    (pair,) = document(capsys, *a, *other, *columns, "--seed-column", "seed", "--margin", "0.05")[
        "pairs"
    ]
    assert pair["quantities"][0]["quantity"] == "evaluation_loss"
    metrics = ["--metric", "val_acc", "val_loss", "--clock", "step", "--seed-column", "seed"]
    (pair,) = document(capsys, *a, *other, *metrics, "--margin", 20)["pairs"]
    assert [q["quantity"] for q in pair["quantities"]] == ["val_acc", "val_loss"]
    assert [q["verdict"] for q in pair["quantities"]] == ["same", "different"]


def test_groups_in_one_file(tables, capsys):
    rows = []
    for arm in ("a", "same", "other"):
        head, *lines = (tables / f"{arm}.csv").read_text().splitlines()
        rows += [f"{arm};{line}" for line in lines]
    path = tables / "all.csv"
    path.write_text("\n".join([f"arm;{head}", *rows]))
    both = [*group("a", path), *group("same", path), *STEPS, "--group-column", "arm"]
    control = ["--positive-control", "other", path]
    (pair,) = document(capsys, *both, *control)["pairs"]
    assert pair["verdict"] == "same"
    assert pair["quantities"][0]["margin"] == pytest.approx(0.1, abs=0.02)
    near = [*group("a", path), *group("sane", path), *STEPS, "--group-column", "arm"]
    message = "unknown value of arm 'sane': did you mean 'same'"
    fails(capsys, ["compare", *near, "--margin", "1"], message)


def test_a_table_and_sentences(tables, capsys):
    both = [*group("a", tables / "a.csv"), *group("b", tables / "other.csv"), *STEPS]
    assert main(["compare", *both, "--margin", "0.05"]) == 0
    captured = capsys.readouterr()
    lines = captured.out.splitlines()
    assert captured.err == "" and max(map(len, lines)) <= 80
    assert lines[0] == "a (6) and b (6): different"
    row = next(line.split() for line in lines if line.strip().startswith("val_loss"))
    assert row[:2] == ["val_loss", "different"]
    text = " ".join(captured.out.split())
    assert "they part at step 0 (val_loss)" in text
    assert "8 points, step 1300 to 2000, margin 0.05; the common range is 0 to 2000" in text
    assert "called different in 0 of 10 splits of a (3 against 3)" in text


def test_pairing_is_told(tables, capsys):
    both = [*group("a", tables / "a.csv"), *group("b", tables / "same.csv"), *STEPS]
    assert main(["compare", *both, "--relative-margin", "0.1", "--paired"]) == 0
    text = " ".join(capsys.readouterr().out.split())
    assert "equal seeds are compared with each other; their correlation is" in text
    assert "resampled pairs (6 against 6)" in text and "margin 10 %" in text


def test_one_run_each(tables, capsys):
    for name in ("a", "other"):
        lines = (tables / f"{name}.csv").read_text().splitlines()
        (tables / f"{name}.csv").write_text("\n".join(lines[:22]) + "\n")
    both = [*group("a", tables / "a.csv"), *group("b", tables / "other.csv"), *STEPS]
    assert main(["compare", *both, "--margin", "0.05"]) == 0
    text = " ".join(capsys.readouterr().out.split())
    assert "a (1) and b (1): undecided" in text
    assert "no spread, so neither same nor different can be said" in text


def test_the_figure(tables, capsys, tmp_path):
    a, same, other = (group(n, tables / f"{n}.csv") for n in ("a", "same", "other"))
    path = tmp_path / "difference.svg"
    assert (
        main(["compare", *a, *same, *other, *STEPS, "--margin", "0.05", "--plot", str(path)]) == 0
    )
    assert f"wrote {path}" in capsys.readouterr().err
    text = path.read_text()
    assert text.startswith("<?xml")
    bad = ["compare", *a, *same, *STEPS, "--margin", "1", "--plot", "a.gif"]
    fails(capsys, bad, ".png, .pdf or .svg")


def test_the_figure_draws_what_was_compared(tables):
    groups = {
        name: read_runs(
            [tables / f"{name}.csv"],
            clock="step",
            columns={"val_loss": "val_loss"},
            seed_column="seed",
        )
        for name in ("a", "other")
    }
    options = {"clock": "step", "metrics": ["val_loss"], "plan": False}
    result = compare_groups(groups, margin=0.05, **options)
    (pair,) = result.pairs
    above, below = new_figure(2, 1, title="t").axes
    draw_group_curves(above, pair, "step")
    draw_group_difference(below, pair, "step", result.level)
    means = [np.mean([r.columns["val_loss"] for r in runs], axis=0) for runs in groups.values()]
    np.testing.assert_allclose(above.lines[0].get_ydata(), means[0])
    np.testing.assert_allclose(above.lines[1].get_ydata(), means[1])
    difference, decide = below.lines[:2]
    np.testing.assert_allclose(difference.get_ydata(), means[1] - means[0])
    np.testing.assert_array_equal(decide.get_xdata(), pair.quantities[0].points)
    band = below.collections[0].get_paths()[0].vertices
    low, high = pair.quantities[0].interval
    at = band[band[:, 0] == pair.quantities[0].at][:, 1]
    assert (at.min(), at.max()) == pytest.approx((low, high))
    relative = compare_groups(groups, relative_margin=0.1, **options)
    figure = groups_figure(relative)
    assert len(figure.axes) == 2 and figure.axes[0].get_yscale() == "log"
    ratio = figure.axes[1].lines[0].get_ydata()
    np.testing.assert_allclose(ratio, 100 * (means[1] / means[0] - 1), atol=0.2)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("", "at least two groups"),
        ("--group a a.csv --margin 1", "at least two groups"),
        ("--group a --group b same.csv --margin 1", "--group 'a' names no runs"),
        ("--group a a.csv --group a same.csv --margin 1", "--group 'a' is given twice"),
        ("--group a a.csv --group b same.csv", "no margin was given"),
        ("--group a a.csv --group b same.csv --margin 1 --relative-margin 1", "several margins"),
        ("--group a a.csv --group b same.csv --margin x", "invalid float value"),
        ("--group a a.csv --group b same.csv --margin -1", "margin=-1.0"),
        ("--group a a.csv --group b none.csv --margin 1", "no file or folder 'none.csv'"),
        ("--group a a.csv --group b a.csv --margin 1", "a.csv 0 is given twice"),
        ("--group a a.csv --group b same.csv --margin 1 --columns x", "write QUANTITY=COLUMN"),
        ("--group a a.csv --group b same.csv --margin 1 --columns x=y", "unknown quantity"),
        ("--group a a.csv --group b same.csv --margin 1 --clock stp", "did you mean 'step'"),
        ("--group a a.csv --group b same.csv --margin 1 --metric loss", "unknown column 'loss'"),
        ("--group a a.csv --group b same.csv --margin 1 --from 9999", "no measurement of val_loss"),
        ("--group a a.csv --group b same.csv --margin 1 --points 0", "points=0"),
        ("--group a a.csv --group b same.csv --margin 1 --plot no/a.png", "no folder 'no'"),
    ],
)
def test_bad_input_is_one_line(tables, monkeypatch, capsys, arguments, message):
    monkeypatch.chdir(tables)
    fails(capsys, ["compare", *STEPS, *arguments.split()], message)


@pytest.fixture
def at_the_documents_place(trained, tables, monkeypatch):
    """The files that docs/compare.md speaks of."""
    for arm, folder in (("baseline", "slow"), ("scaled", "fast")):
        shutil.copytree(trained / folder, tables / "runs" / arm)
    shutil.copy(tables / "same.csv", tables / "b.csv")
    shutil.copy(tables / "other.csv", tables / "hot.csv")
    monkeypatch.chdir(tables)
    return tables


def test_the_commands_of_the_document_run(root, at_the_documents_place, capsys):
    text = (root / "docs" / "compare.md").read_text("utf-8")
    blocks = re.findall(r"```sh\n(.*?)```", text, re.DOTALL)
    commands = "".join(blocks).replace("\\\n", " ").splitlines()
    outputs = []
    for command in commands:
        program, *arguments = shlex.split(command)
        assert program == "noisescale" and main(arguments) == 0
        outputs.append(capsys.readouterr().out)
    assert len(outputs) == 4
    assert "baseline (6) and scaled (6): different" in outputs[0]
    assert (at_the_documents_place / "difference.png").stat().st_size > 10_000
    assert json.loads(outputs[2])["pairs"][0]["verdict"] == "same"
    assert "a (6) and b (6): same" in outputs[3]


def test_the_code_of_the_document_runs(root, at_the_documents_place, capsys):
    text = (root / "docs" / "compare.md").read_text("utf-8")
    (block,) = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    exec(block, {})
    assert capsys.readouterr().out.startswith("same within the margin at all 8 points")


def test_every_switch_is_documented(root, capsys):
    text = (root / "docs" / "compare.md").read_text("utf-8")
    with pytest.raises(SystemExit):
        main(["compare", "--help"])
    switches = set(re.findall(r"(--[a-z-]+)", capsys.readouterr().out)) - {"--help"}
    assert switches == set(re.findall(r"--[a-z][a-z-]*", text))


def test_long_reading_shows_a_bar(tables, monkeypatch, capsys):
    from noisescale.cli import reading
    from noisescale.formats import measured_lines

    monkeypatch.setattr(reading, "PATIENCE", 0.0)
    monkeypatch.setattr(measured_lines, "_REPORTED", 100)
    both = [*group("a", tables / "a.csv"), *group("b", tables / "same.csv"), *STEPS]
    assert main(["compare", *both, "--margin", "0.05", "--json"]) == 0
    captured = capsys.readouterr()
    json.loads(captured.out)
    assert "reading" in captured.err
