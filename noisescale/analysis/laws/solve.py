"""One law fitted to distance curves: generalised least squares of ln D, and its errors."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from noisescale.analysis.laws.curves import Curves
from noisescale.analysis.laws.forms import Law
from noisescale.analysis.laws.noise import Noise, Reduced, between_seeds, reduce

Array = NDArray[np.float64]

# With fewer seeds the noise model gives the errors; else the seeds' spread.
FEWEST_SEEDS = 3
# Refits as the noise's node moves.
_ROUNDS = 4
_PENALTY = 1e6


@dataclass(frozen=True, slots=True)
class Solution:
    """A law's working parameters with what their errors come from.

    Args:
        free: (p,) parameters where the squares are smallest, maybe beyond a limit of the law.
        phi: (p,) the same inside the law.
        node: of the noise.
        reduced: the mean curve's fit linearised at `free`.
        inside: the same at `phi`.
        between: (nodes,) squares of the seeds' deviations; zeros for one curve.
        left_out: (seeds, p) `free` without each seed; empty for fewer than three.
    """

    law: Law
    curves: Curves
    noise: Noise
    free: Array
    phi: Array
    node: int
    reduced: Reduced
    inside: Reduced
    between: Array
    left_out: Array

    @property
    def limited(self) -> bool:
        """Whether the best fit lies at or beyond a limit of the law."""
        return bool(np.any(self.free != self.phi))

    @property
    def residual(self) -> Array:
        """(cells,) ln D averaged over seeds, less the law."""
        return self.curves.mean - model(self.law, self.phi, self.curves)[0]


def model(law: Law, phi: Array, curves: Curves) -> tuple[Array, Array]:
    """(ln D, its derivatives) averaged over cells; not finite outside the law's domain."""
    with np.errstate(all="ignore"):
        value, jacobian = law.curve(phi, np.log(curves.x))
        return curves.average(value), curves.average(jacobian)


def solve(law: Law, curves: Curves, noise: Noise, refit: Solution | None = None) -> Solution:
    """The best fit; `refit`, one to more of the same curves, is where it starts."""
    y, seeds = curves.mean, curves.seeds
    between = np.zeros(len(noise.lengths))
    if seeds > 1:
        between = between_seeds(noise, curves.y - y)
        node = _best_between(noise, between, seeds, len(y))
    else:
        node = refit.node if refit is not None else len(noise.lengths) // 2
    start = refit.free if refit is not None else None
    for _ in range(_ROUNDS):
        free = _least_squares(law, curves, y, noise.whiteners[node], start)
        value, jacobian = model(law, free, curves)
        reduced = reduce(noise, y - value, jacobian)
        if seeds > 1 or reduced.best == node:
            break
        node, start = reduced.best, free
    phi, inside = free, reduced
    bound = law.bounded
    if bound is not None and not law.lowest <= free[bound] <= law.highest:
        held = free.copy()
        held[bound] = min(max(free[bound], law.lowest), law.highest)
        phi = _least_squares(law, curves, y, noise.whiteners[node], held, fixed=bound)
        value, jacobian = model(law, phi, curves)
        inside = reduce(noise, y - value, np.delete(jacobian, bound, axis=1))
    left_out = np.empty((0, law.size))
    if seeds >= FEWEST_SEEDS:
        totals = curves.y.sum(axis=0)
        rows = [(totals - row) / (seeds - 1) for row in curves.y]
        W = noise.whiteners[node]
        left_out = np.array([_least_squares(law, curves, row, W, free) for row in rows])
    return Solution(law, curves, noise, free, phi, node, reduced, inside, between, left_out)


def _best_between(noise: Noise, between: Array, seeds: int, n: int) -> int:
    degrees = (seeds - 1) * n
    logs = degrees * np.log(between) + (seeds - 1) * noise.logdets[:, n - 1]
    return int(logs.argmin())


def _least_squares(
    law: Law, curves: Curves, y: Array, W: Array, start: Array | None, fixed: int | None = None
) -> Array:
    from scipy.optimize import leastsq

    free = np.array([i for i in range(law.size) if i != fixed])

    # MINPACK asks for values and derivatives at the same place, one after the other.
    last: list[tuple[Array, Array, Array]] = []

    def at(part: Array) -> tuple[Array, Array]:
        if not last or not np.array_equal(last[0][0], part):
            phi[free] = part
            value, jacobian = model(law, phi, curves)
            last[:] = [(part.copy(), W @ (y - value), -W @ jacobian[:, free])]
        return last[0][1:]

    def residual(part: Array) -> Array:
        found = at(part)[0]
        return found if np.isfinite(found).all() else np.full(len(y), _PENALTY)

    def derivative(part: Array) -> Array:
        found = at(part)[1]
        return found if np.isfinite(found).all() else np.zeros_like(found)

    best: tuple[float, Array] | None = None
    for candidate in _starts(law, curves, y, W) if start is None else [start]:
        phi = np.array(candidate, np.float64)
        last.clear()
        with np.errstate(all="ignore"):
            found, *_ = leastsq(
                residual, phi[free].copy(), Dfun=derivative, full_output=True,
                ftol=1e-15, xtol=1e-13, gtol=0.0, maxfev=200,
            )  # fmt: skip
        cost = float(np.sum(residual(found) ** 2))
        if best is None or cost < best[0]:
            phi[free] = found
            best = cost, phi.copy()
    assert best is not None
    return best[1]


def _starts(law: Law, curves: Curves, y: Array, W: Array, keep: int = 2) -> list[Array]:
    """The best candidates, with the height that suits each."""
    u = curves.u - curves.u.mean()
    slope = float(u @ y / (u @ u))
    one = W @ np.ones(len(y))
    found = []
    for candidate in law.candidates(slope):
        phi = np.array(candidate if law.size == len(candidate) else [0.0, *candidate])
        gap = W @ (y - model(law, phi, curves)[0])
        if not np.all(np.isfinite(gap)):
            continue
        if law.size > len(candidate):
            height = float(one @ gap / (one @ one))
            phi[0] += height
            gap = gap - height * one
        found.append((float(gap @ gap), phi))
    found.sort(key=lambda pair: pair[0])
    return [phi for _, phi in found[:keep]]


def derivatives(function: Callable[[Array], Array], phi: Array) -> Array:
    """(values, p) central differences."""
    columns = []
    for i, value in enumerate(phi):
        step = np.zeros_like(phi)
        step[i] = 1e-6 * max(abs(value), 1e-4)
        columns.append((function(phi + step) - function(phi - step)) / (2 * step[i]))
    return np.stack(columns, axis=1)
