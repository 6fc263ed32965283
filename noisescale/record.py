"""A run on disk: what decides it, its measurements, and the point from which it goes on.

A run's folder holds recipe.json (its identity), rows.jsonl (measurements, a line each),
timing.jsonl (wall-clock), provenance.json, while it runs checkpoint.npz, and when it is over
result.json and, where wanted, weights.npz.
"""

import hashlib
import html
import io
import json
import os
import tempfile
import zipfile
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from noisescale.errors import InputError, shown

SCHEMA = "noisescale.record/2"
CHECKPOINT_SCHEMA = "noisescale.checkpoint/1"
RECIPE, ROWS, TIMING = "recipe.json", "rows.jsonl", "timing.jsonl"
RESULT, CHECKPOINT, WEIGHTS = "result.json", "checkpoint.npz", "weights.npz"
PROVENANCE = "provenance.json"
STATUSES = ("finished", "diverged")

Arrays = dict[str, NDArray[Any]]


@dataclass(frozen=True, slots=True)
class Record:
    """One seed of one recipe, or several seeds with their rows one after the other.

    Args:
        identity: everything that decides the numbers (recipe, seed, data, versions, device).
        status: "finished" or "diverged" (at least one seed).
        rows: measurements in order of updates; NaN and infinities are None.
    """

    identity: dict[str, Any]
    status: str
    rows: tuple[dict[str, Any], ...]

    @property
    def run_id(self) -> str:
        """SHA-256 of the identity as canonical JSON."""
        return run_id(self.identity)

    def to_dict(self) -> dict[str, Any]:
        """All fields and the run's id as strict JSON."""
        fields = {"run_id": self.run_id, "identity": self.identity, "status": self.status}
        return {**fields, "rows": [finite(row) for row in self.rows]}

    def _repr_html_(self) -> str:
        last = self.rows[-1] if self.rows else {}
        cells = [("status", self.status), ("rows", len(self.rows)), *last.items()]
        lines = "".join(
            f"<tr><th>{html.escape(str(k))}</th><td>{html.escape(str(v))}</td></tr>"
            for k, v in cells
        )
        title = html.escape(f"Record {self.run_id[:12]}: status, rows and the last row")
        return f"<div><p><b>{title}</b></p><table>{lines}</table></div>"

    def plot(self) -> Any:
        """Loss, error, distance and update norm of a training run, on a new figure's panels."""
        from noisescale.plots import run_figure

        return run_figure(self.rows, f"run {self.run_id[:12]}").axes


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A point from which a run goes on.

    Args:
        arrays: weights, optimizer and statistics, by their path in the training state.
        place: counters of the run, such as update and examples.
        rows: measurements up to here.
    """

    arrays: Arrays
    place: dict[str, Any]
    rows: tuple[dict[str, Any], ...]


def run_id(identity: Mapping[str, Any]) -> str:
    """SHA-256 of an identity as canonical JSON."""
    text = json.dumps(identity, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()


class RunFolder:
    """A run's folder: written so that it can be stopped at any moment, even while writing.

    Every file is replaced in one step, except rows.jsonl and timing.jsonl, which grow; a
    checkpoint names the length and SHA-256 of the rows that belong to it, and `resume` cuts what
    came after.

    Args:
        folder: made when the run begins.
        identity: everything that decides the run's numbers.
    """

    def __init__(self, folder: Path, identity: dict[str, Any]) -> None:
        self.folder, self.identity = folder, json.loads(json.dumps(identity))
        self._written = 0
        self._hash = hashlib.sha256()

    def finished(self) -> Record | None:
        """The record, if the run is over and whole.

        Raises:
            InputError: the folder holds another run, or files of an unknown schema.
        """
        known = self._check_identity()
        result = self._read_json(RESULT) if known else None
        if result is None:
            return None
        path = self.folder / RESULT
        _check_fields(path, result, {"rows_bytes": int, "rows_sha256": str, "updates": int})
        if result.get("status") not in STATUSES:
            raise InputError(f"{str(path)!r} is damaged: status {shown(result.get('status'))}")
        rows = self._read_rows(result["rows_bytes"], result["rows_sha256"], whole=True)
        if "weights_sha256" in result:
            weights = self.folder / WEIGHTS
            if sha256_of(read_arrays(weights)) != result["weights_sha256"]:
                raise InputError(f"{str(weights)!r} is damaged: its weights are not those recorded")
        # What a process killed at its very end has left.
        (self.folder / CHECKPOINT).unlink(missing_ok=True)
        self._remove_drafts()
        return Record(self.identity, result["status"], rows)

    def resume(self) -> Checkpoint | None:
        """The last checkpoint, with rows.jsonl cut to it; None if the run has none.

        Raises:
            InputError: the folder holds another run or a damaged checkpoint; nothing is changed.
        """
        self._check_identity()
        path = self.folder / CHECKPOINT
        if not path.exists():
            return None
        arrays = read_arrays(path)
        try:
            head = json.loads(bytes(arrays.pop("head")).decode())
            schema = head["schema"]
        except (KeyError, ValueError, TypeError, RecursionError):
            raise InputError(f"{str(path)!r} is not a checkpoint of noisescale") from None
        _check_schema(path, schema, CHECKPOINT_SCHEMA)
        texts = {"identity": str, "rows_sha256": str, "arrays_sha256": str}
        numbers = {"rows_bytes": int, "timing_bytes": int}
        _check_fields(path, head, {**texts, **numbers, "place": dict})
        if head["identity"] != run_id(self.identity):
            raise InputError(f"{str(path)!r} is the checkpoint of another recipe or seed")
        if sha256_of(arrays) != head["arrays_sha256"]:
            raise InputError(
                f"{str(path)!r} is damaged: its arrays have changed; remove it to start the run "
                "again from its beginning"
            )
        rows = self._read_rows(head["rows_bytes"], head["rows_sha256"])
        self._remove_drafts()
        for name, length in ((ROWS, head["rows_bytes"]), (TIMING, head["timing_bytes"])):
            if _size(self.folder / name) > length:
                os.truncate(self.folder / name, length)
        text = (self.folder / ROWS).read_bytes() if rows else b""
        self._written, self._hash = len(rows), hashlib.sha256(text)
        return Checkpoint(arrays, head["place"], rows)

    def begin(self, provenance: Mapping[str, Any]) -> None:
        """Make the folder and write what is known beforehand; an earlier try is removed."""
        self.folder.mkdir(parents=True, exist_ok=True)
        self._remove_drafts()
        # The former recipe.json goes last: what is left after a kill is still known to be a run's.
        for name in (RESULT, CHECKPOINT, WEIGHTS, ROWS, TIMING):
            (self.folder / name).unlink(missing_ok=True)
        _write_json(self.folder / PROVENANCE, {"schema": SCHEMA, **provenance})
        _write_json(self.folder / RECIPE, {"schema": SCHEMA, "identity": self.identity})
        self._written, self._hash = 0, hashlib.sha256()

    def add_rows(self, rows: tuple[dict[str, Any], ...]) -> None:
        """Append what is new in all of the run's rows."""
        text = _lines(rows[self._written :])
        if text:
            with open(self.folder / ROWS, "ab") as file:
                file.write(text)
            self._hash.update(text)
            self._written = len(rows)

    def add_timing(self, timing: Mapping[str, Any]) -> None:
        """Append a line of wall-clock measurements."""
        with open(self.folder / TIMING, "ab") as file:
            file.write(_lines([timing]))

    def save(self, arrays: Arrays, place: Mapping[str, Any]) -> None:
        """Replace the checkpoint; the rows added so far belong to it and are on the disk first."""
        for name in (ROWS, TIMING):
            _to_disk(self.folder / name)
        head = {
            "schema": CHECKPOINT_SCHEMA,
            "identity": run_id(self.identity),
            "place": dict(place),
            "arrays_sha256": sha256_of(arrays),
            **self._rows_seal(),
            "timing_bytes": _size(self.folder / TIMING),
        }
        text = np.frombuffer(json.dumps(head, allow_nan=False).encode(), np.uint8)
        write_bytes(self.folder / CHECKPOINT, pack({**arrays, "head": text}))

    def finish(
        self, status: str, weights: Arrays | None = None, *, updates: int, **more: Any
    ) -> Record:
        """Write result.json (and weights.npz), remove the checkpoint; the record of the run."""
        if weights is not None:
            write_bytes(self.folder / WEIGHTS, pack(weights))
        _to_disk(self.folder / ROWS)
        head = {"schema": SCHEMA, "status": status, "updates": updates}
        result = {**head, **self._rows_seal(), **more}
        _write_json(self.folder / RESULT, result)
        (self.folder / CHECKPOINT).unlink(missing_ok=True)
        rows = self._read_rows(result["rows_bytes"], result["rows_sha256"])
        return Record(self.identity, status, rows)

    def reopen(self) -> tuple[dict[str, Any], ...]:
        """Take a finished run up again: its rows stay, result.json goes."""
        record = self.finished()
        if record is None:
            raise InputError(f"{str(self.folder)!r} holds no finished run")
        self._written = len(record.rows)
        self._hash = hashlib.sha256((self.folder / ROWS).read_bytes() if record.rows else b"")
        self.save({}, {})
        (self.folder / RESULT).unlink()
        return record.rows

    def _remove_drafts(self) -> None:
        """Files that a killed process was writing."""
        for draft in self.folder.glob(".*-????????"):
            draft.unlink(missing_ok=True)

    def _rows_seal(self) -> dict[str, Any]:
        return {"rows_bytes": _size(self.folder / ROWS), "rows_sha256": self._hash.hexdigest()}

    def _check_identity(self) -> bool:
        """Whether the folder holds this run; InputError if it holds another one."""
        head = self._read_json(RECIPE)
        if head is None:
            for name in (CHECKPOINT, RESULT, WEIGHTS, ROWS):
                if (self.folder / name).exists():
                    raise InputError(
                        f"{str(self.folder)!r} has {name} but no {RECIPE}, so nobody knows of what "
                        "run: choose another folder"
                    )
            return False
        _check_fields(self.folder / RECIPE, head, {"identity": dict})
        if head.get("identity") != self.identity:
            what = difference(head.get("identity"), self.identity)
            raise InputError(
                f"{str(self.folder)!r} holds a run of another recipe ({what}): choose another "
                "folder, or begin anew there (resume=False, --fresh)"
            )
        return True

    def _read_json(self, name: str) -> dict[str, Any] | None:
        path = self.folder / name
        try:
            found = json.loads(path.read_text("utf-8"))
        except FileNotFoundError:
            return None
        except NotADirectoryError:
            raise InputError(f"{str(self.folder)!r} is a file: choose another folder") from None
        except (ValueError, RecursionError):
            raise InputError(f"{str(path)!r} is damaged: it is not JSON") from None
        except OSError as error:
            raise InputError(f"cannot read {shown(str(path))}: {error.strerror}") from None
        if not isinstance(found, dict):
            raise InputError(f"{str(path)!r} is damaged: it is not a JSON object")
        _check_schema(path, found.get("schema"), SCHEMA)
        return found

    def _read_rows(
        self, length: int, sha256: str, whole: bool = False
    ) -> tuple[dict[str, Any], ...]:
        """The rows in the first so many bytes, which may be all there are."""
        path = self.folder / ROWS
        text = b""
        try:
            if path.exists():
                with open(path, "rb") as file:
                    text = file.read(length)
        except OSError as error:
            raise InputError(f"cannot read {shown(str(path))}: {error.strerror}") from None
        if whole and _size(path) != length:
            raise InputError(f"{str(path)!r} is damaged: it has grown since the run was over")
        if len(text) != length or hashlib.sha256(text).hexdigest() != sha256:
            raise InputError(f"{str(path)!r} is damaged: its first {length:,} bytes have changed")
        return tuple(json.loads(line) for line in text.decode().splitlines())


