"""The study of estimators says what its results say, and its toy is the one described."""

import json
import runpy

import numpy as np
import pytest

STUDY = "experiments/gradient_noise_estimators"


@pytest.fixture(scope="module")
def script(request):
    return runpy.run_path(str(request.config.rootpath / STUDY / "run.py"))


def load(root, name):
    return json.loads((root / STUDY / "results" / f"{name}.json").read_text("utf-8"))


def test_the_claims_of_the_text(root):
    document = load(root, "estimators")
    truth, long_run, short_run = document["truth"], document["long_run"], document["short_run"]
    assert document["measured_truth"] == pytest.approx(truth, rel=0.01)
    assert 0.4 < document["negative_steps"] < 0.55
    ours = long_run["ratio of means"]
    assert ours["median"] == pytest.approx(truth, rel=0.05)
    assert 0.9 < ours["coverage"] <= 1 and ours["undecided"] == 0
    # Beyond ±10 % by more than 5 standard errors, or with no usable mean at all.
    for name in ("clipped before averaging", "consecutive steps"):
        found = long_run[name]
        assert abs(found["mean"] - truth) > 0.1 * truth + 5 * found["standard_error"]
    assert long_run["clipped before averaging"]["gain"] < 0.6 * document["true_gain"]
    assert long_run["consecutive steps"]["negative"] > 0.99
    assert document["weights_held"]["consecutive steps"]["median"] == pytest.approx(truth, rel=0.05)
    assert abs(long_run["mean of ratios"]["median"]) < 0.2 * truth
    assert long_run["last part alone"]["spread"] > 1.3 * ours["spread"]
    # tr Σ/ε: hidden in the long run, absurd in the short one, where ours is undecided.
    hidden = "largest of |G|² and ε"
    assert long_run[hidden] | ours == ours
    assert short_run[hidden]["high"] > 1000 * truth and short_run[hidden]["negative"] == 0
    assert short_run["ratio of means"]["undecided"] > 0.8
    assert 0.88 < short_run["ratio of means"]["coverage"]


def test_coverage_is_within_bounds_but_where_the_text_says_so(root):
    regimes = load(root, "coverage")["regimes"]
    short = "|G| wanders (memory 0.8), n = 60"
    for name, found in regimes.items():
        assert (0.85 <= found["coverage"] <= 0.95) == (name != short), name
    assert regimes[short]["coverage"] > 0.7
    well_measured = [f for f in regimes.values() if f["undecided"] < 0.01]
    assert len(well_measured) >= 5
    for found in well_measured:
        assert found["median"] == pytest.approx(found["truth"], rel=0.05)


def test_the_toys_truth_is_that_of_the_run(script):
    """E|Hw|² in closed form, over 40 runs; mean |G|² from norms agrees step by step."""
    norms = script["simulate"](40, 600, seed=3)
    rates = script["RATES"]
    expected = np.sum(rates / (2 - rates)) / script["BATCH"]
    by_run = norms["true"].mean(axis=0)
    assert abs(by_run.mean() - expected) < 4 * by_run.std(ddof=1) / 40**0.5 < expected
    assert script["true_noise_scale"]() == pytest.approx(len(rates) / expected)
    # Norms of parts and batch: |G|² + P/b and |G|² + P/B.
    for name, size in (("parts", script["PART_BATCH"]), ("batch", script["BATCH"])):
        noise = (norms[name] - norms["true"]).mean(axis=0) - len(rates) / size
        assert abs(noise.mean()) < 4 * noise.std(ddof=1) / 40**0.5


def test_a_small_study_runs_and_draws(script, root):
    norms = script["simulate"](6, 60, seed=4)
    found = {
        name: script["summary"](values, 1e4)
        for name, values in script["estimates"](norms, 60).items()
    }
    sizes = {"truth": 1e4, "runs": 6, "steps": 60, "short": 60}
    document = {"long_run": found, "short_run": found, **sizes}
    regime = {"coverage": 0.9, "standard_error": 0.01}
    covered = {"level": 0.9, "replications": 5, "regimes": {"a": regime, "b": regime}}
    drawing = runpy.run_path(str(root / "paper_figs" / "gradient_noise_estimators.py"))
    figure = drawing["figure"](document, covered)
    figure.draw_without_rendering()
    assert [label.get_text() for label in figure.axes[0].get_yticklabels()] == list(found)
    draw, truth = script["REGIMES"]["48 of 64 examples, n = 40"]()
    estimate = draw(np.random.default_rng(0), 0.9)
    assert estimate.value == pytest.approx(truth, rel=0.3)
