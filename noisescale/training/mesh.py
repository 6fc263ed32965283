"""Several devices: the examples of a micro-batch divided among them, all else on every one."""

from math import gcd
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from noisescale.errors import InputError
from noisescale.training.pytree import PyTree

AXIS = "data"


def mesh_over(devices: int) -> Mesh | None:
    """A mesh with one axis over so many devices (0: all there are); None if that is one.

    Raises:
        InputError: more than there are, or not all of several processes.
    """
    available = jax.devices()
    if devices > len(available):
        raise InputError(
            f"run.devices={devices}, but there are {len(available)} ({available[0].device_kind}): "
            "lower it, or 0 for all"
        )
    if jax.process_count() > 1 and devices not in (0, len(available)):
        raise InputError(
            f"run.devices={devices}, but {jax.process_count()} processes have {len(available)} "
            "devices together: set it to 0, for all of them"
        )
    number = devices or len(available)
    return None if number == 1 else Mesh(np.array(available[:number]), (AXIS,))


def on_all(mesh: Mesh | None, tree: PyTree) -> PyTree:
    """The tree with a copy on every device of the mesh."""
    return tree if mesh is None else jax.device_put(tree, NamedSharding(mesh, PartitionSpec()))


def kept_on_all(mesh: Mesh | None, tree: PyTree) -> PyTree:
    """Inside a compiled program: every device has the whole of the tree."""
    if mesh is None:
        return tree
    whole = NamedSharding(mesh, PartitionSpec())
    return jax.tree.map(lambda a: jax.lax.with_sharding_constraint(a, whole), tree)


def divided(mesh: Mesh | None, examples: jax.Array) -> jax.Array:
    """Inside a compiled program: the first axis divided, if the devices divide its length."""
    if mesh is None or len(examples) % mesh.size:
        return examples
    return jax.lax.with_sharding_constraint(examples, NamedSharding(mesh, PartitionSpec(AXIS)))


def divided_ghosts(mesh: Mesh | None, arrays: Any) -> list[jax.Array]:
    """Arrays of (ghost, slot) with padding at the end of ghosts where the devices need it.

    The devices then divide the number of examples; padding has count 0 and takes part in nothing.
    """
    if mesh is None:
        return list(arrays)
    ghosts, slots = arrays[0].shape
    extra = -slots % (mesh.size // gcd(ghosts, mesh.size))
    return [jnp.pad(a, ((0, 0), (0, extra))) for a in arrays]
