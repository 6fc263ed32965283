"""Runs that are killed and resumed, against the same run left alone.

SIGKILL ends the process; whatever it had handed to the operating system stays. A loss of power,
where that is lost too, is not tried.
"""

import json
import os
import random
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from noisescale.record import CHECKPOINT, RECIPE, RESULT, ROWS, TIMING, WEIGHTS, read_arrays

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent
# For one process, and for an event to be reached.
MOST_SECONDS = 300
# As RunFolder names what it is writing.
DRAFT = re.compile(r"\..*-.{8}")
Document = dict[str, Any]


def _phases(epochs: int, learning_rate: float = 0.05) -> list[Document]:
    return [
        {"epochs": epochs, "learning_rate": learning_rate, "batch_size": 32, "momentum": 0.9},
        {"epochs": epochs, "learning_rate": learning_rate, "batch_size": 96, "momentum": 0.8},
    ]


_FEW_PROBES = {"gradient_parts": 0, "recalibration_examples": 0, "sketch": 16}
_RUN = {"seeds": 2, "checkpoint_seconds": 0.2, "evaluate_every": 2.0}
# Small, but with everything a run carries from one update to the next; "ghosts" takes a second
# beside its start, the others more.
RECIPES: dict[str, Document] = {
    "ghosts": {
        "phase": _phases(50),
        "model": {
            "width": 8,
            "depth": 1,
            "batch_norm": True,
            "ghost_batch_size": 16,
            "dropout": 0.1,
        },
        "probe": _FEW_PROBES,
        "run": _RUN,
    },
    "micro-batches": {
        "phase": _phases(120),
        "model": {
            "width": 8,
            "depth": 2,
            "batch_norm": True,
            "ghost_batch_size": 16,
            "running_statistics": "composite",
        },
        "optimizer": {"momentum_form": "velocity", "nesterov": True, "clip_norm": 1.0},
        "probe": {"sketch": 16, "gradient_parts": 2},
        "run": {**_RUN, "micro_batch_size": 32},
    },
    "adam": {
        "phase": [
            {"epochs": 80, "learning_rate": 0.003, "batch_size": 50, "weight_decay": 0.001},
            {
                "epochs": 80,
                "learning_rate": {"shape": "cosine", "start": 0.003, "end": 0.0001},
                "batch_size": 120,
            },
        ],
        "model": {"width": 8, "depth": 1, "dropconnect": 0.1},
        "optimizer": {"name": "adam", "label_noise": 0.1},
        "probe": _FEW_PROBES,
        "run": _RUN,
    },
    "host": {
        "phase": _phases(50),
        "model": {"width": 8, "depth": 1, "dropout": 0.2},
        "optimizer": {"noise_batch_size": 16},
        "probe": _FEW_PROBES,
        "run": {**_RUN, "driver": "host"},
    },
    "distance": {
        "phase": _phases(120, 0.002),
        "model": {"width": 8, "depth": 1, "batch_norm": True},
        "probe": _FEW_PROBES,
        "run": {**_RUN, "until_distance": [4.0, 5.0], "distance_checks": 5},
    },
    "keep": {
        "partial": "keep",
        "phase": _phases(120),
        "model": {"width": 8, "depth": 1},
        "optimizer": {"momentum_reset": "epoch", "momentum_form": "dampened"},
        "probe": {**_FEW_PROBES, "gradient_parts": 2},
        "run": _RUN,
    },
}


@dataclass(frozen=True)
class At:
    """Kill where the log has this event for the `count`-th time; the process waits there."""

    event: str
    count: int = 1


@dataclass
class Kill:
    """One kill and what it left.

    Args:
        seconds: since the process began.
        event: the last line of its log, the phase first.
        checkpoint: whether the seed being trained had a checkpoint.
        update: that the checkpoint is of, if it can be read.
        files: of that seed's folder.
        equal: whether the run, once it was over, was the one left alone.
    """

    recipe: str
    seconds: float
    event: str
    checkpoint: bool
    update: int | None
    files: tuple[str, ...]
    equal: bool | None = None

    @property
    def phase(self) -> str:
        """One of start, train, evaluate, probe, save, finish."""
        return self.event.partition(" ")[0]


@dataclass
class Lineage:
    """A run that was killed any number of times and then left to finish."""

    kills: list[Kill]
    differences: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Reference:
    """A run left alone.

    Args:
        start_seconds, seconds: until its first update and until its end, with compiled programs
            in the cache and slow saves.
        cache: where those programs lie.
    """

    name: str
    document: Document
    directory: Path
    start_seconds: float
    seconds: float
    slow_save: float
    cache: Path


class NotReached(AssertionError):
    """A process ended before the event at which it was to be killed."""


