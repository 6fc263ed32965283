"""docs/training.md names every key, column, file and switch of training, and its examples run."""

import inspect
import re
from dataclasses import fields

import pytest

from noisescale.recipe import (
    DataConfig,
    ModelConfig,
    OptimizerConfig,
    ProbeConfig,
    RunConfig,
    bigbatch_compat,
    parse_toml,
    recipe_from,
)


@pytest.fixture
def text(root):
    return (root / "docs" / "training.md").read_text("utf-8")


@pytest.fixture
def sections(text):
    parts = re.split(r"^#{2,4} ", text, flags=re.MULTILINE)
    return {part.split("\n")[0]: part for part in parts}


def first_column(section):
    rows = [line for line in section.splitlines() if line.startswith("|")]
    cells = [row.split("|")[1] for row in rows if not row.startswith("|---")]
    return {name for cell in cells for name in re.findall(r"`([^`]+)`", cell)}


@pytest.mark.parametrize(
    ("section", "config", "more"),
    [
        ("`[optimizer]`", OptimizerConfig, {"momentum", "weight_decay", "decay"}),
        (
            "`[model]`",
            ModelConfig,
            {"sequential", "composite", "composite-printed", "divided"},
        ),
        ("`[data]`", DataConfig, set()),
        ("`[run]`", RunConfig, set()),
        ("`[probe]`", ProbeConfig, set()),
    ],
)
def test_every_key_is_documented(sections, section, config, more):
    assert first_column(sections[section]) == {f.name for f in fields(config)} | more


def test_every_switch_is_documented(sections):
    switches = set(inspect.signature(bigbatch_compat).parameters)
    assert first_column(sections["The released code of Hoffer et al."]) == switches - {
        "batch_size",
        "ghost_batch_size",
    }


def test_every_column_and_file_is_documented(sections, text, tmp_path):
    from noisescale.training.train import train

    document = parse_toml(text.split("```toml\n")[1].split("```")[0], "docs/training.md")
    recipe_from(document)
    document["phase"][0]["epochs"] = 1
    document["run"]["seeds"] = 1
    document["probe"] |= {"hessian_examples": 20, "rays": 1, "landscape_examples": 20}
    record = train(document, tmp_path)
    assert set(record.rows[0]) - {"seed"} == first_column(sections["What is measured"])
    files = {p.name for p in (tmp_path / "seed-0000").iterdir()}
    assert files | {"checkpoint.npz"} == first_column(sections["The files of a run"])


def test_the_sweep_of_the_document_is_one(text):
    from noisescale.experiment.parsing import parse_experiment

    block = next(b for b in text.split("```toml\n") if b.startswith("name = ")).split("```")[0]
    planned = parse_experiment(block, "docs/training.md").planned(320)
    arms = {arm.name: arm for arm in planned}
    assert len(arms) == 5 + 2 + 6
    assert [p.epochs for p in arms["longer"].recipe.schedule.phases] == [12, 3]
    linear = arms["linear_128"].plan.rows
    assert {row.batch_size for row in linear} == {128}
    assert [row.learning_rate for row in linear] == [0.4, 0.04]
