"""From stored images to what a model sees: bytes to pixels, augmentation, normalisation."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from noisescale.errors import InputError, shown
from noisescale.recipe import DataConfig
from noisescale.training.augmentation import named
from noisescale.training.data import Dataset

Augmentation = Callable[[jax.Array, jax.Array], jax.Array]

IMAGENET = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))


class Inputs(NamedTuple):
    """x = (augmented pixels in [0, 1] − mean)/deviation, in float32.

    Args:
        augmentation: see noisescale.training.augmentation; None: none.
        mean, deviation: one per channel; empty: pixels stay as they are.
        image_shape: of images that come as rows of pixels, as they lie on the device: a TPU would
            copy a set of small images into another layout in every call.
    """

    augmentation: Any = None
    mean: tuple[float, ...] = ()
    deviation: tuple[float, ...] = ()
    image_shape: tuple[int, ...] = ()

    def __call__(
        self, images: Array, keys: jax.Array | None = None
    ) -> Float[Array, "examples *shape"]:
        """What the model sees of a batch.

        Args:
            images: float32 pixels, or bytes that are divided by 255.
            keys: one per example for the augmentation; None: not augmented.
        """
        x = images.reshape(len(images), *self.image_shape) if self.image_shape else images
        if x.dtype == jnp.uint8:
            x = x.astype(jnp.float32) / 255.0
        if keys is not None and self.augmentation is not None:
            x = self.augmentation(keys, x)
        if self.mean:
            x = (x - jnp.array(self.mean)) / jnp.array(self.deviation)
        return x


def inputs_of(config: DataConfig, dataset: Dataset) -> Inputs:
    """What a recipe's [data] block asks for, of images as rows of pixels.

    Source: "imagenet" and "half" are the constants of eladhoffer/bigBatch, preprocess.py.
    """
    options: dict[str, Any] = {}
    if config.augmentation == "crop-flip":
        options = {"padding": config.padding, "fill": config.fill / 255}
    for name, value in config.augmentation_parameters:
        options[name] = value
    augmentation = named(config.augmentation, **options)
    plain = named(config.augmentation)
    for name, value in config.augmentation_parameters:
        if type(value) is not type(getattr(plain, name)) and not (
            type(value) is int and type(getattr(plain, name)) is float
        ):
            raise InputError(
                f"data.augmentation_parameters.{name}={shown(value)}: the default is "
                f"{getattr(plain, name)!r}, give something of that kind"
            )
    shape = dataset.image_shape
    channels = shape[2]
    match config.normalization:
        case "none":
            return Inputs(augmentation, image_shape=shape)
        case "half":
            return Inputs(augmentation, (0.5,) * channels, (0.5,) * channels, shape)
        case "imagenet":
            # Images of one channel take the mean over colours.
            mean, deviation = (
                values if channels == 3 else (sum(values) / 3,) * channels for values in IMAGENET
            )
            return Inputs(augmentation, mean, deviation, shape)
    # Sums over the training images, a part at a time: bytes need no second copy of them all.
    total = squares = np.zeros(channels)
    images = dataset.train_inputs
    scale = 255.0 if images.dtype == np.uint8 else 1.0
    for start in range(0, len(images), 4096):
        part = images[start : start + 4096].astype(np.float64) / scale
        total = total + part.sum(axis=(0, 1, 2))
        squares = squares + (part**2).sum(axis=(0, 1, 2))
    number = images[..., 0].size
    mean_values = total / number
    deviations = np.sqrt(squares / number - mean_values**2)
    return Inputs(
        augmentation,
        tuple(float(m) for m in mean_values),
        tuple(float(d) if d > 0 else 1.0 for d in deviations),
        shape,
    )
