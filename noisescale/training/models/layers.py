"""Layers that networks are made of. Images are (examples, height, width, channels)."""

from math import prod, sqrt

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float


def initial(key: jax.Array, shape: tuple[int, ...], law: str) -> jax.Array:
    """Random weights (*window, fan_in, fan_out); n_in = |window| fan_in, n_out = |window| fan_out.

    "he-fan-in": N(0, 2/n_in); "he-fan-out": N(0, 2/n_out) (He et al. 2015).
    "glorot": uniform in ±√(6/(n_in + n_out)) (Glorot & Bengio 2010; Keras's default).
    "fan-in": uniform in ±1/√n_in (PyTorch's default).
    "small": N(0, 0.01²) (Krizhevsky et al. 2012).
    """
    window, fan_in, fan_out = prod(shape[:-2]), shape[-2], shape[-1]
    n_in, n_out = window * fan_in, window * fan_out
    if law in ("glorot", "fan-in"):
        bound = sqrt(6.0 / (n_in + n_out)) if law == "glorot" else 1.0 / sqrt(n_in)
        return jax.random.uniform(key, shape, minval=-bound, maxval=bound)
    deviation = {"he-fan-in": sqrt(2.0 / n_in), "he-fan-out": sqrt(2.0 / n_out), "small": 0.01}
    return deviation[law] * jax.random.normal(key, shape)


class Linear(eqx.Module):
    """x W + b."""

    weight: Float[Array, "fan_in fan_out"]
    bias: Float[Array, " fan_out"] | None

    def __init__(
        self, fan_in: int, fan_out: int, *, bias: bool = True, law: str, key: jax.Array
    ) -> None:
        drawn, other = jax.random.split(key)
        self.weight = initial(drawn, (fan_in, fan_out), law)
        self.bias = _bias(other, fan_in, fan_out, law) if bias else None

    def __call__(self, x: Float[Array, "examples fan_in"]) -> Float[Array, "examples fan_out"]:
        """Products in the type of x."""
        y = x @ self.weight.astype(x.dtype)
        return y if self.bias is None else y + self.bias.astype(x.dtype)


class Convolution(eqx.Module):
    """y_{hw} = b + Σ_{ij} x_{sh+i−p, sw+j−p} W_{ij}, with a square window, stride s, padding p.

    Args:
        padding: zeros on every side; by default half the window, rounded down.
    """

    weight: Float[Array, "window window fan_in fan_out"]
    bias: Float[Array, " fan_out"] | None
    stride: int = eqx.field(static=True)
    padding: int = eqx.field(static=True)

    def __init__(
        self,
        fan_in: int,
        fan_out: int,
        window: int = 3,
        *,
        stride: int = 1,
        padding: int | None = None,
        bias: bool = False,
        law: str = "he-fan-out",
        key: jax.Array,
    ) -> None:
        drawn, other = jax.random.split(key)
        self.weight = initial(drawn, (window, window, fan_in, fan_out), law)
        self.bias = _bias(other, window * window * fan_in, fan_out, law) if bias else None
        self.stride = stride
        self.padding = window // 2 if padding is None else padding

    def __call__(
        self, x: Float[Array, "examples height width fan_in"]
    ) -> Float[Array, "examples new_height new_width fan_out"]:
        """Products in the type of x."""
        y = jax.lax.conv_general_dilated(
            x,
            self.weight.astype(x.dtype),
            (self.stride, self.stride),
            [(self.padding, self.padding)] * 2,
            dimension_numbers=("NHWC", "HWIO", "NHWC"),
        )
        return y if self.bias is None else y + self.bias.astype(x.dtype)


def _bias(key: jax.Array, n_in: int, fan_out: int, law: str) -> jax.Array:
    """0, but for PyTorch's default the law of the weights."""
    if law != "fan-in":
        return jnp.zeros(fan_out)
    bound = 1.0 / sqrt(n_in)
    return jax.random.uniform(key, (fan_out,), minval=-bound, maxval=bound)


def average_pool(x: Array, window: int) -> Array:
    """Means of squares that do not overlap; rows and columns left over are cut off."""
    n, height, width, channels = x.shape
    rows, columns = height // window, width // window
    cut = x[:, : rows * window, : columns * window]
    squares = cut.reshape(n, rows, window, columns, window, channels)
    return jnp.mean(squares, axis=(2, 4))


def max_pool(x: Array, window: int, stride: int) -> Array:
    """The largest value in every square of a window, `stride` apart; none reaches outside."""
    # A constant: of a traced start JAX knows no derivative.
    lowest = np.array(-np.inf, x.dtype)
    shape, steps = (1, window, window, 1), (1, stride, stride, 1)
    return jax.lax.reduce_window(x, lowest, jax.lax.max, shape, steps, "VALID")


def flat(x: Array) -> Array:
    """(examples, everything else)."""
    return x.reshape(len(x), -1)
