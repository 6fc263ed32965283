"""Per-example gradient norms, loops, losses, gradients and the update that adds them up."""

from collections.abc import Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from noisescale.training import optimizers, steps, streams
from noisescale.training.ghost_batch_norm import Statistics
from noisescale.training.optimizers import Hyper, Rule
from noisescale.training.pytree import PyTree
from noisescale.training.self_test import twins
from noisescale.training.self_test.checks import check, off, trees_off
from noisescale.training.self_test.problems import (
    KINK,
    doubles,
    random_examples,
    single,
    small_perceptron,
)
from noisescale.training.steps import Batch, TrainState

# Around the sizes at which a backend changes how it divides the work.
_SIZES = (2**14 - 1, 2**14 + 1, 2**14 + 3, 2**15 - 1, 2**15, 2**15 + 1, 2**16 + 1)
_WIDTHS = (1, 2, 3, 4, 5, 6, 7, 8, 13, 64)


def _gradient_norms(precision: type) -> Iterator[float]:
    """|M r_i|² for rows r_i, which JAX 0.10.2 gets wrong on CPUs (issue 39103 of JAX)."""
    for width in _WIDTHS:
        rng = np.random.default_rng(width)
        matrix: Any = rng.standard_normal((width, width)).astype(precision)
        rows: Any = rng.standard_normal((max(_SIZES), width), np.float32).astype(precision)
        true = np.sum((rows.astype(np.float64) @ matrix.T.astype(np.float64)) ** 2, axis=1)

        def norms(matrix: Array, rows: Array) -> Array:
            return jax.vmap(lambda row: jnp.sum((matrix @ row) ** 2))(rows)

        def all_sizes(matrix: Array, pieces: list[Array]) -> list[Array]:
            return [norms(matrix, piece) for piece in pieces]

        with jax.enable_x64(precision is np.float64):
            # One program for all sizes: compiling takes the time.
            found = jax.jit(all_sizes)(matrix, [rows[:size] for size in _SIZES])
        for size, computed in zip(_SIZES, found, strict=True):
            yield off(computed, true[:size])


@check("per-example |M r|², 7 sizes around powers of two, 10 widths", 2e-6, multiplies=True)
def _gradient_norms_float32() -> Iterator[float]:
    yield from _gradient_norms(np.float32)


# float64 errs by 1e-16; some devices put it together from several float32.
@check("the same sizes and widths in float64", 1e-12)
def _gradient_norms_float64() -> Iterator[float]:
    yield from _gradient_norms(np.float64)


@check("200 updates of least squares: loop, gather, scan", 1e-5, multiplies=True)
def _update_loop() -> Iterator[float]:
    rng = np.random.default_rng(1)
    updates, parts, slots, features = 200, 3, 7, 5
    x = single(rng.standard_normal((101, features)))
    y = single(rng.standard_normal(101))
    batches = rng.integers(0, 101, (updates, parts, slots)).astype(np.int32)
    rate, momentum = 0.05, 0.9

    def path(x: Array, y: Array, batches: Array, hyper: Hyper) -> Array:
        def update(k: Array, carry: tuple[Array, Array, Array]) -> tuple[Array, Array, Array]:
            w, v, seen = carry

            def add(total: Array, rows: Array) -> tuple[Array, None]:
                return total + (x[rows] @ w - y[rows]) @ x[rows], None

            total, _ = jax.lax.scan(add, jnp.zeros(features), batches[k])
            w, v = optimizers.apply_update(w, v, total / (parts * slots), hyper, Rule())
            return w, v, seen.at[k].set(w)

        start = (jnp.zeros(features), jnp.zeros(features), jnp.zeros((updates, features)))
        return jax.lax.fori_loop(0, updates, update, start)[2]

    w, v, true = np.zeros(features), np.zeros(features), []
    for batch in batches:
        rows = batch.ravel()
        inputs = x[rows].astype(np.float64)
        v = momentum * v + inputs.T @ (inputs @ w - y[rows]) / len(rows)
        w = w - rate * v
        true.append(w)
    yield off(jax.jit(path)(x, y, batches, Hyper(rate, momentum)), true)


@check("log Σ exp z − z_y and its gradient, logits up to 1e4", 2e-6)
def _cross_entropy() -> Iterator[float]:
    rng = np.random.default_rng(2)

    def total(logits: Array, labels: Array) -> tuple[Array, Array]:
        losses = steps.cross_entropy(logits, labels)
        return jnp.sum(losses), losses

    value_and_gradient = jax.jit(jax.grad(total, has_aux=True))
    for examples, classes in ((257, 3), (33, 1000)):
        labels = rng.integers(0, classes, examples).astype(np.int32)
        for scale in (1.0, 30.0, 1e4):
            logits = single(scale * rng.standard_normal((examples, classes)))
            gradient, losses = value_and_gradient(logits, labels)
            true, slope = twins.cross_entropy(logits.astype(np.float64), labels)
            yield off(losses, true)
            yield off(gradient, slope)


