"""The official files of data sets, downloaded on request: resumed, checked, then put in place."""

import hashlib
import http.client
import os
import re
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from noisescale.errors import InputError, unknown_name
from noisescale.record import sole_user

# File, bytes done, total bytes or None where the server does not tell.
Report = Callable[[str, int, int | None], None]

CHUNK = 1 << 16
# Without a byte.
TIMEOUT_SECONDS = 30


@dataclass(frozen=True, slots=True)
class Source:
    """A published file.

    Args:
        path: where it goes, relative to the folder of the data.
        md5: its published checksum.
        urls: where it is published, the first to try first.
    """

    path: str
    md5: str
    urls: tuple[str, ...]


_CIFAR = "https://www.cs.toronto.edu/~kriz/"
_MNIST = (
    "https://storage.googleapis.com/cvdf-datasets/mnist/",
    "https://ossci-datasets.s3.amazonaws.com/mnist/",
)


def _cifar(file: str, md5: str) -> Source:
    return Source(file, md5, (f"{_CIFAR}{file}",))


def _mnist(file: str, md5: str) -> Source:
    return Source(f"mnist/{file}", md5, tuple(f"{mirror}{file}" for mirror in _MNIST))


SOURCES: Mapping[str, Sequence[Source]] = {
    "mnist": (
        _mnist("train-images-idx3-ubyte.gz", "f68b3c2dcbeaaa9fbdd348bbdeb94873"),
        _mnist("train-labels-idx1-ubyte.gz", "d53e105ee54ea40749a09fcbcd1e9432"),
        _mnist("t10k-images-idx3-ubyte.gz", "9fb629c4189551a2d022fa330f9573f3"),
        _mnist("t10k-labels-idx1-ubyte.gz", "ec29112dd5afa0611ce80d1b7f02629c"),
    ),
    "cifar10": (_cifar("cifar-10-binary.tar.gz", "c32a1d4ab5d03f1284b67883e8d87530"),),
    "cifar100": (_cifar("cifar-100-binary.tar.gz", "03b5dce01913d631647c71ecec9e9cb8"),),
}


class DownloadError(OSError):
    """A download that failed while running; the next call goes on with what has arrived."""


class _Refused(Exception):
    """One server did not deliver the file."""


def download(
    name: str,
    directory: str | Path,
    *,
    report: Report | None = None,
    opener: Callable[..., Any] = urllib.request.urlopen,
    sources: Mapping[str, Sequence[Source]] = SOURCES,
) -> Path:
    """Bring a data set's files into a folder; returns the folder, which the loaders take.

    What has arrived of a file is in FILE.part; the file itself appears whole and checked. One that
    is there with the published checksum is not downloaded again, one with another is replaced.

    Args:
        name: "mnist", "cifar10" or "cifar100".
        directory: made if it does not exist.
        report: called with a file, its bytes so far and its size (None if the server keeps it).
        opener: called as urllib.request.urlopen is, with a request and timeout=.

    Raises:
        InputError: an unknown name, or a folder that cannot hold the files.
        DownloadError: network, server, checksum or disk.
    """
    if name not in sources:
        raise unknown_name("data set", name, sources)
    folder = Path(directory)
    for source in sources[name]:
        _fetch(source, folder / source.path, _silent if report is None else report, opener)
    return folder


def _silent(file: str, done: int, total: int | None) -> None:
    pass


def _fetch(source: Source, target: Path, report: Report, opener: Callable[..., Any]) -> None:
    part = target.with_name(f"{target.name}.part")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(
            f"cannot make the folder {str(target.parent)!r} ({error.strerror}): give another"
        ) from None
    for path in (target, part):
        if path.exists() and not path.is_file():
            raise InputError(f"{str(path)!r} is not a file: move it away, or give another folder")
    with ExitStack() as stack:
        try:
            stack.enter_context(sole_user(target.parent))
        except InputError:
            raise DownloadError(
                f"another process is downloading into {str(target.parent)!r}: wait for it"
            ) from None
        digest, size = _digest(target)
        if digest.hexdigest() == source.md5:
            report(target.name, size, size)
            return
        refusals = []
        for url in source.urls:
            try:
                _transfer(url, part, source.md5, target.name, report, opener)
            except _Refused as error:
                refusals.append(f"{url}: {error}")
                continue
            with _disk(target):
                os.replace(part, target)
            return
    kept = part.stat().st_size if part.exists() else 0
    raise DownloadError(
        f"cannot download {target.name} ({'; '.join(refusals)}): "
        + (f"{kept:,} bytes are kept, the same command goes on" if kept else "try again")
        + f", or put the file into {str(target.parent)!r} yourself"
    )


