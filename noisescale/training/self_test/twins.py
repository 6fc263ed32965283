"""The twins of the kernels: NumPy alone, float64, as plain as possible."""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from noisescale.recipe import OptimizerConfig

Numbers = NDArray[np.float64]


class Backward(NamedTuple):
    """Of Σ_i c_i ℓ_i; `nearest` is every example's pre-activation that is nearest to 0."""

    logits: Numbers
    gradients: list[Numbers]
    moments: list[tuple[Numbers, Numbers, Numbers]]
    nearest: Numbers


def cross_entropy(logits: Numbers, labels: NDArray[np.int32]) -> tuple[Numbers, Numbers]:
    """(every ℓ, every dℓ/dz)."""
    rows, largest = np.arange(len(labels)), logits.max(axis=1)
    powers = np.exp(logits - largest[:, None])
    sums = powers.sum(axis=1)
    slopes = powers / sums[:, None]
    slopes[rows, labels] -= 1.0
    return np.log(sums) + largest - logits[rows, labels], slopes


def perceptron(
    leaves: list[Numbers],
    x: NDArray[np.float32],
    labels: NDArray[np.int32],
    counts: Numbers,
    ghosts: int = 1,
) -> Backward:
    """Forward and by hand backward through two hidden layers; leaves as jax.tree.leaves has them.

    W_1 W_2 W_3, b_1 b_2 b_3, then, with batch norm, scale and shift of two norms.
    """
    matrices, biases, norms = leaves[:3], leaves[3:6], leaves[6:]
    inputs, before, backs, moments = [x.astype(np.float64)], [], [], []
    for layer in range(2):
        z = inputs[layer] @ matrices[layer] + biases[layer]
        if norms:
            moments.append(ghost_moments(z, counts, ghosts))
            z, back = ghost_norm(z, norms[2 * layer], norms[2 * layer + 1], counts, ghosts)
            backs.append(back)
        before.append(z)
        inputs.append(np.where(z > 0, z, 0.0))
    logits = inputs[2] @ matrices[2] + biases[2]
    slope = cross_entropy(logits, labels)[1] * counts[:, None]
    matrix_slopes: list[Numbers] = []
    bias_slopes: list[Numbers] = []
    norm_slopes: list[Numbers] = []
    for layer in (2, 1, 0):
        matrix_slopes.insert(0, inputs[layer].T @ slope)
        bias_slopes.insert(0, slope.sum(axis=0))
        if layer:
            slope = (slope @ matrices[layer].T) * (before[layer - 1] > 0)
            if norms:
                slope, scale_slope, shift_slope = backs[layer - 1](slope)
                norm_slopes[:0] = [scale_slope, shift_slope]
    nearest = np.min([np.min(np.abs(z), axis=1) for z in before], axis=0)
    return Backward(logits, [*matrix_slopes, *bias_slopes, *norm_slopes], moments, nearest)


def gradients(
    leaves: list[Numbers], x: NDArray[np.float32], labels: NDArray[np.int32]
) -> list[Numbers]:
    """Of Σ_i ℓ_i."""
    return perceptron(leaves, x, labels, np.ones(len(x))).gradients


def ghost_moments(x: Any, counts: Any, ghosts: int) -> tuple[Numbers, Numbers, Numbers]:
    """(means, variances, numbers) of every ghost, one feature of one ghost at a time."""
    features, length = x.shape[-1], len(x) // ghosts
    means, variances = np.zeros((ghosts, features)), np.zeros((ghosts, features))
    numbers = np.zeros(ghosts)
    for ghost in range(ghosts):
        rows = slice(ghost * length, (ghost + 1) * length)
        kept = x[rows][counts[rows] > 0].astype(np.float64).reshape(-1, features)
        numbers[ghost] = len(kept)
        if len(kept):
            means[ghost], variances[ghost] = kept.mean(axis=0), kept.var(axis=0)
    return means, variances, numbers


def ghost_norm(
    x: Any, scale: Any, shift: Any, counts: Any, ghosts: int
) -> tuple[Numbers, Callable[[Any], tuple[Numbers, Numbers, Numbers]]]:
    """(y, from dL/dy to dL/d(x, scale, shift)) of y = scale (x − μ)/√(σ² + 1e-5) + shift."""
    means, variances, numbers = ghost_moments(x, counts, ghosts)
    length, features = len(x) // ghosts, x.shape[-1]
    values = np.asarray(x, np.float64).reshape(ghosts, length, -1, features)
    roots = 1.0 / np.sqrt(variances + 1e-5)
    centred = [values[g] - means[g] for g in range(ghosts)]
    y = np.stack([scale * centred[g] * roots[g] + shift for g in range(ghosts)])

    def back(slope: Any) -> tuple[Numbers, Numbers, Numbers]:
        slopes = np.asarray(slope, np.float64).reshape(values.shape)
        x_slope, scale_slope, shift_slope = np.zeros_like(values), 0.0, 0.0
        for g in range(ghosts):
            kept = np.reshape(counts, (ghosts, length, 1, 1))[g]
            whole = np.sum(slopes[g], axis=(0, 1))
            along = np.sum(slopes[g] * centred[g], axis=(0, 1))
            scale_slope = scale_slope + along * roots[g]
            shift_slope = shift_slope + whole
            mean_slope = -scale * roots[g] * whole
            variance_slope = -0.5 * scale * roots[g] ** 3 * along
            through = (mean_slope + 2.0 * centred[g] * variance_slope) / max(numbers[g], 1.0)
            x_slope[g] = slopes[g] * scale * roots[g] + kept * through
        return x_slope.reshape(x.shape), np.asarray(scale_slope), np.asarray(shift_slope)

    return y.reshape(x.shape), back


