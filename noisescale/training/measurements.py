"""What is measured of a run between updates: a row of numbers, and the landscape on request."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from math import prod
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from noisescale.analysis.plan import PlanRow
from noisescale.recipe import Recipe
from noisescale.record import finite
from noisescale.training.batches import Arrangement, Feed
from noisescale.training.data import Dataset
from noisescale.training.ghost_batch_norm import Statistics
from noisescale.training.landscape import (
    largest_hessian_eigenvalue,
    loss_along_rays,
    loss_at_random_points,
)
from noisescale.training.mesh import on_all
from noisescale.training.optimizers import Hyper
from noisescale.training.parameters import Parameter
from noisescale.training.probes import Probes
from noisescale.training.pytree import PyTree
from noisescale.training.steps import TrainState
from noisescale.training.stops import Stop
from noisescale.training.streams import dynamics_key, epoch_order

Row = dict[str, Any]
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


class Measurements:
    """The measurements that a recipe asks for.

    Args:
        train: the training set on the device.
        parameters: the model's tensors.
        arrangement: how a batch of a size is laid out.
    """

    def __init__(
        self,
        recipe: Recipe,
        dataset: Dataset,
        train: tuple[jax.Array, jax.Array],
        probes: Probes,
        parameters: tuple[Parameter, ...],
        arrangement: Callable[[int], Arrangement],
    ) -> None:
        self._recipe, self._train, self._probes = recipe, train, probes
        self._parameters, self._arrangement = parameters, arrangement
        evaluation = (dataset.rows[1], dataset.evaluation_labels)
        self._evaluation = on_all(probes.mesh, tuple(jnp.asarray(a) for a in evaluation))

    def distance(self, progress: Progress) -> float:
        """‖w − w_0‖₂ over all weights."""
        weights = progress.state.weights
        return self._probes.way(self._probes.squares(weights, progress.initial, weights)).distance

    def row(
        self,
        progress: Progress,
        stop: Stop,
        clock: Stopwatch,
        row: PlanRow | None = None,
        feed: Feed | None = None,
        before: PyTree | None = None,
    ) -> Row:
        """What is measured at a stop.

        Args:
            clock: gets the seconds that it took.
            row, feed: of the phase; None before the first.
            before: the weights before the last update, where its norm is wanted.
        """
        epoch = progress.examples / len(self._train[1]) if stop.epoch is None else stop.epoch
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
        state, probe = progress.state, self._recipe.probe
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
        order = epoch_order(0, 0, 0, len(self._train[1]))[:number]
        return self._train[0][order], self._train[1][order]

    def _recalibrated(self, progress: Progress, row: PlanRow | None) -> tuple[Statistics, ...]:
        size = len(self._train[1])
        number = min(size, self._recipe.probe.recalibration_examples)
        order = epoch_order(0, 0, 0, size)[:number].astype(np.int32)
        ghost = self._recipe.model.ghost_batch_size or (number if row is None else row.batch_size)
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
        probe, weights = self._recipe.probe, progress.state.weights
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
        shape = self._arrangement(row.batch_size).equal_parts(self._recipe.probe.gradient_parts)
        batch = None if shape is None else feed.filled(done, shape)
        if shape is None or batch is None:
            return None
        key = dynamics_key(progress.seed, progress.replica)
        variance = self._recipe.optimizer.noise_variance(row.batch_size)
        hyper = Hyper(learning_rate=0.0, noise_variance=variance)
        small, big = self._probes.gradient_moments(progress.state, *self._train, batch, key, hyper)
        return {
            "small_batch": prod(shape[1:]),
            "big_batch": prod(shape),
            "small_sq_norm": small,
            "big_sq_norm": big,
        }

    def landscape(self, progress: Progress) -> dict[str, Any]:
        """The training loss along random rays and at random points around the run's weights.

        As [probe] asks for it: {} where it asks for nothing. Batch norm's running statistics stay
        as they are.
        """
        probe, state = self._recipe.probe, progress.state
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


def _last_rate(row: PlanRow, progress: Progress) -> float:
    """The learning rate of the last update done."""
    number = max(progress.update - progress.phase_update, 1)
    return float(row.learning_rates(number - 1, number)[0])
