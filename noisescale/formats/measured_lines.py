"""Lines of JSON or CSV, one at a time; broken ones are named, a last one may be cut off."""

import csv
import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from noisescale.errors import InputError, shown

# A record of a large network with all its probes has lines of some 100 kB.
LONGEST_LINE = 2**22
_REPORTED = 2**20
_JSON_ENDINGS = (".jsonl", ".ndjson", ".json")


@dataclass(frozen=True, slots=True)
class Line:
    """A line and its fields: JSON values, or the texts of a CSV file."""

    number: int
    fields: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class CutOff:
    """The last line of a file that is still being written, or whose writer was killed."""

    number: int


def read_lines(
    path: Path, report: Callable[[int], None] = lambda read: None
) -> Iterator[Line | CutOff]:
    """The lines of a file, JSON if its name or its first byte says so, else CSV with a header.

    Args:
        report: hears how many bytes were read since it was last called.

    Raises:
        InputError: a line that is too long, not UTF-8 or not as the others.
    """
    with open(path, "rb") as file:
        texts = _texts(path, file, report)
        first = next(texts, None)
        if first is None:
            return
        number, text, whole = first
        if path.suffix.lower() in _JSON_ENDINGS or text.lstrip()[0] in "{[":
            yield _json_line(path, *first)
            for number, text, whole in texts:
                yield _json_line(path, number, text, whole)
            return
        header, delimiter = _header(path, number, text)
        for number, text, whole in texts:
            yield _csv_line(path, number, text, whole, header, delimiter)


def _texts(path: Path, file: Any, report: Callable[[int], None]) -> Iterator[tuple[int, str, bool]]:
    """(line number, text, ends in a newline) of the lines that are not blank."""
    number = unreported = 0
    while line := file.readline(LONGEST_LINE + 1):
        number += 1
        unreported += len(line)
        if unreported >= _REPORTED:
            report(unreported)
            unreported = 0
        if len(line) > LONGEST_LINE:
            raise InputError(
                f"{path}: line {number} is longer than {LONGEST_LINE >> 20} MB: "
                "give a file with one measurement a line"
            )
        whole = line.endswith(b"\n")
        # A last line may be cut inside a letter.
        strict = "strict" if whole or number == 1 else "replace"
        try:
            text = line.decode("utf-8-sig" if number == 1 else "utf-8", strict).rstrip("\r\n")
        except UnicodeDecodeError:
            raise InputError(
                f"{path}: line {number} is not UTF-8 text: save it as UTF-8, or give another file"
            ) from None
        if text.strip():
            yield number, text, whole


def _json_line(path: Path, number: int, text: str, whole: bool) -> Line | CutOff:
    try:
        fields = json.loads(text)
    except (ValueError, RecursionError):
        if not whole and number > 1:
            return CutOff(number)
        raise InputError(f"{path}: line {number} is not JSON: {shown(text)}") from None
    if not isinstance(fields, dict):
        raise InputError(
            f"{path}: line {number} is not a JSON object but {shown(fields)}: write one object, "
            '{"epoch": 1, ...}, per line'
        )
    return Line(number, fields)


def _header(path: Path, number: int, text: str) -> tuple[list[str], str]:
    """The names of the columns and what parts them."""
    delimiter = max(",;\t", key=text.count)
    names = [name.strip() for name in _fields(path, number, text, delimiter)]
    for name in names:
        if _is_number(name):
            raise InputError(
                f"{path}: line {number} has to name the columns, as epoch,loss; it holds "
                f"{shown(text)}"
            )
        if name and names.count(name) > 1:
            raise InputError(f"{path}: line {number} names the column {shown(name)} twice")
    return names, delimiter


def _csv_line(
    path: Path, number: int, text: str, whole: bool, header: list[str], delimiter: str
) -> Line | CutOff:
    fields = _fields(path, number, text, delimiter)
    if len(fields) != len(header):
        if not whole and len(fields) < len(header):
            return CutOff(number)
        raise InputError(
            f"{path}: line {number} has {len(fields)} fields, the header {len(header)}: "
            f"{shown(text)}"
        )
    return Line(number, {name: field for name, field in zip(header, fields, strict=True) if name})


def _fields(path: Path, number: int, text: str, delimiter: str) -> list[str]:
    if '"' not in text:
        return text.split(delimiter)
    try:
        return next(csv.reader([text], delimiter=delimiter, strict=True))
    except csv.Error as error:
        raise InputError(f"{path}: line {number} is not CSV ({error}): {shown(text)}") from None


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True
