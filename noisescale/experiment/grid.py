"""Many arms in few lines: [grid], and an [[arm]] at several target batch sizes."""

import re
from collections.abc import Mapping
from itertools import product
from typing import Any

from noisescale.errors import InputError, shown
from noisescale.experiment.specification import Arm

MOST_ARMS = 10_000


def arms_of(grid: Mapping[str, Any]) -> tuple[Arm, ...]:
    """The base with every combination of the grid's values, the last key varying fastest.

    Args:
        grid: dotted keys, as in an arm's override, and the values that each takes. A key with
            dots has to be quoted: "optimizer.clip_norm" = [0.0, 5.0].

    Raises:
        InputError: a key without values, or combinations that cannot be told apart by name.
    """
    for key, values in grid.items():
        if isinstance(values, Mapping):
            inner = next(iter(values), "learning_rate")
            raise InputError(
                f'[grid] {key} is a table: quote the key, as in "{key}.{inner}" = [..]'
            )
        if not isinstance(values, list) or not values:
            raise InputError(f"[grid] {key} = {shown(values)}: give a list of values")
    if not grid:
        return ()
    number = 1
    for values in grid.values():
        number *= len(values)
    if number > MOST_ARMS:
        raise InputError(f"[grid] has {number:,} combinations; at most {MOST_ARMS:,} can be run")
    short = [key.rpartition(".")[2] for key in grid]
    names = short if len(set(short)) == len(short) else [key.replace(".", "-") for key in grid]
    arms = []
    for values in product(*grid.values()):
        parts = [f"{name}-{_text(v)}" for name, v in zip(names, values, strict=True)]
        arms.append(Arm(name="_".join(parts), override=dict(zip(grid, values, strict=True))))
    return tuple(arms)


def at_each_target(block: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """An [[arm]] block for every entry of a list of target batch sizes, named NAME_B.

    Raises:
        InputError: an empty list, or the same size twice.
    """
    targets, name = block.get("target_batch_size"), block.get("name")
    if not isinstance(targets, list):
        return [block]
    if not isinstance(name, str):
        raise InputError(f"arm with target_batch_size = {shown(targets)}: give it a name, a text")
    if not targets or len(set(map(str, targets))) < len(targets):
        raise InputError(
            f"arm {name!r}: target_batch_size = {shown(targets)}: give one batch size or a list of "
            "different ones"
        )
    return [{**block, "name": f"{name}_{B}", "target_batch_size": B} for B in targets]


def _text(value: object) -> str:
    """A value as part of a file's name."""
    return re.sub(r"[^A-Za-z0-9.]+", "-", str(value)).strip("-.") or "none"
