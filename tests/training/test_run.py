from dataclasses import replace

import numpy as np
import pytest

from noisescale import Phase, Schedule
from noisescale.recipe import DataConfig, ModelConfig, OptimizerConfig, Recipe, RunConfig
from noisescale.training.batches import Arrangement, Feed
from noisescale.training.data import load_dataset
from noisescale.training.run import Trainer, Watch
from noisescale.training.stops import stops_of
from noisescale.training.streams import DataStream
from tests.reference import shapes as shape_twin
from tests.reference import training as twin

RECIPE = Recipe(
    schedule=Schedule(
        [
            Phase(epochs=1.5, learning_rate=0.05, batch_size=16, momentum=0.9),
            Phase(epochs=1.5, learning_rate=0.01, batch_size=48, momentum=0.9),
        ]
    ),
    model=ModelConfig(width=16),
    data=DataConfig(subset=200),
)


@pytest.fixture(scope="module")
def dataset():
    return load_dataset(RECIPE.data)


def train(recipe, dataset, seed=0, replica=0):
    plan = recipe.schedule.plan(dataset.train_size)
    trainer = Trainer(recipe, dataset)
    progress = trainer.start(seed, replica)
    done = []
    for number in range(len(plan.rows)):
        progress = trainer.run_phase(progress, plan, number, Watch(report=done.append))
    return progress, plan, sum(done)


def test_a_run_and_its_measurements(dataset):
    progress, plan, reported = train(RECIPE, dataset)
    assert progress.update == plan.updates == reported == plan.update_at(3)
    assert progress.examples == plan.examples
    evaluated = [r for r in progress.rows if r["train_loss"] is not None]
    assert [r["epoch"] for r in evaluated] == [0, 1, 1.5, 2, 3]
    assert [r["update"] for r in evaluated] == [0, 13, 19, 21, 25]
    assert evaluated[0]["distance"] == 0
    losses = [r["train_loss"] for r in evaluated]
    assert losses[0] == pytest.approx(np.log(10), rel=0.4)
    assert losses[-1] < 0.7 * losses[0]
    distances = [r["update"] for r in progress.rows if r["train_loss"] is None]
    assert distances[:6] == [1, 2, 3, 4, 6, 7]
    updates = [r["update"] for r in progress.rows]
    assert updates == sorted(updates)


def test_a_run_is_a_function_of_its_recipe_and_seed(dataset):
    one, _, _ = train(RECIPE, dataset)
    again, _, _ = train(RECIPE, dataset)
    assert one.rows == again.rows
    other, _, _ = train(RECIPE, dataset, seed=1)
    assert other.rows[0] != one.rows[0]
    replica, _, _ = train(RECIPE, dataset, replica=1)
    assert replica.rows[0] == one.rows[0]
    assert replica.rows[-1] != one.rows[-1]


def test_a_diverged_run_stops_and_says_so(dataset):
    wild = Phase(epochs=3, learning_rate=1e20, batch_size=16, momentum=0.9)
    recipe = replace(RECIPE, schedule=Schedule([wild]))
    progress, plan, _ = train(recipe, dataset)
    assert progress.diverged
    assert progress.update < plan.updates


def stops(plan, number, every):
    row = plan.rows[number]
    feed = Feed(
        DataStream(0, 0, plan.train_size),
        row,
        plan.partial,
        row.stream[0],
        Arrangement(row.batch_size, ModelConfig(), 0),
        with_epochs=False,
    )
    recipe = replace(RECIPE, run=RunConfig(evaluate_every=every))
    return stops_of(recipe, plan, number, feed, row.start_update)


def test_stops_depend_on_the_phase_alone(dataset):
    plan = RECIPE.schedule.plan(200)
    first = RECIPE.schedule.phases[0]
    other = Schedule([first, Phase(epochs=4, learning_rate=1.0, batch_size=7)]).plan(200)
    assert stops(plan, 0, 1.0) == stops(other, 0, 1.0)
    quarter = [s.epoch for s in stops(plan, 1, 0.25) if s.epoch is not None]
    assert quarter == [1.75, 2.0, 2.25, 2.5, 2.75, 3.0]


