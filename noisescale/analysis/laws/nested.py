"""Laws that hold another law as a special case: is the richer one needed, can it be excluded?"""

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np

from noisescale.analysis.laws.fit import Fit
from noisescale.analysis.laws.solve import derivatives

# A simpler law is refuted below this p-value.
_REFUTED = 0.01
_LEVEL = 0.95


@dataclass(frozen=True, slots=True)
class Tie:
    """A pair of laws of which one is a special case of the other.

    Args:
        rich: the law that holds the other.
        redundant: whether its interval holds the special case and nothing that differs from it
            much: the simpler law says it all.
        needed: whether its interval excludes the special case and its neighbourhood.
        reason: in words.
    """

    rich: str
    redundant: bool
    needed: bool
    reason: str


@dataclass(frozen=True, slots=True)
class _Nesting:
    rich: str
    index: int  # of `scales`, or of the working parameters where `working`
    working: bool
    value: float  # at which the richer law is the simpler one
    wide: tuple[float, float]  # about that value: all of the interval must lie in here, or ...
    near: tuple[float, float]  # ... none of it in here
    says: str


# For the log-power law 1/exponent and its curvature κ are judged, for saturation
# h = (x_last/time)^exponent, for norm growth ρ, of which (1 + ρ)/4 is the last local exponent.
_LIMIT = -np.inf
_NESTED: Mapping[str, tuple[_Nesting, ...]] = {
    "log": (
        _Nesting("log-power", 2, False, 1.0, (0.75, 1.3), (0.87, 1.15), "1/exponent of log-power"),
    ),
    "power": (
        _Nesting("log-power", 2, True, 0.0, (-0.4, 0.4), (_LIMIT, 0.5), "log-power's curvature κ"),
        _Nesting("saturating", 2, True, 0.0, (-0.4, 0.3), (_LIMIT, 0.3), "(x_last/time)^exponent"),
        _Nesting("norm-growth", 1, True, 1.0, (0.75, np.inf), (0.85, np.inf), "norm growth's ρ"),
        # The end of the range is that of ρ at the first x.
        _Nesting("norm-growth", 1, True, 0.0, (_LIMIT, 0.2), (_LIMIT, 0.1), "norm growth's ρ"),
    ),
}


def ties(name: str, fits: Mapping[str, Fit]) -> dict[str, Tie]:
    """The richer laws that hold `name`, by name."""
    found: dict[str, Tie] = {}
    for nesting in _NESTED.get(name, ()):
        # Not if its norm0 is known: it has then fewer parameters than the simpler law.
        if fits[nesting.rich]._solution.law.bounded is None and nesting.working:
            continue
        tie, other = _tie(nesting, fits[nesting.rich]), found.get(nesting.rich)
        if other is not None:
            needed = tie.needed and other.needed
            tie = replace(other if other.redundant else tie, needed=needed)
        found[nesting.rich] = tie
    return found


def _tie(nesting: _Nesting, fit: Fit) -> Tie:
    solution, errors = fit._solution, fit._spread
    free = solution.free
    if nesting.working:
        direction, centre = np.eye(len(free))[nesting.index], float(free[nesting.index])
    else:
        with np.errstate(all="ignore"):
            direction = derivatives(solution.law.scales, free)[nesting.index]
            centre = float(solution.law.scales(free)[nesting.index])
    wide, near = nesting.wide, nesting.near
    if nesting.rich == "norm-growth" and nesting.value == 0:
        wide, near = ((_LIMIT, _at_last(r, solution.law.span)) for _, r in (wide, near))
    p = errors.beyond(direction, nesting.value - centre)
    low, high = (centre + end for end in errors.interval(direction, _LEVEL))
    within = wide[0] <= low and high <= wide[1]
    # Rounding refutes nothing; beyond its limits norm growth cannot help.
    free_of_it = abs(centre - nesting.value) < 1e-5
    if nesting.rich == "norm-growth":
        free_of_it |= (centre <= 0) if nesting.value == 0 else (centre >= 1)
    redundant = within and (p > _REFUTED or free_of_it)
    needed = high < near[0] or low > near[1]
    words = f"{nesting.says} is {low:.2g} … {high:.2g}, where {nesting.value:g} is the simpler law"
    return Tie(nesting.rich, bool(redundant), bool(needed), words)


def _at_last(rho: float, span: float) -> float:
    """ρ at the last x, from that at the first: 1/ρ² − 1 is proportional to x."""
    return float((1 + (rho**-2 - 1) * np.exp(span)) ** -0.5)
