"""What is committed follows from what is committed: verdicts from curves."""

import json
import runpy
import shutil
import sys

import pytest

from noisescale.experiment import find_experiment, read_experiment
from noisescale.experiment.report import markdown_report
from noisescale.experiment.verify import conclusions_of, json_text
from tests.conftest import ROOT

FOLDER = "experiments/increase_batch_size"


def load(root, dataset):
    folder = root / FOLDER / "results" / dataset
    return folder, json.loads((folder / "results.json").read_text("utf-8"))


@pytest.mark.parametrize("dataset", ["digits", "mnist", "cifar10"])
def test_verdicts_follow_from_the_curves(root, dataset):
    folder, results = load(root, dataset)
    experiment = read_experiment(folder / "experiment.toml")
    again = conclusions_of(experiment, results)
    for key in ("predictions", "gate", "controls", "informative"):
        assert again[key] == results[key]
    # Three seeds of the small CIFAR-10 task leave the A/A control undecided, and say so.
    assert results["informative"] == (dataset != "cifar10")
    assert experiment.sha256 == find_experiment("increase-batch-size", dataset).sha256


@pytest.mark.parametrize("dataset", ["digits", "mnist"])
def test_a_swapped_arm_changes_the_verdict(root, dataset):
    """The recomputation reads the curves: with a control's curves, 'same' falls."""
    folder, results = load(root, dataset)
    arms = {arm["name"]: arm for arm in results["arms"]}
    arms["increase-batch-size"]["seeds"] = arms["not-decayed"]["seeds"]
    again = conclusions_of(read_experiment(folder / "experiment.toml"), results)
    verdicts = {p["name"]: p["verdict"] for p in again["predictions"]}
    assert verdicts["grow-batch-same-loss"] == "contradicted"


@pytest.mark.parametrize(
    ("dataset", "seeds", "size"), [("digits", 5, 1437), ("mnist", 3, 60000), ("cifar10", 3, 8000)]
)
def test_the_size_of_the_evidence(root, dataset, seeds, size):
    _, results = load(root, dataset)
    assert results["data"]["train_size"] == size
    assert all(len(arm["seeds"]) >= seeds for arm in results["arms"])
    assert [arm["role"] for arm in results["arms"]].count("arm") == 4


def test_readme_counts_are_those_of_the_command(root, capsys):
    from noisescale.cli import main

    text = (root / "README.md").read_text("utf-8")
    command = text.split("noisescale equivalent ", 1)[1].split("```")[0].replace("\\", " ")
    assert main(["equivalent", *command.split(), "--json"]) == 0
    result = json.loads(capsys.readouterr().out)
    for entry in (result["original"], *result["equivalents"]):
        assert f"| {entry['name']} | {entry['updates']:,} |" in text


def test_readme_python_runs(root, capsys):
    text = (root / "README.md").read_text("utf-8")
    code = text.split("```python", 1)[1].split("```")[0]
    exec(compile(code, "README.md", "exec"), {})
    assert "grow-batch" in capsys.readouterr().out


def test_ci_calls_the_readme(root):
    text = (root / "README.md").read_text("utf-8")
    assert text.count("\npython3 -m venv .venv && ") == 2
    assert 'grep -m1 "^python3 -m venv .venv && .*pytest .*$" README.md' in (
        root / ".ci" / "run"
    ).read_text("utf-8")


def test_results_of_another_file_are_refused(root, tmp_path):
    from noisescale import InputError

    folder, results = load(root, "digits")
    shutil.copy(folder / "experiment.toml", tmp_path / "e.toml")
    path = tmp_path / "e.toml"
    path.write_text(path.read_text().replace("margin = 0.2", "margin = 0.9"))
    with pytest.raises(InputError, match="another version"):
        conclusions_of(read_experiment(path), results)


STUDY = "experiments/ultra_slow_diffusion"


def test_the_study_of_ultra_slow_diffusion_says_what_its_results_say(root):
    """The claims of the text recomputed."""
    laws = {
        path.stem: json.loads(path.read_text("utf-8"))["law"]
        for path in (root / STUDY / "results").glob("*.json")
    }
    for alpha in (1.0, 1.5, 1.75, 1.9):
        law = laws[f"alpha-{alpha:g}"]
        low, high = law["alpha_interval"]
        assert law["verdict"] == "log-power" and low < alpha < high
    assert {laws[name]["verdict"] for name in ("ramp", "smooth", "flat")} == {"power"}
    assert {laws[name]["verdict"] for name in ("alpha-0.5", "alpha-1.95")} == {"undecided"}


def test_the_cases_of_the_study_are_those_that_were_run(root):
    cases = runpy.run_path(str(root / STUDY / "run.py"))["CASES"]
    results = root / STUDY / "results"
    assert set(cases) == {path.stem for path in results.glob("*.json")}
    for name, simulation in cases.items():
        recorded = json.loads((results / f"{name}.json").read_text("utf-8"))
        assert recorded["simulation"] == simulation.as_dict()


WALKS = "experiments/is_it_a_walk"


def test_the_walk_study_follows_from_its_curves(root, monkeypatch):
    """Verdicts recomputed from the committed distances, sketches, moments and losses."""
    monkeypatch.syspath_prepend(str(root / WALKS))
    tables = runpy.run_path(str(root / WALKS / "tables.py"))
    study = sys.modules["study"]
    for task in tables["tasks"]():
        assert study.verdicts(task) == study.document(task)["verdicts"]
    assert study.document("digits")["verdicts"]["walk"]["verdict"] == "drift"
    del sys.modules["study"]


def test_the_walk_study_was_run_as_its_script_says(root, monkeypatch):
    monkeypatch.syspath_prepend(str(root / WALKS))
    script = runpy.run_path(str(root / WALKS / "run.py"))
    for task, plan in script["TASKS"].items():
        runs = json.loads((root / WALKS / "results" / f"{task}.json").read_text("utf-8"))["runs"]
        found = {(run["batch_size"], run["replica"], run["seed"]) for run in runs}
        assert found == {
            (*arm, seed) for arm in script["arms"](task) for seed in range(plan["seeds"])
        }
        assert {run["learning_rate"] for run in runs} == {plan["learning_rate"]}
    sys.modules.pop("study", None)


RESULTS = sorted(ROOT.glob("experiments/*/results/*/results.json"))


@pytest.mark.parametrize("path", RESULTS, ids=lambda p: f"{p.parts[-4]}/{p.parent.name}")
def test_every_report_follows_from_its_curves(path):
    """Verdicts recomputed; the file is the built-in one; report and JSON as they are written."""
    results = json.loads(path.read_text("utf-8"))
    experiment = read_experiment(path.parent / "experiment.toml")
    again = conclusions_of(experiment, results)
    for key in ("predictions", "gate", "controls", "informative"):
        assert again[key] == results[key]
    paper = path.parent.name.endswith("-paper")
    chosen = {"preset": "paper"} if paper else {"dataset": results["data"]["name"]}
    assert experiment.sha256 == find_experiment(experiment.name, **chosen).sha256
    assert (path.parent / "report.md").read_text("utf-8") == markdown_report(results)
    assert path.read_text("utf-8") == json_text(results)