@pytest.mark.parametrize("form", ["trace", "velocity"])
@pytest.mark.parametrize("kind", ["device", "host"])
def test_a_whole_run_is_the_twins(dataset, form, kind):
    """Three phases in three units, the last with a shape, decay, micro-batches, a replica."""
    falling = {"shape": "cosine", "start": 0.02, "end": 0.001, "warmup": {"updates": 2}}
    recipe = Recipe(
        schedule=Schedule(
            [
                Phase(epochs=0.5, learning_rate=0.05, batch_size=16, momentum=0.9),
                Phase(updates=7, learning_rate=0.02, batch_size=50, momentum=0.5, weight_decay=0.1),
                Phase(
                    examples=150,
                    learning_rate=falling,
                    batch_size=30,
                    momentum=0.9,
                    weight_decay=0.3,
                ),
            ]
        ),
        optimizer=OptimizerConfig(momentum_form=form),
        model=ModelConfig(width=6, depth=2),
        data=DataConfig(subset=200),
        run=RunConfig(driver=kind, micro_batch_size=20, replica=1),
    )
    progress, plan, _ = train(recipe, dataset, seed=3, replica=1)
    assert [row.updates for row in plan.rows] == [6, 7, 5]
    x, y = dataset.train_inputs.reshape(-1, 64).astype(np.float64), dataset.train_labels
    stream, position = DataStream(3, 1, 200), 0
    w = [np.asarray(a) for a in (*progress.initial.weights, *progress.initial.biases)]
    w = [a.astype(np.float64) for a in w]
    v = [np.zeros_like(a) for a in w]
    for row in plan.rows:
        for _ in range(row.updates):
            rate = row.learning_rate
            if not row.constant:  # the phase begins at example 450, its first update at 446
                rate = shape_twin.rate(falling, max(position - 450, 0), 150, 200, 30)
            batch = stream.indices(position, row.batch_size)
            position += row.batch_size
            _, dw, db = twin.loss_and_gradient(w[:3], w[3:], x[batch], y[batch])
            for k, gradient in enumerate([*dw, *db]):
                d = gradient + row.weight_decay * w[k]
                if form == "trace":
                    v[k] = row.momentum * v[k] + d
                    w[k] = w[k] - rate * v[k]
                else:
                    v[k] = row.momentum * v[k] - rate * d
                    w[k] = w[k] + v[k]
    ours = [*progress.state.weights.weights, *progress.state.weights.biases]
    for a, expected in zip(ours, w, strict=True):
        # float32 over 18 updates; leaving out decay, a phase or the replica moves 1e-2 and more.
        np.testing.assert_allclose(np.asarray(a), expected, atol=5e-6)
    assert progress.examples == position
    last = progress.rows[-1]
    assert last["learning_rate"] == pytest.approx(rate, rel=1e-9)
    train_loss, _, _ = twin.loss_and_gradient(w[:3], w[3:], x, y)
    test_x = dataset.evaluation_inputs.reshape(-1, 64).astype(np.float64)
    test_loss, _, _ = twin.loss_and_gradient(w[:3], w[3:], test_x, dataset.evaluation_labels)
    assert last["train_loss"] == pytest.approx(train_loss, rel=1e-5)
    assert last["evaluation_loss"] == pytest.approx(test_loss, rel=1e-5)
    start = [*progress.initial.weights, *progress.initial.biases]
    squares = sum(np.sum((a - np.asarray(b)) ** 2) for a, b in zip(w, start, strict=True))
    assert last["distance"] == pytest.approx(np.sqrt(squares), rel=1e-5)
    assert len({(r["update"], r["epoch"]) for r in progress.rows}) == len(progress.rows)
