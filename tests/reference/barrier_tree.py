"""Valleys by flooding: the potential is filled level by level, and components are labelled anew."""

import numpy as np
from scipy.ndimage import label


def ranks(V):
    """Order of the sites by (V, flat index)."""
    order = np.argsort(V, axis=None, kind="stable")
    rank = np.empty(V.size, int)
    rank[order] = np.arange(V.size)
    return rank.reshape(V.shape)


def neighbours(site, shape):
    """Nearest neighbours inside the box, as tuples."""
    for axis in range(len(shape)):
        for step in (-1, 1):
            moved = list(site)
            moved[axis] += step
            if 0 <= moved[axis] < shape[axis]:
                yield tuple(moved)


def bottom(site, rank):
    """Where steepest descent ends."""
    while True:
        lowest = min([site, *neighbours(site, rank.shape)], key=lambda s: rank[s])
        if lowest == site:
            return site
        site = lowest


def valleys(V):
    """{minimum: (persistence, minimum behind the killing saddle, height at which its water
    reaches the edge, inf where an elder minimum comes first)}."""
    rank = ranks(V)
    sites = sorted(np.ndindex(V.shape), key=lambda s: rank[s])
    minima = [s for s in sites if bottom(s, rank) == s]
    edge = np.zeros(V.shape, bool)
    for axis in range(V.ndim):
        edge[(slice(None),) * axis + (0,)] = edge[(slice(None),) * axis + (-1,)] = True
    found = {minimum: [np.inf, minimum, np.inf] for minimum in minima}
    alive, before = list(minima), None
    for level, saddle in enumerate(sites):
        wet = label(rank <= level)[0]
        for minimum in list(alive):
            same = (wet == wet[minimum]) & (wet[minimum] > 0)
            absorbed = same.any() and rank[same].min() < rank[minimum]
            reached = edge[saddle] if absorbed else (edge & same).any()
            if reached and found[minimum][2] == np.inf:
                found[minimum][2] = V[saddle] - V[minimum]
            if absorbed:
                alive.remove(minimum)
                # What was a component of its own before the saddle was under water.
                candidates = [
                    s
                    for s in neighbours(saddle, V.shape)
                    if before[s] and rank[before == before[s]].min() < rank[minimum]
                ]
                behind = min(candidates, key=lambda s: rank[s])
                found[minimum][:2] = V[saddle] - V[minimum], bottom(behind, rank)
        before = wet
    return {minimum: tuple(values) for minimum, values in found.items()}


def location(V, barrier, start):
    """Minimum of the valley at `barrier`, one pointer after the other."""
    table = valleys(V)
    site = bottom(start, ranks(V))
    while table[site][0] < barrier:
        site = table[site][1]
    return site


def kesten_golosov_cdf(y, terms=400):
    """∫_{−∞}^y (2/π) Σ_k (−1)^k/(2k+1) exp(−(2k+1)² π² |u|/8) du, term by term."""
    k = 2.0 * np.arange(terms) + 1
    signs = (-1.0) ** np.arange(terms)
    size = np.abs(np.asarray(y, float))[..., None]
    tail = (16 / np.pi**3) * (signs / k**3 * np.exp(-(k**2) * np.pi**2 * size / 8)).sum(-1)
    return np.where(np.asarray(y) > 0, 1 - tail, tail)
