"""Measured runs read back: run folders, JSON lines and CSV files of any trainer."""

import json
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from os import PathLike
from pathlib import Path
from types import MappingProxyType
from typing import Any

from noisescale.analysis.run_groups.runs import MeasuredRun as MeasuredRun
from noisescale.errors import InputError, shown, unknown_name
from noisescale.formats.measured_lines import CutOff, Line, read_lines
from noisescale.formats.measured_table import Array, Table, as_number

ROWS, RECIPE, RESULT = "rows.jsonl", "recipe.json", "result.json"
RECORD_SCHEMA = "noisescale.record/"
MOST_RUNS = 10_000
# Settings of a run, which a file of another trainer may hold as columns.
SETTINGS = ("batch_size", "learning_rate", "momentum", "train_size")
# Names of columns remembered for error messages.
_MOST_NAMES = 1000


def read_runs(
    paths: str | PathLike[str] | Sequence[str | PathLike[str]],
    *,
    clock: str,
    columns: Mapping[str, str],
    optional: Mapping[str, str] = MappingProxyType({}),
    others: bool = False,
    seed_column: str | None = None,
    group_column: str | None = None,
    report: Callable[[int], None] = lambda read: None,
) -> list[MeasuredRun]:
    """Runs from files and folders, in the order given; memory is bounded for files of any length.

    A run is a folder with rows.jsonl, a folder of such folders (a run each), a file of one JSON
    object per line, or a CSV file with a header (comma, semicolon or tab). Null and empty fields
    are what was not measured. Lines at the same clock value are one measurement. Above a million
    rows a run is thinned evenly in the logarithm of the clock, and its notes say so.

    Args:
        clock: the quantity that orders the rows.
        columns: wanted quantity -> the column that holds it; "a.b" also reaches into objects. The
            clock's column has the clock's name unless it stands here.
        optional: likewise, of quantities that a run may lack.
        others: read all other columns of numbers too, under their own names.
        seed_column: tells several runs in one file apart.
        group_column: does so as well, and its value becomes the run's `group`.
        report: hears of every megabyte how many bytes were read.

    Raises:
        InputError: no such file, no rows, a broken line, a clock that falls or stands still, an
            unknown column, a wanted quantity that is no number, or not finite for a while.
    """
    if isinstance(paths, str | PathLike):
        paths = [paths]
    if not paths:
        raise InputError("no runs given: name run folders, .jsonl or .csv files")
    both = {**optional, **columns}
    wanted = {quantity: column for quantity, column in both.items() if quantity != clock}
    labels = (group_column, seed_column)
    given = tuple(label for label in labels if label is not None)
    runs: list[MeasuredRun] = []
    sources = [s for path in paths for s in _sources(Path(path))]
    for source, times in Counter(source.resolve() for source in sources).items():
        if times > 1 and not source.is_fifo() and not source.is_char_device():
            raise InputError(f"{shown(str(source))} is given twice: a run counts once")
    for source in sources:

        def table(path: Path) -> Table:
            known = None if others else SETTINGS
            clock_column = columns.get(clock, clock)
            return Table(
                str(path), (clock, clock_column), wanted, known, given, frozenset(optional)
            )

        runs += _read(source, labels, table, len(runs), report)
    return runs


def run_folders(path: Path) -> list[Path]:
    """The folder itself if it is a run's, or the run folders in it.

    Raises:
        InputError: neither it nor a folder in it has rows.jsonl.
    """
    try:
        if (path / ROWS).exists():
            return [path]
        found = sorted(child for child in path.iterdir() if (child / ROWS).exists())
    except OSError as error:
        raise InputError(f"cannot read {shown(str(path))}: {error.strerror}") from None
    if not found:
        raise InputError(
            f"folder {str(path)!r} holds no run: neither it nor a folder in it has {ROWS}"
        )
    return found


def facts_of(folder: Path) -> dict[str, Any]:
    """What a run folder's recipe and result say; nothing if another program wrote the folder.

    Returns:
        seed, replica, train_size, unfinished and diverged; batch_size, learning_rate and momentum,
        None where they change.

    Raises:
        InputError: a damaged file, or the recipe of something else.
    """
    recipe, result = _object(folder / RECIPE), _object(folder / RESULT)
    if recipe is None:
        return {}
    identity: Any = recipe.get("identity")
    try:
        facts = {name: identity[name] for name in ("seed", "train_size")}
        facts["replica"] = identity["recipe"]["run"]["replica"]
        phases = identity["recipe"]["schedule"]["phases"]
        for name in ("batch_size", "learning_rate", "momentum"):
            values = [phase[name] for phase in phases]
            same = all(v == values[0] and not isinstance(v, dict) for v in values)
            facts[name] = as_number(values[0]) if same else None
    except (KeyError, TypeError, IndexError, ValueError):
        raise InputError(
            f"{str(folder / RECIPE)!r} is not that of a training run: give its {ROWS} itself"
        ) from None
    facts["unfinished"] = result is None
    facts["diverged"] = result is not None and result.get("status") == "diverged"
    return facts


