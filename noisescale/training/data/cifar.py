"""CIFAR-10 and CIFAR-100 from their official binary version, unpacked or not."""

import gzip
import os
import tarfile
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import numpy as np
from numpy.typing import NDArray

from noisescale.errors import InputError, unknown_name

Arrays = tuple[NDArray[np.uint8], NDArray[np.int32]]

HOME = "https://www.cs.toronto.edu/~kriz/cifar.html"
SIDE = 32
PLANE = SIDE * SIDE


@dataclass(frozen=True, slots=True, kw_only=True)
class Format:
    """The files of a data set: records of label bytes and 3 planes of 32×32 bytes, row by row.

    Args:
        archive, folder: of the binary version.
        pickled: archive and folder of the Python version.
        label_values: how many values each label byte has; the last byte is the class.
    """

    title: str
    archive: str
    folder: str
    pickled: tuple[str, str]
    train: tuple[str, ...]
    test: str
    label_values: tuple[int, ...]

    @property
    def files(self) -> tuple[str, ...]:
        """Training files in order, then the test file."""
        return (*self.train, self.test)


FORMATS = {
    "cifar10": Format(
        title="CIFAR-10",
        archive="cifar-10-binary.tar.gz",
        folder="cifar-10-batches-bin",
        pickled=("cifar-10-python.tar.gz", "cifar-10-batches-py"),
        train=tuple(f"data_batch_{k}.bin" for k in range(1, 6)),
        test="test_batch.bin",
        label_values=(10,),
    ),
    "cifar100": Format(
        title="CIFAR-100",
        archive="cifar-100-binary.tar.gz",
        folder="cifar-100-binary",
        pickled=("cifar-100-python.tar.gz", "cifar-100-python"),
        train=("train.bin",),
        test="test.bin",
        label_values=(20, 100),
    ),
}


def load_cifar(name: str, data_dir: Path | None) -> tuple[Arrays, Arrays]:
    """((train images (N, 32, 32, 3), labels), (test images, labels)), pixels as bytes.

    Args:
        name: "cifar10", or "cifar100" with its 100 fine labels.
        data_dir: the archive, the folder it unpacks to, or a folder with one of them, directly or
            in a folder of the data set's name; by default the environment variable
            NOISESCALE_DATA.

    Raises:
        InputError: a folder or file that is missing, unreadable, truncated or of another format.

    Source: Krizhevsky 2009, Learning Multiple Layers of Features from Tiny Images.
    """
    if name not in FORMATS:
        raise unknown_name("data set", name, FORMATS)
    form = FORMATS[name]
    try:
        place = _place(name, _given(form, data_dir))
        unpacked = place.is_dir() and place.name != form.archive
        read = _read_folder if unpacked else _read_archive
        records = read(form, place)
    except PermissionError as error:
        where = error.filename or data_dir
        raise InputError(f"no permission to read {str(where)!r}: change it (chmod)") from None
    return _arrays(records[:-1]), _arrays(records[-1:])


def _given(form: Format, data_dir: Path | None) -> Path:
    named = data_dir or os.environ.get("NOISESCALE_DATA")
    if not named:
        raise InputError(
            f"{form.title} needs {form.archive} or the folder it unpacks to: give where it lies "
            "with --data-dir, or in the environment variable NOISESCALE_DATA"
        )
    return Path(named)


def _place(name: str, given: Path) -> Path:
    """The folder of the binary version, or its archive."""
    form = FORMATS[name]
    if not given.exists():
        raise InputError(
            f"no folder or file {str(given)!r}: give the folder of {form.folder}, or of "
            f"{form.archive} from {HOME}"
        )
    if not given.is_dir():
        if given.name in form.pickled:
            raise _pickled(form, given)
        return given
    for parent in (given, given / name):
        if parent.name == form.folder:
            return parent
        if (parent / form.folder).is_dir():
            return parent / form.folder
        if (parent / form.archive).exists():
            return parent / form.archive
        if any((parent / file).exists() for file in form.files):
            return parent
    for path in (given, *(parent / p for parent in (given, given / name) for p in form.pickled)):
        if path.name in form.pickled and path.exists():
            raise _pickled(form, path)
    raise InputError(
        f"no folder {form.folder} and no {form.archive} in {str(given)!r} or its folder {name}: "
        f"download {form.archive} from {HOME}"
    )


