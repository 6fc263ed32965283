"""Whether this machine and these libraries compute what training needs.

A release of JAX once computed wrong numbers for arrays of some sizes, without a word. So every
kernel that training uses runs here, compiled as training compiles it, against a twin: the same
formula written down in NumPy, in float64, as plainly as possible.

Tolerances: one float32 operation errs by 6e-8 of its result, and a sum of n terms by some √n times
that, so 2e-6 to 1e-5 of the largest value is what correct kernels of this size stay within on any
device. A wrong factor or sign, or a wrong element, is off by 1e-3 and more.
"""

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from math import inf, nan, sqrt
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array
from numpy.typing import NDArray

from noisescale.errors import unknown_name
from noisescale.recipe import OptimizerConfig
from noisescale.training import (
    drivers,
    ghost_batch_norm,
    landscape,
    optimizers,
    probes,
    steps,
    streams,
)
from noisescale.training.batches import Batches
from noisescale.training.ghost_batch_norm import GhostBatchNorm, Moments, Statistics
from noisescale.training.models import MultilayerPerceptron, Pass
from noisescale.training.optimizers import Hyper, Rule
from noisescale.training.parameters import parameters_of
from noisescale.training.pytree import PyTree
from noisescale.training.steps import Batch, TrainState

Numbers = NDArray[np.float64]
Report = Callable[[str], None]

# Nearer to the kink of a ReLU, or to a tie of two logits, float32 may fall on the other side.
_KINK = 1e-4


@dataclass(frozen=True, slots=True)
class Check:
    """What one kernel computed here.

    Args:
        name: of the kernel.
        what: it and its twin, in a line.
        deviation: max |computed − true| / max |true|, the largest over its results; for random
            numbers the distance of a mean or variance in standard errors. NaN if it computed a NaN
            or failed.
        tolerance: up to what deviation it passes.
        passed: whether it did.
        seconds: time, compilation included.
        error: what was raised, if anything.
        default_precision_deviation: the deviation at the device's default precision of matrix
            products, which may be TensorFloat-32 or bfloat16; for information. None if it was not
            asked for, does not matter, or failed.
    """

    name: str
    what: str
    deviation: float
    tolerance: float
    passed: bool
    seconds: float
    error: str | None = None
    default_precision_deviation: float | None = None


class _Kernel(NamedTuple):
    what: str
    tolerance: float
    multiplies: bool  # matrices, whose precision the device may choose
    deviations: Callable[[], Iterator[float]]


_KERNELS: dict[str, _Kernel] = {}


def _kernel(
    what: str, tolerance: float, *, multiplies: bool = False
) -> Callable[[Callable[[], Iterator[float]]], Callable[[], Iterator[float]]]:
    """Registers a generator of deviations under its name."""

    def register(deviations: Callable[[], Iterator[float]]) -> Callable[[], Iterator[float]]:
        name = deviations.__name__.lstrip("_").replace("_", "-")
        _KERNELS[name] = _Kernel(what, tolerance, multiplies, deviations)
        return deviations

    return register


def check_names() -> tuple[str, ...]:
    """The names of all checks, in the order in which they run."""
    return tuple(_KERNELS)


def run_checks(
    report: Report | None = None,
    names: Sequence[str] | None = None,
    *,
    default_precision: bool | None = None,
) -> list[Check]:
    """Every kernel against its twin; one that fails or raises does not stop the others.

    Matrices are multiplied in float32 ("highest" precision).

    Args:
        report: hears the name of every check before it runs.
        names: which checks; None: all of them.
        default_precision: whether to measure the deviation at the device's default precision of
            matrix products as well; None: except on CPUs, where it is the same.

    Raises:
        InputError: an unknown name.
    """
    chosen = check_names() if names is None else tuple(names)
    for name in chosen:
        if name not in _KERNELS:
            raise unknown_name("check", name, _KERNELS)
    if default_precision is None:
        default_precision = jax.default_backend() != "cpu"
    checks = []
    for name in chosen:
        if report is not None:
            report(name)
        checks.append(_checked(name, _KERNELS[name], default_precision))
    return checks


def _checked(name: str, kernel: _Kernel, default_precision: bool) -> Check:
    began = time.perf_counter()
    with jax.default_matmul_precision("highest"):
        deviation, error = _largest(kernel)
    rough = None
    if default_precision and kernel.multiplies and error is None:
        found, failed = _largest(kernel)
        rough = found if failed is None else None
    return Check(
        name=name,
        what=kernel.what,
        deviation=deviation,
        tolerance=kernel.tolerance,
        passed=deviation <= kernel.tolerance,  # false of a NaN
        seconds=time.perf_counter() - began,
        error=error,
        default_precision_deviation=rough,
    )


def _largest(kernel: _Kernel) -> tuple[float, str | None]:
    """(the largest deviation, what was raised)."""
    try:
        # NaN if one is NaN.
        return float(np.max(list(kernel.deviations()))), None
    except Exception as error:  # whatever a compiler or a device raises
        return nan, " ".join(f"{type(error).__name__}: {error}".split())[:300]


def _off(computed: Any, true: Any) -> float:
    """max |computed − true| / max |true|."""
    got, expected = np.asarray(computed, np.float64), np.asarray(true, np.float64)
    if got.shape != expected.shape:
        raise ValueError(f"an array of shape {got.shape} instead of {expected.shape}")
    largest = float(np.max(np.abs(expected)))
    return float(np.max(np.abs(got - expected))) / (largest or 1.0)


def _trees_off(computed: PyTree, true: Sequence[Any]) -> Iterator[float]:
    """The deviation of every array, each relative to its own largest value."""
    for got, expected in zip(jax.tree.leaves(computed), true, strict=True):
        yield _off(got, expected)


