"""A run of one seed, phase by phase, with its measurements."""

import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from math import isfinite
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from noisescale.analysis.plan import Plan, PlanRow
from noisescale.recipe import Recipe
from noisescale.training.batches import Arrangement, Feed
from noisescale.training.data import Dataset
from noisescale.training.drivers import Driver, driver_of
from noisescale.training.inputs import inputs_of
from noisescale.training.measurements import Measurements, Progress, Stopwatch
from noisescale.training.mesh import mesh_over, on_all
from noisescale.training.models import Factory, build_model
from noisescale.training.optimizers import Hyper, Rule, start_of
from noisescale.training.parameters import parameters_of
from noisescale.training.probes import (
    CONVOLUTIONAL_CHUNK,
    CONVOLUTIONAL_CHUNK_ON_CPU,
    EVALUATION_CHUNK,
    Probes,
)
from noisescale.training.processes import together
from noisescale.training.pytree import PyTree
from noisescale.training.steps import TrainState
from noisescale.training.stops import Stop, stops_of
from noisescale.training.streams import DataStream, dynamics_key, initial_weights_key

# Wanted length of one compiled call, and how many updates the first of them has.
STRETCH_SECONDS, FIRST_STRETCH = 1.0, 64


@dataclass(frozen=True, slots=True)
class Watch:
    """Who looks at a run between stretches of updates.

    Args:
        report: hears how many updates each call has done.
        between: sees the run whenever it could be stopped and gone on with; it may raise.
        clock: where the seconds go.
    """

    report: Callable[[int], None] = lambda updates: None
    between: Callable[[Progress], None] = lambda progress: None
    clock: Stopwatch = field(default_factory=Stopwatch)


