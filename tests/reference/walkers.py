"""Random walks hop by hop in plain Python, and their exact laws by dense algebra."""

from math import inf, log

import numpy as np

WORD = 0xFFFFFFFF


def threefry(key, counter, rounds=20):
    """Threefry-2x32 of Python integers, as the paper writes it: one rotation after the other."""
    rotations = (13, 15, 26, 6, 17, 29, 16, 24)
    schedule = [key[0], key[1], 0x1BD11BDA ^ key[0] ^ key[1]]
    a, b = (counter[0] + schedule[0]) & WORD, (counter[1] + schedule[1]) & WORD
    for r in range(rounds):
        a = (a + b) & WORD
        turn = rotations[r % 8]
        b = ((b << turn) & WORD | b >> (32 - turn)) ^ a
        if r % 4 == 3:
            s = r // 4 + 1
            a = (a + schedule[s % 3]) & WORD
            b = (b + schedule[(s + 1) % 3] + s) & WORD
    return a, b


def rate(step, rates):
    """Rate of a hop with ΔV/T = step."""
    if rates == "arrhenius":
        return np.exp(-step / 2)
    return min(1.0, np.exp(-step)) if rates == "metropolis" else 1 / (1 + np.exp(step))


def hops(V, site, T, rates, periodic):
    """[(axis, ±1, neighbour, rate)] of a site of a lattice in any dimension."""
    found = []
    for axis, size in enumerate(V.shape):
        for sign in (-1, 1):
            other = list(site)
            other[axis] += sign
            if periodic:
                other[axis] %= size
            elif not 0 <= other[axis] < size:
                continue
            other = tuple(other)
            found.append((axis, sign, other, rate((V[other] - V[site]) / T, rates)))
    return found


def generator(V, T, rates, periodic=False):
    """L with L[i, j] the rate i -> j of the sites in row-major order, rows summing to zero."""
    L = np.zeros((V.size, V.size))
    for site in np.ndindex(*V.shape):
        i = np.ravel_multi_index(site, V.shape)
        for _, _, other, w in hops(V, site, T, rates, periodic):
            L[i, np.ravel_multi_index(other, V.shape)] += w
            L[i, i] -= w
    return L


def uniformisation_rate(V, T, rates, periodic=False):
    """Proposals per unit of time: 2 on a line, or the largest exit rate."""
    return 2.0 if rates != "arrhenius" else -np.diag(generator(V, T, rates, periodic)).min()


def transition_matrix(V, T, rates, periodic=False):
    """P = 1 + L/Λ of one step on a line."""
    return np.eye(V.size) + generator(V, T, rates, periodic) / uniformisation_rate(
        V, T, rates, periodic
    )


def boltzmann(V, T):
    """exp(−V/T)/Z in row-major order."""
    weights = np.exp(-(V - V.min()) / T).reshape(-1)
    return weights / weights.sum()


def first_passage(V, T, rates):
    """Σ_{k<N} Σ_{j≤k} π_j / (π_k r_k): mean time from site 0, a wall, to the last site."""
    p = boltzmann(V, T)
    return sum(
        p[: k + 1].sum() / (p[k] * rate((V[k + 1] - V[k]) / T, rates)) for k in range(len(V) - 1)
    )


def continuous_walk(V, start, times, T, rates, key, walker, periodic=False):
    """Unwrapped positions (K, d) of one walker, from the words of Threefry at (walker, 2 h + i)."""

    def uniform(block):
        a, b = threefry(key, (walker, block))
        return (((a << 32 | b) >> 11) + 0.5) / 2**53

    here, x, t, done, found = tuple(start), list(start), 0.0, 0, []
    while len(found) < len(times):
        options = hops(V, here, T, rates, periodic)
        total = sum(option[3] for option in options)
        until = t - log(uniform(2 * done)) / total if total else inf
        while len(found) < len(times) and times[len(found)] < until:
            found.append(list(x))
        part = uniform(2 * done + 1) * total
        for axis, sign, other, w in options:
            if part < w:
                x[axis] += sign
                here = other
                break
            part -= w
        t, done = until, done + 1
    return np.array(found)


def discrete_walk(V, start, record_at, T, rates, seed, environment, walker, periodic=False):
    """Unwrapped positions (K,) of one walker: word k of Threefry decides step k."""
    words = np.random.SeedSequence([1, seed]).generate_state(2, np.uint32)
    key = threefry([int(word) for word in words], (environment, 0))
    scale = uniformisation_rate(V, T, rates, periodic)
    x, found = start, {0: start}
    for step in range(max(record_at)):
        word = threefry(key, (walker, step // 2))[step % 2]
        there = {sign: w / scale for _, sign, _, w in hops(V, (x % V.size,), T, rates, periodic)}
        if word < 2**32 * there.get(-1, 0.0) - 0.5:
            x -= 1
        elif 2**32 - 1 - word < 2**32 * there.get(1, 0.0) - 0.5:
            x += 1
        found[step + 1] = x
    return np.array([found[k] for k in record_at])
