"""What is missing is said; what is wrong is refused."""

import json

import numpy as np
import pytest

from noisescale import InputError
from noisescale.analysis.walk import Trajectory, judge_walk
from tests.analysis.walk.confusion import judge
from tests.reference import worlds


@pytest.fixture(scope="module")
def runs():
    return worlds.exponential_loss(d=100, noise=0.05, rng=np.random.default_rng(0))


def without(runs, **values):
    return [{**run, **values} for run in runs]


def test_all_of_it_decides(runs):
    verdict = judge(runs)
    assert verdict.verdict == "drift" and verdict.needs == ()
    assert verdict.batch_sizes == (16, 64, 256, 4096)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda runs: [r for r in runs if r["seed"] < 2], "2 seeds"),
        (lambda runs: [r for r in runs if r["seed"] == 0], "1 seeds"),
        (lambda runs: [r for r in runs if r["replica"] == 0], "replicas"),
        (lambda runs: without(runs, positions=None), "replicas"),
        (lambda runs: [r for r in runs if r["batch_size"] in (64, 4096)], "batch sizes"),
        (lambda runs: [r for r in runs if r["batch_size"] == 4096], "batch sizes"),
        (
            lambda runs: [r for r in runs if r["batch_size"] != 4096][:0] or cut(runs, 0, 20),
            "decades",
        ),
    ],
)
def test_what_is_missing(runs, change, words):
    verdict = judge(change(runs))
    assert verdict.verdict == "undecided"
    assert any(words in need for need in verdict.needs), verdict.needs
    assert words in verdict.reason
    json.dumps(verdict.to_dict(), allow_nan=False)


def cut(runs, first, last):
    """The updates first … last alone."""
    found = []
    for run in runs:
        kept = (run["update"] >= first) & (run["update"] <= last)
        columns = {k: v[kept] for k, v in run.items() if isinstance(v, np.ndarray)}
        found.append({**run, **columns})
    return found


def test_without_the_full_batch(runs):
    """Drift can do without it over a factor 16 of θ; trapping cannot."""
    few = [r for r in runs if r["batch_size"] != 4096]
    verdict = judge(few)
    assert verdict.verdict == "drift" and "full batch" in verdict.needs[0]
    assert judge([r for r in few if r["batch_size"] != 256]).verdict == "undecided"
    trapped = worlds.landscape(1.0, 10.0, d=200, seeds=6, rng=np.random.default_rng(1))
    assert judge(trapped).verdict == "trapping"
    verdict = judge([r for r in trapped if r["batch_size"] != 4096])
    assert verdict.verdict == "undecided" and "full batch" in verdict.reason


def test_norms_and_steps_decide_on_norm_growth():
    grown = worlds.scale_invariant(3.0, d=300, rng=np.random.default_rng(2))
    assert judge(grown).verdict == "norm growth"
    for missing in ({"weight_norm": None}, {"update_norm": None}):
        verdict = judge(without(grown, **missing))
        assert verdict.verdict == "undecided"
    # The same distances with steps of constant length are no growth of norms.
    steady = [{**r, "update_norm": np.ones_like(r["update_norm"])} for r in grown]
    assert judge(steady).verdict == "undecided"


def test_a_mixture_says_so():
    noise = np.sqrt(16 * 2000 / 400)
    mixed = worlds.linear_drift(1.0, noise=noise, d=400, most=2000, rng=np.random.default_rng(3))
    verdict = judge(mixed)
    assert verdict.verdict == "undecided" and "mixture" in verdict.reason


def test_confinement_says_so():
    bound = worlds.additive(None, relaxation=300.0, rng=np.random.default_rng(4))
    verdict = judge(bound)
    assert verdict.verdict == "undecided" and "Ornstein–Uhlenbeck" in verdict.reason


def test_what_stands_still_is_undecided(runs):
    """Distances that do not grow at all divide by no growth: no warning, and strict JSON."""
    still = [
        {
            **r,
            "distance": np.minimum(r["update"], 1.0),
            "positions": np.minimum(r["update"], 1.0)[:, None] * [0.6, 0.8],
        }
        for r in runs
    ]
    verdict = judge(still)
    assert verdict.verdict == "undecided" and "no longer grows" in verdict.reason
    json.dumps(verdict.to_dict(), allow_nan=False)
    assert verdict.plot() is not None


def test_unknown_train_size(runs):
    few = [r for r in without(runs, train_size=None) if r["batch_size"] != 4096]
    verdict = judge(few)
    assert "train_size" in " ".join(verdict.caveats)
    assert verdict.arms[0].temperature == pytest.approx(0.5 / 16)


