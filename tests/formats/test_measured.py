"""Measured runs read back: what was written, and one line about what is broken."""

import json
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from noisescale import InputError
from noisescale.analysis.run_groups.runs import MeasuredRun, check_units
from noisescale.formats import measured_lines, measured_table
from noisescale.formats.measured import read_runs

ROWS = [
    {"epoch": 0, "loss": 2.5, "distance": 0.0, "note": "begin"},
    {"epoch": 0.5, "loss": None, "distance": 1.0},
    {"epoch": 1, "loss": 1.25},
]


def write(path, content):
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def lines(rows):
    return "".join(json.dumps(row) + "\n" for row in rows)


def one(path, **options):
    options = {"clock": "epoch", "columns": {"loss": "loss"}, **options}
    (run,) = read_runs([path], **options)
    return run


def test_json_lines(tmp_path):
    run = one(write(tmp_path / "a.jsonl", lines(ROWS)), others=True)
    np.testing.assert_array_equal(run.columns["epoch"], [0, 0.5, 1])
    np.testing.assert_array_equal(run.columns["loss"], [2.5, np.nan, 1.25])
    np.testing.assert_array_equal(run.columns["distance"], [0, 1, np.nan])
    assert set(run.columns) == {"epoch", "loss", "distance"}
    assert all(column.dtype == np.float64 for column in run.columns.values())
    assert (run.seed, run.truncated, run.diverged, run.notes) == (None, False, False, ())
    times, values = run.curve("epoch", "loss")
    np.testing.assert_array_equal([times, values], [[0, 1], [2.5, 1.25]])
    assert set(one(tmp_path / "a.jsonl").columns) == {"epoch", "loss"}


@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
@pytest.mark.parametrize("newline", ["\n", "\r\n"])
def test_csv(tmp_path, delimiter, newline):
    rows = ["loss|epoch|name|batch_size", "2.5|0|x|64", "|.5|y|64", "", "1.25|1e0||64"]
    text = "\ufeff" + newline.join(rows).replace("|", delimiter)
    run = one(write(tmp_path / "a.txt", text), others=True)
    np.testing.assert_array_equal(run.columns["epoch"], [0, 0.5, 1])
    np.testing.assert_array_equal(run.columns["loss"], [2.5, np.nan, 1.25])
    assert "name" not in run.columns and run.batch_size == 64 and not run.truncated


def test_empty_fields_at_both_ends(tmp_path):
    run = one(write(tmp_path / "a.csv", "loss\tepoch\tother\n\t0\t1\n3\t1\t\n"), others=True)
    np.testing.assert_array_equal(run.columns["loss"], [np.nan, 3])
    np.testing.assert_array_equal(run.columns["other"], [1, np.nan])


def test_other_names_and_paths_into_objects(tmp_path):
    path = write(tmp_path / "a", lines([{"step": k, "val": {"nll": 3 - k}} for k in range(3)]))
    run = one(path, columns={"epoch": "step", "loss": "val.nll"})
    np.testing.assert_array_equal(run.columns["loss"], [3, 2, 1])
    np.testing.assert_array_equal(run.columns["epoch"], [0, 1, 2])


def test_a_setting_that_changes_is_none(tmp_path):
    text = "epoch,loss,batch_size,learning_rate,momentum\n0,3,64,0.1,\n1,2,64,0.1,\n2,1,64,0.02,\n"
    run = one(write(tmp_path / "a.csv", text))
    assert (run.batch_size, run.learning_rate, run.momentum) == (64, None, None)


