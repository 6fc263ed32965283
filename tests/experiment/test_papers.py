"""The published protocols: their batch sizes, update counts and noise scales are the papers'."""

import json
from itertools import pairwise

import numpy as np
import pytest

from noisescale.experiment import find_experiment, read_experiment
from noisescale.experiment.parsing import built_in
from noisescale.experiment.report import markdown_report
from noisescale.experiment.verify import conclusions_of
from noisescale.training.batches import check_batches


def plans(name, preset="paper"):
    experiment = find_experiment(name, preset=preset)
    return {arm.name: arm for arm in experiment.planned(experiment.base.train_size)}


def rates(arm, epochs):
    """Learning rates at these epochs of an arm with one batch size."""
    per_epoch = arm.plan.train_size / arm.plan.rows[0].batch_size
    return arm.plan.rows[0].rates_at(np.ceil(np.array(epochs) * per_epoch)).tolist()


PAPERS = [name for name, files in built_in().items() if "paper" in files]


@pytest.mark.parametrize("name", PAPERS)
def test_every_batch_can_be_laid_out(name):
    for arm in plans(name).values():
        check_batches(arm.recipe, arm.plan)


SCHEDULES = (
    "original",
    "increasing-batch-size",
    "increased-learning-rate",
    "increased-momentum",
)


def test_the_four_schedules_make_the_published_updates():
    """Smith, Kindermans, Ying & Le 2018, section 5.2, to the precision given there."""
    arms = plans("increased-schedules")
    original, growing, faster, heavier = (arms[name].plan.updates for name in SCHEDULES)
    assert round(original, -4) == 80_000
    assert round(growing, -3) == 29_000
    # "Fewer than" bounds from above; the milestones that give the first two give these.
    assert 6_000 < faster < 6_500
    assert 2_000 < heavier < 2_500


def test_the_four_schedules_begin_as_published():
    arms = plans("increased-schedules")
    begin = [
        (row.learning_rate, row.batch_size, row.momentum)
        for row in (arms[name].plan.rows[0] for name in SCHEDULES)
    ]
    assert begin == [(0.1, 128, 0.9), (0.1, 128, 0.9), (0.5, 640, 0.9), (0.5, 3200, 0.98)]
    grown = [[row.batch_size for row in arms[name].plan.rows] for name in SCHEDULES]
    assert grown[0] == [128] * 4
    assert grown[1:] == [
        [128, 640, 3200, 5120],
        [640, 3200, 5120, 5120],
        [3200, 5120, 5120, 5120],
    ]


@pytest.mark.parametrize(("preset", "first"), [("paper", 128), ("quick", 4)])
def test_the_four_schedules_have_one_noise_scale(preset, first):
    arms = plans("increased-schedules", preset)
    wanted = [row.noise_scale for row in arms["original"].plan.rows]
    assert [a / b for a, b in pairwise(wanted)] == pytest.approx([5.0] * 3)
    for name in SCHEDULES:
        assert [row.noise_scale for row in arms[name].plan.rows] == pytest.approx(wanted)
        assert arms[name].plan.rows[-1].end_examples == arms["original"].plan.rows[-1].end_examples
    begin = [arms[name].plan.rows[0].batch_size for name in SCHEDULES]
    assert begin == [first, first, 5 * first, 25 * first]
    # No batch above 5,120 of 50,000.
    size = arms["original"].plan.train_size
    largest = max(row.batch_size for name in SCHEDULES for row in arms[name].plan.rows)
    assert largest == int(5120 / 50000 * size)
    assert arms["batch-only"].plan.rows[0].noise_scale == pytest.approx(wanted[0] / 5)


BATCHES = (128, 256, 512, 1024, 2048, 4096, 8192)
CONDITIONS = {
    "none": ("none", None),
    "medium": ("medium", None),
    "medium-without-flip": ("medium-without-flip", None),
    "strong": ("strong", None),
    "medium-warmup-1": ("medium", 1),
    "medium-warmup-5": ("medium", 5),
    "medium-warmup-10": ("medium", 10),
}


@pytest.mark.parametrize("condition", CONDITIONS)
def test_the_warm_up_study_keeps_the_noise_scale(condition):
    """Learning rate .1 B/128 at seven batch sizes, divided by 10 at epochs 60 and 85 of 100."""
    arms = plans("warmup-or-augmentation")
    assert len(arms) == len(CONDITIONS) * len(BATCHES)
    augmentation, warmup = CONDITIONS[condition]
    for batch in BATCHES:
        arm = arms[f"{condition}_{batch}"]
        assert arm.recipe.data.augmentation == augmentation
        (row,) = arm.plan.rows
        assert (row.batch_size, row.momentum) == (batch, 0.9)
        assert arm.plan.updates == pytest.approx(100 * 50_000 / batch, abs=0.5)
        shape = arm.recipe.schedule.phases[0].learning_rate
        assert (shape.warmup and shape.warmup.duration.epochs) == warmup
        found = rates(arm, [11, 59, 61, 84, 86, 99])
        wanted = [0.1, 0.1, 0.01, 0.01, 0.001, 0.001]
        assert found == pytest.approx([rate * batch / 128 for rate in wanted])
        noise_scales = [rate * 50_000 / (batch * (1 - row.momentum)) for rate in found]
        assert noise_scales == pytest.approx([rate * 3_906.25 for rate in wanted])


