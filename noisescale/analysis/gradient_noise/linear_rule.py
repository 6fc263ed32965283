"""How far the linear scaling rule holds for a normalised network at equilibrium."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from noisescale.analysis.checks import positive, real_number
from noisescale.analysis.documents import document
from noisescale.analysis.gradient_noise.conclusion import GradientNoiseScale
from noisescale.analysis.gradient_noise.gains import read_noise_scale
from noisescale.analysis.html import table
from noisescale.errors import InputError

Interval = tuple[float, float]


@dataclass(frozen=True, slots=True)
class LinearRuleLimit:
    """κ_max = C² + (C² − 1) NSR, the largest factor on batch size and learning rate.

    Args:
        value: κ_max; None where an assumption fails, or the NSR is not known.
        interval: of the noise scale's interval, if it was given.
        noise_to_signal, factor: NSR and C.
        reason: why there is no value; else what was taken as stated by the caller.
    """

    value: float | None
    interval: Interval | None
    noise_to_signal: float
    factor: float
    reason: str
    assumptions: Mapping[str, Any] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """All fields as strict JSON."""
        return document(self)

    def _repr_html_(self) -> str:
        rows = [[self.value, self.interval, self.noise_to_signal, self.factor]]
        head = ["κ_max", "interval", "noise to signal", "C"]
        return table("Limit of the linear scaling rule", head, rows, [self.reason])

    def plot(self, ax: Any = None) -> Any:
        """κ_max against the noise-to-signal ratio."""
        from noisescale.plots.gradient_noise import draw_linear_rule_limit

        return draw_linear_rule_limit(ax, self)


def linear_rule_limit(
    noise_to_signal: float | GradientNoiseScale,
    factor: float = 2.0,
    *,
    batch_size: float | None = None,
    normalised_network: bool = True,
    momentum: float = 0.0,
    weight_decay: bool = True,
    constant_learning_rate: bool = True,
    at_equilibrium: bool = True,
) -> LinearRuleLimit:
    """κ_max = C² + (C² − 1) NSR, NSR = tr Σ/(B|G|²) at equilibrium.

    The loss of a normalised network does not change with |w|, so its gradient is orthogonal to w,
    and w ← (1 − ηλ)w − ηg gives |w|² ← (1 − ηλ)²|w|² + η²|g|². With R = E|w|², G = |G|² and
    N = tr Σ/B, equilibrium is

        R (2ηλ − η²λ²) = η² (G + N).

    At batch κB and rate κη the same holds with R', G', N', where the noise of one example gives
    N/κ. If R' ≤ C R, G' ≥ G/C and N' ≥ N/(κC), dividing both equations gives

        C ≥ R'/R = κ (G' + N')/(G + N) · (2 − ηλ)/(2 − κηλ) ≥ (κG + N)/(C (G + N)),

    and so κ ≤ C² + (C² − 1) N/G. Beyond it, some of the three must have changed by more than C:
    the linear rule no longer gives the same run. It is a bound: the rule may fail before.

    Args:
        noise_to_signal: NSR ≥ 0 at batch size B: a number, or B_simple with its batch_size.
        factor: C > 1, by which equilibrium norms may change.
        batch_size: B, where noise_to_signal is a GradientNoiseScale.
        normalised_network: every weight that is trained feeds a normalisation.
        momentum: of the optimiser; the derivation is of plain SGD.
        weight_decay: λ > 0 is applied; without it |w| grows for ever.
        constant_learning_rate, at_equilibrium: the rate has been constant for 1/(ηλ) updates or
            more, and the moments are averages over such a time.

    Returns:
        LinearRuleLimit; value None with the reason where one of these is stated not to hold.

    Raises:
        InputError: noise_to_signal below 0 or factor not above 1; batch_size missing or in excess.

    Source: derived above; Li, Malladi & Arora 2021, theorem 5.6, is of this kind, with other
    constants.
    """
    C = real_number("factor", factor, above=1.0, hint="it must be above 1, such as 2")
    speed = real_number("momentum", momentum, hint="it must be at least 0")
    nsr, ends, unknown = _noise_to_signal(noise_to_signal, batch_size)
    assumptions = {
        "normalised_network": bool(normalised_network),
        "momentum": speed,
        "weight_decay": bool(weight_decay),
        "constant_learning_rate": bool(constant_learning_rate),
        "at_equilibrium": bool(at_equilibrium),
    }
    failing = [
        text
        for holds, text in (
            (normalised_network, "the network is not normalised throughout"),
            (speed == 0, f"momentum is {speed:g}, not 0"),
            (weight_decay, "there is no weight decay"),
            (constant_learning_rate, "the learning rate is not constant"),
            (at_equilibrium, "the run is not at equilibrium"),
        )
        if not holds
    ]
    if failing:
        reason = f"not applicable: {'; '.join(failing)}"
        return LinearRuleLimit(None, None, nsr, C, reason, assumptions)
    interval = None
    if ends is not None:
        interval = (_limit(max(ends[0], 0.0), C), _limit(max(ends[1], 0.0), C))
    if not nsr >= 0:
        return LinearRuleLimit(None, interval, nsr, C, unknown, assumptions)
    stated = "a normalised network, plain SGD with weight decay, a constant rate, equilibrium"
    return LinearRuleLimit(_limit(nsr, C), interval, nsr, C, f"as stated: {stated}", assumptions)


def _limit(nsr: float, factor: float) -> float:
    return factor**2 + (factor**2 - 1) * nsr


def _noise_to_signal(given: object, batch_size: object) -> tuple[float, Interval | None, str]:
    """(NSR or NaN, its interval, why NaN)."""
    if not isinstance(given, GradientNoiseScale):
        if batch_size is not None:
            raise InputError("batch_size is for a GradientNoiseScale; a number is NSR already")
        hint = "it must be a finite number of at least 0"
        return real_number("noise_to_signal", given, hint=hint), None, ""
    if batch_size is None:
        raise InputError("give batch_size with a GradientNoiseScale: NSR = B_simple/B")
    B, found = positive("batch_size", batch_size), read_noise_scale(given)
    ends = None if found.interval is None else (found.interval[0] / B, found.interval[1] / B)
    return found.value / B, ends, found.reason