def _doubles(tree: PyTree) -> list[Numbers]:
    return [np.asarray(leaf, np.float64) for leaf in jax.tree.leaves(tree)]


def _single(values: Any) -> NDArray[np.float32]:
    return np.asarray(values, np.float32)


# Per-example gradient norms.

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
            yield _off(computed, true[:size])


@_kernel("per-example |M r|², 7 sizes around powers of two, 10 widths", 2e-6, multiplies=True)
def _gradient_norms_float32() -> Iterator[float]:
    yield from _gradient_norms(np.float32)


# float64 errs by 1e-16; some devices put it together from several float32.
@_kernel("the same sizes and widths in float64", 1e-12)
def _gradient_norms_float64() -> Iterator[float]:
    yield from _gradient_norms(np.float64)


# Loops.


@_kernel("200 updates of least squares: loop, gather, scan", 1e-5, multiplies=True)
def _update_loop() -> Iterator[float]:
    rng = np.random.default_rng(1)
    updates, parts, slots, features = 200, 3, 7, 5
    x = _single(rng.standard_normal((101, features)))
    y = _single(rng.standard_normal(101))
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
    yield _off(jax.jit(path)(x, y, batches, Hyper(rate, momentum)), true)


# Loss and gradients.


@_kernel("log Σ exp z − z_y and its gradient, logits up to 1e4", 2e-6)
def _cross_entropy() -> Iterator[float]:
    rng = np.random.default_rng(2)

    def total(logits: Array, labels: Array) -> tuple[Array, Array]:
        losses = steps.cross_entropy(logits, labels)
        return jnp.sum(losses), losses

    value_and_gradient = jax.jit(jax.grad(total, has_aux=True))
    for examples, classes in ((257, 3), (33, 1000)):
        labels = rng.integers(0, classes, examples).astype(np.int32)
        for scale in (1.0, 30.0, 1e4):
            logits = _single(scale * rng.standard_normal((examples, classes)))
            gradient, losses = value_and_gradient(logits, labels)
            true, slope = _twin_cross_entropy(logits.astype(np.float64), labels)
            yield _off(losses, true)
            yield _off(gradient, slope)


@_kernel("gradients of a perceptron at odd sizes, with padding", 1e-5, multiplies=True)
def _gradient() -> Iterator[float]:
    static, weights = _perceptron(features=5, width=7, classes=3)
    leaves = _doubles(weights)

    def gradient(weights: PyTree, x: Array, y: Array, counts: Array) -> PyTree:
        return steps.micro_step(static, Rule(), weights, x, y, counts)[0]

    compiled = jax.jit(gradient)
    for size in (1, 129, 2**14 + 1):
        rng = np.random.default_rng(size)
        x, y = _examples(rng, size, features=5, classes=3)
        counts = np.ones(size) if size == 1 else (rng.random(size) < 0.7).astype(np.float64)
        counts *= _twin_perceptron(leaves, x, y, np.ones(size)).nearest > _KINK
        true = _twin_perceptron(leaves, x, y, counts).gradients
        yield from _trees_off(compiled(weights, x, y, _single(counts)), true)


@_kernel("an update from uneven micro-batches, with ghost batch norm", 2e-5, multiplies=True)
def _accumulated_update() -> Iterator[float]:
    static, weights = _perceptron(features=5, width=7, classes=3, batch_norm=True)
    rng = np.random.default_rng(4)
    x, y = _examples(rng, 101, features=5, classes=3)
    indices = rng.permutation(101)[:72].reshape(3, 2, 12).astype(np.int32)
    counts = np.ones((3, 2, 12), np.float32)
    counts[1, 1, 9:], counts[2, 0, 5:], counts[2, 1] = 0, 0, 0
    batch = Batch(indices, counts, np.zeros_like(indices))
    rate, momentum, decay = 0.1, 0.9, 0.01
    buffer = jax.tree.map(lambda a: _single(rng.standard_normal(a.shape)), weights)
    start = Statistics(jnp.full(7, 0.5), jnp.full(7, 2.0))
    state = TrainState(weights, buffer, (start, start))

    def update(state: TrainState, x: Array, y: Array, batch: Batch, key: Array) -> TrainState:
        return steps.update(static, Rule(), state, x, y, batch, key, Hyper(rate, momentum, decay))

    after = jax.jit(update)(state, x, y, batch, streams.dynamics_key(0, 0))
    leaves = _doubles(weights)
    total = [np.zeros_like(leaf) for leaf in leaves]
    running = [[np.full(7, 0.5), np.full(7, 2.0)] for _ in range(2)]
    for rows, part in zip(indices, counts.astype(np.float64), strict=True):
        found = _twin_perceptron(leaves, x[rows.ravel()], y[rows.ravel()], part.ravel(), ghosts=2)
        total = [a + b for a, b in zip(total, found.gradients, strict=True)]
        for layer, moments in enumerate(found.moments):
            running[layer] = _twin_fold(running[layer], moments, mode="sequential", decay=0.9)
    v = [
        momentum * old + gradient / counts.sum() + decay * w
        for old, gradient, w in zip(_doubles(buffer), total, leaves, strict=True)
    ]
    yield from _trees_off(after.optimizer, v)
    yield from _trees_off(after.weights, [w - rate * a for w, a in zip(leaves, v, strict=True)])
    yield from _trees_off(after.statistics, [*running[0], *running[1]])


