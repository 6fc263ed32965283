"""The real engine on a synthetic data set: what the benchmarks of training time."""

from dataclasses import dataclass
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from synthetic import CLASSES, LEARNING_RATE, MOMENTUM, WEIGHT_DECAY, synthetic

from noisescale import Phase, Schedule
from noisescale.recipe import ModelConfig, Recipe, RunConfig
from noisescale.training.augmentation import named
from noisescale.training.batches import Arrangement, Feed
from noisescale.training.drivers import Driver, driver_of
from noisescale.training.inputs import Inputs
from noisescale.training.models import Pass, build_model
from noisescale.training.optimizers import Hyper, Rule, start_of
from noisescale.training.parameters import parameters_of
from noisescale.training.steps import TrainState
from noisescale.training.streams import DataStream, dynamics_key, initial_weights_key


@dataclass
class Run:
    """A seed's state and data, after so many updates."""

    state: TrainState
    feed: Feed
    done: int = 0


def hypers(updates: int) -> Hyper:
    """The same values for every update."""
    values = Hyper(LEARNING_RATE, MOMENTUM, WEIGHT_DECAY)
    return Hyper(*(np.full(updates, value, np.float32) for value in values))


class Engine:
    """A model with the driver that a recipe would give it.

    Args:
        kind: of the driver.
        augmentation: see noisescale.training.augmentation.named.
        micro_batch_size: see noisescale.recipe.RunConfig.
    """

    def __init__(
        self,
        model: ModelConfig,
        shape: tuple[int, int, int],
        batch_size: int,
        train_size: int,
        *,
        kind: str = "auto",
        augmentation: str = "none",
        micro_batch_size: int = 0,
    ) -> None:
        self._model, self._shape = model, shape
        self._train_size = train_size
        self.x, self.y = map(jnp.asarray, synthetic(shape, train_size))
        phase = Phase(
            updates=10**6,
            learning_rate=LEARNING_RATE,
            batch_size=batch_size,
            momentum=MOMENTUM,
            weight_decay=WEIGHT_DECAY,
        )
        run = RunConfig(driver=kind, micro_batch_size=micro_batch_size)
        recipe = Recipe(schedule=Schedule([phase]), model=model, run=run)
        (self._row,) = recipe.schedule.plan(train_size).rows
        self._arrangement = Arrangement(batch_size, model, micro_batch_size)
        self.rule = Rule(inputs=Inputs(named(augmentation)))
        self.static = eqx.partition(self._built(0), eqx.is_inexact_array)[1]
        self.kind = driver_of(recipe)
        self.driver = Driver(self.static, self.x, self.y, rule=self.rule, kind=self.kind)
        self.key = dynamics_key(0, 0)

    def _built(self, seed: int) -> Any:
        return build_model(self._model, self._shape, CLASSES, initial_weights_key(seed))

    def begin(self, seed: int = 0) -> Run:
        """A seed's run before its first update."""
        model = self._built(seed)
        weights, _ = eqx.partition(model, eqx.is_inexact_array)
        state = TrainState(
            weights, start_of(weights, self.rule.optimizer), model.start_statistics()
        )
        stream = DataStream(seed, 0, self._train_size)
        feed = Feed(stream, self._row, "carry", 0, self._arrangement, with_epochs=self.rule.draws)
        return Run(state, feed)

    def advance(self, run: Run, updates: int) -> None:
        """So many updates more, done when this returns."""
        most = self.driver.stretch_updates(self._arrangement.shape)
        end = run.done + updates
        while run.done < end:
            until = min(end, run.done + most)
            batches = run.feed.batches(run.done, until)
            hyper = hypers(until - run.done)
            run.state = self.driver.advance(run.state, batches, hyper, self.key)
            run.done = until
        jax.block_until_ready(run.state)

    def finite(self, run: Run) -> bool:
        """Whether its weights still are."""
        return all(bool(jnp.isfinite(a).all()) for a in jax.tree.leaves(run.state.weights))

    def save(self, path: str, updates: int) -> None:
        """What PyTorch has to reproduce, in an .npz.

        The tensors of the initial weights, a batch, its logits in training mode, then tensors and
        momentum buffers after every one of some updates on that batch.
        """
        run = self.begin()
        batches = run.feed.batches(0, 1)
        rows = batches.indices.reshape(-1)
        images, labels = self.x[rows], self.y[rows]
        model = eqx.combine(run.state.weights, self.static)
        logits, _ = model(self.rule.inputs(images), Pass(jnp.ones(len(rows)), 1, None, None))
        found = {"images": images, "labels": labels, "logits": logits}
        found |= _named("weights 0", run.state.weights)
        for number in range(1, updates + 1):
            run.state = self.driver.advance(run.state, batches, hypers(1), self.key)
            found |= _named(f"weights {number}", run.state.weights)
            found |= _named(f"buffers {number}", run.state.optimizer)
        np.savez(path, **{name: np.asarray(array) for name, array in found.items()})


def _named(what: str, tree: Any) -> dict[str, Any]:
    names = [parameter.name for parameter in parameters_of(tree)]
    return {f"{what} {n}": a for n, a in zip(names, jax.tree.leaves(tree), strict=True)}
