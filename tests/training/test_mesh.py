"""One run on several devices is the run on one, up to rounding."""

import json
import os
import subprocess
import sys

import pytest

from noisescale import train
from noisescale.errors import InputError
from noisescale.training.mesh import mesh_over
from tests.training.devices_child import CASES

DEVICES = 8


def child(*arguments):
    """What devices_child prints, by case, from one process with 8 simulated devices."""
    done = subprocess.run(
        [sys.executable, "-m", "tests.training.devices_child", *arguments],
        env={**os.environ, "XLA_FLAGS": f"--xla_force_host_platform_device_count={DEVICES}"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    first, *lines = map(json.loads, done.stdout.splitlines())
    assert first == {"devices": DEVICES}
    return {line["case"]: line for line in lines}


# Together they meet every way in which a batch is divided; each compiles a minute's worth.
QUICK = ("plain batch norm", "padded", "micro-batches, host", "everything drawn")
REST = tuple(case for case in CASES if case not in QUICK)


@pytest.fixture(scope="module")
def quick():
    return child(*QUICK)


@pytest.fixture(scope="module")
def rest():
    return child(*REST)


@pytest.mark.parametrize("case", QUICK)
def test_eight_devices_are_one(quick, case):
    check(quick[case])


@pytest.mark.long
@pytest.mark.parametrize("case", REST)
def test_eight_devices_are_one_at_length(rest, case):
    check(rest[case])


def check(line):
    assert line["updates"] > 15
    assert line["distance"] > 0.05  # it has moved far more than it may differ
    assert line["difference"] < 2e-6
    assert line["loss_difference"] < 1e-4
    assert line["on_all"] and line["replicated"]
    one, all_ = line["programs"]
    assert all_ == one  # the state comes back as it went in: nothing is compiled twice


def test_seeds_on_devices_of_their_own(tmp_path):
    line = child("seeds", str(tmp_path))["seeds"]
    assert line["rows"] and line["files"] and line["done"]
    assert line["number"] == 4
    assert line["mixed"]  # several at a time


@pytest.mark.parametrize("parallel", [0, 4096])
def test_more_seeds_at_a_time_than_devices(parallel, tmp_path):
    document = {"phase": [{"epochs": 1, "batch_size": 32, "learning_rate": 0.1}]}
    with pytest.raises(InputError, match="there are 1 devices"):
        train(document, tmp_path / "run", parallel=parallel)
    assert not (tmp_path / "run").exists()


def test_more_devices_than_there_are():
    with pytest.raises(InputError, match=r"run.devices=5000, but there are \d+ .*lower it"):
        mesh_over(5000)


def test_one_device_is_no_mesh():
    assert mesh_over(1) is None
