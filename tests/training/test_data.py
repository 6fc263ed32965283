import gzip
import struct

import numpy as np
import pytest

from noisescale import InputError
from noisescale.recipe import DataConfig
from noisescale.training.data import load_dataset
from noisescale.training.data.digits import digits_split, load_digits
from noisescale.training.data.mnist import FILES, read_idx


def idx(array):
    head = struct.pack(f">BBBB{array.ndim}I", 0, 0, 8, array.ndim, *array.shape)
    return head + array.astype(np.uint8).tobytes()


@pytest.fixture
def mnist(tmp_path):
    """A small data set in MNIST's format: two files compressed, two not."""
    rng = np.random.default_rng(0)
    arrays = {}
    for split, n in (("train", 20), ("test", 6)):
        images, labels = rng.integers(0, 256, (n, 4, 4)), np.arange(n) % 10
        for name, array in zip(FILES[split], (images, labels), strict=True):
            if split == "train":
                (tmp_path / f"{name}.gz").write_bytes(gzip.compress(idx(array)))
            else:
                (tmp_path / name).write_bytes(idx(array))
            arrays[name] = array
    return tmp_path, arrays


def test_digits_split_is_the_published_one():
    order = digits_split()
    assert sorted(order) == list(range(1797))
    assert list(order[:5]) == [259, 1676, 563, 1463, 1441]
    (x, y), (xt, yt) = load_digits()
    assert x.shape == (1437, 8, 8, 1) and xt.shape == (360, 8, 8, 1)
    assert x.min() == 0 and x.max() == 1 and x.dtype == np.float32
    assert np.bincount(y, minlength=10).min() > 100 and np.bincount(yt, minlength=10).min() > 20


def test_mnist_files(mnist):
    folder, arrays = mnist
    data = load_dataset(DataConfig(name="mnist"), folder)
    np.testing.assert_array_equal(
        np.rint(data.train_inputs * 255).reshape(20, 4, 4), arrays[FILES["train"][0]]
    )
    np.testing.assert_array_equal(data.train_labels, arrays[FILES["train"][1]])
    np.testing.assert_array_equal(data.evaluation_labels, arrays[FILES["test"][1]])
    assert data.evaluation_split == "test"
    assert data.train_inputs.max() <= 1


def test_mnist_in_a_folder_of_that_name(mnist, monkeypatch, tmp_path_factory):
    folder, _ = mnist
    parent = tmp_path_factory.mktemp("data")
    (parent / "mnist").symlink_to(folder)
    assert load_dataset(DataConfig(name="mnist"), parent).train_size == 20
    monkeypatch.setenv("NOISESCALE_DATA", str(parent))
    assert load_dataset(DataConfig(name="mnist")).train_size == 20


def test_subset_and_validation(mnist):
    folder, arrays = mnist
    labels = arrays[FILES["train"][1]]
    data = load_dataset(DataConfig(name="mnist", subset=12, validation=4), folder)
    assert data.evaluation_split == "validation"
    np.testing.assert_array_equal(data.train_labels, labels[:8])
    np.testing.assert_array_equal(data.evaluation_labels, labels[8:12])
    whole = load_dataset(DataConfig(name="mnist"), folder)
    assert data.fingerprint != whole.fingerprint
    for bad in ({"subset": 21}, {"validation": 20}, {"subset": 5, "validation": 5}):
        with pytest.raises(InputError, match="training example"):
            load_dataset(DataConfig(name="mnist", **bad), folder)


def test_mnist_not_found(tmp_path, monkeypatch):
    monkeypatch.delenv("NOISESCALE_DATA", raising=False)
    with pytest.raises(InputError, match="--data-dir"):
        load_dataset(DataConfig(name="mnist"))
    with pytest.raises(InputError, match="no folder"):
        load_dataset(DataConfig(name="mnist"), tmp_path / "none")
    with pytest.raises(InputError, match="no train-images"):
        load_dataset(DataConfig(name="mnist"), tmp_path)


def test_a_missing_file(mnist):
    folder, _ = mnist
    (folder / FILES["test"][1]).unlink()
    with pytest.raises(InputError, match="no t10k-labels"):
        load_dataset(DataConfig(name="mnist"), folder)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "not an IDX file"),
        (b"\x00\x00\x0d\x01\x00\x00\x00\x01\x00", "not an IDX file"),
        (b"<html>", "not an IDX file"),
        (b"\x00\x00\x08\x03\x00\x00", "truncated in its header"),
        (idx(np.zeros((3, 2, 2)))[:-1], "holds 11 bytes of data, its header says 12"),
        (idx(np.zeros((3, 2, 2))) + b"x", "holds 13 bytes"),
    ],
)
def test_malformed_idx(tmp_path, content, message):
    path = tmp_path / "file"
    path.write_bytes(content)
    with pytest.raises(InputError, match=message):
        read_idx(path)


def test_malformed_gzip(tmp_path):
    path = tmp_path / "file.gz"
    for content in (b"plain", gzip.compress(idx(np.zeros(4)))[:-9]):
        path.write_bytes(content)
        with pytest.raises(InputError, match="truncated or not gzip"):
            read_idx(path)


def test_images_and_labels_that_do_not_belong_together(mnist):
    folder, _ = mnist
    (folder / FILES["test"][1]).write_bytes(idx(np.zeros(5)))
    with pytest.raises(InputError, match="do not belong together"):
        load_dataset(DataConfig(name="mnist"), folder)
    (folder / FILES["test"][1]).write_bytes(idx(np.full(6, 10)))
    with pytest.raises(InputError, match="go up to 10"):
        load_dataset(DataConfig(name="mnist"), folder)
