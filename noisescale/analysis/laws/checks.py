"""Does a law hold at all? Its residual against the noise, and its prediction of the last decade."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import fdtrc, logsumexp, ndtr, stdtr

from noisescale.analysis.laws.errors import is_rounding
from noisescale.analysis.laws.noise import ROUNDING
from noisescale.analysis.laws.solve import FEWEST_SEEDS, Solution, model, solve

Array = NDArray[np.float64]

# Directions of ln x in which the seeds' mean residual is tested.
_DIRECTIONS = 3
# A polynomial is no direction of its own where the law follows all but this part of it.
_OPEN = 0.02


@dataclass(frozen=True, slots=True)
class Check:
    """How a law stands against the curves, apart from other laws.

    Args:
        misfit_p: p-value of its residual. Three seeds and more: slow departures of the seeds' mean
            against the seeds' scatter (Bonferroni over directions). Two: all departures. One
            curve: whether what is left of the residual after the noise model is still smooth.
        heldout_p: p-value of its error in the last decade when fitted before it.
        heldout_error: mean of that error in ln D, data less prediction.
        scores: (seeds,) ln of the density predicted for the last decade, up to a constant that is
            the same for all laws; (1,) for fewer than three seeds.
    """

    misfit_p: float
    heldout_p: float
    heldout_error: float
    scores: Array


def check(solution: Solution, cells: int) -> Check:
    """The checks; the first `cells` cells are what the last decade is predicted from."""
    early = solve(solution.law, solution.curves.first(cells), solution.noise.first(cells), solution)
    predicted = model(solution.law, early.phi, solution.curves)[0]
    error = float(np.mean((solution.curves.mean - predicted)[cells:]))
    if solution.curves.seeds >= FEWEST_SEEDS:
        p, scores = _heldout_seeds(solution, early, cells)
        return Check(_misfit_seeds(solution), p, error, scores)
    misfit = _misfit_two(solution) if solution.curves.seeds == 2 else _misfit_one(solution)
    p, score = _heldout(solution, early, cells)
    return Check(misfit, p, error, np.array([score]))


def _misfit_one(solution: Solution) -> float:
    if is_rounding(solution):
        return 1.0
    white = solution.noise.whiteners[solution.inside.best] @ solution.residual
    white = white - white.mean()
    squares = white @ white
    lags = (white[1:] @ white[:-1] + white[2:] @ white[:-2]) / squares
    return float(ndtr(-lags * np.sqrt(len(white) / 2)))


def _misfit_two(solution: Solution) -> float:
    n = len(solution.curves.u)
    degrees = n * (solution.curves.seeds - 1)
    k = solution.node
    between = solution.between[k] / degrees
    mean = solution.inside.squares[k] * solution.curves.seeds / solution.inside.degrees
    return float(fdtrc(solution.inside.degrees, degrees, mean / between))


def _misfit_seeds(solution: Solution) -> float:
    curves, W = solution.curves, solution.noise.whiteners[solution.node]
    value, jacobian = model(solution.law, solution.phi, curves)
    if solution.limited and solution.law.bounded is not None:
        jacobian = np.delete(jacobian, solution.law.bounded, axis=1)
    tests = _open_directions(curves.u, W, jacobian) @ W
    along = (curves.y - value) @ tests.T
    floor = ROUNDING * np.linalg.norm(tests, axis=1)
    return _smallest_p(along.mean(axis=0), along.std(axis=0, ddof=1), curves.seeds, floor)


def _open_directions(u: Array, W: Array, jacobian: Array) -> Array:
    """(3, n) orthonormal: polynomials of ln x, lowest first, less what the law can follow."""
    t = 2 * (u - u[0]) / (u[-1] - u[0]) - 1
    base = list(np.linalg.qr(W @ jacobian)[0].T)
    followed = len(base)
    for column in (W @ np.polynomial.legendre.legvander(t, followed + _DIRECTIONS + 2)).T:
        rest = column / np.linalg.norm(column)
        for _ in range(2):  # once more, as the first pass rounds
            rest = rest - np.array(base).T @ (np.array(base) @ rest)
        if len(base) < followed + _DIRECTIONS and np.linalg.norm(rest) > _OPEN:
            base.append(rest / np.linalg.norm(rest))
    return np.array(base[followed:])


def _smallest_p(means: Array, deviations: Array, seeds: int, floor: Array | float) -> float:
    """Bonferroni's p of several means over seeds, by Student's t."""
    t = np.abs(means) / np.maximum(deviations / np.sqrt(seeds), floor)
    return float(min(1.0, len(t) * 2 * stdtr(seeds - 1, -t.max())))


def _heldout(solution: Solution, early: Solution, cells: int) -> tuple[float, float]:
    """(p of the last decade given the others, ln of its density): by the whitened squares.

    The squares that the last decade adds to the least squares are those of its prediction error,
    whatever the number of parameters (Chow 1960); this holds where the early points alone leave
    parameters open.
    """
    seeds = solution.curves.seeds
    more = len(solution.curves.u) - cells
    added = np.maximum(solution.inside.squares - early.inside.squares, 0.0)
    if seeds == 1:
        weights = early.inside.weights
        ratio = added / more / (early.inside.squares / early.inside.degrees)
        p = float(weights @ fdtrc(more, early.inside.degrees, ratio))
        score = logsumexp(solution.inside.restricted) - logsumexp(early.inside.restricted)
        return (1.0 if is_rounding(solution) else p), float(score)
    k = solution.node
    degrees = (seeds - 1) * len(solution.curves.u)
    scale = solution.between[k] / degrees
    p = float(fdtrc(more, degrees, seeds * added[k] / more / scale))
    score = -float(seeds * added[k] / scale + _volume(solution, k) - _volume(early, k)) / 2
    return p, score


def _volume(solution: Solution, k: int) -> float:
    """ln of how much the points narrow the parameters' range."""
    inverse = solution.inside.inverses[k]
    return -float(np.linalg.slogdet(inverse)[1])


