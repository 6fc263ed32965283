"""A run of one seed, phase by phase, with its measurements."""

import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from math import isfinite, prod
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from noisescale.analysis.plan import Plan, PlanRow
from noisescale.recipe import Recipe
from noisescale.record import finite
from noisescale.training.batches import Arrangement, Feed
from noisescale.training.data import Dataset
from noisescale.training.data.augmentation import CropFlip
from noisescale.training.drivers import Driver
from noisescale.training.ghost_batch_norm import Statistics
from noisescale.training.landscape import (
    largest_hessian_eigenvalue,
    loss_along_rays,
    loss_at_random_points,
)
from noisescale.training.models import build_model
from noisescale.training.optimizers import Hyper, Rule, start_of
from noisescale.training.parameters import parameters_of
from noisescale.training.probes import Probes
from noisescale.training.pytree import PyTree
from noisescale.training.steps import TrainState
from noisescale.training.stops import Stop, stops_of
from noisescale.training.streams import DataStream, dynamics_key, epoch_order, initial_weights_key

Row = dict[str, Any]
# Wanted length of one compiled call, and how many updates the first of them has.
STRETCH_SECONDS, FIRST_STRETCH = 1.0, 64
# Lengths along a random ray.
LENGTHS = 50


@dataclass(frozen=True, slots=True)
class Progress:
    """A run between two updates; immutable, so that several arms may go on from it.

    Args:
        update, examples: done so far; examples is the position on the data stream.
        rows: measurements so far.
        phase: number of the phase begun last; -1: none.
        phase_update, phase_examples: update and examples where it began.
        stops: how many of its stops have been measured.
        diverged: the loss or the weights were not finite when last looked at.
    """

    seed: int
    replica: int
    state: TrainState
    initial: PyTree
    update: int = 0
    examples: int = 0
    rows: tuple[Row, ...] = ()
    phase: int = -1
    phase_update: int = 0
    phase_examples: int = 0
    stops: int = 0
    diverged: bool = False


