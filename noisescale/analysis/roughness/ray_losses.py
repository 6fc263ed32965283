"""A loss along random rays from given weights."""

from collections.abc import Callable

import numpy as np
from numpy.typing import ArrayLike, NDArray

from noisescale.analysis.arrays import traces
from noisescale.analysis.checks import positive_integer
from noisescale.analysis.resampling import generator_of
from noisescale.errors import InputError, shown

Array = NDArray[np.float64]


def ray_loss_std(
    loss: Callable[[Array], float],
    w0: ArrayLike,
    radii: ArrayLike,
    n_rays: int,
    rng: np.random.Generator | int,
) -> tuple[Array, Array, Array]:
    """std_k(V(w0 + r u_k) − V(w0)) over random unit vectors u_k, orthogonal while n_rays ≤ dim.

    Args:
        loss: V, takes weights (dim,) and returns a number; called 1 + n_rays · radii times.
        w0: (dim,) origin.
        radii: r, (radii,) increasing, above 0.
        n_rays: K ≥ 2.
        rng: source of the directions, or its seed.

    Returns:
        (radii, std over rays (radii,), curves (n_rays, radii) of V(w0 + r u_k) − V(w0)).

    Raises:
        InputError: an argument not as above, or a loss that is not a finite number.
    """
    rays = positive_integer("n_rays", n_rays)
    if rays < 2:
        raise InputError("n_rays=1: a spread over rays needs at least 2")
    origin = traces("w0", w0, fewest=1)[0]
    if np.ndim(w0) != 1:
        raise InputError(f"w0 has shape {np.shape(w0)}: give the weights as one vector")
    r = checked_radii(radii, fewest=1)
    generator = generator_of(rng)
    directions = generator.standard_normal((rays, len(origin)))
    if rays <= len(origin):
        # The Q of Gaussian rows is uniform over orthonormal frames once R's signs are taken out.
        frame, triangle = np.linalg.qr(directions.T)
        directions = (frame * np.sign(np.diag(triangle))).T
    else:
        directions /= np.linalg.norm(directions, axis=1, keepdims=True)

    def value(point: Array, where: str) -> float:
        result = np.asarray(loss(point))
        if result.size != 1 or result.dtype.kind not in "iuf" or not np.all(np.isfinite(result)):
            raise InputError(f"loss at {where} is {shown(result)}: it must be one finite number")
        return float(result.reshape(()))

    start = value(origin, "w0")
    curves = np.array(
        [
            [value(origin + distance * u, f"radius {distance:g}") - start for distance in r]
            for u in directions
        ]
    )
    return r, curves.std(axis=0, ddof=1), curves


def checked_radii(radii: ArrayLike, *, fewest: int) -> Array:
    """Radii as a float64 list, increasing from above 0, or an InputError."""
    r = traces("radii", radii, fewest=fewest)[0]
    if np.ndim(radii) != 1 or r[0] <= 0 or np.any(np.diff(r) <= 0):
        raise InputError(f"radii={shown(radii)}: give one list, increasing from above 0")
    return r
