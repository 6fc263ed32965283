"""Models, one file per family; each maps a batch to its logits."""

import jax

from noisescale.recipe import ModelConfig
from noisescale.training.models.forward import Model as Model
from noisescale.training.models.forward import Pass as Pass
from noisescale.training.models.multilayer_perceptron import (
    MultilayerPerceptron as MultilayerPerceptron,
)


def build_model(
    config: ModelConfig, input_shape: tuple[int, ...], classes: int, key: jax.Array
) -> MultilayerPerceptron:
    """The model that a recipe names, with initial weights drawn from `key`."""
    (features,) = input_shape
    return MultilayerPerceptron(
        features,
        config.width,
        config.depth,
        classes,
        batch_norm=config.batch_norm,
        dropout=config.dropout,
        dropconnect=config.dropconnect,
        key=key,
    )