@check("gradients of a perceptron at odd sizes, with padding", 1e-5, multiplies=True)
def _gradient() -> Iterator[float]:
    static, weights = small_perceptron(features=5, width=7, classes=3)
    leaves = doubles(weights)

    def gradient(weights: PyTree, x: Array, y: Array, counts: Array) -> PyTree:
        return steps.micro_step(static, Rule(), weights, x, y, counts)[0]

    compiled = jax.jit(gradient)
    for size in (1, 129, 2**14 + 1):
        rng = np.random.default_rng(size)
        x, y = random_examples(rng, size, features=5, classes=3)
        counts = np.ones(size) if size == 1 else (rng.random(size) < 0.7).astype(np.float64)
        counts *= twins.perceptron(leaves, x, y, np.ones(size)).nearest > KINK
        true = twins.perceptron(leaves, x, y, counts).gradients
        yield from trees_off(compiled(weights, x, y, single(counts)), true)


@check("an update from uneven micro-batches, with ghost batch norm", 2e-5, multiplies=True)
def _accumulated_update() -> Iterator[float]:
    static, weights = small_perceptron(features=5, width=7, classes=3, batch_norm=True)
    rng = np.random.default_rng(4)
    x, y = random_examples(rng, 101, features=5, classes=3)
    indices = rng.permutation(101)[:72].reshape(3, 2, 12).astype(np.int32)
    counts = np.ones((3, 2, 12), np.float32)
    counts[1, 1, 9:], counts[2, 0, 5:], counts[2, 1] = 0, 0, 0
    batch = Batch(indices, counts, np.zeros_like(indices))
    rate, momentum, decay = 0.1, 0.9, 0.01
    buffer = jax.tree.map(lambda a: single(rng.standard_normal(a.shape)), weights)
    start = Statistics(jnp.full(7, 0.5), jnp.full(7, 2.0))
    state = TrainState(weights, buffer, (start, start))

    def update(state: TrainState, x: Array, y: Array, batch: Batch, key: Array) -> TrainState:
        return steps.update(static, Rule(), state, x, y, batch, key, Hyper(rate, momentum, decay))

    after = jax.jit(update)(state, x, y, batch, streams.dynamics_key(0, 0))
    leaves = doubles(weights)
    total = [np.zeros_like(leaf) for leaf in leaves]
    running = [[np.full(7, 0.5), np.full(7, 2.0)] for _ in range(2)]
    for rows, part in zip(indices, counts.astype(np.float64), strict=True):
        found = twins.perceptron(leaves, x[rows.ravel()], y[rows.ravel()], part.ravel(), ghosts=2)
        total = [a + b for a, b in zip(total, found.gradients, strict=True)]
        for layer, moments in enumerate(found.moments):
            running[layer] = twins.fold(running[layer], moments, mode="sequential", decay=0.9)
    v = [
        momentum * old + gradient / counts.sum() + decay * w
        for old, gradient, w in zip(doubles(buffer), total, leaves, strict=True)
    ]
    yield from trees_off(after.optimizer, v)
    yield from trees_off(after.weights, [w - rate * a for w, a in zip(leaves, v, strict=True)])
    yield from trees_off(after.statistics, [*running[0], *running[1]])


@check("3×3 convolutions and their gradients at odd sizes, strides 1 and 2", 1e-5, multiplies=True)
def _convolution() -> Iterator[float]:
    rng = np.random.default_rng(5)
    x = single(rng.standard_normal((5, 15, 17, 3)))
    kernel = single(rng.standard_normal((3, 3, 3, 7)))
    for stride in (1, 2):

        def image(x: Array, kernel: Array, stride: int = stride) -> Array:
            return jax.lax.conv_general_dilated(
                x,
                kernel,
                (stride, stride),
                ((1, 1), (1, 1)),
                dimension_numbers=("NHWC", "HWIO", "NHWC"),
            )

        def both(x: Array, kernel: Array, slope: Array, image: Any = image) -> Any:
            computed, back = jax.vjp(image, x, kernel)
            return computed, back(slope)

        shape = (5, (14 // stride) + 1, (16 // stride) + 1, 7)
        slope = single(rng.standard_normal(shape))
        true = twins.convolution(x, kernel, slope, stride)
        yield from trees_off(jax.jit(both)(x, kernel, slope), true)
