"""Small tables on the terminal."""

from collections.abc import Iterable, Sequence

from rich import box
from rich.table import Table


def table(
    head: Sequence[str], rows: Iterable[Sequence[str]], right: set[int] | None = None
) -> Table:
    """A plain table; columns in `right` are aligned to the right."""
    built = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for number, name in enumerate(head):
        justify = "right" if right and number in right else "left"
        built.add_column(name, justify=justify, overflow="fold")  # type: ignore[arg-type]
    for row in rows:
        built.add_row(*row)
    return built


def numbers(values: Iterable[float]) -> str:
    """A phase-by-phase quantity, written once where it does not change."""
    listed = [f"{v:,}" if isinstance(v, int) else f"{v:.4g}" for v in values]
    if len(set(listed)) == 1:
        return listed[0]
    if len(listed) > 6:
        return f"{listed[0]} → {listed[-1]}"
    return " → ".join(listed)