def test_several_runs_in_a_file(tmp_path):
    text = "arm,seed,epoch,loss,lr\n" + "".join(
        f"{arm},{seed},{e},{10 * seed + e},{0.1 * (1 + (e > 1))}\n"
        for e in range(3)
        for arm in ("x", "y")
        for seed in (3, 4)
    )
    path = write(tmp_path / "a.csv", text)
    runs = read_runs(
        [path], clock="epoch", columns={"loss": "loss"}, seed_column="seed", group_column="arm"
    )
    assert [(run.group, run.seed) for run in runs] == [("x", 3), ("x", 4), ("y", 3), ("y", 4)]
    assert len({run.name for run in runs}) == 4
    np.testing.assert_array_equal(runs[3].columns["loss"], [40, 41, 42])
    named = write(tmp_path / "b.jsonl", lines([{"run": "a-b", "epoch": 0, "loss": 1}]))
    assert one(named, seed_column="run").seed == "a-b"


def test_lines_of_one_measurement_are_merged(tmp_path):
    """Trainers write the training loss of a step on one line and its evaluation on another."""
    rows = [
        {"epoch": 0, "loss": 1.0},
        {"epoch": 0, "error": 0.5, "loss": 1.0},
        {"epoch": 1, "seconds": 3},
        {"epoch": 1, "loss": 0.5, "seconds": 4},
    ]
    run = one(write(tmp_path / "a.jsonl", lines(rows)), others=True)
    np.testing.assert_array_equal(run.columns["epoch"], [0, 1])
    np.testing.assert_array_equal(run.columns["error"], [0.5, np.nan])
    assert "seconds" not in run.columns
    assert run.notes == ("seconds has several values at one epoch: left out",)


def test_a_line_without_the_clock_is_left_out(tmp_path):
    rows = [{"config": 1}, {"epoch": 0, "loss": 1}, {"epoch": None, "loss": 7}]
    run = one(write(tmp_path / "a.jsonl", lines(rows)))
    np.testing.assert_array_equal(run.columns["loss"], [1])
    assert run.notes == ("2 lines without epoch are left out",)


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("a.jsonl", lines(ROWS) + '{"epoch": 2, "lo'),
        ("a.jsonl", lines(ROWS).encode() + b'{"epoch": 2, "note": "\xc3'),
        ("a.csv", "epoch,loss\n0,2.5\n.5,\n1,1.25\n2"),
    ],
)
def test_a_last_line_that_was_cut_off(tmp_path, name, text):
    run = one(write(tmp_path / name, text))
    assert run.truncated and run.columns["epoch"][-1] == 1
    assert "the last one, is cut off" in run.notes[0]


def test_a_last_line_without_a_newline_counts(tmp_path):
    run = one(write(tmp_path / "a.jsonl", lines(ROWS).rstrip("\n")))
    assert not run.truncated and len(run.columns["epoch"]) == 3


