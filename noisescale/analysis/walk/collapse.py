"""On which clock do the distances of all batch sizes fall on one curve?"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from noisescale.analysis.walk.arms import Arm
from noisescale.analysis.walk.estimates import Number, number, plain

Array = NDArray[np.float64]

# Clock: the mechanism that a collapse on it supports.
CLOCKS: Mapping[str, str] = {
    "t": "drift",
    "theta t": "free diffusion or norm growth",
    "theta ln(t/tau)": "trapping",
    "examples": "none",
}
_POINTS = 16
# A common range shorter than this, in ln of the clock, tells nothing; ln t itself is slower.
_SHORTEST, _SHORTEST_SLOW = 0.5, 0.05
# ln of the first time used over τ: where it is looked for, in three ever finer grids.
_DEPTHS = (0.02, 30.0)
_TAUS = 12
# Activation is slow from some time on: of each arm the last two decades.
_ACTIVATED = 100.0


@dataclass(frozen=True, slots=True)
class ClockScore:
    """Difference of ln D between batch sizes at equal readings of one clock.

    Args:
        clock: "t" = ε k/(1 − m); "theta t", with θ = (ε/(1 − m))(1/B − 1/N); "theta ln(t/tau)"
            with the one τ that collapses best; "examples" k B.
        mechanism: what a collapse on it supports.
        spread: root mean square difference of ln D between neighbouring batch sizes, along the
            range common to both; None where no two have a range in common.
        holds: all neighbours have one, and the whole interval lies below the margin.
        excluded: the whole interval lies above it; never of the clock with a free τ.
        range: readings compared, smallest and largest.
        tau: τ.
    """

    clock: str
    mechanism: str
    spread: Number | None
    holds: bool
    excluded: bool
    range: tuple[float, float] | None
    tau: float | None

    def to_dict(self) -> dict[str, Any]:
        return {
            "clock": self.clock,
            "mechanism": self.mechanism,
            "spread": None if self.spread is None else self.spread.to_dict(),
            "holds": self.holds,
            "excluded": self.excluded,
            "range": None if self.range is None else [plain(edge) for edge in self.range],
            "tau": self.tau,
        }


def collapse(
    arms: Sequence[Arm], logs: Sequence[Array], first: Sequence[int], *, margin: float, level: float
) -> tuple[ClockScore, ...]:
    """The score of every clock.

    Args:
        arms: at least two with noise.
        logs: ln D of each, (1 + S, n): of all seeds and without one each.
        first: index of the first time used in each.
    """
    return tuple(_score(clock, arms, logs, first, margin, level) for clock in CLOCKS)


def readings(clock: str, arm: Arm, tau: float | None) -> Array:
    """What a clock shows at the times of an arm."""
    if clock == "t":
        return arm.time
    if clock == "examples":
        return arm.update * arm.batch_size
    if clock == "theta t":
        return arm.temperature * arm.time
    return arm.temperature * np.log(arm.time / (tau or 1.0))


def _score(
    clock: str,
    arms: Sequence[Arm],
    logs: Sequence[Array],
    first: Sequence[int],
    margin: float,
    level: float,
) -> ClockScore:
    tau = None
    if "tau" in clock:
        first = [
            max(j, int(np.searchsorted(arm.time, arm.time[-1] / _ACTIVATED)))
            for arm, j in zip(arms, first, strict=True)
        ]
        tau = _best_tau(clock, arms, logs, first)
        if tau is None:
            return ClockScore(clock, CLOCKS[clock], None, False, False, None, None)
    spreads, span, compared = _spreads(clock, arms, logs, first, tau)
    if spreads is None:
        return ClockScore(clock, CLOCKS[clock], None, False, False, None, None)
    found = number(spreads, level)
    return ClockScore(
        clock,
        CLOCKS[clock],
        found,
        holds=compared == len(arms) - 1 and found.interval[1] < margin,
        # A small τ leaves no common range, so that clock cannot be excluded.
        excluded=tau is None and found.interval[0] > margin,
        range=span,
        tau=tau,
    )


def _best_tau(
    clock: str, arms: Sequence[Arm], logs: Sequence[Array], first: Sequence[int]
) -> float | None:
    """The τ before the first time used that collapses best; None if it would be that time."""
    start = min(arm.time[j] for arm, j in zip(arms, first, strict=True))
    means = [rows[:1] for rows in logs]

    def spread(depth: float) -> float:
        found = _spreads(clock, arms, means, first, float(start * np.exp(-depth)))[0]
        return np.inf if found is None else float(found[0])

    low, high = _DEPTHS
    for _ in range(3):
        depths = np.geomspace(low, high, _TAUS)
        j = int(np.argmin([spread(depth) for depth in depths]))
        low, high = depths[max(j - 1, 0)], depths[min(j + 1, _TAUS - 1)]
    return None if depths[j] <= 2 * _DEPTHS[0] else float(start * np.exp(-depths[j]))


def _spreads(
    clock: str, arms: Sequence[Arm], logs: Sequence[Array], first: Sequence[int], tau: float | None
) -> tuple[Array | None, tuple[float, float] | None, int]:
    """(1 + S,) spreads, readings compared, number of neighbours compared."""
    curves = [
        (np.log(readings(clock, arm, tau)[j:]), rows[:, j:])
        for arm, rows, j in zip(arms, logs, first, strict=True)
    ]
    squares, edges = [], []
    for (x, a), (y, b) in pairwise(curves):
        low, high = max(x[0], y[0]), min(x[-1], y[-1])
        if high - low < (_SHORTEST if tau is None else _SHORTEST_SLOW):
            continue
        at = np.linspace(low, high, _POINTS)
        gaps = [np.interp(at, x, p) - np.interp(at, y, q) for p, q in zip(a, b, strict=True)]
        squares.append(np.mean(np.square(gaps), axis=1))
        edges += [float(np.exp(low)), float(np.exp(high))]
    if not squares:
        return None, None, 0
    return np.sqrt(np.mean(squares, axis=0)), (min(edges), max(edges)), len(squares)