def reference(name: str, scratch: Path, slow_save: float = 0.05) -> Reference:
    """Run a recipe twice without a kill, the second time by the clock; both must be equal."""
    document, cache = RECIPES[name], scratch / "cache"
    for attempt in ("first", "second"):
        place = scratch / attempt
        place.mkdir(parents=True)
        begin, log = time.monotonic(), place / "log-0"
        with _process(document, place, 0, slow_save, None, cache, attempt == "first") as process:
            _wait(process, lambda log=log: b"\ntrain " in _bytes(log))
            start_seconds = time.monotonic() - begin
            _wait(process, lambda log=log: _bytes(log).endswith(b"\ndone\n"))
            seconds = time.monotonic() - begin
            process.wait(MOST_SECONDS)
        if process.returncode:
            raise AssertionError(_last_words(place, 0))
    found = differences(scratch / "first" / "run", place / "run")
    if found:
        raise AssertionError(f"two runs left alone differ: {found}")
    return Reference(name, document, place / "run", start_seconds, seconds, slow_save, cache)


def lineage(
    known: Reference,
    scratch: Path,
    kills: Sequence[float | At],
    *,
    every_look: bool = False,
    cached: bool = True,
) -> Lineage:
    """Kill a run again and again, let it finish, and compare it with the one left alone.

    Args:
        kills: events, or shares of what is left of the run's time. If the run is over sooner than
            expected, the remaining ones are left out.
        every_look: save a checkpoint whenever that is possible, so that every event comes soon.
        cached: take compiled programs from the cache.

    Raises:
        NotReached: an event did not come.
    """
    document = known.document
    if every_look:
        document = {**document, "run": {**document["run"], "checkpoint_seconds": 0.0}}
    scratch.mkdir(parents=True)
    found = Lineage([])
    expected: tuple[int, int] | None = (0, 0)
    left = known.seconds
    for number, where in enumerate([*kills, None]):
        hold = where if isinstance(where, At) else None
        slow_save = 0.0 if hold or where is None else known.slow_save
        cache = known.cache if cached else None
        with _process(document, scratch, number, slow_save, hold, cache) as process:
            seconds = _end(process, scratch / f"log-{number}", where, left)
        found.differences += resumed_elsewhere(_log(scratch, number), expected)
        if process.returncode == -signal.SIGKILL:
            found.kills.append(_kill(known, scratch, number, seconds))
            found.differences += _not_a_part(known.directory, scratch / "run")
            expected = _place(known.directory, scratch / "run")
            left = _seconds_left(known, expected)
            continue
        if process.returncode:
            found.differences.append(f"process {number} crashed: {_last_words(scratch, number)}")
        elif hold:
            raise NotReached(f"{known.name}: {hold} was not reached in {scratch}")
        break
    found.differences += differences(known.directory, scratch / "run")
    for kill in found.kills:
        kill.equal = not found.differences
    return found


def at_any_time(known: Reference, scratch: Path, number: int, seed: int) -> Iterator[Lineage]:
    """Lineages with up to three kills each, until so many kills.

    Their times are uniform over the run, and in a resumed one over what is left of it. It may be
    over before its time has come: that is no kill.
    """
    rng = random.Random(seed)
    done = 0
    for attempt in range(10 * number):
        if done >= number:
            return
        shares = [rng.random() for _ in range(1 + attempt % 3)]
        found = lineage(known, scratch / f"any-time-{attempt}", shares[: number - done])
        done += len(found.kills)
        yield found
    raise NotReached(f"{known.name}: {done} of {number} kills: its runs are over before them")


def differences(known: Path, found: Path) -> list[str]:
    """How the finished runs of two directories differ, seed by seed; wall clocks aside."""
    seeds = [folder.name for folder in _seeds(known)]
    if seeds != [folder.name for folder in _seeds(found)]:
        return [f"seeds {[folder.name for folder in _seeds(found)]} instead of {seeds}"]
    return [
        f"{seed}: {text}" for seed in seeds for text in seed_differences(known / seed, found / seed)
    ]


def seed_differences(known: Path, found: Path) -> list[str]:
    """How the finished runs of two folders differ."""
    told = []
    result = _json(found / RESULT)
    if result.get("status") != "finished":
        told.append(f"status {result.get('status')!r}")
    for key, value in _json(known / RESULT).items():
        if result.get(key) != value:
            told.append(f"{key} is {result.get(key)!r} instead of {value!r}")
    for name in (ROWS, WEIGHTS, RECIPE):
        if _bytes(known / name) != _bytes(found / name):
            told.append(f"{name} has other bytes")
    if _timed(known) != _timed(found):
        told.append(f"{TIMING} is of other updates")
    names = {path.name for path in known.iterdir()}
    for name in sorted({path.name for path in found.iterdir()} ^ names):
        kind = "draft" if DRAFT.fullmatch(name) else "file"
        told.append(f"{kind} {name} " + ("is missing" if name in names else "was left"))
    return told


