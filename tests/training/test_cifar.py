import gzip
import io
import os
import tarfile

import numpy as np
import pytest

from noisescale import InputError
from noisescale.training.data.cifar import FORMATS, load_cifar

# Files of different lengths: an order or an offset that is wrong shows.
SIZES = {"cifar10": (4, 1, 3, 2, 5, 3), "cifar100": (6, 4)}
CASES = [(name, file) for name, form in FORMATS.items() for file in form.files]


def made(name):
    """File -> (images (n, 32, 32, 3), label bytes (n, 1 or 2))."""
    form, rng = FORMATS[name], np.random.default_rng(7)
    found = {}
    for file, n in zip(form.files, SIZES[name], strict=True):
        labels = np.stack([rng.integers(0, values, n) for values in form.label_values], 1)
        found[file] = rng.integers(0, 256, (n, 32, 32, 3)), labels
    return found


def packed(images, labels):
    """Records as the data sets' home page has them, byte by byte."""
    out = bytearray()
    for image, label in zip(images, labels, strict=True):
        out += bytes(int(byte) for byte in label)
        for channel in range(3):
            for row in range(32):
                out += bytes(int(image[row, column, channel]) for column in range(32))
    return bytes(out)


@pytest.fixture(scope="module")
def files():
    return {
        name: {file: packed(*arrays) for file, arrays in made(name).items()} for name in FORMATS
    }


@pytest.fixture(params=FORMATS)
def name(request):
    return request.param


def written(folder, contents):
    folder.mkdir(parents=True)
    for file, content in contents.items():
        (folder / file).write_bytes(content)
    return folder


def archived(path, contents, prefix):
    """A .tar.gz with the files in backward order, between others."""
    path.parent.mkdir(parents=True, exist_ok=True)
    inside = [(f"{prefix}{file}", content) for file, content in reversed(contents.items())]
    decoys = [(f"other/{file}", b"") for file in contents]
    with tarfile.open(path, "w:gz") as archive:
        for name, content in [(f"{prefix}readme.html", b"<p>"), *inside, *decoys]:
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return path


def repacked(path, change):
    """The archive with its uncompressed bytes changed."""
    path.write_bytes(gzip.compress(change(gzip.decompress(path.read_bytes()))))


def check(name, loaded):
    contents = list(made(name).values())
    for (images, labels), parts in zip(loaded, (contents[:-1], contents[-1:]), strict=True):
        assert images.dtype == np.uint8 and labels.dtype == np.int32
        np.testing.assert_array_equal(images, np.concatenate([part[0] for part in parts]))
        np.testing.assert_array_equal(labels, np.concatenate([part[1][:, -1] for part in parts]))


def refused(name, where, *words):
    with pytest.raises(InputError) as caught:
        load_cifar(name, where)
    text = str(caught.value)
    assert "\n" not in text
    for word in words:
        assert word in text, text


def test_the_published_layout():
    """As on the data sets' home page; the other tests take it from the code."""
    ten, hundred = FORMATS["cifar10"], FORMATS["cifar100"]
    assert (ten.archive, ten.folder) == ("cifar-10-binary.tar.gz", "cifar-10-batches-bin")
    assert ten.train == (
        "data_batch_1.bin", "data_batch_2.bin", "data_batch_3.bin", "data_batch_4.bin",
        "data_batch_5.bin",
    )  # fmt: skip
    assert (ten.test, ten.label_values) == ("test_batch.bin", (10,))
    assert ten.pickled == ("cifar-10-python.tar.gz", "cifar-10-batches-py")
    assert (hundred.archive, hundred.folder) == ("cifar-100-binary.tar.gz", "cifar-100-binary")
    assert (hundred.train, hundred.test) == (("train.bin",), "test.bin")
    assert hundred.label_values == (20, 100)
    assert hundred.pickled == ("cifar-100-python.tar.gz", "cifar-100-python")


@pytest.mark.parametrize("inside", ["{folder}", ".", "renamed", "{name}/{folder}", "{name}"])
def test_folders(name, inside, files, tmp_path):
    form = FORMATS[name]
    folder = tmp_path / inside.format(folder=form.folder, name=name)
    written(folder / "x", files[name])
    for file in files[name]:
        (folder / "x" / file).rename(folder / file)
    check(name, load_cifar(name, folder if inside == "renamed" else tmp_path))
    check(name, load_cifar(name, folder))


