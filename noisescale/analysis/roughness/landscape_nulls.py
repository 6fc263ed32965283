"""Landscapes of known kind at the radii of a measurement: what its statistics would show."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from noisescale.analysis.resampling import generator_of
from noisescale.analysis.roughness.rays import FEWEST_RADII, alpha_from_rays

Array = NDArray[np.float64]

_REPLICATES = 60
# Correlation length of the Ornstein–Uhlenbeck null, as a part of the longest radius.
_CORRELATED = 0.1
# The band holds this part of the replicates.
_BAND = 0.9
# Slopes between nearer radii are mostly noise.
_APART = 1.4


@dataclass(frozen=True, slots=True)
class Null:
    """The distribution of the statistics in landscapes of one kind.

    Args:
        name: "smooth function": per ray a linear and a quadratic term, drawn from a normal law
            fitted to the rays' own; "Ornstein–Uhlenbeck": V along each ray stationary with
            covariance exp(−h/ℓ), ℓ a tenth of the longest radius; "pure diffusion": V along each
            ray a Brownian path, α = 1.
        alpha: 5 %, 50 % and 95 % of 2 d ln std/d ln r over all radii.
        second_difference_exponent: the same of the second differences' exponent.
        local_slope: (3, slopes) the same of the slope between radii a factor of 1.4 apart.
    """

    name: str
    alpha: Array
    second_difference_exponent: Array
    local_slope: Array


def nulls_of(r: Array, curves: Array, rng: np.random.Generator | int) -> tuple[Null, ...]:
    """The three nulls at radii r with as many rays as `curves` (rays, radii) has."""
    generator = generator_of(rng)
    rays = len(curves)
    steps = np.diff(r, prepend=0.0)
    mean, spread = _quadratics(r, curves)

    def smooth() -> Array:
        terms = generator.multivariate_normal(mean, spread, rays, method="svd")
        return np.asarray(terms @ np.stack([r, r**2]))

    def diffusion() -> Array:
        return np.cumsum(generator.standard_normal((rays, len(r))) * np.sqrt(steps), axis=1)

    def relaxing() -> Array:
        kept = np.exp(-steps / (_CORRELATED * r[-1]))
        noise = generator.standard_normal((rays, len(r))) * np.sqrt(1 - kept**2)
        first = now = generator.standard_normal(rays)
        found = np.empty((rays, len(r)))
        for k in range(len(r)):
            now = kept[k] * now + noise[:, k]
            found[:, k] = now - first
        return found

    worlds = {"smooth function": smooth, "Ornstein–Uhlenbeck": relaxing}
    return tuple(
        _null(name, r, [draw() for _ in range(_REPLICATES)])
        for name, draw in {**worlds, "pure diffusion": diffusion}.items()
    )


def _null(name: str, r: Array, worlds: list[Array]) -> Null:
    found = [alpha_from_rays(r, world, resamples=50) for world in worlds]
    apart = spaced(r)
    logs = np.log([world[:, apart].std(axis=0, ddof=1) for world in worlds])
    parts = [(1 - _BAND) / 2, 0.5, (1 + _BAND) / 2]
    seconds = [f.diagnostics.get("second_difference_exponent", np.nan) for f in found]
    return Null(
        name,
        np.quantile([f.diagnostics["alpha_uncut"] for f in found], parts),
        np.quantile(seconds, parts),
        np.quantile(np.diff(logs, axis=1) / np.diff(np.log(r[apart])), parts, axis=0),
    )


def spaced(r: Array) -> list[int]:
    """Radii a factor of 1.4 or more apart; all of them where that leaves too few."""
    chosen = [0]
    for k in range(1, len(r)):
        if r[k] >= _APART * r[chosen[-1]] * (1 - 1e-9):
            chosen.append(k)
    return chosen if len(chosen) >= FEWEST_RADII else list(range(len(r)))


def _quadratics(r: Array, curves: Array) -> tuple[Array, Array]:
    """Mean and covariance over rays of (a, b) in V = a r + b r², by relative least squares."""
    design = np.stack([np.ones_like(r), r], axis=1)
    terms = np.linalg.lstsq(design, (curves / r).T, rcond=None)[0]
    return terms.mean(axis=1), np.cov(terms)
