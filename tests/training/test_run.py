from dataclasses import replace

import numpy as np
import pytest

from noisescale import Phase, Schedule
from noisescale.recipe import DataConfig, ModelConfig, Recipe
from noisescale.training.data import load_dataset
from noisescale.training.run import Trainer, stops_of

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
    for number, row in enumerate(plan.rows):
        stops = stops_of(plan, number, recipe.run.evaluate_every)
        progress = trainer.run_phase(progress, row, stops, done.append)
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


def test_stops_depend_on_the_phase_alone(dataset):
    plan = RECIPE.schedule.plan(200)
    first = RECIPE.schedule.phases[0]
    other = Schedule([first, Phase(epochs=4, learning_rate=1.0, batch_size=7)]).plan(200)
    assert stops_of(plan, 0, 1.0) == stops_of(other, 0, 1.0)
    quarter = [s.epoch for s in stops_of(plan, 1, 0.25) if s.epoch is not None]
    assert quarter == [1.75, 2.0, 2.25, 2.5, 2.75, 3.0]
