import json
from collections import Counter

import numpy as np
import pytest
from matplotlib.figure import Figure
from scipy import stats

from noisescale.analysis.laws import LAWS, fit_distance
from noisescale.analysis.laws.checks import check
from noisescale.analysis.laws.solve import solve
from noisescale.plots.laws import draw_laws
from tests.reference import growth

X = np.geomspace(10, 20000, 60)
WORLDS = {
    "log": (1.3, 0.7),
    "power": (0.3, 0.37),
    "log-power": (0.2, 1.1, 2.0),
    "saturating": (5.0, 900.0, 0.7),
    "norm-growth": (3.0, 0.8),
}


def kink(x, fraction=0.1):
    """√x whose rate drops by a factor at x = 1000."""
    early = np.sqrt(np.minimum(x, 1000))
    return early + fraction * (np.sqrt(np.maximum(x, 1000)) - np.sqrt(1000))


TRAPS = {
    "gradient descent on e^(−w)": np.log1p,
    "gradient descent on e^(−w), late": lambda x: np.log1p(x / 30),
    "√x + c": lambda x: 2 + np.sqrt(x),
    "√x to x^0.8": lambda x: np.sqrt(x) * (1 + (x / 400) ** 0.7) ** (0.3 / 0.7),
    "log + √x": lambda x: 1 + np.log(x) + 0.03 * np.sqrt(x),
    "learning-rate drop": kink,
    "stalled after a drop": lambda x: kink(x, 0.0),
}


def noisy(curve, seeds, sigma, rng, x=X):
    return curve * np.exp(growth.noise(x, seeds, sigma, rng.uniform(0.3, 1.5), 0.2, rng))


@pytest.mark.parametrize("seeds", [1, 2, 5])
@pytest.mark.parametrize("law", WORLDS)
def test_exact_curves_are_named(law, seeds):
    curve = growth.distance(law, X, WORLDS[law])
    result = fit_distance(X, curve if seeds == 1 else np.tile(curve, (seeds, 1)))
    assert result.verdict == law, result.reason
    assert set(result.fits) == set(LAWS)
    assert list(result.fits[law].parameters.values()) == pytest.approx(WORLDS[law], rel=1e-6)


@pytest.mark.parametrize("law", WORLDS)
def test_the_law_is_named(law):
    rng = np.random.default_rng(1)
    found = [
        fit_distance(X, noisy(growth.distance(law, X, WORLDS[law]), seeds, sigma, rng)).verdict
        for seeds, sigma in [(1, 0.003), (3, 0.005), (5, 0.01)]
        for _ in range(2)
    ]
    assert Counter(found)[law] >= 5, found
    assert set(found) <= {law, "undecided"}


@pytest.mark.parametrize("trap", TRAPS)
@pytest.mark.parametrize(("seeds", "sigma"), [(1, 0.0), (1, 0.005), (5, 0.005)])
def test_other_curves_are_not_named(trap, seeds, sigma):
    rng = np.random.default_rng(2)
    for _ in range(2):
        result = fit_distance(X, noisy(TRAPS[trap](X), seeds, sigma, rng))
        # ln(1 + x) is the log law to 1 % from x = 30 on.
        allowed = {"undecided", "log"} if trap == "gradient descent on e^(−w)" else {"undecided"}
        assert result.verdict in allowed, result.reason
        assert result.reason


@pytest.mark.parametrize("law", WORLDS)
def test_short_windows_never_decide(law):
    x = np.geomspace(100, 100 * 10**1.4, 60)
    rng = np.random.default_rng(3)
    for seeds, sigma in ((1, 0.0), (5, 0.001), (5, 0.03)):
        result = fit_distance(x, noisy(growth.distance(law, x, WORLDS[law]), seeds, sigma, rng, x))
        assert result.verdict == "undecided"
        assert "1.40 decades" in result.reason and "1.5" in result.reason


