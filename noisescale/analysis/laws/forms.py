"""The growth laws by name."""

from noisescale.analysis.laws.law import Law
from noisescale.analysis.laws.logarithms import Drift, Log, LogPower
from noisescale.analysis.laws.powers import KnownNormGrowth, NormGrowth, Power, Saturating

LAWS: dict[str, type[Law]] = {
    law.name: law for law in (Log, Power, LogPower, Saturating, NormGrowth)
}
CONTROLS: dict[str, type[Law]] = {Drift.name: Drift}


def law_of(name: str, first: float, last: float, norm0: float | None = None) -> Law:
    """The law of a name on a window of ln x."""
    if norm0 is not None and name == NormGrowth.name:
        return type("KnownNormGrowth", (KnownNormGrowth,), {"norm0": norm0})(first, last)
    return {**LAWS, **CONTROLS}[name](first, last)
