"""The numbers on which the verdict rests, each with its error."""

from dataclasses import dataclass, fields
from typing import Any

from noisescale.analysis.walk.collapse import ClockScore
from noisescale.analysis.walk.estimates import Curve, Number


@dataclass(frozen=True, slots=True)
class ArmEvidence:
    """Of one batch size, at the end of the common times and over their last decade.

    Args:
        drift_share: q = E (w_a − w_0)·(w_b − w_0)/E D², at the end.
        growth_share: the same of the growth of D² over the last decade.
        full_growth: growth of the full batch's D² over that of this arm's.
        full_ratio: full batch's distance over this arm's, at the end.
        time_exponent, noise_exponent: ∂ln D/∂ln t and ½ ∂ln V/∂ln t over the last decade.
        excess_exponent: ∂ln|w − w_full|/∂ln t over the last decade.
        excess_overlap: share of E |w − w_full|² that replicas have in common, at the end.
        uncorrelated: (V_2 − V_1)/Δ²(t_1, t_2) = 1/M over the last half decade: 1 for
            independent increments, less where they return.
    """

    drift_share: Number | None
    growth_share: Number | None
    full_growth: Number | None
    full_ratio: Number | None
    time_exponent: Number
    noise_exponent: Number | None
    excess_exponent: Number | None
    excess_overlap: Number | None
    uncorrelated: Number | None


@dataclass(frozen=True, slots=True)
class NormEvidence:
    """Of the weights' norm, as |w|⁴ − |w_0|⁴ = c θ t and D² = |w|² − |w_0|² predict.

    Args:
        growth: |w|²/|w_0|² − 1 of the noisiest arm at the end.
        time_slope, temperature_slope: ∂ln(|w|⁴ − |w_0|⁴)/∂ln t and /∂ln θ; 1 as predicted.
        square_slope: ∂ln(|w|² − |w_0|²)/∂ln t of the noisiest arm: 1 if the norm does not matter.
        geometry: D²/(|w|² − |w_0|²) of the noisiest arm at the end; 1 as predicted.
        step: ∂ln|Δw|/∂ln|w| of the noisiest arm over all times; −1 as predicted.
    """

    growth: Number
    time_slope: Number
    temperature_slope: Number
    square_slope: Number
    geometry: Number
    step: Number | None


@dataclass(frozen=True, slots=True)
class Evidence:
    """Everything measured; entries that the data do not give are None.

    Args:
        decades: of time that all arms share.
        ratio: largest over smallest θ of the arms with noise.
        batch_exponent, noise_batch_exponent, excess_batch_exponent: ∂ln/∂ln θ of D, √V and
            |w − w_full| at equal t, averaged over the last decade.
        odds_exponent: ∂ln(q/(1 − q))/∂ln θ at the end, with q = excess_overlap of each arm.
        noise_exponent, uncorrelated, growth_share: means over the arms.
    """

    decades: float
    ratio: float
    window: tuple[float, float]
    arms: tuple[ArmEvidence, ...]
    batch_exponent: Number | None
    noise_batch_exponent: Number | None
    excess_batch_exponent: Number | None
    odds_exponent: Number | None
    noise_exponent: Number | None
    uncorrelated: Number | None
    growth_share: Number | None
    norms: NormEvidence | None
    collapse: tuple[ClockScore, ...]
    drift_curves: tuple[Curve, ...]
    time_curves: tuple[Curve, ...]
    batch_curve: Curve | None
    memory_curves: tuple[Curve, ...]
    ageing_curves: tuple[Curve, ...]

    def numbers(self) -> dict[str, Number | None]:
        """What was measured over all arms, by name."""
        names = (
            "batch_exponent",
            "noise_batch_exponent",
            "excess_batch_exponent",
            "odds_exponent",
            "noise_exponent",
            "uncorrelated",
            "growth_share",
        )
        return {name: getattr(self, name) for name in names}

    def to_dict(self) -> dict[str, Any]:
        """Numbers alone: the curves and clocks stand in the verdict."""
        return {
            "decades": self.decades,
            "ratio": self.ratio,
            "window": list(self.window),
            "arms": [_numbers(arm) for arm in self.arms],
            "norms": None if self.norms is None else _numbers(self.norms),
            **{name: None if n is None else n.to_dict() for name, n in self.numbers().items()},
        }


def _numbers(result: ArmEvidence | NormEvidence) -> dict[str, Any]:
    found = {f.name: getattr(result, f.name) for f in fields(result)}
    return {name: None if n is None else n.to_dict() for name, n in found.items()}