@_kernel(
    "3×3 convolutions and their gradients at odd sizes, strides 1 and 2", 1e-5, multiplies=True
)
def _convolution() -> Iterator[float]:
    rng = np.random.default_rng(5)
    x = _single(rng.standard_normal((5, 15, 17, 3)))
    kernel = _single(rng.standard_normal((3, 3, 3, 7)))
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
        slope = _single(rng.standard_normal(shape))
        true = _twin_convolution(x, kernel, slope, stride)
        yield from _trees_off(jax.jit(both)(x, kernel, slope), true)


# Batch norm.


@_kernel("μ and σ² of ghosts with padding, of features and of images", 2e-6, multiplies=True)
def _ghost_moments() -> Iterator[float]:
    for x, counts, ghosts in _ghosts():

        def moments(x: Array, counts: Array, ghosts: int = ghosts) -> Moments:
            return ghost_batch_norm.ghost_moments(x, counts, ghosts)

        yield from _trees_off(jax.jit(moments)(x, counts), _twin_moments(x, counts, ghosts))


@_kernel("ghost batch norm and its gradient; in evaluation", 1e-5, multiplies=True)
def _ghost_batch_norm() -> Iterator[float]:
    for x, counts, ghosts in _ghosts():
        rng = np.random.default_rng(6)
        features = x.shape[-1]
        scale, shift, mean = (_single(rng.standard_normal(features)) for _ in range(3))
        running = Statistics(jnp.asarray(mean), jnp.asarray(_single(1 + rng.random(features))))
        mask = counts.reshape(-1, *[1] * (x.ndim - 1))
        slope = mask * _single(rng.standard_normal(x.shape))

        def everything(
            norm: GhostBatchNorm,
            x: Array,
            counts: Array,
            mask: Array,
            slope: Array,
            running: Statistics,
            ghosts: int = ghosts,
        ) -> Any:
            # What padding becomes is nobody's business.
            y, back = jax.vjp(lambda n, a: mask * n(a, counts, ghosts, None)[0], norm, x)
            return y, norm(x, counts, 1, running)[0], back(slope)

        norm = GhostBatchNorm(features)
        norm = eqx.tree_at(
            lambda n: (n.scale, n.shift), norm, (jnp.asarray(scale), jnp.asarray(shift))
        )
        found = jax.jit(everything)(norm, x, counts, mask, slope, running)
        y, back = _twin_norm(x, scale, shift, counts, ghosts)
        x_slope, scale_slope, shift_slope = back(slope)
        root = np.sqrt(np.asarray(running.variance, np.float64) + ghost_batch_norm.EPSILON)
        evaluated = (x.astype(np.float64) - mean) / root * scale + shift
        true = [mask * y, evaluated, scale_slope, shift_slope, x_slope]
        yield from _trees_off(found, true)


@_kernel("running statistics in every mode, and their average", 2e-6, multiplies=True)
def _running_statistics() -> Iterator[float]:
    rng = np.random.default_rng(7)
    means = _single(rng.standard_normal((5, 3)))
    variances = _single(0.1 + rng.random((5, 3)))
    numbers = np.asarray([7, 0, 12, 1, 9], np.float32)
    means[1] = variances[1] = variances[3] = 0  # padding alone, and a single value
    mean, variance = _single(rng.standard_normal(3)), _single(0.1 + rng.random(3))
    modes, decay = ("sequential", "composite", "composite-printed", "divided"), 0.8

    def folded(running: Statistics, moments: Moments) -> Any:
        found = [ghost_batch_norm.fold(running, moments, mode=mode, decay=decay) for mode in modes]
        return found, ghost_batch_norm.average(moments)

    moments = Moments(jnp.asarray(means), jnp.asarray(variances), jnp.asarray(numbers))
    found = jax.jit(folded)(Statistics(jnp.asarray(mean), jnp.asarray(variance)), moments)
    true: list[Any] = []
    for mode in modes:
        true += _twin_fold((mean, variance), (means, variances, numbers), mode=mode, decay=decay)
    unbiased = [v * n / (n - 1) if n > 1 else v for n, v in zip(numbers, variances, strict=True)]
    # The average of so many numbers, then of the means and variances.
    true += [sum(numbers)]
    for rows in (means, unbiased):
        true += [sum(n * row.astype(np.float64) for n, row in zip(numbers, rows, strict=True))]
    yield from _trees_off(found, true)


# What an update does with a gradient.


@_kernel("gradients clipped and normalized", 2e-6)
def _clipping() -> Iterator[float]:
    rng = np.random.default_rng(8)
    gradient = [_single(rng.standard_normal(shape)) for shape in ((7, 3), (5,))]
    length = sqrt(sum(float(np.sum(g.astype(np.float64) ** 2)) for g in gradient))
    cuts = jax.jit(lambda g, norm: (optimizers.clipped(g, norm), optimizers.normalized(g, norm)))
    for norm in (0.3 * length, 3.0 * length, inf):
        shorter, scaled = min(1.0, norm / length), 1.0 if norm == inf else norm / length
        true = [factor * g.astype(np.float64) for factor in (shorter, scaled) for g in gradient]
        yield from _trees_off(cuts(gradient, np.float32(norm)), true)
    nothing = [np.zeros_like(g) for g in gradient]
    yield from _trees_off(cuts(nothing, np.float32(1.0)), 2 * nothing)


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


