"""Each quantity against NumPy, from weights and gradients of a run."""

from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from noisescale import Phase, Schedule
from noisescale.recipe import (
    DataConfig,
    ModelConfig,
    OptimizerConfig,
    ProbeConfig,
    Recipe,
    RunConfig,
)
from noisescale.training.data import load_dataset
from noisescale.training.optimizers import Rule
from noisescale.training.parameters import parameters_of
from noisescale.training.probes import Probes, sketch_plan
from noisescale.training.run import Trainer, Watch
from noisescale.training.streams import DataStream
from tests.reference import training as twin

RECIPE = Recipe(
    schedule=Schedule([Phase(epochs=3, learning_rate=0.05, batch_size=24, momentum=0.9)]),
    model=ModelConfig(width=16),
    data=DataConfig(subset=200),
)


@pytest.fixture(scope="module")
def dataset():
    return load_dataset(RECIPE.data)


def train(recipe, dataset, seed=0):
    plan = recipe.schedule.plan(dataset.train_size)
    trainer = Trainer(recipe, dataset)
    progress = trainer.start(seed)
    states = {0: progress.state}

    def between(now):
        states[now.update] = now.state

    for number in range(len(plan.rows)):
        progress = trainer.run_phase(progress, plan, number, Watch(between=between))
    return progress, states, plan


def flat(weights):
    return np.concatenate([np.asarray(a, np.float64).ravel() for a in jax.tree.leaves(weights)])


@pytest.fixture(scope="module")
def normed(dataset):
    model = ModelConfig(width=16, depth=2, batch_norm=True, ghost_batch_size=8)
    return train(replace(RECIPE, model=model), dataset)


def test_where_the_weights_are(normed):
    progress, states, _ = normed
    probed = [row for row in progress.rows if row["layers"] is not None]
    assert [row["update"] for row in probed] == [0, 1, 2, 3, 4, 6, 7, 10, 13, 18, 24]
    w_0 = flat(states[0].weights)
    names = [p.name for p in parameters_of(states[0].weights)]
    assert names[0] == "weights[0]" and "norms[1].scale" in names
    for row in probed[1:]:
        w = flat(states[row["update"]].weights)
        assert row["distance"] == pytest.approx(np.linalg.norm(w - w_0), rel=1e-5)
        assert row["weight_norm"] == pytest.approx(np.linalg.norm(w), rel=1e-6)
        cosine = w @ w_0 / np.linalg.norm(w) / np.linalg.norm(w_0)
        assert row["angle"] == pytest.approx(np.arccos(cosine), rel=1e-4)
        tensors = dict(zip(names, jax.tree.leaves(states[row["update"]].weights), strict=True))
        starts = dict(zip(names, jax.tree.leaves(states[0].weights), strict=True))
        assert list(row["layers"]) == names
        for name, way in row["layers"].items():
            moved = np.asarray(tensors[name]) - np.asarray(starts[name])
            assert way["distance"] == pytest.approx(np.linalg.norm(moved), rel=1e-5)
        assert row["layers"]["biases[0]"]["angle"] is None  # they start at 0
        without = [n for n in names if "norms" not in n]
        squares = sum(row["layers"][n]["distance"] ** 2 for n in without)
        assert row["without_norm_parameters"]["distance"] == pytest.approx(np.sqrt(squares))
        assert row["without_norm_parameters"]["distance"] < row["distance"]


def test_the_norm_of_an_update(normed):
    progress, states, _ = normed
    pairs = [(1, 0), (2, 1), (3, 2), (4, 3), (7, 6)]
    rows = {row["update"]: row for row in progress.rows}
    for after, before in pairs:
        step = flat(states[after].weights) - flat(states[before].weights)
        # Differences of float32 weights: absolute error about 1e-7 · √P.
        assert rows[after]["update_norm"] == pytest.approx(np.linalg.norm(step), rel=1e-4)


def test_sketches_tell_distances(normed):
    """‖s − s'‖ estimates ‖w − w'‖ with a relative standard error of √(2/k)/2 = 4.4 % at k = 256."""
    progress, states, _ = normed
    rows = {row["update"]: np.array(row["sketch"]) for row in progress.rows if row["sketch"]}
    for a, b in [(4, 18), (2, 24), (7, 13)]:
        true = np.linalg.norm(flat(states[a].weights) - flat(states[b].weights))
        assert np.linalg.norm(rows[a] - rows[b]) == pytest.approx(true, rel=4 * 0.044)
    norm = np.linalg.norm(flat(states[0].weights))
    assert np.linalg.norm(rows[0]) == pytest.approx(norm, rel=4 * 0.044)


def test_two_runs_have_one_projection(dataset):
    """Sketches of another seed and of another recipe with the same model can be subtracted."""
    one, states, _ = train(RECIPE, dataset, seed=0)
    other, others, _ = train(RECIPE, dataset, seed=1)
    at = [np.array(p.rows[0]["sketch"]) for p in (one, other)]
    true = np.linalg.norm(flat(states[0].weights) - flat(others[0].weights))
    assert np.linalg.norm(at[0] - at[1]) == pytest.approx(true, rel=4 * 0.044)
    last = [next(r for r in reversed(p.rows) if r["sketch"]) for p in (one, other)]
    ends = [
        a + np.array(r["sketch"]) for a, r in zip(at, last, strict=True)
    ]  # of w_0, and of w − w_0
    found = [s[r["update"]] for s, r in zip((states, others), last, strict=True)]
    true = np.linalg.norm(flat(found[0].weights) - flat(found[1].weights))
    assert np.linalg.norm(ends[0] - ends[1]) == pytest.approx(true, rel=4 * 0.044)


