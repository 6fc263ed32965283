"""B_simple along a run: one estimate per window of the logarithm of the update."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from noisescale.analysis.arrays import traces
from noisescale.analysis.checks import listed, positive, positive_integer
from noisescale.analysis.documents import document
from noisescale.analysis.gradient_noise.conclusion import GradientNoiseScale
from noisescale.analysis.gradient_noise.estimate import gradient_noise_scale
from noisescale.analysis.html import plus_minus, table
from noisescale.errors import InputError, shown

Array = NDArray[np.float64]

# So many runs in a window are units enough for Student's interval.
ENOUGH_RUNS = 8


@dataclass(frozen=True, slots=True)
class NoiseScaleOverTime:
    """B_simple in windows along runs.

    Args:
        windows: an estimate per window that holds measurements, in order; `.window` is its first
            and last update.
        edges: (windows + 1,) edges of all windows, in updates.
        runs: how many.
        units: "runs" or "blocks", what was left out in turn where it could be.
    """

    windows: tuple[GradientNoiseScale, ...]
    edges: Array
    runs: int
    units: str

    def to_dict(self) -> dict[str, Any]:
        """All fields as strict JSON."""
        return document(self)

    def _repr_html_(self) -> str:
        head = ["updates", "B_simple", "interval", "n", "verdict"]
        rows = [
            [w.window, plus_minus(w.value, w.stderr), w.interval, w.n, w.verdict]
            for w in self.windows
        ]
        title = f"Gradient noise scale along {self.runs} runs; errors over {self.units}"
        return table(title, head, rows)

    def plot(self, ax: Any = None) -> Any:
        """B_simple with intervals against the update."""
        from noisescale.plots.gradient_noise import draw_noise_scale_over_time

        return draw_noise_scale_over_time(ax, self)


def noise_scale_over_time(
    updates: ArrayLike | Sequence[ArrayLike],
    small_sq_norms: ArrayLike | Sequence[ArrayLike],
    big_sq_norms: ArrayLike | Sequence[ArrayLike],
    small_batch: ArrayLike | Sequence[ArrayLike],
    big_batch: ArrayLike | Sequence[ArrayLike],
    *,
    windows: int = 8,
    edges: ArrayLike | None = None,
    level: float = 0.95,
    train_size: int | None = None,
) -> NoiseScaleOverTime:
    """B_simple of each window of ln(update + 1), over several runs (seeds).

    In a window all measurements of all runs are averaged, then divided. If 8 runs or more reach
    it, whole runs are left out in turn (measurements of one run are not independent, and runs
    differ); else blocks of consecutive measurements of single runs.

    Args:
        updates: of each measurement: (n,) for one run; (runs, n); or a list of lists, a run each.
        small_sq_norms, big_sq_norms: likewise.
        small_batch, big_batch: one size for all, or likewise.
        windows: how many, of equal width in ln(update + 1).
        edges: (windows + 1,) in updates, increasing, instead; a window holds its lower edge.
        level, train_size: see `gradient_noise_scale`.

    Raises:
        InputError: lists that do not match; updates negative; no measurement inside the edges.
    """
    runs = _runs("updates", updates)
    counts = [len(run) for run in runs]
    small = np.concatenate(_matching("small_sq_norms", small_sq_norms, counts))
    big = np.concatenate(_matching("big_sq_norms", big_sq_norms, counts))
    sizes = [
        _sizes(name, size, counts)
        for name, size in (("small_batch", small_batch), ("big_batch", big_batch))
    ]
    when = np.concatenate(runs)
    if when.min() < 0:
        raise InputError(f"updates hold {when.min():g}: count them from 0")
    bounds = _edges(when, windows, edges)
    number = np.searchsorted(bounds, when, side="right") - 1
    run = np.repeat(np.arange(len(runs)), counts)
    # In order of runs and time, so that neighbours are neighbours.
    order = np.lexsort((when, run))
    found = []
    for k in range(len(bounds) - 1):
        chosen = order[number[order] == k]
        if not len(chosen):
            continue
        present = len(np.unique(run[chosen]))
        found.append(
            gradient_noise_scale(
                small[chosen],
                big[chosen],
                sizes[0][chosen],
                sizes[1][chosen],
                level=level,
                train_size=train_size,
                blocks=run[chosen] if present >= ENOUGH_RUNS else None,
                window=(float(when[chosen].min()), float(when[chosen].max())),
            )
        )
    if not found:
        raise InputError(f"edges={shown(edges)}: no measurement lies between them")
    units = "runs" if len(runs) >= ENOUGH_RUNS else "blocks"
    return NoiseScaleOverTime(tuple(found), bounds, len(runs), units)


def _edges(when: Array, windows: int, edges: ArrayLike | None) -> Array:
    if edges is not None:
        given = traces("edges", edges, fewest=2)[0]
        if np.ndim(edges) != 1 or np.any(np.diff(given) <= 0) or given[0] < 0:
            raise InputError(f"edges={shown(edges)}: give increasing updates from 0")
        return given
    count = positive_integer("windows", windows)
    # The last edge is one above the last update, which is inside.
    return np.geomspace(when.min() + 1, when.max() + 2, count + 1).round(9) - 1


def _runs(name: str, values: ArrayLike | Sequence[ArrayLike]) -> list[Array]:
    """One array per run; flat numbers are one run."""
    entries = listed(name, values, "give a list per run")
    if not entries:
        raise InputError(f"{name} is empty: give at least one measurement")
    flat = all(np.ndim(entry) == 0 for entry in entries)  # type: ignore[arg-type]
    lists = [np.asarray(entries)] if flat else [np.asarray(entry) for entry in entries]
    if any(run.ndim != 1 for run in lists):
        raise InputError(f"{name}={shown(values)}: give a list of numbers per run")
    return [traces(name, run, fewest=1)[0] for run in lists]


def _sizes(name: str, size: Any, counts: list[int]) -> Array:
    """One size for all, or as the measurements are."""
    if isinstance(size, list | tuple) or np.ndim(size):
        return np.concatenate(_matching(name, size, counts))
    return np.full(sum(counts), positive(name, size))


def _matching(name: str, values: Any, counts: list[int]) -> list[Array]:
    found = _runs(name, values)
    lengths = [len(run) for run in found]
    if lengths != counts:
        raise InputError(f"{name} has {lengths} entries per run, updates have {counts}")
    return found
