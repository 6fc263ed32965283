"""How many cores this process may compute on."""

import os


def usable_cores() -> int:
    """Cores that the scheduler gives this process: XLA computes with as many threads."""
    try:
        return len(os.sched_getaffinity(0))
    except AttributeError:  # not on every system
        return os.cpu_count() or 1
