"""The ten-layer convolutional network of the two blog posts."""

import jax
from jaxtyping import Array, Float

from noisescale.training.ghost_batch_norm import GhostBatchNorm
from noisescale.training.models.forward import Flow, Network
from noisescale.training.models.layers import Convolution, Linear, average_pool


class TenLayerCNN(Network):
    """Three times (3×3 convolution, norm, ReLU) of w, 2w and 4w channels, then a dense layer.

    2×2 average pooling between the stages, global average pooling before the dense layer;
    convolutions have biases. Weights start uniform in ±√(6/(n_in + n_out)).

    Args:
        channels: of the images.
        width: w; 64 in the sources.

    Source: code of Koshian, blog of 2019-06-21 (Keras).
    """

    convolutions: list[Convolution]
    norms: list[GhostBatchNorm | None]
    dense: Linear

    def __init__(
        self, channels: int, width: int, classes: int, *, batch_norm: bool = True, key: jax.Array
    ) -> None:
        sizes = [channels, *[width] * 3, *[2 * width] * 3, *[4 * width] * 3]
        *keys, last = jax.random.split(key, 10)
        self.convolutions = [
            Convolution(fan_in, fan_out, bias=True, law="glorot", key=k)
            for k, fan_in, fan_out in zip(keys, sizes[:-1], sizes[1:], strict=True)
        ]
        self.norms = [GhostBatchNorm(size) if batch_norm else None for size in sizes[1:]]
        self.dense = Linear(4 * width, classes, law="glorot", key=last)

    def logits(
        self, x: Float[Array, "examples height width channels"], flow: Flow
    ) -> Float[Array, "examples classes"]:
        """Scores of the classes."""
        for layer, (convolution, norm) in enumerate(
            zip(self.convolutions, self.norms, strict=True)
        ):
            if layer in (3, 6):
                x = average_pool(x, 2)
            x = jax.nn.relu(flow.normalize(norm, convolution(x)))
        return self.dense(x.mean(axis=(1, 2)))
