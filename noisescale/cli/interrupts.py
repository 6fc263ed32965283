"""Ctrl-C and SIGTERM as a wish to stop at the next checkpoint."""

import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any


@contextmanager
def stop_wish() -> Iterator[Callable[[], bool]]:
    """A function that tells whether a stop was asked for; a second Ctrl-C stops at once."""
    wished = False

    def hear(number: int, frame: Any) -> None:
        nonlocal wished
        if wished and number == signal.SIGINT:
            raise KeyboardInterrupt
        wished = True

    former = {number: signal.signal(number, hear) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield lambda: wished
    finally:
        for number, handler in former.items():
            signal.signal(number, handler)
