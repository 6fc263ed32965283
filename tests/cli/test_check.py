"""`noisescale check`; that each kernel is checked is tested in tests/training/test_self_test.py."""

import json
import re
import subprocess
import sys
from functools import partial

import jax
import jax.numpy as jnp
import pytest

from noisescale.cli import check, main
from noisescale.training import ghost_batch_norm, optimizers, self_test, steps
from noisescale.training.self_test import check_names
from tests.cli.test_equivalent import fails

FEW = ["running-statistics", "clipping", "adam", "cross-entropy", "data-order"]


def strict(text: str):
    def refuse(name):
        raise AssertionError(f"{name} is no JSON")

    return json.loads(text, parse_constant=refuse)


@pytest.fixture(scope="module")
def whole():
    """The command as a user runs it, once: (exit code, standard output, standard error)."""
    command = [sys.executable, "-m", "noisescale", "check", "--json"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return done.returncode, done.stdout, done.stderr


def test_everything_passes_here(whole):
    code, out, err = whole
    document = strict(out)
    failed = [row for row in document["checks"] if not row["passed"]]
    assert failed == [] and code == 0, err
    assert document["passed"] is True
    assert "noisescale: error" not in err


def test_document(whole):
    document = strict(whole[1])
    assert document["schema"] == "noisescale.check/1"
    assert [row["name"] for row in document["checks"]] == list(check_names())
    for row in document["checks"]:
        assert set(row) == {
            "name",
            "what",
            "deviation",
            "tolerance",
            "passed",
            "seconds",
            "error",
            "default_precision_deviation",
        }
        assert 0 <= row["deviation"] <= row["tolerance"]
        assert row["what"] and row["error"] is None
    assert list(document["versions"]) == [
        "python",
        "noisescale",
        "numpy",
        "jax",
        "jaxlib",
        "equinox",
        "optax",
    ]
    assert document["versions"]["jax"] == jax.__version__
    (device,) = document["devices"]
    assert device["platform"] == jax.devices()[0].platform
    assert device["kind"] == jax.devices()[0].device_kind
    assert device["number"] == 1
    assert document["default_matmul_precision"] == "default"
    assert document["threads"] >= 1 and document["known_bad"] is None


@pytest.fixture
def few(monkeypatch):
    """Only some checks."""
    monkeypatch.setattr(self_test, "run_checks", partial(self_test.run_checks, names=FEW))


def test_table(few, capsys):
    assert main(["check"]) == 0
    captured = capsys.readouterr()
    assert captured.err == ""
    lines = captured.out.splitlines()
    assert lines[-1] == "5 of 5 checks passed"
    rows = [line.split() for line in lines if line.split()[:1] and line.split()[0] in FEW]
    assert [row[0] for row in rows] == FEW
    for _, deviation, tolerance, verdict, seconds in rows:
        assert 0 <= float(deviation) <= float(tolerance) and float(seconds) >= 0
        assert verdict == "ok"
    assert "FAILED" not in captured.out
    text = " ".join(captured.out.split())
    assert f"jax {jax.__version__}" in text and re.search(r"numpy \d", text)
    assert re.search(r"threads: \d", text) and "known to be bad" not in text


def doubled(fold):
    def wrong(*arguments, **options):
        return jax.tree.map(lambda a: 2 * a, fold(*arguments, **options))

    return wrong


def uphill(apply_update):
    def wrong(weights, state, gradient, hyper, rule):
        return apply_update(weights, state, jax.tree.map(jnp.negative, gradient), hyper, rule)

    return wrong


def unnormalised(cross_entropy):
    return lambda logits, labels: -jnp.take_along_axis(logits, labels[:, None], axis=1)[:, 0]


def raising(clipped):
    def wrong(*arguments):
        raise MemoryError("the device has no\nmemory [left]")

    return wrong


SABOTAGE = [
    (ghost_batch_norm, "fold", doubled, "running-statistics"),
    (optimizers, "apply_update", uphill, "adam"),
    (steps, "cross_entropy", unnormalised, "cross-entropy"),
    (optimizers, "clipped", raising, "clipping"),
]


@pytest.fixture
def sabotaged(few, monkeypatch):
    for home, kernel, mutant, _ in SABOTAGE:
        monkeypatch.setattr(home, kernel, mutant(getattr(home, kernel)))


def ends_with_one(capsys, arguments):
    with pytest.raises(SystemExit) as exit_:
        main(arguments)
    assert exit_.value.code == 1
    captured = capsys.readouterr()
    names = "running-statistics, clipping, adam, cross-entropy"
    assert captured.err == f"noisescale: error: 4 of 5 checks failed: {names}\n"
    return captured.out


def test_wrong_kernels_are_told(sabotaged, capsys):
    out = ends_with_one(capsys, ["check"])
    rows = [line.split() for line in out.splitlines()]
    verdicts = {row[0]: row[3] for row in rows if len(row) == 5 and row[0] in FEW}
    assert verdicts == {name: "FAILED" for name in FEW[:-1]} | {FEW[-1]: "ok"}
    assert "MemoryError: the device has no memory [left]" in " ".join(out.split())
    assert out.splitlines()[-1] == "1 of 5 checks passed"


def test_wrong_kernels_are_told_as_json(sabotaged, capsys):
    document = strict(ends_with_one(capsys, ["check", "--json"]))
    assert document["passed"] is False
    found = {row["name"]: row for row in document["checks"]}
    assert [name for name in FEW if found[name]["passed"]] == ["data-order"]
    # Twice the statistic, against a tolerance of 2e-6.
    assert found["running-statistics"]["deviation"] > 0.5
    assert found["clipping"]["deviation"] is None
    assert found["clipping"]["error"] == "MemoryError: the device has no memory [left]"


def test_a_bad_release_is_named(monkeypatch, capsys):
    monkeypatch.setattr(self_test, "run_checks", partial(self_test.run_checks, names=["clipping"]))
    monkeypatch.setattr(check, "version", lambda name: "0.10.2")
    assert main(["check"]) == 0
    text = " ".join(capsys.readouterr().out.split())
    assert "known to be bad: JAX 0.10.2 computes wrong numbers on CPUs" in text
    assert main(["check", "--json"]) == 0
    assert "wrong numbers" in strict(capsys.readouterr().out)["known_bad"]


class Device:
    platform, device_kind = "gpu", "Accelerator [80 GB]"

    def __init__(self, memory):
        self._memory = memory

    def memory_stats(self):
        if self._memory is None:
            raise NotImplementedError
        return self._memory


def test_devices_and_default_precision(monkeypatch, capsys):
    devices = [Device({"bytes_limit": 60 * 2**30}), Device({"bytes_limit": 60 * 2**30})]
    monkeypatch.setattr(jax, "devices", lambda: devices)
    options = {"names": ["convolution", "clipping"], "default_precision": True}
    monkeypatch.setattr(self_test, "run_checks", partial(self_test.run_checks, **options))
    assert main(["check"]) == 0
    out = capsys.readouterr().out
    assert "gpu: 2 × Accelerator [80 GB], 60.0 GiB usable each" in out
    (row,) = [line.split() for line in out.splitlines() if "convolution" in line]
    assert row[-1] == row[1]
    (row,) = [line.split() for line in out.splitlines() if "clipping" in line]
    assert len(row) == 5


@pytest.mark.parametrize("memory", [{}, None])
def test_a_device_that_does_not_tell_its_memory(memory):
    assert check._memory(Device(memory)) is None


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (
            RuntimeError("Unable to initialize backend\n'cuda'"),
            "Unable to initialize backend 'cuda'",
        ),
        (AssertionError(), "AssertionError"),
    ],
)
def test_no_device(monkeypatch, capsys, error, message):
    def none():
        raise error

    monkeypatch.setattr(jax, "devices", none)
    fails(capsys, ["check"], f"JAX finds no device: {message}", code=1)


def test_without_the_extra(monkeypatch, capsys):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    message = "check needs jax, equinox, jaxtyping, optax: pip install 'noisescale[train]'"
    fails(capsys, ["check"], message, code=1)


def test_help_is_quick_and_loads_no_jax(capsys):
    code = (
        "import sys; import noisescale.cli.check; "
        "assert not {'jax', 'numpy', 'rich'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
    with pytest.raises(SystemExit) as exit_:
        main(["check", "--help"])
    assert exit_.value.code == 0
    assert "example: noisescale check" in capsys.readouterr().out
