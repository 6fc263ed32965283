"""Numbers and curves with their errors, by leaving out one seed at a time."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from noisescale.analysis.resampling import quantile_of

Array = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Number:
    """A value, its standard error and the interval of the verdict's level."""

    value: float
    stderr: float
    interval: tuple[float, float]

    def to_dict(self) -> dict[str, Any]:
        return {
            "value": plain(self.value),
            "stderr": plain(self.stderr),
            "interval": [plain(edge) for edge in self.interval],
        }


@dataclass(frozen=True, slots=True)
class Curve:
    """Values against a clock.

    Args:
        name: of what: a batch size, or a quantity.
        time: t = ε k/(1 − m) or another clock, (n,).
        value, stderr, low, high: estimates, standard errors and interval, (n,).
    """

    name: str
    time: Array
    value: Array
    stderr: Array
    low: Array
    high: Array

    def to_dict(self) -> dict[str, Any]:
        columns = ("time", "value", "stderr", "low", "high")
        found = {key: [plain(x) for x in getattr(self, key)] for key in columns}
        return {"name": self.name, **found}


def plain(value: float) -> float | None:
    """A float that strict JSON can hold, or None."""
    return float(value) if np.isfinite(value) else None


def weights_without_one(seeds: int) -> Array:
    """(1 + S, S): equal weights of all seeds, then of all but one."""
    left_out = (1 - np.eye(seeds)) / max(seeds - 1, 1)
    return np.concatenate([np.full((1, seeds), 1 / seeds), left_out])


def spread(values: Array, floor: Array | float = 0.0) -> Array:
    """Jackknife standard error √((S−1)/S Σ (x_i − x̄)²) along axis 0, `floor` added in squares.

    Source: Efron & Stein 1981.
    """
    left = values[1:]
    seeds = len(left)
    with np.errstate(invalid="ignore"):  # infinite values stay without an error
        deviation = left - left.mean(axis=0)
    return np.asarray(np.sqrt((seeds - 1) / seeds * np.sum(deviation**2, axis=0) + floor**2))


def number(values: Array, level: float, floor: float = 0.0) -> Number:
    """From (1 + S,): the value of all seeds and those without one each."""
    stderr = float(spread(values, floor))
    half = _quantile(level, len(values) - 1) * stderr
    value = float(values[0])
    return Number(value, stderr, (value - half, value + half))


def curve(name: str, time: Array, values: Array, level: float, floor: Array | float = 0.0) -> Curve:
    """From (1 + S, n)."""
    stderr = spread(values, floor)
    half = _quantile(level, len(values) - 1) * stderr
    return Curve(name, time, values[0], stderr, values[0] - half, values[0] + half)


def _quantile(level: float, seeds: int) -> float:
    return quantile_of(level, seeds - 1) if seeds > 1 else np.inf
