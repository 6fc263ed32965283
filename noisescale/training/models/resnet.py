"""Residual networks for small images."""

import jax
from jaxtyping import Array, Float

from noisescale.training.ghost_batch_norm import GhostBatchNorm
from noisescale.training.models.forward import Flow, Network
from noisescale.training.models.layers import Convolution, Linear


class Block(Network):
    """max(0, norm(W₂ max(0, norm(W₁ x))) + shortcut(x)): the post-activation block.

    The shortcut is x itself, or norm(W x) with a 1×1 convolution where size or channels change.
    """

    first: Convolution
    first_norm: GhostBatchNorm | None
    second: Convolution
    second_norm: GhostBatchNorm | None
    shortcut: Convolution | None
    shortcut_norm: GhostBatchNorm | None

    def __init__(
        self, fan_in: int, fan_out: int, stride: int, *, batch_norm: bool, key: jax.Array
    ) -> None:
        keys = jax.random.split(key, 3)
        plain = not batch_norm
        changes = stride != 1 or fan_in != fan_out

        def norm() -> GhostBatchNorm | None:
            return GhostBatchNorm(fan_out) if batch_norm else None

        self.first = Convolution(fan_in, fan_out, stride=stride, bias=plain, key=keys[0])
        self.second = Convolution(fan_out, fan_out, bias=plain, key=keys[1])
        self.first_norm, self.second_norm = norm(), norm()
        self.shortcut = self.shortcut_norm = None
        if changes:
            self.shortcut = Convolution(fan_in, fan_out, 1, stride=stride, bias=plain, key=keys[2])
            self.shortcut_norm = norm()

    def logits(self, x: Array, flow: Flow) -> Array:
        """The block's output."""
        y = jax.nn.relu(flow.normalize(self.first_norm, self.first(x)))
        y = flow.normalize(self.second_norm, self.second(y))
        if self.shortcut is not None:
            x = flow.normalize(self.shortcut_norm, self.shortcut(x))
        return jax.nn.relu(y + x)


class ResNet(Network):
    """3×3 convolution, three stages of n blocks with w, 2w and 4w channels, mean, dense layer.

    The second and third stage halve height and width. Depth 6n + 2; depth 44 with w = 16 is the
    ResNet-44 of Hoffer et al., depth 16 counted as 6n + 4 with w = 64 their Wide ResNet 16-4.
    Convolutions start as N(0, 2/n_out), the dense layer uniform in ±1/√n_in.

    Args:
        channels: of the images.
        width: w.
        blocks: n per stage.

    Source: He et al. 2016, section 4.2, with 1×1 convolutions on shortcuts that change size as in
    eladhoffer/bigBatch, models/resnet.py and models/wide_resnet.py.
    """

    stem: Convolution
    stem_norm: GhostBatchNorm | None
    blocks: list[Block]
    dense: Linear

    def __init__(
        self,
        channels: int,
        width: int,
        blocks: int,
        classes: int,
        *,
        batch_norm: bool = True,
        key: jax.Array,
    ) -> None:
        first, last, *keys = jax.random.split(key, 2 + 3 * blocks)
        self.stem = Convolution(channels, width, bias=not batch_norm, key=first)
        self.stem_norm = GhostBatchNorm(width) if batch_norm else None
        self.blocks = []
        before = width
        for number, k in enumerate(keys):
            stage, inside = divmod(number, blocks)
            stride = 2 if stage and not inside else 1
            here = width * 2**stage
            self.blocks.append(Block(before, here, stride, batch_norm=batch_norm, key=k))
            before = here
        self.dense = Linear(before, classes, law="fan-in", key=last)

    def logits(
        self, x: Float[Array, "examples height width channels"], flow: Flow
    ) -> Float[Array, "examples classes"]:
        """Scores of the classes."""
        x = jax.nn.relu(flow.normalize(self.stem_norm, self.stem(x)))
        for block in self.blocks:
            x = block.logits(x, flow)
        return self.dense(x.mean(axis=(1, 2)))
