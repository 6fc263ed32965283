"""The noise scale of SGD and the other quantities that a batch-size rule may conserve.

Symbols: ε learning rate, B batch size, N training examples, m momentum, λ weight decay.
ε/(1−m) is the effective learning rate: the step that a constant gradient takes in the end.
"""

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from noisescale.errors import InputError, shown


def sgd_noise_scale(
    learning_rate: ArrayLike,
    batch_size: ArrayLike,
    train_size: ArrayLike,
    momentum: ArrayLike = 0.0,
    *,
    finite_population: bool = False,
) -> Any:
    """g = ε N / (B (1−m)); with `finite_population`, g = ε (N/B − 1) / (1−m).

    The arguments broadcast against each other.

    Args:
        learning_rate: ε ≥ 0, weight change per unit of gradient.
        batch_size: B ≥ 1, examples per update.
        train_size: N ≥ 1, examples in the training set.
        momentum: m in [0, 1).
        finite_population: subtract the part of the noise that vanishes as B → N. It holds for
            batches drawn without replacement and independently of each other; batches cut from
            a reshuffled epoch are correlated, and slow directions then see far less noise.

    Returns:
        g, in units of the learning rate; a float where all arguments are scalars.

    Raises:
        InputError: an argument outside its range, or B > N with `finite_population`.

    Source: Smith & Le 2018; with momentum: Smith, Kindermans, Ying & Le 2018, section 4.
    """
    rate = _checked("learning_rate", learning_rate, low=0.0, hint="it must be at least 0")
    batch = _checked("batch_size", batch_size, low=1.0, hint="it must be at least 1")
    size = _checked("train_size", train_size, low=1.0, hint="it must be at least 1")
    m = _checked("momentum", momentum, low=0.0, hint="it must lie in [0, 1)")
    if np.any(m >= 1):
        raise InputError(f"momentum={_shown(momentum)}: it must lie in [0, 1)")
    if finite_population and np.any(batch > size):
        raise InputError(
            f"batch_size={_shown(batch_size)} exceeds train_size={_shown(train_size)}: a batch "
            "without replacement cannot; leave finite_population off or lower the batch size"
        )
    try:
        correction = 1.0 if finite_population else 0.0
        with np.errstate(over="ignore"):
            g = rate / (1.0 - m) * (size / batch - correction)
    except ValueError as error:
        raise InputError(f"shapes do not broadcast: {error}") from None
    if not np.all(np.isfinite(g)):
        raise InputError(
            f"learning_rate={_shown(learning_rate)} with train_size={_shown(train_size)}: the "
            "noise scale exceeds what a float holds; check their units"
        )
    return float(g) if np.ndim(g) == 0 else g


def _checked(name: str, value: ArrayLike, low: float, hint: str) -> NDArray[np.float64]:
    try:
        given = np.asarray(value)
        if given.dtype.kind in "bcSU":
            raise TypeError
        array = given.astype(np.float64)
    except (TypeError, ValueError, OverflowError):
        raise InputError(f"{name}={_shown(value)} is not a number; {hint}") from None
    if not np.all(np.isfinite(array)) or np.any(array < low):
        raise InputError(f"{name}={_shown(value)}: {hint} and finite")
    return array


def _shown(value: object) -> str:
    return shown(value)


def temperature(
    learning_rate: float, batch_size: int, momentum: float, train_size: int | None
) -> float:
    """T = ε/(1−m) · (1/B − 1/N), the noise that sets the stationary spread; 1/N = 0 without N.

    Source: the finite-population g of Smith & Le 2018, divided by N.
    """
    population = 0.0 if train_size is None else 1.0 / train_size
    return learning_rate / (1.0 - momentum) * (1.0 / batch_size - population)


def diffusion_per_update(learning_rate: float, batch_size: int, momentum: float) -> float:
    """D = ε² / (B (1−m)²): variance gained per update on a flat landscape, per unit covariance.

    Source: Hoffer, Hubara & Soudry 2017 for m = 0; a gradient's steps add up to ε/(1−m).
    """
    return (learning_rate / (1.0 - momentum)) ** 2 / batch_size


def momentum_memory_examples(batch_size: int, momentum: float) -> float:
    """B / (1−m): examples over which the momentum buffer averages.

    Source: Smith, Kindermans, Ying & Le 2018, section 4 (in epochs: divided by N).
    """
    return batch_size / (1.0 - momentum)


def stability_ratio(learning_rate: float, sharpness: float, momentum: float) -> float:
    """ε λ / (2 (1+m)): heavy ball on a quadratic of curvature λ diverges at 1 and above.

    Source: Polyak 1964; with the sharpness of networks: Cohen et al. 2021.
    """
    return learning_rate * sharpness / (2.0 * (1.0 + momentum))


def underdamped_curvature(learning_rate: float, momentum: float) -> float:
    """(1−√m)² / ε: modes of a larger curvature oscillate, and relax slower than the SDE says.

    Infinite for ε = 0, reported as 0 (no update, no mode).
    """
    # (1−m)/(1+√m) is 1−√m without a difference of nearly equal numbers.
    return ((1.0 - momentum) / (1.0 + momentum**0.5)) ** 2 / learning_rate if learning_rate else 0.0


def averaging_memory_examples(batch_size: int, decay: float) -> float:
    """B / (1−ρ): examples over which an average with decay ρ per update looks back."""
    return batch_size / (1.0 - decay)


def reshuffling_factor(memory_epochs: float) -> float:
    """ρ(μ) = 1 − 3μ + 6μ² − 6μ³ (1 − e^{−1/μ}): what momentum leaves of an epoch's noise.

    In reshuffled epochs the noise of the batches sums to zero over an epoch. A direction that
    relaxes over many epochs then keeps the variance g²/(6N) ρ(μ) per unit of covariance, with μ
    the memory of momentum in epochs, instead of g/(2λN): 1 without momentum, → 1/(4μ).

    Source: the covariance of a noisy quadratic over one epoch (tests/reference/quadratic.py).
    """
    from math import expm1

    mu = memory_epochs
    if mu > 50.0:  # the powers cancel: the series in 1/μ
        return 1 / (4 * mu) - 1 / (20 * mu**2) + 1 / (120 * mu**3)
    return 1 - 3 * mu + 6 * mu**2 + 6 * mu**3 * expm1(-1 / mu) if mu else 1.0


def reshuffled_slow_variance(
    learning_rate: float, batch_size: int, momentum: float, train_size: int
) -> float:
    """g² ρ(μ) / (6N): stationary variance, per unit covariance, of slow directions.

    For batches cut from reshuffled epochs and directions that relax slower than an epoch;
    μ = B/(N(1−m)) is the memory of momentum in epochs, 0 without momentum.
    """
    g = learning_rate * train_size / (batch_size * (1.0 - momentum))
    memory = momentum_memory_examples(batch_size, momentum) / train_size if momentum else 0.0
    return g**2 * reshuffling_factor(memory) / (6.0 * train_size)