@contextmanager
def sole_user(folder: Path) -> Iterator[None]:
    """Keep other processes from writing to a folder; the lock goes with the process.

    Raises:
        InputError: another process has it.
    """
    try:
        import fcntl
    except ImportError:  # no such locks on this platform
        yield
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise InputError(
                f"another process is writing to {str(folder)!r}: wait for it, or choose another "
                "folder"
            ) from None
        except OSError:  # a file system without locks
            pass
        yield
    finally:
        os.close(handle)


def difference(former: Any, now: Any, path: str = "") -> str:
    """The first key in which two identities differ, as "key: former, now new"."""
    if isinstance(former, dict) and isinstance(now, dict):
        for key in [*now, *(k for k in former if k not in now)]:
            if former.get(key) != now.get(key):
                inner = f"{path}.{key}" if path else key
                return difference(former.get(key), now.get(key), inner)
    if isinstance(former, list) and isinstance(now, list):
        for number, (a, b) in enumerate(zip(former, now, strict=False)):
            if a != b:
                return difference(a, b, f"{path}[{number}]")
    return f"{path}: {shown(former)} there, {shown(now)} here"


def _check_fields(path: Path, document: Mapping[str, Any], wanted: Mapping[str, type]) -> None:
    for key, kind in wanted.items():
        value = document.get(key)
        whole = kind is int and (isinstance(value, bool) or not isinstance(value, int) or value < 0)
        if whole or not isinstance(value, kind):
            raise InputError(f"{str(path)!r} is damaged: {key} is {shown(value)}")


