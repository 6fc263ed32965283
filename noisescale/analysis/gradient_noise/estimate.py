"""B_simple = tr Σ/|G|² from paired squared norms, with an interval that survives |G|² near 0."""

import numpy as np
from numpy.typing import ArrayLike

from noisescale.analysis.gradient_noise.blocks import block_labels, influence, left_out
from noisescale.analysis.gradient_noise.conclusion import GradientNoiseScale, conclude
from noisescale.analysis.gradient_noise.moments import (
    checked_factors,
    noise_and_signal,
    squared_norms,
)
from noisescale.analysis.resampling import checked_level
from noisescale.errors import InputError


def gradient_noise_scale(
    small_sq_norms: ArrayLike,
    big_sq_norms: ArrayLike,
    small_batch: ArrayLike,
    big_batch: ArrayLike,
    *,
    level: float = 0.95,
    train_size: int | None = None,
    blocks: int | ArrayLike | None = None,
    window: tuple[float, float] | None = None,
) -> GradientNoiseScale:
    """B_simple = tr Σ/|G|² from E|g_B|² = |G|² + tr Σ/B at two batch sizes.

    Both tr Σ and |G|² are linear in the squared norms and unbiased, measurement by measurement.
    They are averaged over all measurements, then divided, once: single |G|² are often negative,
    their mean is not, and a mean of ratios does not exist. The error is that of the pair of
    means over blocks of consecutive measurements, one left out at a time; the interval is
    Fieller's with Student's quantile of (blocks − 1) degrees, valid where |G|² is lost in noise:
    it then has no upper end. Averages over a stretch in which both change are just that.

    Args:
        small_sq_norms: |g|² of the small batch, (n,); averaged over several such batches at the
            same weights, if they were measured.
        big_sq_norms: |g|² of the big batch, (n,), at the same weights each. It may hold the small
            ones. Exchanging small and big changes nothing.
        small_batch, big_batch: their sizes in examples, one number or (n,).
        level: confidence of the interval.
        train_size: N, where batches are drawn without replacement from N examples: then
            E|g_B|² = |G|² + (tr Σ/B)(N − B)/(N − 1), Σ over all N; B = N is the full gradient.
        blocks: number of blocks of consecutive measurements, or (n,) labels of independent units
            such as runs; default √n, 8 to 20, long against the correlation of the measurements,
            but not fewer than 5.
        window: first and last update, to be kept in the result.

    Raises:
        InputError: not lists of equal length of finite squared norms; sizes equal, not above 0,
            or above train_size.

    Source: McCandlish, Kaplan, Amodei & OpenAI Dota Team 2018, appendix A.1; Fieller 1954;
    Künsch 1989 (jackknife of blocks); the correction without replacement: Cochran 1977, ch. 2.
    """
    level = checked_level(level)
    small = squared_norms("small_sq_norms", small_sq_norms)
    big = squared_norms("big_sq_norms", big_sq_norms)
    if len(small) != len(big):
        raise InputError(
            f"small_sq_norms has {len(small)} entries and big_sq_norms {len(big)}: give pairs, or "
            "use noise_scale_from_separate"
        )
    factors = checked_factors(small_batch, big_batch, len(small), train_size)
    pairs = noise_and_signal(small, big, *factors)
    pushes = influence(pairs)
    labels, time = block_labels(blocks, [*pairs.T, pushes])
    # Of single measurements where the blocks are ours: blocks are few, their spread is vague.
    one = float(np.mean(pushes**2)) * time if blocks is None else None
    return conclude(
        pairs.mean(axis=0),
        [left_out(pairs, labels)] if labels.max() > 0 else [],
        n=len(pairs),
        level=level,
        variance_of_one=one,
        window=window,
        diagnostics={
            "autocorrelation_time": time,
            "negative_grad_sq_norms": int(np.sum(pairs[:, 1] < 0)),
        },
    )
