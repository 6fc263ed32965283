"""docs/simulation.md names what there is, and its code runs."""

import re

import pytest

import noisescale.simulation as simulation
from noisescale.simulation.rates import RATES
from noisescale.simulation.specification import METHODS, POTENTIALS


@pytest.fixture
def text(root):
    return (root / "docs" / "simulation.md").read_text("utf-8")


def first_column(text, head):
    """Names in code of the first column of the table with that head."""
    table = text[text.index(head) :].split("\n\n")[0]
    return [re.findall(r"`([^`]+)`", line.split("|")[1]) for line in table.splitlines()[2:]]


def test_potentials_rates_and_methods(text):
    assert {row[0] for row in first_column(text, "| `--potential`")} == set(POTENTIALS)
    assert [row[0] for row in first_column(text, "| `--rates`")] == list(RATES)
    assert [row[0] for row in first_column(text, "| `--method`")] == list(METHODS)


def test_every_name_is_there_and_every_function_is_named(text):
    named = {name for row in first_column(text, "| name | what") for name in row}
    whole = {f"kesten_golosov{n}" if n.startswith("_") else n for n in named}
    for name in whole:
        assert hasattr(simulation, name)
    classes = {n for n in simulation.__all__ if n[0].isupper()} - {"RandomFourierPotential"}
    others = {"ray_loss_std", "ramp_msd_exponential_clock"}
    assert set(simulation.__all__) - classes - others == whole


def test_the_code_runs(text, capsys):
    space: dict = {}
    for block in re.findall(r"```python\n(.*?)```", text, re.DOTALL):
        exec(block, space)
    assert space["found"].verdict == "self-affine" and abs(space["law"].sum() - 1) < 1e-9
    capsys.readouterr()
