"""Models, one file per family; each maps one example to its logits."""

import equinox as eqx
import jax

from noisescale.recipe import ModelConfig
from noisescale.training.models.multilayer_perceptron import (
    MultilayerPerceptron as MultilayerPerceptron,
)


def build_model(
    config: ModelConfig, input_shape: tuple[int, ...], classes: int, key: jax.Array
) -> eqx.Module:
    """The model that a recipe names, with initial weights drawn from `key`."""
    (features,) = input_shape
    return MultilayerPerceptron(features, config.width, config.depth, classes, key=key)
