import json
import math
import subprocess
import sys

import numpy as np
import pytest

from noisescale.errors import InputError
from noisescale.record import (
    CHECKPOINT,
    RECIPE,
    RESULT,
    ROWS,
    Record,
    RunFolder,
    difference,
    finite,
    pack,
    read_arrays,
    sha256_of,
    write_text,
)

IDENTITY = {"seed": 3, "recipe": {"b": 1, "a": 0.1}}
ROW = ({"update": 0, "train_loss": 2.5}, {"update": 1, "train_loss": None}, {"update": 2})
ARRAYS = {"weights.a": np.arange(6.0).reshape(2, 3), "count": np.array(3, np.int32)}


@pytest.fixture
def begun(tmp_path):
    """A run with two rows, a checkpoint after them, and a row more."""
    folder = RunFolder(tmp_path / "seed-0003", IDENTITY)
    folder.begin({"commit": None})
    folder.add_rows(ROW[:2])
    folder.save(ARRAYS, {"update": 1})
    folder.add_rows(ROW)
    return folder.folder


def test_a_run_goes_on_from_its_checkpoint(begun):
    longer = (begun / ROWS).read_bytes()
    again = RunFolder(begun, IDENTITY)
    assert again.finished() is None
    found = again.resume()
    assert found.rows == ROW[:2] and found.place == {"update": 1}
    assert sha256_of(found.arrays) == sha256_of(ARRAYS)
    assert all(found.arrays[k].dtype == ARRAYS[k].dtype for k in ARRAYS)
    assert len((begun / ROWS).read_bytes()) < len(longer)
    again.add_rows(ROW)
    assert (begun / ROWS).read_bytes() == longer
    record = again.finish("finished", ARRAYS, updates=2)
    assert record == Record(IDENTITY, "finished", ROW)
    assert RunFolder(begun, IDENTITY).finished() == record
    assert not (begun / CHECKPOINT).exists()
    assert json.loads((begun / RESULT).read_text())["updates"] == 2


def test_an_empty_folder_is_no_run(tmp_path):
    folder = RunFolder(tmp_path / "none", IDENTITY)
    assert folder.finished() is None and folder.resume() is None
    assert not (tmp_path / "none").exists()


def test_another_run_or_schema_is_refused_and_kept(begun):
    def kept():
        return {p.name: p.read_bytes() for p in begun.iterdir()}

    before = kept()
    other = RunFolder(begun, {**IDENTITY, "recipe": {"b": 1, "a": 0.2}})
    for read in (other.finished, other.resume):
        with pytest.raises(
            InputError, match=r"another recipe \(recipe\.a: 0\.1 there, 0\.2 here\)"
        ):
            read()
    assert kept() == before
    head = json.loads((begun / RECIPE).read_text())
    (begun / RECIPE).write_text(json.dumps({**head, "schema": "noisescale.record/99"}))
    with pytest.raises(InputError, match="record/99"):
        RunFolder(begun, IDENTITY).resume()


