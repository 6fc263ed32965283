"""Small models and data that the checks compute on."""

from collections.abc import Callable
from functools import partial
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from numpy.typing import NDArray

from noisescale.training.models import MultilayerPerceptron
from noisescale.training.pytree import PyTree
from noisescale.training.self_test.twins import Numbers

# Nearer to the kink of a ReLU, or to a tie of two logits, float32 may fall on the other side.
KINK = 1e-4


def small_perceptron(
    features: int, width: int, classes: int, *, batch_norm: bool = False, number: int = 0
) -> tuple[PyTree, PyTree]:
    """(the model without its arrays, random weights) of two hidden layers."""
    make = partial(MultilayerPerceptron, features, width, 2, classes, batch_norm=batch_norm)
    return filled(make, number)


def filled(make: Callable[..., Any], number: int = 0) -> tuple[PyTree, PyTree]:
    """(a model without its arrays, random numbers in their place); nothing is compiled."""
    key = jax.eval_shape(lambda: jax.random.key(0))
    model = eqx.filter_eval_shape(lambda key: make(key=key), key)
    shapes, static = eqx.partition(model, lambda leaf: isinstance(leaf, jax.ShapeDtypeStruct))
    rng = np.random.default_rng(number)
    return static, jax.tree.map(
        lambda a: jnp.asarray(single(0.6 * rng.standard_normal(a.shape))), shapes
    )


def random_examples(
    rng: np.random.Generator, number: int, *, features: int, classes: int
) -> tuple[NDArray[np.float32], NDArray[np.int32]]:
    """(normal inputs, uniform labels)."""
    x = single(rng.standard_normal((number, features)))
    return x, rng.integers(0, classes, number).astype(np.int32)


def doubles(tree: PyTree) -> list[Numbers]:
    """The leaves as the twins want them, in float64."""
    return [np.asarray(leaf, np.float64) for leaf in jax.tree.leaves(tree)]


def single(values: Any) -> NDArray[np.float32]:
    """In float32."""
    return np.asarray(values, np.float32)
