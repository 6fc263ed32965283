"""Noise of ln D along ln x: an Ornstein–Uhlenbeck process and an independent part."""

from dataclasses import dataclass, replace
from math import log, pi

import numpy as np
from numpy.typing import NDArray
from scipy.linalg.lapack import dtrtri

from noisescale.analysis.laws.curves import Curves

Array = NDArray[np.float64]

# Correlation lengths tried, from half a step between points to so many windows ...
_LENGTHS, _LONGEST = 10, 4.0
# ... and variances of the independent part, in those of the process's step between points.
_RATIOS = (0.0, 0.3, 1.0, 3.0, 10.0, 40.0)
# Weight ∝ ℓ to minus this power: intervals of one curve then cover 95 % for ℓ of 0.1 to 2, where a
# flat weight covers 97 to 100 %.
_SHORTER = 0.45
# ln D is not known better than this: the rounding of what is fitted, not noise.
ROUNDING = 1e-9


@dataclass(frozen=True, slots=True)
class Noise:
    """Covariances s² C_k of ln D, one per node k of a grid over correlation length and nugget.

    C = exp(−|Δu|/ℓ) + ν/m on the diagonal, u = ln x, of means of m points each.

    Args:
        whiteners: (nodes, n, n) lower triangular L⁻¹ of C = L Lᵀ, in the order of x: the leading
            block belongs to the first points alone.
        logdets: (nodes, n) ln det C of the first 1 … n points.
        lengths, nuggets: (nodes,) ℓ and ν; ℓ = 0 for independent noise alone.
        sizes: (nodes,) typical C_ii.
        priors: (nodes,) ln of the weight before any data.
    """

    whiteners: Array
    logdets: Array
    lengths: Array
    nuggets: Array
    sizes: Array
    priors: Array

    def first(self, n: int) -> "Noise":
        """The same noise at the first n points."""
        return replace(self, whiteners=self.whiteners[:, :n, :n], logdets=self.logdets[:, :n])


def noise_grid(curves: Curves) -> Noise:
    """The grid for given points."""
    u, counts = curves.u, curves.counts
    step = float(np.median(np.diff(u)))
    span = float(u[-1] - u[0])
    apart = np.abs(u[:, None] - u)
    covariances, lengths, nuggets = [np.diag(1 / counts)], [0.0], [1.0]
    for length in np.geomspace(step / 2, _LONGEST * span, _LENGTHS):
        process = np.exp(-apart / length)
        for ratio in _RATIOS:
            nugget = ratio * -np.expm1(-2 * step / length)
            covariances.append(process + np.diag(nugget / counts))
            lengths.append(float(length))
            nuggets.append(nugget)
    stacked = np.array(covariances)
    # Points next to each other in long-range noise are all but equal.
    stacked += 1e-11 * np.eye(len(u))
    roots = np.linalg.cholesky(stacked)
    diagonals = np.einsum("kii->ki", roots)
    return Noise(
        whiteners=np.array([dtrtri(root, lower=1)[0] for root in roots]),
        logdets=2 * np.cumsum(np.log(diagonals), axis=1),
        lengths=np.array(lengths),
        nuggets=np.array(nuggets),
        sizes=np.einsum("kii->k", stacked) / len(u),
        priors=-_SHORTER * np.log(np.maximum(lengths, step / 2)),
    )


@dataclass(frozen=True, slots=True)
class Reduced:
    """A fit linearised at its parameters, under every node of the noise.

    Args:
        shifts: (nodes, p) step to each node's own least squares.
        inverses: (nodes, p, p) (Jᵀ C⁻¹ J)⁻¹.
        squares: (nodes,) residual sums of squares in units of C.
        restricted: (nodes,) ln of the restricted likelihood, with the noise's weight.
        likelihoods: (nodes,) ln of the likelihood, s² at its best.
        degrees: of freedom of `squares`.
    """

    shifts: Array
    inverses: Array
    squares: Array
    restricted: Array
    likelihoods: Array
    degrees: int

    @property
    def weights(self) -> Array:
        """(nodes,) of the restricted likelihood, which does not favour short lengths."""
        w = np.exp(self.restricted - self.restricted.max())
        return np.asarray(w / w.sum())

    @property
    def best(self) -> int:
        """The node of the largest restricted likelihood."""
        return int(self.restricted.argmax())


def reduce(noise: Noise, residual: Array, jacobian: Array) -> Reduced:
    """Generalised least squares of one curve's residual on the Jacobian, at every node.

    The working parameters have a wide normal prior (variance 100), so that one that the points do
    not determine costs nothing.

    Source: restricted likelihood: Harville 1977.
    """
    n, p = jacobian.shape
    both = noise.whiteners @ np.column_stack([residual, jacobian])
    r, j = both[..., 0], both[..., 1:]
    normal = np.einsum("kni,knj->kij", j, j)
    # A direction without effect stays where it is.
    ridge = 1e-12 * np.einsum("kii->k", normal)[:, None, None] * np.eye(p)
    inverses = np.linalg.inv(normal + ridge)
    shifts = np.einsum("kij,knj,kn->ki", inverses, j, r)
    rest = r - np.einsum("kni,ki->kn", j, shifts)
    floor = n * ROUNDING**2 / noise.sizes
    squares = np.einsum("kn,kn->k", rest, rest) + floor
    degrees = n - p
    scale = squares / degrees
    logdet = noise.logdets[:, n - 1]
    spread = np.linalg.slogdet(np.eye(p) + 100 * normal / scale[:, None, None])[1]
    restricted = -(n * np.log(2 * pi * scale) + logdet + spread + degrees) / 2
    restricted += noise.priors
    likelihoods = -(n * np.log(2 * pi * squares / n) + logdet + n) / 2
    return Reduced(shifts, inverses, squares, restricted, likelihoods, degrees)


def between_seeds(noise: Noise, deviations: Array) -> Array:
    """(nodes,) sums of squares of the seeds' deviations (seeds, n) from their mean, with floor."""
    n = deviations.shape[1]
    white = noise.whiteners @ deviations.T
    return np.einsum("kns,kns->k", white, white) + n * ROUNDING**2 / noise.sizes


def akaike(log_likelihood: float, parameters: int, n: int) -> float:
    """AICc = −2 ln L + 2k + 2k(k+1)/(n − k − 1)."""
    k = parameters
    return -2 * log_likelihood + 2 * k + 2 * k * (k + 1) / max(n - k - 1, 1)


def joint_likelihood(noise: Noise, squares: Array, between: Array, seeds: int, n: int) -> float:
    """ln L of all seeds' curves: their mean's residual (whitened squares) and their deviations."""
    total = seeds * squares + between
    size = seeds * n
    values = -(size * (log(2 * pi) + np.log(total / size) + 1) + seeds * noise.logdets[:, n - 1])
    return float(values.max() / 2)
