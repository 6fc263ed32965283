"""From a recipe's [model] block to a network with its initial weights."""

import inspect
from collections.abc import Callable
from dataclasses import replace
from importlib import import_module
from math import prod
from typing import Any

import equinox as eqx
import jax

from noisescale.errors import InputError, shown
from noisescale.recipe import ModelConfig
from noisescale.training.models.alexnet import AlexNet
from noisescale.training.models.forward import (
    Downsampled,
    Network,
    PerExample,
    norms_of,
)
from noisescale.training.models.multilayer_perceptron import MultilayerPerceptron
from noisescale.training.models.resnet import ResNet
from noisescale.training.models.shallow_cnn import ShallowCNN
from noisescale.training.models.ten_layer_cnn import TenLayerCNN
from noisescale.training.models.vgg import VGG
from noisescale.training.models.wide_resnet import WideResNet

ImageShape = tuple[int, int, int]
# (image shape, number of classes, key=) -> module
Factory = Callable[..., Any]


def build_model(
    config: ModelConfig,
    image_shape: ImageShape,
    classes: int,
    key: jax.Array,
    factory: Factory | None = None,
) -> Network:
    """The model that a recipe names, with initial weights drawn from `key`.

    Args:
        factory: makes one's own; by default it is imported by the recipe's name.

    Raises:
        InputError: images too small for it, or an import path that leads to no module.
    """
    if config.downsample > 1:
        return _behind_smaller_images(config, image_shape, classes, key, factory)
    if config.own:
        factory = factory or _imported(config.name)
        return _own_network(factory, config, image_shape, classes, key)
    channels, width = image_shape[2], config.width
    options: dict[str, Any] = {"batch_norm": config.batch_norm, "key": key}
    match config.name:
        case "multilayer-perceptron":
            options |= {"dropout": config.dropout, "dropconnect": config.dropconnect}
            return MultilayerPerceptron(prod(image_shape), width, config.depth, classes, **options)
        case "ten-layer-cnn":
            _at_least(4, config, image_shape)
            return TenLayerCNN(channels, width, classes, **options)
        case "c1" | "c3":
            _at_least(7, config, image_shape)
            return ShallowCNN(image_shape, width, classes, dropout=config.dropout, **options)
        case "resnet":
            return ResNet(channels, width, (config.depth - 2) // 6, classes, **options)
        case "wide-resnet":
            blocks = (config.depth - 4) // 6
            if config.block == "post-activation":
                if config.dropout:
                    raise InputError("model.dropout needs model.block = 'pre-activation'")
                return ResNet(channels, width, blocks, classes, **options)
            options["dropout"] = config.dropout
            return WideResNet(channels, width, blocks, classes, **options)
        case "vgg":
            _at_least(32, config, image_shape)
            return VGG(channels, width, config.depth, classes, **options)
        case _:
            return AlexNet(image_shape, width, classes, dropout=config.dropout, **options)


def _behind_smaller_images(
    config: ModelConfig,
    image_shape: ImageShape,
    classes: int,
    key: jax.Array,
    factory: Factory | None,
) -> Network:
    height, width, channels = image_shape
    window = config.downsample
    if min(height, width) < window:
        raise InputError(
            f"model.downsample={window}: the images have {height}×{width} pixels; it must be at "
            f"most {min(height, width)}"
        )
    smaller = (height // window, width // window, channels)
    network = build_model(replace(config, downsample=1), smaller, classes, key, factory)
    return Downsampled(network, window)


def _own_network(
    factory: Factory, config: ModelConfig, image_shape: ImageShape, classes: int, key: jax.Array
) -> Network:
    """A user's network: one for batches, or any module for one example."""
    try:
        module = factory(image_shape, classes, key=key)
    except Exception as error:  # whatever the user's code raises
        raise InputError(
            f"model.name={config.name!r}: {type(error).__name__}: {error}; it is called as "
            f"factory({image_shape}, {classes}, key=key)"
        ) from error
    if not callable(module) or not any(map(eqx.is_inexact_array, jax.tree.leaves(module))):
        raise InputError(
            f"model.name={config.name!r} made {shown(module)}: it must make a module with weights, "
            "from an image (height, width, channels) to its logits"
        )
    if not isinstance(module, Network):
        module = PerExample(module, _takes_key(module))
    if norms_of(module) and not config.batch_norm:
        raise InputError(f"{config.name!r} has batch norm: set model.batch_norm = true")
    if config.batch_norm and not norms_of(module):
        raise InputError(f"{config.name!r} has no GhostBatchNorm: leave out model.batch_norm")
    return module


def _takes_key(module: Any) -> bool:
    try:
        return "key" in inspect.signature(module).parameters
    except (TypeError, ValueError):
        return False


def _imported(path: str) -> Factory:
    module, _, name = path.partition(":")
    try:
        found: Any = import_module(module)
        for part in name.split("."):
            found = getattr(found, part)
    except (ImportError, AttributeError, ValueError) as error:
        raise InputError(
            f"model.name={path!r}: {error}; give 'package.module:factory' of something that Python "
            "can import from here"
        ) from None
    if not callable(found):
        raise InputError(f"model.name={path!r} is {shown(found)}: it must be a function or class")
    return found


def _at_least(size: int, config: ModelConfig, image_shape: ImageShape) -> None:
    height, width, _ = image_shape
    if min(height, width) < size:
        raise InputError(
            f"model.name={config.name!r} needs images of {size}×{size} pixels or more, these have "
            f"{height}×{width}: choose another model or data set"
        )
