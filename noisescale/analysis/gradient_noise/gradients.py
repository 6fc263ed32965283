"""B_simple from the gradients themselves, of micro-batches or examples, and from unpaired norms."""

from math import nan

import numpy as np
from numpy.typing import ArrayLike, NDArray

from noisescale.analysis.arrays import traces
from noisescale.analysis.checks import positive_integer
from noisescale.analysis.gradient_noise.blocks import block_labels, left_out
from noisescale.analysis.gradient_noise.conclusion import GradientNoiseScale, conclude
from noisescale.analysis.gradient_noise.estimate import gradient_noise_scale
from noisescale.analysis.gradient_noise.moments import (
    checked_factors,
    checked_train_size,
    covariance_factor,
    noise_and_signal,
    squared_norms,
)
from noisescale.analysis.resampling import checked_level
from noisescale.errors import InputError

Array = NDArray[np.float64]

# Pairs per part from which tr Σ² is estimated.
_NEIGHBOURS = 8


def noise_scale_from_parts(
    gradients: ArrayLike,
    part_batch: int,
    *,
    level: float = 0.95,
    train_size: int | None = None,
    blocks: int | ArrayLike | None = None,
) -> GradientNoiseScale:
    """tr Σ = b/(K−1) Σ_k |g_k − ḡ|², |G|² = |ḡ|² − tr Σ/(Kb), of K parts of b examples.

    What accumulation over micro-batches has in hand. Over several steps, the pair is averaged and
    then divided, with blocks of steps as units. At one step the parts are the units: the pair is
    found without each of them in turn.

    Args:
        gradients: (steps, K, P) or (K, P) mean gradient of each part, P weights; all parts of a
            step at the same weights. One part alone tells nothing: the result says so.
        part_batch: b, examples in a part.
        level, train_size, blocks: see `gradient_noise_scale`.

    Returns:
        GradientNoiseScale; n counts steps, or parts at one step.

    Raises:
        InputError: not such an array of finite numbers; K b above train_size.

    Source: McCandlish et al. 2018, appendix A.1; the jackknife: Efron & Stein 1981.
    """
    level = checked_level(level)
    size = positive_integer("part_batch", part_batch)
    population = checked_train_size(train_size)
    if np.ndim(gradients) not in (2, 3):
        raise InputError(
            f"gradients has shape {np.shape(gradients)}: give (steps, parts, weights), or (parts, "
            "weights) of one step"
        )
    rows = traces("gradients", gradients, fewest=1)
    steps = 1 if np.ndim(gradients) == 2 else np.shape(gradients)[0]
    all_parts = rows.reshape(steps, -1, rows.shape[-1])
    parts = all_parts.shape[1]
    if population is not None and parts * size > population:
        raise InputError(f"{parts} parts of {size} examples are more than train_size={population}")
    if parts == 1:
        return _one_part(steps, level)
    if steps > 1:
        norms = np.einsum("skp,skp->sk", all_parts, all_parts).mean(axis=1)
        mean = all_parts.mean(axis=1)
        return gradient_noise_scale(
            norms,
            np.einsum("sp,sp->s", mean, mean),
            size,
            parts * size,
            level=level,
            train_size=population,
            blocks=blocks,
        )
    if blocks is not None:
        raise InputError("blocks groups steps, and these gradients are of one step: leave it out")
    return _of_one_step(all_parts[0], size, level, population)


def noise_scale_from_examples(
    gradients: ArrayLike,
    *,
    level: float = 0.95,
    train_size: int | None = None,
) -> GradientNoiseScale:
    """tr Σ = 1/(n−1) Σ_i |g_i − ḡ|², |G|² = |ḡ|² − tr Σ/n, of n per-example gradients.

    The reference, where per-example gradients are defined (no batch norm) and fit in memory. With
    train_size = n they are the population: both numbers are exact, the error is 0.

    Args:
        gradients: (n, P), or (steps, n, P) at several steps.
        level, train_size: see `gradient_noise_scale`.

    Raises:
        InputError: as `noise_scale_from_parts`.
    """
    return noise_scale_from_parts(gradients, 1, level=level, train_size=train_size)


def noise_scale_from_part_norms(
    part_sq_norms: ArrayLike,
    mean_sq_norms: ArrayLike,
    part_batch: int,
    *,
    level: float = 0.95,
    train_size: int | None = None,
    blocks: int | ArrayLike | None = None,
) -> GradientNoiseScale:
    """The same from |g_k|² of all K parts of a step and |ḡ|² of their mean.

    The small norm is averaged over all parts: one of them has the same mean and up to K times the
    variance.

    Args:
        part_sq_norms: (steps, K).
        mean_sq_norms: (steps,).
        part_batch: b, examples in a part.
        level, train_size, blocks: see `gradient_noise_scale`.

    Raises:
        InputError: shapes as above not met; norms negative or not finite.
    """
    size = positive_integer("part_batch", part_batch)
    if np.ndim(part_sq_norms) != 2 or np.shape(part_sq_norms)[:1] != np.shape(mean_sq_norms):
        raise InputError(
            f"part_sq_norms has shape {np.shape(part_sq_norms)} and mean_sq_norms "
            f"{np.shape(mean_sq_norms)}: give (steps, parts) and (steps,)"
        )
    norms = traces("part_sq_norms", part_sq_norms, fewest=1)
    if norms.min() < 0:
        raise InputError(f"part_sq_norms holds {norms.min():g}: squared norms are at least 0")
    big = squared_norms("mean_sq_norms", mean_sq_norms)
    parts = norms.shape[1]
    if parts == 1:
        return _one_part(len(big), checked_level(level))
    return gradient_noise_scale(
        norms.mean(axis=1),
        big,
        size,
        parts * size,
        level=level,
        train_size=train_size,
        blocks=blocks,
    )


