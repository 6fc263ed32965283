"""From a run in memory to its folder and back."""

import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import jax
import numpy as np

from noisescale.errors import InputError, shown
from noisescale.record import Arrays, RunFolder, sha256_of
from noisescale.training.measurements import Progress
from noisescale.training.processes import together
from noisescale.training.pytree import PyTree

COUNTERS = ("update", "examples", "phase", "phase_update", "phase_examples", "stops", "diverged")


class Stopped(SystemExit):
    """The run was asked to stop and its checkpoint is saved; uncaught, the exit code is 143."""

    def __init__(self) -> None:
        super().__init__(143)


@contextmanager
def stop_on_sigterm(stop: Callable[[], bool]) -> Iterator[Callable[[], bool]]:
    """`stop`, or whether SIGTERM has come; signals that somebody else handles are left alone."""
    alone = threading.current_thread() is threading.main_thread()
    if not alone or signal.getsignal(signal.SIGTERM) is not signal.SIG_DFL:
        yield stop
        return
    heard = False

    def hear(number: int, frame: Any) -> None:
        nonlocal heard
        heard = True

    signal.signal(signal.SIGTERM, hear)
    try:
        yield lambda: heard or stop()
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)


def arrays_of(tree: PyTree) -> Arrays:
    """Every array of a tree by its path."""
    leaves = jax.tree_util.tree_leaves_with_path(tree)
    return {jax.tree_util.keystr(path).lstrip("."): np.asarray(a) for path, a in leaves}


def tree_of(arrays: Arrays, like: PyTree) -> PyTree:
    """A tree of the structure of `like`; InputError if arrays are missing or differ in shape."""
    wanted = arrays_of(like)
    for name, array in wanted.items():
        found = arrays.get(name)
        if found is None or found.shape != array.shape or found.dtype != array.dtype:
            raise InputError(
                f"the checkpoint does not fit the model: {name!r} is missing or has another shape"
            )
    structure = jax.tree.structure(like)
    return jax.tree.unflatten(structure, [jax.numpy.asarray(arrays[name]) for name in wanted])


def _counter(folder: RunFolder, name: str, place: dict[str, Any]) -> int:
    value, least = place.get(name), -1 if name == "phase" else 0
    if not isinstance(value, int) or value < least:
        raise InputError(
            f"{str(folder.folder)!r}: the checkpoint is damaged: {name} is {shown(value)}"
        )
    return value


class Keeper:
    """Saves a run between stretches of updates: at an interval, and when it is asked to stop.

    Args:
        folder: of the run.
        seconds: between checkpoints.
        stop: whether the run shall stop now.
        provenance: written when the folder is made.
    """

    def __init__(
        self,
        folder: RunFolder,
        seconds: float,
        stop: Callable[[], bool],
        provenance: dict[str, Any],
    ) -> None:
        self._folder, self._seconds, self._stop = folder, seconds, stop
        self._provenance = provenance
        self._begun, self._saved_at = False, time.monotonic()

    def resume(self, blank: Progress) -> Progress | None:
        """The run as its checkpoint left it; None if it has none.

        Args:
            blank: the run before its first update.
        """
        found = self._folder.resume()
        if found is None:
            return None
        if found.place.get("initial_sha256") != sha256_of(arrays_of(blank.initial)):
            raise InputError(
                f"{str(self._folder.folder)!r}: the initial weights are not those of the "
                "checkpoint: it was made on another platform; choose another folder"
            )
        self._begun = True
        counters: dict[str, Any] = {
            name: _counter(self._folder, name, found.place) for name in COUNTERS
        }
        state = tree_of(found.arrays, blank.state)
        return replace(blank, state=state, rows=found.rows, **counters)

    def begin(self) -> None:
        """Make the folder, unless the run goes on in it."""
        if not self._begun:
            self._folder.begin(self._provenance)
            self._begun = True

    def between(self, progress: Progress) -> None:
        """Look at the clock and at `stop`; raises Stopped once the checkpoint is saved."""
        waited, wish = together([time.monotonic() - self._saved_at, float(self._stop())])
        stop = wish > 0
        if stop or waited >= self._seconds:
            self.save(progress)
        if stop:
            raise Stopped

    def save(self, progress: Progress) -> None:
        """Write a checkpoint of the run."""
        self.begin()
        self._folder.add_rows(progress.rows)
        place = {name: getattr(progress, name) for name in COUNTERS}
        place["initial_sha256"] = sha256_of(arrays_of(progress.initial))
        self._folder.save(arrays_of(progress.state), place)
        self._saved_at = time.monotonic()
