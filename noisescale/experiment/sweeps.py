"""A sweep's results as tables of numbers: final values by arm, or by condition and batch size."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from noisescale.errors import InputError
from noisescale.experiment.conclusion import worst_of

Array = NDArray[np.float64]
_AT_BATCH = re.compile(r"(?P<name>.+)_(?P<batch>[0-9]+)")


@dataclass(frozen=True, slots=True)
class AgainstBatchSize:
    """One condition of a sweep over batch sizes.

    Args:
        batch_sizes: (K,) increasing.
        values: (seeds, K) final values; of a diverged seed the worst error it had.
    """

    batch_sizes: Array
    values: Array


def finals(results: Mapping[str, Any], arm: str, metric: str = "evaluation_error") -> Array:
    """(seeds,) final values of an arm; of a diverged seed the worst error it had, as loss inf.

    Raises:
        InputError: an unknown arm, or a metric that it did not measure.
    """
    found = next((a for a in results["arms"] if a["name"] == arm), None)
    if found is None:
        raise InputError(f"the results hold no arm {arm!r}")
    ends = []
    for seed in found["seeds"]:
        column = seed["curves"].get(metric)
        if column is None:
            raise InputError(f"arm {arm!r} did not measure {metric}")
        if seed["status"] != "diverged" and column[-1] is not None:
            ends.append(float(column[-1]))
        else:
            ends.append(worst_of(column) if metric.endswith("error") else np.inf)
    return np.array(ends)


def against_batch_size(
    results: Mapping[str, Any], metric: str = "evaluation_error"
) -> dict[str, AgainstBatchSize]:
    """Final values of the arms named CONDITION_B, by condition; other arms are left out."""
    named: dict[str, dict[int, Array]] = {}
    for arm in results["arms"]:
        match = _AT_BATCH.fullmatch(arm["name"])
        if match:
            by_batch = named.setdefault(match["name"], {})
            by_batch[int(match["batch"])] = finals(results, arm["name"], metric)
    made = {}
    for name, by_batch in named.items():
        sizes = sorted(by_batch)
        values = np.stack([by_batch[B] for B in sizes], axis=1)
        made[name] = AgainstBatchSize(np.array(sizes, float), values)
    return made
