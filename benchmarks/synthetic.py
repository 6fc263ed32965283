"""Noise in the shape of images: what both sides of a benchmark train on, and how."""

import numpy as np
from numpy.typing import NDArray

CLASSES = 10
LEARNING_RATE, MOMENTUM, WEIGHT_DECAY = 0.001, 0.9, 5e-4


def synthetic(
    shape: tuple[int, int, int], size: int
) -> tuple[NDArray[np.float32], NDArray[np.int32]]:
    """(images, labels)."""
    random = np.random.default_rng(0)
    images = random.random((size, *shape), np.float32)
    return images, random.integers(0, CLASSES, size).astype(np.int32)