def _sources(path: Path) -> list[Path]:
    """The file, or the run folders that the path stands for."""
    try:
        if not path.is_dir():
            if not path.exists():
                raise InputError(f"no file or folder {shown(str(path))}")
            return [path]
    except OSError as error:
        raise InputError(f"cannot read {shown(str(path))}: {error.strerror}") from None
    return run_folders(path)


def _read(
    source: Path,
    labels: Sequence[str | None],
    new: Callable[[Path], Table],
    before: int,
    report: Callable[[int], None],
) -> list[MeasuredRun]:
    """All runs of a file or of a run folder; `before` were read already."""
    folder = source.is_dir()
    path = source / ROWS if folder else source
    facts = facts_of(source) if folder else {}
    tables: dict[tuple[int | str | None, ...], Table] = {}
    names: dict[str, None] = {}
    cut: CutOff | None = None
    try:
        for line in read_lines(path, report):
            if isinstance(line, CutOff):
                cut = line
                continue
            if not names.keys() >= line.fields.keys() and len(names) < _MOST_NAMES:
                names |= dict.fromkeys(line.fields)
            key = tuple(_label(path, line, column) for column in labels)
            if key not in tables:
                if len(tables) + before >= MOST_RUNS:
                    raise InputError(
                        f"{path}: line {line.number}: more than {MOST_RUNS:,} runs: is "
                        f"{' or '.join(filter(None, labels)) or 'this'} a label of runs?"
                    )
                tables[key] = new(path)
            tables[key].add(line, len(tables) + before)
    except OSError as error:
        raise InputError(f"cannot read {shown(str(path))}: {error.strerror}") from None
    if not tables:
        raise InputError(f"{str(path)!r} holds no rows")
    seen = set().union(*(table.seen for table in tables.values()))
    for column in next(iter(tables.values())).needed:
        if column not in seen:
            unknown = unknown_name("column", column, names)
            raise InputError(f"{path}: {unknown}; say what it is called with --columns (columns=)")
    return [
        _run(table, source, key, cut, facts, several=len(tables) > 1)
        for key, table in tables.items()
    ]


def _label(path: Path, line: Line, column: str | None) -> int | str | None:
    """What tells the line's run from others in its file."""
    if column is None:
        return None
    value = line.fields.get(column)
    if value is None or not str(value).strip():
        if column not in line.fields:
            error = unknown_name("column", column, line.fields)
            raise InputError(f"{path}: line {line.number}: {error}")
        raise InputError(f"{path}: line {line.number}: {column} is empty, so its run is unknown")
    text = str(value).strip()
    return int(text) if text.isascii() and text.isdigit() and len(text) < 19 else text


def _run(
    table: Table,
    source: Path,
    key: Sequence[int | str | None],
    cut: CutOff | None,
    facts: Mapping[str, Any],
    several: bool,
) -> MeasuredRun:
    """The run of a table, with what its folder or its columns say about it."""
    group, seed = key
    labels = [str(label) for label in key if label is not None] if several else []
    name = " ".join([str(source), *labels])
    columns, notes, diverged = table.finish(name)
    settings = {k: facts[k] if k in facts else _constant(columns.get(k)) for k in SETTINGS}
    train_size = settings.pop("train_size")
    unfinished = bool(facts.get("unfinished"))
    if cut is not None:
        notes += (f"line {cut.number}, the last one, is cut off and was left out",)
    if unfinished:
        notes += ("the run is not over",)
    if facts.get("diverged") and not diverged:
        last = columns[table.clock]
        notes += (f"diverged after {table.clock} {last[-1]:g}" if len(last) else "diverged",)
    return MeasuredRun(
        name,
        columns,
        seed=facts.get("seed") if seed is None else seed,
        group=None if group is None else str(group),
        replica=facts.get("replica"),
        train_size=None if train_size is None else int(train_size),
        diverged=diverged or bool(facts.get("diverged")),
        truncated=cut is not None or unfinished,
        notes=notes,
        **settings,
    )


def _constant(column: Array | None) -> float | None:
    """The one value of a column, if there is one."""
    values = [] if column is None else column[column == column]
    return float(values[0]) if len(values) and (values == values[0]).all() else None


def _object(path: Path) -> dict[str, Any] | None:
    """A record's JSON file; None if there is none."""
    try:
        found = json.loads(path.read_bytes())
    except FileNotFoundError:
        return None
    except OSError as error:
        raise InputError(f"cannot read {shown(str(path))}: {error.strerror}") from None
    except (ValueError, RecursionError):
        raise InputError(f"{str(path)!r} is damaged: it is not JSON") from None
    schema = found.get("schema") if isinstance(found, dict) else None
    if not isinstance(schema, str) or not schema.startswith(RECORD_SCHEMA):
        raise InputError(f"{str(path)!r} has schema {shown(schema)}: it is no run's")
    return found
