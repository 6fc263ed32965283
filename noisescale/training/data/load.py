"""From a recipe's [data] section to a Dataset."""

from math import isqrt
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from noisescale.errors import InputError
from noisescale.recipe import DataConfig
from noisescale.training.data.dataset import Dataset, fingerprint
from noisescale.training.data.digits import load_digits
from noisescale.training.data.mnist import load_mnist

Arrays = tuple[NDArray[np.float32], NDArray[np.int32]]


def load_dataset(config: DataConfig, data_dir: Path | None = None) -> Dataset:
    """The data set of a recipe, its subset taken and its validation split held out.

    Raises:
        InputError: files missing or malformed, or a split that leaves no training example.
    """
    if config.name == "digits":
        (x, y), test = load_digits()
    else:
        (x, y), test = load_mnist(data_dir)
    if config.subset:
        if config.subset > len(y):
            raise InputError(f"data.subset={config.subset} exceeds the {len(y)} training examples")
        x, y = x[: config.subset], y[: config.subset]
    split = "test"
    side = isqrt(x.shape[1])
    if config.validation:
        if config.validation >= len(y):
            raise InputError(
                f"data.validation={config.validation} leaves no training example of {len(y)}"
            )
        test = (x[-config.validation :], y[-config.validation :])
        x, y = x[: -config.validation], y[: -config.validation]
        split = "validation"
    found = fingerprint(x, y, *test)
    if config.sha256 and config.sha256 != found:
        raise InputError(
            f"the data has SHA-256 {found}, data.sha256 says {config.sha256}: it is not the same "
            "data; correct the files or the recipe"
        )
    return Dataset(
        name=config.name,
        train_inputs=x,
        train_labels=y,
        evaluation_inputs=test[0],
        evaluation_labels=test[1],
        evaluation_split=split,
        classes=10,
        image_shape=(side, side, 1),
        fingerprint=found,
    )
