"""What every estimator of the roughness exponent returns."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np

from noisescale.analysis.documents import document
from noisescale.analysis.html import plus_minus, table
from noisescale.analysis.resampling import quantile_of

Verdict = Literal["self-affine", "log-power", "smooth", "undecided"]


@dataclass(frozen=True, slots=True)
class RoughnessEstimate:
    """α of E[(V(x) − V(y))²] = σ² |x − y|^α, with its error and what speaks for the model.

    Args:
        alpha: the estimate, cut to [0, 2]; in hand whatever the verdict.
        stderr: its standard error, if the model holds.
        interval: of confidence `level`, cut to [0, 2].
        sigma: σ; None where the data do not hold it (distances of walkers).
        n: independent units behind the error: points of a trace, rays, environments.
        window: smallest and largest abscissa used: distances, radii, or ln t.
        method: the estimator's name.
        verdict: "self-affine" (or "log-power", of distance curves): no check speaks against the
            law; "smooth": indistinguishable from a smooth function, whose α = 2 says nothing
            about roughness; "undecided": a check failed, or the data do not suffice.
        reason: the verdict in words.
        level: confidence of the interval.
        diagnostics: numbers of the checks and of naive fits, by name.
    """

    alpha: float
    stderr: float
    interval: tuple[float, float]
    sigma: float | None
    n: int
    window: tuple[float, float]
    method: str
    verdict: Verdict
    reason: str
    level: float
    diagnostics: Mapping[str, Any] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """All fields as strict JSON."""
        return document(self)

    def _repr_html_(self) -> str:
        head = ["α", f"{self.level:.0%} interval", "σ", "n", "window", "method"]
        alpha = plus_minus(self.alpha, self.stderr)
        row = [alpha, self.interval, self.sigma, self.n, self.window, self.method]
        return table(f"Roughness: {self.verdict}", head, [row], [self.reason])


def interval_of(
    center: float, stderr: float, level: float, degrees: float = np.inf
) -> tuple[float, float]:
    """Student's (or, with infinite degrees, the normal) interval of α, cut to [0, 2]."""
    half = quantile_of(level, degrees) * stderr
    return min(max(center - half, 0.0), 2.0), max(min(center + half, 2.0), 0.0)