@_kernel("three updates in every form of momentum and weight decay", 2e-6)
def _momentum() -> Iterator[float]:
    rates, keeps, momentum, decay = (0.3, 0.1, 0.2), (1.0, 0.0, 1.0), 0.8, 0.05
    _, weights = _filled(partial(MultilayerPerceptron, 2, 3, 1, 2, batch_norm=True))
    rng = np.random.default_rng(9)
    buffer = jax.tree.map(lambda a: _single(rng.standard_normal(a.shape)), weights)
    gradients = jax.tree.map(lambda a: _single(rng.standard_normal((3, *a.shape))), weights)
    values = (rates, [momentum] * 3, [decay] * 3, [inf] * 3, [0.0] * 3, keeps)
    hypers = Hyper(*(_single(column) for column in values))

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
        w, v = _doubles(weights), _doubles(buffer)
        for update, (rate, keep) in enumerate(zip(rates, keeps, strict=True)):
            for k, gradient in enumerate(_doubles(gradients)):
                lost = decay * w[k] if every or decays[k] else 0.0 * w[k]
                direction = gradient[update] + (lost if rule.decay == "coupled" else 0.0)
                kept = v[k] * keep if optimizer.momentum_reset == "epoch" else v[k]
                step, v[k] = _twin_momentum(optimizer, kept, direction, rate, momentum)
                after = {"coupled": 0.0, "decoupled": rate, "independent": 1.0}
                w[k] = w[k] + step - after[rule.decay] * lost
        yield from _trees_off(state, [*w, *v])


# In float32 1 − 0.999^t is known to 5e-5 of itself, in a step of a tenth of the weights.
@_kernel("four updates of Adam and AdamW", 2e-5)
def _adam() -> Iterator[float]:
    rate, decay, updates = 0.1, 0.05, 4
    rng = np.random.default_rng(10)
    w_0 = [_single(rng.standard_normal(shape)) for shape in ((5, 3), (7,))]
    gradients = [[_single(rng.standard_normal(w.shape)) for w in w_0] for _ in range(updates)]
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
        yield from _trees_off(computed, true)


@_kernel("30 updates by the device loop and by the host loop", 2e-5, multiplies=True)
def _drivers() -> Iterator[float]:
    static, weights = _perceptron(features=5, width=7, classes=3)
    rng = np.random.default_rng(11)
    x, y = _examples(rng, 101, features=5, classes=3)
    updates, slots, momentum, decay = 30, 7, 0.9, 0.01
    shape = (1, 1, slots)
    indices = rng.integers(0, 101, (updates, slots)).astype(np.int32)
    batches = Batches(
        indices.reshape(updates, *shape),
        np.ones(shape, np.float32),
        np.zeros(shape, np.int32),
        np.zeros(updates, np.bool_),
    )
    rates = np.linspace(0.1, 0.02, updates)
    constants = (momentum, decay, inf, 0.0, 1.0)
    hypers = Hyper(rates, *(np.full(updates, value) for value in constants))
    key = streams.dynamics_key(0, 0)
    ends = []
    for kind in ("device", "host"):
        driver = drivers.Driver(static, jnp.asarray(x), jnp.asarray(y), rule=Rule(), kind=kind)
        state = TrainState(weights, jax.tree.map(np.zeros_like, weights))
        ends.append(driver.advance(state, batches, hypers, key, slots).weights)
    w = _doubles(weights)
    v = [np.zeros_like(a) for a in w]
    for rows, rate in zip(indices, rates, strict=True):
        gradients = _twin_perceptron(w, x[rows], y[rows], np.ones(slots)).gradients
        for k, gradient in enumerate(gradients):
            v[k] = momentum * v[k] + gradient / slots + decay * w[k]
            w[k] = w[k] - rate * v[k]
    for end in ends:
        yield from _trees_off(end, w)
    yield from _trees_off(ends[0], _doubles(ends[1]))


# Random numbers. Where the deviation is counted in standard errors, the seed is fixed and the
# numbers are the same everywhere: 5 is far from what they show, and near for a wrong formula.

_STANDARD_ERRORS = 5.0
_DRAWS = 20_000


@_kernel("bits of Threefry and keys of examples: known values, and a twin", 0.0)
def _random_bits() -> Iterator[float]:
    # The published known answers of the cipher, for the twin (Salmon et al. 2011).
    for key, counter, known in (
        ((0, 0), (0, 0), (0x6B200159, 0x99BA4EFE)),
        ((0xFFFFFFFF, 0xFFFFFFFF), (0xFFFFFFFF, 0xFFFFFFFF), (0x1CB996FC, 0xBB002BE7)),
        ((0x13198A2E, 0x03707344), (0x243F6A88, 0x85A308D3), (0xC4923A9C, 0x483DF7A0)),
    ):
        words = [np.asarray([word], np.uint32) for word in (*key, *counter)]
        yield _off(np.concatenate(_twin_threefry(*words)), known)
    counters = np.arange(1001, dtype=np.uint32)
    zero, epochs, indices = np.zeros_like(counters), counters % np.uint32(7), counters[::-1]

    def drawn(epochs: Array, indices: Array) -> tuple[Array, Array, Array]:
        few = jax.random.bits(jax.random.key(0), (4,))
        key = jax.random.key(2026)
        keys = streams.example_keys(key, epochs, indices)
        return few, jax.random.bits(key, (1001,)), jax.random.key_data(keys)

    few, many, keys = jax.jit(drawn)(epochs.astype(np.int32), indices.astype(np.int32))
    # Observed alike with JAX 0.10.1, 0.10.2 and 0.11.2.
    yield _off(few, (0xF29A4FA7, 0xFA843692, 0x55110E28, 0x77FAA835))
    seed = (zero, zero + np.uint32(2026))
    first, second = _twin_threefry(*seed, zero, counters)
    yield _off(many, first ^ second)
    of_epoch = _twin_threefry(*seed, zero, epochs)
    yield _off(keys, np.stack(_twin_threefry(*of_epoch, zero, indices), axis=1))