def _heldout_seeds(solution: Solution, early: Solution, cells: int) -> tuple[float, Array]:
    """(p, scores): each seed's last decade predicted from the other seeds' early part."""
    curves, W = solution.curves, solution.noise.whiteners[solution.node]
    seeds, y = curves.seeds, curves.y
    total = y.sum(axis=0)
    late = slice(cells, None)
    third = slice(cells + 2 * (len(curves.u) - cells) // 3, None)
    # Two numbers of the error: its mean over the decade and over its end; jackknifed over seeds.
    errors, scores = [], []
    scale = (solution.between[solution.node]) / ((seeds - 1) * len(curves.u))
    covariance = np.linalg.inv(W)[cells:]
    marginal = np.linalg.inv(covariance @ covariance.T * scale)
    for seed, phi in enumerate(early.left_out):
        predicted = model(solution.law, _inside(solution, phi), curves)[0]
        without = (total - y[seed]) / (seeds - 1) - predicted
        errors.append([without[late].mean(), without[third].mean()])
        gap = (y[seed] - predicted)[late]
        scores.append(-float(gap @ marginal @ gap) / 2)
    predicted = model(solution.law, early.phi, curves)[0]
    gap = curves.mean - predicted
    centre = np.array([gap[late].mean(), gap[third].mean()])
    left = np.array(errors)
    deviations = np.sqrt(np.sum((left - left.mean(axis=0)) ** 2, axis=0) * (seeds - 1))
    return _smallest_p(centre, deviations, seeds, 100 * ROUNDING), np.array(scores)


def _inside(solution: Solution, phi: Array) -> Array:
    bound = solution.law.bounded
    if bound is None:
        return phi
    held = phi.copy()
    held[bound] = min(max(held[bound], solution.law.lowest), solution.law.highest)
    return held