@dataclass(slots=True)
class Stopwatch:
    """Seconds spent so far: in updates, in evaluations of loss and error, in other probes."""

    train: float = 0.0
    evaluate: float = 0.0
    probe: float = 0.0


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

    def __init__(self, recipe: Recipe, dataset: Dataset) -> None:
        self.recipe, self._dataset = recipe, dataset
        self._train = (jnp.asarray(dataset.train_inputs), jnp.asarray(dataset.train_labels))
        self._evaluation = (
            jnp.asarray(dataset.evaluation_inputs),
            jnp.asarray(dataset.evaluation_labels),
        )
        weights, self._static, _ = self._model(seed=0)
        decay = recipe.schedule.batch_norm_decay
        augmentation = None
        if recipe.data.augmentation == "crop-flip":
            fill = recipe.data.fill / 255
            augmentation = CropFlip(recipe.data.padding, fill, dataset.image_shape)
        self._rule = Rule(
            recipe.optimizer,
            recipe.schedule.decay,
            recipe.model.running_statistics,
            0.9 if decay is None else decay,
            augmentation,
        )
        self._driver = Driver(self._static, *self._train, rule=self._rule, kind=recipe.run.driver)
        self._draws = self._rule.draws or eqx.combine(weights, self._static).draws
        self._parameters = parameters_of(weights)
        self._probes = Probes(self._static, self._rule, self._parameters)
        self._arrangements: dict[int, Arrangement] = {}
        self._stretch: dict[int, int] = {}

    def _model(self, seed: int) -> tuple[PyTree, PyTree, Any]:
        shape = self._dataset.train_inputs.shape[1:]
        key = initial_weights_key(seed)
        model = build_model(self.recipe.model, shape, self._dataset.classes, key)
        return *eqx.partition(model, eqx.is_inexact_array), model.start_statistics()

    @property
    def compiled(self) -> int:
        """Programs compiled for updates: one per distinct shape of a micro-batched batch."""
        return self._driver.compiled()

    def check(self, plan: Plan) -> None:
        """InputError if a batch of the plan cannot be laid out in whole ghosts."""
        for row in plan.rows:
            self._arrangement(row.batch_size)

    def start(self, seed: int, replica: int = 0) -> Progress:
        """The initial weights of a seed, measured."""
        begun = self.blank(seed, replica)
        return replace(begun, rows=(self._measured(begun, Stop(0, 0.0, True), None, None),))

    def blank(self, seed: int, replica: int = 0) -> Progress:
        """The initial weights of a seed."""
        weights, _, statistics = self._model(seed)
        state = TrainState(weights, start_of(weights, self.recipe.optimizer), statistics)
        return Progress(seed, replica, state, weights)

    def landscape(self, progress: Progress) -> dict[str, Any]:
        """The training loss along random rays and at random points around the run's weights.

        As [probe] asks for it: {} where it asks for nothing. Batch norm's running statistics stay
        as they are.
        """
        probe, state = self.recipe.probe, progress.state
        if not probe.rays and not probe.random_points:
            return {}
        loss = self._probes.mean_loss(state.statistics, *self._some(probe.landscape_examples))
        found: dict[str, Any] = {"loss": finite(float(loss(state.weights)))}
        if probe.rays:
            lengths = np.linspace(0.0, probe.longest, LENGTHS + 1)[1:]
            losses = loss_along_rays(
                loss, state.weights, lengths, rays=probe.rays, seed=progress.seed
            )
            found["rays"] = {"length": lengths.tolist(), "loss": finite(losses.tolist())}
        if probe.random_points:
            at, losses = loss_at_random_points(
                loss,
                state.weights,
                points=probe.random_points,
                longest=probe.longest,
                seed=progress.seed,
            )
            found["points"] = {"length": finite(at.tolist()), "loss": finite(losses.tolist())}
        return found

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
        stops = stops_of(self.recipe, plan, number, feed, progress.phase_update)
        for stop in stops[progress.stops :]:
            before = None
            if stop.probe and stop.update > progress.update:
                # The last update by itself, for its norm.
                progress = self._to(progress, stop.update - 1, row, feed, watch)
                before = progress.state.weights
                progress = self._advance(progress, 1, row, feed, watch)
            progress = self._to(progress, stop.update, row, feed, watch)
            measured = self._measured(progress, stop, row, before, feed, watch.clock)
            over = stop.check and measured["distance"] >= self.recipe.run.until_distance[number]
            lost = not isfinite(measured["distance"])
            if (over or lost) and stop.epoch is None:
                epoch = progress.examples / self._dataset.train_size
                last = replace(stop, epoch=epoch)
                measured = self._measured(progress, last, row, before, feed, watch.clock)
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
                self._driver.stretch_updates(row.batch_size),
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
        state = self._driver.advance(progress.state, batches, hyper, key, row.batch_size)
        jax.block_until_ready(state)
        seconds = time.perf_counter() - began
        watch.clock.train += seconds
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
        variance = 0.0
        if optimizer.noise_batch_size:
            variance = row.batch_size / optimizer.noise_batch_size - 1.0
        resets = optimizer.momentum_reset == "epoch"
        return Hyper(
            learning_rate=row.learning_rates(done, done + number),
            momentum=np.full(number, row.momentum),
            weight_decay=np.full(number, row.weight_decay),
            clip_norm=clips,
            noise_variance=np.full(number, variance),
            keep=np.where(begins, 0.0, 1.0) if resets else np.ones(number),
        )

    def _arrangement(self, batch_size: int) -> Arrangement:
        if batch_size not in self._arrangements:
            run, model = self.recipe.run, self.recipe.model
            self._arrangements[batch_size] = Arrangement(batch_size, model, run.micro_batch_size)
        return self._arrangements[batch_size]

    def _measured(
        self,
        progress: Progress,
        stop: Stop,
        row: PlanRow | None,
        before: PyTree | None,
        feed: Feed | None = None,
        clock: Stopwatch | None = None,
    ) -> Row:
        clock = clock or Stopwatch()
        epoch = progress.examples / self._dataset.train_size if stop.epoch is None else stop.epoch
        began = time.perf_counter()
        evaluated = self._evaluated(progress, stop, row)
        clock.evaluate += time.perf_counter() - began
        began = time.perf_counter()
        probed = self._probed(progress, stop, row, before, feed)
        clock.probe += time.perf_counter() - began
        return {
            "update": progress.update,
            "epoch": epoch,
            "examples": progress.examples,
            "learning_rate": None if row is None else _last_rate(row, progress),
            "batch_size": None if row is None else row.batch_size,
            "momentum": None if row is None else row.momentum,
            **evaluated,
            **probed,
        }

    def _evaluated(self, progress: Progress, stop: Stop, row: PlanRow | None) -> Row:
        """Loss and error, where they are wanted."""
        state, probe = progress.state, self.recipe.probe
        found: Row = dict.fromkeys(
            ("train_loss", "train_error", "evaluation_loss", "evaluation_error")
        )
        recalibrates = bool(state.statistics and probe.recalibration_examples)
        if recalibrates:
            found |= dict.fromkeys(("recalibrated_loss", "recalibrated_error"))
        if probe.hessian_examples:
            found |= dict.fromkeys(("hessian_eigenvalue",))
        if stop.epoch is None:
            return found
        for name, data in (("train", self._train), ("evaluation", self._evaluation)):
            values = self._probes.loss_and_error(state.weights, state.statistics, *data)
            found[f"{name}_loss"], found[f"{name}_error"] = values
        if recalibrates:
            statistics = self._recalibrated(progress, row)
            values = self._probes.loss_and_error(state.weights, statistics, *self._evaluation)
            found["recalibrated_loss"], found["recalibrated_error"] = values
        if probe.hessian_examples:
            loss = self._probes.mean_loss(state.statistics, *self._some(probe.hessian_examples))
            found["hessian_eigenvalue"] = largest_hessian_eigenvalue(loss, state.weights).value
        return found

    def _some(self, number: int) -> tuple[jax.Array, jax.Array]:
        """The same training examples for all runs."""
        size = self._dataset.train_size
        order = epoch_order(0, 0, 0, size)[:number]
        return self._train[0][order], self._train[1][order]

    def _recalibrated(self, progress: Progress, row: PlanRow | None) -> tuple[Statistics, ...]:
        size = self._dataset.train_size
        number = min(size, self.recipe.probe.recalibration_examples)
        order = epoch_order(0, 0, 0, size)[:number].astype(np.int32)
        ghost = self.recipe.model.ghost_batch_size or (number if row is None else row.batch_size)
        weights = progress.state.weights
        return self._probes.recalibrated(weights, self._train[0], order, min(ghost, number))

    def _probed(
        self,
        progress: Progress,
        stop: Stop,
        row: PlanRow | None,
        before: PyTree | None,
        feed: Feed | None,
    ) -> Row:
        """Where the weights are, and at log-spaced updates everything else."""
        probe, weights = self.recipe.probe, progress.state.weights
        squares = self._probes.squares(
            weights, progress.initial, weights if before is None else before
        )
        whole = self._probes.way(squares)
        first = self._probes.way(squares, [0])
        found: Row = {
            "distance": (whole if probe.distance == "whole" else first).distance,
            "weight_norm": whole.norm,
            "angle": whole.angle,
            "update_norm": None if before is None else float(np.sum(squares.update)) ** 0.5,
            "without_norm_parameters": None,
            "layers": None,
            "sketch": None,
            "gradient_moments": None,
        }
        if not stop.probe:
            return found
        plain = [k for k, p in enumerate(self._parameters) if not p.is_norm]
        if len(plain) < len(self._parameters):
            found["without_norm_parameters"] = self._probes.way(squares, plain)._asdict()
        if probe.layers:
            found["layers"] = {
                p.name: self._probes.way(squares, [k])._asdict()
                for k, p in enumerate(self._parameters)
            }
        if probe.sketch:
            origin = progress.initial if progress.update else None
            found["sketch"] = self._probes.sketch(weights, origin, probe.sketch)
        if probe.gradient_parts and row is not None and feed is not None:
            found["gradient_moments"] = self._moments(progress, row, feed)
        return found

    def _moments(self, progress: Progress, row: PlanRow, feed: Feed) -> Row | None:
        """Of the batch that comes next, in equal parts of whole ghosts; None if it has but one."""
        done = progress.update - progress.phase_update
        if done >= row.updates:
            return None
        shape = self._arrangement(row.batch_size).equal_parts(self.recipe.probe.gradient_parts)
        batch = None if shape is None else feed.filled(done, shape)
        if shape is None or batch is None:
            return None
        key = dynamics_key(progress.seed, progress.replica)
        hyper = Hyper(*(a[0] for a in self._hyper(progress.update, done, 1, row, [False])))
        small, big = self._probes.gradient_moments(progress.state, *self._train, batch, key, hyper)
        return {
            "small_batch": prod(shape[1:]),
            "big_batch": prod(shape),
            "small_sq_norm": small,
            "big_sq_norm": big,
        }


def _last_rate(row: PlanRow, progress: Progress) -> float:
    """The learning rate of the last update done."""
    number = max(progress.update - progress.phase_update, 1)
    return float(row.learning_rates(number - 1, number)[0])
