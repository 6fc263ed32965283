"""A run that is killed, even while it writes, goes on to identical rows and weights.

tests/kills/run.py does the same for longer, over more recipes.
"""

import shutil

import pytest

from tests.kills import harness
from tests.kills.harness import At


@pytest.fixture(scope="module")
def known(tmp_path_factory):
    return harness.reference("ghosts", tmp_path_factory.mktemp("known"))


def test_a_difference_is_seen(known, tmp_path):
    first, second = known.directory / "seed-0000", known.directory / "seed-0001"
    assert harness.seed_differences(first, first) == []
    told = " ".join(harness.seed_differences(first, second))
    for name in ("rows.jsonl has", "weights.npz has", "weights_sha256 is", "rows_sha256 is"):
        assert name in told
    found = tmp_path / "run"
    shutil.copytree(known.directory, found)
    (found / "seed-0001" / ".checkpoint.npz-abcd_012").touch()
    (found / "seed-0001" / "checkpoint.npz").touch()
    with open(found / "seed-0000" / "rows.jsonl", "ab") as rows:
        rows.write(b"\n")
    (found / "seed-0000" / "timing.jsonl").write_text('{"upd')
    assert harness.differences(known.directory, found) == [
        "seed-0000: rows.jsonl has other bytes",
        "seed-0000: timing.jsonl is of other updates",
        "seed-0001: draft .checkpoint.npz-abcd_012 was left",
        "seed-0001: file checkpoint.npz was left",
    ]
    shutil.rmtree(found / "seed-0001")
    assert harness.differences(known.directory, found)


def test_a_lost_checkpoint_is_seen():
    """A run that only began again would end equal as well."""
    log = ["start", "train", "train 0 128", "train 0 192"]
    assert harness.resumed_elsewhere(log, (0, 128)) == []
    assert harness.resumed_elsewhere(log, (0, 192))
    assert harness.resumed_elsewhere(log, None)
    assert harness.resumed_elsewhere(["start"], (0, 192)) == []


def test_killed_where_it_hurts(known, tmp_path):
    kills = [
        At("train"),
        At("save half checkpoint.npz", 2),
        At("evaluate middle"),
        At("finish half weights.npz"),
        At("finish replaced result.json"),
    ]
    found = harness.lineage(known, tmp_path / "run", kills, every_look=True)
    assert [kill.event.split()[0] for kill in found.kills] == [at.event.split()[0] for at in kills]
    assert found.differences == []
    before, saving, evaluating, finishing, finished = found.kills
    assert not before.checkpoint and "rows.jsonl" in before.files
    assert saving.update and any(harness.DRAFT.fullmatch(name) for name in saving.files)
    assert evaluating.update >= saving.update
    assert finishing.update == 2994 and "result.json" not in finishing.files
    assert finished.event == "finish replaced result.json"


def test_killed_at_any_time(known, tmp_path):
    found = list(harness.at_any_time(known, tmp_path, number=2, seed=1))
    assert sum(len(lineage.kills) for lineage in found) == 2
    assert [text for lineage in found for text in lineage.differences] == []