@pytest.mark.parametrize(("number", "size"), [(1000, 64), (50, 64), (64, 64), (7, 1)])
def test_a_sketch_is_unbiased(number, size):
    """Over random vectors ‖s‖²/‖x‖² has mean 1 and standard deviation √(2/k) at most."""
    order, signs = sketch_plan(number, size)
    assert sorted(order[signs != 0].tolist()) == list(range(number))
    x = np.random.default_rng(0).normal(size=(400, number))
    x /= np.linalg.norm(x, axis=1)[:, None]
    ratios = np.sum(np.sum(x[:, order] * signs, axis=2) ** 2, axis=1)
    spread = np.sqrt(2 / size)
    # The signs of one vector without signs of its own.
    alike = np.sum(np.sum(signs, axis=1) ** 2) / number
    assert alike == pytest.approx(1, abs=5 * spread)
    # k = 5 standard errors of a mean over 400 vectors.
    assert ratios.mean() == pytest.approx(1, abs=5 * spread / 20)
    assert ratios.std() < 1.3 * spread


def test_moments_of_the_next_batchs_gradient(dataset):
    """Against the twin's gradients: parts of 6 of the batch of 24 that the next update uses."""
    progress, states, _ = train(RECIPE, dataset)
    x, y = dataset.train_inputs.reshape(-1, 64).astype(np.float64), dataset.train_labels
    stream = DataStream(0, 0, 200)
    checked = 0
    for row in progress.rows:
        moments = row["gradient_moments"]
        if moments is None:
            continue
        weights = states[row["update"]].weights
        w = [np.asarray(a, np.float64) for a in weights.weights]
        b = [np.asarray(a, np.float64) for a in weights.biases]

        def gradient(chosen, w=w, b=b):
            _, dw, db = twin.loss_and_gradient(w, b, x[chosen], y[chosen])
            return np.concatenate([g.ravel() for g in (*dw, *db)])

        batch = stream.indices(24 * row["update"], 24)
        small = [np.sum(gradient(batch[6 * j : 6 * j + 6]) ** 2) for j in range(4)]
        assert (moments["small_batch"], moments["big_batch"]) == (6, 24)
        assert moments["small_sq_norm"] == pytest.approx(np.mean(small), rel=1e-4)
        assert moments["big_sq_norm"] == pytest.approx(np.sum(gradient(batch) ** 2), rel=1e-4)
        checked += 1
    assert checked >= 9


def test_probes_change_nothing(dataset):
    none = ProbeConfig(per_decade=1, layers=False, sketch=0, gradient_parts=0)
    everything = ProbeConfig(per_decade=20, gradient_parts=8, hessian_examples=50)
    model = ModelConfig(width=16, batch_norm=True, ghost_batch_size=8, dropout=0.2)
    ends = []
    for probe in (none, everything):
        progress, _, _ = train(replace(RECIPE, probe=probe, model=model), dataset)
        ends.append(progress)
    for a, b in zip(*(jax.tree.leaves(e.state) for e in ends), strict=True):
        np.testing.assert_array_equal(a, b)
    values = [row["hessian_eigenvalue"] for row in ends[1].rows if row["train_loss"] is not None]
    assert all(v > 0 for v in values)
    assert "hessian_eigenvalue" not in ends[0].rows[0]


def test_the_distance_of_the_first_tensor_alone(dataset):
    whole, _, _ = train(RECIPE, dataset)
    first, _, _ = train(replace(RECIPE, probe=ProbeConfig(distance="first-tensor")), dataset)
    for a, b in zip(whole.rows, first.rows, strict=True):
        if a["layers"] is not None:
            assert b["distance"] == a["layers"]["weights[0]"]["distance"]
        assert {k: v for k, v in a.items() if k != "distance"} == {
            k: v for k, v in b.items() if k != "distance"
        }


def test_a_small_angle_is_not_lost():
    """arccos of a float32 cosine would give 0 or 3e-4 here."""
    weights = {"a": jnp.array([1.0, 0.0], jnp.float32)}
    turned = {"a": jnp.array([1.0, 1e-5], jnp.float32)}
    probes = Probes(None, Rule(OptimizerConfig()), parameters_of(weights))
    way = probes.way(probes.squares(turned, weights, weights))
    assert way.angle == pytest.approx(1e-5, rel=1e-5)
    opposite = {"a": -weights["a"]}
    way = probes.way(probes.squares(opposite, weights, weights))
    assert way.angle == pytest.approx(np.pi, rel=1e-6)


def test_the_landscape_on_request(dataset):
    probe = ProbeConfig(rays=2, random_points=30, longest=5.0, landscape_examples=100)
    recipe = replace(RECIPE, probe=probe)
    trainer = Trainer(recipe, dataset)
    found = trainer.landscape(trainer.blank(0))
    assert np.shape(found["rays"]["loss"]) == (2, 50)
    assert found["rays"]["length"][-1] == 5.0
    assert len(found["points"]["loss"]) == 30 and max(found["points"]["length"]) <= 5.0
    near = [ray[0] for ray in found["rays"]["loss"]]
    assert near == pytest.approx([found["loss"]] * 2, rel=0.1)
    assert trainer.landscape(trainer.blank(0)) == found
    assert Trainer(RECIPE, dataset).landscape(trainer.blank(0)) == {}


def test_full_stretches_need_no_look_from_inside(dataset):
    """More evaluations change neither weights nor what is measured at the same updates."""
    often = replace(RECIPE, run=RunConfig(evaluate_every=0.25))
    few, _, _ = train(RECIPE, dataset)
    many, _, _ = train(often, dataset)
    by_epoch = {row["epoch"]: row for row in many.rows if row["train_loss"] is not None}
    for row in few.rows:
        if row["train_loss"] is not None:
            assert by_epoch[row["epoch"]]["train_loss"] == row["train_loss"]