def test_noise_makes_undecided():
    rng = np.random.default_rng(4)
    curves = noisy(growth.distance("norm-growth", X, WORLDS["norm-growth"]), 3, 0.05, rng)
    result = fit_distance(X, curves)
    assert result.verdict == "undecided"
    assert any(words in result.reason for words in ("about as well", "not excluded", "too near"))


def test_what_would_decide():
    """Where two laws part by three standard errors, if nothing but x grows."""
    rng = np.random.default_rng(5)
    curves = noisy(growth.distance("norm-growth", X, WORLDS["norm-growth"]), 3, 0.05, rng)
    result = fit_distance(X, curves)
    one, two = (result.fits[name] for name in result.best)
    at = result.decides_at
    assert at > X[-1]
    for x, apart in ((at, True), (at / 1.06, False)):
        gap = abs(np.log(one.predict(x) / two.predict(x)))
        error = np.sqrt(one.predict_stderr(x) ** 2 + two.predict_stderr(x) ** 2 + one.noise**2 / 3)
        assert (gap > 3 * error) == apart
    assert f"{at:.3g} updates" in result.reason


def test_the_simpler_of_nested_laws():
    rng = np.random.default_rng(6)
    curves = noisy(growth.distance("log", X, WORLDS["log"]), 5, 0.005, rng)
    result = fit_distance(X, curves)
    assert result.verdict == "log"
    low, high = result.fits["log-power"].interval["exponent"]
    assert low < 1 < high
    # The same with more noise: an exponent of 1.5 is as possible as 1.
    loud = fit_distance(X, noisy(growth.distance("log", X, WORLDS["log"]), 3, 0.08, rng))
    assert loud.verdict == "undecided"


def test_diffusion_is_a_power_and_says_so():
    rng = np.random.default_rng(7)
    result = fit_distance(X, noisy(0.2 * np.sqrt(X), 5, 0.01, rng))
    assert result.verdict == "power", result.reason
    assert result.fits["power"].special == {"diffusive": True, "ballistic": False}


def test_drift_is_named_as_the_rival():
    result = fit_distance(X, noisy(np.log1p(X / 30), 1, 0.02, np.random.default_rng(8))[0])
    assert result.verdict == "undecided"
    assert "gradient descent" in result.reason and "replicas" in result.reason
    assert result.controls["drift"].parameters["time"] == pytest.approx(30, rel=0.2)


def test_the_seeds_refute_a_law_that_one_curve_does_not():
    rng = np.random.default_rng(9)
    curve = growth.distance("log", X, WORLDS["log"]) * (1 + 0.004 * np.sin(2 * np.log(X)))
    offsets = np.exp(rng.normal(0, 0.02, (5, 1)))
    result = fit_distance(X, curve * offsets * np.exp(rng.normal(0, 2e-4, (5, 60))))
    assert result.verdict == "undecided"
    assert result.reason.startswith("no law fits")
    assert max(result.misfit_p.values()) < 1e-3


def test_heldout_decade():
    curve = growth.distance("saturating", X, (5.0, 1500.0, 0.7))
    rng = np.random.default_rng(10)
    for seeds in (1, 2, 5):
        result = fit_distance(X, noisy(curve, seeds, 0.005, rng))
        assert result.heldout_from == pytest.approx(2000, rel=0.15)
        assert result.heldout_p["power"] < 1e-3 < result.heldout_p["saturating"]
        # The power of the early part continued: far too high.
        early = X < result.heldout_from * 0.999
        fit = fit_distance(X[early], curve[early], "power")
        gap = np.mean(np.log(curve / fit.predict(X))[~early])
        assert result.heldout_error["power"] == pytest.approx(gap, rel=0.3)


def test_too_few_points_before_the_last_decade():
    x = np.geomspace(10, 400, 8)
    result = fit_distance(x, x**0.4)
    assert result.verdict == "undecided" and "too few points" in result.reason
    assert result.heldout_from is None


