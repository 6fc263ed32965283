"""What the runs of the ladder say together: the ladder, the distance at a plateau, growth laws."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import stdtr

from noisescale.analysis.difference import Difference, difference
from noisescale.analysis.laws import Comparison, fit_distance
from noisescale.experiment.sweeps import finals

RESULTS = Path(__file__).resolve().parent / "results"
STEPS = ("SB", "LB", "+LR", "+GBN", "+RA")
# Accuracy in %, Hoffer, Hubara & Soudry 2017, table 1; without error bars.
PUBLISHED = {
    "F1, MNIST": (98.27, 97.05, 97.55, 97.60, 98.53),
    "C1, CIFAR-10": (87.80, 83.95, 86.15, 86.4, 88.20),
    "ResNet-44, CIFAR-10": (92.83, 86.10, 89.30, 90.50, 93.07),
    "VGG, CIFAR-10": (92.30, 84.1, 88.6, 91.50, 93.03),
    "C3, CIFAR-100": (61.25, 51.50, 57.38, 57.5, 63.20),
    "Wide ResNet 16-4, CIFAR-100": (73.70, 68.15, 69.05, 71.20, 73.57),
    "AlexNet, ImageNet": (57.10, 41.23, 53.25, 54.92, 59.5),
}
NOT_RUN = {
    "C1, CIFAR-10": "not run: an accelerator's",
    "ResNet-44, CIFAR-10": "not run: an accelerator's (`--preset paper`)",
    "VGG, CIFAR-10": "not run: the network is not in the released code",
    "C3, CIFAR-100": "not run: the data are not at hand",
    "Wide ResNet 16-4, CIFAR-100": "not run: the data are not at hand",
    "AlexNet, ImageNet": "not run: the data are not at hand",
}
# Arms of each study along the steps.
LADDERS = {
    "mnist": ("small-batch", "large-batch", "learning-rate", "ghost", None),
    "mnist-adapted": ("small-batch", "large-batch", "learning-rate", "ghost", "regime-adaptation"),
    "gap-digits": ("small-batch", "large-batch", "learning-rate", "ghost", "regime-adaptation"),
    "digits": ("small-batch", "large-batch", "learning-rate", None, "regime-adaptation"),
}
NAMES = {
    "mnist": "F1, MNIST, 128 and 4,096",
    "mnist-adapted": "F1, 6,000 images of MNIST, 128 and 1,024",
    "gap-digits": "digits with batch norm, 16 and 256",
    "digits": "digits without batch norm, 8 and 128",
}
# Arms that differ in the length of the phase of constant rate, and its end in epochs.
PLATEAUS = {
    "ghost": 10.0,
    "constant-phase-2": 20.0,
    "constant-phase-4": 40.0,
    "constant-phase-8": 80.0,
    "regime-adaptation": 160.0,
}
Array = NDArray[np.float64]


@cache
def document(name: str) -> dict[str, Any]:
    """results.json of one folder."""
    return json.loads((RESULTS / name / "results.json").read_text("utf-8"))


def there(name: str) -> bool:
    """Whether a folder's results are committed."""
    return (RESULTS / name / "results.json").exists()


def ladder(name: str) -> list[Array | None]:
    """Final test errors (seeds,) along the steps; None where a step was not run."""
    arms = LADDERS[name]
    return [None if arm is None else finals(document(name), arm) for arm in arms]


def reset_gap(name: str = "mnist") -> dict[str, tuple[Difference, Difference]]:
    """Errors above the small batch's, momentum kept and emptied every epoch, by arm."""
    size = document(name)["data"]["evaluation_size"]
    small = finals(document(name), "small-batch")
    return {
        arm: (
            difference(small, finals(document(name), arm), paired=True, resolution=1 / size),
            difference(
                small,
                finals(document(name), f"{arm}-momentum-reset"),
                paired=True,
                resolution=1 / size,
            ),
        )
        for arm in ("large-batch", "ghost")
    }


@dataclass(frozen=True, slots=True)
class Plateau:
    """Does the distance at the end of the constant phase tell the final error?

    Args:
        groups: (distance, final error) of the seeds, by arm.
        correlation: of distance and final error over all runs.
        slope, stderr, p: of the distance in final error = a + b ln updates + c ln training loss +
            d ln test loss + e distance; the error by leaving out one seed of all arms in turn.
        gain: mean squared error of seeds left out, without the distance over with it, minus 1.
        n: seeds.
    """

    groups: Mapping[str, tuple[Array, Array]]
    correlation: float
    slope: float
    stderr: float
    p: float
    gain: float
    n: int


