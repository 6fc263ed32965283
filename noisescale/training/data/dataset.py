"""What every loader returns."""

import hashlib
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, slots=True, kw_only=True)
class Dataset:
    """Training examples and the split that errors are measured on.

    Args:
        train_inputs: images (N, height, width, channels), float32 pixels in [0, 1] or bytes.
        train_labels: (N,) int32 in [0, classes).
        evaluation_inputs, evaluation_labels: the same for the evaluation split.
        evaluation_split: "test" or "validation".
        fingerprint: SHA-256 of the arrays, images as rows, for the provenance.
    """

    name: str
    train_inputs: NDArray[np.float32] | NDArray[np.uint8]
    train_labels: NDArray[np.int32]
    evaluation_inputs: NDArray[np.float32] | NDArray[np.uint8]
    evaluation_labels: NDArray[np.int32]
    evaluation_split: str
    classes: int
    fingerprint: str

    @property
    def train_size(self) -> int:
        """N."""
        return len(self.train_labels)

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """(height, width, channels)."""
        height, width, channels = self.train_inputs.shape[1:]
        return height, width, channels

    @property
    def rows(self) -> tuple[NDArray[Any], NDArray[Any]]:
        """Training and evaluation images as rows of pixels: (N, height · width · channels)."""
        images = (self.train_inputs, self.evaluation_inputs)
        train, evaluation = (a.reshape(len(a), -1) for a in images)
        return train, evaluation


def fingerprint(*arrays: NDArray[np.generic]) -> str:
    """SHA-256 over shapes, types and bytes."""
    digest = hashlib.sha256()
    for array in arrays:
        digest.update(f"{array.shape} {array.dtype}".encode())
        digest.update(np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()
