"""Every kernel that the self-test names, sabotaged, makes its check fail and no other stop.

The whole run, with nothing sabotaged, is in tests/cli/test_check.py.
"""

from dataclasses import replace
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from noisescale.errors import InputError
from noisescale.training import (
    drivers,
    ghost_batch_norm,
    landscape,
    optimizers,
    probes,
    steps,
    streams,
)
from noisescale.training.augmentation import CropFlip
from noisescale.training.ghost_batch_norm import GhostBatchNorm
from noisescale.training.models import MultilayerPerceptron
from noisescale.training.self_test import (
    check_names,
    checks,
    gradients,
    problems,
    run_checks,
    twins,
)

# (where a kernel lives, its name, the check that must notice it)
KERNELS = [
    (jax, "vmap", "gradient-norms-float32"),
    (jax, "vmap", "gradient-norms-float64"),
    (jax.lax, "fori_loop", "update-loop"),
    (jax.lax, "scan", "update-loop"),
    (steps, "cross_entropy", "cross-entropy"),
    (steps, "micro_step", "gradient"),
    (steps, "update", "accumulated-update"),
    (steps, "fold", "accumulated-update"),
    (jax.lax, "conv_general_dilated", "convolution"),
    (ghost_batch_norm, "ghost_moments", "ghost-moments"),
    (GhostBatchNorm, "__call__", "ghost-batch-norm"),
    (ghost_batch_norm, "fold", "running-statistics"),
    (ghost_batch_norm, "average", "running-statistics"),
    (optimizers, "clipped", "clipping"),
    (optimizers, "normalized", "clipping"),
    (optimizers, "apply_update", "momentum"),
    (optimizers, "apply_update", "adam"),
    (optimizers, "start_of", "adam"),
    (drivers, "update", "drivers"),
    (drivers.Driver, "advance", "drivers"),
    (streams, "example_keys", "random-bits"),
    (jax.random, "bits", "random-bits"),
    (streams, "epoch_order", "data-order"),
    (streams.DataStream, "indices", "data-order"),
    (steps, "loss_factors", "loss-factors"),
    (steps, "noisy_labels", "noisy-labels"),
    (MultilayerPerceptron, "__call__", "dropout"),
    (CropFlip, "__call__", "augmentation"),
    (jax.lax, "dynamic_slice", "augmentation"),
    (probes.Probes, "squares", "distance"),
    (probes.Probes, "way", "distance"),
    (probes.Probes, "sketch", "sketch"),
    (probes.Probes, "loss_and_error", "evaluation"),
    (probes.Probes, "gradient_moments", "gradient-moments"),
    (landscape, "largest_hessian_eigenvalue", "hessian"),
    (landscape, "loss_along_rays", "rays"),
    (landscape, "loss_at_random_points", "rays"),
]


def test_every_check_is_sabotaged_below():
    assert {check for _, _, check in KERNELS} == set(check_names())


@pytest.mark.parametrize(("home", "kernel", "name"), KERNELS)
def test_an_exception_fails_its_check_and_stops_no_other(monkeypatch, home, kernel, name):
    def broken(*arguments, **options):
        raise RuntimeError("out of\nmemory")

    with monkeypatch.context() as patch:
        patch.setattr(home, kernel, broken)
        found, *_ = run_checks(names=[name])
    assert not found.passed and np.isnan(found.deviation)
    assert found.error == "RuntimeError: out of memory"


def test_the_others_run_after_an_exception(monkeypatch):
    monkeypatch.setattr(steps, "micro_step", None)
    failed, *others = run_checks(names=["gradient", "data-order", "clipping"])
    assert not failed.passed and failed.error.startswith("TypeError: ")
    assert all(check.passed for check in others)


def scaled(kernel, factor=2.0):
    """The kernel with its floating-point results multiplied."""

    def wrong(*arguments, **options):
        return jax.tree.map(lambda a: factor * a, kernel(*arguments, **options))

    return wrong


def wrong_sign(weights, state, gradient, hyper, rule):
    return APPLY_UPDATE(weights, state, jax.tree.map(jnp.negative, gradient), hyper, rule)


def ascent(weights, state, gradient, hyper, rule):
    moved, state = APPLY_UPDATE(weights, state, gradient, hyper, rule)
    return jax.tree.map(lambda a, b: 2 * a - b, weights, moved), state


def overflowing(logits, labels):
    chosen = jnp.take_along_axis(logits, labels[:, None], axis=1)[:, 0]
    return jnp.log(jnp.sum(jnp.exp(logits), axis=1)) - chosen


def smoothed(logits, labels):
    return 0.999 * CROSS_ENTROPY(logits, labels) + 0.001 * jax.nn.logsumexp(logits, axis=1)


def without_counts(static, rule, weights, inputs, labels, counts, *rest):
    return MICRO_STEP(static, rule, weights, inputs, labels, jnp.ones_like(counts), *rest)


