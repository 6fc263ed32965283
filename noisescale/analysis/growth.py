"""Distance curves of measured runs: grouped, laid on one clock, and fitted group by group."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from noisescale.analysis.gradient_noise import NoiseScaleOverTime, noise_scale_over_time
from noisescale.analysis.laws import Comparison, Fit, fit_distance
from noisescale.analysis.laws.curves import FEWEST_POINTS
from noisescale.analysis.run_groups.runs import MeasuredRun
from noisescale.errors import InputError

Array = NDArray[np.float64]

# What gradient-noise measurements are called in a MeasuredRun.
MOMENTS = ("small_sq_norm", "big_sq_norm", "small_batch", "big_batch")


@dataclass(frozen=True, slots=True, eq=False)
class Growth:
    """Runs of one setting, their distance from the start, and what was fitted to them.

    Args:
        label: the setting, in words.
        batch_size: None where unknown.
        runs: names of the runs.
        x: (n,) clock. distance: (seeds, n); data orders of one seed are averaged.
        laws: Fit of the law asked for, or Comparison of all; None where there is too little.
        undecided: why there are no laws; empty where there are.
        noise_scale: B_simple along the runs, where the gradient's moments were measured.
        notes: what was left out or changed, a sentence each.
    """

    label: str
    batch_size: int | None
    runs: tuple[str, ...]
    clock: str
    quantity: str
    x: Array
    distance: Array
    laws: Fit | Comparison | None
    undecided: str
    noise_scale: NoiseScaleOverTime | None
    notes: tuple[str, ...]

    def plot(self, ax: Any = None) -> Any:
        """The curve with its seeds, every law, residuals, and the last decade shaded."""
        from noisescale.plots.laws import draw_laws

        if self.laws is None:
            raise InputError(f"{self.label}: nothing to draw, {self.undecided}")
        return draw_laws(ax, self.x, self.distance, self.laws)

    def to_dict(self) -> dict[str, Any]:
        """Strict JSON."""
        return {
            "label": self.label,
            "batch_size": self.batch_size,
            "runs": list(self.runs),
            "clock": self.clock,
            "quantity": self.quantity,
            "seeds": len(self.distance),
            "x": self.x.tolist(),
            "mean": self.distance.mean(axis=0).tolist() if len(self.distance) else [],
            "laws": {"verdict": "undecided", "reason": self.undecided, "fits": {}}
            if self.laws is None
            else self.laws.to_dict(),
            "noise_scale": None if self.noise_scale is None else self.noise_scale.to_dict(),
            "notes": list(self.notes),
        }


def growth_of(
    runs: Sequence[MeasuredRun],
    *,
    clock: str = "update",
    quantity: str = "distance",
    law: str = "all",
    window: tuple[float, float] | None = None,
    level: float = 0.95,
) -> tuple[Growth, ...]:
    """D(x) of every group of runs, fitted; groups are runs of equal settings.

    Runs that name a group belong to it; others are grouped by batch size, learning rate and
    momentum as far as these are known. Within a group data orders of the same seed are averaged,
    seeds are the independent curves.

    Args:
        clock, quantity: columns of the runs.
        law, window, level: see `fit_distance`.

    Returns:
        A Growth per group, by batch size.

    Raises:
        InputError: distances that are never above 0, clocks without a common range, a window or
            law that is none.
    """
    if not runs:
        raise InputError("no runs given: name run folders, .jsonl or .csv files")
    long = [
        run
        for run in runs
        if quantity not in run.columns or np.sum(run.curve(clock, quantity)[0] > 0) >= FEWEST_POINTS
    ]
    short = [run.name for run in runs if run not in long] if long else []
    groups: dict[tuple[Any, ...], list[MeasuredRun]] = {}
    for run in long or runs:
        groups.setdefault(_setting(run), []).append(run)
    found = []
    for members in groups.values():
        x, curves, notes = _curves(members, clock, quantity)
        notes += [f"{name}: fewer than {FEWEST_POINTS} points, left out" for name in short]
        short = []
        label = _label(members[0])
        laws, undecided = None, _too_little(x, curves, window)
        if not undecided:
            laws = fit_distance(x, curves, law, window=window, level=level, units=clock)
        batch = members[0].batch_size
        found.append(
            Growth(
                label=label,
                batch_size=None if batch is None else int(batch),
                runs=tuple(run.name for run in members),
                clock=clock,
                quantity=quantity,
                x=x,
                distance=curves,
                laws=laws,
                undecided=undecided,
                noise_scale=_noise_scale(members, clock, level),
                notes=(*notes, *_notes(members)),
            )
        )
    return tuple(sorted(found, key=lambda g: (g.batch_size or 0, g.label)))


def _too_little(x: Array, curves: Array, window: tuple[float, float] | None) -> str:
    """Why well-formed curves cannot be fitted; empty where they can."""
    low, high = (0.0, np.inf) if window is None else window
    inside = (x >= low) & (x <= high)
    # A window that is none is refused by the fit.
    if low < high and inside.sum() < FEWEST_POINTS:
        where = "" if window is None else f" from {low:g} to {high:g}"
        return f"{int(inside.sum())} points{where}: a law needs {FEWEST_POINTS} or more"
    if low < high and np.any(np.ptp(curves[:, inside], axis=1) == 0):
        return "the distance is constant: there is no growth to fit"
    return ""


def _setting(run: MeasuredRun) -> tuple[Any, ...]:
    if run.group is not None:
        return (run.group,)
    return (run.batch_size, run.learning_rate, run.momentum)


def _label(run: MeasuredRun) -> str:
    if run.group is not None:
        return run.group
    parts = {"B": run.batch_size, "ε": run.learning_rate, "m": run.momentum}
    known = [f"{name} = {value:g}" for name, value in parts.items() if value is not None]
    return ", ".join(known) or "all runs"


def _curves(
    runs: Sequence[MeasuredRun], clock: str, quantity: str
) -> tuple[Array, Array, list[str]]:
    """(x, one curve per seed, notes): points above 0, replicas of a seed averaged."""
    notes: list[str] = []
    pieces: list[tuple[MeasuredRun, Array, Array]] = []
    if not any(quantity in run.columns for run in runs):
        return np.empty(0), np.empty((0, 0)), []
    for run in runs:
        x, y = run.curve(clock, quantity)
        above = (x > 0) & (y > 0)
        if not above.any():
            raise InputError(f"{run.name}: no {quantity} above 0 at a {clock} above 0")
        pieces.append((run, x[above], y[above]))
    first = min((x for _, x, _ in pieces), key=len)
    if any(len(x) != len(first) or np.any(x != first) for _, x, _ in pieces):
        low = max(x[0] for _, x, _ in pieces)
        high = min(x[-1] for _, x, _ in pieces)
        first = first[(first >= low) & (first <= high)]
        if not len(first):
            raise InputError(
                f"the runs share no {clock}: one begins at {low:g} and another ends at {high:g}"
            )
        notes.append(
            f"measured at unequal {clock}: interpolated in its logarithm, from {first[0]:g} to "
            f"{first[-1]:g}"
        )
    by_seed: dict[Any, list[Array]] = {}
    for number, (run, x, y) in enumerate(pieces):
        curve = np.interp(np.log(first), np.log(x), y)
        by_seed.setdefault(("run", number) if run.seed is None else run.seed, []).append(curve)
    if len(by_seed) < len(pieces):
        notes.append(f"{len(pieces)} runs of {len(by_seed)} seeds: those of a seed are averaged")
    return first, np.array([np.mean(curves, axis=0) for curves in by_seed.values()]), notes


def _notes(runs: Sequence[MeasuredRun]) -> list[str]:
    """What runs say of themselves, each sentence once."""
    said: dict[str, list[str]] = {}
    for run in runs:
        for note in run.notes:
            said.setdefault(note, []).append(run.name)
    return [
        f"{names[0]}{f' and {len(names) - 1} more' if len(names) > 1 else ''}: {note}"
        for note, names in said.items()
    ]


def _noise_scale(
    runs: Sequence[MeasuredRun], clock: str, level: float
) -> NoiseScaleOverTime | None:
    columns: Mapping[str, list[Array]] = {name: [] for name in ("at", *MOMENTS)}
    for run in runs:
        if not all(name in run.columns for name in MOMENTS):
            continue
        values = [run.columns[clock], *(run.columns[name] for name in MOMENTS)]
        known = np.all(np.isfinite(values), axis=0)
        if known.any():
            for name, column in zip(columns, values, strict=True):
                columns[name].append(column[known])
    if not columns["at"]:
        return None
    size = runs[0].train_size
    return noise_scale_over_time(
        columns["at"],
        columns["small_sq_norm"],
        columns["big_sq_norm"],
        columns["small_batch"],
        columns["big_batch"],
        level=level,
        train_size=size,
    )
