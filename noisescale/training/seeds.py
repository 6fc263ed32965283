"""The seeds of a recipe: each in its folder, one after the other or each on a device of its own."""

import json
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import jax

from noisescale.analysis.plan import Plan
from noisescale.record import Record, RunFolder, sha256_of, write_text
from noisescale.training.checkpoints import Keeper, Stopped, arrays_of
from noisescale.training.run import Progress, Stopwatch, Trainer, Watch

LANDSCAPE_SCHEMA = "noisescale.landscape/1"


@dataclass(frozen=True, slots=True)
class Status:
    """How far training is.

    Args:
        update, updates: of this seed.
        done, total: updates of all seeds; what earlier calls did counts as done.
        examples_per_second: of this seed since it went on, evaluations included; 0 at first.
        row: the last measurement with a loss.
    """

    seed: int
    update: int
    updates: int
    done: int
    total: int
    examples_per_second: float
    row: Mapping[str, Any]


class Teller:
    """Turns stretches of updates into a Status, of all seeds together.

    Args:
        seeds: how many.
    """

    def __init__(self, report: Callable[[Status], None] | None, plan: Plan, seeds: int) -> None:
        self._report, self._plan, self._total = report, plan, seeds * plan.updates
        self._done: dict[int, int] = {}
        self._began: dict[int, tuple[float, int]] = {}
        self._lock = threading.Lock()

    def over(self, seed: int) -> None:
        """A seed that an earlier call has finished."""
        self._done[seed] = self._plan.updates

    def tell(self, progress: Progress) -> None:
        """How far a seed is."""
        seed, now = progress.seed, (time.monotonic(), progress.examples)
        with self._lock:
            began = self._began.setdefault(seed, now)
            self._done[seed] = progress.update
            if self._report is None:
                return
            seconds = now[0] - began[0]
            speed = (now[1] - began[1]) / seconds if seconds > 0 else 0.0
            losses = [row for row in progress.rows if row["train_loss"] is not None]
            row, done = losses[-1] if losses else {}, sum(self._done.values())
            updates = self._plan.updates
            self._report(Status(seed, progress.update, updates, done, self._total, speed, row))


def train_seeds(
    make: Callable[[], Trainer],
    plan: Plan,
    folders: Mapping[int, RunFolder],
    teller: Teller,
    *,
    keeper: Callable[[RunFolder, Callable[[], bool]], Keeper],
    stop: Callable[[], bool],
    resume: bool,
    parallel: int,
) -> dict[int, Record]:
    """The records of all seeds; those that are finished are read.

    Args:
        make: a trainer on the present default device.
        folders: by seed.
        keeper: of a folder, asking a function whether to stop.
        parallel: seeds trained at a time, each on a device of its own; the result does not depend
            on it.

    Raises:
        Stopped: `stop` said so, or one of several seeds has failed; that error is raised then.
    """
    records, open_ = {}, []
    for seed, folder in folders.items():
        record = folder.finished() if resume else None
        if record is None:
            open_.append(seed)
        else:
            records[seed] = record
            teller.over(seed)

    def trained(trainer: Trainer, seed: int, stop: Callable[[], bool]) -> Record:
        folder = folders[seed]
        return _train_seed(trainer, plan, seed, folder, keeper(folder, stop), teller, resume)

    if parallel == 1:
        if open_:
            trainer = make()
            records |= {seed: trained(trainer, seed, stop) for seed in open_}
    else:
        records |= _on_devices(make, trained, open_, stop, parallel)
    return {seed: records[seed] for seed in folders}


def _on_devices(
    make: Callable[[], Trainer],
    trained: Callable[[Trainer, int, Callable[[], bool]], Record],
    seeds: Sequence[int],
    stop: Callable[[], bool],
    parallel: int,
) -> dict[int, Record]:
    """A thread per device, each taking the next seed that is left."""
    left: Iterator[int] = iter(seeds)
    lock, failed = threading.Lock(), threading.Event()
    records: dict[int, Record] = {}

    def work(device: jax.Device) -> None:
        try:
            with jax.default_device(device):
                trainer = None
                while True:
                    with lock:
                        seed = next(left, None)
                    if seed is None or failed.is_set():
                        return
                    trainer = trainer or make()
                    records[seed] = trained(trainer, seed, lambda: failed.is_set() or stop())
        except BaseException:
            failed.set()
            raise

    with ThreadPoolExecutor(parallel) as pool:
        devices = jax.local_devices()[:parallel]
        errors = [job.exception() for job in [pool.submit(work, d) for d in devices]]
    raised = [error for error in errors if error is not None]
    # The others were stopped because of the first one that failed.
    for error in sorted(raised, key=lambda e: isinstance(e, Stopped)):
        raise error
    return records


def _train_seed(
    trainer: Trainer,
    plan: Plan,
    seed: int,
    folder: RunFolder,
    keeper: Keeper,
    teller: Teller,
    resume: bool,
) -> Record:
    replica = trainer.recipe.run.replica
    blank = trainer.blank(seed, replica)
    progress = keeper.resume(blank) if resume else None
    if progress is not None:
        progress = trainer.placed(progress)
    else:
        keeper.begin()
        _look_around(trainer, blank, folder)
        progress = trainer.start(seed, replica)
        folder.add_rows(progress.rows)
    clock, began, before = Stopwatch(), time.monotonic(), len(progress.rows)

    def between(now: Progress) -> None:
        nonlocal before
        folder.add_rows(now.rows)
        if len(now.rows) > before:
            folder.add_timing(_timing(now, clock, time.monotonic() - began))
            before = len(now.rows)
        keeper.between(now)
        teller.tell(now)

    teller.tell(progress)
    for number in range(max(progress.phase, 0), len(plan.rows)):
        progress = trainer.run_phase(progress, plan, number, Watch(between=between, clock=clock))
    weights = {
        **{f"weights.{name}": a for name, a in arrays_of(progress.state.weights).items()},
        **{f"statistics{name}": a for name, a in arrays_of(progress.state.statistics).items()},
    }
    return folder.finish(
        "diverged" if progress.diverged else "finished",
        weights,
        updates=progress.update,
        weights_sha256=sha256_of(weights),
    )


def _timing(progress: Progress, clock: Stopwatch, seconds: float) -> dict[str, float | int]:
    """Seconds since the run began or was resumed, and where they went."""
    return {
        "update": progress.update,
        "seconds": seconds,
        "train_seconds": clock.train,
        "evaluation_seconds": clock.evaluate,
        "probe_seconds": clock.probe,
    }


def _look_around(trainer: Trainer, blank: Progress, folder: RunFolder) -> None:
    """landscape.json, where a landscape is asked for."""
    found = trainer.landscape(blank)
    if found:
        text = json.dumps({"schema": LANDSCAPE_SCHEMA, **found}, allow_nan=False)
        write_text(folder.folder / "landscape.json", text + "\n")
