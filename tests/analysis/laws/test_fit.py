import json

import numpy as np
import pytest

from noisescale import InputError
from noisescale.analysis.laws import LAWS, fit_distance
from tests.reference import growth

X = np.geomspace(10, 20000, 60)
WORLDS = {
    "log": (1.3, 0.7),
    "power": (0.3, 0.37),
    "log-power": (0.2, 1.1, 2.0),
    "saturating": (5.0, 900.0, 0.7),
    "norm-growth": (3.0, 0.8),
}


def test_every_law_is_tested():
    assert set(WORLDS) == set(LAWS)


@pytest.mark.parametrize("seeds", [1, 2, 5])
@pytest.mark.parametrize("law", WORLDS)
def test_the_law_itself_is_recovered(law, seeds):
    curve = growth.distance(law, X, WORLDS[law])
    fit = fit_distance(X, curve if seeds == 1 else np.tile(curve, (seeds, 1)), law)
    assert list(fit.parameters.values()) == pytest.approx(WORLDS[law], rel=1e-9)
    assert np.abs(fit.covariance).max() < 1e-10
    assert np.abs(fit.residuals).max() < 1e-12
    np.testing.assert_allclose(fit.predict(3 * X), growth.distance(law, 3 * X, WORLDS[law]))
    assert (fit.law, fit.n, fit.seeds, fit.at_limit) == (law, 60, seeds, False)
    assert fit.window == (X[0], X[-1])


@pytest.mark.parametrize(
    ("law", "values"),
    [
        ("log", (5.0, -0.4)),  # decreasing
        ("log", (-1.55, 0.7)),  # nearly 0 at the first point
        ("log-power", (3.0, -40.0, 6.0)),
        ("log-power", (0.5, 2.3, 0.5)),  # log_tau0 just below ln 10
        ("saturating", (5.0, 30.0, 0.3)),
        ("saturating", (5.0, 1e5, 1.0)),
        ("saturating", (5.0, 30.0, 1.2)),  # reached after a decade
        ("norm-growth", (3.0, 1e-3)),  # diffusive but for 6 %
        ("norm-growth", (0.3, 5.0)),  # x^(1/4) but for a tenth
        ("power", (2.0, 1.5)),
    ],
)
def test_corners_are_recovered(law, values):
    fit = fit_distance(X, growth.distance(law, X, values), law)
    assert list(fit.parameters.values()) == pytest.approx(values, rel=1e-6)


def test_known_norm():
    curve = growth.distance("norm-growth", X, (3.0, 0.8))
    fit = fit_distance(X, curve, "norm-growth", norm0=3.0)
    assert fit.parameters == pytest.approx({"norm0": 3.0, "rate": 0.8}, rel=1e-9)
    noisy = curve * np.exp(growth.noise(X, 5, 0.02, 1.0, 0.2, np.random.default_rng(0)))
    free = fit_distance(X, noisy, "norm-growth")
    known = fit_distance(X, noisy, "norm-growth", norm0=3.0)
    assert 0 < known.stderr["rate"] < free.stderr["rate"] / 2
    assert known.stderr["norm0"] == 0 < free.stderr["norm0"]
    assert known.interval["norm0"] == pytest.approx((3.0, 3.0), rel=1e-12)


def test_norm_growth_is_that_of_orthogonal_steps():
    # w ← w − ε g̃/|w| with g̃ ⟂ w: |w|² grows by ε²|g̃|²/|w|² a step.
    rng = np.random.default_rng(1)
    w = rng.standard_normal(2000) * 0.05
    start, rate, steps = w.copy(), 0.0, 3000
    distances = []
    for _ in range(steps):
        g = rng.standard_normal(2000) / np.sqrt(2000)
        g -= w * (g @ w) / (w @ w)
        w = w - 0.5 * g / np.linalg.norm(w)
        rate += 2 * 0.25 * (g @ g) / steps
        distances.append(np.linalg.norm(w - start))
    at = np.unique(np.geomspace(10, steps, 40).astype(int))
    fit = fit_distance(at, np.array(distances)[at - 1], "norm-growth")
    norm0 = np.linalg.norm(start)
    assert fit.parameters["norm0"] == pytest.approx(norm0, rel=0.05)
    assert fit.parameters["rate"] == pytest.approx(rate, rel=0.05)


