"""What an update does with a gradient, and the loops that drive updates."""

from collections.abc import Iterator
from functools import partial
from math import inf, sqrt
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from noisescale.recipe import OptimizerConfig
from noisescale.training import drivers, optimizers, streams
from noisescale.training.batches import Batches
from noisescale.training.models import MultilayerPerceptron
from noisescale.training.optimizers import Hyper, Rule
from noisescale.training.parameters import parameters_of
from noisescale.training.pytree import PyTree
from noisescale.training.self_test import twins
from noisescale.training.self_test.checks import check, trees_off
from noisescale.training.self_test.problems import (
    doubles,
    filled,
    random_examples,
    single,
    small_perceptron,
)
from noisescale.training.steps import TrainState


@check("gradients clipped and normalized", 2e-6)
def _clipping() -> Iterator[float]:
    rng = np.random.default_rng(8)
    gradient = [single(rng.standard_normal(shape)) for shape in ((7, 3), (5,))]
    length = sqrt(sum(float(np.sum(g.astype(np.float64) ** 2)) for g in gradient))
    cuts = jax.jit(lambda g, norm: (optimizers.clipped(g, norm), optimizers.normalized(g, norm)))
    for norm in (0.3 * length, 3.0 * length, inf):
        shorter, scaled = min(1.0, norm / length), 1.0 if norm == inf else norm / length
        true = [factor * g.astype(np.float64) for factor in (shorter, scaled) for g in gradient]
        yield from trees_off(cuts(gradient, np.float32(norm)), true)
    nothing = [np.zeros_like(g) for g in gradient]
    yield from trees_off(cuts(nothing, np.float32(1.0)), 2 * nothing)


# (Nesterov's, decay, whether norms and biases decay), for each of the three forms.
_MOMENTUM_RULES = tuple(
    Rule(
        OptimizerConfig(
            momentum_form=form,
            nesterov=nesterov,
            decay_norm_and_bias=every,
            momentum_reset="epoch" if nesterov else "never",
        ),
        decay,
    )
    for form in ("trace", "velocity", "dampened")
    for nesterov, decay, every in (
        (False, "coupled", True),
        (True, "coupled", False),
        (True, "decoupled", True),
        (False, "independent", False),
    )
)


@check("three updates in every form of momentum and weight decay", 2e-6)
def _momentum() -> Iterator[float]:
    rates, keeps, momentum, decay = (0.3, 0.1, 0.2), (1.0, 0.0, 1.0), 0.8, 0.05
    _, weights = filled(partial(MultilayerPerceptron, 2, 3, 1, 2, batch_norm=True))
    rng = np.random.default_rng(9)
    buffer = jax.tree.map(lambda a: single(rng.standard_normal(a.shape)), weights)
    gradients = jax.tree.map(lambda a: single(rng.standard_normal((3, *a.shape))), weights)
    values = (rates, [momentum] * 3, [decay] * 3, [inf] * 3, [0.0] * 3, keeps)
    hypers = Hyper(*(single(column) for column in values))

    def moved(weights: PyTree, buffer: PyTree, gradients: PyTree, hypers: Hyper) -> Any:
        found = []
        for rule in _MOMENTUM_RULES:

            def update(state: Any, given: Any, rule: Rule = rule) -> tuple[Any, None]:
                (w, v), (gradient, hyper) = state, given
                return optimizers.apply_update(w, v, gradient, hyper, rule), None

            found.append(jax.lax.scan(update, (weights, buffer), (gradients, hypers))[0])
        return found

    found = jax.jit(moved)(weights, buffer, gradients, hypers)
    decays = [not (p.is_norm or p.is_bias) for p in parameters_of(weights)]
    for rule, state in zip(_MOMENTUM_RULES, found, strict=True):
        optimizer, every = rule.optimizer, rule.optimizer.decay_norm_and_bias
        w, v = doubles(weights), doubles(buffer)
        for update, (rate, keep) in enumerate(zip(rates, keeps, strict=True)):
            for k, gradient in enumerate(doubles(gradients)):
                lost = decay * w[k] if every or decays[k] else 0.0 * w[k]
                direction = gradient[update] + (lost if rule.decay == "coupled" else 0.0)
                kept = v[k] * keep if optimizer.momentum_reset == "epoch" else v[k]
                step, v[k] = twins.momentum_step(optimizer, kept, direction, rate, momentum)
                after = {"coupled": 0.0, "decoupled": rate, "independent": 1.0}
                w[k] = w[k] + step - after[rule.decay] * lost
        yield from trees_off(state, [*w, *v])


