from collections import Counter

import numpy as np
import pytest
from scipy import stats

from noisescale import InputError
from noisescale.analysis.roughness import ray_loss_std
from noisescale.analysis.roughness.rays import alpha_from_rays
from tests.reference import roughness as reference

GEOMETRIC = np.geomspace(0.1, 10, 13)
EQUIDISTANT = 0.5 * np.arange(1, 21)


@pytest.fixture(scope="module")
def curves():
    """400 landscapes, 24 orthogonal rays each, for every α, on geometric radii."""
    rng = np.random.default_rng(0)
    return {a: reference.ray_curves(GEOMETRIC, 24, a, 400, rng) for a in (0.5, 1.0, 1.5)}


@pytest.mark.parametrize("alpha", [0.5, 1.0, 1.5])
def test_errors_are_honest(curves, alpha):
    found = [
        alpha_from_rays(GEOMETRIC, c, resamples=120, rng=i) for i, c in enumerate(curves[alpha])
    ]
    estimates = np.array([r.diagnostics["alpha_uncut"] for r in found])
    # Binomial, 400 draws: 3.3 standard errors are 3.6 %.
    covered = np.mean([r.interval[0] <= alpha <= r.interval[1] for r in found])
    assert covered == pytest.approx(0.95, abs=0.036)
    assert abs(estimates.mean() - alpha) < 4 * estimates.std() / 20 + 0.01
    assert np.mean([r.stderr for r in found]) == pytest.approx(estimates.std(), rel=0.12)
    assert np.mean([r.diagnostics["naive_stderr"] for r in found]) < 0.75 * estimates.std()
    verdicts = Counter(r.verdict for r in found)
    assert verdicts["self-affine"] >= 380, verdicts
    assert np.median([r.sigma for r in found]) == pytest.approx(1.0, abs=0.03)


def test_amplitude_is_that_of_orthogonal_rays(curves):
    for alpha, sample in curves.items():
        spread = sample.std(axis=1, ddof=1)
        expected = GEOMETRIC**alpha * 2 ** (alpha / 2 - 1)
        # Mean variances of 400 × 23 degrees of freedom: 1.5 %, 4 standard errors.
        np.testing.assert_allclose(np.mean(spread**2, axis=0), expected, rtol=0.06)


def test_mean_square_holds_the_motion_of_the_origin(curves):
    by = {
        s: [
            alpha_from_rays(GEOMETRIC, c, statistic=s, resamples=50).diagnostics["alpha_uncut"]
            for c in curves[1.0][:150]
        ]
        for s in ("std", "rms")
    }
    assert np.std(by["rms"]) > 1.2 * np.std(by["std"])


def test_second_differences_follow_alpha_on_both_kinds_of_radii():
    rng = np.random.default_rng(1)
    for radii, ratio in ((GEOMETRIC, 10 ** (2 / 12 * 2)), (EQUIDISTANT, 2.0)):
        for alpha in (0.6, 1.4):
            sample = reference.ray_curves(radii, 30, alpha, 40, rng)
            found = [alpha_from_rays(radii, c, resamples=50).diagnostics for c in sample]
            exponents = [d["second_difference_exponent"] for d in found]
            error = np.std(exponents) / np.sqrt(40)
            assert abs(np.mean(exponents) - alpha) < 4 * error
            assert found[0]["second_difference_ratio"] == pytest.approx(ratio)


def test_local_slope_is_half_of_alpha():
    sample = reference.ray_curves(GEOMETRIC, 80, 1.2, 1, np.random.default_rng(2))[0]
    d = alpha_from_rays(GEOMETRIC, sample).diagnostics
    assert d["local_slope"].shape == (12,) and d["local_slope_interval"].shape == (12, 2)
    np.testing.assert_allclose(d["local_slope_radii"], np.sqrt(GEOMETRIC[1:] * GEOMETRIC[:-1]))
    low, high = d["local_slope_interval"].T
    inside = (low <= 0.6) & (0.6 <= high)
    assert inside.sum() >= 9  # of 12 at 95 %, neighbours correlated
    np.testing.assert_allclose(d["std"], sample.std(axis=0, ddof=1), rtol=1e-12)
    line = stats.linregress(np.log(GEOMETRIC), np.log(d["std"]))
    assert d["naive_stderr"] == pytest.approx(2 * line.stderr, rel=1e-9)


def quadratic(w):
    return float(3 + w @ np.linspace(1, 5, len(w)) + 0.5 * (w**2) @ np.linspace(0.1, 2, len(w)))


def waves(w):
    """A smooth random field with correlation length about 1, fixed by its seed."""
    rng = np.random.default_rng(3)
    k, phase = rng.normal(size=(60, len(w))), rng.uniform(0, 2 * np.pi, 60)
    return float(np.cos(k @ w + phase).sum())


@pytest.mark.parametrize("radii", [GEOMETRIC, EQUIDISTANT, np.geomspace(1e-3, 0.1, 12)])
def test_a_quadratic_is_smooth_though_its_spread_is_a_line(radii):
    r, _, curves = ray_loss_std(quadratic, np.full(30, 2.0), radii, 30, 4)
    result = alpha_from_rays(r, curves)
    assert result.verdict == "smooth", result.reason
    # Equidistant radii 0.5 … 10 reach where the quadratic part dominates.
    assert result.diagnostics["second_difference_exponent"] == pytest.approx(4, abs=0.05)