@pytest.mark.parametrize("prefix", ["{folder}/", "./{folder}/", "../../{folder}/", "/{folder}/"])
def test_archives(name, prefix, files, tmp_path):
    """Read where they lie: nothing is written, wherever the members say they belong."""
    form = FORMATS[name]
    place = tmp_path / "a" / "b"
    path = archived(place / form.archive, files[name], prefix.format(folder=form.folder))
    before = sorted(tmp_path.rglob("*"))
    check(name, load_cifar(name, place))
    check(name, load_cifar(name, path))
    path.rename(place / "other.tgz")
    check(name, load_cifar(name, place / "other.tgz"))
    (place / "other.tgz").rename(path)
    place.rename(tmp_path / "a" / name)
    check(name, load_cifar(name, tmp_path / "a"))
    (tmp_path / "a" / name).rename(place)
    assert sorted(tmp_path.rglob("*")) == before


def test_both_data_sets_in_one_folder(files, tmp_path):
    written(tmp_path / FORMATS["cifar10"].folder, files["cifar10"])
    archived(
        tmp_path / FORMATS["cifar100"].archive, files["cifar100"], FORMATS["cifar100"].folder + "/"
    )
    (tmp_path / "train.bin").write_bytes(b"somebody else's")
    for name in FORMATS:
        check(name, load_cifar(name, tmp_path))


def test_the_environment_names_the_folder(name, files, tmp_path, monkeypatch):
    written(tmp_path / FORMATS[name].folder, files[name])
    monkeypatch.setenv("NOISESCALE_DATA", str(tmp_path))
    check(name, load_cifar(name, None))
    monkeypatch.delenv("NOISESCALE_DATA")
    refused(name, None, "--data-dir", "NOISESCALE_DATA", FORMATS[name].archive)


def test_what_is_not_there(name, tmp_path):
    form = FORMATS[name]
    refused(name, tmp_path / "none", "no folder or file", form.archive)
    refused(name, tmp_path, f"no folder {form.folder} and no {form.archive}", "download")
    (tmp_path / form.folder).mkdir()
    for where in (tmp_path, tmp_path / form.folder):
        refused(name, where, f"no {form.files[0]} in", "unpack")
    refused("cifar", tmp_path, "unknown data set 'cifar'", "cifar10, cifar100")


@pytest.mark.parametrize(("name", "file"), CASES)
def test_a_missing_file_is_named(name, file, files, tmp_path):
    form = FORMATS[name]
    rest = {key: content for key, content in files[name].items() if key != file}
    written(tmp_path / "folder", rest)
    refused(name, tmp_path / "folder", f"no {file} in", form.archive)
    path = archived(tmp_path / form.archive, rest, f"{form.folder}/")
    refused(name, path, f"no {form.folder}/{file} in", form.archive)


@pytest.mark.parametrize(("name", "file"), CASES)
def test_records_that_cannot_be(name, file, files, tmp_path):
    form = FORMATS[name]
    size = 3072 + len(form.label_values)
    good = files[name][file]
    count = len(good) // size
    last = (count - 1) * size + len(form.label_values) - 1
    high = bytearray(good)
    high[last] = form.label_values[-1]
    cases = [
        (b"", [file, "empty"]),
        (good[:-1], [file, f"{count - 1} records of {size} bytes and {size - 1} bytes over"]),
        (good + b"12", [file, f"{count} records", "2 bytes over", "download"]),
        (b"1", [file, "0 records", "1 bytes over"]),
        (
            bytes(high),
            [file, f"record {count - 1} ", f"has {form.label_values[-1]} ", "another data set"],
        ),
    ]
    folder = written(tmp_path / "folder", files[name])
    for content, words in cases:
        (folder / file).write_bytes(content)
        refused(name, folder, str(folder), *words)
        path = archived(tmp_path / form.archive, {**files[name], file: content}, f"{form.folder}/")
        refused(name, path, str(path), *words)


def test_the_largest_labels_and_the_coarse_ones(files, tmp_path):
    for name, form in FORMATS.items():
        folder = written(tmp_path / name, files[name])
        top = bytes(values - 1 for values in form.label_values) + bytes(3072)
        (folder / form.test).write_bytes(top)
        assert list(load_cifar(name, folder)[1][1]) == [form.label_values[-1] - 1]
    (tmp_path / "cifar100" / "test.bin").write_bytes(top + bytes([20, 5]) + bytes(3072))
    refused("cifar100", tmp_path, "record 1 ", "has 20 ", "go to 19")


