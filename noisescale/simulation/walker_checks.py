"""The arguments of the walks, checked at entry."""

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from noisescale.analysis.checks import positive, positive_integer
from noisescale.errors import InputError, shown


def temperature(T: object, given: ArrayLike, name: str) -> float:
    temperature = positive("T", T)
    array = np.asarray(given)
    if array.dtype.kind == "f" and array.dtype.itemsize < 8:
        largest = np.abs(array).max()
        if np.spacing(largest) > 0.01 * temperature:
            raise InputError(
                f"{name} reaches {float(largest):.3g} in {array.dtype}, where numbers are "
                f"{float(np.spacing(largest)):.2g} apart, more than T/100: make it in float64"
            )
    return temperature


def sites(name: str, given: ArrayLike, shape: tuple[int, ...]) -> NDArray[np.int64]:
    array = _numbers(name, given, "iu", "it must be an array of whole numbers")
    if array.ndim == 0 or not array.size:
        raise InputError(f"{name}={shown(given)}: give a site for every walker")
    if (array < 0).any() or (array >= np.array(shape)).any():
        raise InputError(f"{name}={shown(given)}: sites must lie in the box of shape {shape}")
    return array.astype(np.int64)


def times(given: ArrayLike) -> NDArray[np.float64]:
    array = _numbers("times", given, "iuf", "it must be a list of numbers")
    times = np.atleast_1d(array).astype(np.float64)
    if times.ndim != 1 or not times.size or not np.isfinite(times).all() or (times < 0).any():
        raise InputError(f"times={shown(given)}: they must be finite and at least 0")
    if (np.diff(times) < 0).any():
        raise InputError(f"times={shown(given)}: they must ascend")
    return times


def records(given: ArrayLike, steps: int) -> NDArray[np.int64]:
    array = np.atleast_1d(_numbers("record_at", given, "iu", "it must be a list of whole numbers"))
    if array.ndim != 1 or not array.size or (array[1:] < array[:-1]).any():
        raise InputError(f"record_at={shown(given)}: it must be an ascending list")
    if array[0] < 0 or array[-1] > steps:
        raise InputError(f"record_at={shown(given)}: numbers of steps from 0 to steps={steps:,}")
    return array.astype(np.int64)


def _numbers(name: str, given: ArrayLike, kinds: str, hint: str) -> NDArray[Any]:
    try:
        array = np.asarray(given)
    except (TypeError, ValueError):  # ragged
        array = np.empty(0, object)
    if array.dtype.kind not in kinds:
        raise InputError(f"{name}={shown(given)}: {hint}")
    return array


def whole_number(name: str, value: object) -> int:
    return 0 if isinstance(value, int) and value == 0 else positive_integer(name, value)