def _pickled(form: Format, path: Path) -> InputError:
    return InputError(
        f"{str(path)!r} is the Python version of {form.title}, whose pickles can run any code when "
        f"read: download the binary version, {form.archive}, from {HOME}"
    )


def _read_folder(form: Format, folder: Path) -> list[NDArray[np.uint8]]:
    records = []
    for file in form.files:
        path = folder / file
        if not path.exists():
            raise InputError(f"no {file} in {str(folder)!r}: unpack {form.archive} again")
        if not path.is_file():
            raise InputError(f"{str(path)!r} is not a file: unpack {form.archive} again")
        records.append(_records(form, repr(str(path)), np.fromfile(path, np.uint8)))
    return records


def _read_archive(form: Format, path: Path) -> list[NDArray[np.uint8]]:
    if not path.is_file():
        raise InputError(f"{str(path)!r} is not a file: give {form.archive} from {HOME}")
    try:
        found = _members(form, path)
    except (EOFError, zlib.error, gzip.BadGzipFile, tarfile.TarError):
        raise InputError(
            f"{str(path)!r} is truncated, damaged or not a compressed archive: download "
            f"{form.archive} again from {HOME}"
        ) from None
    records = []
    for file in form.files:
        member = f"{form.folder}/{file}"
        if file not in found:
            raise InputError(f"no {member} in {str(path)!r}: give {form.archive} from {HOME}")
        raw = np.frombuffer(found.pop(file), np.uint8)
        records.append(_records(form, f"{member} in {str(path)!r}", raw))
    return records


def _members(form: Format, path: Path) -> dict[str, bytes]:
    """The data set's files in an archive, which is read once, from its beginning to its end."""
    found = {}
    with gzip.open(path) as stream:
        with tarfile.open(fileobj=stream, mode="r|") as archive:
            for member in archive:
                parts = PurePosixPath(member.name).parts
                if form.pickled[1] in parts:
                    raise _pickled(form, path)
                if parts[-2:-1] != (form.folder,) or parts[-1] not in form.files:
                    continue
                content = archive.extractfile(member) if member.isreg() else None
                if content is None:
                    raise InputError(f"{member.name} in {str(path)!r} is not a file")
                found[parts[-1]] = content.read()
        # gzip compares its checksum where the stream ends, tarfile stops before.
        while stream.read(1 << 20):
            pass
    return found


def _records(form: Format, where: str, raw: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """A file's bytes as one row a record, once they are known to be the data set's."""
    size = len(form.label_values) + 3 * PLANE
    if not len(raw):
        raise InputError(f"{where} is empty: download {form.archive} again from {HOME}")
    count, over = divmod(len(raw), size)
    if over:
        raise InputError(
            f"{where} holds {count} records of {size} bytes and {over} bytes over: it is truncated "
            f"or not {form.title}'s; download {form.archive} again from {HOME}"
        )
    records = raw.reshape(count, size)
    for byte, values in enumerate(form.label_values):
        labels = records[:, byte]
        if labels.max() >= values:
            first = int(np.argmax(labels >= values))
            raise InputError(
                f"{where}: record {first} (from 0) has {labels[first]} for label byte {byte}, "
                f"{form.title}'s go to {values - 1}: it is probably another data set's file"
            )
    return records


def _arrays(files: Sequence[NDArray[np.uint8]]) -> Arrays:
    """The images, channels last, and the labels of several files."""
    count = sum(len(records) for records in files)
    images = np.empty((count, PLANE, 3), np.uint8)
    labels = np.empty(count, np.int32)
    start = 0
    for records in files:
        stop = start + len(records)
        before = records.shape[1] - 3 * PLANE
        labels[start:stop] = records[:, before - 1]
        # Plane by plane, which is half the time of one transposed copy.
        for channel in range(3):
            first = before + channel * PLANE
            images[start:stop, :, channel] = records[:, first : first + PLANE]
        start = stop
    return images.reshape(count, SIDE, SIDE, 3), labels
