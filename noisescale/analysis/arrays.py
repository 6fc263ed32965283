"""Arrays as they are given: checked, as float64 rows."""

import numpy as np
from numpy.typing import ArrayLike, NDArray

from noisescale.errors import InputError, shown

Array = NDArray[np.float64]


def traces(name: str, values: ArrayLike, *, fewest: int) -> Array:
    """`values` as finite float64 rows (rows, n ≥ fewest), or an InputError that names them."""
    try:
        given = np.asarray(values)
        if given.dtype.kind not in "iuf":
            raise TypeError
        array = given.astype(np.float64)
    except (TypeError, ValueError, OverflowError):
        raise InputError(f"{name}={shown(values)}: give an array of real numbers") from None
    if array.ndim < 1 or array.shape[-1] < fewest or not array.size:
        raise InputError(f"{name} has shape {array.shape}: give at least {fewest} along the last")
    if not np.all(np.isfinite(array)):
        count = int(np.sum(~np.isfinite(array)))
        raise InputError(f"{name} holds {count} numbers that are not finite; remove them")
    if np.abs(array).max() > 1e100:
        raise InputError(f"{name} reaches {np.abs(array).max():.1e}: rescale it to below 1e100")
    return array.reshape(-1, array.shape[-1])
