"""Powers of x and laws that begin or end as one: power, saturating, norm growth."""

from collections.abc import Sequence
from typing import ClassVar

import numpy as np

from noisescale.analysis.laws.law import INSIDE, Array, Law, outside


class Power(Law):
    """D = amplitude x^exponent; worked with as ln D in the middle of the window."""

    name = "power"
    names = ("amplitude", "exponent")
    formula = "amplitude · x^exponent"

    def curve(self, phi: Array, u: Array) -> tuple[Array, Array]:
        t = u - self.middle
        return phi[0] + phi[1] * t, np.stack([np.ones_like(u), t], 1)

    def candidates(self, slope: float) -> Sequence[Sequence[float]]:
        return [(slope,)]

    def natural(self, phi: Array) -> Array:
        return np.array([np.exp(phi[0] - phi[1] * self.middle), phi[1]])

    def scales(self, phi: Array) -> Array:
        return np.array([phi[0] - phi[1] * self.middle, phi[1]])

    def unscaled(self, scale: Array, phi: Array) -> Array:
        return np.array([np.exp(scale[0]), scale[1]])


class Saturating(Law):
    """D = limit (1 − exp(−(x/time)^exponent)).

    Worked with as ln D at the end of the window, the exponent, and h = (x_last/time)^exponent.
    h = 0 is a power of x.
    """

    name = "saturating"
    names = ("limit", "time", "exponent")
    formula = "limit · (1 − exp(−(x/time)^exponent))"
    bounded, lowest = 2, INSIDE
    at_lowest: ClassVar = {"limit": np.inf, "time": np.inf}

    def curve(self, phi: Array, u: Array) -> tuple[Array, Array]:
        c, p, h = phi
        if not -4 < h < 1e12:
            return outside(u, 3)
        t = u - self.last
        e = np.exp(p * t)
        if abs(h) < 1e-7:
            value = p * t + h * (1 - e) / 2
            by_e, by_h = 1 / e - h / 2, (1 - e) / 2
        else:
            value = np.log(np.expm1(-h * e) / np.expm1(-h))
            by_e = h / np.expm1(h * e)
            by_h = e / np.expm1(h * e) - 1 / np.expm1(h)
        return c + value, np.stack([np.ones_like(u), by_e * e * t, by_h], 1)

    def candidates(self, slope: float) -> Sequence[Sequence[float]]:
        found = []
        for h in (0.01, 0.3, 1.0, 2.0, 4.0, 8.0, 20.0, 60.0, 200.0, 1e3, 1e4, 1e5):
            # Exponents for which the curve rises from the first to the last x about as the data.
            for f in (0.7, 1.0, 1.5, 2.5, 4.0, 7.0, 12.0):
                found.append((slope * f, h))
        return found

    def natural(self, phi: Array) -> Array:
        c, p, h = phi
        limit, log_time = np.exp(c) / -np.expm1(-h), self.last - np.log(h) / p
        with np.errstate(over="ignore"):
            return np.array([limit, np.exp(log_time), p])

    def scales(self, phi: Array) -> Array:
        c, p, h = phi
        return np.array([-np.expm1(-h) * np.exp(-c), self.last - np.log(max(h, INSIDE)) / p, p])

    def unscaled(self, scale: Array, phi: Array) -> Array:
        limit = 1 / scale[0] if scale[0] > 0 else np.inf
        with np.errstate(over="ignore"):
            return np.array([limit, np.exp(scale[1]), scale[2]])


class NormGrowth(Law):
    """D² = √(norm0⁴ + rate x) − norm0².

    Weights w of scale-invariant layers have gradients orthogonal to w, of size |g̃|/|w|. Under
    pure noise successive steps are orthogonal to w as well, so |w|² grows by ε²|g̃|²/|w|² per
    update: d|w|⁴/dk = 2ε²|g̃|², and |w|⁴ = norm0⁴ + rate x with rate = 2ε²Σ|g̃|² per update. The
    steps have no direction in common: |w − w_0|² = |w|² − |w_0|².

    Worked with as ln D at the end of the window and ρ = (1 + rate x_last/norm0⁴)^(−1/2) in (0, 1).
    ρ = 1 is a power of x with exponent 1/2, ρ = 0 one with exponent 1/4.

    Source: van Laarhoven 2017 (growth of the norm); Arora, Li & Lyu 2019.
    """

    name = "norm-growth"
    names = ("norm0", "rate")
    formula = "√(√(norm0⁴ + rate · x) − norm0²)"
    bounded: ClassVar[int | None] = 1
    lowest, highest = INSIDE, 1 - INSIDE
    at_lowest: ClassVar = {"norm0": 0.0}
    at_highest: ClassVar = {"norm0": np.inf, "rate": np.inf}

    def curve(self, phi: Array, u: Array) -> tuple[Array, Array]:
        c, r = phi
        if not -0.99 < r < 20:
            return outside(u, 2)
        t = u - self.last
        e = np.exp(t)
        root = np.sqrt(r * r + (1 - r * r) * e)
        value = (t + np.log1p(r) - np.log(root + r)) / 2
        slope = (1 / (1 + r) - (1 + r * (1 - e) / root) / (root + r)) / 2
        return c + value, np.stack([np.ones_like(u), slope], 1)

    def candidates(self, slope: float) -> Sequence[Sequence[float]]:
        return [(float((1 + np.exp(g)) ** -0.5),) for g in np.linspace(-6, self.span + 8, 24)]

    def natural(self, phi: Array) -> Array:
        return np.asarray(np.exp(self.scales(phi)))

    def scales(self, phi: Array) -> Array:
        c, r = phi[0], min(max(phi[1], INSIDE), 1 - INSIDE)
        rate = 4 * c + np.log1p(r) - np.log1p(-r) - self.last
        return np.array([c + (np.log(r) - np.log1p(-r)) / 2, rate])

    def unscaled(self, scale: Array, phi: Array) -> Array:
        with np.errstate(over="ignore"):
            return np.asarray(np.exp(scale))


class KnownNormGrowth(NormGrowth):
    """The same law where norm0 = |w_0| is known: ln rate alone is fitted."""

    bounded: ClassVar[int | None] = None
    norm0: ClassVar[float]

    @property
    def size(self) -> int:
        return 1

    def curve(self, phi: Array, u: Array) -> tuple[Array, Array]:
        norm = np.log(self.norm0)
        z = np.exp(phi[0] + u - 4 * norm)
        root = np.sqrt(1 + z)
        # √(1 + z) − 1 without the cancellation.
        value = norm + (np.log(z) - np.log(root + 1)) / 2
        return value, ((1 - z / (2 * root * (root + 1))) / 2)[:, None]

    def candidates(self, slope: float) -> Sequence[Sequence[float]]:
        norm = 4 * np.log(self.norm0)
        return [(float(norm - self.last + g),) for g in np.linspace(-40, 60, 101)]

    def natural(self, phi: Array) -> Array:
        return np.array([self.norm0, np.exp(phi[0])])

    def scales(self, phi: Array) -> Array:
        return np.array([np.log(self.norm0), phi[0]])
