"""Momentum or learning rate, by base rate: who ends worse, and where that changes sides."""

import json
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from noisescale.analysis.comparison import holm, judge_worse
from noisescale.analysis.crossing import Crossing, crossing
from noisescale.analysis.difference import Difference, difference
from noisescale.experiment.sweeps import finals

LEVEL = 0.05
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


@dataclass(frozen=True, slots=True)
class Sides:
    """Does it depend on the base rate which of the two costs less?

    Args:
        verdict: "supported" where a crossing was measured, "contradicted" where one of them costs
            more at every base rate, after Holm's correction over them at 5 %.
        reason: in words.
        p_values: adjusted, of momentum costing more, by base rate.
    """

    verdict: str
    reason: str
    p_values: tuple[float, ...]


def sides() -> Sides:
    """The claim judged."""
    rate, momentum, size = errors("learning-rate"), errors("momentum"), len(rates())
    resolution = 1 / document()["data"]["evaluation_size"]
    judged = [
        judge_worse(rate[:, k], momentum[:, k], paired=True, resolution=resolution)
        for k in range(size)
    ]
    adjusted = tuple(holm([j.p_supported for j in judged]))
    found = change_of_sides()
    if found.verdict == "measured":
        return Sides("supported", f"they change sides at {found.value:.3g}", adjusted)
    if max(adjusted) <= LEVEL:
        reason = f"momentum costs more at every base rate (Holm: p ≤ {max(adjusted):.2g})"
        return Sides("contradicted", reason, adjusted)
    return Sides("undecided", found.reason, adjusted)


def has(arm: str) -> bool:
    """Whether the sweep holds an arm."""
    return any(a["name"] == arm for a in document()["arms"])