@pytest.mark.parametrize("bad", ["NaN", "Infinity", "1e999", "1e200", "1" + "0" * 400])
def test_divergence(tmp_path, bad):
    text = lines([{"epoch": e, "loss": 1.0, "x": e} for e in range(3)])
    text += f'{{"epoch": 3, "loss": {bad}, "x": 3}}\n{{"epoch": 4, "loss": {bad}, "x": 4}}\n'
    run = one(write(tmp_path / "a.jsonl", text), others=True)
    assert run.diverged
    np.testing.assert_array_equal(run.columns["x"], [0, 1, 2])
    assert "diverged: loss is" in run.notes[0] and "epoch 3 on (line 4)" in run.notes[0]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "holds no rows"),
        ("\n\n", "holds no rows"),
        ("epoch,loss\n", "holds no rows"),
        ("epoch,los\n0,1\n", "unknown column 'loss': did you mean 'los'"),
        ("epochs,loss\n0,1\n", "unknown column 'epoch': did you mean 'epochs'"),
        ("0,1\n1,2\n", "line 1 has to name the columns"),
        ("epoch,loss,loss\n0,1,2\n", "line 1 names the column 'loss' twice"),
        ("epoch,loss\n0,1\n1\n2,1\n", "line 3 has 1 fields, the header 2"),
        ("epoch,loss\n0,1,2\n", "line 2 has 3 fields"),
        ("epoch,loss\n0,x\n", "line 2: loss is 'x', not a number"),
        ("epoch;loss\n0;0,5\n", "line 2: loss is '0,5', not a number"),
        ('epoch,loss\n0,"1\n', "line 2 is not CSV"),
        ("epoch,loss\n0,1\n1,nan\n2,1\n", "line 3: loss is nan, and finite again on line 4"),
        ("epoch,loss\n0,\n1,\n", "no line holds a value of loss"),
        ("epoch,loss\nnan,1\n", "line 2: the clock epoch is nan"),
        ("epoch,loss\n0,1\n5,1\n3,2\n", "line 4: the clock epoch falls from 5 to 3"),
        ("epoch,loss\n0,1\n1,1\n1,2\n", "line 4: epoch is 1 a second time, with loss 2 after 1"),
        ("epoch,loss\n3,1\n3,1\n3,1\n", "the clock epoch is 3 on all 3 lines"),
        (b"epoch,loss\n0,\xff\n1,2\n", "line 2 is not UTF-8"),
        ("epoch,loss\n0,1\n".encode("utf-16"), "line 1 is not UTF-8"),
        ("[1, 2]\n", "line 1 is not a JSON object"),
        ("[\n{}\n]\n", "line 1 is not JSON"),
        ('{"epoch": 0, "loss": 1}\nnot json\n{"epoch": 1, "loss": 1}\n', "line 2 is not JSON"),
        ('{"epoch": 0, "loss": 1}\n[1, 2]\n', "line 2 is not a JSON object"),
        ('{"epoch": 0, "loss": true}\n', "line 1: loss is True, not a number"),
        ('{"epoch": 0, "loss": [1]}\n', r"line 1: loss is \[1\], not a number"),
        ('{"epoch": 0, "loss": 1', "line 1 is not JSON"),
        ('{"epoch": 0, "a":' + "[" * 100_000 + "\n", "line 1 is not JSON"),
        ('{"epoch": 0, "loss": ' + "1" * 5000 + "}\n", "line 1 is not JSON"),
    ],
)
def test_broken_files(tmp_path, text, message):
    with pytest.raises(InputError, match=message) as caught:
        one(write(tmp_path / "runs", text))
    assert "\n" not in str(caught.value) and len(str(caught.value)) < 600
    assert "runs" in str(caught.value)


def test_what_was_read_is_reported(tmp_path):
    rows = [{"epoch": k, "loss": 1, "padding": "x" * 400_000} for k in range(8)]
    path = write(tmp_path / "a.jsonl", lines(rows))
    heard: list[int] = []
    one(path, report=heard.append)
    # Every third line makes a megabyte full; the last two are not told of.
    size = path.stat().st_size / 8
    assert heard == pytest.approx([3 * size, 3 * size], rel=1e-3)


def test_long_lines(tmp_path, monkeypatch):
    text = lines([{"epoch": 0, "loss": 1, "sketch": "x" * 50_000}])
    assert one(write(tmp_path / "a.jsonl", text)).columns["loss"] == [1]
    monkeypatch.setattr(measured_lines, "LONGEST_LINE", 2**15)
    with pytest.raises(InputError, match="line 1 is longer than"):
        one(tmp_path / "a.jsonl")


def test_a_line_of_many_megabytes_is_refused(tmp_path):
    with pytest.raises(InputError, match="line 2 is longer than 4 MB"):
        one(write(tmp_path / "a.csv", b"epoch,loss\n" + b"1" * 20_000_000))


