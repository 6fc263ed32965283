"""SGD on a multilayer perceptron in NumPy float64, one batch at a time."""

import numpy as np


def loss_and_gradient(weights, biases, x, y):
    """Mean cross-entropy and its gradient by hand-written backpropagation."""
    activations, inputs = [x], []
    for layer, (w, b) in enumerate(zip(weights, biases, strict=True)):
        z = activations[-1] @ w + b
        inputs.append(z)
        activations.append(np.maximum(z, 0) if layer < len(weights) - 1 else z)
    logits = activations[-1]
    shifted = logits - logits.max(axis=1, keepdims=True)
    p = np.exp(shifted) / np.exp(shifted).sum(axis=1, keepdims=True)
    rows = np.arange(len(y))
    loss = -np.mean(np.log(p[rows, y]))
    delta = p.copy()
    delta[rows, y] -= 1
    delta /= len(y)
    dw, db = [None] * len(weights), [None] * len(weights)
    for layer in reversed(range(len(weights))):
        dw[layer] = activations[layer].T @ delta
        db[layer] = delta.sum(axis=0)
        if layer:
            delta = (delta @ weights[layer].T) * (inputs[layer - 1] > 0)
    return loss, dw, db


def train(weights, biases, batches, x, y, *, rate, momentum, decay, form, nesterov=False, clips=()):
    """The weights after each batch of indices; `form` is "trace" or "velocity".

    `clips` holds for each update the norm that its gradient is cut to (none beyond its end).
    """
    w = [a.astype(np.float64) for a in [*weights, *biases]]
    v = [np.zeros_like(a) for a in w]
    depth, trajectory = len(weights), []
    for number, batch in enumerate(batches):
        _, dw, db = loss_and_gradient(w[:depth], w[depth:], x[batch], y[batch])
        whole = np.concatenate([g.ravel() for g in [*dw, *db]])
        length, shrink = np.linalg.norm(whole), 1.0
        if number < len(clips) and length > clips[number]:
            shrink = clips[number] / length
        for k, gradient in enumerate([*dw, *db]):
            d = shrink * gradient + decay * w[k]
            if form == "trace":
                v[k] = momentum * v[k] + d
                w[k] = w[k] - rate * (d + momentum * v[k] if nesterov else v[k])
            else:
                v[k] = momentum * v[k] - rate * d
                w[k] = w[k] + (momentum * v[k] - rate * d if nesterov else v[k])
        trajectory.append([a.copy() for a in w])
    return trajectory
