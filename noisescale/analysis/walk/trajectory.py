"""What one training run at a constant learning rate tells about its way from the start."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from noisescale.analysis.arrays import traces
from noisescale.analysis.checks import fraction_below_one, positive, positive_integer
from noisescale.errors import InputError, shown

Array = NDArray[np.float64]

FEWEST_TIMES = 5
# Positions whose norms agree with the distances so well are w − w_0 itself, not a sketch.
_EXACT = 1e-3
# Largest deviation of a sketched norm, in standard errors.
_LARGEST_DEVIATION = 8.0


@dataclass(frozen=True, slots=True, eq=False)
class Trajectory:
    """‖w_k − w_0‖ of one run at constant ε, B and momentum m, and what was recorded with it.

    Args:
        update: k, (n ≥ 5,) increasing numbers of updates done; k = 0 is left out if given.
        distance: ‖w_k − w_0‖, (n,) above 0 for k > 0.
        batch_size: B.
        learning_rate: ε > 0.
        momentum: m in [0, 1), of v ← m v + g, w ← w − ε v.
        train_size: N; None if unknown. B = N is full-batch gradient descent.
        seed: which initial weights; runs of equal seed start at the same w_0.
        replica: which order of the data; runs of equal seed and other replica share w_0 alone.
        weight_norm: ‖w_k‖, (n,), or None.
        update_norm: ‖Δw‖ of the last update, (n,), or None. Its entry at k = 0 is not used.
        positions: (n, p) w_k − w_0, or its sketch: p numbers of a random projection, the same
            for all runs, that keeps inner products on average. None if not recorded.

    Raises:
        InputError: shapes, order, signs or sizes not as above; positions whose norms cannot be
            those of `distance`.
    """

    update: Array
    distance: Array
    batch_size: int
    learning_rate: float
    momentum: float = 0.0
    train_size: int | None = None
    seed: int = 0
    replica: int = 0
    weight_norm: Array | None = None
    update_norm: Array | None = None
    positions: Array | None = None

    def __post_init__(self) -> None:
        batch = positive_integer("batch_size", self.batch_size)
        size = self.train_size
        if size is not None:
            size = positive_integer("train_size", size)
            if batch > size:
                raise InputError(f"batch_size={batch} exceeds train_size={size}")
        update = _column("update", self.update)
        if update[0] < 0 or np.any(np.diff(update) <= 0):
            raise InputError("update must increase from 0 or more: numbers of updates done")
        after = update > 0
        if after.sum() < FEWEST_TIMES:
            raise InputError(
                f"update holds {int(after.sum())} times after the start: give {FEWEST_TIMES}"
            )
        distance = _like(update, "distance", self.distance)[after]
        if distance.min() <= 0:
            raise InputError("distance must be above 0 after the first update")
        norm, step = self.weight_norm, self.update_norm
        set_: dict[str, Any] = {
            "batch_size": batch,
            "train_size": size,
            "learning_rate": positive("learning_rate", self.learning_rate),
            "momentum": fraction_below_one("momentum", self.momentum),
            "seed": _label("seed", self.seed),
            "replica": _label("replica", self.replica),
            "update": update[after],
            "distance": distance,
            # Before the first update it is ‖w_0‖, which the law of growing norms needs.
            "weight_norm": None if norm is None else _like(update, "weight_norm", norm),
            "update_norm": None if step is None else _steps(update, step)[after],
            "positions": self._checked_positions(update, distance),
        }
        if norm is not None and set_["weight_norm"].min() <= 0:
            raise InputError("weight_norm must be above 0")
        if norm is not None and after.all():
            raise InputError("weight_norm needs its value at update 0, ‖w_0‖: begin update with 0")
        for name, value in set_.items():
            object.__setattr__(self, name, value)

    def _checked_positions(self, update: Array, distance: Array) -> Array | None:
        if self.positions is None:
            return None
        rows = traces("positions", self.positions, fewest=1)
        if np.ndim(self.positions) != 2 or len(rows) != len(update):
            raise InputError(
                f"positions has shape {np.shape(self.positions)}: give ({len(update)}, numbers)"
            )
        rows = rows[update > 0]
        ratio = np.einsum("ij,ij->i", rows, rows) / distance**2
        allowed = max(_EXACT, _LARGEST_DEVIATION * np.sqrt(2 / rows.shape[1]))
        if ratio.min() <= 0 or (rows.shape[1] > 1 and np.abs(ratio - 1).max() > allowed):
            raise InputError(
                f"positions have {ratio[np.abs(ratio - 1).argmax()]:.3g} of the squared distance: "
                "give w − w_0, or its sketch, row by row"
            )
        return rows

    @classmethod
    def from_rows(
        cls,
        rows: Iterable[Mapping[str, Any]],
        *,
        train_size: int | None = None,
        seed: int = 0,
        replica: int = 0,
    ) -> "Trajectory":
        """The run whose measurements are lines of rows.jsonl.

        Args:
            rows: mappings with update, distance, batch_size, learning_rate, momentum and, if
                measured, weight_norm, update_norm and sketch. The sketch at update 0 is that of
                w_0; it is replaced by 0, as are the update's norm and settings there.
            train_size, seed, replica: as of the run.

        Raises:
            InputError: no measurements of distance, or settings that change during the run.
        """
        measured = [r for r in rows if r.get("distance") is not None]
        sketched = [r for r in measured if r.get("sketch") is not None]
        chosen = sketched or measured
        settings = {
            (r["batch_size"], r["learning_rate"], r["momentum"]) for r in chosen if r["update"]
        }
        if len(settings) != 1:
            raise InputError(
                f"rows of {len(settings)} batch sizes, learning rates or momenta: give one phase "
                "of constant ones, from update 0"
            )
        ((batch, rate, momentum),) = settings

        def column(name: str) -> Array | None:
            found = [r.get(name) if r["update"] or name == "weight_norm" else 0.0 for r in chosen]
            return None if any(x is None for x in found) else np.array(found, np.float64)

        positions = None
        if sketched:
            positions = np.array([r["sketch"] for r in chosen], np.float64)
            positions[[not r["update"] for r in chosen]] = 0.0
        return cls(
            update=np.array([r["update"] for r in chosen], np.float64),
            distance=np.array([r["distance"] for r in chosen], np.float64),
            batch_size=batch,
            learning_rate=rate,
            momentum=momentum,
            train_size=train_size,
            seed=seed,
            replica=replica,
            weight_norm=column("weight_norm"),
            update_norm=column("update_norm"),
            positions=positions,
        )

    @property
    def sketched(self) -> bool:
        """Whether the positions are estimates, of a projection."""
        if self.positions is None:
            return False
        squares = np.einsum("ij,ij->i", self.positions, self.positions)
        return bool(np.abs(squares / self.distance**2 - 1).max() > _EXACT)

    @property
    def full_batch(self) -> bool:
        """B = N: gradient descent without noise of sampling."""
        return self.batch_size == self.train_size


def _column(name: str, values: ArrayLike) -> Array:
    if np.ndim(values) != 1:
        raise InputError(f"{name} has shape {np.shape(values)}: give (n,) numbers")
    return traces(name, values, fewest=1)[0]


def _like(update: Array, name: str, values: ArrayLike) -> Array:
    found = _column(name, values)
    if found.shape != update.shape:
        raise InputError(f"{name} has {len(found)} values for {len(update)} updates")
    return found


def _steps(update: Array, values: ArrayLike) -> Array:
    """Norms of updates; before the first there is none, so whatever stands there is replaced."""
    given: Any = values
    if np.ndim(given) == 1 and len(given) == len(update) and update[0] == 0:
        given = [0.0, *list(given)[1:]]
    found = _like(update, "update_norm", given)
    if found[update > 0].min() <= 0:
        raise InputError("update_norm must be above 0 after the first update")
    return found


def _label(name: str, value: object) -> int:
    if isinstance(value, bool) or not isinstance(value, int | np.integer):
        raise InputError(f"{name}={shown(value)}: it must be a whole number")
    return int(value)
