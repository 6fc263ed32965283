"""A run on disk: recipe, provenance and measurements, written whole or not at all."""

import hashlib
import json
import os
import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

SCHEMA = "noisescale.record/1"


@dataclass(frozen=True, slots=True)
class Record:
    """One seed of one recipe.

    Args:
        identity: everything that decides the numbers (recipe, seed, data, versions, device).
        status: "finished" or "diverged".
        rows: measurements in order of updates.
    """

    identity: dict[str, Any]
    status: str
    rows: tuple[dict[str, Any], ...]

    @property
    def run_id(self) -> str:
        """SHA-256 of the identity as canonical JSON."""
        return run_id(self.identity)


def run_id(identity: dict[str, Any]) -> str:
    """SHA-256 of an identity as canonical JSON."""
    text = json.dumps(identity, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()


def write_record(folder: Path, record: Record) -> None:
    """Write recipe.json and rows.jsonl into `folder`; a reader sees all of it or nothing."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    draft = Path(tempfile.mkdtemp(prefix=f".{folder.name}-", dir=folder.parent))
    try:
        rows = "".join(
            json.dumps({k: finite(v) for k, v in row.items()}) + "\n" for row in record.rows
        )
        head = {
            "schema": SCHEMA,
            "identity": record.identity,
            "status": record.status,
            "rows_sha256": hashlib.sha256(rows.encode()).hexdigest(),
        }
        (draft / "recipe.json").write_text(json.dumps(head, indent=2, allow_nan=False) + "\n")
        (draft / "rows.jsonl").write_bytes(rows.encode())
        if folder.is_dir():
            shutil.rmtree(folder)
        else:
            folder.unlink(missing_ok=True)
        os.replace(draft, folder)
    except BaseException:
        shutil.rmtree(draft, ignore_errors=True)
        raise


def read_record(folder: Path, identity: dict[str, Any]) -> Record | None:
    """The record in `folder` if it is a whole one of this identity, else None."""
    try:
        head = json.loads((folder / "recipe.json").read_text("utf-8"))
        if head["schema"] != SCHEMA or run_id(head["identity"]) != run_id(identity):
            return None
        rows = (folder / "rows.jsonl").read_bytes()
        if hashlib.sha256(rows).hexdigest() != head["rows_sha256"]:
            return None
        lines = rows.decode().splitlines()
        return Record(head["identity"], head["status"], tuple(json.loads(line) for line in lines))
    except (OSError, ValueError, KeyError, TypeError):
        return None


def write_text(path: Path, text: str) -> None:
    """Replace a file in one step."""
    write_bytes(path, text.encode("utf-8"))


def write_bytes(path: Path, content: bytes) -> None:
    """Replace a file in one step."""
    handle, draft = tempfile.mkstemp(prefix=f".{path.name}-", dir=path.parent)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
        os.chmod(draft, 0o644)
        os.replace(draft, path)
    except BaseException:
        Path(draft).unlink(missing_ok=True)
        raise


def finite(value: Any) -> Any:
    """Seven significant digits (more than float32 holds); None for NaN and infinities."""
    if not isinstance(value, float):
        return value
    return float(f"{value:.7g}") if abs(value) < float("inf") else None
