import json
from collections import Counter

import numpy as np
import pytest

from noisescale import InputError
from noisescale.analysis.roughness.landscape import bin_losses, judge_landscape
from noisescale.analysis.roughness.landscape_nulls import nulls_of
from tests.reference import roughness as reference

RADII = 0.2 * np.arange(1, 51)


def smooth(rng, rays=32):
    """2.3 + g·u r + ½ uᵀHu r², with g and H of a loss in many dimensions."""
    linear, quadratic = rng.standard_normal((2, rays, 1)) * [[[0.01]], [[2e-4]]]
    return 2.3 + linear * RADII + (quadratic + 1e-3) * RADII**2


@pytest.mark.parametrize("alpha", [0.6, 1.4])
def test_rough_landscapes_show_their_alpha(alpha):
    rng = np.random.default_rng(0)
    worlds = reference.ray_curves(RADII, 32, alpha, 12, rng)
    found = [judge_landscape(RADII, 2.3 + 0.01 * c, 2.3) for c in worlds]
    verdicts = Counter(f.verdict for f in found)
    assert verdicts["self-affine"] >= 11 and not verdicts["smooth"], verdicts
    estimates = [f.centred.diagnostics["alpha_uncut"] for f in found]
    assert abs(np.mean(estimates) - alpha) < 4 * np.std(estimates) / np.sqrt(12)
    assert found[0].statement.startswith(f"consistent with α = {found[0].centred.alpha:.2f}")
    # S(h) = σ² h^α along rays; the mean over rays takes the common part out, about all of it.
    structure = np.mean([f.structure for f in found], axis=0) / 0.01**2
    lags = found[0].structure_lags
    assert lags[0] == pytest.approx(0.2) and lags.size == 25
    slope = np.polyfit(np.log(lags[:12]), np.log(structure[:12]), 1)[0]
    assert slope == pytest.approx(alpha, abs=0.1)


@pytest.mark.parametrize("kind", [np.float64, np.float32])
def test_a_slope_of_one_is_no_sign_of_a_random_landscape(kind):
    rng = np.random.default_rng(1)
    found = [judge_landscape(RADII, smooth(rng).astype(kind), 2.3) for _ in range(6)]
    assert {f.verdict for f in found} == {"smooth"}
    # What would be read as α = 2: 2 d ln std/d ln r.
    assert np.mean([f.centred.diagnostics["alpha_uncut"] for f in found]) > 1.95
    # Uncentred, the common curvature takes over: the slope passes 1.
    assert np.mean([f.uncentred.diagnostics["alpha_uncut"] for f in found]) > 2.1
    null = found[0].nulls[0]
    assert null.name == "smooth function"
    low, _, high = null.alpha
    assert low < found[0].centred.diagnostics["alpha_uncut"] < high
    np.testing.assert_allclose(null.second_difference_exponent, 4.0, atol=1e-6)


def test_rounding_of_the_losses_is_not_roughness():
    # Straight lines: second differences are what float32 leaves of losses near 2.3.
    slopes = 1e-4 * np.random.default_rng(2).standard_normal((32, 1))
    found = judge_landscape(
        RADII, (2.3 + slopes * RADII).astype(np.float32), np.float32(2.3).item()
    )
    assert found.verdict == "smooth"


def test_nulls_are_what_they_are_called():
    found = judge_landscape(RADII, smooth(np.random.default_rng(3)), 2.3)
    by_name = {null.name: null for null in found.nulls}
    diffusion = by_name["pure diffusion"]
    # Brownian paths: α = 1 everywhere; 60 worlds of 32 rays.
    assert diffusion.alpha[1] == pytest.approx(1.0, abs=0.08)
    np.testing.assert_allclose(diffusion.local_slope[1], 0.5, atol=0.17)
    relaxing = by_name["Ornstein–Uhlenbeck"]
    # V(r) − V(0) = √(2(1 − e^{−r/ℓ})) with ℓ = 1: slope r/ℓ / (2 (e^{r/ℓ} − 1)).
    x = found.local_radii
    expected = x / np.expm1(x) / 2
    np.testing.assert_allclose(relaxing.local_slope[1], expected, atol=0.17)


