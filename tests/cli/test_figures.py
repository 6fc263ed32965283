"""noisescale figures: on a toy checkout, and on this one with all that is committed."""

import io
import json
import shutil
import sys
from contextlib import redirect_stdout

import pytest

from noisescale import InputError
from noisescale.cli import main
from noisescale.experiment.figures import checkout, committed_pictures, filled
from tests.cli.test_equivalent import fails
from tests.conftest import ROOT

TABLES = """
import json
from pathlib import Path

import helper

from noisescale.experiment.figures import filled

HERE = Path(__file__).resolve().parent


def readmes():
    number = json.loads((HERE / "results" / "r.json").read_text())["number"]
    return filled([HERE / "README.md"], {"number": helper.text(number)})
"""
DRAW = """
from pathlib import Path


def main(out):
    (out / "toy.png").write_bytes(b"new")
    return [out / "toy.png"]
"""
README = "Toy.\n\n<!-- generated: number -->\n{}\n<!-- end -->\nEnd.\n"


@pytest.fixture
def toy(tmp_path, monkeypatch):
    """A checkout of one study, whose tables import a module beside them."""
    root = tmp_path / "checkout"
    study = root / "experiments" / "toy_study"
    (study / "results").mkdir(parents=True)
    (root / "paper_figs").mkdir()
    (study / "tables.py").write_text("import sys\nsys.path.insert(0, " + repr(str(study)) + ")\n")
    with open(study / "tables.py", "a") as file:
        file.write(TABLES)
    (study / "helper.py").write_text("def text(number):\n    return f'it is {number}'\n")
    (study / "results" / "r.json").write_text('{"number": 7}')
    (study / "results" / "toy_study.png").write_bytes(b"old")
    (study / "README.md").write_text(README.format("it is 6"))
    (root / "paper_figs" / "toy_study.py").write_text(DRAW.replace("toy.png", "toy_study.png"))
    monkeypatch.chdir(study)
    return root


def test_writes_tables_and_pictures(toy, capsys):
    study = toy / "experiments" / "toy_study"
    assert main(["figures"]) == 0
    drawn = toy / "paper_figs" / "out" / "toy_study.png"
    assert capsys.readouterr().out == f"{drawn}\n{study / 'README.md'}\n"
    assert (study / "README.md").read_text() == README.format("it is 7")
    assert drawn.read_bytes() == b"new"
    assert (study / "results" / "toy_study.png").read_bytes() == b"old"
    assert "helper" not in sys.modules and str(study) not in sys.path
    assert not list(toy.rglob("__pycache__"))
    # The README is as it should be: only the picture is drawn again.
    assert main(["figures", "toy-study", "--committed", "--json"]) == 0
    captured = capsys.readouterr()
    document = json.loads(captured.out)
    assert document["schema"] == "noisescale.figures/1"
    (entry,) = document["sources"]
    assert entry == {
        "name": "toy_study",
        "drawn": [str(drawn)],
        "committed": [str(study / "results" / "toy_study.png")],
        "readmes": [str(study / "README.md")],
        "readmes_out_of_date": [],
    }
    assert (study / "results" / "toy_study.png").read_bytes() == b"new"
    assert str(drawn) in captured.err


def test_check_writes_nothing(toy, capsys):
    before = {p: p.read_bytes() for p in toy.rglob("*") if p.is_file()}
    assert main(["figures", "--check"]) == 1
    assert "out of date: experiments/toy_study/README.md" in capsys.readouterr().err
    assert {p: p.read_bytes() for p in toy.rglob("*") if p.is_file()} == before
    (toy / "experiments" / "toy_study" / "README.md").write_text(README.format("it is 7"))
    assert main(["figures", "--check"]) == 0
    assert capsys.readouterr().err == ""


def test_bad_input(toy, capsys, monkeypatch, tmp_path):
    fails(capsys, ["figures", "toy_studi"], "did you mean 'toy_study'")
    fails(capsys, ["figures", "--check", "--out", "x"], "leave out --out")
    (tmp_path / "file").write_text("")
    fails(capsys, ["figures", "--out", str(tmp_path / "file")], "is a file")
    monkeypatch.chdir(tmp_path)
    fails(capsys, ["figures"], "no checkout of noisescale")
    fails(capsys, ["figures", "--root", str(tmp_path)], "--root")
    assert main(["figures", "--root", str(toy), "--out", str(tmp_path / "out")]) == 0
    capsys.readouterr()


