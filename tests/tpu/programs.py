"""The shapes of a training program's arguments, without any array."""

from math import prod

import equinox as eqx
import jax
import jax.numpy as jnp

from noisescale.recipe.model import ModelConfig
from noisescale.training.drivers import Driver
from noisescale.training.inputs import Inputs
from noisescale.training.models import build_model
from noisescale.training.optimizers import Hyper, Rule, start_of
from noisescale.training.steps import Batch, TrainState


def is_shape(a):
    """An array's shape and type."""
    return isinstance(a, jax.ShapeDtypeStruct)


def stretch(
    options,
    image_shape=(32, 32, 3),
    classes=10,
    *,
    batch=128,
    ghosts=4,
    updates=8,
    size=1024,
    dtype="float32",
    augmentation=None,
    mesh=None,
    sharding=None,
):
    """(the device driver's compiled loop, the shapes of its arguments, how many weights).

    Args:
        options: of ModelConfig.
        sharding: of every argument; None: on one device.
    """
    config = ModelConfig(**options)
    key = jax.eval_shape(lambda: jax.random.key(0))
    model = eqx.filter_eval_shape(lambda k: build_model(config, image_shape, classes, k), key)
    weights, static = eqx.partition(model, is_shape)
    inputs = Inputs(augmentation, image_shape=image_shape)
    rule = Rule(inputs=inputs, dtype=dtype, mesh=mesh)
    state = jax.eval_shape(
        lambda w: TrainState(
            w, start_of(w, rule.optimizer), eqx.combine(w, static).start_statistics()
        ),
        weights,
    )

    def shape(dtype, *lengths):
        return jax.ShapeDtypeStruct(lengths, dtype)

    parts = (1, ghosts, batch // ghosts)
    batches = Batch(
        shape(jnp.int32, updates, *parts),
        shape(jnp.float32, *parts),
        shape(jnp.int32, updates, *parts),
    )
    arguments = (
        state,
        shape(jnp.uint8, size, prod(image_shape)),
        shape(jnp.int32, size),
        batches,
        key,
        Hyper(*[shape(jnp.float32, updates)] * 6),
        shape(jnp.float32, updates),
        shape(jnp.int32),
    )
    if sharding is not None:
        arguments = jax.tree.map(
            lambda a: jax.ShapeDtypeStruct(a.shape, a.dtype, sharding=sharding), arguments
        )
    nothing = jnp.zeros(1)  # the data are arguments of the program
    driver = Driver(static, nothing, nothing, rule=rule, kind="device")
    numbers = sum(a.size for a in jax.tree.leaves(weights))
    return driver._stretch, (*arguments, None), numbers