def test_bins_hold_the_spread_at_their_length():
    rng = np.random.default_rng(4)
    lengths = rng.uniform(0, 10, 4000)
    losses = 2.3 + 0.5 * lengths**2 + 0.1 * lengths * rng.standard_normal(4000)
    bins = bin_losses(lengths, losses, 2.3, bins=200)
    assert bins.count.sum() > 3900
    # In narrow bins: std 0.1 l and the mean's slope over the bin, rms 0.5 l² and more.
    width = 0.05 / np.sqrt(12)
    expected = np.hypot(0.1 * bins.length, bins.length * width)
    # 4,000 normal values: the mean of the variances is known to √(2/4000), 4 standard errors.
    assert np.mean((bins.std / expected) ** 2) == pytest.approx(1.0, abs=0.09)
    spread = np.std(bins.std / expected)
    assert np.mean(bins.std_stderr / expected) == pytest.approx(spread, rel=0.25)
    expected = np.sqrt(0.25 * bins.length**4 + 0.01 * bins.length**2)
    late = bins.length > 1
    np.testing.assert_allclose(bins.rms[late], expected[late], rtol=0.12)
    slope, error = bins.std_slope
    assert abs(slope - 1) < 4 * error + 0.05 and error < 0.03


def test_bins_by_hand():
    rng = np.random.default_rng(7)
    lengths = rng.uniform(0, 10, 90)
    losses = 2.3 + 0.1 * lengths**0.7 * rng.standard_normal(90)
    bins = bin_losses(lengths, losses, 2.3, bins=5)
    for k in range(5):
        inside = (lengths >= k * lengths.max() / 5) & (lengths < (k + 1) * lengths.max() / 5)
        inside |= (k == 4) & (lengths == lengths.max())
        values = losses[inside] - 2.3
        assert bins.count[k] == len(values) and bins.length[k] == lengths[inside].mean()
        assert bins.std[k] == pytest.approx(values.std(ddof=1))
        assert bins.rms[k] == pytest.approx(np.sqrt(np.mean(values**2)))
    for y, error, found in (
        (bins.std, bins.std_stderr, bins.std_slope),
        (bins.rms, bins.rms_stderr, bins.rms_slope),
    ):
        line, covariance = np.polyfit(
            np.log(bins.length), np.log(y), 1, w=y / error, cov="unscaled"
        )
        assert found == pytest.approx((line[0], np.sqrt(covariance[0, 0])))


def test_structure_is_the_variance_of_increments():
    """S(h) is the variance over rays of V(r + h) − V(r), averaged over r from the origin on."""
    rng, radii = np.random.default_rng(8), 0.2 * np.arange(1, 21)
    curves = np.cumsum(rng.standard_normal((12, 20)), axis=1) + np.sin(radii)
    found = judge_landscape(radii, 2.3 + curves, 2.3)
    paths = np.concatenate([np.zeros((12, 1)), curves], axis=1)
    for k, lag in enumerate(found.structure_lags, 1):
        assert lag == pytest.approx(0.2 * k)
        expected = np.mean(np.var(paths[:, k:] - paths[:, :-k], axis=0, ddof=1))
        assert found.structure[k - 1] == pytest.approx(expected)


def test_nulls_know_the_spacing_of_radii():
    radii = np.geomspace(0.05, 10, 16)
    curves = np.random.default_rng(9).standard_normal((32, 16)) * radii
    by_name = {null.name: null for null in nulls_of(radii, curves, 0)}
    # Medians of 60 worlds of 32 rays.
    assert by_name["pure diffusion"].alpha[1] == pytest.approx(1.0, abs=0.05)
    # Between neighbouring radii, of the standard deviation √(2(1 − e^{−r/ℓ})) with ℓ = 1.
    logs = np.log(-np.expm1(-radii)) / 2
    expected = np.diff(logs) / np.diff(np.log(radii))
    found = by_name["Ornstein–Uhlenbeck"].local_slope[1]
    assert np.mean(np.abs(found - expected)) < 0.06


def test_numbers_are_strict_json_and_drawn():
    rng = np.random.default_rng(5)
    points = (rng.uniform(0, 10, 300), 2.3 + rng.standard_normal(300))
    found = judge_landscape(RADII, smooth(rng), 2.3, points=points)
    document = json.loads(json.dumps(found.to_dict(), allow_nan=False))
    assert document["verdict"] == "smooth" and len(document["nulls"]) == 3
    assert len(document["local_slope"]) == len(document["local_radii"])
    ax = found.plot()
    assert "nats" in ax.get_ylabel()


def test_bad_input_is_told():
    rng = np.random.default_rng(6)
    with pytest.raises(InputError, match="start_loss"):
        judge_landscape(RADII, smooth(rng), np.nan)
    with pytest.raises(InputError, match="rays"):
        judge_landscape(RADII, smooth(rng)[:, :-1], 2.3)
    with pytest.raises(InputError, match="one each"):
        bin_losses([1.0, 2.0], [1.0], 0.0)
    with pytest.raises(InputError, match="no bin holds 8"):
        bin_losses(np.arange(1.0, 11), np.arange(1.0, 11), 0.0)
    with pytest.raises(InputError, match="at least 0"):
        bin_losses(-np.arange(1.0, 11), np.arange(1.0, 11), 0.0, bins=1)