def test_a_missing_package_is_named(toy, capsys):
    (toy / "paper_figs" / "toy_study.py").write_text("import no_such_package\n")
    fails(capsys, ["figures"], r"toy_study needs no_such_package", code=1)


def test_blocks_and_places_must_agree(tmp_path):
    path = tmp_path / "README.md"
    path.write_text(README.format("x"))
    with pytest.raises(InputError, match="unknown generated block 'number'"):
        filled([path], {"other": ""})
    with pytest.raises(InputError, match="no README has a place for the generated block 'other'"):
        filled([path], {"number": "", "other": ""})


@pytest.fixture(scope="module")
def everything(tmp_path_factory):
    """All of this checkout drawn once; READMEs are looked at in a copy, so none is written."""
    copy = tmp_path_factory.mktemp("checkout")
    kept = shutil.ignore_patterns("__pycache__", "out", "*.pdf")
    for name in ("paper_figs", "experiments"):
        shutil.copytree(ROOT / name, copy / name, ignore=kept)
    shutil.copy(ROOT / "README.md", copy)
    out = copy / "drawn"
    with redirect_stdout(io.StringIO()) as said:
        code = main(["figures", "--root", str(copy), "--out", str(out), "--json"])
    assert code == 0
    return copy, out, json.loads(said.getvalue())


def test_every_figure_is_drawn(everything, root):
    copy, out, document = everything
    entries = {entry["name"]: entry for entry in document["sources"]}
    assert set(entries) >= {path.stem for path in (root / "paper_figs").glob("*.py")}
    assert set(entries) >= {path.parent.name for path in root.glob("experiments/*/tables.py")}
    for path in (root / "paper_figs").glob("*.py"):
        assert entries[path.stem]["drawn"], path
    drawn = {path.name for path in out.iterdir()}
    assert all((out / name).stat().st_size > 5000 for name in drawn)
    listed = [name for entry in entries.values() for name in entry["drawn"]]
    assert sorted(str(out / name) for name in drawn) == sorted(listed)
    # Three figures of every recorded experiment, and one over base rates; PNG and PDF.
    recorded = len(list(root.glob("experiments/increase_batch_size/results/*/results.json")))
    assert len(entries["increase_batch_size"]["drawn"]) == (recorded * 3 + 1) * 2
    # Every committed picture can be drawn again.
    assert set(committed_pictures(copy)) <= drawn
    assert checkout(root) == root


def test_every_table_says_what_the_results_say(everything):
    copy, _, document = everything
    read = [path for entry in document["sources"] for path in entry["readmes"]]
    studies = [p.parent for p in (copy / "experiments").glob("*/tables.py")]
    assert {str(study / "README.md") for study in studies} <= set(read)
    assert [e["readmes_out_of_date"] for e in document["sources"]] == [
        [] for _ in document["sources"]
    ]


def test_damaged_results_are_told_in_one_line_and_the_others_are_drawn(toy, capsys):
    study = toy / "experiments" / "toy_study"
    other = toy / "experiments" / "another"
    shutil.copytree(study, other)
    text = (other / "tables.py").read_text().replace(str(study), str(other))
    (other / "tables.py").write_text(text)
    (study / "results" / "r.json").write_text("{")
    assert main(["figures", "--json"]) == 1
    captured = capsys.readouterr()
    assert "noisescale: toy_study: its results are damaged" in captured.err
    assert "Traceback" not in captured.err
    assert [s["name"] for s in json.loads(captured.out)["sources"]] == ["another"]
    assert (other / "README.md").read_text() == README.format("it is 7")
    (study / "results" / "r.json").write_text("{}")
    assert main(["figures", "toy-study"]) == 1
    assert "no entry 'number'" in capsys.readouterr().err
    (study / "results" / "r.json").unlink()
    assert main(["figures", "toy-study", "--check"]) == 1
    assert "cannot read r.json" in capsys.readouterr().err
