"""E|g_B|² = |G|² + tr Σ/B: from squared norms at two batch sizes to tr Σ and |G|²."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from noisescale.analysis.arrays import traces
from noisescale.analysis.checks import listed, positive, positive_integer
from noisescale.errors import InputError, shown

Array = NDArray[np.float64]

# What a row of a run says of one batch.
_NUMBERS = ("small_sq_norm", "big_sq_norm", "small_batch", "big_batch")


@dataclass(frozen=True, slots=True)
class RecordedMoments:
    """Squared norms as a run records them, one entry a measurement.

    Args:
        updates: (n,) updates done before the measurement.
        small_sq_norms, big_sq_norms: (n,) |g|² of the small batch (averaged over the parts of the
            big one) and of the big one.
        small_batch, big_batch: (n,) their sizes, in examples.
    """

    updates: Array
    small_sq_norms: Array
    big_sq_norms: Array
    small_batch: Array
    big_batch: Array


def noise_and_signal(small: Array, big: Array, small_factor: Array, big_factor: Array) -> Array:
    """(n, 2) of tr Σ = (s − b)/(c_s − c_b) and |G|² = (c_s b − c_b s)/(c_s − c_b).

    Each is unbiased where E s = |G|² + c_s tr Σ and E b = |G|² + c_b tr Σ, also where the small
    batch is part of the big one. Exchanging the batches changes nothing, to the bit.

    Source: McCandlish et al. 2018, appendix A.1.
    """
    span = small_factor - big_factor
    return np.stack(
        [(small - big) / span, (small_factor * big - big_factor * small) / span], axis=-1
    )


def covariance_factor(batch: Array | float, train_size: int | None) -> Array:
    """c of tr cov(g_B) = c tr Σ: 1/B, or (N − B)/((N − 1) B) for draws without replacement."""
    if train_size is None:
        return np.asarray(1 / batch)
    return np.asarray((train_size - batch) / ((train_size - 1) * batch))


def checked_factors(
    small_batch: ArrayLike, big_batch: ArrayLike, number: int, train_size: object
) -> tuple[Array, Array]:
    """Both covariance factors, (number,) each, or an InputError."""
    population = checked_train_size(train_size)
    small = _batches("small_batch", small_batch, number, population)
    big = _batches("big_batch", big_batch, number, population)
    if np.any(small == big):
        size = small[small == big][0]
        raise InputError(
            f"small_batch and big_batch are both {size:g}: two sizes are needed to tell noise "
            "from signal"
        )
    return covariance_factor(small, population), covariance_factor(big, population)


def checked_train_size(train_size: object) -> int | None:
    """N ≥ 2, None where it is not given, or an InputError."""
    if train_size is None:
        return None
    number = positive_integer("train_size", train_size)
    if number < 2:
        raise InputError("train_size=1: one example has no gradient noise")
    return number


def squared_norms(name: str, values: ArrayLike) -> Array:
    """(n,) finite squared norms of at least 0, or an InputError."""
    if np.ndim(values) != 1:
        raise InputError(f"{name} has shape {np.shape(values)}: give a list, one per measurement")
    norms = traces(name, values, fewest=1)[0]
    if norms.min() < 0:
        raise InputError(f"{name} holds {norms.min():g}: squared norms are at least 0")
    return norms


def recorded_moments(rows: Iterable[Mapping[str, Any]]) -> RecordedMoments:
    """The squared norms in the rows of one run; rows without a measurement are left out.

    Args:
        rows: with "update" and "gradient_moments", which is None or holds small_sq_norm,
            big_sq_norm, small_batch, big_batch (see training.probes.Probes.gradient_moments).

    Raises:
        InputError: no row has a measurement, or one lacks a number. (A run that diverged ends in
            None: leave that row out.)
    """
    found = []
    for number, row in enumerate(listed("rows", rows, "give the rows of a run")):
        moments = row.get("gradient_moments") if isinstance(row, Mapping) else None
        if moments is None:
            continue
        assert isinstance(row, Mapping)
        values = [row.get("update"), *(moments.get(name) for name in _NUMBERS)]
        if any(value is None for value in values):
            name = ("update", *_NUMBERS)[values.index(None)]
            raise InputError(f"row {number} has gradient moments without {name!r}")
        found.append(values)
    if not found:
        raise InputError(
            "no row holds gradient_moments: record them with gradient_parts of 2 or more"
        )
    return RecordedMoments(*np.asarray(found, np.float64).T)


def _batches(name: str, given: ArrayLike, number: int, train_size: int | None) -> Array:
    if np.ndim(given) == 0:
        sizes = np.full(number, positive(name, np.asarray(given).item()))
    else:
        sizes = traces(name, given, fewest=1)[0]
        if np.shape(given) != (number,) or sizes.min() <= 0:
            raise InputError(
                f"{name}={shown(given)}: give one size above 0, or one for each of the {number} "
                "measurements"
            )
    if train_size is not None and sizes.max() > train_size:
        raise InputError(f"{name}={sizes.max():g} is more than train_size={train_size}")
    return sizes