def test_smooth_fields_and_lines_are_not_self_affine():
    near = ray_loss_std(waves, np.zeros(20), np.geomspace(0.01, 0.4, 12), 20, 5)
    result = alpha_from_rays(near[0], near[2])
    assert result.verdict == "smooth"
    assert result.alpha == pytest.approx(2, abs=0.1)  # the trap: "std grows like r"
    across = ray_loss_std(waves, np.zeros(20), np.geomspace(0.1, 30, 20), 20, 6)
    assert alpha_from_rays(across[0], across[2]).verdict != "self-affine"
    lines = np.random.default_rng(7).normal(size=(20, 1)) * GEOMETRIC
    result = alpha_from_rays(GEOMETRIC, lines)
    assert result.verdict == "smooth" and "straight" in result.reason
    saturated = np.random.default_rng(8).normal(size=(20, 13))
    assert alpha_from_rays(GEOMETRIC, saturated).verdict != "smooth"


def test_what_does_not_suffice_is_undecided():
    rng = np.random.default_rng(9)
    few = reference.ray_curves(GEOMETRIC, 5, 1.0, 1, rng)[0]
    result = alpha_from_rays(GEOMETRIC, few)
    assert result.verdict == "undecided" and "rays" in result.reason and result.stderr > 0
    short = np.geomspace(1, 4, 10)
    result = alpha_from_rays(short, reference.ray_curves(short, 20, 1.0, 1, rng)[0])
    assert result.verdict == "undecided" and "factor 4" in result.reason
    odd = np.array([1, 1.7, 3.1, 6.5, 11.0, 19])
    result = alpha_from_rays(odd, reference.ray_curves(odd, 20, 1.0, 1, rng)[0])
    assert result.verdict == "undecided" and "geometric" in result.reason
    assert "second_difference_exponent" not in result.diagnostics


def test_ray_losses_are_taken_at_the_points():
    seen = []

    def loss(w):
        seen.append(w.copy())
        return 5.0 + w[0]

    origin = np.array([1.0, -2.0, 0.5])
    radii, std, curves = ray_loss_std(loss, origin, [0.5, 2.0], 3, 10)
    assert len(seen) == 7 and curves.shape == (3, 2)
    steps = np.array(seen[1:]).reshape(3, 2, 3) - origin
    np.testing.assert_allclose(steps[:, 1], 4 * steps[:, 0], atol=1e-12)
    directions = steps[:, 0] / 0.5
    np.testing.assert_allclose(directions @ directions.T, np.eye(3), atol=1e-12)
    np.testing.assert_allclose(curves, steps[..., 0], atol=1e-12)
    np.testing.assert_allclose(std, curves.std(axis=0, ddof=1))
    again = ray_loss_std(loss, origin, radii, 3, np.random.default_rng(10))
    np.testing.assert_array_equal(again[2], curves)
    many = ray_loss_std(loss, origin, [1.0], 4000, 11)[2][:, 0]
    # Uniform on the sphere: the first coordinate has mean 0 and mean square 1/3; 4 standard errors.
    assert abs(many.mean()) < 4 * np.sqrt(1 / 3 / 4000)
    assert np.mean(many**2) == pytest.approx(1 / 3, abs=4 * np.sqrt(4 / 45 / 4000))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (dict(radii=[1, 2, 3]), "at least 5"),
        (dict(radii=[0, 1, 2, 3, 4]), "above 0"),
        (dict(radii=[1, 3, 2, 4, 5]), "increasing"),
        (dict(curves=np.ones((5, 4))), "shape"),
        (dict(curves=np.ones((2, 5))), "3 rays"),
        (dict(curves=np.ones((5, 5))), "differ"),
        (dict(curves=np.full((5, 5), np.nan)), "finite"),
        (dict(statistic="mean"), "statistic"),
        (dict(resamples=3), "resamples"),
        (dict(level=2.0), "level"),
        (dict(rng=-1), "seed"),
    ],
)
def test_bad_input(arguments, message):
    valid = dict(radii=[1, 2, 3, 4, 5], curves=np.random.default_rng(0).normal(size=(5, 5)))
    with pytest.raises(InputError, match=message):
        alpha_from_rays(**{**valid, **arguments})


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (dict(loss=lambda w: np.nan), "finite"),
        (dict(loss=lambda w: w), "one finite"),
        (dict(w0=np.ones((2, 2))), "vector"),
        (dict(radii=[-1.0]), "above 0"),
        (dict(n_rays=1), "at least 2"),
        (dict(n_rays=2.5), "whole"),
        (dict(rng=None), "seed"),
    ],
)
def test_bad_losses(arguments, message):
    valid = dict(loss=quadratic, w0=np.ones(4), radii=[1.0], n_rays=3, rng=0)
    with pytest.raises(InputError, match=message):
        ray_loss_std(**{**valid, **arguments})
