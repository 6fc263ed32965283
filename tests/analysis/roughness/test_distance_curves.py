import numpy as np
import pytest

from noisescale import InputError
from noisescale.analysis.roughness.distance_curves import alpha_from_distance
from noisescale.analysis.roughness.fractional_noise import fractional_noise
from tests.reference.roughness import walk_distances

LOG_T = np.geomspace(10, 200, 16)


def curves(alpha, environments, rng, *, log_t=LOG_T, log_tau0=2.0, noise=0.4):
    """(ln t − ln τ0)^{2/α}, times log-normal factors that are correlated along ln ln t."""
    u = np.log(log_t)
    root = np.linalg.cholesky(np.exp(-2 * np.abs(u[:, None] - u)) + 1e-10 * np.eye(len(u)))
    factors = rng.standard_normal((environments, 1))
    factors = factors + rng.standard_normal((environments, len(u))) @ root.T
    return 7 * (log_t - log_tau0) ** (2 / alpha) * np.exp(noise * factors)


@pytest.mark.parametrize("alpha", [0.5, 1.0, 1.5, 1.9])
@pytest.mark.parametrize("log_tau0", [-3.0, 0.5, 2.0])
def test_the_law_itself_is_recovered(alpha, log_tau0):
    rng = np.random.default_rng(0)
    exact = (LOG_T - log_tau0) ** (2 / alpha) * np.exp(rng.normal(0, 1, (12, 1)))
    for average in ("mean", "median"):
        result = alpha_from_distance(LOG_T, exact, average=average, resamples=60)
        assert result.alpha == pytest.approx(alpha, abs=2e-6)
        assert result.diagnostics["log_tau0"] == pytest.approx(log_tau0, abs=1e-4)
        assert result.verdict == "log-power", result.reason
        assert result.stderr < 1e-5
        assert (result.n, result.method) == (12, f"distance-{average}")
        assert result.window == pytest.approx((10, 200))


def test_naive_estimate_takes_tau0_as_one():
    exact = (LOG_T - 2.0) ** 2 * np.ones((12, 1))
    found = alpha_from_distance(LOG_T, exact).diagnostics["naive_alpha"]
    assert found == pytest.approx(2 / np.polyfit(np.log(LOG_T), np.log(exact[0]), 1)[0], rel=1e-9)


@pytest.mark.parametrize("alpha", [0.5, 1.0, 1.5])
def test_errors_are_honest(alpha):
    rng = np.random.default_rng(1)
    found = [
        alpha_from_distance(LOG_T, curves(alpha, 24, rng), resamples=80, rng=i) for i in range(400)
    ]
    estimates = np.array([r.diagnostics["alpha_uncut"] for r in found])
    covered = np.mean([r.interval[0] <= alpha <= r.interval[1] for r in found])
    # Binomial, 400 draws: 3.3 standard errors are 3.6 %.
    assert covered == pytest.approx(0.95, abs=0.036)
    assert abs(np.median(estimates) - alpha) < 0.2 * estimates.std()
    assert np.mean([r.stderr for r in found]) == pytest.approx(estimates.std(), rel=0.15)
    assert np.mean([r.verdict == "log-power" for r in found]) > 0.93
    # With τ0 = 1 the estimate is off by many of the errors that it prints.
    naive = np.array([r.diagnostics["naive_alpha"] for r in found])
    printed = np.mean([r.diagnostics["naive_stderr"] for r in found])
    assert alpha - naive.mean() > 4 * printed


def test_medians_are_not_moved_by_a_runaway():
    rng = np.random.default_rng(2)
    values = curves(1.0, 40, rng, noise=0.1)
    values[:2] = np.exp(0.2 * LOG_T)  # ramps: distance grows with a power of t
    mean, median = (
        alpha_from_distance(LOG_T, values, average=a, resamples=100) for a in ("mean", "median")
    )
    assert abs(median.alpha - 1) < 0.2
    assert abs(mean.diagnostics["alpha_uncut"] - 1) > 0.5
    assert mean.verdict == "undecided"


@pytest.fixture(scope="module")
def walks():
    """Exact walks in 40 potentials with α = 1, seen up to ln t = 14: (ln t, distances)."""
    noise = fractional_noise(1500, 1.0, size=40, rng=np.random.default_rng(3))
    potentials = np.concatenate([np.zeros((40, 1)), np.cumsum(noise, axis=1)], axis=1)
    log_t = np.linspace(3, 14, 10)
    return log_t, walk_distances(potentials, log_t, range(500, 1001, 10))


