import numpy as np
import pytest

from noisescale import InputError, Phase, Schedule, equivalents
from noisescale.analysis.same_run import compare_runs

N = 10000


def run(*phases, **options):
    base = {"batch_size": 100, "momentum": 0.9, "weight_decay": 1e-4}
    return Schedule([Phase(**{**base, **p}) for p in phases], **options)


BASE = run({"epochs": 20, "learning_rate": 0.1}, {"epochs": 10, "learning_rate": 0.02})


def row(found, name):
    return next(r for r in found.invariants if r.name == name)


@pytest.mark.parametrize("name", ["learning-rate", "momentum", "grow-batch", "hybrid"])
def test_equivalents_are_the_same_run(name):
    (other,) = equivalents(BASE, N, routes=[name])
    found = compare_runs(BASE, other.schedule, N)
    assert found.same, found.reason
    assert not row(found, "updates").kept
    assert "updates" in found.reason


def test_the_square_root_is_not():
    (other,) = equivalents(BASE, N, routes=["sqrt"], target_batch_size=400)
    found = compare_runs(BASE, other.schedule, N)
    assert not found.same
    assert "noise scale differs from epoch 0" in found.reason
    assert row(found, "noise_scale").after == pytest.approx(row(found, "noise_scale").before / 2)


def test_from_which_epoch():
    later = run(
        {"epochs": 20, "learning_rate": 0.1},
        {"epochs": 4, "learning_rate": 0.02},
        {"epochs": 6, "learning_rate": 0.01},
    )
    found = compare_runs(BASE, later, N)
    assert not found.same
    assert row(found, "noise_scale").differs_from == pytest.approx(24)
    assert row(found, "sde_time").differs_from == pytest.approx(24)
    assert "from epoch 24" in found.reason
    shorter = compare_runs(BASE, run({"epochs": 20, "learning_rate": 0.1}), N)
    assert row(shorter, "noise_scale").kept
    assert row(shorter, "examples").differs_from == pytest.approx(20)
    assert not shorter.same
    decay = run(
        {"epochs": 20, "learning_rate": 0.1},
        {"epochs": 10, "learning_rate": 0.02, "weight_decay": 2e-4},
    )
    found = compare_runs(BASE, decay, N)
    assert "weight decay per epoch differs from epoch 20" in found.reason


def test_a_drop_written_as_a_shape_is_the_same_run():
    shape = {"shape": "step", "start": 0.1, "factor": 5, "milestones": {"epochs": [20]}}
    assert compare_runs(BASE, run({"epochs": 30, "learning_rate": shape}), N).same
    found = compare_runs(BASE, BASE, N)
    assert found.same and all(r.kept for r in found.invariants)


def test_a_cosine_is_not_a_line():
    cosine = run({"epochs": 10, "learning_rate": {"shape": "cosine", "start": 0.1}})
    linear = run({"epochs": 10, "learning_rate": {"shape": "linear", "start": 0.1}})
    found = compare_runs(cosine, linear, N)
    # Their times agree: both sum to half of the first rate.
    assert row(found, "sde_time").kept and not row(found, "noise_scale").kept
    assert not found.same


def test_smooth_rates_are_compared_everywhere():
    """A line and a cosine agree at their ends and half-way, and nowhere else."""
    cosine, linear = (
        run({"epochs": 100, "learning_rate": {"shape": shape, "start": 0.1, "end": 0.01}})
        for shape in ("cosine", "linear")
    )
    found = compare_runs(linear, cosine, N)
    assert not found.same
    x = np.linspace(0, 1, 200001)
    line, wave = 0.1 - 0.09 * x, 0.055 + 0.045 * np.cos(np.pi * x)
    off = np.abs(wave / line - 1)
    assert row(found, "noise_scale").max_relative_deviation == pytest.approx(off.max(), rel=5e-3)
    since = 100 * x[np.argmax(off > 0.01)]
    assert row(found, "noise_scale").differs_from == pytest.approx(since, abs=1e-3)
    constant = run({"epochs": 100, "learning_rate": 0.1})
    half = run({"epochs": 100, "learning_rate": {"shape": "linear", "start": 0.1, "end": 0.05}})
    found = compare_runs(constant, half, N)
    assert row(found, "noise_scale").differs_from == pytest.approx(2.0, abs=1e-6)
    assert "from epoch 2," in found.reason


def test_without_a_train_size():
    assert compare_runs(BASE, BASE).same
    other = run({"epochs": 20, "learning_rate": 0.2}, {"epochs": 10, "learning_rate": 0.02})
    assert "differs from epoch 0" in compare_runs(BASE, other).reason
    shorter = compare_runs(BASE, run({"epochs": 20, "learning_rate": 0.1}))
    assert "epochs differs from epoch 20" in shorter.reason
    counted = run({"updates": 10, "learning_rate": 0.1})
    assert compare_runs(counted, run({"examples": 1000, "learning_rate": 0.1})).same
    more = compare_runs(counted, run({"examples": 1500, "learning_rate": 0.1}))
    assert "examples differs from example 1,000" in more.reason
    with pytest.raises(InputError, match="give train_size"):
        compare_runs(BASE, counted)


def test_phases_shorter_than_the_largest_batch_are_compared():
    """Rates swapped in short phases: equal in every sum, different in noise scale throughout."""

    def swapped(even, odd):
        short = [{"examples": 1000, "learning_rate": r, "batch_size": 10} for r in (even, odd)]
        return run(*short * 20, {"examples": 80000, "learning_rate": 0.1, "batch_size": 8000})

    found = compare_runs(swapped(0.1, 0.3), swapped(0.3, 0.1), N)
    assert row(found, "sde_time").kept
    assert row(found, "noise_scale").max_relative_deviation == pytest.approx(2)
    assert not found.same


def test_an_end_rounded_to_updates_is_the_same_end():
    """20 epochs of 10,000 in updates of 300 are 666.67: written as 667."""
    epochs = run(
        {"epochs": 20, "learning_rate": 0.1, "batch_size": 300},
        {"epochs": 10, "learning_rate": 0.02, "batch_size": 300},
    )
    updates = run(
        {"updates": 667, "learning_rate": 0.1, "batch_size": 300},
        {"updates": 333, "learning_rate": 0.02, "batch_size": 300},
    )
    assert compare_runs(epochs, updates, N).same
    late = run(
        {"updates": 676, "learning_rate": 0.1, "batch_size": 300},
        {"updates": 324, "learning_rate": 0.02, "batch_size": 300},
    )
    found = compare_runs(epochs, late, N)
    assert row(found, "noise_scale").differs_from == pytest.approx(20)


def test_partial_batches_count():
    coarse = run({"epochs": 20, "learning_rate": 3.0, "batch_size": 3000})
    fine = run({"epochs": 20, "learning_rate": 0.1})
    assert compare_runs(fine, coarse, N, "carry").same
    found = compare_runs(fine, coarse, N, "drop")
    assert not found.same
    assert row(found, "sde_time").after == pytest.approx(0.9 * row(found, "sde_time").before)
