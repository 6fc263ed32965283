import json
import math

import pytest

from noisescale.record import Record, finite, read_record, write_record, write_text

RECORD = Record(
    identity={"seed": 3, "recipe": {"b": 1, "a": 0.1}},
    status="finished",
    rows=({"update": 0, "train_loss": 2.5}, {"update": 1, "train_loss": None}),
)


def test_round_trip(tmp_path):
    folder = tmp_path / "runs" / "seed-0003"
    write_record(folder, RECORD)
    assert read_record(folder, RECORD.identity) == RECORD
    assert sorted(p.name for p in folder.parent.iterdir()) == ["seed-0003"]
    newer = Record(RECORD.identity, "diverged", RECORD.rows[:1])
    write_record(folder, newer)
    assert read_record(folder, RECORD.identity) == newer


def test_another_identity_schema_or_damage_is_no_record(tmp_path):
    folder = tmp_path / "seed"
    assert read_record(folder, RECORD.identity) is None
    write_record(folder, RECORD)
    assert read_record(folder, {**RECORD.identity, "seed": 4}) is None
    head = json.loads((folder / "recipe.json").read_text())
    (folder / "recipe.json").write_text(json.dumps({**head, "schema": "noisescale.record/99"}))
    assert read_record(folder, RECORD.identity) is None
    (folder / "recipe.json").write_text("{")
    assert read_record(folder, RECORD.identity) is None


def test_run_id_is_of_the_values_not_their_order():
    same = Record({"recipe": {"a": 0.1, "b": 1}, "seed": 3}, "finished", ())
    assert same.run_id == RECORD.run_id
    other = Record({"recipe": {"a": 0.2, "b": 1}, "seed": 3}, "finished", ())
    assert other.run_id != RECORD.run_id


def test_a_failed_write_leaves_the_former_file(tmp_path):
    path = tmp_path / "results.json"
    write_text(path, "old")
    with pytest.raises(UnicodeEncodeError):
        write_text(path, "\ud800")
    assert path.read_text() == "old"
    with pytest.raises(ValueError):
        write_record(tmp_path / "run", Record({"seed": math.nan}, "finished", ()))
    assert [p.name for p in tmp_path.iterdir()] == ["results.json"]


def test_finite():
    assert finite(0.123456789) == 0.1234568
    assert finite(math.inf) is None
    assert finite(-math.inf) is None
    assert finite(math.nan) is None
    assert finite(3) == 3
    assert finite(None) is None