def unbiased(x, counts, ghosts):
    moments = GHOST_MOMENTS(x, counts, ghosts)
    number = moments.number[:, None]
    return moments._replace(variance=moments.variance * number / jnp.maximum(number - 1, 1))


def last_only(body, start, values):
    return SCAN(body, start, values[-1:])


def forgets_epochs(key, epochs, indices):
    return EXAMPLE_KEYS(key, jnp.zeros_like(epochs), indices)


def one_short(lower, upper, body, start):
    return FORI_LOOP(lower, upper - 1, body, start)


def shifted_convolution(x, kernel, strides, padding, **options):
    return CONVOLUTION(x, kernel, strides, ((2, 0), (1, 1)), **options)


def without_shift(norm, x, counts, ghosts, running):
    y, moments = NORM(norm, x, counts, ghosts, running)
    return y - 0.001 * norm.shift, moments


def half_way(measure, squares):
    way = WAY(measure, squares)
    return way._replace(angle=1.001 * way.angle)


def sharper(loss, weights):
    found = EIGENVALUE(loss, weights)
    return replace(found, value=1.001 * found.value)


def dropped_too_often(model, x, how):
    logits, moments = PERCEPTRON(model, x, how)
    return (logits if how.keys is None else jnp.where(x > 2, logits, 0.0)), moments


def lower_rate(driver, state, batches, hypers, key):
    if driver._host:
        hypers = hypers._replace(learning_rate=0.99 * hypers.learning_rate)
    return ADVANCE(driver, state, batches, hypers, key)


def cut_one_lower(image, corner, shape):
    top, *others = corner
    return DYNAMIC_SLICE(image, (top + 1, *others), shape)


def of_others(augment, keys, images):
    return CROP_FLIP(augment, keys[::-1], images)


def framed_in_grey(augment, keys, images):
    return CROP_FLIP(augment._replace(fill=augment.fill + 0.001), keys, images)


def noisier(keys, labels, probability, classes):
    return NOISY_LABELS(keys, labels, 1.1 * probability, classes)


APPLY_UPDATE, CROSS_ENTROPY = optimizers.apply_update, steps.cross_entropy
MICRO_STEP, GHOST_MOMENTS = steps.micro_step, ghost_batch_norm.ghost_moments
VMAP = jax.vmap
SCAN, FORI_LOOP, CONVOLUTION = jax.lax.scan, jax.lax.fori_loop, jax.lax.conv_general_dilated
EXAMPLE_KEYS, NOISY_LABELS = streams.example_keys, steps.noisy_labels
NORM, WAY, ADVANCE = GhostBatchNorm.__call__, probes.Probes.way, drivers.Driver.advance
DYNAMIC_SLICE, CROP_FLIP = jax.lax.dynamic_slice, CropFlip.__call__
PERCEPTRON, EIGENVALUE = MultilayerPerceptron.__call__, landscape.largest_hessian_eigenvalue

# (where, kernel, what is put in its place, the check that must notice it)
MUTANTS = [
    (ghost_batch_norm, "fold", scaled(ghost_batch_norm.fold), "running-statistics"),
    (ghost_batch_norm, "average", scaled(ghost_batch_norm.average, 1.001), "running-statistics"),
    (ghost_batch_norm, "ghost_moments", unbiased, "ghost-moments"),
    (GhostBatchNorm, "__call__", without_shift, "ghost-batch-norm"),
    (optimizers, "apply_update", wrong_sign, "momentum"),
    (optimizers, "apply_update", ascent, "adam"),
    (optimizers, "apply_update", ascent, "update-loop"),
    (optimizers, "clipped", scaled(optimizers.clipped, 1.0001), "clipping"),
    (optimizers, "normalized", scaled(optimizers.normalized, float("nan")), "clipping"),
    (steps, "cross_entropy", overflowing, "cross-entropy"),
    (steps, "cross_entropy", smoothed, "cross-entropy"),
    (steps, "micro_step", without_counts, "gradient"),
    (steps, "fold", scaled(steps.fold), "accumulated-update"),
    (jax.lax, "scan", last_only, "update-loop"),
    (jax.lax, "fori_loop", one_short, "update-loop"),
    (jax.lax, "conv_general_dilated", shifted_convolution, "convolution"),
    (drivers.Driver, "advance", lower_rate, "drivers"),
    (streams, "example_keys", forgets_epochs, "random-bits"),
    (steps, "loss_factors", scaled(steps.loss_factors, 1.05), "loss-factors"),
    (steps, "noisy_labels", noisier, "noisy-labels"),
    (MultilayerPerceptron, "__call__", dropped_too_often, "dropout"),
    (jax.lax, "dynamic_slice", cut_one_lower, "augmentation"),
    (CropFlip, "__call__", of_others, "augmentation"),
    (CropFlip, "__call__", framed_in_grey, "augmentation"),
    (probes, "_squares", scaled(probes._squares, 1.001), "distance"),
    (probes.Probes, "way", half_way, "distance"),
    (probes, "_sketch", scaled(probes._sketch, -1.0), "sketch"),
    (probes, "cross_entropy", smoothed, "evaluation"),
    (probes, "_square", scaled(probes._square, 1.001), "gradient-moments"),
    (landscape, "largest_hessian_eigenvalue", sharper, "hessian"),
    (landscape, "loss_along_rays", scaled(landscape.loss_along_rays, 1.001), "rays"),
]


