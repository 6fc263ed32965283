"""Recipes in and out of `noisescale equivalent`: names, files, formats, comparison, costs."""

import json
import tomllib
from itertools import pairwise

import pytest

from noisescale.cli import main
from noisescale.formats import FORMATS
from noisescale.recipe import named_document, parse_toml, schedule_from
from tests.cli.test_equivalent import document, fails

COSINE = """
train_size = 50000
[[phase]]
epochs = 100
batch_size = 128
learning_rate = {shape = "cosine", start = 0.1, end = 0.0, warmup = {epochs = 5}}
momentum = 0.9
[optimizer]
weight_decay = 5e-4
"""


@pytest.fixture
def cosine(tmp_path):
    path = tmp_path / "cosine.toml"
    path.write_text(COSINE)
    return str(path)


def printed(capsys, *arguments):
    assert main(["equivalent", *arguments]) == 0
    captured = capsys.readouterr()
    assert captured.err == ""
    return captured.out


def test_a_named_recipe(capsys):
    named = ["equivalent", "--recipe", "smith2018-cifar10", "--max-batch-size", "5120"]
    result = document(capsys, *named)
    assert "5.2" in result["sources"]["phase.batch_size"]
    updates = {e["name"]: e["updates"] for e in result["equivalents"]}
    assert result["original"]["updates"] == 78125
    assert (updates["grow-batch"], updates["hybrid"]) == (29141, 34375)


def test_a_smooth_decay_in_json(capsys, cosine):
    result = document(
        capsys, "equivalent", cosine, "--max-batch-size", "4096", "--granularity", "64"
    )
    (whole,) = result["original"]["phases"]
    assert (whole["learning_rate"], whole["learning_rate_end"]) == (0.0, 0.0)
    by_name = {e["name"]: e for e in result["equivalents"]}
    ramp = by_name["grow-batch"]["phases"]
    assert len(ramp) > 30
    assert {p["batch_size"] % 64 for p in ramp} == {0}
    assert ramp[-1]["batch_size"] == 4096
    for before, after in pairwise(ramp):
        assert after["noise_scale"] == pytest.approx(before["noise_scale_end"], rel=1e-9)
    rows = {i["name"]: i for i in by_name["grow-batch"]["invariants"]}
    assert rows["noise_scale"]["max_relative_deviation"] < 1e-9
    reasons = {left["name"]: left["reason"] for left in result["left_out"]}
    assert "for a smooth decay use grow-batch" in reasons["hybrid"]
    assert "give target_batch_size" in reasons["learning-rate"]


@pytest.mark.parametrize("form", FORMATS)
def test_every_format_is_printed_alone(capsys, cosine, form):
    text = printed(capsys, cosine, "--routes", "learning-rate", "--to-batch", "512", "--to", form)
    if form == "toml":
        schedule, size, partial = schedule_from(tomllib.loads(text))
        assert (size, partial, schedule.phases[0].batch_size) == (50000, "carry", 512)
        assert schedule.phases[0].learning_rate.start == 0.4
    elif form == "json":
        assert json.loads(text)["schema"] == "noisescale.recipe/1"
    elif form == "csv":
        assert len(text.splitlines()) == 1 + 9766
    elif form == "markdown":
        assert "9,766 updates" in text
    else:
        compile(text, form, "exec")
        assert "UPDATES = 9766" in text


def test_out_and_back_is_the_same_run(capsys, cosine, tmp_path):
    for form in ("toml", "json"):
        path = tmp_path / f"out.{form}"
        path.write_text(printed(capsys, cosine, "--routes", "original", "--to", form))
        read = document(capsys, "equivalent", str(path))
        assert read.pop("title").startswith("original of")
        assert read == {
            k: v for k, v in document(capsys, "equivalent", cosine).items() if k != "title"
        }
        route = ["--routes", "learning-rate", "--to-batch", "512", "--to", form]
        path.write_text(printed(capsys, cosine, *route))
        told = document(capsys, "equivalent", cosine, "--diff", str(path))
        assert told["same"] is True
        assert told["schema"] == "noisescale.diff/1"
    text = printed(capsys, cosine, "--diff", str(path))
    assert text.startswith("the same run")


def test_what_differs_and_from_when(capsys, cosine, tmp_path):
    path = tmp_path / "other.toml"
    path.write_text(COSINE.replace("epochs = 5}", "epochs = 10}"))
    told = document(capsys, "equivalent", cosine, "--diff", str(path))
    assert told["same"] is False
    rows = {r["name"]: r for r in told["invariants"]}
    assert rows["noise_scale"]["differs_from"] == pytest.approx(0, abs=0.01)
    assert "noise scale differs" in told["reason"]
    named = document(
        capsys, "equivalent", "--recipe", "smith2018-cifar10", "--diff", "smith2018-cifar10"
    )
    assert named["same"] is True and "identical" not in named["reason"]


