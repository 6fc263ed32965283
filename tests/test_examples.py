"""The example notebooks of docs/ run and find what is true."""

import ast
import re
import runpy

import numpy as np
import pytest
from matplotlib.figure import Figure

SCRIPTS = ("cosine_equivalents", "distance_laws", "sinai_walk")


def cells(text):
    """(kind, lines) of every cell of a script in percent format."""
    parts = re.split(r"^# %%(.*)\n", text, flags=re.MULTILINE)
    assert parts[0] == ""  # it opens with a cell
    pairs = zip(parts[1::2], parts[2::2], strict=True)
    return [(kind.strip() or "code", body.splitlines()) for kind, body in pairs]


@pytest.fixture
def run(root, tmp_path, monkeypatch):
    def executed(name):
        monkeypatch.chdir(tmp_path)
        before = set(tmp_path.iterdir())
        space = runpy.run_path(str(root / "docs" / f"{name}.py"))
        assert set(tmp_path.iterdir()) == before  # nothing is left where it is run
        assert isinstance(space["figure"], Figure)
        space["figure"].draw_without_rendering()
        return space

    return executed


@pytest.mark.parametrize("name", SCRIPTS)
def test_scripts_open_as_notebooks(root, name):
    text = (root / "docs" / f"{name}.py").read_text("utf-8")
    assert len(text.splitlines()) < 80 and "pyplot" not in text
    found = cells(text)
    assert {kind for kind, _ in found} == {"code", "[markdown]"}
    assert found[0][0] == "[markdown]" and found[-1][0] == "code"
    for kind, lines in found:
        if kind == "code":
            assert ast.parse("\n".join(lines)).body
        else:
            assert all(line.startswith("# ") for line in lines if line)
    title, *question = [line[2:] for line in found[0][1] if line]
    assert title.startswith("# ") and " ".join(question).count("?") == 1
    last = ast.parse("\n".join(found[-1][1]))
    assert any(isinstance(node, ast.Assert) for node in last.body)
    assert {p.stem for p in (root / "docs").glob("*.py")} == set(SCRIPTS)


def test_the_cosine_schedule_at_eight_times_the_batch(run):
    space = run("cosine_equivalents")
    routes, plan = space["routes"], space["original"]
    # 90 epochs of 50,000 examples in batches of 256 and 2048, to the nearest update.
    assert plan.updates == round(90 * 50_000 / 256) == 17578
    assert routes["learning-rate"].updates == routes["sqrt"].updates == round(90 * 50_000 / 2048)
    assert routes["regime-adaptation"].updates == plan.updates
    # Half-way from the end of the warm-up the rate would be 1/2, so the batch has doubled.
    grown = routes["grow-batch"].plan
    assert grown.batch_sizes()[grown.update_at(47.5)] == pytest.approx(512, rel=0.01)
    momentum = routes["momentum"].schedule.phases[0]
    assert momentum.momentum == pytest.approx(1 - 0.1 / 8) and momentum.batch_size == 2048
    # g = ε N/(B (1 − m)) at the top of the cosine.
    row = routes["learning-rate"].plan.rows[0]
    assert row.peak == pytest.approx(0.8)
    assert row.peak * 50_000 / (2048 * 0.1) == pytest.approx(0.1 * 50_000 / (256 * 0.1))
    assert len(space["figure"].axes[0].lines) == 5


def test_sinai_s_law(run):
    space = run("sinai_walk")
    found, logs, distance = space["roughness"], space["log_t"], space["distance"]
    assert found.verdict == "log-power" and found.n == 24 and logs[-1] == pytest.approx(300)
    # α = 1, so the exponent of ln t is 2: three standard errors.
    assert abs(found.alpha - 1) < 3 * found.stderr < 0.15
    # E|x| = (5/6)(T ln t − δ)²/σ² (Kesten 1986; Golosov 1984): its root has slope T = 1 in ln t.
    roots = space["sigma"] * np.sqrt(1.2 * distance)
    weights = np.sqrt(len(distance)) * 2 * roots.mean(axis=0) / roots.std(axis=0, ddof=1)
    without = [np.delete(distance, k, axis=0).mean(axis=0) for k in range(len(distance))]

    def slope(mean):
        return np.polyfit(logs, space["sigma"] * np.sqrt(1.2 * mean), 1, w=weights)[0]

    slopes = np.array([slope(mean) for mean in without])
    stderr = np.sqrt((len(slopes) - 1) * slopes.var())
    assert abs(slope(distance.mean(axis=0)) - 1) < 3 * stderr < 0.2
    # Boxes hold a few dozen valleys at the last time: a distribution function known to 0.05 or so.
    assert space["gap"] < 0.1


def test_the_law_of_made_distances(run, capsys):
    space = run("distance_laws")
    fit = space["found"].fits["log-power"]
    assert space["found"].verdict == "log-power" and fit.seeds == 5 and fit.n == 48
    # D = 0.2 (ln x + 3)²: three standard errors.
    for name, truth in (("amplitude", 0.2), ("log_tau0", -3.0), ("exponent", 2.0)):
        assert abs(fit.parameters[name] - truth) < 3 * fit.stderr[name]
    early = space["early"]
    assert early.verdict == "undecided" and "updates the predictions" in early.reason
    # What would decide did: more updates than one seed's first 500.
    assert early.window[1] < early.decides_at < fit.window[1]
    assert "log-power: exponent" in capsys.readouterr().out