def test_likelihood_is_that_of_the_noise():
    """The best of the grid is no better than the planted noise's own density allows."""
    rng = np.random.default_rng(2)
    u = np.log(X)
    gains = []
    for _ in range(20):
        curve = growth.distance("power", X, (0.3, 0.4))
        y = np.log(curve) + growth.noise(X, 1, 0.02, 1.0, 0.2, rng)[0]
        fit = fit_distance(X, np.exp(y), "power")
        covariance = 0.02**2 * (0.8 * np.exp(-np.abs(u[:, None] - u)) + 0.2 * np.eye(60))
        gains.append(fit.log_likelihood - growth.log_density(y, np.log(curve), covariance))
    # Five parameters fitted: half a χ² of five, 2.5 on average, its mean of 20 within 4 errors.
    assert np.mean(gains) == pytest.approx(2.5, abs=4 * np.sqrt(2.5 / 20))
    assert fit.aicc == pytest.approx(-2 * fit.log_likelihood + 10 + 60 / 54)


def test_many_points_are_averaged_without_bias():
    x = np.arange(1, 20001)
    for law, values in WORLDS.items():
        start = 10 if law in ("log", "log-power") else 1
        curve = growth.distance(law, x[start:], values)
        fit = fit_distance(x[start:], curve, law)
        assert list(fit.parameters.values()) == pytest.approx(values, rel=1e-7)
        assert len(fit.residuals) == fit.n == 20000 - start


def covered(law, seeds, length, independent, repeats, seed):
    """(repeats, parameters) whether intervals hold the planted values."""
    rng = np.random.default_rng(seed)
    true = np.array(WORLDS[law])
    curve = growth.distance(law, X, true)
    found = []
    for _ in range(repeats):
        factor = np.exp(growth.noise(X, seeds, 0.02, length, independent, rng))
        interval = np.array(list(fit_distance(X, curve * factor, law).interval.values()))
        found.append((interval[:, 0] <= true) & (true <= interval[:, 1]))
    return np.mean(found, axis=0)


@pytest.mark.parametrize("seeds", [1, 5])
@pytest.mark.parametrize("law", ["power", "log-power"])
def test_intervals_cover(law, seeds):
    # Binomial, 40 draws: 3.3 standard errors below 0.95.
    assert covered(law, seeds, 0.6, 0.1, 40, 3).min() > 0.95 - 3.3 * np.sqrt(0.05 * 0.95 / 40)


@pytest.mark.long
@pytest.mark.parametrize("law", WORLDS)
@pytest.mark.parametrize("seeds", [1, 5])
def test_intervals_cover_95_percent(law, seeds):
    share = covered(law, seeds, 1.0, 0.2, 400, 4)
    # 0.90 … 0.97, widened by 2 binomial standard errors of 400 draws.
    assert share.min() > 0.90 - 2 * 0.015 and share.max() < 0.97 + 2 * 0.0085, share


def test_intervals_shrink_with_the_seeds_and_the_noise():
    rng = np.random.default_rng(5)
    curve = growth.distance("log", X, WORLDS["log"])
    z = growth.noise(X, 16, 1.0, 1.0, 0.2, rng)
    loud = fit_distance(X, curve * np.exp(0.04 * z), "log")
    quiet = fit_distance(X, curve * np.exp(0.01 * z), "log")
    assert loud.stderr["slope"] == pytest.approx(4 * quiet.stderr["slope"], rel=0.1)
    assert quiet.noise == pytest.approx(0.01, rel=0.3)
    assert 0.3 < quiet.correlation_length < 3
    wide = fit_distance(X, curve * np.exp(0.01 * z), "log", level=0.99)
    low, high = wide.interval["slope"]
    # Student's t of 15 degrees: 2.947 standard errors.
    assert (high - low) / 2 == pytest.approx(2.947 * quiet.stderr["slope"], rel=1e-3)


