"""What every loader returns."""

import hashlib
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, slots=True, kw_only=True)
class Dataset:
    """Training examples and the split that errors are measured on.

    Args:
        train_inputs: (N, *shape) float32.
        train_labels: (N,) int32 in [0, classes).
        evaluation_inputs, evaluation_labels: the same for the evaluation split.
        evaluation_split: "test" or "validation".
        image_shape: (height, width, channels), which the examples may hold flattened.
        fingerprint: SHA-256 of the arrays, for the provenance.
    """

    name: str
    train_inputs: NDArray[np.float32]
    train_labels: NDArray[np.int32]
    evaluation_inputs: NDArray[np.float32]
    evaluation_labels: NDArray[np.int32]
    evaluation_split: str
    classes: int
    image_shape: tuple[int, int, int]
    fingerprint: str

    @property
    def train_size(self) -> int:
        """N."""
        return len(self.train_labels)


def fingerprint(*arrays: NDArray[np.generic]) -> str:
    """SHA-256 over shapes, types and bytes."""
    digest = hashlib.sha256()
    for array in arrays:
        digest.update(f"{array.shape} {array.dtype}".encode())
        digest.update(np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()