def fold(
    running: Sequence[Any], moments: Sequence[Any], *, mode: str, decay: float
) -> list[Numbers]:
    """[mean, variance] after the ghosts, one after the other."""
    mean, variance = (np.asarray(values, np.float64) for values in running)
    ghosts = [
        (m.astype(np.float64), v.astype(np.float64), n)
        for m, v, n in zip(*moments, strict=True)
        if n > 0
    ]
    share = 1.0 - decay
    if mode == "composite-printed":
        deviation = decay ** len(ghosts) * np.sqrt(variance)
        mean = decay ** len(ghosts) * mean
        for power, (new, spread, _) in enumerate(ghosts, 1):
            mean = mean + share * decay**power * new
            deviation = deviation + share * decay**power * np.sqrt(spread)
        return [mean, deviation**2]
    if mode == "divided":
        share = share / len(ghosts)
    for new, spread, n in ghosts:
        unbiased = spread * n / (n - 1) if n > 1 else 0.0 * spread
        mean = (1 - share) * mean + share * new
        variance = (1 - share) * variance + share * unbiased
    return [mean, variance]


def momentum_step(
    optimizer: OptimizerConfig, v: Numbers, d: Numbers, rate: float, momentum: float
) -> tuple[Numbers, Numbers]:
    """(the increment of w, the new v)."""
    if optimizer.momentum_form == "velocity":
        v = momentum * v - rate * d
        return (momentum * v - rate * d if optimizer.nesterov else v), v
    if optimizer.momentum_form == "dampened":
        d = (1 - momentum) * d
    v = momentum * v + d
    return (-rate * (momentum * v + d) if optimizer.nesterov else -rate * v), v


def convolution(x: Any, kernel: Any, slope: Any, stride: int) -> list[Numbers]:
    """[y, dL/dx, dL/dkernel] of 3×3 patches, one place after the other."""
    kernel = kernel.astype(np.float64)
    padded = np.pad(x.astype(np.float64), ((0, 0), (1, 1), (1, 1), (0, 0)))
    y, kernel_slope, x_slope = np.zeros(slope.shape), np.zeros_like(kernel), np.zeros_like(padded)
    for i in range(slope.shape[1]):
        for j in range(slope.shape[2]):
            place = np.s_[:, stride * i : stride * i + 3, stride * j : stride * j + 3, :]
            here = slope[:, i, j].astype(np.float64)
            y[:, i, j] = np.tensordot(padded[place], kernel, 3)
            kernel_slope += np.tensordot(padded[place], here, (0, 0))
            x_slope[place] += np.tensordot(here, kernel, (1, 3))
    return [y, x_slope[:, 1:-1, 1:-1], kernel_slope]


def crop_flip(images: Any, corners: Any, mirrored: Any, *, padding: int, fill: float) -> Numbers:
    """Images cut out of their frames at corners (top, left), one pixel after the other."""
    _, height, width, _ = images.shape
    y = np.full(images.shape, fill, np.float64)
    for image, cut, (top, left), mirror in zip(images, y, corners, mirrored, strict=True):
        for i in range(height):
            for j in range(width):
                row, column = top + i - padding, left + j - padding
                if 0 <= row < height and 0 <= column < width:
                    cut[i, width - 1 - j if mirror else j] = image[row, column]
    return y


def threefry(
    first: Any, second: Any, low: Any, high: Any
) -> tuple[NDArray[np.uint32], NDArray[np.uint32]]:
    """Threefry-2x32 with 20 rounds, of keys (first, second) and counters (low, high).

    Source: Salmon, Moraes, Dror & Shaw 2011.
    """
    keys = (first, second, first ^ second ^ np.uint32(0x1BD11BDA))
    rotations = ((13, 15, 26, 6), (17, 29, 16, 24))
    a, b = low + keys[0], high + keys[1]
    for block in range(5):
        for bits in rotations[block % 2]:
            a = a + b
            b = ((b << np.uint32(bits)) | (b >> np.uint32(32 - bits))) ^ a
        a = a + keys[(block + 1) % 3]
        b = b + keys[(block + 2) % 3] + np.uint32(block + 1)
    return a, b
