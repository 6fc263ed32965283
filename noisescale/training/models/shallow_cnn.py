"""C1 and C3: two convolutions and three dense layers."""

import equinox as eqx
import jax
from jaxtyping import Array, Float

from noisescale.training.ghost_batch_norm import GhostBatchNorm
from noisescale.training.models.forward import Flow, Network
from noisescale.training.models.layers import Convolution, Linear, flat, max_pool


class ShallowCNN(Network):
    """Twice (5×5 convolution, 3×3 max pooling by 2, norm, ReLU) of w channels, then dense layers.

    The dense layers have 6w and 3w units, each with norm, ReLU and dropout, and one per class.
    With w = 64 it is C1 on CIFAR-10 and C3 on CIFAR-100. Weights start uniform in ±1/√n_in.

    Args:
        image_shape: (height, width, channels).
        width: w.

    Source: eladhoffer/bigBatch, models/cifar_shallow.py; Keskar et al. 2017, appendix B.
    """

    convolutions: list[Convolution]
    dense: list[Linear]
    norms: list[GhostBatchNorm | None]
    dropout: float = eqx.field(static=True)

    def __init__(
        self,
        image_shape: tuple[int, int, int],
        width: int,
        classes: int,
        *,
        batch_norm: bool = True,
        dropout: float = 0.5,
        key: jax.Array,
    ) -> None:
        height, across, channels = image_shape
        keys = jax.random.split(key, 5)
        plain = not batch_norm
        self.convolutions = [
            Convolution(fan_in, width, 5, bias=plain, law="fan-in", key=k)
            for k, fan_in in zip(keys[:2], (channels, width), strict=True)
        ]
        for _ in range(2):
            height, across = (height - 3) // 2 + 1, (across - 3) // 2 + 1
        sizes = [height * across * width, 6 * width, 3 * width, classes]
        self.dense = [
            Linear(fan_in, fan_out, bias=plain or layer == 2, law="fan-in", key=k)
            for layer, (k, fan_in, fan_out) in enumerate(
                zip(keys[2:], sizes[:-1], sizes[1:], strict=True)
            )
        ]
        widths = [width, width, 6 * width, 3 * width]
        self.norms = [GhostBatchNorm(size) if batch_norm else None for size in widths]
        self.dropout = dropout

    @property
    def draws(self) -> bool:
        """Whether training draws random numbers."""
        return bool(self.dropout)

    def logits(
        self, x: Float[Array, "examples height width channels"], flow: Flow
    ) -> Float[Array, "examples classes"]:
        """Scores of the classes."""
        for convolution, norm in zip(self.convolutions, self.norms[:2], strict=True):
            x = jax.nn.relu(flow.normalize(norm, max_pool(convolution(x), 3, 2)))
        x = flat(x)
        for dense, norm in zip(self.dense[:2], self.norms[2:], strict=True):
            x = flow.drop(jax.nn.relu(flow.normalize(norm, dense(x))), self.dropout)
        return self.dense[2](x)