@_kernel("order of the data: known values, epochs one after the other", 0.0)
def _data_order() -> Iterator[float]:
    # Observed alike with NumPy 1.26, 2.4 and 2.5.
    yield _off(streams.epoch_order(0, 0, 0, 12), (11, 5, 0, 2, 6, 1, 8, 9, 3, 10, 4, 7))
    yield _off(streams.epoch_order(3, 1, 2, 10), (6, 0, 4, 2, 3, 7, 9, 8, 5, 1))
    yield _off(streams.epoch_order(0, 0, 0, 50_000)[:5], (8221, 23051, 9322, 44828, 45728))
    across = np.concatenate([streams.epoch_order(3, 1, epoch, 10) for epoch in (1, 2, 3)])
    yield _off(streams.DataStream(3, 1, 10).indices(13, 22), across[3:25])


@_kernel("factors of the loss: mean and variance, in standard errors", _STANDARD_ERRORS)
def _loss_factors() -> Iterator[float]:
    variance, compiled = 3.0, jax.jit(lambda keys, v: steps.loss_factors(keys, v))
    factors, turned = (compiled(keys, np.float32(variance)) for keys in _keys())
    yield _same(turned, np.asarray(factors)[::-1])
    sample = np.asarray(factors, np.float64)
    yield abs(float(sample.mean()) - 1.0) / sqrt(variance / _DRAWS)
    yield abs(float(sample.var()) / variance - 1.0) / sqrt(2.0 / _DRAWS)


@_kernel("noisy labels: frequencies, in standard errors", _STANDARD_ERRORS)
def _noisy_labels() -> Iterator[float]:
    probability, classes = 0.3, 7
    compiled = jax.jit(lambda keys, y: steps.noisy_labels(keys, y, probability, classes))
    labels = np.full(_DRAWS, 2, np.int32)
    noisy, turned = (compiled(keys, labels) for keys in _keys())
    yield _same(turned, np.asarray(noisy)[::-1])
    seen = np.bincount(np.asarray(noisy), minlength=classes)
    for label, number in enumerate(seen):
        expected = probability / classes + (label == 2) * (1 - probability)
        yield abs(number / _DRAWS - expected) / sqrt(expected * (1 - expected) / _DRAWS)


@_kernel("dropout and dropconnect: frequencies, in standard errors", _STANDARD_ERRORS)
def _dropout() -> Iterator[float]:
    probability, width, examples = 0.3, 8, _DRAWS // 8
    kept = 1.0 - probability
    # Hidden activations of 1, each seen by one output.
    ones = [np.ones((1, width), np.float32), np.eye(width, dtype=np.float32)]
    biases = [np.zeros(width, np.float32)] * 2
    for dropout, dropconnect in ((probability, 0.0), (0.0, probability)):
        make = partial(
            MultilayerPerceptron, 1, width, 1, width, dropout=dropout, dropconnect=dropconnect
        )
        static, weights = _filled(make)
        weights = eqx.tree_at(lambda w: (w.weights, w.biases), weights, (ones, biases))

        def outputs(weights: PyTree, keys: Array, static: PyTree = static) -> list[Array]:
            model, x = eqx.combine(weights, static), jnp.ones((examples, 1))
            return [model(x, Pass(x[:, 0], 1, drawn, None))[0] for drawn in (keys, None)]

        compiled = jax.jit(outputs)
        (drawn, plain), (turned, _) = (
            map(np.asarray, compiled(weights, keys)) for keys in _keys(examples)
        )
        yield _same(turned, drawn[::-1])
        yield _same(plain, np.ones((examples, width)))
        masks = drawn > 0
        yield _same(drawn, masks / kept)
        yield abs(float(masks.mean()) - kept) / sqrt(kept * probability / masks.size)
        # Units of one example, and the same unit of neighbouring examples, are independent.
        centred = (masks - kept) / sqrt(kept * probability)
        among = centred.T @ centred / sqrt(examples)
        yield float(np.max(np.abs(among - np.diag(np.diag(among)))))
        yield abs(float(np.sum(centred[1:] * centred[:-1]))) / sqrt(centred[1:].size)


# Measurements.


@_kernel("squared distances per tensor, distance, norm and angle", 2e-6)
def _distance() -> Iterator[float]:
    _, weights = _perceptron(features=5, width=7, classes=3, batch_norm=True)
    _, initial = _perceptron(features=5, width=7, classes=3, batch_norm=True, number=1)
    _, before = _perceptron(features=5, width=7, classes=3, batch_norm=True, number=2)
    measure = _probes()
    found = measure.squares(weights, initial, before)
    w, w_0, w_1 = _doubles(weights), _doubles(initial), _doubles(before)
    true = [
        [np.sum((a - b) ** 2) for a, b in zip(w, w_0, strict=True)],
        [np.sum(a**2) for a in w],
        [np.sum(b**2) for b in w_0],
        [np.sum((a - b) ** 2) for a, b in zip(w, w_1, strict=True)],
    ]
    yield from _trees_off(found, true)
    a, b = (np.concatenate([leaf.ravel() for leaf in tree]) for tree in (w, w_0))
    lengths = np.linalg.norm(a), np.linalg.norm(b)
    way = measure.way(found)
    true_way = (np.linalg.norm(a - b), lengths[0], np.arccos(a @ b / lengths[0] / lengths[1]))
    for computed, expected in zip(way, true_way, strict=True):
        yield _off(computed, expected)


