"""Metropolis walks in d-dimensional space, on a potential that is drawn only where it is looked at.

V is Gaussian with E[(V(x) − V(y))²] = σ² |x − y|^α. A new value is drawn from its law given all
values seen before, those of rejected proposals too, so that the walk is exact in any dimension.
Lengths inside are in units of the step δ and potentials in units of σ δ^{α/2}.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from math import exp, inf, sqrt

import numpy as np
from numpy.typing import NDArray

from noisescale.analysis.checks import positive, positive_integer
from noisescale.analysis.roughness.fractional_noise import checked_alpha
from noisescale.errors import InputError, shown

Array = NDArray[np.float64]

# A value is taken as known where what is left of its variance is below this part of it.
_KNOWN = 1e-10
# The smallest deviate: a logarithm or quantile of 0 would be infinite.
_LEAST = 2.0**-54


@dataclass(frozen=True, slots=True)
class PathWalk:
    """Walks of W walkers, each in a potential of its own; arrays (n_steps, W).

    A row is a proposal where d is finite, and an accepted move where d = ∞. Time counts
    proposals in both.

    Args:
        log_t: ln t after the row's proposal or move.
        V: potential at the walker, V = 0 at its start.
        distance: |x − x0|; δ √accepted where d = ∞.
        accepted: moves made so far.
    """

    log_t: Array
    V: Array
    distance: Array
    accepted: NDArray[np.int64]

    def __iter__(self) -> Iterator[Array]:
        """log_t and V, so that a walk unpacks into the pair that most callers want."""
        return iter((self.log_t, self.V))


def path_walk(
    dim: float,
    alpha: float,
    n_steps: int,
    step: float,
    T: float,
    n_walkers: int,
    rng: np.random.Generator,
    *,
    sigma: float = 1.0,
) -> PathWalk:
    """x → x + δ u with probability min(1, exp(−ΔV/T)), u uniform on the unit sphere, one per t.

    In d = ∞ every direction is orthogonal to all before, |x − x0|² = δ² · moves, and waiting times
    are drawn at once: low temperatures cost nothing. α = 2 is a ramp: there a proposal is accepted
    with probability ½ + e^{s²/2} Φ(−s), s = σδ/T.

    Args:
        dim: d ≥ 1, or math.inf.
        alpha: α in (0, 2].
        n_steps: N, proposals where d is finite (time O(N³) a walker), else accepted moves (O(N²)).
        step: δ > 0, the length of a step.
        T: temperature, > 0, units of V.
        n_walkers: W, independent, environments included.
        rng: source of all deviates. A walk does not depend on how many are drawn.
        sigma: σ > 0.

    Returns:
        The walks. In d = ∞ no power of ln t is seen at any α: downhill directions never run out.

    Raises:
        InputError: an argument outside its range.

    Source: conditional simulation of a Gaussian field; for d = ∞ Whittle 1963 (prediction of a
    vector process, order by order) and Bortz, Kalos & Lebowitz 1975 (waiting times).
    """
    if dim != inf:
        dim = positive_integer("dim", dim)
    alpha = checked_alpha(alpha, ramp=True)
    n_steps, walkers = (
        positive_integer("n_steps", n_steps),
        positive_integer("n_walkers", n_walkers),
    )
    step, T, sigma = positive("step", step), positive("T", T), positive("sigma", sigma)
    if not isinstance(rng, np.random.Generator):
        raise InputError(f"rng={shown(rng)}: give a numpy.random.Generator")
    unit = sigma * step ** (alpha / 2)
    if dim == inf:
        log_t, V = _infinite(alpha, n_steps, unit / T, rng.random((walkers, n_steps, 4)))
        accepted = np.repeat(np.arange(1, n_steps + 1)[:, None], walkers, axis=1)
        return PathWalk(log_t, unit * V, step * np.sqrt(accepted), accepted)
    V, distance = np.empty((2, n_steps, walkers))
    accepted = np.empty((n_steps, walkers), np.int64)
    for w in range(walkers):
        directions = rng.standard_normal((n_steps, int(dim)))
        directions /= np.linalg.norm(directions, axis=1, keepdims=True)
        deviates, chances = rng.standard_normal(n_steps), rng.random(n_steps)
        V[:, w], distance[:, w], accepted[:, w] = _metropolis(
            alpha, unit / T, directions, deviates, chances
        )
    log_t = np.repeat(np.log(np.arange(1.0, n_steps + 1))[:, None], walkers, axis=1)
    return PathWalk(log_t, unit * V, step * distance, accepted)


def _metropolis(
    alpha: float, inverse_T: float, directions: Array, deviates: Array, chances: Array
) -> tuple[Array, Array, NDArray[np.int64]]:
    """(V, |x − x0|, moves) after every proposal of one walker.

    The Cholesky factor R of the covariance of the values seen, packed by columns, grows by one
    column with every new value; `known` deviates z give the values Rᵀ z.
    """
    from scipy.linalg.blas import dtpsv

    n, dim = directions.shape
    factor = np.empty(n * (n + 1) // 2)
    sites, powers, known = np.empty((n, dim)), np.empty(n), np.empty(n)
    m = moves = 0
    position, height, size = np.zeros(dim), 0.0, 0.0
    V, distance, accepted = np.empty(n), np.empty(n), np.empty(n, np.int64)
    for t in range(n):
        site = position + directions[t]
        square = float(site @ site)
        power = square ** (alpha / 2)
        value = 0.0
        left = power
        if m:
            apart = sites[:m] - site
            squares = np.einsum("ij,ij->i", apart, apart)
            covariance = 0.5 * (power + powers[:m] - squares ** (alpha / 2))
            column = dtpsv(m, factor, covariance, trans=1)
            value = float(column @ known[:m])
            left -= float(column @ column)
            factor[m * (m + 1) // 2 : m * (m + 1) // 2 + m] = column
        if left > _KNOWN * power:
            value += sqrt(left) * deviates[t]
            factor[m * (m + 1) // 2 + m] = sqrt(left)
            sites[m], powers[m], known[m] = site, power, deviates[t]
            m += 1
        if value <= height or chances[t] < exp((height - value) * inverse_T):
            position, height, size = site, value, square
            moves += 1
        V[t], distance[t], accepted[t] = height, sqrt(size), moves
    return V, distance, accepted


def _infinite(alpha: float, n: int, inverse_T: float, uniform: Array) -> tuple[Array, Array]:
    """(ln t, V) after every accepted move in d = ∞, from four uniform deviates (W, n, 4) a move.

    Around x_k proposals are V(x_k) + m_k + ε: m_k, the mean over the sphere, is the same for all,
    and ε is white, of variance v = 2^{α/2}/2 (two points on the sphere are √2 apart), independent
    of all that was seen. Rejected proposals tell nothing more once m_k is drawn.
    """
    from scipy.special import log_ndtr, ndtri, ndtri_exp

    uniform = np.maximum(uniform, _LEAST)
    walkers = len(uniform)
    variance = 0.5 * 2 ** (alpha / 2)
    spread = sqrt(variance)
    means, noises = np.zeros((2, n, walkers))
    log_t, V = np.empty((2, n, walkers))
    elapsed, height = np.full(walkers, -inf), np.zeros(walkers)
    for k, (weights, left) in enumerate(_predictors(alpha, n)):
        choose, which, size, wait = uniform[:, k].T
        mean = weights[:, 0] @ means[:k] + weights[:, 1] @ noises[:k]
        mean += sqrt(left) * ndtri(choose)
        # ΔV ~ N(mean, v) downhill, or weighted by e^{−ΔV/T}: N(mean − v/T, v) uphill.
        tilted = mean - variance * inverse_T
        down = log_ndtr(-mean / spread)
        up = -inverse_T * (mean - 0.5 * variance * inverse_T) + log_ndtr(tilted / spread)
        log_rate = np.minimum(np.logaddexp(down, up), 0.0)
        goes_down = np.log(which) < down - log_rate
        edge = np.where(goes_down, down, log_ndtr(tilted / spread))
        tail = spread * ndtri_exp(np.log(size) + edge)
        change = np.where(goes_down, mean + tail, tilted - tail)
        height = height + change
        elapsed = np.logaddexp(elapsed, _log_proposals(log_rate, wait))
        means[k], noises[k] = mean, change - mean
        log_t[k], V[k] = elapsed, height
    return log_t, V


def _log_proposals(log_rate: Array, uniform: Array) -> Array:
    """ln of the geometric number of proposals up to the first that is accepted."""
    clock = -np.log(uniform)
    with np.errstate(divide="ignore"):
        number = np.ceil(clock / -np.log1p(-np.exp(np.maximum(log_rate, -30.0))))
        return np.where(log_rate > -30.0, np.log(np.maximum(number, 1.0)), np.log(clock) - log_rate)


def _predictors(alpha: float, n: int) -> Iterator[tuple[Array, float]]:
    """For k = 0 … n−1: weights (k, 2) of the pairs (m_j, ε_j), j < k, in E[m_k | them], and the
    variance that is left.

    The pairs are stationary: with ψ(q) = q^{α/2} of squared distances q, Cov(m_k, m_0) =
    ψ(k+1) − ½ψ(k+2) − ½ψ(k), Cov(m_k, ε_0) = ½(ψ(k+2) + ψ(k−1) − ψ(k) − ψ(k+1)) for k ≥ 1 and 0
    otherwise. So the order grows by one at a time, in O(k), without any matrix.
    """
    q = np.arange(n + 3.0) ** (alpha / 2)
    covariance = np.zeros((n, 2))
    covariance[:, 0] = q[1 : n + 1] - 0.5 * (q[2 : n + 2] + q[:n])
    covariance[1:, 1] = 0.5 * (q[3 : n + 2] + q[: n - 1] - q[1:n] - q[2 : n + 1])
    forward = np.zeros((0, 2))  # weight of pair k − j at j − 1
    if alpha == 2:  # m = 0
        for k in range(n):
            yield np.zeros((k, 2)), 0.0
        return
    backward = np.zeros((0, 2, 2))  # the same for predicting the pair before the first
    left, left_before = covariance[0, 0], np.diag([covariance[0, 0], 0.5 * q[2]])
    for k in range(n):
        yield forward[::-1], left
        if k + 1 == n:
            return
        missed = covariance[k + 1] - forward[:, 0] @ covariance[k:0:-1]
        last = np.linalg.solve(left_before, missed)
        first = missed / left
        # What is missed at lag k + 1 corrects both predictions, each by the other's error.
        corrected = forward - np.einsum("i,kij->kj", last, backward[::-1])
        backward = backward - first[:, None] * forward[::-1, None, :]
        forward = np.concatenate([corrected, last[None]])
        backward = np.concatenate([backward, np.stack([first, np.zeros(2)], axis=1)[None]])
        left_before = left_before - np.outer(first, missed)
        left = max(left - float(last @ missed), 0.0)
