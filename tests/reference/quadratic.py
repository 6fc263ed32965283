"""Heavy ball along one direction of a noisy quadratic: exact moments, and plain simulation.

    g = (curvature + coupled_decay) w + noise,   v ← m v + g,   w ← w − ε v − shrink w

All variances are per unit variance of the examples' gradients (divisor N, mean 0). Batches are
drawn with "replacement", without it and "independent" of each other, or cut from "reshuffled"
epochs, where the noises of an epoch cancel.
"""

import numpy as np
from scipy.linalg import solve_discrete_lyapunov

SAMPLINGS = ("replacement", "independent", "reshuffled")


def step(learning_rate, momentum, curvature, coupled_decay=0.0, shrink=0.0):
    """(A, b): the state (w, v) becomes A (w, v) + b noise."""
    slope = curvature + coupled_decay
    a = [[1 - learning_rate * slope - shrink, -learning_rate * momentum], [slope, momentum]]
    return np.array(a), np.array([-learning_rate, 1.0])


def eigenvalues(learning_rate, momentum, curvature, coupled_decay=0.0, shrink=0.0):
    """What one update multiplies the two modes of (w, v) by."""
    return np.linalg.eigvals(step(learning_rate, momentum, curvature, coupled_decay, shrink)[0])


def noise_covariance(train_size, batch_size, sampling):
    """Covariance of the noises of the N/B batches of one epoch."""
    count = train_size // batch_size
    if sampling == "replacement":
        return np.eye(count) / batch_size
    own = (train_size - batch_size) / (train_size - 1) / batch_size
    if sampling == "independent":
        return np.eye(count) * own
    covariance = np.full((count, count), -1 / (train_size - 1))
    np.fill_diagonal(covariance, own)
    return covariance


def independent_variance(learning_rate, momentum, curvature, noise_variance):
    """Stationary variance of w if the noises are independent: P = A P Aᵀ + b bᵀ variance."""
    a, b = step(learning_rate, momentum, curvature)
    return solve_discrete_lyapunov(a, noise_variance * np.outer(b, b))[0, 0]


def epoch_variance(learning_rate, momentum, curvature, covariance):
    """Stationary variance of w for correlated noises within an epoch, averaged over its updates."""
    a, b = step(learning_rate, momentum, curvature)
    # After k updates the state is forward[k] (state at the epoch's start) + effect[k] (noises).
    forward, effect, both = np.eye(2), np.zeros((2, len(covariance))), []
    for k in range(len(covariance)):
        forward, effect = a @ forward, a @ effect
        effect[:, k] += b
        both.append((forward, effect))
    start = solve_discrete_lyapunov(forward, effect @ covariance @ effect.T)
    return np.mean([(f @ start @ f.T + e @ covariance @ e.T)[0, 0] for f, e in both])


def free_walk(learning_rate, momentum, noise_variance, updates, gradient=1.0):
    """Mean and variance of w after 1 … `updates` updates at constant gradient, empty buffer."""
    a, b = step(learning_rate, momentum, 0.0)
    mean, covariance, means, variances = np.zeros(2), np.zeros((2, 2)), [], []
    for _ in range(updates):
        mean = a @ mean + b * gradient
        covariance = a @ covariance @ a.T + noise_variance * np.outer(b, b)
        means.append(mean[0])
        variances.append(covariance[0, 0])
    return np.array(means), np.array(variances)


def descend(rows, curvature):
    """w at the end of a noiseless run from w = 1; rows of (learning rate, momentum, updates)."""
    w, v = 1.0, 0.0
    for learning_rate, momentum, updates in rows:
        for _ in range(updates):
            v = momentum * v + curvature * w
            w -= learning_rate * v
    return w


def flat_shrinkage(learning_rate, momentum, weight_decay, form):
    """What an update multiplies a direction of zero gradient by, once the buffer has filled."""
    coupled = weight_decay if form == "coupled" else 0.0
    shrink = {
        "coupled": 0.0,
        "decoupled": learning_rate * weight_decay,
        "independent": weight_decay,
    }
    modes = eigenvalues(learning_rate, momentum, 0.0, coupled, shrink[form])
    # The faster mode, near m, is that of the buffer.
    return max(modes, key=abs).real


def white_examples(rng, train_size, dimensions):
    """Gradient vectors of the examples, of mean 0 and covariance 1 over the training set."""
    x = rng.standard_normal((train_size, dimensions))
    x -= x.mean(axis=0)
    return x @ np.linalg.inv(np.linalg.cholesky(x.T @ x / train_size)).T


def batch_means(rng, examples, batch_size, sampling, replicas):
    """Means over the batches of one epoch: updates × replicas × dimensions."""
    size, count = len(examples), len(examples) // batch_size
    if sampling == "replacement":
        picked = rng.integers(size, size=(replicas, count, batch_size))
    elif sampling == "independent":
        orders = np.broadcast_to(np.arange(size), (replicas, count, size))
        picked = rng.permuted(orders, axis=2)[:, :, :batch_size]
    else:
        orders = np.broadcast_to(np.arange(size), (replicas, size))
        picked = rng.permuted(orders, axis=1).reshape(replicas, count, batch_size)
    return examples[picked].mean(axis=2).swapaxes(0, 1)


def simulate(
    rng,
    examples,
    sampling,
    replicas,
    epochs,
    *,
    learning_rate,
    batch_size,
    momentum,
    curvature,
    gradient=0.0,
):
    """w after each update, from w = v = 0: updates × replicas × dimensions."""
    w = np.zeros((replicas, examples.shape[1]))
    v, trajectory = np.zeros_like(w), []
    for _ in range(epochs):
        for noise in batch_means(rng, examples, batch_size, sampling, replicas):
            v = momentum * v + curvature * w + gradient + noise
            w = w - learning_rate * v
            trajectory.append(w)
    return np.array(trajectory)
