"""The shape of a loss around given weights: its sharpest curvature, and random directions.

A loss is a function of weights, a scalar. Compiled programs are kept per loss, so hand the same
object over again; `jax.tree_util.Partial(f, data)` as the loss passes the data as an argument
instead of compiling it in. Matrices are multiplied in the precision of the weights, without
TensorFloat-32, whose rounding exceeds the differences of interest.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from math import inf, nan
from numbers import Integral

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.flatten_util import ravel_pytree
from jaxtyping import Array, Float, Int
from numpy.typing import ArrayLike, NDArray
from scipy.sparse.linalg import ArpackError, LinearOperator, eigsh

from noisescale.analysis.checks import positive, positive_integer, real_number
from noisescale.errors import InputError, shown
from noisescale.training.pytree import PyTree

# The streams of random numbers of this module; training.streams counts up to 10.
_RAYS = 11
_POINTS = 12
_POINT_LENGTHS = 13
_LANCZOS_START = 14

# The vectors that ARPACK keeps; up to so many weights the whole Hessian costs no more.
_BASIS = 20
# Beyond this, distances overflow in float32.
_LONGEST = 1e18
_LARGEST_SEED = 2**32 - 1

# Entered while a program is traced.
_exact_matrices = partial(jax.default_matmul_precision, "highest")

Loss = Callable[[PyTree], jax.Array]
Vector = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class HessianEigenvalue:
    """The largest eigenvalue of a Hessian H, as far as it was found.

    Args:
        value: vᵀHv for the unit vector v found, in units of the loss per squared weight; NaN
            where the loss or a product is not finite.
        residual: ‖Hv − value v‖ / |value|; some eigenvalue lies within residual · |value|.
        products: Hessian-vector products computed.
        converged: the residual is at most the tolerance.
    """

    value: float
    residual: float
    products: int
    converged: bool


def largest_hessian_eigenvalue(
    loss: Loss,
    weights: PyTree,
    *,
    seed: int | float = 0,
    tolerance: int | float = 1e-3,
    max_products: int | float = 200,
) -> HessianEigenvalue:
    """λ_max = max over ‖v‖ = 1 of vᵀ ∇²L(w) v, by Lanczos; algebraically the largest.

    Args:
        loss: L, from weights to a scalar, twice differentiable.
        weights: w, a pytree of floating-point arrays, P numbers in all.
        seed: of the starting vector, 0 … 2^32−1.
        tolerance: largest ‖Hv − λv‖ / |λ|, in (0, 1).
        max_products: largest number of Hessian-vector products, at least 2.

    Returns:
        The eigenvalue, and how far it is to be trusted. A Lanczos run that does not converge, or a
        loss that is not finite, is told there and raises nothing.

    Raises:
        InputError: an argument outside its range, weights that are not floating-point arrays, or
            a loss that is not a scalar.

    Source: Lehoucq, Sorensen & Yang 1998 (ARPACK, the implicitly restarted Lanczos method);
    Hessian-vector products as in Pearlmutter 1994.
    """
    seed = _checked_seed(seed)
    tolerance = real_number("tolerance", tolerance, above=0.0, hint="it must lie in (0, 1)")
    if tolerance >= 1:
        raise InputError(f"tolerance={shown(tolerance)}: it must lie in (0, 1)")
    most = positive_integer("max_products", max_products)
    if most < 2:
        raise InputError(f"max_products={most}: it must be at least 2, one to check the result")
    weights, size = _checked_weights(loss, weights)
    hessian = _Hessian(loss, weights)
    if not np.isfinite(float(_loss(loss, weights))):
        return HessianEigenvalue(nan, nan, 0, False)
    try:
        if size <= min(_BASIS, most):
            vector, image = _from_dense(hessian, size)
        else:
            entropy = np.random.SeedSequence([_LANCZOS_START, seed])
            start = np.random.Generator(np.random.Philox(entropy)).standard_normal(size)
            vector, image = _from_lanczos(hessian, start, tolerance, most)
    except _NotFinite:
        return HessianEigenvalue(nan, nan, hessian.products, False)
    value = float(vector @ image)
    norm = float(np.linalg.norm(image - value * vector))
    residual = norm / abs(value) if value else (inf if norm else 0.0)
    return HessianEigenvalue(value, residual, hessian.products, residual <= tolerance)


def loss_along_rays(
    loss: Loss, weights: PyTree, lengths: ArrayLike, *, rays: int | float, seed: int | float
) -> NDArray[np.float64]:
    """L(w + r u_k), u_k uniform on the unit sphere of all weights together; one u_k per ray.

    Args:
        loss: L, from weights to a scalar.
        weights: w, a pytree of floating-point arrays, P numbers in all.
        lengths: r, (lengths,), distances from w, strictly increasing from 0 or more.
        rays: number of directions; the first of many are those of few.
        seed: of the directions, 0 … 2^32−1.

    Returns:
        (rays, lengths), in units of the loss; one row per ray.

    Raises:
        InputError: an argument outside its range, weights that are not floating-point arrays, or
            a loss that is not a scalar.

    Source: the distances of Hoffer, Hubara & Soudry 2017, appendix, along shared directions.
    """
    distances = _checked_lengths(lengths)
    number, seed = _checked_count("rays", rays), _checked_seed(seed)
    weights, _ = _checked_weights(loss, weights)
    key = jax.random.fold_in(jax.random.key(seed), _RAYS)
    losses = _ray_losses(loss, weights, key, jnp.arange(number), jnp.asarray(distances))
    return np.asarray(losses, np.float64)


def loss_at_random_points(
    loss: Loss, weights: PyTree, *, points: int | float, longest: int | float, seed: int | float
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """L(w + r_k u_k), r_k uniform in [0, r_max], u_k uniform on the unit sphere; all independent.

    Args:
        loss: L, from weights to a scalar.
        weights: w, a pytree of floating-point arrays, P numbers in all.
        points: number of pairs (r_k, u_k); the first of many are those of few.
        longest: r_max > 0, in units of the weights.
        seed: of directions and lengths, 0 … 2^32−1.

    Returns:
        The lengths r_k, (points,), and the losses there, (points,).

    Raises:
        InputError: an argument outside its range, weights that are not floating-point arrays, or
            a loss that is not a scalar.

    Source: Hoffer, Hubara & Soudry 2017, appendix: the standard deviation of L(w) − L(w_0) against
    ‖w − w_0‖, at lengths up to about 10.
    """
    number, seed = _checked_count("points", points), _checked_seed(seed)
    longest = positive("longest", longest)
    if longest > _LONGEST:
        raise InputError(f"longest={shown(longest)}: it must be at most {_LONGEST:.0e}")
    weights, _ = _checked_weights(loss, weights)
    entropy = np.random.SeedSequence([_POINT_LENGTHS, seed])
    lengths = np.random.Generator(np.random.Philox(entropy)).uniform(0.0, longest, number)
    key = jax.random.fold_in(jax.random.key(seed), _POINTS)
    losses = _point_losses(loss, weights, key, jnp.arange(number), jnp.asarray(lengths))
    return lengths, np.asarray(losses, np.float64)


def _moved(
    weights: PyTree, key: jax.Array, number: Int[Array, ""]
) -> Callable[[jax.Array], PyTree]:
    """r ↦ w + r u for the direction u of this number."""
    flat, unravel = ravel_pytree(weights)
    # Half precision would put the directions on a coarse grid.
    precise = jnp.promote_types(flat.dtype, jnp.float32)
    gaussian = jax.random.normal(jax.random.fold_in(key, number), flat.shape, precise)
    direction = gaussian / jnp.linalg.norm(gaussian)
    return lambda length: unravel((flat + length * direction).astype(flat.dtype))


# jax.lax.map, not vmap: one direction at a time is in memory.


@eqx.filter_jit
def _ray_losses(
    loss: Loss,
    weights: PyTree,
    key: jax.Array,
    numbers: Int[Array, " rays"],
    lengths: Float[Array, " lengths"],
) -> Float[Array, "rays lengths"]:
    def ray(number: Int[Array, ""]) -> Float[Array, " lengths"]:
        moved = _moved(weights, key, number)
        return jax.lax.map(lambda length: loss(moved(length)), lengths)

    with _exact_matrices():
        return jax.lax.map(ray, numbers)


@eqx.filter_jit
def _point_losses(
    loss: Loss,
    weights: PyTree,
    key: jax.Array,
    numbers: Int[Array, " points"],
    lengths: Float[Array, " points"],
) -> Float[Array, " points"]:
    def point(pair: tuple[Int[Array, ""], Float[Array, ""]]) -> Float[Array, ""]:
        number, length = pair
        return loss(_moved(weights, key, number)(length))

    with _exact_matrices():
        return jax.lax.map(point, (numbers, lengths))


@eqx.filter_jit
def _loss(loss: Loss, weights: PyTree) -> Float[Array, ""]:
    with _exact_matrices():
        return loss(weights)


@eqx.filter_jit
def _hessian_product(loss: Loss, weights: PyTree, vector: Float[Array, " P"]) -> Float[Array, " P"]:
    """∇²L(w) v, forward over reverse."""
    flat, unravel = ravel_pytree(weights)
    gradient = jax.grad(lambda w: loss(unravel(w)))
    with _exact_matrices():
        return jax.jvp(gradient, (flat,), (vector.astype(flat.dtype),))[1]


class _NotFinite(Exception):
    """A Hessian-vector product is not finite."""


class _Spent(Exception):
    """No products are left; the only way to stop ARPACK between restarts."""


class _Hessian:
    """v ↦ Hv between float64 vectors of the host, counted."""

    def __init__(self, loss: Loss, weights: PyTree) -> None:
        self._loss, self._weights = loss, weights
        self.products = 0

    def __call__(self, vector: Vector) -> Vector:
        self.products += 1
        product = _hessian_product(self._loss, self._weights, jnp.asarray(vector))
        image = np.asarray(product, np.float64)
        if not np.all(np.isfinite(image)):
            raise _NotFinite
        return image


class _RitzPairs:
    """ARPACK's vectors v with their Hv, for it gives nothing back unless it has converged.

    When it restarts it keeps the half of its basis with the largest eigenvalues; so does this.
    """

    def __init__(self, size: int) -> None:
        # In float32, as which the device saw and returned them.
        self._basis, self._images = (np.empty((_BASIS, size), np.float32) for _ in range(2))
        self._count = 0

    def add(self, vector: Vector, image: Vector) -> None:
        if self._count == 1 and _parallel(vector, self._images[0].astype(np.float64)):
            self._count = 0  # the start, multiplied once before the basis begins
        if self._count == _BASIS:
            self._keep(_BASIS // 2)
        self._basis[self._count], self._images[self._count] = vector, image
        self._count += 1

    def best(self) -> tuple[Vector, Vector]:
        self._keep(1)
        return self._basis[0].astype(np.float64), self._images[0].astype(np.float64)

    def _keep(self, number: int) -> None:
        """The best Ritz vectors in the place of all."""
        basis, images = self._basis[: self._count], self._images[: self._count]
        squares, rotation = np.linalg.eigh((basis @ basis.T).astype(np.float64))
        independent = squares > 1e-5 * squares[-1]
        orthonormal = rotation[:, independent] / np.sqrt(squares[independent])
        inner = orthonormal.T @ (basis @ images.T) @ orthonormal
        ritz = orthonormal @ np.linalg.eigh((inner + inner.T) / 2)[1][:, -number:]
        ritz = ritz.T.astype(np.float32)
        self._count = len(ritz)
        self._basis[: self._count], self._images[: self._count] = ritz @ basis, ritz @ images


def _parallel(a: Vector, b: Vector) -> bool:
    return abs(float(a @ b)) > (1 - 1e-5) * float(np.linalg.norm(a) * np.linalg.norm(b))


def _from_dense(hessian: _Hessian, size: int) -> tuple[Vector, Vector]:
    """v and Hv from all P columns of the Hessian."""
    matrix = np.stack([hessian(column) for column in np.eye(size)])
    matrix = (matrix + matrix.T) / 2
    vector = np.linalg.eigh(matrix)[1][:, -1]
    return vector, matrix @ vector


def _from_lanczos(
    hessian: _Hessian, start: Vector, tolerance: float, most: int
) -> tuple[Vector, Vector]:
    """v and Hv after at most `most` products, the last of them with v itself."""
    estimate = _RitzPairs(len(start))
    scale = 0.0

    def multiply(vector: Vector) -> Vector:
        nonlocal scale
        if hessian.products >= most - 1:
            raise _Spent
        image = hessian(vector)
        # ARPACK's tolerance is absolute below 4e-11.
        scale = scale or float(np.linalg.norm(image) / np.linalg.norm(vector)) or 1.0
        estimate.add(vector, image / scale)
        return image / scale

    operator = LinearOperator((len(start), len(start)), matvec=multiply, dtype=np.float64)
    basis = min(_BASIS, len(start))
    try:
        _, vectors = eigsh(
            operator, k=1, which="LA", v0=start, ncv=basis, tol=tolerance, maxiter=most
        )
    except (_Spent, ArpackError):
        vector, image = estimate.best()
        return vector, image * scale
    return vectors[:, 0], hessian(vectors[:, 0])


def _checked_seed(seed: object) -> int:
    if isinstance(seed, float) and seed.is_integer():
        seed = int(seed)
    whole = isinstance(seed, Integral) and not isinstance(seed, bool)
    if not whole or not 0 <= int(seed) <= _LARGEST_SEED:  # type: ignore[call-overload]
        raise InputError(f"seed={shown(seed)}: it must be a whole number from 0 to 2^32 - 1")
    return int(seed)  # type: ignore[call-overload]


def _checked_count(name: str, value: object) -> int:
    number = positive_integer(name, value)
    if number >= 2**31:
        raise InputError(f"{name}={number}: it must be below 2^31")
    return number


def _checked_lengths(lengths: ArrayLike) -> NDArray[np.float64]:
    hint = f"give a list of numbers from 0 to {_LONGEST:.0e}, each above the one before"
    try:
        array = np.asarray(lengths)
    except (TypeError, ValueError):  # rows of unequal length
        raise InputError(f"lengths={shown(lengths)}: {hint}") from None
    fits = array.dtype.kind in "iuf" and array.ndim == 1 and array.size > 0
    if not fits or not np.all((array >= 0) & (array <= _LONGEST)) or np.any(np.diff(array) <= 0):
        raise InputError(f"lengths={shown(lengths)}: {hint}")
    return array.astype(np.float64)


def _checked_weights(loss: Loss, weights: PyTree) -> tuple[PyTree, int]:
    """The weights as JAX arrays, and how many numbers they are."""
    leaves = jax.tree.leaves(weights)
    for leaf in leaves:
        if not jnp.issubdtype(getattr(leaf, "dtype", np.object_), jnp.floating):
            raise InputError(
                f"weights hold {shown(leaf)}: give floating-point arrays alone "
                "(equinox.partition splits off the rest)"
            )
    size = sum(leaf.size for leaf in leaves)
    if size == 0:
        raise InputError(f"weights={shown(weights)}: they hold no number; give at least one weight")
    weights = jax.tree.map(jnp.asarray, weights)
    value = eqx.filter_eval_shape(loss, weights)
    dtype = getattr(value, "dtype", np.object_)
    if getattr(value, "shape", None) != () or not jnp.issubdtype(dtype, jnp.floating):
        raise InputError(
            f"the loss returns {shown(value)}: it must return one floating-point number, such as "
            "a mean over examples"
        )
    return weights, size
