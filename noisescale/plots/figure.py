"""Figures without pyplot: panels, legends, colours, ticks, files."""

from collections.abc import Callable
from io import BytesIO
from pathlib import Path
from typing import Any

import matplotlib
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

from noisescale.errors import InputError

# Okabe & Ito's colours, told apart by colour-blind readers too.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000", "#8A8A00")
STYLES: tuple[Any, ...] = ("-", (0, (5, 2)), (0, (1, 1.5)), (0, (6, 2, 1, 2)))


# So many lines of a legend fit below the panels without taking their room.
LEGEND_LINES = 6


class ShownFigure(Figure):
    """A figure that a notebook shows without pyplot."""

    def _repr_png_(self) -> bytes:
        buffer = BytesIO()
        self.savefig(buffer, format="png", dpi=100)
        return buffer.getvalue()


def new_figure(rows: int, columns: int, *, title: str) -> Figure:
    """An empty figure of panels with one legend below them."""
    size = (4.4 * columns, 3.4 * rows + 0.8)
    figure = ShownFigure(figsize=size, layout="constrained")
    figure.subplots(rows, columns)
    figure.suptitle(title, fontsize=11)
    return figure


def add_legend(figure: Figure, columns: int = 3) -> None:
    """One legend for all panels, from the first one; the figure grows if it has many lines."""
    handles, labels = figure.axes[0].get_legend_handles_labels()
    lines = -(-len(labels) // columns)
    if lines > LEGEND_LINES:
        width, height = figure.get_size_inches()
        figure.set_size_inches(width, height + 0.22 * (lines - LEGEND_LINES))
    figure.legend(handles, labels, loc="outside lower center", ncols=columns, frameon=False)


def check_ending(path: Path) -> str:
    """The format that a file's ending names; InputError if it is none that can be drawn."""
    kind = path.suffix.lstrip(".").lower()
    if kind not in ("png", "pdf", "svg"):
        raise InputError(f"cannot draw {str(path)!r}: end the name in .png, .pdf or .svg")
    return kind


def check_target(path: Path) -> None:
    """InputError if a figure cannot be written there: its ending, or its folder."""
    check_ending(path)
    if not path.parent.is_dir():
        raise InputError(f"no folder {str(path.parent)!r} for the figure: make it first")


def save(figure: Figure, path: Path) -> None:
    """Write PNG, PDF or SVG by the file's ending; the file appears whole or not at all."""
    from noisescale.record import write_bytes

    check_target(path)
    kind = check_ending(path)
    buffer = BytesIO()
    # Dates and hashes would make equal figures differ.
    metadata: dict[str, Any] = {"png": {"Software": None}, "pdf": {"CreationDate": None}}.get(
        kind, {"Date": None}
    )
    with matplotlib.rc_context({"svg.hashsalt": "noisescale"}):
        figure.savefig(buffer, format=kind, dpi=150, metadata=metadata)
    try:
        write_bytes(path, buffer.getvalue())
    except OSError as error:
        raise InputError(f"cannot write {str(path)!r}: {error.strerror}") from None


def save_png_and_pdf(figure: Figure, folder: Path, name: str) -> list[Path]:
    """Write FOLDER/NAME.png and .pdf; the folder is made. The files written."""
    folder.mkdir(parents=True, exist_ok=True)
    targets = [folder / f"{name}.{ending}" for ending in ("png", "pdf")]
    for target in targets:
        save(figure, target)
    return targets


def plain_ticks(ax: Axes, text: Callable[[float, int | None], str]) -> None:
    """1, 2, 5, 10 … in plain numbers on a logarithmic axis of few decades; 1, 10, … on others."""
    low, high = ax.get_ylim()
    ax.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5) if high < 300 * low else (1,)))
    ax.yaxis.set_major_formatter(FuncFormatter(text))
    ax.yaxis.set_minor_formatter(NullFormatter())


def plain_clock(ax: Axes) -> None:
    """Ticks of a logarithmic x axis that do not overlap, whatever its span."""
    low, high = ax.get_xlim()
    ax.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5) if high < 30 * low else (1,)))
    ax.xaxis.set_minor_formatter(NullFormatter())


def colour(number: int) -> str:
    """The colour of a line by its number."""
    return COLOURS[number % len(COLOURS)]