def test_files_and_folders_that_are_none(tmp_path):
    for path, message in [
        (tmp_path / "none.csv", "no file or folder"),
        (tmp_path, "neither it nor a folder in it has rows.jsonl"),
        (tmp_path / ("x" * 300), "cannot read .*name too long"),
    ]:
        with pytest.raises(InputError, match=message):
            one(path)
    with pytest.raises(InputError, match="no runs given"):
        read_runs([], clock="epoch", columns={})
    write(tmp_path / "a.csv", "epoch,loss\n0,1\n")
    for column in ("seed_column", "group_column"):
        with pytest.raises(InputError, match="unknown column 'sead'"):
            one(tmp_path / "a.csv", **{column: "sead"})
    write(tmp_path / "a.csv", "epoch,loss,seed\n0,1,\n")
    with pytest.raises(InputError, match="line 2: seed is empty"):
        one(tmp_path / "a.csv", seed_column="seed")


def test_a_run_folder(tmp_path):
    phase = {"batch_size": 32, "learning_rate": 0.1, "momentum": 0.9}
    schedule = {"phases": [phase, {**phase, "learning_rate": 0.02}]}
    recipe = {"schedule": schedule, "run": {"replica": 1}}
    head = {"schema": "noisescale.record/2"}
    identity = {"recipe": recipe, "seed": 7, "train_size": 400}
    folder = tmp_path / "seed-0007"
    folder.mkdir()
    write(folder / "rows.jsonl", lines(ROWS))
    write(folder / "recipe.json", json.dumps({**head, "identity": identity}))
    run = one(tmp_path)
    assert (run.seed, run.replica, run.train_size) == (7, 1, 400)
    assert (run.batch_size, run.learning_rate, run.momentum) == (32, None, 0.9)
    assert run.truncated and run.notes == ("the run is not over",)
    write(folder / "result.json", json.dumps({**head, "status": "diverged"}))
    run = one(folder)
    assert run.diverged and not run.truncated and run.notes == ("diverged after epoch 1",)
    write(folder / "result.json", json.dumps({**head, "status": "finished"}))
    assert one(folder).notes == ()
    for text, message in [
        ("{", "is damaged: it is not JSON"),
        ('{"schema": "other"}', "has schema 'other'"),
        ('{"schema": "noisescale.record/2"}', "not that of a training run"),
    ]:
        write(folder / "recipe.json", text)
        with pytest.raises(InputError, match=message):
            one(folder)
    (folder / "recipe.json").unlink()
    assert one(folder).seed is None


def test_long_runs_are_thinned_evenly_in_the_logarithm(tmp_path, monkeypatch):
    monkeypatch.setattr(measured_table, "MOST_ROWS", 2000)
    monkeypatch.setattr(measured_table, "FEWEST_ROWS", 100)
    rows = ({"epoch": k, "loss": 1 / k, "rare": k if k % 1000 == 0 else None}
            for k in range(1, 20_001))  # fmt: skip
    run = one(write(tmp_path / "a.jsonl", lines(rows)), others=True)
    times = run.columns["epoch"]
    assert 200 < len(times) <= 2000 and (times[0], times[-1]) == (1, 20_000)
    assert run.notes[-1].startswith("thinned from 20,000 lines to")
    np.testing.assert_allclose(run.columns["loss"], 1 / times)
    # What is measured rarely is kept whole.
    np.testing.assert_array_equal(run.curve("epoch", "rare")[1], np.arange(1000, 20_001, 1000))
    # As many in every octave, as far as there are whole numbers: within a factor of 2.5, for what
    # was thinned early is thinned once more.
    counts = [np.sum((times >= low) & (times < 2 * low)) for low in (1024, 2048, 4096, 8192)]
    assert max(counts) <= 2.5 * min(counts)


def test_memory_is_shared_by_many_runs(tmp_path, monkeypatch):
    monkeypatch.setattr(measured_table, "MOST_NUMBERS", 20_000)
    monkeypatch.setattr(measured_table, "FEWEST_ROWS", 10)
    text = "".join(f"{s},{k},{k}\n" for k in range(2000) for s in range(20))
    runs = read_runs(
        [write(tmp_path / "a.csv", "seed,epoch,loss\n" + text)],
        clock="epoch",
        columns={"loss": "loss"},
        seed_column="seed",
    )
    assert len(runs) == 20
    assert sum(2 * len(run.columns["epoch"]) for run in runs) <= 20_000
    assert all(len(run.columns["epoch"]) > 100 for run in runs)


