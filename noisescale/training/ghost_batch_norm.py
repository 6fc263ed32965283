"""Batch normalisation over ghosts: groups of G examples that share their statistics."""

from functools import partial
from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

EPSILON = 1e-5


class Moments(NamedTuple):
    """Statistics of every ghost: mean μ, biased variance σ², and n, over how many values.

    A ghost of padding alone has n = 0.
    """

    mean: Float[Array, "ghosts features"]
    variance: Float[Array, "ghosts features"]
    number: Float[Array, " ghosts"]


class Statistics(NamedTuple):
    """Running mean and variance, for evaluation."""

    mean: Float[Array, " features"]
    variance: Float[Array, " features"]


class GhostBatchNorm(eqx.Module):
    """y = scale (x − μ)/√(σ² + 1e-5) + shift, with μ and σ² of the example's ghost in training.

    In evaluation μ and σ² are the running statistics, whatever the batch. Features lie on the last
    axis; axes between examples and features (height, width) share their statistics.

    Source: Hoffer, Hubara & Soudry 2017, algorithm 1; Ioffe & Szegedy 2015.
    """

    scale: Float[Array, " features"]
    shift: Float[Array, " features"]

    def __init__(self, features: int) -> None:
        self.scale = jnp.ones(features)
        self.shift = jnp.zeros(features)

    def __call__(
        self,
        x: Float[Array, "examples *space features"],
        counts: Float[Array, " examples"],
        ghosts: int,
        running: Statistics | None,
    ) -> tuple[Float[Array, "examples *space features"], Moments | None]:
        """Normalised values, and in training the statistics of every ghost.

        Args:
            counts: 1 for an example and 0 for padding, which enters no statistic.
            ghosts: into how many consecutive groups of equal length the examples are divided.
            running: None in training.
        """
        given, x = x.dtype, at_least_float32(x)
        if running is not None:
            mean, variance, moments = running.mean, running.variance, None
        else:
            moments = ghost_moments(x, counts, ghosts)
            per_ghost = (len(x) // ghosts, *[1] * (x.ndim - 2))
            shape = (ghosts, *[1] * (x.ndim - 1), x.shape[-1])
            mean, variance = (
                jnp.broadcast_to(m.reshape(shape), (ghosts, *per_ghost, x.shape[-1])).reshape(
                    len(x), *per_ghost[1:], x.shape[-1]
                )
                for m in (moments.mean, moments.variance)
            )
        y = (x - mean) * (self.scale * jax.lax.rsqrt(variance + EPSILON)) + self.shift
        return y.astype(given), moments

    def start(self) -> Statistics:
        """Running mean 0 and variance 1."""
        return Statistics(jnp.zeros_like(self.shift), jnp.ones_like(self.scale))


def at_least_float32(x: Array) -> Array:
    """Shorter floating-point numbers as float32."""
    return x.astype(jnp.promote_types(x.dtype, jnp.float32))


# Weighted sums in full precision: accelerators round the factors of a matrix product.
_sum = partial(jnp.einsum, precision=jax.lax.Precision.HIGHEST)


def ghost_moments(
    x: Float[Array, "examples *space features"], counts: Float[Array, " examples"], ghosts: int
) -> Moments:
    """μ = Σ c x / n and σ² = Σ c (x − μ)² / n with n = Σ c, per ghost and feature."""
    values = x.reshape(ghosts, len(x) // ghosts, -1, x.shape[-1])
    weights = counts.reshape(ghosts, -1)
    places = values.shape[2]
    number = places * jnp.sum(weights, axis=1)
    divisor = jnp.maximum(number, 1.0)[:, None]
    mean = _sum("gs,gspf->gf", weights, values) / divisor
    squares = (values - mean[:, None, None, :]) ** 2
    variance = _sum("gs,gspf->gf", weights, squares) / divisor
    return Moments(mean, variance, number)


def fold(
    running: Statistics,
    moments: Moments,
    *,
    mode: str,
    decay: float,
    total: Array | float | None = None,
    done: Array | int = 0,
) -> Statistics:
    """The running statistics r after the K ghosts of one update, with η = 1 − decay.

    "sequential": r ← (1−η) r + η μ_l for l = 1 … K in order, as if every ghost were a batch.
    "composite": the same in one step, r ← (1−η)^K r + Σ_l η (1−η)^(K−l) μ_l.
    "composite-printed": as algorithm 1 prints its weights, r ← (1−η)^K r + Σ_l η (1−η)^l μ_l,
        for μ and for σ (not σ²), biased. They add up to 1 − η + η(1−η)^K, so at rest r is (1−η)
        times the statistic; the first ghost counts most.
    "divided": sequential with η/K, so that the memory in updates is that of plain batch norm.

    Args:
        running: r, mean and variance.
        moments: of the ghosts in order; those with n = 0 are passed over.
        decay: 1 − η; Keras calls it momentum, PyTorch's momentum is η.
        total, done: K, and how many of them were folded before, where the ghosts of an update come
            in parts; by default they are all here.

    The variance that enters is unbiased, n σ²/(n−1) (as in PyTorch), except in
    "composite-printed"; that of a single value is 0.

    Source: Hoffer, Hubara & Soudry 2017, algorithm 1, where the exponent of the first term is
    printed as the ghost's size and read here as the number of ghosts.
    """
    present = moments.number > 0
    ghosts = jnp.sum(present)
    total = ghosts if total is None else total
    rank = jnp.cumsum(present)
    eta = 1.0 - decay
    if mode == "composite-printed":
        kept = jnp.where(done == 0, (1.0 - eta) ** total, 1.0)
        weights = jnp.where(present, eta * (1.0 - eta) ** (done + rank), 0.0)
        deviation = kept * jnp.sqrt(running.variance) + _sum(
            "g,gf->f", weights, jnp.sqrt(moments.variance)
        )
        return Statistics(
            kept * running.mean + _sum("g,gf->f", weights, moments.mean), deviation**2
        )
    unbiased = moments.variance * _bessel(moments.number)
    if mode == "composite":
        kept = (1.0 - eta) ** ghosts
        weights = jnp.where(present, eta * (1.0 - eta) ** (ghosts - rank), 0.0)
        return Statistics(
            kept * running.mean + _sum("g,gf->f", weights, moments.mean),
            kept * running.variance + _sum("g,gf->f", weights, unbiased),
        )
    step = eta / jnp.maximum(total, 1) if mode == "divided" else eta

    def one(r: Statistics, ghost: tuple[Array, Array, Array]) -> tuple[Statistics, None]:
        mean, variance, here = ghost
        weight = jnp.where(here, step, 0.0)
        return (
            Statistics(
                r.mean + weight * (mean - r.mean), r.variance + weight * (variance - r.variance)
            ),
            None,
        )

    folded, _ = jax.lax.scan(one, running, (moments.mean, unbiased, present))
    return folded


def average(moments: Moments) -> tuple[Array, Statistics]:
    """(n, n-weighted sums of μ and of the unbiased σ²) over ghosts: sums to be added and divided.

    Source: Wu & Johnson 2021, section 3 (precise batch norm).
    """
    unbiased = moments.variance * _bessel(moments.number)
    return jnp.sum(moments.number), Statistics(
        _sum("g,gf->f", moments.number, moments.mean), _sum("g,gf->f", moments.number, unbiased)
    )


def _bessel(number: Float[Array, " ghosts"]) -> Float[Array, "ghosts 1"]:
    return (number / jnp.maximum(number - 1.0, 1.0))[:, None]


def ghost_sizes(number: int, ghost: int, policy: str, batch_size: int) -> list[int]:
    """How n examples of a batch are divided into ghosts, in order.

    Args:
        number: n ≤ B.
        ghost: G.
        policy: see noisescale.recipe.ModelConfig.partial_ghost.
        batch_size: B; n is less only where an epoch ends in a partial batch.
    """
    if policy == "even":
        ghosts = -(-number // ghost)
        return [number // ghosts + (k < number % ghosts) for k in range(ghosts)]
    if policy == "chunk":
        ghost = -(-number // max(1, batch_size // ghost))
    full, rest = divmod(number, ghost)
    sizes = [ghost] * full
    if rest and (policy != "drop" or not full):
        sizes.append(rest)
    return sizes
