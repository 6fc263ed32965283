"""MNIST from its four IDX files, compressed or not."""

import gzip
import os
import struct
import zlib
from math import prod
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from noisescale.errors import InputError

Arrays = tuple[NDArray[np.float32], NDArray[np.int32]]

FILES = {
    "train": ("train-images-idx3-ubyte", "train-labels-idx1-ubyte"),
    "test": ("t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte"),
}


def load_mnist(data_dir: Path | None) -> tuple[Arrays, Arrays]:
    """((train images (N, 28, 28, 1), labels), (test images, labels)), pixels divided by 255.

    Args:
        data_dir: the folder with the four files, or its parent with a folder "mnist"; by default
            the environment variable NOISESCALE_DATA.

    Raises:
        InputError: a folder or file that is missing, truncated or not IDX.

    Source: LeCun, Cortes & Burges 1998.
    """
    folder = _folder(data_dir)
    train, test = (_split(folder, name) for name in ("train", "test"))
    if train[0].shape[1:] != test[0].shape[1:]:
        raise InputError(f"{str(folder)!r}: training and test images differ in size")
    return train, test


def _folder(data_dir: Path | None) -> Path:
    if data_dir is None:
        named = os.environ.get("NOISESCALE_DATA")
        if not named:
            raise InputError(
                "MNIST needs its four IDX files: give their folder with --data-dir, or in the "
                "environment variable NOISESCALE_DATA"
            )
        data_dir = Path(named)
    if not data_dir.is_dir():
        raise InputError(f"no folder {str(data_dir)!r}: give the folder of MNIST's IDX files")
    first = FILES["train"][0]
    for folder in (data_dir, data_dir / "mnist"):
        if any((folder / f"{first}{ending}").exists() for ending in ("", ".gz")):
            return folder
    raise InputError(f"no {first}(.gz) in {str(data_dir)!r} or its folder mnist")


def _split(folder: Path, name: str) -> Arrays:
    images, labels = (read_idx(_existing(folder, file)) for file in FILES[name])
    if images.ndim != 3 or labels.ndim != 1 or len(images) != len(labels):
        raise InputError(
            f"{str(folder)!r}: {name} images {images.shape} and labels {labels.shape} do not "
            "belong together"
        )
    if labels.max(initial=0) > 9:
        raise InputError(f"{str(folder)!r}: {name} labels go up to {labels.max()}, MNIST's to 9")
    return images[..., None].astype(np.float32) / np.float32(255), labels.astype(np.int32)


def _existing(folder: Path, file: str) -> Path:
    for ending in ("", ".gz"):
        if (folder / f"{file}{ending}").exists():
            return folder / f"{file}{ending}"
    raise InputError(f"no {file}(.gz) in {str(folder)!r}")


def read_idx(path: Path) -> NDArray[np.uint8]:
    """An IDX file of unsigned bytes: 0, 0, 8, number of dimensions, sizes, data, big-endian."""
    try:
        raw = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
    except (EOFError, zlib.error, gzip.BadGzipFile):
        raise InputError(f"{str(path)!r} is truncated or not gzip: download it again") from None
    if len(raw) < 4 or raw[:3] != b"\x00\x00\x08" or not 1 <= raw[3] <= 4:
        raise InputError(f"{str(path)!r} is not an IDX file of bytes: download it again")
    start = 4 + 4 * raw[3]
    if len(raw) < start:
        raise InputError(f"{str(path)!r} is truncated in its header: download it again")
    shape = struct.unpack(f">{raw[3]}I", raw[4:start])
    if len(raw) != start + prod(shape):
        raise InputError(
            f"{str(path)!r} holds {len(raw) - start} bytes of data, its header says "
            f"{prod(shape)}: download it again"
        )
    return np.frombuffer(raw, np.uint8, offset=start).reshape(shape)