def test_document_is_strict_json():
    rng = np.random.default_rng(11)
    for curve in (0.3 * X**0.37, np.log1p(X), growth.distance("saturating", X, (5, 900, 1))):
        for seeds in (1, 5):
            result = fit_distance(X, noisy(curve, seeds, 0.01, rng))
            document = json.loads(json.dumps(result.to_dict(), allow_nan=False))
            assert document["verdict"] == result.verdict
            assert set(document["fits"]) == set(LAWS)


def test_errors_of_the_checks():
    """Under the true law p-values are below 5 % in about 5 % of curves."""
    rng = np.random.default_rng(12)
    curve = growth.distance("power", X, WORLDS["power"])
    early = int(np.sum(X < X[-1] / 10))
    for seeds in (1, 2, 4):
        fits = [fit_distance(X, noisy(curve, seeds, 0.02, rng), "power") for _ in range(50)]
        found = [check(fit._solution, early) for fit in fits]
        for name in ("misfit_p", "heldout_p"):
            low = np.mean([getattr(c, name) < 0.05 for c in found])
            # Binomial, 50 draws: 3.3 standard errors.
            assert low < 0.05 + 3.3 * np.sqrt(0.05 * 0.95 / 50), (seeds, name)


def test_heldout_p_of_seeds_is_the_jackknifes():
    """A power is linear in its logarithms: the early part fitted again without each seed."""
    rng = np.random.default_rng(22)
    curves = noisy(growth.distance("power", X, WORLDS["power"]), 4, 0.02, rng)
    solution, cells = fit_distance(X, curves, "power")._solution, 42
    early = solve(solution.law, solution.curves.first(cells), solution.noise.first(cells), solution)
    W = early.noise.whiteners[early.node]
    design, y = np.column_stack([np.ones(60), np.log(X)]), np.log(curves)

    def errors(mean):
        """Over the late points, and over their last third."""
        fitted = np.linalg.lstsq(W @ design[:cells], W @ mean[:cells], rcond=None)[0]
        late = (mean - design @ fitted)[cells:]
        return np.array([late.mean(), late[12:].mean()])

    left = np.array([errors(np.delete(y, seed, axis=0).mean(axis=0)) for seed in range(4)])
    stderr = np.sqrt(3 / 4 * np.sum((left - left.mean(axis=0)) ** 2, axis=0))
    t = np.abs(errors(y.mean(axis=0))) / stderr
    p = 2 * 2 * stats.t.sf(t.max(), 3)
    assert 0.01 < p < 0.8
    assert check(solution, cells).heldout_p == pytest.approx(p, rel=1e-5)


def test_misfit_of_two_curves_is_as_likely_as_it_says():
    rng = np.random.default_rng(18)
    curve = growth.distance("power", X, WORLDS["power"])
    found = [
        check(fit_distance(X, noisy(curve, 2, 0.02, rng), "power")._solution, 42).misfit_p
        for _ in range(60)
    ]
    # Uniform p-values: their mean within 4 standard errors of 60.
    assert np.mean(found) == pytest.approx(0.5, abs=4 * np.sqrt(1 / 12 / 60))


def test_one_curve_does_not_know_its_noise():
    """Slow deviations of 3 %: noise to the model, misfit to the seeds."""
    rng = np.random.default_rng(16)
    curve = growth.distance("power", X, WORLDS["power"])
    curves = curve * np.exp(growth.noise(X, 6, 0.04, 1.5, 0.05, rng))
    one = fit_distance(X, curves[0])
    assert one.verdict == "undecided"
    assert fit_distance(X, curves).verdict in ("power", "undecided")
    # Independent noise of the same size averages out.
    white = fit_distance(X, curve * np.exp(rng.normal(0, 0.02, 60)))
    assert white.verdict == "power", white.reason


def test_known_norm_decides_sooner():
    rng = np.random.default_rng(15)
    curves = noisy(growth.distance("norm-growth", X, WORLDS["norm-growth"]), 5, 0.03, rng)
    free, known = fit_distance(X, curves), fit_distance(X, curves, norm0=3.0)
    assert (free.verdict, known.verdict) == ("undecided", "norm-growth")


