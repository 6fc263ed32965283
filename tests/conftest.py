"""Shared fixtures, and the rule that a skip must be announced in allowed_skips.txt."""

import atexit
import os
import shutil
import tempfile
from pathlib import Path

import pytest
from hypothesis import settings

if "JAX_COMPILATION_CACHE_DIR" not in os.environ:
    # Runs that are stopped, resumed and compared compile the same programs many times.
    _cache = tempfile.mkdtemp(prefix="noisescale-tests-")
    atexit.register(shutil.rmtree, _cache, ignore_errors=True)
    os.environ["JAX_COMPILATION_CACHE_DIR"] = _cache
    os.environ["JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS"] = "0"
    os.environ["JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES"] = "-1"
    # XLA tells of every program it reads that the host lacks "features" that only its compiler has.
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

ROOT = Path(__file__).resolve().parent.parent
ALLOWED_SKIPS = {
    line.strip()
    for line in (Path(__file__).parent / "allowed_skips.txt").read_text().splitlines()
    if line.strip() and not line.startswith("#")
}


# In CI the examples are a function of the test alone; elsewhere they are drawn anew.
settings.register_profile("ci", derandomize=True, deadline=None)
if os.environ.get("CI"):
    settings.load_profile("ci")


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item, call):
    outcome = yield
    report = outcome.get_result()
    if report.skipped and not hasattr(report, "wasxfail") and item.nodeid not in ALLOWED_SKIPS:
        report.outcome = "failed"
        report.longrepr = f"{item.nodeid} was skipped but is not in tests/allowed_skips.txt"


@pytest.hookimpl(hookwrapper=True)
def pytest_make_collect_report(collector):
    """A module that skips itself is a skip as well."""
    outcome = yield
    report = outcome.get_result()
    if report.skipped and collector.nodeid not in ALLOWED_SKIPS:
        report.outcome = "failed"
        report.longrepr = f"{collector.nodeid} skips itself but is not in tests/allowed_skips.txt"


@pytest.fixture
def root() -> Path:
    """The repository."""
    return ROOT
