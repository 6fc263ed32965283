"""Standard errors and intervals of fitted laws: from the noise model, or from the seeds."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import stdtr

from noisescale.analysis.laws.noise import ROUNDING, joint_likelihood
from noisescale.analysis.laws.solve import FEWEST_SEEDS, Solution, derivatives
from noisescale.analysis.resampling import quantile_of

Array = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Spread:
    """Student's distributions, mixed, of the working parameters about their estimate.

    Args:
        shifts: (nodes, p) their centres less the estimate.
        covariances: (nodes, p, p) squared scales.
        weights: (nodes,).
        degrees: of freedom.
    """

    shifts: Array
    covariances: Array
    weights: Array
    degrees: float

    @property
    def covariance(self) -> Array:
        """(p, p) about the estimate."""
        inner = np.einsum("k,kij->ij", self.weights, self.covariances)
        return np.asarray(inner + np.einsum("k,ki,kj->ij", self.weights, self.shifts, self.shifts))

    def along(self, direction: Array) -> tuple[Array, Array]:
        """(centres, scales) per node of a linear function of the parameters."""
        scale = np.einsum("i,kij,j->k", direction, self.covariances, direction)
        return self.shifts @ direction, np.sqrt(np.maximum(scale, 0.0))

    def beyond(self, direction: Array, gap: float) -> float:
        """Two-sided p-value of a linear function of the parameters lying `gap` off its estimate."""
        centres, scales = self.along(direction)
        with np.errstate(divide="ignore", invalid="ignore"):
            z = np.where(scales > 0, (gap - centres) / scales, np.sign(gap - centres) * np.inf)
        below = float(self.weights @ stdtr(self.degrees, np.nan_to_num(z, posinf=1e300)))
        return 2 * min(below, 1 - below)

    def interval(self, direction: Array, level: float) -> tuple[float, float]:
        """Equal-tailed interval of a linear function of the parameters, about its estimate."""
        centres, scales = self.along(direction)
        if not np.any(scales > 0):
            return 0.0, 0.0
        scales = np.maximum(scales, 1e-300)
        reach = float(np.max(np.abs(centres) + scales * quantile_of(level, self.degrees)))
        low, high = np.full(2, -2 * reach), np.full(2, 2 * reach)
        target = np.array([(1 - level) / 2, (1 + level) / 2])
        for _ in range(60):
            middle = (low + high) / 2
            z = (middle[:, None] - centres) / scales
            below = stdtr(self.degrees, z) @ self.weights
            low, high = (
                np.where(below < target, middle, low),
                np.where(below < target, high, middle),
            )
        return float(middle[0]), float(middle[1])


def spread(solution: Solution) -> Spread:
    """Errors of the working parameters at `free`.

    Three seeds and more: the jackknife over whole curves with Student's t of seeds − 1 degrees.
    Fewer: the noise model, averaged over its correlation lengths and nuggets by their (restricted)
    likelihood.
    """
    seeds = solution.curves.seeds
    if seeds >= FEWEST_SEEDS:
        steps = solution.left_out - solution.left_out.mean(axis=0)
        covariance = steps.T @ steps * (seeds - 1) / seeds
        return Spread(np.zeros((1, len(solution.free))), covariance[None], np.ones(1), seeds - 1)
    reduced = solution.reduced
    if seeds == 1:
        scale = reduced.squares / reduced.degrees
        weights, degrees = reduced.weights, reduced.degrees
    else:
        degrees = (seeds - 1) * len(solution.curves.u)
        scale = solution.between / degrees
        logs = -(degrees * np.log(scale) + (seeds - 1) * solution.noise.logdets[:, -1]) / 2
        weights = np.exp(logs - logs.max())
        weights /= weights.sum()
    kept = weights > 1e-6 * weights.max()
    covariances = reduced.inverses[kept] * (scale / seeds)[kept, None, None]
    return Spread(
        reduced.shifts[kept], covariances, weights[kept] / weights[kept].sum(), float(degrees)
    )


def parameter_errors(
    solution: Solution, errors: Spread, level: float
) -> tuple[Array, list[tuple[float, float]]]:
    """(covariance of the law's parameters, their intervals)."""
    law, free, phi = solution.law, solution.free, solution.phi
    with np.errstate(all="ignore"):
        slopes = derivatives(law.natural, phi)
        covariance = slopes @ errors.covariance @ slopes.T
        directions = derivatives(law.scales, free)
        centres = law.scales(free)
    value = law.natural(phi)
    reached = _limits_reached(solution, errors, level)
    found = []
    for i, name in enumerate(law.names):
        ends = []
        for end in errors.interval(directions[i], level):
            scale = centres.copy()
            scale[i] += end
            with np.errstate(all="ignore"):
                ends.append(float(law.unscaled(scale, free)[i]))
        ends += [float(value[i])]
        ends += [limits[name] for limits in reached if name in limits]
        found.append((min(ends), max(ends)))
    return covariance, found


def _limits_reached(solution: Solution, errors: Spread, level: float) -> list[dict[str, float]]:
    law = solution.law
    if law.bounded is None:
        return []
    direction = np.eye(len(solution.free))[law.bounded]
    low, high = (solution.free[law.bounded] + end for end in errors.interval(direction, level))
    found = []
    if low <= law.lowest:
        found.append(dict(law.at_lowest))
    if high >= law.highest:
        found.append(dict(law.at_highest))
    return found


def likelihood(solution: Solution) -> tuple[float, int, int]:
    """(ln L of all curves inside the law, parameters with the noise's three, numbers)."""
    curves = solution.curves
    n, seeds = len(curves.u), curves.seeds
    parameters = solution.law.size + 3
    if seeds == 1:
        return float(solution.inside.likelihoods.max()), parameters, n
    value = joint_likelihood(solution.noise, solution.inside.squares, solution.between, seeds, n)
    return value, parameters, n * seeds


def is_rounding(solution: Solution) -> bool:
    """Whether the residual is no larger than rounding."""
    return bool(np.abs(solution.residual).max() < 100 * ROUNDING)
