"""The ratio of two means, where the denominator may not be clearly above 0."""

from math import inf, sqrt

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


def fieller_interval(
    top: float, bottom: float, covariance: Array, quantile: float
) -> tuple[float, float]:
    """{v: (T − v Q)² ≤ t² (C_TT − 2 v C_TQ + v² C_QQ)}, the ratios T/Q that the data allow.

    For normal means it holds the true ratio with the quantile's confidence, however near the
    denominator is to 0. If Q is told from 0, the set is an interval. If only T is, it is all but
    an interval around 0; the far branch needs Q < 0, and what is left is (v, ∞). If neither is,
    nothing is excluded.

    Args:
        top, bottom: T and Q > 0 or not; the denominator's true value is at least 0.
        covariance: (2, 2) of their errors.
        quantile: t.

    Source: Fieller 1954.
    """
    # In units of the terms, lest squares vanish.
    unit_top = max(abs(top), sqrt(covariance[0, 0]))
    unit_bottom = max(abs(bottom), sqrt(covariance[1, 1]))
    if unit_top == 0 or unit_bottom == 0:
        return (0.0, 0.0) if unit_top == 0 and unit_bottom > 0 else (-inf, inf)
    x, y = top / unit_top, bottom / unit_bottom
    square = quantile**2
    xx = covariance[0, 0] / unit_top**2
    yy = covariance[1, 1] / unit_bottom**2
    xy = covariance[0, 1] / (unit_top * unit_bottom)
    a, b, c = y * y - square * yy, x * y - square * xy, x * x - square * xx
    # b² − ac without the cancellation of x²y².
    inside = square * (x * x * yy - 2 * x * y * xy + y * y * xx) + square**2 * (xy * xy - xx * yy)
    root = sqrt(max(inside, 0.0))
    unit = unit_top / unit_bottom
    if a > 0:
        ends = _roots(a, b, c, root)
        return float(unit * ends[0]), float(unit * ends[1])
    if c > 0:
        # One root on either side of 0: T and Q ≥ 0 leave the one with the sign of T.
        ends = _roots(a, b, c, root)
        return (float(unit * ends[1]), inf) if x > 0 else (-inf, float(unit * ends[0]))
    return -inf, inf


def _roots(a: float, b: float, c: float, root: float) -> tuple[float, float]:
    """Roots of a v² − 2 b v + c, in order, without cancellation."""
    far = b + root if b >= 0 else b - root
    first = far / a if a != 0 else inf * far
    second = c / far if far != 0 else first
    return min(first, second), max(first, second)
