"""Small tables on the terminal."""

from collections.abc import Iterable, Sequence

from rich import box
from rich.console import Console
from rich.table import Table


class Output(Console):
    """Standard output for people; a reader that leaves early is no error."""

    def __init__(self) -> None:
        super().__init__(highlight=False)

    def on_broken_pipe(self) -> None:
        raise BrokenPipeError


def table(
    head: Sequence[str],
    rows: Iterable[Sequence[str]],
    right: set[int] | None = None,
    fold_names: bool = False,
    whole: set[int] | None = None,
) -> Table:
    """A plain table; columns in `right` are aligned to the right.

    Args:
        fold_names: the first column may be broken over lines.
        whole: further columns that are not.
    """
    built = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for number, name in enumerate(head):
        justify = "right" if right and number in right else "left"
        # Numbers to the right and names to the left of a table are never broken.
        kept = {*(right or ()), *(whole or ()), *(() if fold_names else (0,))}
        built.add_column(
            name,
            justify=justify,  # type: ignore[arg-type]
            overflow="fold",
            no_wrap=number in kept and len(head) > 3,
        )
    for row in rows:
        built.add_row(*row)
    return built


def number(value: float) -> str:
    """Four significant digits; rounding errors in the twelfth do not show."""
    return f"{float(f'{value:.12g}'):.4g}"


def numbers(values: Iterable[float]) -> str:
    """A phase-by-phase quantity, written once where it does not change."""
    listed = [f"{v:,}" if isinstance(v, int) else number(v) for v in values]
    if len(set(listed)) == 1:
        return listed[0]
    if len(listed) > 6:
        return f"{listed[0]} → {listed[-1]}"
    return " → ".join(listed)
