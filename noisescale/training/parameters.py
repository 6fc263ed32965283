"""What the tensors of a model are: names, and which belong to batch norm or are biases."""

from typing import NamedTuple

import jax

from noisescale.training.ghost_batch_norm import GhostBatchNorm
from noisescale.training.pytree import PyTree


class Parameter(NamedTuple):
    """One tensor of the weights, in the order of jax.tree.leaves."""

    name: str
    size: int
    is_norm: bool
    is_bias: bool


def parameters_of(weights: PyTree) -> tuple[Parameter, ...]:
    """Every tensor of a model's weights.

    A tensor is a bias if its field is called bias or biases, and belongs to batch norm if it lies
    in a GhostBatchNorm.
    """

    def is_norm(node: object) -> bool:
        return isinstance(node, GhostBatchNorm)

    found = []
    for path, node in jax.tree_util.tree_leaves_with_path(weights, is_leaf=is_norm):
        inside = jax.tree_util.tree_leaves_with_path(node)
        for rest, leaf in inside:
            name = jax.tree_util.keystr((*path, *rest)).lstrip(".")
            field = name.rpartition(".")[2].partition("[")[0]
            bias = not is_norm(node) and field in ("bias", "biases")
            found.append(Parameter(name, leaf.size, is_norm(node), bias))
    return tuple(found)
