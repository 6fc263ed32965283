"""Momentum or learning rate, by base rate: who ends worse, and where that changes sides."""

import json
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from noisescale.analysis.crossing import Crossing, crossing
from noisescale.analysis.difference import Difference, difference
from noisescale.experiment.sweeps import finals

NAME = "momentum-or-learning-rate-cifar10"
PATH = Path(__file__).resolve().parent / "results" / NAME / "results.json"
ARMS = ("baseline", "momentum", "learning-rate")
# What batch norm's statistics are taken over, by the ending of an arm's name.
STATISTICS = {"0.025": "32 examples", "eighth": "an eighth of the batch", "batch": "the batch"}
Array = NDArray[np.float64]


@cache
def document() -> dict[str, Any]:
    """results.json."""
    return json.loads(PATH.read_text("utf-8"))


def rates() -> list[float]:
    """Base learning rates, increasing."""
    endings = {a["name"].partition("_")[2] for a in document()["arms"]}
    return sorted(float(e) for e in endings if e not in ("eighth", "batch"))


def errors(arm: str) -> Array:
    """(seeds, rates) final errors."""
    return np.stack([finals(document(), f"{arm}_{rate:g}") for rate in rates()], axis=1)


def apart(first: str, second: str) -> Difference:
    """Error of the second arm minus that of the first, seed by seed, 90 % interval."""
    size = document()["data"]["evaluation_size"]
    return difference(
        finals(document(), first), finals(document(), second), paired=True, resolution=1 / size
    )


def change_of_sides() -> Crossing:
    """The base rate at which momentum − learning rate changes its sign."""
    return crossing(rates(), errors("momentum") - errors("learning-rate"))


def has(arm: str) -> bool:
    """Whether the sweep holds an arm."""
    return any(a["name"] == arm for a in document()["arms"])