def noise_scale_from_separate(
    small_sq_norms: ArrayLike,
    big_sq_norms: ArrayLike,
    small_batch: float,
    big_batch: float,
    *,
    level: float = 0.95,
    train_size: int | None = None,
) -> GradientNoiseScale:
    """B_simple from two independent samples of squared norms, at the same weights, not paired.

    The covariance of the pair is the sum over both samples; blocks of consecutive measurements
    in each, as in `gradient_noise_scale`. Student's degrees are those of the smaller sample.

    Args:
        small_sq_norms, big_sq_norms: (n_s,) and (n_b,), of unequal lengths or not.
        small_batch, big_batch: one size each, in examples.
        level, train_size: see `gradient_noise_scale`.

    Returns:
        GradientNoiseScale; n is the smaller number. Plans mean both numbers in this proportion.

    Raises:
        InputError: as `gradient_noise_scale`.
    """
    level = checked_level(level)
    samples = (
        squared_norms("small_sq_norms", small_sq_norms),
        squared_norms("big_sq_norms", big_sq_norms),
    )
    small_factor, big_factor = checked_factors(small_batch, big_batch, 1, train_size)
    means = [sample.mean() for sample in samples]

    def pair(small: Array, big: Array) -> Array:
        return noise_and_signal(small, big, small_factor, big_factor)

    without, times = [], []
    for which, sample in enumerate(samples):
        labels, time = block_labels(None, [sample])
        times.append(time)
        if labels.max() > 0:
            left = left_out(sample[:, None], labels)[:, 0]
            without.append(pair(left, means[1]) if which == 0 else pair(means[0], left))
    return conclude(
        pair(*(np.atleast_1d(mean) for mean in means))[0],
        without if len(without) == 2 else [],
        n=min(map(len, samples)),
        level=level,
        diagnostics={
            "small_n": len(samples[0]),
            "big_n": len(samples[1]),
            "autocorrelation_time": max(times),
        },
    )


def _one_part(steps: int, level: float) -> GradientNoiseScale:
    return GradientNoiseScale(
        nan, None, None, nan, None, nan, None, None, steps, 0, level, "undecided",
        "one part per step: its norm holds |G|² and tr Σ/B together; split the batch in two parts "
        "or more, or measure a second batch size",
    )  # fmt: skip


def _of_one_step(
    parts: Array, size: int, level: float, train_size: int | None
) -> GradientNoiseScale:
    """The parts as units: their mean square and the square of their mean, without each in turn."""
    number = len(parts)
    # About the mean, so that nothing cancels; ḡ without part k is ḡ − d_k/(K−1).
    mean = parts.mean(axis=0)
    away = parts - mean
    squares = np.einsum("kp,kp->k", away, away)
    along = away @ mean
    norm = float(mean @ mean)

    def pair(scatter: Array, square: Array, count: int) -> Array:
        """From Σ|g_k − ḡ|² and |ḡ|² of `count` parts."""
        small = covariance_factor(float(size), train_size)
        big = covariance_factor(float(size * count), train_size)
        # E Σ|g_k − ḡ|²/count = (c_b − c_Kb) tr Σ.
        trace = scatter / count / (small - big)
        return np.stack([trace, square - big * trace], axis=-1)

    total = np.sum(squares)
    whole = pair(total, np.asarray(norm), number)
    without = []
    if number > 2:
        left = number - 1
        scatter = total - squares * number / left
        square = norm - 2 * along / left + squares / left**2
        without = [pair(scatter, square, left)]
    # Where G is lost, ḡ alone would say how well it is known: by chance, very well. The variance
    # of |ḡ|² less its noise is at least 2 tr cov(ḡ)², estimated from pairs of neighbours.
    shifts = range(1, min(number, _NEIGHBOURS + 1))
    products = [np.einsum("kp,kp->k", away, np.roll(away, k, axis=0)) for k in shifts]
    least = 2 * float(np.mean(np.square(products))) / (number - 1) ** 2
    unseen = 1.0 if train_size is None else 1 - number * size / train_size
    return conclude(
        whole, without, n=number, level=level, spread=unseen,
        least_variance=least,
        diagnostics={"parts": number, "part_batch": size},
    )  # fmt: skip
