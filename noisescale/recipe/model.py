"""The [model] block: a family of networks, its size, batch norm and what it draws."""

from dataclasses import dataclass
from typing import Any

from noisescale.analysis.checks import choice, fraction_below_one
from noisescale.errors import InputError, shown, unknown_name
from noisescale.recipe.checks import true_or_false, whole


@dataclass(frozen=True, slots=True, kw_only=True)
class Family:
    """What a family's networks are by default, and what of it can be changed.

    Args:
        width: units or channels of the first hidden layer.
        depth: see `depths`.
        depths: those there are; None: any number of hidden layers.
        rule: how depths are told in an error.
        convolutional: whether it takes images, else their pixels in a row.
        dropout: where it has dropout; None: nowhere.
    """

    width: int
    depth: int
    depths: tuple[int, ...] | None
    rule: str = ""
    convolutional: bool = True
    batch_norm: bool = True
    dropout: float | None = None


FAMILIES = {
    "multilayer-perceptron": Family(
        width=64, depth=1, depths=None, convolutional=False, batch_norm=False, dropout=0.0
    ),
    "ten-layer-cnn": Family(width=64, depth=10, depths=(10,), rule="10"),
    "c1": Family(width=64, depth=5, depths=(5,), rule="5", dropout=0.5),
    "c3": Family(width=64, depth=5, depths=(5,), rule="5", dropout=0.5),
    "resnet": Family(width=16, depth=44, depths=tuple(range(8, 1209, 6)), rule="6n + 2"),
    "wide-resnet": Family(
        width=64, depth=16, depths=tuple(range(10, 1001, 6)), rule="6n + 4", dropout=0.0
    ),
    "vgg": Family(width=64, depth=16, depths=(11, 13, 16, 19), rule="11, 13, 16 or 19"),
    "alexnet": Family(width=64, depth=8, depths=(8,), rule="8", batch_norm=False, dropout=0.5),
}
# Filled in by the family.
_BY_FAMILY: Any = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelConfig:
    """A network of a family; what is not given is the family's own.

    Args:
        name: "multilayer-perceptron" (`depth` hidden layers of `width` ReLU units),
            "ten-layer-cnn", "c1", "c3", "resnet", "wide-resnet", "vgg", "alexnet", or the import
            path "package.module:factory" of one's own, see docs/training.md.
        width: units of hidden layers, or channels of the first stage.
        depth: hidden layers, or the number in a network's name.
        batch_norm: normalise before every ReLU.
        block: of a wide ResNet: "post-activation" (convolution, norm, ReLU; the released code of
            Hoffer et al.) or "pre-activation" (norm, ReLU, convolution; its authors' form).
        ghost_batch_size: G, examples that share their statistics in training; 0: the batch.
        partial_ghost: what happens to a batch that is no multiple of G. "own": the last ghost is
            smaller; "even": ⌈B/G⌉ ghosts whose sizes differ by at most one; "drop": the rest is
            left out of the update; "chunk": ⌊B/G⌋ chunks of ⌈n/⌊B/G⌋⌉ (PyTorch's tensor.chunk, as
            in the released code of Hoffer et al.; a smaller batch n then has smaller ghosts).
        running_statistics: how ghosts enter the running mean and variance, see
            noisescale.training.ghost_batch_norm.fold: "sequential", "composite",
            "composite-printed" or "divided".
        dropout: probability that an activation is set to 0: of hidden layers, of classifiers' in
            convolutional networks, between the convolutions of a wide ResNet's blocks.
        dropconnect: probability that a weight fed by a hidden layer is set to 0, drawn anew for
            every example (a micro-batch then holds a copy of these weights per example).
        downsample: images are first averaged over squares of so many pixels; rows and columns left
            over are cut off. 1: they stay as they are.
        dtype: in which activations and products are computed, "float32" or "bfloat16"; weights,
            batch norm's statistics, logits and losses are float32 in both.
    """

    name: str = "multilayer-perceptron"
    width: int = _BY_FAMILY
    depth: int = _BY_FAMILY
    batch_norm: bool = _BY_FAMILY
    block: str = "post-activation"
    ghost_batch_size: int = 0
    partial_ghost: str = "own"
    running_statistics: str = "sequential"
    dropout: float = _BY_FAMILY
    dropconnect: float = 0.0
    downsample: int = 1
    dtype: str = "float32"

    @property
    def own(self) -> bool:
        """Whether it is the user's own, by import path."""
        return ":" in self.name

    @property
    def convolutional(self) -> bool:
        """Whether it may hold convolutions."""
        return self.own or FAMILIES[self.name].convolutional

    def __post_init__(self) -> None:
        put = object.__setattr__
        family = self._family()
        for name in ("width", "depth", "batch_norm"):
            if getattr(self, name) is None:
                put(self, name, getattr(family, name))
        if self.dropout is None:
            put(self, "dropout", family.dropout or 0.0)
        whole("model.width", self.width, 1, 65536)
        whole("model.depth", self.depth, 0, 1000)
        if family.depths is not None and self.depth not in family.depths:
            raise InputError(
                f"model.depth={self.depth}: that of {self.name!r} must be {family.rule}"
            )
        true_or_false("model.batch_norm", self.batch_norm)
        choice("model.block", self.block, ("post-activation", "pre-activation"))
        if self.block != "post-activation" and self.name != "wide-resnet":
            raise InputError("model.block belongs to model.name = 'wide-resnet'")
        choice("model.dtype", self.dtype, ("float32", "bfloat16"))
        whole("model.downsample", self.downsample, 1, 1024)
        whole("model.ghost_batch_size", self.ghost_batch_size, 0)
        choice("model.partial_ghost", self.partial_ghost, ("own", "even", "drop", "chunk"))
        choice(
            "model.running_statistics",
            self.running_statistics,
            ("sequential", "composite", "composite-printed", "divided"),
        )
        if not self.batch_norm:
            for name, plain in (
                ("ghost_batch_size", 0),
                ("partial_ghost", "own"),
                ("running_statistics", "sequential"),
            ):
                if getattr(self, name) != plain:
                    raise InputError(f"model.{name} needs model.batch_norm = true")
        for name in ("dropout", "dropconnect"):
            put(self, name, fraction_below_one(f"model.{name}", getattr(self, name)))
        if self.dropout and family.dropout is None:
            raise InputError(f"model.dropout: {self.name!r} has none")
        if self.dropconnect and self.name != "multilayer-perceptron":
            raise InputError("model.dropconnect belongs to model.name = 'multilayer-perceptron'")
        if self.name == "multilayer-perceptron":
            for name in ("batch_norm", "dropout", "dropconnect"):
                if getattr(self, name) and not self.depth:
                    raise InputError(
                        f"model.{name} needs a hidden layer: set model.depth to 1 or more"
                    )

    def _family(self) -> Family:
        if not isinstance(self.name, str):
            raise InputError(f"model.name={shown(self.name)}: it must be text")
        if not self.own:
            if self.name not in FAMILIES:
                raise unknown_name("model", self.name, list(FAMILIES))
            return FAMILIES[self.name]
        for name, plain in (("width", 1), ("depth", 0), ("dropout", 0.0)):
            if getattr(self, name) not in (None, plain):
                raise InputError(f"model.{name}: the module of {self.name!r} decides it itself")
        return Family(width=1, depth=0, depths=None, batch_norm=False)
