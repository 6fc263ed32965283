"""Gradient noise from all per-example gradients, by enumeration and plain loops."""

from itertools import combinations

import numpy as np


def population(gradients):
    """(tr Σ, |G|²) of all N examples: Σ = (1/N) Σ_i (g_i − G)(g_i − G)ᵀ."""
    mean = gradients.mean(axis=0)
    trace = 0.0
    for g in gradients:
        trace += float((g - mean) @ (g - mean)) / len(gradients)
    return trace, float(mean @ mean)


def mean_square_of_all_batches(gradients, size):
    """E|g_B|² over every batch of that size without replacement."""
    squares = []
    for chosen in combinations(range(len(gradients)), size):
        g = sum(gradients[i] for i in chosen) / size
        squares.append(float(g @ g))
    return sum(squares) / len(squares)


def pair(small, big, small_batch, big_batch):
    """McCandlish et al. 2018, equations A.2 and A.3, averaged first."""
    signal = [
        (big_batch * b - small_batch * s) / (big_batch - small_batch)
        for s, b in zip(small, big, strict=True)
    ]
    noise = [(s - b) / (1 / small_batch - 1 / big_batch) for s, b in zip(small, big, strict=True)]
    return sum(noise) / len(noise), sum(signal) / len(signal)


def jackknife(small, big, small_batch, big_batch, labels):
    """Covariance of the pair and standard error of the ratio, one block left out at a time."""
    pairs, ratios = [], []
    for label in sorted(set(labels)):
        kept = [i for i, other in enumerate(labels) if other != label]
        noise, signal = pair(
            [small[i] for i in kept], [big[i] for i in kept], small_batch, big_batch
        )
        pairs.append((noise, signal))
        ratios.append(noise / signal)
    pairs, ratios, g = np.array(pairs), np.array(ratios), len(ratios)
    away = pairs - pairs.mean(axis=0)
    covariance = (g - 1) / g * sum(np.outer(a, a) for a in away)
    return covariance, float(np.sqrt((g - 1) / g * np.sum((ratios - ratios.mean()) ** 2)))


def fieller_holds(v, noise, signal, covariance, quantile):
    """Whether T − v Q is compatible with 0."""
    direction = np.array([1.0, -v])
    return (noise - v * signal) ** 2 <= quantile**2 * float(direction @ covariance @ direction)


def steps_to_target(batch_sizes, min_steps, critical):
    """S = S_min (1 + B_crit/B)."""
    return [min_steps * (1 + critical / b) for b in batch_sizes]


def gaussian_norms(rng, replications, steps, parts, batch, gradient, spectrum, *, tails=None):
    """(small, big), (replications, steps) each: mean |g_k|² over parts, |mean g|².

    Per-example gradients G + z, the variances of z the `spectrum`; `tails` degrees of freedom of
    Student's t for each part's size (None: normal), with the covariance kept.
    """
    shape = (replications, steps, parts, len(spectrum))
    noise = rng.standard_normal(shape) * np.sqrt(np.asarray(spectrum) / batch)
    if tails is not None:
        chi = rng.chisquare(tails, shape[:3])[..., None]
        noise *= np.sqrt((tails - 2) / chi)
    gradients = noise + gradient
    small = np.einsum("rskp,rskp->rsk", gradients, gradients).mean(axis=2)
    mean = gradients.mean(axis=2)
    return small, np.einsum("rsp,rsp->rs", mean, mean)
