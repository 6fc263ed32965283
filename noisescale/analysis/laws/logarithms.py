"""Logarithmic laws: log, log-power, and the drift that looks like them."""

from collections.abc import Sequence
from typing import ClassVar

import numpy as np

from noisescale.analysis.laws.law import INSIDE, Array, Law, outside


class Log(Law):
    """D = offset + slope ln x; worked with as ln of the D at both ends of the window."""

    name = "log"
    names = ("offset", "slope")
    formula = "offset + slope · ln x"

    def curve(self, phi: Array, u: Array) -> tuple[Array, Array]:
        c, growth = phi
        w = (u - self.first) / self.span
        inside = 1 + np.expm1(growth) * w
        return c + np.log(inside), np.stack([np.ones_like(u), np.exp(growth) * w / inside], 1)

    def candidates(self, slope: float) -> Sequence[Sequence[float]]:
        total = slope * self.span
        return [(f * total,) for f in (0.5, 1.0, 1.5, 2.0, 3.0)]

    def natural(self, phi: Array) -> Array:
        slope = np.exp(phi[0]) * np.expm1(phi[1]) / self.span
        return np.array([np.exp(phi[0]) - slope * self.first, slope])

    def scales(self, phi: Array) -> Array:
        return self.natural(phi)

    def unscaled(self, scale: Array, phi: Array) -> Array:
        return scale


class LogPower(Law):
    """D = amplitude (ln x − log_tau0)^exponent, log_tau0 below the first ln x.

    Worked with as ln D and the local exponent in the middle of the window, and the curvature
    κ = span/(middle − log_tau0) in (0, 2). κ = 0 is a power of x.
    """

    name = "log-power"
    names = ("amplitude", "log_tau0", "exponent")
    formula = "amplitude · (ln x − log_tau0)^exponent"
    bounded, lowest, highest = 2, INSIDE, 2 - INSIDE
    at_lowest: ClassVar = {"amplitude": 0.0, "log_tau0": -np.inf, "exponent": np.inf}

    def curve(self, phi: Array, u: Array) -> tuple[Array, Array]:
        c, slope, k = phi
        if not -1.9 < k < 2:
            return outside(u, 3)
        w = (u - self.middle) / self.span
        shape = _log1p_over(k, w)
        # d/dk of ln(1 + k w)/k, by its series where the difference would cancel.
        small = np.abs(k * w) < 1e-3
        kw = np.where(small, k * w, 0.0)
        series = w * w * (-1 / 2 + kw * (2 / 3 + kw * (-3 / 4 + kw * 4 / 5)))
        bent = series if small.all() else np.where(small, series, (w / (1 + k * w) - shape) / k)
        s = self.span
        return c + slope * s * shape, np.stack([np.ones_like(u), s * shape, slope * s * bent], 1)

    def candidates(self, slope: float) -> Sequence[Sequence[float]]:
        curvatures = np.concatenate([[0.01, 0.1, 0.3], 2 - 2 * np.geomspace(0.8, 1e-3, 16)])
        # The mean slope over the window in terms of the one in its middle.
        means = [_log1p_over(k, np.array([0.5]))[0] - _log1p_over(k, np.array([-0.5]))[0]
                 for k in curvatures]  # fmt: skip
        return [
            (f * slope / m, k)
            for k, m in zip(curvatures, means, strict=True)
            for f in (0.8, 1.0, 1.3)
        ]

    def natural(self, phi: Array) -> Array:
        c, slope, k = phi
        length = self.span / k
        exponent = slope * length
        with np.errstate(over="ignore"):
            amplitude = np.exp(c - exponent * np.log(length))
        return np.array([amplitude, self.middle - length, exponent])

    def scales(self, phi: Array) -> Array:
        c, slope, k = phi
        length = self.span / max(k, INSIDE)
        return np.array([c - slope * length * np.log(length), k / self.span, k / slope / self.span])

    def unscaled(self, scale: Array, phi: Array) -> Array:
        with np.errstate(over="ignore"):
            amplitude = np.exp(scale[0])
        nearest = 2 / self.span
        inverse = min(max(scale[1], 0.0), nearest)
        tau0 = self.middle - 1 / inverse if inverse > 0 else -np.inf
        sign = np.sign(phi[1]) or 1.0
        exponent = sign / max(sign * scale[2], 0.0) if sign * scale[2] > 0 else sign * np.inf
        return np.array([amplitude, tau0, exponent])


class Drift(Law):
    """D = amplitude ln(1 + x/time): gradient descent on e^(−w), without noise or barriers.

    A control, never a verdict. At x ≫ time it is the log law, at x ≪ time a power with exponent 1.
    """

    name = "drift"
    names = ("amplitude", "time")
    formula = "amplitude · ln(1 + x/time)"

    def curve(self, phi: Array, u: Array) -> tuple[Array, Array]:
        c, z = phi
        if not -12 < z < 300:
            return outside(u, 2)
        now, last = z + u - self.last, np.array([z])
        grown, whole = np.logaddexp(0, now), np.logaddexp(0, last)
        slope = 1 / (1 + np.exp(-now)) / grown - 1 / (1 + np.exp(-last)) / whole
        return c + np.log(grown / whole), np.stack([np.ones_like(u), slope], 1)

    def candidates(self, slope: float) -> Sequence[Sequence[float]]:
        return [(float(z),) for z in np.linspace(-6, self.span + 12, 24)]

    def natural(self, phi: Array) -> Array:
        return np.asarray(np.exp(self.scales(phi)))

    def scales(self, phi: Array) -> Array:
        return np.array([phi[0] - np.log(np.logaddexp(0, phi[1])), self.last - phi[1]])

    def unscaled(self, scale: Array, phi: Array) -> Array:
        return np.asarray(np.exp(scale))


def _log1p_over(k: float, w: Array) -> Array:
    """ln(1 + k w)/k."""
    kw = k * w
    if abs(k) < 1e-4:
        return np.asarray(w * (1 - kw / 2 + kw * kw / 3 - kw**3 / 4))
    return np.asarray(np.log1p(kw) / k)