class Trainer:
    """Data on the device and compiled programs, shared by all runs of a kind of recipe."""

    def __init__(self, recipe: Recipe, dataset: Dataset, factory: Factory | None = None) -> None:
        self.recipe, self._dataset = recipe, dataset
        self._factory = factory
        self._mesh = mesh_over(recipe.run.devices)
        self._train = on_all(
            self._mesh, (jnp.asarray(dataset.rows[0]), jnp.asarray(dataset.train_labels))
        )
        weights, self._static, _ = self._model(seed=0)
        decay = recipe.schedule.batch_norm_decay
        self._rule = Rule(
            recipe.optimizer,
            recipe.schedule.decay,
            recipe.model.running_statistics,
            0.9 if decay is None else decay,
            inputs_of(recipe.data, dataset),
            recipe.model.dtype,
            self._mesh,
        )
        kind = driver_of(recipe)
        self._driver = Driver(self._static, *self._train, rule=self._rule, kind=kind)
        self._draws = self._rule.draws or eqx.combine(weights, self._static).draws
        parameters = parameters_of(weights)
        chunk = EVALUATION_CHUNK
        if recipe.model.convolutional:
            on_cpu = jax.default_backend() == "cpu"
            chunk = CONVOLUTIONAL_CHUNK_ON_CPU if on_cpu else CONVOLUTIONAL_CHUNK
        probes = Probes(self._static, self._rule, parameters, chunk=chunk, loops=kind == "device")
        self._measurements = Measurements(
            recipe, dataset, self._train, probes, parameters, self._arrangement
        )
        self._arrangements: dict[int, Arrangement] = {}
        self._stretch: dict[int, int] = {}

    def _model(self, seed: int) -> tuple[PyTree, PyTree, Any]:
        shape, key = self._dataset.image_shape, initial_weights_key(seed)
        model = build_model(self.recipe.model, shape, self._dataset.classes, key, self._factory)
        return *eqx.partition(model, eqx.is_inexact_array), model.start_statistics()

    @property
    def compiled(self) -> int:
        """Programs compiled for gradients, see Driver.compiled."""
        return self._driver.compiled()

    def start(self, seed: int, replica: int = 0) -> Progress:
        """The initial weights of a seed, measured."""
        begun = self.blank(seed, replica)
        first = self._measurements.row(begun, Stop(0, 0.0, True), Stopwatch())
        return replace(begun, rows=(first,))

    def blank(self, seed: int, replica: int = 0) -> Progress:
        """The initial weights of a seed."""
        weights, _, statistics = self._model(seed)
        state = TrainState(weights, start_of(weights, self.recipe.optimizer), statistics)
        return self.placed(Progress(seed, replica, state, weights))

    def placed(self, progress: Progress) -> Progress:
        """The run on the trainer's devices."""
        state, initial = on_all(self._mesh, (progress.state, progress.initial))
        return replace(progress, state=state, initial=initial)

    def landscape(self, progress: Progress) -> dict[str, Any]:
        """See Measurements.landscape."""
        return self._measurements.landscape(progress)

    def run_phase(
        self, progress: Progress, plan: Plan, number: int, watch: Watch | None = None
    ) -> Progress:
        """The run after phase `number` of the plan, from its begin or from inside it.

        A run whose loss or weights are no longer finite stops where that is seen.
        """
        if progress.diverged:
            return progress
        watch = watch or Watch()
        if progress.phase < number:
            progress = replace(
                progress,
                phase=number,
                phase_update=progress.update,
                phase_examples=progress.examples,
                stops=0,
            )
        row = plan.rows[number]
        stream = DataStream(progress.seed, progress.replica, self._dataset.train_size)
        feed = Feed(
            stream,
            row,
            plan.partial,
            progress.phase_examples,
            self._arrangement(row.batch_size),
            with_epochs=self._draws,
            batch_before=next((r.batch_size for r in plan.rows[:number][::-1] if r.updates), 0),
        )
        distances = self.recipe.run.until_distance
        until = distances[number] if number < len(distances) else 0.0
        stops = stops_of(self.recipe, plan, number, feed, progress.phase_update)
        for stop in stops[progress.stops :]:
            before = None
            if stop.probe and stop.update > progress.update:
                # The last update by itself, for its norm.
                progress = self._to(progress, stop.update - 1, row, feed, watch)
                before = progress.state.weights
                progress = self._advance(progress, 1, row, feed, watch)
            progress = self._to(progress, stop.update, row, feed, watch)
            where = (row, feed, before)
            measured = self._measurements.row(progress, stop, watch.clock, *where)
            over = stop.check and self._measurements.distance(progress) >= until
            lost = not isfinite(measured["distance"])
            if (over or lost) and stop.epoch is None:
                epoch = progress.examples / self._dataset.train_size
                last = replace(stop, epoch=epoch)
                measured = self._measurements.row(progress, last, watch.clock, *where)
            if over or lost or not stop.check:
                progress = replace(progress, rows=(*progress.rows, measured))
            progress = replace(progress, stops=len(stops) if over else progress.stops + 1)
            if lost or not isfinite(measured["train_loss"] or 0.0):
                progress = replace(progress, diverged=True)
            watch.between(progress)
            if over or progress.diverged:
                return progress
        return progress

    def _to(
        self, progress: Progress, goal: int, row: PlanRow, feed: Feed, watch: Watch
    ) -> Progress:
        """The run after `goal` updates, in stretches of about a second."""
        while progress.update < goal:
            most = min(
                self._driver.stretch_updates(self._arrangement(row.batch_size).shape),
                self._stretch.get(row.batch_size, FIRST_STRETCH),
            )
            progress = self._advance(progress, min(goal - progress.update, most), row, feed, watch)
            watch.between(progress)
        return progress

    def _advance(
        self, progress: Progress, number: int, row: PlanRow, feed: Feed, watch: Watch
    ) -> Progress:
        began = time.perf_counter()
        done = progress.update - progress.phase_update
        batches = feed.batches(done, done + number)
        hyper = self._hyper(progress.update, done, number, row, batches.begins_epoch)
        key = dynamics_key(progress.seed, progress.replica)
        state = self._driver.advance(progress.state, batches, hyper, key)
        jax.block_until_ready(state)
        seconds = time.perf_counter() - began
        watch.clock.train += seconds
        (seconds,) = together([seconds])
        # Twice as long or half as long: results do not depend on it.
        most = self._stretch.get(row.batch_size, FIRST_STRETCH)
        if seconds > STRETCH_SECONDS:
            self._stretch[row.batch_size] = max(1, number // 2)
        elif number == most and seconds < STRETCH_SECONDS / 2:
            self._stretch[row.batch_size] = 2 * most
        watch.report(number)
        return replace(
            progress,
            state=state,
            update=progress.update + number,
            examples=feed.position(done + number),
        )

    def _hyper(self, update: int, done: int, number: int, row: PlanRow, begins: Any) -> Hyper:
        """Every value for each of the next updates."""
        optimizer = self.recipe.optimizer
        clips = np.full(number, optimizer.clip_norm or np.inf)
        if optimizer.clip_updates:
            clips[np.arange(update, update + number) >= optimizer.clip_updates] = np.inf
        resets = optimizer.momentum_reset == "epoch"
        return Hyper(
            learning_rate=row.learning_rates(done, done + number),
            momentum=np.full(number, row.momentum),
            weight_decay=np.full(number, row.weight_decay),
            clip_norm=clips,
            noise_variance=np.full(number, optimizer.noise_variance(row.batch_size)),
            keep=np.where(begins, 0.0, 1.0) if resets else np.ones(number),
        )

    def _arrangement(self, batch_size: int) -> Arrangement:
        if batch_size not in self._arrangements:
            run, model = self.recipe.run, self.recipe.model
            self._arrangements[batch_size] = Arrangement(batch_size, model, run.micro_batch_size)
        return self._arrangements[batch_size]
