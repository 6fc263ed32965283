"""What the benchmarks of training share: alternating rounds, quartiles, memory, workers."""

import json
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

MIB = 1 << 20


def seconds(work: Callable[[], object]) -> float:
    """Wall time of one call."""
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def alternating(cases: dict[str, Callable[[], object]], rounds: int) -> dict[str, list[float]]:
    """Seconds of every case, one call each in every round; a first round, which compiles, is left
    out."""
    times: dict[str, list[float]] = {name: [] for name in cases}
    for _ in range(rounds + 1):
        for name, work in cases.items():
            times[name].append(seconds(work))
    return {name: measured[1:] for name, measured in times.items()}


def ratios(over: list[float], under: list[float]) -> list[float]:
    """Round by round: what slows a whole round down cancels."""
    return [a / b for a, b in zip(over, under, strict=True)]


def told(values: list[float], digits: int = 2) -> str:
    """Median and quartiles."""
    if len(values) == 1:
        return f"{values[0]:.{digits}f}"
    low, middle, high = (f"{q:.{digits}f}" for q in statistics.quantiles(values, n=4))
    return f"{middle} ({low} – {high})"


def at_least(bound: float, values: list[float]) -> tuple[str, str]:
    """(the target, what was measured and whether it missed)."""
    missed = statistics.median(values) < bound
    return f"at least {bound:g} times", told(values) + (": missed" if missed else "")


def at_most(bound: float, values: list[float]) -> tuple[str, str]:
    """(the target, what was measured and whether it missed)."""
    missed = statistics.median(values) > bound
    return f"at most {bound:g} times", told(values, 3) + (": missed" if missed else "")


def row(*cells: str) -> str:
    """A row of a Markdown table."""
    return f"| {' | '.join(cells)} |"


def heading(*cells: str) -> str:
    """The head of a Markdown table."""
    return f"{row(*cells)}\n|{'---|' * len(cells)}"


TARGETS_HEADING = heading("benchmark", "ours", "peer", "target", "measured")


def _status(field: str) -> int | None:
    """Bytes of a line of the process's status, on Linux."""
    try:
        text = Path("/proc/self/status").read_text()
    except OSError:
        return None
    return 1024 * int(text.partition(f"{field}:")[2].split()[0])


def resident() -> int:
    """Bytes that the process holds now (where the system does not say: at most so far)."""
    return _status("VmRSS") or peak()


def peak() -> int:
    """The most bytes that the process has held.

    On Linux a child's ru_maxrss begins at its parent's size, so it is read from where the child
    counts by itself.
    """
    unit = 1 if sys.platform == "darwin" else 1024
    return _status("VmHWM") or unit * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def forget_peak() -> bool:
    """Counts the peak anew from here on; whether the system can."""
    try:
        Path("/proc/self/clear_refs").write_text("5")
    except OSError:
        return False
    return True


class WorkerError(RuntimeError):
    """A worker could not do what it was asked, or is gone."""


class Worker:
    """A process that is asked in lines of JSON, and does nothing in between.

    Args:
        arguments: of this interpreter.
    """

    def __init__(self, *arguments: str, environment: dict[str, str] | None = None) -> None:
        self._process = subprocess.Popen(
            [sys.executable, *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=environment,
        )

    def ask(self, **question: Any) -> dict[str, Any]:
        """Its answer.

        Raises:
            WorkerError: with what it says.
        """
        assert self._process.stdin and self._process.stdout
        try:
            self._process.stdin.write(json.dumps(question) + "\n")
            self._process.stdin.flush()
        except BrokenPipeError:
            pass
        line = self._process.stdout.readline()
        if not line:
            raise WorkerError(f"the worker ended with status {self._process.wait()}")
        answer = json.loads(line)
        if "error" in answer:
            raise WorkerError(answer["error"])
        return answer

    def end(self) -> None:
        """Closes its input, at which it ends."""
        assert self._process.stdin
        self._process.stdin.close()
        self._process.wait()