@pytest.mark.parametrize(("home", "kernel", "mutant", "name"), MUTANTS)
def test_wrong_numbers_fail_their_check(monkeypatch, home, kernel, mutant, name):
    with monkeypatch.context() as patch:
        patch.setattr(home, kernel, mutant)
        (found,) = run_checks(names=[name])
    assert not found.passed
    assert found.error is None
    assert not found.deviation <= found.tolerance


@pytest.mark.parametrize("precision", [np.float32, np.float64])
def test_a_wrong_row_in_thousands_is_seen(monkeypatch, precision):
    """As a miscompiled loop leaves it: right but for its last elements."""

    def miscompiled(one):
        def rows_of(rows):
            return VMAP(one)(rows).at[-1].multiply(1.01)

        return rows_of

    monkeypatch.setattr(jax, "vmap", miscompiled)
    monkeypatch.setattr(gradients, "_WIDTHS", (3,))
    monkeypatch.setattr(gradients, "_SIZES", (2**15,))
    kernel = checks._KERNELS[f"gradient-norms-{np.dtype(precision).name}"]
    deviation, error = checks._largest(kernel)
    assert error is None and kernel.tolerance < deviation < 0.1


def test_names_and_report():
    heard = []
    found = run_checks(heard.append, ["clipping", "data-order"])
    assert heard == [c.name for c in found] == ["clipping", "data-order"]
    assert all(c.passed and c.error is None and c.seconds > 0 for c in found)
    assert run_checks(names=[]) == []
    with pytest.raises(InputError, match="did you mean 'clipping'"):
        run_checks(names=["cliping"])


def test_default_precision_is_told_where_matrices_are_multiplied():
    """On a CPU it is the same; that the device was asked is all that can be seen here."""
    seen = []

    def deviations():
        seen.append(jax.config.jax_default_matmul_precision)
        yield 1e-7

    kernel = checks._Kernel("", 1e-6, True, deviations)
    assert checks._checked("", kernel, True).default_precision_deviation == 1e-7
    assert seen == ["highest", None]
    kernel = kernel._replace(multiplies=False)
    assert checks._checked("", kernel, True).default_precision_deviation is None
    first, second = run_checks(names=["convolution", "clipping"], default_precision=True)
    assert first.default_precision_deviation == first.deviation
    assert second.default_precision_deviation is None


@pytest.mark.parametrize("values", [[], [float("nan"), 0.0], [0.0, float("nan")], [float("inf")]])
def test_no_number_passes_as_none(values):
    kernel = checks._Kernel("", 1e-6, False, partial(iter, values))
    assert not checks._checked("", kernel, False).passed


def test_wrong_shapes_are_errors():
    kernel = checks._Kernel(
        "", 1e-6, False, lambda: iter([checks.off(np.ones((3, 1)), np.ones(3))])
    )
    assert "(3, 1) instead of (3,)" in checks._checked("", kernel, False).error


@pytest.mark.parametrize("name", ["accumulated-update", "drivers", "gradient-moments"])
def test_no_example_is_at_a_kink(monkeypatch, name):
    """Else a float32 rounding would decide on which side of a ReLU it falls."""
    nearest, twin = [], twins.perceptron

    def watched(leaves, x, labels, counts, ghosts=1):
        found = twin(leaves, x, labels, counts, ghosts)
        nearest.append(np.min(found.nearest[np.asarray(counts) > 0]))
        return found

    monkeypatch.setattr(twins, "perceptron", watched)
    assert run_checks(names=[name])[0].passed
    assert min(nearest) > problems.KINK


def test_the_precision_of_the_session_is_left_alone():
    run_checks(names=["clipping"])
    assert jnp.ones(1).dtype == jnp.float32
    assert jax.config.jax_default_matmul_precision is None


@pytest.mark.parametrize(
    ("setting", "value"), [("enable_x64", True), ("threefry_partitionable", False)]
)
def test_other_bits_name_the_setting_that_changes_them(setting, value):
    with getattr(jax, setting)(value):
        (found,) = run_checks(names=["random-bits"])
    assert not found.passed and found.error is None
    assert f"JAX_{setting.upper()}={value:d}" in found.what
