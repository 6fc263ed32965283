"""Wide residual networks in the pre-activation form of their authors."""

import equinox as eqx
import jax
from jaxtyping import Array, Float

from noisescale.training.ghost_batch_norm import GhostBatchNorm
from noisescale.training.models.forward import Flow, Network
from noisescale.training.models.layers import Convolution, Linear

STEM_CHANNELS = 16


class PreActivationBlock(Network):
    """shortcut(x) + W₂ drop(max(0, norm(W₁ max(0, norm(x))))).

    Where the number of channels changes the shortcut is a 1×1 convolution of max(0, norm(x)), else
    x itself.
    """

    first_norm: GhostBatchNorm | None
    first: Convolution
    second_norm: GhostBatchNorm | None
    second: Convolution
    shortcut: Convolution | None
    dropout: float = eqx.field(static=True)

    def __init__(
        self,
        fan_in: int,
        fan_out: int,
        stride: int,
        *,
        batch_norm: bool,
        dropout: float,
        key: jax.Array,
    ) -> None:
        keys = jax.random.split(key, 3)
        plain = not batch_norm
        self.first_norm = GhostBatchNorm(fan_in) if batch_norm else None
        self.first = Convolution(fan_in, fan_out, stride=stride, bias=plain, key=keys[0])
        self.second_norm = GhostBatchNorm(fan_out) if batch_norm else None
        self.second = Convolution(fan_out, fan_out, bias=plain, key=keys[1])
        self.shortcut = None
        if fan_in != fan_out:
            self.shortcut = Convolution(fan_in, fan_out, 1, stride=stride, bias=plain, key=keys[2])
        self.dropout = dropout

    def logits(self, x: Array, flow: Flow) -> Array:
        """The block's output."""
        y = jax.nn.relu(flow.normalize(self.first_norm, x))
        if self.shortcut is not None:
            x = self.shortcut(y)
        y = jax.nn.relu(flow.normalize(self.second_norm, self.first(y)))
        return x + self.second(flow.drop(y, self.dropout))


class WideResNet(Network):
    """3×3 convolution of 16 channels, three stages of n blocks with w, 2w and 4w, norm, ReLU, mean.

    Depth 6n + 4, widening factor w/16: depth 16 with w = 64 is WRN-16-4.

    Args:
        channels: of the images.
        width: w.
        blocks: n per stage.
        dropout: between the convolutions of a block.

    Source: Zagoruyko & Komodakis 2016 (table 1, and their released code).
    """

    stem: Convolution
    blocks: list[PreActivationBlock]
    last_norm: GhostBatchNorm | None
    dense: Linear
    dropout: float = eqx.field(static=True)

    def __init__(
        self,
        channels: int,
        width: int,
        blocks: int,
        classes: int,
        *,
        batch_norm: bool = True,
        dropout: float = 0.0,
        key: jax.Array,
    ) -> None:
        first, last, *keys = jax.random.split(key, 2 + 3 * blocks)
        self.stem = Convolution(channels, STEM_CHANNELS, bias=not batch_norm, key=first)
        self.blocks, before = [], STEM_CHANNELS
        for number, k in enumerate(keys):
            stage, inside = divmod(number, blocks)
            stride, here = 2 if stage and not inside else 1, width * 2**stage
            block = PreActivationBlock(
                before, here, stride, batch_norm=batch_norm, dropout=dropout, key=k
            )
            self.blocks.append(block)
            before = here
        self.last_norm = GhostBatchNorm(before) if batch_norm else None
        self.dense = Linear(before, classes, law="fan-in", key=last)
        self.dropout = dropout

    @property
    def draws(self) -> bool:
        """Whether training draws random numbers."""
        return bool(self.dropout)

    def logits(
        self, x: Float[Array, "examples height width channels"], flow: Flow
    ) -> Float[Array, "examples classes"]:
        """Scores of the classes."""
        x = self.stem(x)
        for block in self.blocks:
            x = block.logits(x, flow)
        x = jax.nn.relu(flow.normalize(self.last_norm, x))
        return self.dense(x.mean(axis=(1, 2)))