@pytest.mark.parametrize("experiment", ["train-longer", "regime-adaptation"])
def test_the_ladder_has_the_published_batch_sizes(experiment):
    """Hoffer, Hubara & Soudry 2017: 128 and 4,096, ghosts of 128, the rate × the root of 32."""
    arms = plans(experiment)
    sizes = {name: {row.batch_size for row in arm.plan.rows} for name, arm in arms.items()}
    assert sizes.pop("small-batch") == sizes.pop("small-batch-again") == {128}
    assert set(map(frozenset, sizes.values())) == {frozenset({4096})}
    ghosts = {name: arm.recipe.model.ghost_batch_size for name, arm in arms.items()}
    plain = ("small-batch", "large-batch", "learning-rate", "small-batch-again")
    assert {ghosts.pop(name) for name in plain} == {0}
    assert set(ghosts.values()) == {128}
    rate = [arms[n].plan.rows[0].learning_rate for n in ("small-batch", "large-batch", "ghost")]
    assert rate == pytest.approx([0.1, 0.1, 0.1 * 32**0.5])
    updates = {name: arm.plan.updates for name, arm in arms.items()}
    assert updates["ghost"] == pytest.approx(updates["small-batch"] / 32, abs=0.5)


@pytest.mark.parametrize(
    ("experiment", "milestones", "epochs"),
    [("train-longer", [81, 122, 164], 200), ("regime-adaptation", [10, 20, 30], 50)],
)
def test_the_ladder_has_the_regime_of_the_released_code(experiment, milestones, epochs):
    plan = plans(experiment)["small-batch"].plan
    ends = [float(row.end_examples / plan.train_size) for row in plan.rows]
    assert ends == pytest.approx([*milestones, epochs], abs=0.01)
    assert [row.learning_rate for row in plan.rows] == [0.1, 0.01, 0.001, 0.0001]


def test_regime_adaptation_makes_the_updates_of_the_small_batch():
    arms = plans("regime-adaptation")
    small, adapted = arms["small-batch"].plan, arms["regime-adaptation"].plan
    assert adapted.updates == small.updates == 23_438
    assert [row.start_update for row in adapted.rows] == [row.start_update for row in small.rows]
    assert float(adapted.examples) == pytest.approx(32 * float(small.examples))


def test_momentum_or_learning_rate_is_the_blog():
    """Arms 1, 3 and 4 at four base rates: 250 epochs, drops by 5 at 100, 150 and 200."""
    arms = plans("momentum-or-learning-rate")
    for rate in (0.02, 0.05, 0.1, 0.2):
        for name, batch, momentum, factor in (
            ("baseline", 128, 0.9, 1),
            ("momentum", 640, 0.98, 1),
            ("learning-rate", 640, 0.9, 5),
        ):
            arm = arms[f"{name}_{rate:g}"]
            (row,) = arm.plan.rows
            assert (row.batch_size, row.momentum) == (batch, pytest.approx(momentum))
            assert arm.recipe.model.ghost_batch_size == 128
            assert arm.plan.updates == pytest.approx(250 * 50_000 / batch, abs=0.5)
            drops = rates(arm, [99, 101, 151, 201])
            assert drops == pytest.approx([factor * rate / 5**k for k in range(4)])
    ghosts = {n: arms[f"{n}_eighth"] for n in ("baseline", "momentum", "learning-rate")}
    for arm in ghosts.values():
        assert 8 * arm.recipe.model.ghost_batch_size == arm.plan.rows[0].batch_size


def test_small_batch_keeps_adams_half_life():
    arms = plans("small-batch")
    kept, unchanged = (arms[n].recipe for n in ("adam-small-half-life", "adam-small"))
    assert unchanged.optimizer.beta2 ** (1 / 8) == pytest.approx(kept.optimizer.beta2, abs=1e-9)
    assert (
        arms["large-batch"].plan.rows[0].batch_size
        == 8 * arms["adam-small"].plan.rows[0].batch_size
    )
    shrunk, full = arms["shrunk"], arms["full-size-batch-64"]
    assert (shrunk.recipe.model.downsample, full.recipe.model.downsample) == (2, 1)
    assert shrunk.plan.rows[0].batch_size == 4 * full.plan.rows[0].batch_size


def test_the_schedules_on_digits_follow_from_their_curves(root):
    folder = root / "experiments" / "increase_batch_size" / "results" / "increased-schedules-digits"
    results = json.loads((folder / "results.json").read_text("utf-8"))
    experiment = read_experiment(folder / "experiment.toml")
    assert experiment.sha256 == find_experiment("increased-schedules").sha256
    again = conclusions_of(experiment, results)
    for key in ("predictions", "gate", "controls", "informative"):
        assert again[key] == results[key]
    assert (folder / "report.md").read_text("utf-8") == markdown_report(results)
    assert results["informative"] and len(results["arms"][0]["seeds"]) == 10
