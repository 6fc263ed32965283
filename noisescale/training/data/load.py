"""From a recipe's [data] section to a Dataset."""

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from noisescale.errors import InputError
from noisescale.recipe import DataConfig
from noisescale.training.data.dataset import Dataset, fingerprint
from noisescale.training.data.digits import load_digits
from noisescale.training.data.mnist import load_mnist

Arrays = tuple[NDArray[Any], NDArray[np.int32]]


def load_dataset(config: DataConfig, data_dir: Path | None = None) -> Dataset:
    """The data set of a recipe, its subset taken and its validation split held out.

    Raises:
        InputError: files missing or malformed, or a split that leaves no training example.
    """
    (x, y), test = _loaded(config.name, data_dir)
    if config.subset:
        if config.subset > len(y):
            raise InputError(f"data.subset={config.subset} exceeds the {len(y)} training examples")
        x, y = x[: config.subset], y[: config.subset]
    split = "test"
    if config.validation:
        if config.validation >= len(y):
            raise InputError(
                f"data.validation={config.validation} leaves no training example of {len(y)}"
            )
        test = (x[-config.validation :], y[-config.validation :])
        x, y = x[: -config.validation], y[: -config.validation]
        split = "validation"
    # Images count as rows of pixels, whatever their shape.
    rows = (x.reshape(len(x), -1), y, test[0].reshape(len(test[0]), -1), test[1])
    found = fingerprint(*rows)
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
        classes=100 if config.name == "cifar100" else 10,
        fingerprint=found,
    )


def _loaded(name: str, data_dir: Path | None) -> tuple[Arrays, Arrays]:
    if name == "digits":
        return load_digits()
    if name == "mnist":
        return load_mnist(data_dir)
    from noisescale.training.data.cifar import load_cifar

    return load_cifar(name, data_dir)