def _check_schema(path: Path, found: object, known: str) -> None:
    if found != known:
        raise InputError(
            f"{str(path)!r} has schema {shown(found)}; this version of noisescale reads {known!r}"
        )


def read_arrays(path: Path) -> Arrays:
    """The arrays of an .npz file; InputError if it is damaged."""
    try:
        found = np.load(io.BytesIO(path.read_bytes()), allow_pickle=False)
        if isinstance(found, np.ndarray):
            raise ValueError("one array")
        with found as file:
            return {name: file[name] for name in file.files}
    except OSError as error:
        raise InputError(f"cannot read {shown(str(path))}: {error.strerror or error}") from None
    except (ValueError, KeyError, EOFError, zipfile.BadZipFile, NotImplementedError):
        raise InputError(
            f"{str(path)!r} is damaged: remove it to start the run again from its beginning"
        ) from None


def pack(arrays: Arrays) -> bytes:
    """An .npz file as bytes, the same for the same arrays."""
    buffer = io.BytesIO()
    np.savez(buffer, **arrays)  # type: ignore[arg-type]
    return buffer.getvalue()


def sha256_of(arrays: Arrays) -> str:
    """SHA-256 over names, types, shapes and bytes, in order of names."""
    digest = hashlib.sha256()
    for name in sorted(arrays):
        array = np.ascontiguousarray(arrays[name])
        digest.update(f"{name} {array.dtype} {array.shape}\n".encode())
        digest.update(array.tobytes())
    return digest.hexdigest()