@pytest.mark.parametrize("at", [0, 1, 40, 200, -30])
def test_a_damaged_checkpoint_is_one_clear_line(begun, at):
    path = begun / CHECKPOINT
    content = bytearray(path.read_bytes())
    content[at] ^= 0xFF
    path.write_bytes(content)
    before = (begun / ROWS).read_bytes()
    try:
        RunFolder(begun, IDENTITY).resume()
    except InputError as error:
        assert "\n" not in str(error) and "checkpoint" in str(error)
        assert (begun / ROWS).read_bytes() == before
    else:  # a byte that ZIP neither reads nor protects
        assert at in (1, 200, -30)
    path.write_bytes(content[: len(content) // 2])
    with pytest.raises(InputError, match="remove it"):
        RunFolder(begun, IDENTITY).resume()
    assert (begun / ROWS).read_bytes() == before


def test_a_checkpoint_of_something_else(begun):
    (begun / CHECKPOINT).write_bytes(pack(ARRAYS))
    with pytest.raises(InputError, match="not a checkpoint"):
        RunFolder(begun, IDENTITY).resume()
    other = RunFolder(begun.parent / "other", {"seed": 9})
    other.begin({})
    other.save(ARRAYS, {})
    (begun / CHECKPOINT).write_bytes((other.folder / CHECKPOINT).read_bytes())
    with pytest.raises(InputError, match="another recipe or seed"):
        RunFolder(begun, IDENTITY).resume()


@pytest.mark.parametrize("name", [RECIPE, RESULT, "rows_bytes", "updates", "status", "deep"])
@pytest.mark.parametrize("value", [None, "a", -1, 1e9, [], {}, True])
def test_a_damaged_head_is_one_clear_line(begun, name, value):
    folder = RunFolder(begun, IDENTITY)
    folder.resume()
    folder.finish("finished", updates=2)
    if name in (RECIPE, RESULT):
        (begun / name).write_text(json.dumps(value))
    elif name == "deep":
        (begun / RESULT).write_text("[" * 100_000)
    else:
        head = json.loads((begun / RESULT).read_text())
        (begun / RESULT).write_text(json.dumps({**head, name: value}))
    with pytest.raises(InputError) as error:
        RunFolder(begun, IDENTITY).finished()
    assert "\n" not in str(error.value)


HEAD = ("schema", "identity", "place", "rows_bytes", "rows_sha256", "timing_bytes", "arrays_sha256")


@pytest.mark.parametrize("key", HEAD)
@pytest.mark.parametrize("value", [None, [], -1, "a"])
def test_a_damaged_head_of_a_checkpoint_is_one_clear_line(begun, key, value):
    arrays = read_arrays(begun / CHECKPOINT)
    head = json.loads(bytes(arrays.pop("head")).decode())
    head[key] = value
    text = np.frombuffer(json.dumps(head).encode(), np.uint8)
    (begun / CHECKPOINT).write_bytes(pack({**arrays, "head": text}))
    before = {p.name: p.read_bytes() for p in begun.iterdir()}
    with pytest.raises(InputError) as error:
        RunFolder(begun, IDENTITY).resume()
    assert "\n" not in str(error.value)
    assert {p.name: p.read_bytes() for p in begun.iterdir()} == before


def test_arrays_that_changed_are_noticed(begun):
    arrays = read_arrays(begun / CHECKPOINT)
    arrays["weights.a"][0, 0] = np.nan
    (begun / CHECKPOINT).write_bytes(pack(arrays))
    with pytest.raises(InputError, match="its arrays have changed"):
        RunFolder(begun, IDENTITY).resume()
    with open(begun / CHECKPOINT, "wb") as file:
        np.save(file, np.zeros(3))
    with pytest.raises(InputError, match="damaged"):
        RunFolder(begun, IDENTITY).resume()


def test_files_without_their_recipe_are_left_alone(begun):
    (begun / RECIPE).unlink()
    for name in (CHECKPOINT, ROWS):
        with pytest.raises(InputError, match="nobody knows of what run"):
            RunFolder(begun, IDENTITY).finished()
        (begun / name).unlink()
    assert RunFolder(begun, IDENTITY).finished() is None


@pytest.mark.parametrize("what", ["missing", "junk", "other", "folder"])
def test_weights_of_a_finished_run_are_checked(begun, what):
    folder = RunFolder(begun, IDENTITY)
    folder.resume()
    folder.finish("finished", ARRAYS, updates=2, weights_sha256=sha256_of(ARRAYS))
    assert RunFolder(begun, IDENTITY).finished().status == "finished"
    path = begun / "weights.npz"
    path.unlink()
    if what == "junk":
        path.write_bytes(b"junk")
    elif what == "other":
        path.write_bytes(pack({**ARRAYS, "count": np.array(4, np.int32)}))
    elif what == "folder":
        path.mkdir()
    with pytest.raises(InputError):
        RunFolder(begun, IDENTITY).finished()


def test_lines_after_the_end_are_noticed(begun):
    folder = RunFolder(begun, IDENTITY)
    folder.resume()
    folder.finish("finished", updates=2)
    with open(begun / ROWS, "ab") as file:
        file.write(b"{}\n")
    with pytest.raises(InputError, match="grown"):
        RunFolder(begun, IDENTITY).finished()


def test_rows_that_changed_are_noticed(begun):
    text = (begun / ROWS).read_bytes()
    (begun / ROWS).write_bytes(text.replace(b"2.5", b"2.6"))
    with pytest.raises(InputError, match="have changed"):
        RunFolder(begun, IDENTITY).resume()
    (begun / ROWS).write_bytes(text[:10])
    with pytest.raises(InputError, match="have changed"):
        RunFolder(begun, IDENTITY).resume()


def test_drafts_of_a_killed_writer_are_removed(begun):
    (begun / f".{CHECKPOINT}-abcdefgh").write_bytes(b"half")
    RunFolder(begun, IDENTITY).resume()
    assert not list(begun.glob(".*"))


FULL = """
import resource, signal, sys
from pathlib import Path
import numpy as np
from noisescale.record import RunFolder

folder = RunFolder(Path(sys.argv[1]), {"seed": 3, "recipe": {"b": 1, "a": 0.1}})
found = folder.resume()
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (4000, 4000))
try:
    folder.save({"weights": np.zeros(10**5)}, {"update": 9})
except OSError as error:
    print(type(error).__name__)
"""


def test_a_write_that_fails_leaves_the_last_checkpoint(begun):
    """A limit on the size of files is a disk that fills while the checkpoint is written."""
    before = (begun / CHECKPOINT).read_bytes()
    done = subprocess.run(
        [sys.executable, "-c", FULL, str(begun)], capture_output=True, text=True, check=True
    )
    assert done.stdout == "OSError\n"
    assert (begun / CHECKPOINT).read_bytes() == before
    assert not list(begun.glob(".*"))
    assert RunFolder(begun, IDENTITY).resume().place == {"update": 1}


def test_equal_arrays_are_equal_files():
    assert pack(ARRAYS) == pack(dict(ARRAYS))
    changed = {**ARRAYS, "count": np.array(4, np.int32)}
    assert sha256_of(ARRAYS) != sha256_of(changed)
    assert sha256_of(ARRAYS) != sha256_of({**ARRAYS, "count": np.array(3, np.int64)})
    assert sha256_of(ARRAYS) == sha256_of(dict(reversed(ARRAYS.items())))


def test_run_id_is_of_the_values_not_their_order():
    same = Record({"recipe": {"a": 0.1, "b": 1}, "seed": 3}, "finished", ())
    one = Record(IDENTITY, "finished", ())
    assert same.run_id == one.run_id
    other = Record({"recipe": {"a": 0.2, "b": 1}, "seed": 3}, "finished", ())
    assert other.run_id != one.run_id


def test_a_failed_write_leaves_the_former_file(tmp_path):
    path = tmp_path / "results.json"
    write_text(path, "old")
    with pytest.raises(UnicodeEncodeError):
        write_text(path, "\ud800")
    assert path.read_text() == "old"
    assert [p.name for p in tmp_path.iterdir()] == ["results.json"]


def test_the_first_difference_is_named():
    assert difference({"a": {"b": [1, 2]}}, {"a": {"b": [1, 3]}}) == "a.b[1]: 2 there, 3 here"
    assert difference({"a": 1}, {"a": 1, "b": 2}) == "b: None there, 2 here"


def test_finite():
    assert finite(0.123456789) == 0.1234568
    assert finite(math.inf) is None
    assert finite(-math.inf) is None
    assert finite(math.nan) is None
    assert finite(3) == 3
    assert finite(None) is None
    assert finite({"a": [math.nan, 1 / 3], "b": (2,)}) == {"a": [None, 0.3333333], "b": [2]}
