"""Worlds in which it is known why weights leave their start: runs as dicts of plain arrays.

Every world is a function of a generator and numbers; it gives runs (seeds × replicas × batch sizes
and one full-batch run per seed) with the keys of a trajectory. Noise of a batch has the variance
`noise`² (1/B − 1/N) per coordinate and update.
"""

from itertools import pairwise

import numpy as np

BATCHES = (16, 64, 256)
TRAIN_SIZE = 4096


def recorded(most, per_decade=8):
    """0 and log-spaced whole numbers of updates."""
    many = np.round(np.geomspace(1, most, int(np.log10(most) * per_decade) + 1)).astype(int)
    return np.unique(np.concatenate([[0], many]))


def strength(rate, batch, noise):
    """Standard deviation of one update's noise."""
    return rate * noise * np.sqrt(1 / batch - 1 / TRAIN_SIZE)


def runs(update, path, rate, *, seeds=4, replicas=2, batches=BATCHES, sketch=None, rng):
    """Every run of path(seed, batch, replica) -> (offsets w − w_0 (n, d), norms, step norms)."""
    projection, found = None, []
    for seed in range(seeds):
        for batch in (*batches, TRAIN_SIZE):
            for replica in range(1 if batch == TRAIN_SIZE else replicas):
                offsets, norms, steps = path(seed, batch, replica)
                if sketch is not None and projection is None:
                    places = rng.integers(0, sketch, offsets.shape[1])
                    projection = np.zeros((offsets.shape[1], sketch))
                    signs = rng.choice([-1.0, 1.0], offsets.shape[1])
                    projection[np.arange(len(places)), places] = signs
                run = {
                    "update": update,
                    "distance": np.linalg.norm(offsets, axis=1),
                    "batch_size": batch,
                    "learning_rate": rate,
                    "train_size": TRAIN_SIZE,
                    "seed": seed,
                    "replica": replica,
                    "weight_norm": norms,
                    "update_norm": steps,
                    "positions": offsets if projection is None else offsets @ projection,
                }
                found.append(run)
    return found


def wiener(update, size, d, rng):
    """A free walk of `size` per coordinate and update, at the recorded updates."""
    steps = np.sqrt(np.diff(update))[:, None] * rng.standard_normal((len(update) - 1, d))
    return size * np.concatenate([np.zeros((1, d)), np.cumsum(steps, axis=0)])


def norms_of(w0, offsets):
    return np.linalg.norm(w0 + offsets, axis=1)


def gradient_descent(update, step, start):
    """Offsets of w ← w + step(w) at the recorded updates."""
    w, offsets, k = start.copy(), [], 0
    for until in update:
        while k < until:
            w, k = w + step(w), k + 1
        offsets.append(w - start)
    return np.array(offsets)


def additive(drift, d=400, most=3000, rate=0.1, noise=1.0, relaxation=None, induced=None, **kinds):
    """Runs of a given drift, drift(rng, update, w_0) -> (n, d) per seed, plus independent noise.

    Without `relaxation` the noise walks freely; otherwise coordinate i returns at the rate
    1/relaxation[i] per update (Ornstein–Uhlenbeck). `induced`(update) -> (n,) is a way ∝ θ in one
    direction of each seed, in units of the smallest batch's, as noise on a curved valley makes it.
    """
    rng = kinds["rng"]
    update = recorded(most)
    kept = {}

    def path(seed, batch, replica):
        if seed not in kept:
            w0 = rng.standard_normal(d)
            offsets = np.zeros((len(update), d)) if drift is None else drift(rng, update, w0)
            kept[seed] = w0, offsets, rng.standard_normal(d) / np.sqrt(d)
        w0, offsets, direction = kept[seed]
        size = strength(rate, batch, noise)
        if relaxation is None:
            walk = wiener(update, size, d, rng)
        else:
            walk = relaxing(update, size, np.broadcast_to(relaxation, d), rng)
        there = offsets + walk
        if induced is not None:
            part = (size / strength(rate, BATCHES[0], noise)) ** 2
            there = there + part * induced(update)[:, None] * direction
        if size == 0 and drift is None:
            there = 1e-6 * wiener(update, 1.0, d, rng)  # rounding
        steps = np.full(len(update), max(size * np.sqrt(d), 1e-9))
        return there, norms_of(w0, there), steps

    return runs(update, path, rate, **kinds)


def relaxing(update, size, relaxation, rng):
    """Exact Ornstein–Uhlenbeck increments: variance size² τ/2 at rest."""
    x, found = np.zeros(len(relaxation)), []
    for before, after in pairwise(update):
        decay = np.exp(-(after - before) / relaxation)
        spread = size * np.sqrt(relaxation / 2 * (1 - decay**2))
        x = decay * x + spread * rng.standard_normal(len(x))
        found.append(x)
    return np.concatenate([np.zeros((1, len(x))), found])


def exponential_loss(scale=1.0, rate=0.5, **kinds):
    """Gradient descent on Σ_i a_i e^{−w_i/a_i}·…: w_i grows like a_i ln(1 + ε k/a_i)."""

    def drift(rng, update, w0):
        a = scale * np.exp(0.3 * rng.standard_normal(len(w0)))
        return a * np.log1p(rate * update[:, None] / a)

    return additive(drift, rate=rate, **kinds)