@cache
def plateau(name: str = "gap-digits") -> Plateau:
    """The regression over arms that differ in the length of their first phase.

    In regime-adaptation the later phases, which hardly move the weights, are longer as well.
    """
    groups, columns, seeds, targets = {}, [], [], []
    for arm, epoch in PLATEAUS.items():
        entry = next(a for a in document(name)["arms"] if a["name"] == arm)
        final = finals(document(name), arm)
        rows = [_at(seed["curves"], epoch) for seed in entry["seeds"]]
        table = np.array(rows)
        groups[arm] = (table[:, 3], final)
        columns.append(table)
        targets.append(final)
        seeds.append(np.arange(len(final)))
    x, y, seed = np.concatenate(columns), np.concatenate(targets), np.concatenate(seeds)
    n = int(seed.max()) + 1
    full, short = _design(x), _design(x[:, :3])
    slope = float(_solve(full, y)[-1])
    left_out = [seed == k for k in range(n)]
    slopes = np.array([_solve(full[~out], y[~out])[-1] for out in left_out])
    stderr = float(np.sqrt((n - 1) / n * np.sum((slopes - slopes.mean()) ** 2)))

    def miss(design: Array) -> float:
        return float(
            np.mean(
                [
                    np.mean((y[out] - design[out] @ _solve(design[~out], y[~out])) ** 2)
                    for out in left_out
                ]
            )
        )

    return Plateau(
        groups,
        float(np.corrcoef(x[:, 3], y)[0, 1]),
        slope,
        stderr,
        2 * float(stdtr(n - 1, -abs(slope) / stderr)),
        miss(short) / miss(full) - 1,
        n,
    )


def _at(curves: Mapping[str, Any], epoch: float) -> list[float]:
    """ln updates, ln training loss, ln test loss and distance at an epoch."""
    k = curves["epoch"].index(epoch)
    logs = [float(np.log(curves[c][k])) for c in ("update", "train_loss", "evaluation_loss")]
    return [*logs, float(curves["distance"][k])]


def _design(columns: Array) -> Array:
    """A constant and the columns, each centred so that the normal equations stay well posed."""
    return np.column_stack([np.ones(len(columns)), columns - columns.mean(axis=0)])


def _solve(design: Array, y: Array) -> Array:
    return np.asarray(np.linalg.lstsq(design, y, rcond=None)[0])


def distances(arm: Mapping[str, Any], tensor: str) -> tuple[Array, Array]:
    """Updates (K,) and distances (seeds, K) of all weights or of "first_tensor".

    Tensors are measured at the log-spaced updates, not at every evaluation.
    """
    tables = [seed["distances"] for seed in arm["seeds"]]
    kept = [k for k, value in enumerate(tables[0][tensor]) if value is not None]
    updates = np.array([tables[0]["update"][k] for k in kept], float)
    return updates, np.array([[table[tensor][k] for k in kept] for table in tables], float)


@cache
def growth(name: str, arm: str, tensor: str = "distance") -> Comparison:
    """Which law the distance of an arm's seeds follows."""
    entry = next(a for a in document(name)["arms"] if a["name"] == arm)
    x, curves = distances(entry, tensor)
    found = fit_distance(x, curves)
    assert isinstance(found, Comparison)
    return found


GROWTH = "distance-growth-mnist"
SIZES = (64, 128, 256, 512, 1024, 2048)
_PLAIN = {size: f"batch_size-{size}" for size in SIZES}
# Arms of each stage of matching by batch size; 128 is the base, and 64 is one ghost.
STAGES = {
    "one rate for all": _PLAIN,
    "rate × √(B/128)": {**_PLAIN, **{s: f"learning-rate_{s}" for s in SIZES if s != 128}},
    "and ghosts of 64": {64: "learning-rate_64", **{s: f"ghost_{s}" for s in SIZES if s > 64}},
}


def farthest_over_nearest(stage: str, tensor: str) -> tuple[float, float, float]:
    """(update, least, largest): mean distances at the last update that all batch sizes make."""
    arms = {arm["name"]: arm for arm in document(GROWTH)["arms"]}
    curves = [distances(arms[name], tensor) for name in STAGES[stage].values()]
    last = min(float(x[-1]) for x, _ in curves)
    means = [float(np.interp(np.log(last), np.log(x), y.mean(axis=0))) for x, y in curves]
    return last, min(means), max(means)
