"""Measured runs grouped and fitted: what belongs together, and on which clock."""

import json

import numpy as np
import pytest

from noisescale import InputError
from noisescale.analysis.growth import MOMENTS, growth_of
from noisescale.analysis.run_groups.runs import MeasuredRun
from tests.reference import growth as reference

X = np.geomspace(1, 1e4, 40)


def run(name, x=X, batch=None, seed=None, scale=1.0, **more):
    distance = scale * reference.distance("power", x, (0.3, 0.5))
    return MeasuredRun(
        name, {"update": x, "distance": distance}, batch_size=batch, seed=seed, **more
    )


def test_runs_of_equal_settings_are_seeds_of_one_group():
    runs = [run(f"{b}-{s}", batch=b, seed=s, scale=1 + 0.01 * s) for b in (64, 8) for s in range(4)]
    small, large = growth_of(runs, law="power")
    assert (small.batch_size, large.batch_size) == (8, 64) and small.label == "B = 8"
    assert small.distance.shape == (4, 40) and small.laws.seeds == 4
    assert small.laws.parameters["exponent"] == pytest.approx(0.5, abs=1e-6)


def test_data_orders_of_a_seed_are_one_curve():
    runs = [
        run(f"{s}-{r}", batch=8, seed=s, scale=1 + 0.02 * r, replica=r)
        for s in range(3)
        for r in range(2)
    ]
    (found,) = growth_of(runs, law="power")
    assert found.distance.shape == (3, 40)
    np.testing.assert_allclose(found.distance[0], 1.01 * 0.3 * np.sqrt(X))
    assert any("6 runs of 3 seeds" in note for note in found.notes)


def test_unequal_clocks_meet_in_their_common_range():
    # Linear in ln x between points a factor 1.27 apart: D ∝ √x is off by (ln 1.27)²/8 · 1/4.
    early, late = X[:30], np.geomspace(5, 2e4, 60)
    (found,) = growth_of([run("a", early), run("b", late)], law="power")
    assert found.x[0] >= 5 and found.x[-1] <= early[-1] and len(found.distance) == 2
    assert found.laws.parameters["exponent"] == pytest.approx(0.5, abs=2e-3)
    assert "interpolated" in " ".join(found.notes)
    # What is linear in ln x stays so.
    runs = [
        MeasuredRun(name, {"update": x, "distance": 2 + np.log(x)})
        for name, x in (("a", early), ("b", late))
    ]
    (found,) = growth_of(runs, law="log")
    np.testing.assert_allclose(found.distance, np.tile(2 + np.log(found.x), (2, 1)), rtol=1e-12)
    with pytest.raises(InputError, match="share no update"):
        growth_of([run("a", np.geomspace(1, 10, 20)), run("b", np.geomspace(20, 90, 20))])


def test_groups_by_label_and_short_runs_are_left_out():
    runs = [run("a", group="warm"), run("b", group="cold"), run("c", X[:3], group="cold")]
    found = growth_of(runs)
    assert [g.label for g in found] == ["cold", "warm"]
    assert all(g.laws.verdict == "power" for g in found)
    assert "c: fewer than 8 points, left out" in found[1].notes + found[0].notes
    (found,) = growth_of([run("c", X[:3])])
    assert found.laws is None and "3 points: a law needs 8" in found.undecided
    (found,) = growth_of([run("a")], window=(10, 20))
    assert "from 10 to 20" in found.undecided
    assert found.to_dict()["laws"]["verdict"] == "undecided"


def test_moments_become_the_noise_scale_along_the_run():
    rng = np.random.default_rng(0)
    noise_scale, n = 200.0, 400
    x = np.arange(1.0, n + 1)
    columns = {"update": x, "distance": np.sqrt(x)}
    # |G|² = 1, tr Σ = 200, with 5 % noise of the norms themselves.
    sizes = dict(zip(MOMENTS[2:], (8.0, 64.0), strict=True))
    for name, size in zip(MOMENTS[:2], sizes.values(), strict=True):
        columns[name] = (1 + noise_scale / size) * (1 + 0.05 * rng.standard_normal(n))
    columns |= {name: np.full(n, size) for name, size in sizes.items()}
    columns["small_sq_norm"][5] = np.nan
    (found,) = growth_of([MeasuredRun("a", columns, batch_size=64.0)])
    windows = found.noise_scale.windows
    assert sum(w.n for w in windows) == n - 1
    last = windows[-1]
    # 5 % of 26 and of 4.1: tr Σ to 0.7 %, |G|² to 2.4 % at n = 110; 4 standard errors.
    assert last.value == pytest.approx(noise_scale, rel=0.1)
    document = json.loads(json.dumps(found.to_dict(), allow_nan=False))
    assert len(document["noise_scale"]["windows"]) == len(windows)


def test_nothing_to_fit_is_told():
    with pytest.raises(InputError, match="no runs"):
        growth_of([])
    still = MeasuredRun("still", {"update": X, "distance": np.zeros(40)})
    with pytest.raises(InputError, match="no distance above 0"):
        growth_of([still])
    flat = MeasuredRun("f", {"update": X, "distance": np.ones(40)}, batch_size=8.0)
    constant, other = growth_of([flat, run("b", batch=16)])
    assert constant.undecided.startswith("the distance is constant") and other.laws is not None
    with pytest.raises(InputError, match="window"):
        growth_of([run("a")], window=(20, 10))