def test_one_data_set_for_the_other(files, tmp_path):
    written(tmp_path / "cifar-100-binary", files["cifar100"])
    refused("cifar10", tmp_path / "cifar-100-binary", "no folder cifar-10-batches-bin")
    path = archived(tmp_path / "cifar-100-binary.tar.gz", files["cifar100"], "cifar-100-binary/")
    refused("cifar10", path, "no cifar-10-batches-bin/data_batch_1.bin in")


@pytest.mark.parametrize("where", ["", "{name}/"])
def test_the_python_version(name, where, files, tmp_path):
    form = FORMATS[name]
    words = ("Python version", "pickles can run any code", form.archive)
    archive, folder = (tmp_path / where.format(name=name) / part for part in form.pickled)
    folder.mkdir(parents=True)
    refused(name, tmp_path, *words)
    refused(name, folder, *words)
    folder.rmdir()
    archive.write_bytes(b"anything: it is not even opened")
    refused(name, tmp_path, *words)
    refused(name, archive, *words)
    archive.unlink()
    misnamed = archived(tmp_path / form.archive, {"data_batch_1": b"\x80"}, f"{form.pickled[1]}/")
    refused(name, misnamed, *words)
    misnamed.unlink()
    # Beside the binary version it does no harm.
    folder.mkdir()
    written(tmp_path / form.folder, files[name])
    check(name, load_cifar(name, tmp_path))


def test_archives_that_are_damaged(name, files, tmp_path):
    form = FORMATS[name]
    path = archived(tmp_path / form.archive, files[name], f"{form.folder}/")
    whole = path.read_bytes()
    wrong = bytearray(whole)
    wrong[-8] ^= 1  # in the checksum of gzip, behind all of the data
    cases = [whole[: len(whole) // 2], whole[:-9], whole[:-1], whole[:5], bytes(wrong)]
    cases += [b"", b"plain text", gzip.compress(b""), gzip.compress(b"no archive" * 100)]
    for content in cases:
        path.write_bytes(content)
        refused(name, path, "truncated, damaged or not", "download", form.archive)
    path.write_bytes(whole)
    repacked(path, lambda raw: raw[: 1024 + 512 + 100])
    refused(name, path, "truncated, damaged or not")
    path.write_bytes(whole)
    repacked(path, lambda raw: raw[:1024] + bytes(1024))
    refused(name, path, f"no {form.folder}/")


@pytest.mark.parametrize("kind", [tarfile.DIRTYPE, tarfile.SYMTYPE, tarfile.LNKTYPE])
def test_a_member_that_is_no_file(name, kind, files, tmp_path):
    form = FORMATS[name]
    path = tmp_path / form.archive
    with tarfile.open(path, "w:gz") as archive:
        member = tarfile.TarInfo(f"{form.folder}/{form.files[0]}")
        member.type, member.linkname = kind, "/etc/passwd"
        archive.addfile(member)
    refused(name, path, form.files[0], "is not a file")


def test_a_folder_where_a_file_should_be(name, files, tmp_path):
    form = FORMATS[name]
    folder = written(tmp_path / form.folder, files[name])
    (folder / form.test).unlink()
    (folder / form.test).mkdir()
    refused(name, tmp_path, form.test, "is not a file")
    (tmp_path / "other" / form.archive).mkdir(parents=True)
    refused(name, tmp_path / "other", form.archive, "is not a file")
    os.mkfifo(tmp_path / "pipe")
    refused(name, tmp_path / "pipe", "is not a file")


def test_no_permission(name, files, tmp_path, monkeypatch):
    """Root reads everything: what reads is told to fail as it does for others."""
    form = FORMATS[name]
    folder = written(tmp_path / form.folder, files[name])
    archive = archived(tmp_path / "x" / form.archive, files[name], f"{form.folder}/")

    def forbidden(path, *arguments):
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(np, "fromfile", forbidden)
    monkeypatch.setattr(gzip, "open", forbidden)
    refused(name, folder, "no permission", str(folder / form.files[0]), "chmod")
    refused(name, archive, "no permission", str(archive), "chmod")