def test_the_rest_of_a_run(capsys, cosine):
    # Half the devices are lost after 40 epochs: 2,000,000 examples.
    result = document(capsys, "equivalent", cosine, "--at-examples", "2000000", "--to-batch", "64")
    assert result["original"]["updates"] == 23438
    assert result["original"]["phases"][0]["epochs"] == 60
    codes = {w["code"] for w in result["original"]["warnings"]}
    assert codes == {"momentum-buffer", "adam-moments", "scheduler-step"}
    by_name = {e["name"]: e for e in result["equivalents"]}
    assert by_name["learning-rate"]["updates"] == 46875
    assert "stands at 15,625" in printed(
        capsys, cosine, "--at-examples", "2000000", "--to-batch", "64"
    ).replace("\n", " ")
    fails(capsys, ["equivalent", cosine, "--at-examples", "5000000"], "over after 5,000,000")


def test_costs(capsys, cosine):
    flags = ["--to-batch", "1024", "--throughput", "128:1000", "1024:4000"]
    flags += ["--critical-batch-size", "1000"]
    result = document(capsys, "equivalent", cosine, *flags)
    assert result["original"]["cost"]["seconds"] == pytest.approx(39063 * 128 / 1000)
    by_name = {e["name"]: e for e in result["equivalents"]}
    assert by_name["learning-rate"]["cost"]["seconds"] == pytest.approx(4883 * 1024 / 4000)
    assert by_name["learning-rate"]["cost"]["steps_ratio"] == pytest.approx(1 + 1000 / 1024)
    assert result["fastest"] in by_name
    calm = document(capsys, "equivalent", cosine, *flags, "--max-risk", "none")
    assert calm["fastest"] == "original"
    assert "fastest at risk" in printed(capsys, cosine, *flags)


def test_split_over_devices(capsys, cosine):
    result = document(capsys, "equivalent", cosine, "--micro-batch-size", "16", "--devices", "4")
    by_name = {e["name"]: e for e in result["equivalents"]}
    phase = by_name["accumulate"]["phases"][0]
    assert (phase["micro_batch_size"], phase["steps"], phase["devices"]) == (16, 2, 4)
    assert phase["batch_size"] == 128


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--to", "toml"], "--routes"),
        (["--to", "tolm", "--routes", "original"], "did you mean 'toml'"),
        (["--to", "toml", "--routes", "original", "--json"], "leave --json"),
        (["--to", "toml", "--routes", "sqrt", "momentum"], "--to writes one schedule"),
        (["--to", "toml", "--routes", "sqrt"], "give target_batch_size"),
        (["--recipe", "smith2018-cifar10"], "give one or the other"),
        (["--diff", "smith2018-cifar"], "did you mean 'smith2018-cifar10'"),
        (["--diff", "none.toml"], "no file 'none.toml'"),
        (["--diff", "smith2018-cifar10", "--to", "toml"], "leave --to out"),
        (["--diff", "hoffer2017-f1-mnist"], "--train-size"),
        (["--throughput", "128"], "as 128:2500"),
        (["--throughput", "128:-1"], "throughput at 128"),
        (["--max-risk", "some"], "give --throughput"),
        (["--max-risk", "low", "--throughput", "1:1"], "unknown risk"),
        (["--at-examples", "-1"], "--at-examples: examples=-1"),
        (["--at-epochs", "500"], "the run is over"),
        (["--to-batch", "-1"], "--to-batch: target_batch_size=-1"),
        (["--devices", "0"], "devices=0"),
        (["--micro-batch-size", "0"], "micro_batch_size=0"),
        (["--base-batch-size", "0"], "base_batch_size=0"),
        (["--sharpness", "-1"], "sharpness=-1"),
        (["--critical-batch-size", "nan"], "critical_batch_size=nan"),
    ],
)
def test_refuses(capsys, cosine, flags, message):
    fails(capsys, ["equivalent", cosine, *flags], message)


def test_an_unknown_recipe_lists_the_known(capsys):
    fails(capsys, ["equivalent", "--recipe", "smith"], "known are")
    assert schedule_from(named_document("smith2018-cifar10"))[1] == 50000


def test_sources_and_titles_are_text():
    for bad in ("title = 5", "sources = 5", "sources = {a = 5}"):
        with pytest.raises(ValueError, match=bad.split()[0]):
            schedule_from(parse_toml(bad + "\n" + COSINE, "x"))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[1]", "not a JSON object"),
        ("{", "not valid JSON"),
        ('{"schema": "other/1"}', "has schema 'other/1'"),
        ('{"phase": [{"epochs": NaN}]}', "not valid JSON"),
        ('{"train_size": 5, "train_size": 6}', "stands twice"),
        ('{"train_size": 5}', "no [[phase]] block"),
    ],
)
def test_bad_json_recipes(capsys, tmp_path, text, message):
    path = tmp_path / "recipe.json"
    path.write_text(text)
    fails(capsys, ["equivalent", str(path)], message)
