"""Compiled kernels of the barrier tree: valleys of a lattice potential, their saddles and pointers.

Sites are ordered by (V, flat index), so that equal values are never ambiguous: of two equal minima
the one with the smaller index is the elder, and a plateau drains towards its smallest index.
"""

import numpy as np
from numba import njit


@njit(cache=True)
def line_tree(V):
    """Valleys of V (n,), n ≥ 2, in O(n) without sorting: maxima and minima meet on a stack.

    On the stack every saddle is lower than the saddle before it and every minimum higher than the
    minimum before it, so a new extremum closes the pairs that it encloses.

    Returns:
        (basin, minima, persistence, next, wall), as of `lattice_tree`.
    """
    n = V.size
    basin = np.empty(n, np.int64)
    turns = np.empty(n + 1, np.int64)  # minimum, maximum, …, minimum
    k = v = 0
    fell = True
    for i in range(n - 1):  # without branches: a rough path turns unpredictably
        falls = V[i + 1] < V[i]
        peak = falls and not fell
        turns[k] = i
        k += falls != fell
        basin[i] = v + (peak and V[i + 1] < V[i - 1])  # a maximum drains to its lower side
        v += peak
        fell = falls
    turns[k] = n - 1
    m = v + 1
    basin[n - 1] = v
    minima = turns[0 : 2 * m : 2].copy()
    low = V[minima]
    high = V[turns[1 : 2 * m - 1 : 2]]  # high[v] lies between valleys v and v + 1

    persistence = np.full(m, np.inf)
    pointer = np.arange(m)
    lows = np.empty(m, np.int64)
    saddles = np.empty(m, np.int64)  # saddles[j] lies between lows[j] and lows[j + 1]
    lows[0] = 0
    top = 0
    for v in range(1, m):
        c = v - 1
        while top > 0 and high[c] >= high[saddles[top - 1]]:
            a, s = lows[top], saddles[top - 1]
            persistence[a] = high[s] - low[a]
            pointer[a] = s
            top -= 1
        while top >= 0 and low[v] < low[lows[top]]:
            a = lows[top]
            persistence[a] = high[c] - low[a]
            pointer[a] = c + 1
            top -= 1
            if top >= 0:
                c = saddles[top]
        if top >= 0:
            saddles[top] = c
        top += 1
        lows[top] = v
    for j in range(1, top + 1):  # beyond the last valley rises the wall
        a, s = lows[j], saddles[j - 1]
        persistence[a] = high[s] - low[a]
        pointer[a] = s

    # An end is reached before the elder valley only if it lies on the other side of the minimum.
    wall = np.full(m, np.inf)
    highest = V[0]
    for v in range(m):
        if v > 0:
            highest = max(highest, high[v - 1])
        if pointer[v] >= v and highest - low[v] <= persistence[v]:
            wall[v] = highest - low[v]
    highest = V[n - 1]
    for v in range(m - 1, -1, -1):
        if v < m - 1:
            highest = max(highest, high[v])
        if pointer[v] <= v and highest - low[v] < persistence[v]:
            wall[v] = min(wall[v], highest - low[v])
    return basin, minima, persistence, pointer, wall


@njit(inline="always")
def _before(P, p, q):
    return P[p] < P[q] or (P[p] == P[q] and p < q)


