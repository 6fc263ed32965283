"""Modules as a user would write them, for test_models."""

import equinox as eqx
import jax

from noisescale.training.ghost_batch_norm import GhostBatchNorm
from noisescale.training.models import Network
from noisescale.training.models.layers import Convolution, Linear


class PlainModule(eqx.Module):
    """One image to its logits, as Equinox has it."""

    hidden: eqx.nn.Linear
    out: eqx.nn.Linear

    def __init__(self, image_shape, classes, *, key):
        height, width, channels = image_shape
        first, second = jax.random.split(key)
        self.hidden = eqx.nn.Linear(height * width * channels, 32, key=first)
        self.out = eqx.nn.Linear(32, classes, key=second)

    def __call__(self, image):
        return self.out(jax.nn.relu(self.hidden(image.ravel())))


class Dropping(eqx.Module):
    """With dropout, which takes a key."""

    plain: PlainModule
    dropout: eqx.nn.Dropout

    def __init__(self, image_shape, classes, *, key):
        self.plain = PlainModule(image_shape, classes, key=key)
        self.dropout = eqx.nn.Dropout(0.2)

    def __call__(self, image, key=None):
        return self.plain(self.dropout(image, key=key))


class Normalised(Network):
    """A network for batches, with ghost batch norm."""

    convolution: Convolution
    norm: GhostBatchNorm
    dense: Linear

    def __init__(self, image_shape, classes, *, key):
        first, second = jax.random.split(key)
        self.convolution = Convolution(image_shape[2], 8, stride=2, key=first)
        self.norm = GhostBatchNorm(8)
        self.dense = Linear(8 * 16, classes, law="fan-in", key=second)

    def logits(self, x, flow):
        y = jax.nn.relu(flow.normalize(self.norm, self.convolution(x)))
        return self.dense(y.reshape(len(y), -1))


def nothing(image_shape, classes, *, key):
    """No module at all."""
    return lambda image: image
