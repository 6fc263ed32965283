"""Independent parts of a computation on several threads, stopped together."""

import itertools
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from typing import TypeVar

from noisescale.analysis.checks import positive_integer
from noisescale.cores import usable_cores

Part = TypeVar("Part")
Result = TypeVar("Result")


class _StoppedError(Exception):
    """Another part has failed, or the caller was interrupted."""


def slices(count: int, size: int) -> list[slice]:
    """0 … count−1 in slices of at most `size` that differ by at most 1."""
    parts = max(1, -(-count // size))
    cuts = [count * k // parts for k in range(parts + 1)]
    return [slice(a, b) for a, b in itertools.pairwise(cuts)]


def thread_count(threads: int | None) -> int:
    """As asked for, or the cores that this process may use."""
    if threads is not None:
        return positive_integer("threads", threads)
    return usable_cores()


def in_threads(
    work: Callable[[Part, Callable[[], None]], Result], parts: Sequence[Part], threads: int
) -> list[Result]:
    """[work(part, go_on) for part in parts].

    Args:
        work: calls `go_on()` now and then, which raises once another part has failed or the
            caller was interrupted.
    """
    stop = threading.Event()

    def go_on() -> None:
        if stop.is_set():
            raise _StoppedError

    if threads == 1 or len(parts) == 1:
        return [work(part, go_on) for part in parts]
    with ThreadPoolExecutor(min(threads, len(parts))) as pool:
        jobs = [pool.submit(work, part, go_on) for part in parts]
        try:
            for job in as_completed(jobs):
                job.result()
        except BaseException:
            stop.set()
            pool.shutdown(wait=False, cancel_futures=True)
            raise
    return [job.result() for job in jobs]
