"""What a check is, the registry of all checks, running them, and deviations.

Tolerances: one float32 operation errs by 6e-8 of its result, and a sum of n terms by some √n times
that, so 2e-6 to 1e-5 of the largest value is what correct kernels of this size stay within on any
device. A wrong factor or sign, or a wrong element, is off by 1e-3 and more.
"""

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from math import inf, nan
from typing import Any, NamedTuple

import jax
import numpy as np

from noisescale.errors import unknown_name
from noisescale.training.pytree import PyTree

Report = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Check:
    """What one kernel computed here.

    Args:
        name: of the kernel.
        what: it and its twin, in a line.
        deviation: max |computed − true| / max |true|, the largest over its results; for random
            numbers the distance of a mean or variance in standard errors. NaN if it computed a NaN
            or failed.
        tolerance: up to what deviation it passes.
        passed: whether it did.
        seconds: time, compilation included.
        error: what was raised, if anything.
        default_precision_deviation: the deviation at the device's default precision of matrix
            products, which may be TensorFloat-32 or bfloat16; for information. None if it was not
            asked for, does not matter, or failed.
    """

    name: str
    what: str
    deviation: float
    tolerance: float
    passed: bool
    seconds: float
    error: str | None = None
    default_precision_deviation: float | None = None


class _Kernel(NamedTuple):
    what: str
    tolerance: float
    multiplies: bool  # matrices, whose precision the device may choose
    deviations: Callable[[], Iterator[float]]


_KERNELS: dict[str, _Kernel] = {}


def check(
    what: str, tolerance: float, *, multiplies: bool = False
) -> Callable[[Callable[[], Iterator[float]]], Callable[[], Iterator[float]]]:
    """Registers a generator of deviations under its name."""

    def register(deviations: Callable[[], Iterator[float]]) -> Callable[[], Iterator[float]]:
        name = deviations.__name__.lstrip("_").replace("_", "-")
        _KERNELS[name] = _Kernel(what, tolerance, multiplies, deviations)
        return deviations

    return register


def check_names() -> tuple[str, ...]:
    """The names of all checks, in the order in which they run."""
    return tuple(_KERNELS)


def run_checks(
    report: Report | None = None,
    names: Sequence[str] | None = None,
    *,
    default_precision: bool | None = None,
) -> list[Check]:
    """Every kernel against its twin; one that fails or raises does not stop the others.

    Matrices are multiplied in float32 ("highest" precision).

    Args:
        report: hears the name of every check before it runs.
        names: which checks; None: all of them.
        default_precision: whether to measure the deviation at the device's default precision of
            matrix products as well; None: except on CPUs, where it is the same.

    Raises:
        InputError: an unknown name.
    """
    chosen = check_names() if names is None else tuple(names)
    for name in chosen:
        if name not in _KERNELS:
            raise unknown_name("check", name, _KERNELS)
    if default_precision is None:
        default_precision = jax.default_backend() != "cpu"
    checks = []
    for name in chosen:
        if report is not None:
            report(name)
        checks.append(_checked(name, _KERNELS[name], default_precision))
    return checks


def _checked(name: str, kernel: _Kernel, default_precision: bool) -> Check:
    began = time.perf_counter()
    with jax.default_matmul_precision("highest"):
        deviation, error = _largest(kernel)
    rough = None
    if default_precision and kernel.multiplies and error is None:
        found, failed = _largest(kernel)
        rough = found if failed is None else None
    return Check(
        name=name,
        what=kernel.what,
        deviation=deviation,
        tolerance=kernel.tolerance,
        passed=deviation <= kernel.tolerance,  # false of a NaN
        seconds=time.perf_counter() - began,
        error=error,
        default_precision_deviation=rough,
    )


def _largest(kernel: _Kernel) -> tuple[float, str | None]:
    """(the largest deviation, what was raised)."""
    try:
        # NaN if one is NaN.
        return float(np.max(list(kernel.deviations()))), None
    except Exception as error:  # whatever a compiler or a device raises
        return nan, " ".join(f"{type(error).__name__}: {error}".split())[:300]


def off(computed: Any, true: Any) -> float:
    """max |computed − true| / max |true|."""
    got, expected = np.asarray(computed, np.float64), np.asarray(true, np.float64)
    if got.shape != expected.shape:
        raise ValueError(f"an array of shape {got.shape} instead of {expected.shape}")
    largest = float(np.max(np.abs(expected)))
    return float(np.max(np.abs(got - expected))) / (largest or 1.0)


def trees_off(computed: PyTree, true: Sequence[Any]) -> Iterator[float]:
    """The deviation of every array, each relative to its own largest value."""
    for got, expected in zip(jax.tree.leaves(computed), true, strict=True):
        yield off(got, expected)


def same(computed: Any, expected: Any) -> float:
    """0 if they agree, for what is not a matter of statistics."""
    return 0.0 if off(computed, expected) <= 1e-5 else inf