PEAK = """
import resource, sys
from noisescale.formats.measured import read_runs
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
(run,) = read_runs([sys.argv[1]], clock="step", columns={"loss": "loss"})
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before, len(run.columns["step"]))
"""


@pytest.mark.long
def test_memory_of_five_million_lines(tmp_path):
    path = tmp_path / "a.csv"
    with open(path, "w") as file:
        file.write("step,loss\n")
        file.writelines(f"{k},{1 / k:.6g}\n" for k in range(1, 5_000_001))
    done = subprocess.run(
        [sys.executable, "-c", PEAK, str(path)], capture_output=True, text=True, check=True
    )
    kilobytes, rows = map(int, done.stdout.split())
    # Two columns of 2^20 doubles are 16 MB, a few times that while they are thinned.
    assert kilobytes < 150_000 and 1000 < rows <= 2**20


NUMBERS = st.one_of(st.none(), st.floats(-1e9, 1e9), st.integers(-(10**9), 10**9))


@settings(max_examples=60)
@given(st.lists(NUMBERS, min_size=1, max_size=20), st.data())
def test_round_trip_and_every_prefix(tmp_path_factory, values, data):
    """What is written is read; any prefix of it is read as far as it goes, or refused."""
    folder = tmp_path_factory.mktemp("round")
    values = [1.5, *values]
    rows = [{"epoch": k, "loss": v} for k, v in enumerate(values)]
    texts = {
        "a.jsonl": lines(rows),
        "a.csv": "epoch,loss\n" + "".join(f"{k},{'' if v is None else repr(v)}\n"
                                          for k, v in enumerate(values)),
    }  # fmt: skip
    expected = np.array([np.nan if v is None else v for v in values], dtype=float)
    for name, text in texts.items():
        run = one(write(folder / name, text))
        np.testing.assert_array_equal(run.columns["loss"], expected)
        cut = data.draw(st.integers(0, len(text)))
        write(folder / name, text[:cut])
        try:
            part = one(folder / name)
        except InputError:
            continue
        # The very last number may have lost digits; no reader could know.
        rows_read = len(part.columns["loss"])
        np.testing.assert_array_equal(
            part.columns["loss"][: rows_read - 1], expected[: rows_read - 1]
        )


@settings(max_examples=150)
@given(st.integers(0, 10**6), st.binary(min_size=1, max_size=3), st.sampled_from([0, 1]))
def test_changed_bytes_give_a_run_or_one_line(tmp_path_factory, where, byte, kind):
    text = [lines(ROWS).encode(), b"epoch,loss,seed\n0,1,0\n1,0.5,0\n2,0.25,0\n"][kind]
    where %= len(text)
    path = tmp_path_factory.mktemp("bytes") / "a"
    write(path, text[:where] + byte + text[where + 1 :])
    try:
        runs = read_runs([path], clock="epoch", columns={"loss": "loss"}, others=True)
    except InputError as error:
        assert "\n" not in str(error) and len(str(error)) < 1000
    else:
        for run in runs:
            assert np.all(np.diff(run.columns["epoch"]) > 0)


def run_to(end, name, **more):
    return MeasuredRun(name, {"epoch": np.array([0.0, end])}, **more)


def test_units():
    check_units([run_to(10, "a"), run_to(190, "b")], "epoch")
    with pytest.raises(InputError, match="ends at 10 in a and at 3900 in b"):
        check_units([run_to(10, "a"), run_to(3900, "b")], "epoch")
    check_units([run_to(10, "a", truncated=True), run_to(3900, "b")], "epoch")
    check_units([run_to(10, "a", diverged=True), run_to(3900, "b")], "epoch")