def test_errors_of_seeds_are_the_jackknife():
    rng = np.random.default_rng(6)
    curves = growth.distance("power", X, (0.3, 0.4)) * np.exp(growth.noise(X, 4, 0.02, 1, 0.2, rng))
    fit = fit_distance(X, curves, "power")
    # Of a linear fit the jackknife is the spread of single seeds' fits; weights as for all.
    W = fit._solution.noise.whiteners[fit._solution.node]
    A = W @ np.column_stack([np.ones(60), np.log(X)])
    each = np.linalg.lstsq(A, W @ np.log(curves).T, rcond=None)[0]
    assert fit.parameters["exponent"] == pytest.approx(each[1].mean(), rel=1e-9)
    assert fit.stderr["exponent"] == pytest.approx(each[1].std(ddof=1) / 2, rel=1e-6)


def test_special_cases_are_reported():
    rng = np.random.default_rng(7)
    for exponent, expected in ((0.5, (True, False)), (1.0, (False, True)), (0.7, (False, False))):
        curves = 0.2 * X**exponent * np.exp(growth.noise(X, 5, 0.01, 1.0, 0.2, rng))
        special = fit_distance(X, curves, "power").special
        assert (special["diffusive"], special["ballistic"]) == expected
    relaxing = growth.distance("saturating", X, (5.0, 900.0, 1.0))
    curves = relaxing * np.exp(growth.noise(X, 5, 0.01, 1.0, 0.2, rng))
    assert fit_distance(X, curves, "saturating").special == {"exponential": True}


def test_ornstein_uhlenbeck_relaxation_is_told_from_saturation():
    """√(1 − e^(−x/time)): half the exponent early, but a sharper end; 4 % off at best."""
    x = np.geomspace(10, 1e5, 60)
    curve = 5 * np.sqrt(1 - np.exp(-x / 2000))
    fit = fit_distance(x, curve, "saturating")
    assert 0.005 < np.abs(fit.residuals).max() < 0.1


def test_a_law_at_its_limit_says_so():
    curve = 0.3 * X**0.37
    for law, name in (("log-power", "log_tau0"), ("saturating", "time")):
        fit = fit_distance(X, curve, law)
        assert fit.at_limit
        assert np.isinf(fit.interval[name]).any()
        np.testing.assert_allclose(fit.predict(X), curve, rtol=1e-4)
    json.dumps(fit.to_dict(), allow_nan=False)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda x, d: (x - 10, d), "x holds 1 values of 0 or below; drop them"),
        (lambda x, d: (x[::-1], d), "not increasing; sort"),
        (lambda x, d: (np.sort(np.append(x[1:], 20000)), d), "twice; keep one"),
        (lambda x, d: (x, d - d[0]), "distance holds 1 values of 0 or below"),
        (lambda x, d: (x, np.where(x > 5000, np.nan, d)), "not finite; remove them"),
        (lambda x, d: (x, 0 * d + 2), "distance is constant"),
        (lambda x, d: (x[:7], d[:7]), "holds 7 points; a fit needs 8"),
        (lambda x, d: (x, d[:-1]), r"give \(60,\) or \(seeds, 60\)"),
        (lambda x, d: (x[None], d), "give one x per point"),
        (lambda x, d: (x, [["a"]]), "give an array of real numbers"),
    ],
)
def test_bad_curves_are_refused(change, message):
    x, d = change(X, 0.3 * X**0.4)
    for law in ("log", "all"):
        with pytest.raises(InputError, match=message):
            fit_distance(x, d, law)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"law": "logg"}, "did you mean 'log'"),
        ({"window": (10, 20)}, "holds 6 points"),
        ({"window": 3}, "give .lowest, highest. x"),
        ({"window": (20, 10)}, "give .lowest, highest. x"),
        ({"level": 1.0}, "must lie in"),
        ({"norm0": 0}, "above 0"),
        ({"units": 3}, "what x counts"),
    ],
)
def test_bad_options_are_refused(options, message):
    with pytest.raises(InputError, match=message):
        fit_distance(X, 0.3 * X**0.4, **options)


def test_window_and_units():
    fit = fit_distance(X, 0.3 * X**0.4, "power", window=(100, 5000), units="examples")
    inside = X[(X >= 100) & (X <= 5000)]
    assert fit.window == (inside[0], inside[-1])
    assert (fit.n, fit.units) == (len(inside), "examples")


@pytest.mark.parametrize("size", [1e-30, 1e30])
def test_units_of_distance_do_not_matter(size):
    fit = fit_distance(X, size * 0.3 * X**0.4, "power")
    assert fit.parameters["amplitude"] == pytest.approx(0.3 * size, rel=1e-9)