def test_any_curve_gets_an_answer():
    rng = np.random.default_rng(14)
    for _ in range(20):
        points, seeds = rng.integers(8, 40), rng.integers(1, 6)
        x = np.sort(rng.uniform(1, 10 ** rng.uniform(0.3, 6), points))
        steps = rng.normal(rng.uniform(-0.1, 0.3), rng.choice([0.01, 0.3]), (seeds, points))
        result = fit_distance(x, np.exp(np.cumsum(steps, axis=1)))
        json.dumps(result.to_dict(), allow_nan=False)
        for fit in result.fits.values():
            for name, (low, high) in fit.interval.items():
                assert low <= fit.parameters[name] <= high


def rates(law, seeds, sigma, decades, repeats, seed):
    """Counts of verdicts over drawn parameters."""
    x = np.geomspace(10, 10 ** (1 + decades), 60)
    rng = np.random.default_rng(seed)
    return Counter(
        fit_distance(
            x, noisy(growth.distance(law, x, growth.drawn(law, x, rng)), seeds, sigma, rng, x)
        ).verdict
        for _ in range(repeats)
    )


@pytest.mark.long
@pytest.mark.parametrize("law", WORLDS)
@pytest.mark.parametrize(
    ("seeds", "sigma", "decades", "named"),
    [(1, 0.003, 3.3, 0.9), (5, 0.01, 3.3, 0.9), (1, 0.02, 3.3, 0), (5, 0.03, 3.3, 0),
     (3, 0.03, 2.2, 0), (5, 0.01, 1.4, 0)],
)  # fmt: skip
def test_rates_of_verdicts(law, seeds, sigma, decades, named):
    repeats = 100
    found = rates(law, seeds, sigma, decades, repeats, 20)
    wrong = repeats - found[law] - found["undecided"]
    # Two binomial standard errors beside what is promised.
    assert found[law] >= repeats * named - 2 * np.sqrt(repeats * named * (1 - named)), found
    assert wrong <= 0.05 * repeats + 2 * np.sqrt(repeats * 0.05 * 0.95), found
    if decades < 1.5:
        assert found["undecided"] == repeats


@pytest.mark.parametrize("seeds", [1, 4])
def test_drawing(seeds):
    rng = np.random.default_rng(13)
    curves = noisy(growth.distance("log", X, WORLDS["log"]), seeds, 0.01, rng)
    result = fit_distance(X, curves)
    top, bottom = Figure().subplots(2, 1)
    assert list(draw_laws([top, bottom], X, curves, result)) == [top, bottom]
    lines = {str(line.get_label()).split(" ")[0]: line for line in top.lines}
    assert set(LAWS) < set(lines)
    for law in LAWS:
        at = np.asarray(lines[law].get_xdata())
        np.testing.assert_allclose(lines[law].get_ydata(), result.fits[law].predict(at))
    mean = np.exp(np.log(curves).mean(axis=0))
    np.testing.assert_allclose(top.lines[0].get_ydata(), mean)
    left = 100 * np.log(mean / result.fits["log"].predict(X))
    np.testing.assert_allclose(bottom.lines[0].get_ydata(), left, atol=1e-9)
    assert len(result.plot()) == 2
    one = fit_distance(X, curves, "log")
    assert len(draw_laws(Figure().subplots(), X, curves, one)) == 1


def test_a_law_that_misses_the_seeds_mean_is_not_named():
    # Seeds that scatter by 13 % early and .5 % late, three of them: a test over whole curves has no
    # power, but the picture shows that saturating misses the last points by ten standard errors.
    rng = np.random.default_rng(1)
    x = np.unique(np.geomspace(1, 300, 26).round())
    curve = 0.08 * x**1.2 / (1 + (x / 30) ** 1.2) ** 0.8
    spread = 0.13 * np.exp(-np.log(x) / 1.7) + 0.005
    for _ in range(20):
        scatter = spread * growth.noise(x, 3, 1.0, 1.0, 0.0, rng)
        assert fit_distance(x, curve * np.exp(scatter)).verdict == "undecided"