@_kernel("the sketch of a distance", 2e-6)
def _sketch() -> Iterator[float]:
    _, weights = _perceptron(features=5, width=7, classes=3, batch_norm=True)
    _, origin = _perceptron(features=5, width=7, classes=3, batch_norm=True, number=1)
    flat, flat_origin = (
        np.concatenate([leaf.ravel() for leaf in _doubles(tree)]) for tree in (weights, origin)
    )
    order, signs = probes.sketch_plan(flat.size, 16)
    yield _off(np.sort(order[signs != 0]), np.arange(flat.size))
    for start, moved in ((origin, flat - flat_origin), (None, flat)):
        true = np.zeros(16)
        for bucket in range(16):
            for place, sign in zip(order[bucket], signs[bucket], strict=True):
                true[bucket] += sign * moved[place]
        yield _off(_probes().sketch(weights, start, 16), true)


@_kernel("mean loss and error in two chunks that overlap", 1e-5, multiplies=True)
def _evaluation() -> Iterator[float]:
    _, weights = _perceptron(features=5, width=7, classes=3)
    number = probes.EVALUATION_CHUNK + 3
    x, y = _examples(np.random.default_rng(12), number + 1000, features=5, classes=3)
    logits = _twin_perceptron(_doubles(weights), x, y, np.ones(len(x))).logits
    ordered = np.sort(logits, axis=1)
    clear = np.flatnonzero(ordered[:, -1] - ordered[:, -2] > _KINK)[:number]
    x, y, logits = x[clear], y[clear], logits[clear]
    found = _probes(batch_norm=False).loss_and_error(weights, (), jnp.asarray(x), jnp.asarray(y))
    yield _off(found[0], np.mean(_twin_cross_entropy(logits, y)[0]))
    yield _off(found[1], np.mean(np.argmax(logits, axis=1) != y))


@_kernel("squared gradients of the parts of a batch, and of the whole", 2e-5, multiplies=True)
def _gradient_moments() -> Iterator[float]:
    _, weights = _perceptron(features=5, width=7, classes=3)
    rng = np.random.default_rng(13)
    x, y = _examples(rng, 101, features=5, classes=3)
    shape = (5, 1, 7)
    indices = rng.permutation(101)[:35].reshape(shape).astype(np.int32)
    batches = Batches(
        indices, np.ones(shape, np.float32), np.zeros(shape, np.int32), np.zeros(1, np.bool_)
    )
    found = _probes(batch_norm=False).gradient_moments(
        TrainState(weights, None),
        jnp.asarray(x),
        jnp.asarray(y),
        batches,
        streams.dynamics_key(0, 0),
        Hyper(0.1),
    )
    parts = [
        np.concatenate([g.ravel() / 7 for g in _twin_gradients(weights, x[rows], y[rows])])
        for rows in indices.reshape(5, 7)
    ]
    yield _off(found[0], np.mean([part @ part for part in parts]))
    whole = np.mean(parts, axis=0)
    yield _off(found[1], whole @ whole)


@_kernel("the largest eigenvalue of known Hessians", 2e-5)
def _hessian() -> Iterator[float]:
    rng = np.random.default_rng(14)
    turn, _ = np.linalg.qr(rng.standard_normal((60, 60)))
    matrix = _single((turn * np.asarray([*np.linspace(-3.0, 2.0, 59), 5.0])) @ turn.T)
    directions = _single(rng.standard_normal((17, 12)))

    def quadratic(matrix: Array, w: PyTree) -> Array:
        flat = jnp.concatenate([w["a"].ravel(), w["b"]])
        return 0.5 * flat @ matrix @ flat

    def log_cosh(directions: Array, w: Array) -> Array:
        return jnp.sum(jnp.logaddexp(directions @ w, -directions @ w))

    flat = _single(0.3 * rng.standard_normal(60))
    loss = jax.tree_util.Partial(quadratic, jnp.asarray(matrix))
    found = landscape.largest_hessian_eigenvalue(loss, {"a": flat[:20, None], "b": flat[20:]})
    yield _off(found.value, np.linalg.eigvalsh(matrix.astype(np.float64))[-1])
    # Few weights: every column of the Hessian Σ a aᵀ / cosh²(a·w).
    at = flat[:12]
    doubles = directions.astype(np.float64)
    true = (doubles.T / np.cosh(doubles @ at) ** 2) @ doubles
    loss = jax.tree_util.Partial(log_cosh, jnp.asarray(directions))
    found = landscape.largest_hessian_eigenvalue(loss, at)
    yield _off(found.value, np.linalg.eigvalsh(true)[-1])


@_kernel("a quadratic along random rays and at random points", 1e-5)
def _rays() -> Iterator[float]:
    lengths, origin = np.linspace(0.5, 10.0, 7), {"a": jnp.zeros((5, 7)), "b": jnp.zeros(101)}

    def loss(w: PyTree) -> Array:
        return 0.5 * (jnp.sum(w["a"] ** 2) + jnp.sum(w["b"] ** 2))

    found = landscape.loss_along_rays(loss, origin, lengths, rays=3, seed=0)
    yield _off(found, np.tile(0.5 * lengths**2, (3, 1)))
    at, losses = landscape.loss_at_random_points(loss, origin, points=33, longest=10.0, seed=0)
    yield _off(losses, 0.5 * at**2)


# Problems.


def _perceptron(
    features: int, width: int, classes: int, *, batch_norm: bool = False, number: int = 0
) -> tuple[PyTree, PyTree]:
    """(the model without its arrays, random weights) of two hidden layers."""
    make = partial(MultilayerPerceptron, features, width, 2, classes, batch_norm=batch_norm)
    return _filled(make, number)


