"""Results as small HTML tables, for notebooks."""

from collections.abc import Iterable, Sequence
from html import escape
from math import isinf, isnan
from numbers import Integral
from typing import Any


def table(
    title: str, head: Sequence[str], rows: Iterable[Sequence[Any]], notes: Iterable[str] = ()
) -> str:
    """A title, a table and sentences below it; all texts are escaped.

    Args:
        rows: cells are texts, numbers (4 significant digits, whole ones in full), intervals
            (low, high), True and False, or None for what is not known.
    """
    parts = [f"<p><b>{escape(title)}</b></p>"]
    lines = "".join(_line("td", [_text(value) for value in row]) for row in rows)
    if lines:
        names = _line("th", head)
        parts.append(f"<table><thead>{names}</thead><tbody>{lines}</tbody></table>")
    listed = "".join(f"<li>{escape(note)}</li>" for note in notes if note)
    if listed:
        parts.append(f"<ul>{listed}</ul>")
    return f"<div>{''.join(parts)}</div>"


def shown_number(value: Any) -> str:
    """Four significant digits, whole numbers in full; – for what is not known."""
    if value is None or isnan(value):
        return "–"
    if isinf(value):
        return "∞" if value > 0 else "−∞"
    if isinstance(value, Integral):
        return f"{int(value):,}"
    # Rounding errors in the twelfth digit do not show.
    number = float(f"{float(value):.12g}")
    if number.is_integer() and abs(number) < 1e9:
        return f"{int(number):,}"
    rounded = f"{number:.4g}"
    return f"{float(rounded):,.0f}" if 1e4 <= abs(number) < 1e7 else rounded


def percent_text(fraction: float) -> str:
    """A share in percent: two digits, whole numbers in full."""
    percent = 100 * fraction
    return f"{percent:.2g} %" if percent < 10 else f"{percent:,.0f} %"


def scaled_text(fraction: float) -> str:
    """How much of a published protocol's examples was trained."""
    what = f"{percent_text(fraction)} of the protocol"
    return f"scaled: {what}" if fraction < 0.995 else what


def plus_minus(value: float, stderr: float | None) -> str:
    """value ± stderr, the error in two digits."""
    if stderr is None or isnan(stderr):
        return shown_number(value)
    return f"{shown_number(value)} ± {'∞' if isinf(stderr) else f'{stderr:.2g}'}"


def course(first: float, last: float, peak: float | None = None) -> str:
    """A quantity along a phase: start → peak → end, once where it does not change."""
    ends = [first, last] if peak is None or peak <= max(first, last) else [first, peak, last]
    texts = [shown_number(value) for value in ends]
    return texts[0] if len(set(texts)) == 1 else " → ".join(texts)


def _line(tag: str, texts: Sequence[str]) -> str:
    """A row; the first column is a name, what follows are numbers."""
    sides = ["left", *["right"] * (len(texts) - 1)]
    cells = zip(sides, texts, strict=True)
    made = (f'<{tag} style="text-align:{side}">{escape(text)}</{tag}>' for side, text in cells)
    return f"<tr>{''.join(made)}</tr>"


def _text(value: Any) -> str:
    if isinstance(value, str):
        return value
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, tuple):
        low, high = (shown_number(end) for end in value)
        return f"[{low}, {high}]"
    return shown_number(value)