def _transfer(
    url: str, part: Path, md5: str, file: str, report: Report, opener: Callable[..., Any]
) -> None:
    """Complete FILE.part from one server and check it."""
    digest, done = _digest(part)
    if digest.hexdigest() == md5:
        report(file, done, done)
        return
    response = _ask(url, done, opener)
    if response is None:
        # The server has nothing after these bytes, which are not the file: from the beginning.
        response = _ask(url, 0, opener)
    with response:
        if response.status != http.client.PARTIAL_CONTENT:
            digest, done = _md5(), 0
        length = response.headers.get("Content-Length", "")
        total = done + int(length) if length.isdecimal() else None
        report(file, done, total)
        with _disk(part):
            # Unbuffered, so that what was reported is in the file whatever happens next.
            out = open(part, "ab" if done else "wb", buffering=0)
        with out:
            while chunk := _read(response):
                with _disk(part):
                    _write(out, chunk)
                digest.update(chunk)
                done += len(chunk)
                report(file, done, total)
            with _disk(part):
                os.fsync(out.fileno())
    if total is not None and done < total:
        raise _Refused(f"the connection ended after {done:,} of {total:,} bytes")
    if digest.hexdigest() != md5:
        part.unlink()
        raise _Refused(
            f"its checksum (MD5) is {digest.hexdigest()}, published is {md5}: the file is removed"
        )
    if total is None:
        report(file, done, done)


def _ask(url: str, start: int, opener: Callable[..., Any]) -> Any:
    """The server's answer; None if it cannot go on from byte `start` (above 0)."""
    request = urllib.request.Request(url, headers={"User-Agent": "noisescale"})
    if start:
        request.add_header("Range", f"bytes={start}-")
    try:
        response = opener(request, timeout=TIMEOUT_SECONDS)
    except urllib.error.HTTPError as error:
        with error:
            if start and error.code == http.client.REQUESTED_RANGE_NOT_SATISFIABLE:
                return None
            raise _Refused(f"the server answers {error.code} {error.reason}") from None
    except (OSError, http.client.HTTPException) as error:
        raise _Refused(_text(error)) from None
    if response.status == http.client.PARTIAL_CONTENT:
        given = re.match(r"bytes (\d+)-", response.headers.get("Content-Range", ""))
        if not start or given is None or int(given[1]) != start:
            response.close()
            if start:
                return None
            raise _Refused("the server answers with a part that nobody asked for")
    return response


def _read(response: Any) -> bytes:
    try:
        # What has arrived, so that a connection that breaks loses none of it.
        return response.read1(CHUNK)
    except (OSError, http.client.HTTPException) as error:
        raise _Refused(_text(error)) from None


def _write(out: Any, chunk: bytes) -> None:
    """All of a chunk: an unbuffered file may take less than it is given."""
    rest = memoryview(chunk)
    while rest:
        rest = rest[out.write(rest) :]


def _text(error: Exception) -> str:
    reason = getattr(error, "reason", None) or error
    return " ".join(str(getattr(reason, "strerror", None) or reason or "no answer").split())


@contextmanager
def _disk(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise DownloadError(
            f"cannot write {str(path)!r} ({error.strerror or error}): once that is mended the same "
            "command goes on"
        ) from None


def _md5() -> Any:
    # A fingerprint here: systems that forbid MD5 for security allow it.
    return hashlib.md5(usedforsecurity=False)


def _digest(path: Path) -> tuple[Any, int]:
    """MD5 and size of what a file holds, if it exists."""
    digest = _md5()
    if not path.exists():
        return digest, 0
    size = 0
    with open(path, "rb") as file:
        while chunk := file.read(1 << 20):
            digest.update(chunk)
            size += len(chunk)
    return digest, size
