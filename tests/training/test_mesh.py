"""One run on several devices is the run on one, up to rounding."""

import json
import os
import subprocess
import sys

import pytest

from noisescale.errors import InputError
from noisescale.training.mesh import mesh_over
from tests.training.devices_child import CASES

DEVICES = 8


@pytest.fixture(scope="module")
def found(tmp_path_factory):
    """What devices_child prints, by case, from one process with 8 simulated devices."""
    done = subprocess.run(
        [sys.executable, "-m", "tests.training.devices_child"],
        env={**os.environ, "XLA_FLAGS": f"--xla_force_host_platform_device_count={DEVICES}"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    first, *lines = map(json.loads, done.stdout.splitlines())
    assert first == {"devices": DEVICES}
    return {line["case"]: line for line in lines}


@pytest.mark.parametrize("case", CASES)
def test_eight_devices_are_one(found, case):
    line = found[case]
    assert line["updates"] > 15
    assert line["distance"] > 0.05  # it has moved far more than it may differ
    assert line["difference"] < 2e-6
    assert line["loss_difference"] < 1e-4
    assert line["on_all"] and line["replicated"]
    one, all_ = line["programs"]
    assert all_ == one  # the state comes back as it went in: nothing is compiled twice


def test_more_devices_than_there_are():
    with pytest.raises(InputError, match=r"run.devices=5000, but there are \d+ .*lower it"):
        mesh_over(5000)


def test_one_device_is_no_mesh():
    assert mesh_over(1) is None