@njit(cache=True)
def descend(P, offsets):
    """Steepest descent on a flattened lattice P whose rim of one site is +inf.

    Args:
        P: potential with the rim, flattened.
        offsets: of the neighbours' flat indices.

    Returns:
        basin: valley of every site, valleys counted in the order of their minima's indices.
        minima: index of every valley's lowest site.
        saddles: sites with a lower neighbour in another valley than their own.
        edge: of every valley, its lowest site next to the rim; 0, itself of the rim, for none.
    """
    n = P.size
    basin = np.empty(n, np.int64)
    minima = np.empty(n // 2 + 1, np.int64)
    m = 0
    for p in range(n):
        if P[p] == np.inf:
            continue
        best, lowest = p, P[p]
        for o in offsets:
            q = p + o
            if P[q] < lowest or (P[q] == lowest and q < best):
                best, lowest = q, P[q]
        if best == p:
            minima[m] = p
            m += 1
            basin[p] = -m  # valley v is kept as -v - 1 until all are resolved
        else:
            basin[p] = best
    for p in range(n):
        if P[p] == np.inf:
            continue
        q = p
        while basin[q] >= 0:
            q = basin[q]
        valley = basin[q]
        q = p
        while basin[q] >= 0:
            above = q
            q = basin[above]
            basin[above] = valley
    saddles = np.empty(n, np.int64)
    edge = np.zeros(m, np.int64)
    k = 0
    for p in range(n):
        if P[p] == np.inf:
            continue
        divides = False
        for o in offsets:
            q = p + o
            if P[q] == np.inf:
                if _before(P, p, edge[-basin[p] - 1]):
                    edge[-basin[p] - 1] = p
            elif basin[q] != basin[p] and _before(P, q, p):
                divides = True
        if divides:
            saddles[k] = p
            k += 1
    for p in range(n):
        basin[p] = -basin[p] - 1
    return basin, minima[:m].copy(), saddles[:k].copy(), edge


@njit(cache=True)
def lattice_tree(P, offsets, basin, minima, saddles, edge):
    """Union of valleys over their saddles, in ascending order.

    Args:
        P, offsets, basin, minima, edge: as of `descend`.
        saddles: its saddles, sorted by (V, index).

    Returns:
        (persistence, next, wall): of every valley, the height above its minimum of the saddle at
        which an elder one absorbs it; the valley behind that saddle (the lowest neighbour of the
        saddle that belongs to an elder component); and the height at which water in the valley
        reaches a site of the edge, inf if it is absorbed before.
    """
    m = minima.size
    persistence = np.full(m, np.inf)
    wall = np.full(m, np.inf)
    pointer = np.arange(m)
    parent = np.arange(m)
    roots = np.empty(offsets.size, np.int64)
    for s in saddles:
        eldest = -1
        outside = 0
        for j in range(offsets.size):
            q = s + offsets[j]
            roots[j] = -1
            if P[q] == np.inf:
                outside = s
            elif _before(P, q, s):
                r = basin[q]
                while parent[r] != r:
                    parent[r] = parent[parent[r]]
                    r = parent[r]
                roots[j] = r
                if eldest < 0 or _before(P, minima[r], minima[eldest]):
                    eldest = r
        for j in range(offsets.size):
            r = roots[j]
            if r < 0 or r == eldest or parent[r] != r:
                continue
            behind = -1
            for i in range(offsets.size):
                if roots[i] >= 0 and _before(P, minima[roots[i]], minima[r]):
                    q = s + offsets[i]
                    if behind < 0 or _before(P, q, behind):
                        behind = q
            persistence[r] = P[s] - P[minima[r]]
            pointer[r] = basin[behind]
            parent[r] = eldest
            first = outside if _before(P, outside, edge[r]) else edge[r]
            if not _before(P, s, first):
                wall[r] = P[first] - P[minima[r]]
                first = s
            if _before(P, first, edge[eldest]):
                edge[eldest] = first
    for r in range(m):
        if parent[r] == r:
            wall[r] = P[edge[r]] - P[minima[r]]
    return persistence, pointer, wall


@njit(cache=True)
def follow(persistence, pointer, wall, barriers, valleys):
    """Where `valleys` (S,) drain once all barriers below `barriers` (K,), ascending, are open.

    Paths are halved as they are followed, so that a pointer is passed only a few times in all.

    Returns:
        (K, S) valleys, and (K, S) whether a larger box might have led elsewhere.
    """
    pointer = pointer.copy()
    limited = wall < np.inf
    ends = np.empty((barriers.size, valleys.size), np.int64)
    bounded = np.empty((barriers.size, valleys.size), np.bool_)
    current = valleys.copy()
    touched = np.zeros(valleys.size, np.bool_)
    for k in range(barriers.size):
        for j in range(valleys.size):
            v = current[j]
            while persistence[v] < barriers[k]:
                u = pointer[v]
                if persistence[u] < barriers[k]:
                    limited[v] |= limited[u]
                    pointer[v] = pointer[u]
                touched[j] |= limited[v]
                v = pointer[v]
            current[j] = v
            ends[k, j] = v
            bounded[k, j] = touched[j] or wall[v] < barriers[k]
    return ends, bounded