def _filled(make: Callable[..., Any], number: int = 0) -> tuple[PyTree, PyTree]:
    """(a model without its arrays, random numbers in their place); nothing is compiled."""
    key = jax.eval_shape(lambda: jax.random.key(0))
    model = eqx.filter_eval_shape(lambda key: make(key=key), key)
    shapes, static = eqx.partition(model, lambda leaf: isinstance(leaf, jax.ShapeDtypeStruct))
    rng = np.random.default_rng(number)
    return static, jax.tree.map(
        lambda a: jnp.asarray(_single(0.6 * rng.standard_normal(a.shape))), shapes
    )


def _probes(*, batch_norm: bool = True) -> probes.Probes:
    static, weights = _perceptron(features=5, width=7, classes=3, batch_norm=batch_norm)
    return probes.Probes(static, Rule(), parameters_of(weights))


def _examples(
    rng: np.random.Generator, number: int, *, features: int, classes: int
) -> tuple[NDArray[np.float32], NDArray[np.int32]]:
    x = _single(rng.standard_normal((number, features)))
    return x, rng.integers(0, classes, number).astype(np.int32)


def _ghosts() -> Iterator[tuple[NDArray[np.float32], NDArray[np.float32], int]]:
    """(values, counts, number of ghosts), the last ghost of padding alone."""
    rng = np.random.default_rng(15)
    for ghosts, shape in ((5, (35, 3)), (3, (15, 5, 3, 6))):
        x = _single(3.0 + 2.0 * rng.standard_normal(shape))
        counts = _single(rng.random(shape[0]) < 0.7)
        counts[-shape[0] // ghosts :] = 0
        yield x, counts, ghosts


def _keys(number: int = _DRAWS) -> tuple[Array, Array]:
    """Keys of examples, and the same in reversed order."""
    numbers = np.arange(number, dtype=np.uint32)
    zero = np.zeros_like(numbers)
    words = jnp.asarray(np.stack(_twin_threefry(zero, zero, zero, numbers), axis=1))
    return jax.random.wrap_key_data(words), jax.random.wrap_key_data(words[::-1])


def _same(computed: Any, expected: Any) -> float:
    """0 if they agree, for what is not a matter of statistics."""
    return 0.0 if _off(computed, expected) <= 1e-5 else inf


# Twins: NumPy alone, float64.


class _Backward(NamedTuple):
    """Of Σ_i c_i ℓ_i; `nearest` is every example's pre-activation that is nearest to 0."""

    logits: Numbers
    gradients: list[Numbers]
    moments: list[tuple[Numbers, Numbers, Numbers]]
    nearest: Numbers


def _twin_cross_entropy(logits: Numbers, labels: NDArray[np.int32]) -> tuple[Numbers, Numbers]:
    """(every ℓ, every dℓ/dz)."""
    rows, largest = np.arange(len(labels)), logits.max(axis=1)
    powers = np.exp(logits - largest[:, None])
    sums = powers.sum(axis=1)
    slopes = powers / sums[:, None]
    slopes[rows, labels] -= 1.0
    return np.log(sums) + largest - logits[rows, labels], slopes


def _twin_perceptron(
    leaves: list[Numbers],
    x: NDArray[np.float32],
    labels: NDArray[np.int32],
    counts: Numbers,
    ghosts: int = 1,
) -> _Backward:
    """Forward and by hand backward through two hidden layers; leaves as jax.tree.leaves has them.

    W_1 W_2 W_3, b_1 b_2 b_3, then, with batch norm, scale and shift of two norms.
    """
    matrices, biases, norms = leaves[:3], leaves[3:6], leaves[6:]
    inputs, before, backs, moments = [x.astype(np.float64)], [], [], []
    for layer in range(2):
        z = inputs[layer] @ matrices[layer] + biases[layer]
        if norms:
            moments.append(_twin_moments(z, counts, ghosts))
            z, back = _twin_norm(z, norms[2 * layer], norms[2 * layer + 1], counts, ghosts)
            backs.append(back)
        before.append(z)
        inputs.append(np.where(z > 0, z, 0.0))
    logits = inputs[2] @ matrices[2] + biases[2]
    slope = _twin_cross_entropy(logits, labels)[1] * counts[:, None]
    matrix_slopes: list[Numbers] = []
    bias_slopes: list[Numbers] = []
    norm_slopes: list[Numbers] = []
    for layer in (2, 1, 0):
        matrix_slopes.insert(0, inputs[layer].T @ slope)
        bias_slopes.insert(0, slope.sum(axis=0))
        if layer:
            slope = (slope @ matrices[layer].T) * (before[layer - 1] > 0)
            if norms:
                slope, scale_slope, shift_slope = backs[layer - 1](slope)
                norm_slopes[:0] = [scale_slope, shift_slope]
    nearest = np.min([np.min(np.abs(z), axis=1) for z in before], axis=0)
    return _Backward(logits, [*matrix_slopes, *bias_slopes, *norm_slopes], moments, nearest)


def _twin_gradients(
    weights: PyTree, x: NDArray[np.float32], labels: NDArray[np.int32]
) -> list[Numbers]:
    return _twin_perceptron(_doubles(weights), x, labels, np.ones(len(x))).gradients


def _twin_moments(x: Any, counts: Any, ghosts: int) -> tuple[Numbers, Numbers, Numbers]:
    """(means, variances, numbers) of every ghost, one feature of one ghost at a time."""
    features, length = x.shape[-1], len(x) // ghosts
    means, variances = np.zeros((ghosts, features)), np.zeros((ghosts, features))
    numbers = np.zeros(ghosts)
    for ghost in range(ghosts):
        rows = slice(ghost * length, (ghost + 1) * length)
        kept = x[rows][counts[rows] > 0].astype(np.float64).reshape(-1, features)
        numbers[ghost] = len(kept)
        if len(kept):
            means[ghost], variances[ghost] = kept.mean(axis=0), kept.var(axis=0)
    return means, variances, numbers


def _twin_norm(
    x: Any, scale: Any, shift: Any, counts: Any, ghosts: int
) -> tuple[Numbers, Callable[[Any], tuple[Numbers, Numbers, Numbers]]]:
    """(y, from dL/dy to dL/d(x, scale, shift)) of y = scale (x − μ)/√(σ² + 1e-5) + shift."""
    means, variances, numbers = _twin_moments(x, counts, ghosts)
    length, features = len(x) // ghosts, x.shape[-1]
    values = np.asarray(x, np.float64).reshape(ghosts, length, -1, features)
    roots = 1.0 / np.sqrt(variances + 1e-5)
    centred = [values[g] - means[g] for g in range(ghosts)]
    y = np.stack([scale * centred[g] * roots[g] + shift for g in range(ghosts)])

    def back(slope: Any) -> tuple[Numbers, Numbers, Numbers]:
        slopes = np.asarray(slope, np.float64).reshape(values.shape)
        x_slope, scale_slope, shift_slope = np.zeros_like(values), 0.0, 0.0
        for g in range(ghosts):
            kept = np.reshape(counts, (ghosts, length, 1, 1))[g]
            whole = np.sum(slopes[g], axis=(0, 1))
            along = np.sum(slopes[g] * centred[g], axis=(0, 1))
            scale_slope = scale_slope + along * roots[g]
            shift_slope = shift_slope + whole
            mean_slope = -scale * roots[g] * whole
            variance_slope = -0.5 * scale * roots[g] ** 3 * along
            through = (mean_slope + 2.0 * centred[g] * variance_slope) / max(numbers[g], 1.0)
            x_slope[g] = slopes[g] * scale * roots[g] + kept * through
        return x_slope.reshape(x.shape), np.asarray(scale_slope), np.asarray(shift_slope)

    return y.reshape(x.shape), back


def _twin_fold(
    running: Sequence[Any], moments: Sequence[Any], *, mode: str, decay: float
) -> list[Numbers]:
    """[mean, variance] after the ghosts, one after the other."""
    mean, variance = (np.asarray(values, np.float64) for values in running)
    ghosts = [
        (m.astype(np.float64), v.astype(np.float64), n)
        for m, v, n in zip(*moments, strict=True)
        if n > 0
    ]
    share = 1.0 - decay
    if mode == "composite-printed":
        deviation = decay ** len(ghosts) * np.sqrt(variance)
        mean = decay ** len(ghosts) * mean
        for power, (new, spread, _) in enumerate(ghosts, 1):
            mean = mean + share * decay**power * new
            deviation = deviation + share * decay**power * np.sqrt(spread)
        return [mean, deviation**2]
    if mode == "divided":
        share = share / len(ghosts)
    for new, spread, n in ghosts:
        unbiased = spread * n / (n - 1) if n > 1 else 0.0 * spread
        mean = (1 - share) * mean + share * new
        variance = (1 - share) * variance + share * unbiased
    return [mean, variance]


def _twin_momentum(
    optimizer: OptimizerConfig, v: Numbers, d: Numbers, rate: float, momentum: float
) -> tuple[Numbers, Numbers]:
    """(the increment of w, the new v)."""
    if optimizer.momentum_form == "velocity":
        v = momentum * v - rate * d
        return (momentum * v - rate * d if optimizer.nesterov else v), v
    if optimizer.momentum_form == "dampened":
        d = (1 - momentum) * d
    v = momentum * v + d
    return (-rate * (momentum * v + d) if optimizer.nesterov else -rate * v), v


def _twin_convolution(x: Any, kernel: Any, slope: Any, stride: int) -> list[Numbers]:
    """[y, dL/dx, dL/dkernel] of 3×3 patches, one place after the other."""
    kernel = kernel.astype(np.float64)
    padded = np.pad(x.astype(np.float64), ((0, 0), (1, 1), (1, 1), (0, 0)))
    y, kernel_slope, x_slope = np.zeros(slope.shape), np.zeros_like(kernel), np.zeros_like(padded)
    for i in range(slope.shape[1]):
        for j in range(slope.shape[2]):
            place = np.s_[:, stride * i : stride * i + 3, stride * j : stride * j + 3, :]
            here = slope[:, i, j].astype(np.float64)
            y[:, i, j] = np.tensordot(padded[place], kernel, 3)
            kernel_slope += np.tensordot(padded[place], here, (0, 0))
            x_slope[place] += np.tensordot(here, kernel, (1, 3))
    return [y, x_slope[:, 1:-1, 1:-1], kernel_slope]


def _twin_threefry(
    first: Any, second: Any, low: Any, high: Any
) -> tuple[NDArray[np.uint32], NDArray[np.uint32]]:
    """Threefry-2x32 with 20 rounds, of keys (first, second) and counters (low, high).

    Source: Salmon, Moraes, Dror & Shaw 2011.
    """
    keys = (first, second, first ^ second ^ np.uint32(0x1BD11BDA))
    rotations = ((13, 15, 26, 6), (17, 29, 16, 24))
    a, b = low + keys[0], high + keys[1]
    for block in range(5):
        for bits in rotations[block % 2]:
            a = a + b
            b = ((b << np.uint32(bits)) | (b >> np.uint32(32 - bits))) ^ a
        a = a + keys[(block + 1) % 3]
        b = b + keys[(block + 2) % 3] + np.uint32(block + 1)
    return a, b
