"""A training run that writes down where it is, so that it can be killed there.

    child.py RECIPE.json DIRECTORY LOG [--slow-save SECONDS] [--hold EVENT COUNT]

A line of LOG is an event: the phase the run is in (start, train, evaluate, probe, save, finish or
done) and what happens there, such as "save half checkpoint.npz". noisescale knows nothing of this:
its functions are wrapped in this process alone.
"""

import argparse
import functools
import os
import tempfile
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

# A process that is held and never killed ends by itself.
HELD_SECONDS = 120


class Diary:
    """Writes down every event at once; may linger at some of them.

    Args:
        slow_save: seconds to wait inside every write of a checkpoint or of results.
        hold: the event ("save half") at whose `count`-th time the process stays until it is killed.
    """

    def __init__(self, path: str, slow_save: float, hold: str, count: int) -> None:
        self._file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
        self._slow_save, self._hold, self._count = slow_save, hold.split(), count
        self.phase, self.outer = "start", "start"
        self.draft = ""

    def mark(self, *details: object) -> None:
        """A line with the phase and the details."""
        words = [self.phase, *map(str, details)]
        if self._hold and words[: len(self._hold)] == self._hold:
            self._count -= 1
            if not self._count:
                words.append("held")
        os.write(self._file, (" ".join(words) + "\n").encode())
        if words[-1] == "held":
            time.sleep(HELD_SECONDS)
            os._exit(1)

    def mark_file(self, what: str, path: object) -> None:
        """A line about a file, while it is being written."""
        self.mark(what, Path(str(path)).name)
        if self.phase in ("save", "finish"):
            time.sleep(self._slow_save)

    def wrap(self, owner: Any, name: str, phase: str) -> None:
        """Calls of this method are that phase."""
        method = getattr(owner, name)

        @functools.wraps(method)
        def wrapped(*args: Any, **options: Any) -> Any:
            self.phase = phase
            self.mark()
            found = method(*args, **options)
            if phase == "finish":
                # What comes next is the start of the next seed.
                self.outer = "start"
            self.phase = self.outer
            self.mark()
            return found

        setattr(owner, name, wrapped)


class Halves:
    """A file that is written in two halves, with an event between them."""

    def __init__(self, file: Any, name: str, diary: Diary) -> None:
        self._file, self._name, self._diary = file, name, diary

    def __getattr__(self, name: str) -> Any:
        return getattr(self._file, name)

    def __enter__(self) -> "Halves":
        return self

    def __exit__(self, *problem: object) -> None:
        self._file.close()

    def write(self, content: bytes) -> None:
        middle = len(content) // 2
        self._file.write(content[:middle])
        self._file.flush()
        self._diary.mark_file("half", self._name)
        self._file.write(content[middle:])


class WatchedOs:
    """The module os, with events where a file is written, replaced or cut."""

    def __init__(self, diary: Diary) -> None:
        self._diary = diary

    def __getattr__(self, name: str) -> Any:
        return getattr(os, name)

    def fdopen(self, handle: int, mode: str) -> Halves:
        return Halves(os.fdopen(handle, mode), self._diary.draft, self._diary)

    def replace(self, draft: Any, path: Any) -> None:
        self._diary.mark_file("written", path)
        os.replace(draft, path)
        self._diary.mark_file("replaced", path)

    def truncate(self, path: Any, length: int) -> None:
        os.truncate(path, length)
        self._diary.mark_file("cut", path)


def watch(diary: Diary) -> None:
    """Wrap what marks the phases of a run, and everything that writes its files."""
    from noisescale import record
    from noisescale.training.measurements import Measurements
    from noisescale.training.probes import Probes
    from noisescale.training.run import Trainer

    diary.wrap(Measurements, "_evaluated", "evaluate")
    diary.wrap(Measurements, "_probed", "probe")
    diary.wrap(record.RunFolder, "save", "save")
    diary.wrap(record.RunFolder, "finish", "finish")
    advance, measure = Trainer._advance, Probes.loss_and_error

    def advanced(self: Any, progress: Any, *rest: Any) -> Any:
        diary.phase = diary.outer = "train"
        diary.mark(progress.seed, progress.update)
        return advance(self, progress, *rest)

    def measured(*args: Any) -> Any:
        found = measure(*args)
        diary.mark("middle")
        return found

    Trainer._advance, Probes.loss_and_error = advanced, measured  # type: ignore[method-assign]

    def make_draft(prefix: str, dir: Any) -> tuple[int, str]:
        diary.draft = prefix.strip(".-")
        return tempfile.mkstemp(prefix=prefix, dir=dir)

    def open_watched(path: Any, mode: str) -> Any:
        file = open(path, mode)
        return Halves(file, Path(path).name, diary) if "a" in mode else file

    record.os = WatchedOs(diary)  # type: ignore[assignment]
    record.tempfile = SimpleNamespace(mkstemp=make_draft)  # type: ignore[assignment]
    record.open = open_watched  # type: ignore[attr-defined]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    for name in ("recipe", "directory", "log"):
        parser.add_argument(name)
    parser.add_argument("--slow-save", type=float, default=0.0)
    parser.add_argument("--hold", nargs=2, default=("", "0"))
    given = parser.parse_args()
    event, count = given.hold
    diary = Diary(given.log, given.slow_save, event, int(count))
    diary.mark()
    watch(diary)
    from noisescale.training.train import train

    train(given.recipe, given.directory)
    diary.phase = "done"
    diary.mark()


if __name__ == "__main__":
    main()