@contextmanager
def _process(
    document: Document,
    scratch: Path,
    number: int,
    slow_save: float,
    hold: At | None,
    cache: Path | None,
    fills_cache: bool = False,
) -> Iterator[subprocess.Popen[bytes]]:
    recipe = scratch / "recipe.json"
    recipe.write_text(json.dumps(document))
    command = [sys.executable, str(HERE / "child.py"), str(recipe), str(scratch / "run")]
    command += [str(scratch / f"log-{number}"), "--slow-save", str(slow_save)]
    if hold:
        command += ["--hold", hold.event, str(hold.count)]
    paths = [str(ROOT), os.environ.get("PYTHONPATH", "")]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, paths))}
    environment.pop("JAX_COMPILATION_CACHE_DIR", None)
    if cache:
        environment["JAX_COMPILATION_CACHE_DIR"] = str(cache)
        # A process that may be killed only reads the cache: its files are not our concern.
        least = 0 if fills_cache else 10**6
        environment["JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS"] = str(least)
    with open(scratch / f"words-{number}", "wb") as words:
        process = subprocess.Popen(command, stdout=words, stderr=words, env=environment)
    try:
        yield process
    finally:
        if process.poll() is None:
            process.kill()
            process.wait()


def _end(
    process: subprocess.Popen[bytes], log: Path, where: float | At | None, left: float
) -> float:
    """Wait for the moment and kill, or for the end; the seconds until then."""
    begin = time.monotonic()
    if isinstance(where, At):
        _wait(process, lambda: _bytes(log).endswith(b" held\n"))
    else:
        try:
            process.wait(MOST_SECONDS if where is None else where * left)
        except subprocess.TimeoutExpired:
            pass
    process.kill()
    process.wait()
    return time.monotonic() - begin


def _wait(process: subprocess.Popen[bytes], reached: Callable[[], bool]) -> None:
    """Until it is reached, or the process is over or stuck."""
    end = time.monotonic() + MOST_SECONDS
    while not reached() and process.poll() is None and time.monotonic() < end:
        time.sleep(0.005)


def _kill(known: Reference, scratch: Path, number: int, seconds: float) -> Kill:
    """What a kill has left."""
    log = _log(scratch, number)
    # Even the interpreter may not have come as far as the first line.
    event = log[-1].removesuffix(" held") if log else "start"
    folder = _unfinished(scratch / "run", known.directory)
    files = tuple(sorted(path.name for path in folder.iterdir())) if folder.is_dir() else ()
    update = _checkpoint(folder)
    return Kill(known.name, seconds, event, CHECKPOINT in files, update, files)


def _log(scratch: Path, number: int) -> list[str]:
    return _bytes(scratch / f"log-{number}").decode().splitlines()


def _last_words(scratch: Path, number: int) -> str:
    return _bytes(scratch / f"words-{number}").decode(errors="replace")[-2000:]


def _seeds(directory: Path) -> list[Path]:
    return sorted(directory.glob("seed-*"))


def _unfinished(directory: Path, known: Path) -> Path:
    """The folder of the first seed that is not over; of the last one if all are."""
    folders = [directory / seed.name for seed in _seeds(known)]
    return next((f for f in folders if not (f / RESULT).exists()), folders[-1])


def _checkpoint(folder: Path) -> int | None:
    """The update that the folder's checkpoint is of."""
    if not (folder / CHECKPOINT).exists():
        return None
    head = json.loads(bytes(read_arrays(folder / CHECKPOINT)["head"]))
    return int(head["place"]["update"])


def _place(known: Path, directory: Path) -> tuple[int, int] | None:
    """(seed, update) of the next update after a kill; None if all are done."""
    for number, seed in enumerate(_seeds(known)):
        folder = directory / seed.name
        if (folder / RESULT).exists():
            continue
        update = _checkpoint(folder) or 0
        if update < _json(seed / RESULT)["updates"]:
            return number, update
    return None


def _seconds_left(known: Reference, place: tuple[int, int] | None) -> float:
    """About how long a run takes that goes on there."""
    updates = [_json(seed / RESULT)["updates"] for seed in _seeds(known.directory)]
    seed, update = place or (len(updates), 0)
    to_do = (sum(updates[seed:]) - update) / sum(updates)
    return known.start_seconds + to_do * (known.seconds - known.start_seconds)


def resumed_elsewhere(log: list[str], expected: tuple[int, int] | None) -> list[str]:
    """Whether a process began elsewhere than where the checkpoint is: work was lost or skipped."""
    advances = (line.split() for line in log if re.match(r"train \d", line))
    first = next(((int(words[1]), int(words[2])) for words in advances), expected)
    if first == expected:
        return []
    return [f"went on at (seed, update) {first} instead of {expected}"]


def _not_a_part(known: Path, directory: Path) -> list[str]:
    """Rows that at the kill were not the first rows of the run left alone."""
    return [
        f"{seed.name}: when killed, {ROWS} was not the beginning of the whole one"
        for seed in _seeds(known)
        if not _bytes(seed / ROWS).startswith(_bytes(directory / seed.name / ROWS))
    ]


def _timed(folder: Path) -> list[int]:
    """The updates of timing.jsonl; [] where a line is torn."""
    try:
        return [json.loads(line)["update"] for line in _bytes(folder / TIMING).splitlines()]
    except ValueError:
        return []


def _json(path: Path) -> Document:
    return dict(json.loads(_bytes(path) or b"{}"))


def _bytes(path: Path) -> bytes:
    return path.read_bytes() if path.exists() else b""
