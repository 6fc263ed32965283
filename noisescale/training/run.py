"""A run of one seed, phase by phase, with its measurements."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from math import isfinite
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from numpy.typing import NDArray

from noisescale.analysis.plan import Plan, PlanRow
from noisescale.recipe import Recipe
from noisescale.training.data import Dataset
from noisescale.training.drivers import Driver
from noisescale.training.models import build_model
from noisescale.training.probes import Probes
from noisescale.training.steps import PyTree, Rule, TrainState
from noisescale.training.streams import DataStream, initial_weights_key

# Distances are measured at so many updates per decade.
DISTANCES_PER_DECADE = 8

Row = dict[str, float | int | None]


@dataclass(frozen=True, slots=True)
class Progress:
    """A run between two phases; immutable, so that several arms may go on from it.

    Args:
        update, examples: done so far; examples is the position on the data stream.
        rows: measurements so far.
        diverged: the loss was not finite when last looked at.
    """

    seed: int
    replica: int
    state: TrainState
    initial: PyTree
    update: int
    examples: int
    rows: tuple[Row, ...]
    diverged: bool = False


@dataclass(frozen=True, slots=True)
class Stop:
    """A point of a phase at which to measure: after `update` updates of the run."""

    update: int
    epoch: float | None


def stops_of(plan: Plan, number: int, evaluate_every: float) -> list[Stop]:
    """Where phase `number` of a plan is measured.

    Losses at multiples of `evaluate_every` epochs and at the phase's end; distances at
    log-spaced updates. They depend on the phase alone, so arms that share it share them.
    """
    assert plan.train_size is not None
    row = plan.rows[number]
    start, end = (float(x / plan.train_size) for x in (row.start_examples, row.end_examples))
    first, last = int(start / evaluate_every), int(end / evaluate_every) + 1
    grid = [k * evaluate_every for k in range(first, last + 1)]
    epochs = sorted({e for e in grid if start < e < end} | {end})
    stops = [Stop(min(plan.update_at(e), row.start_update + row.updates), e) for e in epochs]
    evaluated = {stop.update for stop in stops}
    decades = np.arange(0, 12 * DISTANCES_PER_DECADE) / DISTANCES_PER_DECADE
    for update in np.unique(np.rint(10.0**decades).astype(np.int64)):
        inside = row.start_update < update <= row.start_update + row.updates
        if inside and update not in evaluated:
            stops.append(Stop(int(update), None))
    return sorted(stops, key=lambda s: (s.update, s.epoch is None, s.epoch or 0.0))


def _last_rate(row: PlanRow, update: int) -> float:
    """The learning rate of the last update done."""
    number = max(update - row.start_update, 1)
    return float(row.learning_rates(number - 1, number)[0])


class Trainer:
    """Data on the device and compiled programs, shared by all runs of a kind of recipe."""

    def __init__(self, recipe: Recipe, dataset: Dataset) -> None:
        self._recipe, self._dataset = recipe, dataset
        self._train = (jnp.asarray(dataset.train_inputs), jnp.asarray(dataset.train_labels))
        self._evaluation = (
            jnp.asarray(dataset.evaluation_inputs),
            jnp.asarray(dataset.evaluation_labels),
        )
        _, static = self._model(seed=0)
        self._driver = Driver(
            static,
            *self._train,
            rule=Rule(
                recipe.optimizer.momentum_form,
                recipe.optimizer.nesterov,
                recipe.optimizer.clip_norm > 0,
            ),
            kind=recipe.run.driver,
            micro_batch_size=recipe.run.micro_batch_size,
        )
        self._probes = Probes(static)

    def _model(self, seed: int) -> tuple[PyTree, PyTree]:
        shape = self._dataset.train_inputs.shape[1:]
        key = initial_weights_key(seed)
        model = build_model(self._recipe.model, shape, self._dataset.classes, key)
        return eqx.partition(model, eqx.is_inexact_array)

    def start(self, seed: int, replica: int = 0) -> Progress:
        """The initial weights of a seed, measured."""
        weights, _ = self._model(seed)
        zeros = jax.tree.map(jnp.zeros_like, weights)
        state = TrainState(weights, zeros)
        begun = Progress(seed, replica, state, weights, 0, 0, ())
        return replace(begun, rows=(self._measured(begun, Stop(0, 0.0), None),))

    def run_phase(
        self,
        progress: Progress,
        row: PlanRow,
        stops: Sequence[Stop],
        report: Callable[[int], None] = lambda updates: None,
    ) -> Progress:
        """The run after one more phase; `report` hears how many updates each call has done.

        A run whose loss is no longer finite stops where that is seen.
        """
        if progress.diverged:
            return progress
        size = self._dataset.train_size
        stream = DataStream(progress.seed, progress.replica, size)
        rows = list(progress.rows)
        for stop in [*stops, None]:
            goal = row.start_update + row.updates if stop is None else stop.update
            while progress.update < goal:
                most = self._driver.stretch_updates(row.batch_size)
                number = min(goal - progress.update, most)
                examples = number * row.batch_size
                done = progress.update - row.start_update
                state = self._driver.advance(
                    progress.state,
                    stream.indices(progress.examples, examples),
                    row.batch_size,
                    row.learning_rates(done, done + number),
                    row.momentum,
                    row.weight_decay,
                    self._clip_norms(progress.update, number),
                )
                progress = replace(
                    progress,
                    state=state,
                    update=progress.update + number,
                    examples=progress.examples + examples,
                )
                report(number)
            if stop is not None:
                measured = self._measured(progress, stop, row)
                rows.append(measured)
                loss = measured["train_loss"]
                if loss is not None and not isfinite(loss):
                    return replace(progress, rows=tuple(rows), diverged=True)
        return replace(progress, rows=tuple(rows))

    def _clip_norms(self, done: int, number: int) -> NDArray[np.float64] | None:
        """The norms that the next updates are clipped to; None if nothing is ever clipped."""
        optimizer = self._recipe.optimizer
        if not optimizer.clip_norm:
            return None
        clips = np.full(number, optimizer.clip_norm)
        if optimizer.clip_updates:
            clips[np.arange(done, done + number) >= optimizer.clip_updates] = np.inf
        return clips

    def _measured(self, progress: Progress, stop: Stop, row: PlanRow | None) -> Row:
        weights = progress.state.weights
        train: tuple[Any, Any] = (None, None)
        evaluation: tuple[Any, Any] = (None, None)
        if stop.epoch is not None:
            train = self._probes.loss_and_error(weights, *self._train)
            evaluation = self._probes.loss_and_error(weights, *self._evaluation)
        epoch = stop.epoch
        if epoch is None:
            epoch = progress.examples / self._dataset.train_size
        return {
            "update": progress.update,
            "epoch": epoch,
            "examples": progress.examples,
            "learning_rate": None if row is None else _last_rate(row, progress.update),
            "batch_size": None if row is None else row.batch_size,
            "momentum": None if row is None else row.momentum,
            "train_loss": train[0],
            "train_error": train[1],
            "evaluation_loss": evaluation[0],
            "evaluation_error": evaluation[1],
            "distance": self._probes.distance(weights, progress.initial),
        }
