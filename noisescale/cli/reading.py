"""What commands that read measured runs share: column names, and a bar for long logs."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from time import monotonic
from typing import TYPE_CHECKING

from noisescale.errors import InputError, shown, unknown_name

if TYPE_CHECKING:
    from rich.progress import Progress

# Seconds without a word.
PATIENCE = 2.0


@contextmanager
def reading() -> Iterator[Callable[[int], None]]:
    """A function that is told of bytes read; a bar on standard error once that takes long."""
    begun, read = monotonic(), 0
    bar: Progress | None = None

    def report(count: int) -> None:
        nonlocal bar, read
        read += count
        if bar is None and monotonic() - begun >= PATIENCE:
            from noisescale.cli.progress import counting

            bar = counting("MB")
            bar.add_task("reading", total=None)
            bar.start()
        if bar is not None:
            bar.update(bar.task_ids[0], completed=read >> 20)

    try:
        yield report
    finally:
        if bar is not None:
            bar.stop()


def renamed(texts: Sequence[str], wanted: Iterable[str]) -> dict[str, str]:
    """Columns of the wanted quantities: their own names, or as QUANTITY=COLUMN says."""
    columns = {name: name for name in wanted}
    for text in texts:
        quantity, equals, column = text.partition("=")
        if not (quantity and equals and column):
            raise InputError(f"--columns {shown(text)}: write QUANTITY=COLUMN")
        if quantity not in columns:
            raise unknown_name("quantity in --columns", quantity, columns)
        if columns[quantity] != quantity:
            raise InputError(f"--columns names {quantity} twice: {columns[quantity]} and {column}")
        columns[quantity] = column
    return columns
