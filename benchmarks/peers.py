"""The models in PyTorch's own layers, with our weights."""

import math
import re
from itertools import pairwise
from typing import Any

import numpy as np
import torch
from synthetic import CLASSES
from torch import nn
from torch.nn import functional

from noisescale.recipe import ModelConfig


class MultilayerPerceptron(nn.Module):
    """See noisescale.training.models.multilayer_perceptron."""

    def __init__(self, features: int, width: int, depth: int) -> None:
        super().__init__()
        sizes = [features, *[width] * depth, CLASSES]
        self.dense = nn.ModuleList(nn.Linear(*edge) for edge in pairwise(sizes))
        self.norms = nn.ModuleList(nn.BatchNorm1d(width) for _ in range(depth))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Scores of the classes."""
        x = x.flatten(1)
        for dense, norm in zip(self.dense, self.norms, strict=False):
            x = functional.relu(norm(dense(x)))
        return self.dense[-1](x)


class TenLayerCNN(nn.Module):
    """See noisescale.training.models.ten_layer_cnn."""

    def __init__(self, channels: int, width: int) -> None:
        super().__init__()
        sizes = [channels, *[width] * 3, *[2 * width] * 3, *[4 * width] * 3]
        self.convolutions = nn.ModuleList(
            nn.Conv2d(fan_in, fan_out, 3, padding=1) for fan_in, fan_out in pairwise(sizes)
        )
        self.norms = nn.ModuleList(map(nn.BatchNorm2d, sizes[1:]))
        self.dense = nn.Linear(4 * width, CLASSES)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Scores of the classes."""
        for layer, (convolution, norm) in enumerate(
            zip(self.convolutions, self.norms, strict=True)
        ):
            if layer in (3, 6):
                x = functional.avg_pool2d(x, 2)
            x = functional.relu(norm(convolution(x)))
        return self.dense(x.mean((2, 3)))


class Block(nn.Module):
    """See noisescale.training.models.resnet."""

    def __init__(self, fan_in: int, fan_out: int, stride: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(fan_in, fan_out, 3, stride, 1, bias=False)
        self.first_norm = nn.BatchNorm2d(fan_out)
        self.second = nn.Conv2d(fan_out, fan_out, 3, 1, 1, bias=False)
        self.second_norm = nn.BatchNorm2d(fan_out)
        self.shortcut = self.shortcut_norm = None
        if stride != 1 or fan_in != fan_out:
            self.shortcut = nn.Conv2d(fan_in, fan_out, 1, stride, bias=False)
            self.shortcut_norm = nn.BatchNorm2d(fan_out)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """The block's output."""
        y = functional.relu(self.first_norm(self.first(x)))
        y = self.second_norm(self.second(y))
        if self.shortcut is not None:
            x = self.shortcut_norm(self.shortcut(x))
        return functional.relu(y + x)


class ResNet(nn.Module):
    """See noisescale.training.models.resnet."""

    def __init__(self, channels: int, width: int, blocks: int) -> None:
        super().__init__()
        self.stem = nn.Conv2d(channels, width, 3, 1, 1, bias=False)
        self.stem_norm = nn.BatchNorm2d(width)
        self.blocks, before = nn.ModuleList(), width
        for number in range(3 * blocks):
            stage, inside = divmod(number, blocks)
            here = width * 2**stage
            self.blocks.append(Block(before, here, 2 if stage and not inside else 1))
            before = here
        self.dense = nn.Linear(before, CLASSES)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Scores of the classes."""
        x = functional.relu(self.stem_norm(self.stem(x)))
        for block in self.blocks:
            x = block(x)
        return self.dense(x.mean((2, 3)))


def peer_of(config: ModelConfig, shape: tuple[int, int, int]) -> nn.Module:
    """The model of a recipe, for images of a (height, width, channels)."""
    match config.name:
        case "multilayer-perceptron":
            return MultilayerPerceptron(int(np.prod(shape)), config.width, config.depth)
        case "ten-layer-cnn":
            return TenLayerCNN(shape[2], config.width)
        case "resnet":
            return ResNet(shape[2], config.width, (config.depth - 2) // 6)
    raise ValueError(config.name)


def peer_name(ours: str) -> str:
    """The name in PyTorch of one of our tensors."""
    name = re.sub(r"\[(\d+)\]", r".\1", ours)
    name = re.sub(r"^weights\.(\d+)$", r"dense.\1.weight", name)
    name = re.sub(r"^biases\.(\d+)$", r"dense.\1.bias", name)
    return name.replace(".scale", ".weight").replace(".shift", ".bias")


def peer_tensors(arrays: Any, what: str) -> dict[str, torch.Tensor]:
    """Those of our tensors whose names begin so, in PyTorch's names and axes."""
    found = {}
    for key in arrays:
        if key.startswith(f"{what} "):
            array = arrays[key]
            # (window, window, in, out) and (in, out), there (out, in, window, window), (out, in).
            axes = {4: (3, 2, 0, 1), 2: (1, 0)}.get(array.ndim)
            array = array if axes is None else array.transpose(axes)
            found[peer_name(key.removeprefix(f"{what} "))] = torch.tensor(np.array(array))
    return found


def load(model: nn.Module, tensors: dict[str, torch.Tensor]) -> None:
    """Gives a model these weights, all of its own and no other."""
    parameters = dict(model.named_parameters())
    assert parameters.keys() == tensors.keys(), parameters.keys() ^ tensors.keys()
    with torch.no_grad():
        for name, tensor in tensors.items():
            assert parameters[name].shape == tensor.shape, name
            parameters[name].copy_(tensor)


def difference(here: dict[str, torch.Tensor], there: dict[str, torch.Tensor]) -> float:
    """‖difference‖ of a layer relative to its norm, of the worst layer.

    By layer and not by tensor: the gradient of a bias before a batch norm is 0 but for rounding.
    """
    layers: dict[str, list[str]] = {}
    for name in there:
        layers.setdefault(name.rpartition(".")[0], []).append(name)

    def norm(parts: list[torch.Tensor]) -> float:
        return math.hypot(*(float(part.double().norm()) for part in parts))

    return max(
        norm([here[n] - there[n] for n in names]) / norm([there[n] for n in names])
        for names in layers.values()
    )