def test_document_is_strict_json(runs):
    document = json.loads(json.dumps(judge(runs).to_dict(), allow_nan=False))
    assert document["verdict"] == "drift" and len(document["collapse"]) == 4
    assert document["evidence"]["arms"][0]["drift_share"]["value"] > 0.9
    assert document["drift_share"][0]["name"] == "B = 16"


GOOD = dict(
    update=np.arange(9), distance=np.arange(9.0), batch_size=8, learning_rate=0.1, train_size=64
)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (dict(batch_size=0), "batch_size"),
        (dict(batch_size=65), "exceeds"),
        (dict(learning_rate=0.0), "learning_rate"),
        (dict(momentum=1.0), "momentum"),
        (dict(seed=0.5), "seed"),
        (dict(update=np.arange(9)[::-1]), "increase"),
        (dict(update=np.arange(4), distance=np.arange(4.0)), "give 5"),
        (dict(update=np.arange(9.0).reshape(3, 3)), "shape"),
        (dict(distance=np.arange(8.0)), "8 values for 9"),
        (dict(distance=np.zeros(9)), "above 0"),
        (dict(distance=np.full(9, np.nan)), "finite"),
        (dict(weight_norm=np.zeros(9)), "above 0"),
        (dict(update_norm=np.zeros(9)), "above 0"),
        (dict(positions=np.zeros(9)), "shape"),
        (dict(positions=np.full((9, 3), 1e3)), "squared distance"),
        (
            dict(update=np.arange(1, 9), distance=np.arange(1.0, 9), weight_norm=np.ones(8)),
            "begin update with 0",
        ),
    ],
)
def test_bad_trajectories(change, message):
    Trajectory(**GOOD)
    with pytest.raises(InputError, match=message):
        Trajectory(**{**GOOD, **change})


def test_the_norm_of_no_update_is_not_needed():
    run = Trajectory(**GOOD, update_norm=[None, *np.ones(8)])
    assert run.update_norm.shape == (8,) and run.update[0] == 1


def row(k, **others):
    settings = dict.fromkeys(("batch_size", "learning_rate", "momentum")) if not k else others
    found = {"update": k, "distance": float(k), "weight_norm": 2.0 + k, "update_norm": None}
    found["sketch"] = [5.0, 5.0] if not k else [0.6 * k, 0.8 * k]
    return found | settings | ({"update_norm": 1.0} if k else {})


def test_rows_of_a_run():
    common = dict(batch_size=8, learning_rate=0.1, momentum=0.9)
    rows = [row(k, **common) for k in range(9)]
    evaluation = {**rows[3], "update": 3.5, "sketch": None}
    run = Trajectory.from_rows([*rows[:4], evaluation, *rows[4:]], train_size=64, seed=2, replica=1)
    np.testing.assert_array_equal(run.update, np.arange(1, 9))
    np.testing.assert_allclose(run.positions, np.arange(1, 9)[:, None] * [0.6, 0.8])
    np.testing.assert_array_equal(run.weight_norm, 2.0 + np.arange(9))
    np.testing.assert_array_equal(run.update_norm, np.ones(8))
    assert (run.batch_size, run.momentum, run.train_size, run.seed, run.replica) == (
        8,
        0.9,
        64,
        2,
        1,
    )
    plain = Trajectory.from_rows([{**r, "sketch": None} for r in rows])
    assert plain.positions is None and not plain.sketched
    for bad in ([], [{**r, "learning_rate": r["update"]} for r in rows]):
        with pytest.raises(InputError, match="constant"):
            Trajectory.from_rows(bad)


LATER = dict(replica=1, update=100 + GOOD["update"], distance=GOOD["distance"] + 1)


def test_bad_sets():
    run = Trajectory(**GOOD)
    for bad, message in (
        ([], "at least one"),
        ([GOOD], "at least one"),
        ([run, run], "same seed"),
        ([run, Trajectory(**{**GOOD, "train_size": None})], "train_size"),
        ([run, Trajectory(**{**GOOD, "batch_size": 16, "seed": 1})], "share no seed"),
        (
            [
                run,
                Trajectory(
                    **{
                        **GOOD,
                        "replica": 1,
                        "update": 100 + GOOD["update"],
                        "distance": GOOD["distance"] + 1,
                    }
                ),
            ],
            "share 0",
        ),
    ):
        with pytest.raises(InputError, match=message):
            judge_walk(bad)
    with pytest.raises(InputError, match="level"):
        judge_walk([run], level=1.0)
    with pytest.raises(InputError, match="margin"):
        judge_walk([run], margin=0.0)
    widths = [
        Trajectory(**{**GOOD, "replica": r, "positions": np.arange(9.0)[:, None] * one})
        for r, one in ((0, [[1.0]]), (1, [[0.6, 0.8]]))
    ]
    with pytest.raises(InputError, match="projection"):
        judge_walk(widths)