# In float32 1 − 0.999^t is known to 5e-5 of itself, in a step of a tenth of the weights.
@check("four updates of Adam and AdamW", 2e-5)
def _adam() -> Iterator[float]:
    rate, decay, updates = 0.1, 0.05, 4
    rng = np.random.default_rng(10)
    w_0 = [single(rng.standard_normal(shape)) for shape in ((5, 3), (7,))]
    gradients = [[single(rng.standard_normal(w.shape)) for w in w_0] for _ in range(updates)]
    rules = [
        Rule(OptimizerConfig(name="adam"), "coupled"),
        Rule(OptimizerConfig(name="adamw", beta1=0.8), "decoupled"),
    ]

    def moved(weights: PyTree, gradients: Any, hyper: Hyper) -> Any:
        found = []
        for rule in rules:
            w, state = weights, optimizers.start_of(weights, rule.optimizer)
            for gradient in gradients:
                w, state = optimizers.apply_update(w, state, gradient, hyper, rule)
            found.append(w)
        return found

    found = jax.jit(moved)(w_0, gradients, Hyper(rate, weight_decay=decay))
    for rule, computed in zip(rules, found, strict=True):
        b_1, b_2, epsilon = rule.optimizer.beta1, rule.optimizer.beta2, rule.optimizer.epsilon
        coupled, true = rule.decay == "coupled", []
        for k, start in enumerate(w_0):
            w = start.astype(np.float64)
            first, second = np.zeros_like(w), np.zeros_like(w)
            for t, gradient in enumerate(gradients, 1):
                g = gradient[k] + decay * w if coupled else gradient[k].astype(np.float64)
                first = b_1 * first + (1 - b_1) * g
                second = b_2 * second + (1 - b_2) * g * g
                step = (first / (1 - b_1**t)) / (np.sqrt(second / (1 - b_2**t)) + epsilon)
                w = w - rate * step - (0.0 if coupled else rate * decay * w)
            true.append(w)
        yield from trees_off(computed, true)


@check("30 updates by the device loop and by the host loop", 2e-5, multiplies=True)
def _drivers() -> Iterator[float]:
    static, weights = small_perceptron(features=5, width=7, classes=3)
    rng = np.random.default_rng(11)
    x, y = random_examples(rng, 101, features=5, classes=3)
    updates, slots, momentum, decay = 30, 7, 0.9, 0.01
    shape = (1, 1, slots)
    indices = rng.integers(0, 101, (updates, slots)).astype(np.int32)
    batches = Batches(
        indices.reshape(updates, *shape),
        np.ones(shape, np.float32),
        np.zeros(shape, np.int32),
        np.zeros(updates, np.bool_),
        np.ones(updates, np.float32),
    )
    rates = np.linspace(0.1, 0.02, updates)
    constants = (momentum, decay, inf, 0.0, 1.0)
    hypers = Hyper(rates, *(np.full(updates, value) for value in constants))
    key = streams.dynamics_key(0, 0)
    ends = []
    for kind in ("device", "host"):
        driver = drivers.Driver(static, jnp.asarray(x), jnp.asarray(y), rule=Rule(), kind=kind)
        state = TrainState(weights, jax.tree.map(np.zeros_like, weights))
        ends.append(driver.advance(state, batches, hypers, key).weights)
    w = doubles(weights)
    v = [np.zeros_like(a) for a in w]
    for rows, rate in zip(indices, rates, strict=True):
        gradients = twins.perceptron(w, x[rows], y[rows], np.ones(slots)).gradients
        for k, gradient in enumerate(gradients):
            v[k] = momentum * v[k] + gradient / slots + decay * w[k]
            w[k] = w[k] - rate * v[k]
    for end in ends:
        yield from trees_off(end, w)
    yield from trees_off(ends[0], doubles(ends[1]))
