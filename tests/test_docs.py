"""docs/recipes.md names everything that the program knows by a name, and nothing else."""

import ast
import re

import pytest

from noisescale import Phase, Schedule, equivalents
from noisescale.analysis.cautions import RISKS
from noisescale.analysis.plan import PARTIAL_BATCH_POLICIES
from noisescale.analysis.routes import ROUTES
from noisescale.analysis.shapes import DECAY_FORMS, SHAPES
from noisescale.formats import FORMATS


@pytest.fixture
def sections(root):
    text = (root / "docs" / "recipes.md").read_text("utf-8")
    parts = re.split(r"^#{2,3} ", text, flags=re.MULTILINE)
    return {part.split("\n")[0]: part for part in parts}


def first_column(section):
    """The names in code of the first column of a section's table."""
    rows = [line for line in section.splitlines() if line.startswith("|")][2:]
    return {name for row in rows for name in re.findall(r"`([^`]+)`", row.split("|")[1])}


def codes(root):
    """Every code that a RuleWarning is made with."""
    found = set()
    for path in (root / "noisescale").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "RuleWarning":
                assert isinstance(node.args[0], ast.Constant), path
                found.add(node.args[0].value)
    return found


def test_every_warning_is_documented(root, sections):
    assert first_column(sections["Warnings"]) == codes(root)


def test_every_quantity_is_documented(sections):
    schedule = Schedule(
        [Phase(epochs=5, learning_rate=0.1, batch_size=10, momentum=0.9, weight_decay=0.1)],
        ema_decay=0.9,
        batch_norm_decay=0.9,
    )
    (found,) = equivalents(schedule, 1000, routes=["sqrt"], target_batch_size=20, sharpness=1.0)
    named = first_column(sections["What is reported"])
    whole = {f"weight_decay_per_epoch{n}" if n.startswith("_") else n for n in named}
    assert {i.name for i in found.invariants} == whole - {"weight_decay_per_epoch_if_coupled"}


def test_every_route_shape_and_format_is_documented(sections):
    assert first_column(sections["Routes"]) == set(ROUTES) - {"regime-adaptation-ceil"}
    assert "`-ceil`" in sections["Routes"]
    assert first_column(sections["Shapes in time"]) == {*SHAPES, "wsd"}
    assert ", ".join(DECAY_FORMS) in sections["Shapes in time"]
    assert first_column(sections["Files for your trainer"]) == set(FORMATS)
    assert ", ".join(PARTIAL_BATCH_POLICIES) in sections["A recipe"]
    assert "|".join(RISKS) in sections["Costs"]


def test_the_recipe_of_the_documents_is_one(root, sections):
    from noisescale.recipe import parse_toml, schedule_from

    for text in (sections["A recipe"], (root / "README.md").read_text("utf-8")):
        block = text.split("```toml\n", 1)[1].split("```", 1)[0]
        schedule, size, _ = schedule_from(parse_toml(block, "doc"))
        assert schedule.plan(size).updates > 0


def test_the_python_of_the_documents_runs(root, tmp_path, monkeypatch):
    for name in ("docs/recipes.md", "README.md"):
        text = (root / name).read_text("utf-8")
        for block in text.split("```python\n")[1:]:
            exec(compile(block.split("```", 1)[0], name, "exec"), {})
