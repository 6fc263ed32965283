"""scikit-learn's digits: 1,797 real handwritten digits of 8×8 pixels, inside the package."""

import numpy as np
from numpy.typing import NDArray

from noisescale.errors import InputError

TRAIN_SIZE = 1437
# The split is the permutation of this Philox key: the first 1,437 train, the last 360 test.
SPLIT_KEY = 1797

Arrays = tuple[NDArray[np.float32], NDArray[np.int32]]


def digits_split() -> NDArray[np.int64]:
    """The published order of the 1,797 digits: training examples first."""
    return np.random.Generator(np.random.Philox(key=SPLIT_KEY)).permutation(1797)


def load_digits() -> tuple[Arrays, Arrays]:
    """((train images (1437, 8, 8, 1), labels), (test images, labels)), pixels divided by 16.

    Source: E. Alpaydin & C. Kaynak 1998, Optical Recognition of Handwritten Digits (UCI).
    """
    try:
        from sklearn import datasets
    except ImportError:
        raise InputError(
            "the digits come with scikit-learn: pip install 'noisescale[train]'"
        ) from None
    bunch = datasets.load_digits()
    order = digits_split()
    x = (np.asarray(bunch.data, np.float32) / 16.0)[order].reshape(-1, 8, 8, 1)
    y = np.asarray(bunch.target, np.int32)[order]
    return (x[:TRAIN_SIZE], y[:TRAIN_SIZE]), (x[TRAIN_SIZE:], y[TRAIN_SIZE:])
