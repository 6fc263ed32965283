"""Models, one file per family; each maps a batch of images to its logits."""

from noisescale.training.models.build import Factory as Factory
from noisescale.training.models.build import build_model as build_model
from noisescale.training.models.forward import Flow as Flow
from noisescale.training.models.forward import Network as Network
from noisescale.training.models.forward import Pass as Pass
from noisescale.training.models.multilayer_perceptron import (
    MultilayerPerceptron as MultilayerPerceptron,
)