def test_walks_to_a_million_steps_are_refused(walks):
    """Both fits miss α = 1 by many of their errors; only the refusal is honest."""
    result = alpha_from_distance(*walks)
    assert result.verdict == "undecided" and "decades" in result.reason
    assert 1 - result.alpha > 4 * result.stderr
    assert result.diagnostics["decades"] == pytest.approx(np.log10(14 / 3))


def test_early_times_off_the_law_are_noticed(walks):
    """A decade of ln t does not help where its beginning follows another law."""
    log_t, distances = walks
    tail = np.geomspace(16, 60, 8)
    later = (tail - 2.0) ** 2 / 12.0**2 * distances[:, -1:]
    result = alpha_from_distance(np.append(log_t, tail), np.hstack([distances, later]))
    assert result.verdict == "undecided" and "starts later" in result.reason
    assert abs(result.diagnostics["later_z"]) > 2.5


def test_reference_walk_is_free_where_the_potential_is_flat():
    # E x² = 2t at an exponential clock of mean t, rate 1 to either side.
    found = walk_distances(np.zeros((1, 801)), [0.0, 2.0, 5.0], (300, 400))
    np.testing.assert_allclose(found[0] ** 2, 2 * np.exp([0.0, 2.0, 5.0]), rtol=1e-9)


def test_times_at_the_wall_are_dropped_and_reported():
    rng = np.random.default_rng(4)
    values = curves(1.0, 20, rng, noise=0.1)
    spoiled = values.copy()
    spoiled[:, -3:] = values[:, -4:-3]
    wall = np.where(np.arange(16) >= 13, 0.2, 0.001)
    clean = alpha_from_distance(LOG_T[:13], values[:, :13])
    result = alpha_from_distance(LOG_T, spoiled, wall_fraction=wall)
    assert result.alpha == clean.alpha and result.window[1] == LOG_T[12]
    assert result.diagnostics["dropped"] == 3 and "3 times at the wall" in result.reason
    boxed = alpha_from_distance(LOG_T, spoiled, wall_fraction=np.full(16, 0.5))
    assert boxed.verdict == "undecided" and "box" in boxed.reason


def test_window_selects_times():
    values = curves(1.0, 20, np.random.default_rng(5))
    part = alpha_from_distance(LOG_T, values, window=(12, 150))
    inside = (LOG_T >= 12) & (LOG_T <= 150)
    assert part.alpha == alpha_from_distance(LOG_T[inside], values[:, inside]).alpha
    assert 12 <= part.window[0] < part.window[1] <= 150


def test_few_environments_and_shapes_without_a_shift_are_undecided():
    few = alpha_from_distance(LOG_T, curves(1.0, 5, np.random.default_rng(6)))
    assert few.verdict == "undecided" and "environments" in few.reason and few.stderr > 0
    ballistic = np.exp(0.5 * LOG_T) * np.linspace(0.9, 1.1, 12)[:, None]
    assert alpha_from_distance(LOG_T, ballistic).verdict == "undecided"


def test_draws_are_by_seed():
    values = curves(1.0, 20, np.random.default_rng(7))
    one, two = (alpha_from_distance(LOG_T, values, rng=np.random.default_rng(1)) for _ in range(2))
    assert one == two
    assert alpha_from_distance(LOG_T, values, rng=2).alpha == one.alpha


VALID = dict(log_t=LOG_T, distances=np.ones((12, 1)) * LOG_T**2)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (dict(log_t=LOG_T[::-1]), "increasing"),
        (dict(log_t=LOG_T - 10), "above 0"),
        (dict(log_t=LOG_T[:4]), "at least 5"),
        (dict(distances=np.ones((12, 3))), "environments"),
        (dict(distances=LOG_T[None]), "at least 2"),
        (dict(distances=-np.ones((12, 16))), "negative"),
        (dict(distances=np.zeros((12, 16))), "0 inside"),
        (dict(distances=np.full((12, 16), np.inf)), "finite"),
        (dict(window=(1, 2)), "widen"),
        (dict(window=3), "window"),
        (dict(window=("a", 2)), "window"),
        (dict(wall_fraction=[0.1]), "wall_fraction"),
        (dict(wall_fraction=np.full(16, 3.0)), "wall_fraction"),
        (dict(average="mode"), "average"),
        (dict(resamples=0), "resamples"),
        (dict(resamples=10), "resamples"),
        (dict(rng="x"), "seed"),
        (dict(level="high"), "level"),
    ],
)
def test_bad_input(arguments, message):
    with pytest.raises(InputError, match=message):
        alpha_from_distance(**{**VALID, **arguments})
