"""The critical batch size from steps to a target at several batch sizes."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from math import exp, inf, nan, sqrt
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from noisescale.analysis.arrays import traces
from noisescale.analysis.documents import document
from noisescale.analysis.gradient_noise.conclusion import Verdict
from noisescale.analysis.html import plus_minus, table
from noisescale.analysis.resampling import checked_level, quantile_of
from noisescale.errors import InputError

Array = NDArray[np.float64]
Interval = tuple[float, float]

FEWEST_BATCH_SIZES = 3
# ln B_crit is searched this far outside the sweep: there the law is a limit to 1e-7.
_MARGIN = 16.0
_GRID = 2001
# No scatter of ln S is known to be smaller.
_ROUNDING = 1e-14
# A law that holds shows a worse fit than this quantile in one sweep of a thousand.
_MISFIT = 1e-3


@dataclass(frozen=True, slots=True)
class CriticalBatchSize:
    """B_crit = E_min/S_min, in examples, from steps S to a target at batch sizes B.

    Args:
        value: B_crit; 0 or math.inf where the steps show one side alone.
        stderr: of B_crit to first order; None without spare measurements, or at such a limit.
        interval: of B_crit, by likelihood: its ends may be 0 and math.inf.
        min_steps, min_steps_interval: S_min.
        min_examples, min_examples_interval: E_min.
        n: runs.
        level: confidence of the intervals.
        verdict: "measured", or "undecided" with the `reason`.
        batch_sizes, steps: (n,) as fitted.
        diagnostics: residual (standard deviation of ln S), misfit_p (of the law against the spread
            of runs at one batch size; None without several).
    """

    value: float
    stderr: float | None
    interval: Interval | None
    min_steps: float
    min_steps_interval: Interval | None
    min_examples: float
    min_examples_interval: Interval | None
    n: int
    level: float
    verdict: Verdict
    reason: str
    batch_sizes: Array
    steps: Array
    diagnostics: Mapping[str, Any] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """All fields as strict JSON: an end at infinity is null."""
        return document(self)

    def _repr_html_(self) -> str:
        rows: list[list[Any]] = [
            ["B_crit (examples)", plus_minus(self.value, self.stderr), self.interval],
            ["S_min (updates)", self.min_steps, self.min_steps_interval],
            ["E_min (examples)", self.min_examples, self.min_examples_interval],
        ]
        title = f"Critical batch size: {self.verdict}, n = {self.n}"
        return table(title, ["", "estimate", f"{self.level:.0%} interval"], rows, [self.reason])

    def plot(self, ax: Any = None) -> Any:
        """Steps against examples: the runs and the law between its asymptotes."""
        from noisescale.plots.gradient_noise import draw_critical_batch_size

        return draw_critical_batch_size(ax, self)


def critical_batch_size(
    batch_sizes: ArrayLike, steps: ArrayLike, *, level: float = 0.95
) -> CriticalBatchSize:
    """(S/S_min − 1)(E/E_min − 1) = 1 with E = S B, that is S = S_min (1 + B_crit/B).

    Fitted to ln S by least squares: runs scatter in proportion. S_min, E_min = S_min B_crit and
    B_crit get their intervals from the likelihood, Student's quantile of (n − 2) degrees: where
    the sweep ends before the bend, an interval ends at 0 or infinity, and the verdict is
    "undecided".

    Args:
        batch_sizes: B, (K,) in examples; sizes may repeat.
        steps: S, (K,) or (seeds, K): updates to one target, the learning rate tuned anew at every
            B (a rate fixed or scaled by rule measures the rule as well).
        level: confidence of the intervals.

    Raises:
        InputError: shapes that do not match, or numbers not above 0.

    Source: McCandlish et al. 2018, section 2.3 and equation 2.11; with tuned rates: Shallue et
    al. 2019.
    """
    level = checked_level(level)
    sizes, S = _checked(batch_sizes, steps)
    x, y = np.log(sizes), np.log(S)
    distinct, n = len(np.unique(sizes)), len(S)
    if distinct < 2:
        return CriticalBatchSize(
            nan, None, None, nan, None, nan, None, n, level, "undecided",
            f"1 batch size: a verdict needs {FEWEST_BATCH_SIZES} or more", sizes, S,
        )  # fmt: skip
    c = _best(x, y)
    a, rest = _profile(np.array([c]), x, y)
    low, high = x.min() - _MARGIN, x.max() + _MARGIN
    limit = 0.0 if c <= low else inf if c >= high else None
    residual = max(sqrt(float(rest[0]) / (n - 2)), _ROUNDING) if n > 2 else nan
    p = _misfit(x, y, float(rest[0]))
    numbers = {"residual": residual, "misfit_p": p}
    intervals: list[Interval | None] = [None] * 3
    stderr = None
    if n > 2 and distinct >= 2:
        intervals = list(_intervals(c, x, y, residual * quantile_of(level, n - 2)))
        if limit is None:
            share = 1 / (1 + np.exp(x - c))
            spread = float(np.sum((share - share.mean()) ** 2))
            stderr = exp(c) * residual / sqrt(spread)
    verdict, reason = _decide(limit, exp(c), intervals[0], sizes, distinct, p)
    return CriticalBatchSize(
        value=exp(c) if limit is None else limit,
        stderr=stderr,
        interval=intervals[0],
        min_steps=0.0 if limit == inf else exp(float(a[0])),
        min_steps_interval=intervals[1],
        min_examples=0.0 if limit == 0.0 else exp(float(a[0]) + c),
        min_examples_interval=intervals[2],
        n=n,
        level=level,
        verdict=verdict,
        reason=reason,
        batch_sizes=sizes,
        steps=S,
        diagnostics=numbers,
    )


def _checked(batch_sizes: ArrayLike, steps: ArrayLike) -> tuple[Array, Array]:
    sizes = traces("batch_sizes", batch_sizes, fewest=1)
    counts = traces("steps", steps, fewest=1)
    if len(sizes) != 1 or np.ndim(batch_sizes) != 1 or np.ndim(steps) not in (1, 2):
        raise InputError(
            f"batch_sizes has shape {np.shape(batch_sizes)} and steps {np.shape(steps)}: give (K,) "
            "and (K,) or (seeds, K)"
        )
    if counts.shape[1] != sizes.shape[1]:
        raise InputError(
            f"{sizes.shape[1]} batch sizes and {counts.shape[1]} numbers of steps: give one each"
        )
    for name, values in (("batch_sizes", sizes), ("steps", counts)):
        if values.min() <= 0:
            raise InputError(f"{name} holds {values.min():g}: give numbers above 0")
    return np.tile(sizes[0], len(counts)), counts.ravel()


def _profile(c: Array, x: Array, y: Array) -> tuple[Array, Array]:
    """ln S_min and the sum of squares left, at each ln B_crit = c."""
    free = y - np.logaddexp(0, c[:, None] - x)
    a = free.mean(axis=1)
    return a, np.sum((free - a[:, None]) ** 2, axis=1)


def _best(x: Array, y: Array) -> float:
    """ln B_crit of least squares; an end of the search where the bend is outside."""
    from scipy.optimize import least_squares

    grid = np.linspace(x.min() - _MARGIN, x.max() + _MARGIN, 257)
    start = int(np.argmin(_profile(grid, x, y)[1]))
    if start in (0, len(grid) - 1):
        return float(grid[start])

    def residuals(c: Array) -> Array:
        free = y - np.logaddexp(0, c[0] - x)
        return np.asarray(free - free.mean())

    def slope(c: Array) -> Array:
        share = 1 / (1 + np.exp(x - c[0]))
        return np.asarray(share.mean() - share)[:, None]

    found = least_squares(
        residuals, grid[start : start + 1], jac=slope, xtol=1e-15, ftol=1e-15, gtol=1e-15,
        bounds=(grid[start - 1], grid[start + 1]),
    )  # fmt: skip
    return float(found.x[0])


def _intervals(c: float, x: Array, y: Array, half: float) -> tuple[Interval, Interval, Interval]:
    """Of B_crit, S_min and E_min: where the sum of squares exceeds its least by at most half²."""
    rest = float(_profile(np.array([c]), x, y)[1][0])
    low, high = x.min() - _MARGIN, x.max() + _MARGIN
    allowed = rest + half**2

    def inside(values: Array) -> NDArray[np.bool_]:
        return np.asarray(_profile(values, x, y)[1] <= allowed)

    def end(far: float) -> float:
        """Where the set ends on the way from c to far."""
        near = c
        for _ in range(6):
            points = near + (far - near) * np.linspace(0, 1, 257)
            out = np.flatnonzero(~inside(points[1:]))
            if not len(out):
                return far
            near, far = float(points[out[0]]), float(points[out[0] + 1])
        return near

    first, last = end(low), end(high)
    c_grid = np.concatenate([np.linspace(first, last, _GRID), [c]])
    a, squares = _profile(c_grid, x, y)
    more = np.sqrt(np.maximum(allowed - squares, 0.0) / len(x))
    e = a + c_grid
    none_below, none_above = first <= low, last >= high
    return (
        (0.0 if none_below else exp(first), inf if none_above else exp(last)),
        (0.0 if none_above else exp(float((a - more).min())), exp(float((a + more).max()))),
        (0.0 if none_below else exp(float((e - more).min())), exp(float((e + more).max()))),
    )


def _misfit(x: Array, y: Array, rest: float) -> float | None:
    """p-value of the law against free means at each batch size; None where it has no degrees."""
    _, which = np.unique(x, return_inverse=True)
    groups, n = int(which.max()) + 1, len(x)
    if groups < 3 or n == groups:
        return None
    means = np.bincount(which, weights=y) / np.bincount(which)
    pure = float(np.sum((y - means[which]) ** 2)) / (n - groups)
    lack = max(rest - pure * (n - groups), 0.0) / (groups - 2)
    if pure <= 0:
        return None
    from scipy.special import fdtrc

    return float(fdtrc(groups - 2, n - groups, lack / pure))


def _decide(
    limit: float | None,
    critical: float,
    interval: Interval | None,
    sizes: Array,
    distinct: int,
    misfit: float | None,
) -> tuple[Verdict, str]:
    if distinct < FEWEST_BATCH_SIZES:
        return "undecided", f"{distinct} batch sizes: a verdict needs {FEWEST_BATCH_SIZES} or more"
    smallest, largest = float(sizes.min()), float(sizes.max())
    swept = f"the sweep from {smallest:g} to {largest:g} does not reach both sides of the bend"
    if limit == 0.0 or critical <= smallest:
        far = smallest if limit == 0.0 else critical
        return "undecided", f"{swept}: add batch sizes below {far:.3g}"
    if limit == inf or critical >= largest:
        far = largest if limit == inf else critical
        return "undecided", f"{swept}: add batch sizes above {far:.3g}"
    assert interval is not None
    if interval[0] == 0.0 or interval[1] == inf:
        where = "below" if interval[0] == 0.0 else "above"
        known = interval[1] if interval[0] == 0.0 else interval[0]
        return "undecided", (
            f"the interval is open: B_crit may be anywhere {where} {known:.3g}; add runs or batch "
            "sizes"
        ) if (interval[0] == 0.0) != (interval[1] == inf) else "the runs do not locate the bend"
    if misfit is not None and misfit < _MISFIT:
        return "undecided", (
            f"the law does not fit (p = {misfit:.1g} against the spread of runs): was the learning "
            "rate tuned at every batch size?"
        )
    return "measured", ""
