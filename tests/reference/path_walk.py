"""Walks on potentials drawn at every site that they could ever reach, and joint covariances."""

import numpy as np


def field_covariance(sites, alpha):
    """½ (|x|^α + |y|^α − |x − y|^α) of V with V(0) = 0."""
    size = np.linalg.norm(sites, axis=1) ** alpha
    apart = np.linalg.norm(sites[:, None] - sites[None], axis=-1) ** alpha
    return 0.5 * (size[:, None] + size[None] - apart)


def walks(directions, alpha, temperature, samples, rng):
    """Metropolis along given proposals x → x + u_t: (V, |x|), each (n, samples).

    The walker is at a sum of some of the u_t: V is drawn at all 2ⁿ of them, together.
    """
    n = len(directions)
    subsets = (np.arange(2**n)[:, None] >> np.arange(n)) & 1
    sites = subsets @ directions
    values, vectors = np.linalg.eigh(field_covariance(sites, alpha))
    root = vectors * np.sqrt(np.maximum(values, 0.0))
    V = root @ rng.standard_normal((2**n, samples))
    at = np.zeros(samples, int)
    every = np.arange(samples)
    heights, distances = np.empty((2, n, samples))
    for t in range(n):
        proposed = at + 2**t
        change = V[proposed, every] - V[at, every]
        moves = rng.random(samples) < np.exp(-np.maximum(change, 0.0) / temperature)
        at = np.where(moves, proposed, at)
        heights[t] = V[at, every]
        distances[t] = np.linalg.norm(sites[at], axis=1)
    return heights, distances


def sphere_covariance(n, alpha):
    """Covariance of A_0 … A_n = V(x_k) and M_0 … M_{n−1}, means over the spheres around x_k.

    In infinitely many dimensions, unit steps in ever new directions: squared distances are
    |j − k| between A's, |j − k| + 1 between M and A, |j − k| + 2 between M's, itself included.
    """
    index = np.concatenate([np.arange(n + 1), np.arange(n)])
    extra = np.concatenate([np.zeros(n + 1), np.ones(n)])
    squares = abs(index[:, None] - index[None]) + extra[:, None] + extra[None]
    half = squares ** (alpha / 2)
    return 0.5 * (half[0][:, None] + half[0][None] - half)