def linear_drift(speed, rate=0.1, **kinds):
    """A constant gradient of norm `speed` in a random direction of each seed."""

    def drift(rng, update, w0):
        u = rng.standard_normal(len(w0))
        return rate * speed * update[:, None] * u / np.linalg.norm(u)

    return additive(drift, rate=rate, **kinds)


def settling_drift(reach, updates, **kinds):
    """A fast way of length `reach` that is over after `updates`."""

    def drift(rng, update, w0):
        u = rng.standard_normal(len(w0))
        return reach * -np.expm1(-update[:, None] / updates) * u / np.linalg.norm(u)

    return additive(drift, **kinds)


def scale_invariant(size, d=200, most=3000, rate=0.1, decay=0.0, **kinds):
    """Δw ⟂ w with |Δw| = ε size (1/B − 1/N)^{1/2}/|w|, then w ← (1 − ε decay) w.

    Several updates at a time while they turn w by less than 10 %: their sum is perpendicular too.
    """
    rng = kinds["rng"]
    update = recorded(most)
    starts = {}

    def path(seed, batch, replica):
        w0 = starts.setdefault(seed, rng.standard_normal(d) / np.sqrt(d))
        one = strength(rate, batch, size)
        w, k, offsets, steps = w0.copy(), 0, [np.zeros(d)], [0.0]
        for until in update[1:]:
            while k < until:
                square = w @ w
                turn = one / square
                several = min(until - k, max(1, int((0.1 / turn) ** 2)) if turn > 0 else until)
                if decay:
                    several = min(several, max(1, int(0.05 / (rate * decay))))
                g = rng.standard_normal(d)
                g -= (g @ w) / square * w
                g *= one / np.sqrt(square) / np.linalg.norm(g) * np.sqrt(several)
                w = (1 - rate * decay) ** several * (w + g)
                k += several
            offsets.append(w - w0)
            steps.append(max(one, 1e-9) / np.linalg.norm(w))
        offsets = np.array(offsets)
        if one == 0 and not decay:
            offsets += 1e-6 * wiener(update, 1.0, d, rng)  # rounding
        return offsets, norms_of(w0, offsets), np.array(steps)

    return runs(update, path, rate, **kinds)


def fractional_path(n, alpha, rows, rng):
    """(rows, n) with E (V(x) − V(y))² = |x − y|^α, by circulant embedding of its increments."""
    k = np.arange(n)
    c = (np.abs(k + 1.0) ** alpha - 2 * np.abs(k * 1.0) ** alpha + np.abs(k - 1.0) ** alpha) / 2
    spectrum = np.fft.fft(np.concatenate([c, c[-2:0:-1]])).real.clip(0)
    z = rng.standard_normal((rows, len(spectrum))) + 1j * rng.standard_normal((rows, len(spectrum)))
    increments = np.fft.fft(np.sqrt(spectrum / len(spectrum)) * z, axis=1).real[:, : n - 1]
    return np.concatenate([np.zeros((rows, 1)), np.cumsum(increments, axis=1)], axis=1)


def landscape(alpha, noise, d=48, most=4000, rate=0.1, sites=400, seeds=4, replicas=2, **kinds):
    """Descent with noise in Σ_i V_i(w_i): every V_i fractional, piecewise linear, |w| < sites/2.

    Replicas and batch sizes of a seed share the landscape. Its temperature is
    θ noise²/2 with θ = ε (1/B − 1/N) (Einstein's relation).
    """
    rng, batches = kinds["rng"], kinds.get("batches", BATCHES)
    update = recorded(most)
    slopes = np.diff(fractional_path(sites, alpha, seeds * d, rng), axis=1).reshape(seeds, d, -1)
    lanes = [(s, b, r) for s in range(seeds) for b in batches for r in range(replicas)]
    lanes += [(s, TRAIN_SIZE, 0) for s in range(seeds)]
    seed = np.array([s for s, _, _ in lanes])
    sizes = np.array([strength(rate, b, noise) for _, b, _ in lanes])[:, None]
    base = (seed[:, None] * d + np.arange(d)) * (sites - 1)
    flat = slopes.ravel()
    w0 = sites / 2 + rng.random((seeds, d))
    w, k, found = w0[seed], 0, []
    for until in update:
        while k < until:
            cell = w.astype(np.int64)
            w = w - rate * flat[base + cell]
            w += sizes * rng.standard_normal(w.shape)
            np.clip(w, 0.5, sites - 1.5, out=w)
            k += 1
        found.append(w - w0[seed])
    offsets = dict(zip(lanes, np.array(found).transpose(1, 0, 2), strict=True))

    def path(s, batch, replica):
        start = np.random.default_rng(s).standard_normal(d)
        return offsets[s, batch, replica], norms_of(start, offsets[s, batch, replica]), None

    return runs(update, path, rate, seeds=seeds, replicas=replicas, **kinds)
