"""The progress bar of long work, on standard error."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.progress import Progress


def counting(what: str) -> "Progress":
    """A bar of so many `what`, which may name fields of its task, with the time that is left."""
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )

    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn(what),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(compact=True),
        console=Console(stderr=True),
    )


def stop(bar: "Progress") -> None:
    """End a bar; one that never started would still end the line."""
    if bar.live.is_started:
        bar.stop()
