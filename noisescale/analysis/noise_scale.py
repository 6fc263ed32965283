"""The noise scale of SGD and the other quantities that a batch-size rule may conserve.

Symbols: ε learning rate, B batch size, N training examples, m momentum, λ weight decay.
ε/(1−m) is the effective learning rate: the step that a constant gradient takes in the end.
"""

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from noisescale.errors import InputError


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
        g = rate / (1.0 - m) * (size / batch - correction)
    except ValueError as error:
        raise InputError(f"shapes do not broadcast: {error}") from None
    return float(g) if np.ndim(g) == 0 else g


def _checked(name: str, value: ArrayLike, low: float, hint: str) -> NDArray[np.float64]:
    try:
        array = np.asarray(value, dtype=np.float64)
    except (TypeError, ValueError):
        raise InputError(f"{name}={_shown(value)} is not a number; {hint}") from None
    if not np.all(np.isfinite(array)) or np.any(array < low):
        raise InputError(f"{name}={_shown(value)}: {hint} and finite")
    return array


def _shown(value: object) -> str:
    text = " ".join(str(value).split())
    return text if len(text) <= 60 else text[:57] + "..."


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
