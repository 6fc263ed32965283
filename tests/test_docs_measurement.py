"""docs/measurement.md names what there is, and its code runs."""

import argparse
import re

import pytest

from noisescale.analysis.gradient_noise import GradientNoiseScale
from noisescale.analysis.laws import LAWS
from noisescale.analysis.laws.forms import law_of
from noisescale.cli import fit


@pytest.fixture
def text(root):
    return (root / "docs" / "measurement.md").read_text("utf-8")


def rows(text, head):
    table = text[text.index(head) :].split("\n\n")[0]
    return [re.findall(r"`([^`]+)`", line) for line in table.splitlines()[2:]]


def test_every_option_of_fit_is_named(text):
    parser = argparse.ArgumentParser()
    fit.add_arguments(parser)
    options = {o for action in parser._actions for o in action.option_strings}
    named = {names[0] for names in rows(text, "| option")} | {"--plot", "--json"}
    assert options - {"-h", "--help"} == named


def test_laws_and_their_parameters(text):
    found = {names[0]: tuple(names[1:]) for names in rows(text, "| `--law` | D")}
    assert set(found) == set(LAWS)
    for law, parameters in found.items():
        assert law_of(law, 0.0, 5.0, None).names == parameters


def test_the_code_runs_and_says_what_the_text_says(text):
    space: dict = {}
    verdicts = []
    for block in re.findall(r"```python\n(.*?)```", text, re.DOTALL):
        exec(block, space)
        verdicts.append(getattr(space.get("found"), "verdict", None))
    assert verdicts[0] == "log-power" and verdicts[-1] == "smooth"
    assert space["found"].centred.alpha == pytest.approx(2.0, abs=0.05)
    scale = space["scale"]
    assert isinstance(scale, GradientNoiseScale) and scale.interval[0] < 200 < scale.interval[1]