def _lines(rows: Iterable[Mapping[str, Any]]) -> bytes:
    return "".join(json.dumps(finite(row), allow_nan=False) + "\n" for row in rows).encode()


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0


def _to_disk(path: Path) -> None:
    if path.exists():
        with open(path, "rb") as file:
            os.fsync(file.fileno())


def _write_json(path: Path, document: Mapping[str, Any]) -> None:
    write_text(path, json.dumps(document, indent=1, allow_nan=False) + "\n")


def write_text(path: Path, text: str) -> None:
    """Replace a file in one step."""
    write_bytes(path, text.encode("utf-8"))


def write_bytes(path: Path, content: bytes) -> None:
    """Replace a file in one step: after a crash it is the old one or the new one, whole."""
    handle, draft = tempfile.mkstemp(prefix=f".{path.name}-", dir=path.parent)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.chmod(draft, 0o644)
        os.replace(draft, path)
    except BaseException:
        Path(draft).unlink(missing_ok=True)
        raise
    if os.name == "posix":
        folder = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)


def finite(value: Any) -> Any:
    """Seven significant digits (more than float32 holds); None for NaN and infinities."""
    if isinstance(value, Mapping):
        return {key: finite(v) for key, v in value.items()}
    if isinstance(value, list | tuple):
        return [finite(v) for v in value]
    if not isinstance(value, float):
        return value
    return float(f"{value:.7g}") if abs(value) < float("inf") else None
