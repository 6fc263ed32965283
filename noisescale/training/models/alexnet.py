"""AlexNet, for images of ImageNet's size."""

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from noisescale.errors import InputError
from noisescale.training.ghost_batch_norm import GhostBatchNorm
from noisescale.training.models.forward import Flow, Network
from noisescale.training.models.layers import Convolution, Linear, flat, max_pool

# Of the five convolutions: channels in units of w, window, stride, padding, pooled after it.
CONVOLUTIONS = (
    (1, 11, 4, 2, True),
    (3, 5, 1, 2, True),
    (6, 3, 1, 1, False),
    (4, 3, 1, 1, False),
    (4, 3, 1, 1, True),
)
SMALLEST, HIDDEN, POOLED = 63, 4096, 6


class AlexNet(Network):
    """Five convolutions with ReLU and three 3×3 max poolings by 2, then three dense layers.

    Two dense layers of 64 w units with dropout before each of them. Images larger or smaller than
    224×224 are averaged to 6×6 places before the dense layers. Weights start uniform in ±1/√n_in.

    Args:
        image_shape: (height, width, channels), at least 63×63.
        width: w; 64 in the source.
        batch_norm: before every ReLU; the source has none.

    Raises:
        InputError: images that are too small.

    Source: Krizhevsky 2014 (one column), as in torchvision: 61,100,840 parameters at 1,000 classes.
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
        batch_norm: bool = False,
        dropout: float = 0.5,
        key: jax.Array,
    ) -> None:
        height, across, before = image_shape
        if min(height, across) < SMALLEST:
            raise InputError(
                f"model.name='alexnet' needs images of {SMALLEST}×{SMALLEST} pixels or more, these "
                f"have {height}×{across}: choose another model"
            )
        keys = jax.random.split(key, 8)
        self.convolutions = []
        for k, (units, window, stride, padding, _) in zip(keys, CONVOLUTIONS, strict=False):
            here = units * width
            self.convolutions.append(
                Convolution(
                    before,
                    here,
                    window,
                    stride=stride,
                    padding=padding,
                    bias=True,
                    law="fan-in",
                    key=k,
                )
            )
            before = here
        hidden = HIDDEN * width // 64
        sizes = [POOLED * POOLED * before, hidden, hidden, classes]
        self.dense = [
            Linear(fan_in, fan_out, law="fan-in", key=k)
            for k, fan_in, fan_out in zip(keys[5:], sizes[:-1], sizes[1:], strict=True)
        ]
        widths = [*(units * width for units, *_ in CONVOLUTIONS), hidden, hidden]
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
        for convolution, norm, (*_, pooled) in zip(
            self.convolutions, self.norms[:5], CONVOLUTIONS, strict=True
        ):
            x = jax.nn.relu(flow.normalize(norm, convolution(x)))
            x = max_pool(x, 3, 2) if pooled else x
        x = flat(_averaged(x, POOLED))
        for dense, norm in zip(self.dense[:2], self.norms[5:], strict=True):
            x = jax.nn.relu(flow.normalize(norm, dense(flow.drop(x, self.dropout))))
        return self.dense[2](x)


def _averaged(x: Array, size: int) -> Array:
    """Means over size × size places: place i has rows ⌊i h/size⌋ … ⌈(i+1) h/size⌉ − 1."""
    height, width = x.shape[1:3]
    rows, columns = (
        [(i * length // size, -(-(i + 1) * length // size)) for i in range(size)]
        for length in (height, width)
    )
    return jnp.stack(
        [
            jnp.stack([x[:, a:b, c:d].mean(axis=(1, 2)) for c, d in columns], axis=1)
            for a, b in rows
        ],
        axis=1,
    )
