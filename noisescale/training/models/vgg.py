"""VGG networks for small images."""

import jax
from jaxtyping import Array, Float

from noisescale.training.ghost_batch_norm import GhostBatchNorm
from noisescale.training.models.forward import Flow, Network
from noisescale.training.models.layers import Convolution, Linear, max_pool

# Convolutions per stage; the stages have w, 2w, 4w, 8w and 8w channels.
STAGES = {11: (1, 1, 2, 2, 2), 13: (2, 2, 2, 2, 2), 16: (2, 2, 3, 3, 3), 19: (2, 2, 4, 4, 4)}


class VGG(Network):
    """Five stages of (3×3 convolution, norm, ReLU) and 2×2 max pooling, mean, dense layer.

    The three dense layers of the original are one here, as is usual on CIFAR; the depth in the
    name counts three. Convolutions have biases and start as N(0, 2/n_out), the dense layer as
    N(0, 0.01²). Height and width of the images must be at least 32.

    Args:
        channels: of the images.
        width: w.
        depth: 11, 13, 16 or 19.

    Source: Simonyan & Zisserman 2015, table 1, with batch norm; Hoffer et al. do not say which VGG
    theirs is, and it is not in their released code.
    """

    convolutions: list[list[Convolution]]
    norms: list[list[GhostBatchNorm | None]]
    dense: Linear

    def __init__(
        self,
        channels: int,
        width: int,
        depth: int,
        classes: int,
        *,
        batch_norm: bool = True,
        key: jax.Array,
    ) -> None:
        last, *keys = jax.random.split(key, 1 + sum(STAGES[depth]))
        self.convolutions, self.norms, before = [], [], channels
        for stage, number in enumerate(STAGES[depth]):
            here = width * 2 ** min(stage, 3)
            sizes = [before, *[here] * number]
            stage_keys, keys = keys[:number], keys[number:]
            self.convolutions.append(
                [
                    Convolution(fan_in, here, bias=True, key=k)
                    for k, fan_in in zip(stage_keys, sizes[:-1], strict=True)
                ]
            )
            self.norms.append([GhostBatchNorm(here) if batch_norm else None for _ in range(number)])
            before = here
        self.dense = Linear(before, classes, law="small", key=last)

    def logits(
        self, x: Float[Array, "examples height width channels"], flow: Flow
    ) -> Float[Array, "examples classes"]:
        """Scores of the classes."""
        for stage, norms in zip(self.convolutions, self.norms, strict=True):
            for convolution, norm in zip(stage, norms, strict=True):
                x = jax.nn.relu(flow.normalize(norm, convolution(x)))
            x = max_pool(x, 2, 2)
        return self.dense(x.mean(axis=(1, 2)))
