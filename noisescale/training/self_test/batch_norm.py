"""Ghost batch norm: moments, normalization, running statistics."""

from collections.abc import Iterator
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array
from numpy.typing import NDArray

from noisescale.training import ghost_batch_norm
from noisescale.training.ghost_batch_norm import GhostBatchNorm, Moments, Statistics
from noisescale.training.self_test import twins
from noisescale.training.self_test.checks import check, trees_off
from noisescale.training.self_test.problems import single


@check("μ and σ² of ghosts with padding, of features and of images", 2e-6, multiplies=True)
def _ghost_moments() -> Iterator[float]:
    for x, counts, ghosts in _ghosts():

        def moments(x: Array, counts: Array, ghosts: int = ghosts) -> Moments:
            return ghost_batch_norm.ghost_moments(x, counts, ghosts)

        yield from trees_off(jax.jit(moments)(x, counts), twins.ghost_moments(x, counts, ghosts))


@check("ghost batch norm and its gradient; in evaluation", 1e-5, multiplies=True)
def _ghost_batch_norm() -> Iterator[float]:
    for x, counts, ghosts in _ghosts():
        rng = np.random.default_rng(6)
        features = x.shape[-1]
        scale, shift, mean = (single(rng.standard_normal(features)) for _ in range(3))
        running = Statistics(jnp.asarray(mean), jnp.asarray(single(1 + rng.random(features))))
        mask = counts.reshape(-1, *[1] * (x.ndim - 1))
        slope = mask * single(rng.standard_normal(x.shape))

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
        y, back = twins.ghost_norm(x, scale, shift, counts, ghosts)
        x_slope, scale_slope, shift_slope = back(slope)
        root = np.sqrt(np.asarray(running.variance, np.float64) + ghost_batch_norm.EPSILON)
        evaluated = (x.astype(np.float64) - mean) / root * scale + shift
        true = [mask * y, evaluated, scale_slope, shift_slope, x_slope]
        yield from trees_off(found, true)


@check("running statistics in every mode, and their average", 2e-6, multiplies=True)
def _running_statistics() -> Iterator[float]:
    rng = np.random.default_rng(7)
    means = single(rng.standard_normal((5, 3)))
    variances = single(0.1 + rng.random((5, 3)))
    numbers = np.asarray([7, 0, 12, 1, 9], np.float32)
    means[1] = variances[1] = variances[3] = 0  # padding alone, and a single value
    mean, variance = single(rng.standard_normal(3)), single(0.1 + rng.random(3))
    modes, decay = ("sequential", "composite", "composite-printed", "divided"), 0.8

    def folded(running: Statistics, moments: Moments) -> Any:
        found = [ghost_batch_norm.fold(running, moments, mode=mode, decay=decay) for mode in modes]
        return found, ghost_batch_norm.average(moments)

    moments = Moments(jnp.asarray(means), jnp.asarray(variances), jnp.asarray(numbers))
    found = jax.jit(folded)(Statistics(jnp.asarray(mean), jnp.asarray(variance)), moments)
    true: list[Any] = []
    for mode in modes:
        true += twins.fold((mean, variance), (means, variances, numbers), mode=mode, decay=decay)
    unbiased = [v * n / (n - 1) if n > 1 else v for n, v in zip(numbers, variances, strict=True)]
    # The average of so many numbers, then of the means and variances.
    true += [sum(numbers)]
    for rows in (means, unbiased):
        true += [sum(n * row.astype(np.float64) for n, row in zip(numbers, rows, strict=True))]
    yield from trees_off(found, true)


def _ghosts() -> Iterator[tuple[NDArray[np.float32], NDArray[np.float32], int]]:
    """(values, counts, number of ghosts), the last ghost of padding alone."""
    rng = np.random.default_rng(15)
    for ghosts, shape in ((5, (35, 3)), (3, (15, 5, 3, 6))):
        x = single(3.0 + 2.0 * rng.standard_normal(shape))
        counts = single(rng.random(shape[0]) < 0.7)
        counts[-shape[0] // ghosts :] = 0
        yield x, counts, ghosts
