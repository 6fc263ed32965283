"""Augmentation on the device: pure functions of one key per example."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float


class CropFlip(NamedTuple):
    """Pad by p pixels, cut out the former size at a uniform offset, mirror with probability ½.

    Args:
        padding: p.
        fill: value of the pixels added.
        image_shape: (height, width, channels) of the examples, which may come flattened.

    Source: He et al. 2016, section 4.2; with grey instead of black in the released code of Hoffer,
    Hubara & Soudry 2017.
    """

    padding: int
    fill: float
    image_shape: tuple[int, int, int]

    def __call__(
        self, keys: Array, inputs: Float[Array, "examples *shape"]
    ) -> Float[Array, "examples *shape"]:
        """Augmented examples, in the shape they came in."""
        images = inputs.reshape(len(inputs), *self.image_shape)
        p = self.padding
        padded = jnp.pad(
            images, ((0, 0), (p, p), (p, p), (0, 0)), constant_values=jnp.float32(self.fill)
        )

        def one(key: Array, image: Array) -> Array:
            where, mirror = jax.random.split(key)
            top, left = jax.random.randint(where, (2,), 0, 2 * p + 1, dtype=jnp.int32)
            cut = jax.lax.dynamic_slice(image, (top, left, jnp.int32(0)), self.image_shape)
            return jnp.where(jax.random.bernoulli(mirror), cut[:, ::-1], cut)

        return jax.vmap(one)(keys, padded).reshape(inputs.shape)
