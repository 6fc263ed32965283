"""The quirks of the released code of Hoffer et al., each one switch that changes one thing."""

from collections import Counter

import numpy as np
import pytest

from noisescale import InputError, Phase, Schedule
from noisescale.recipe import (
    DataConfig,
    ModelConfig,
    OptimizerConfig,
    Recipe,
    bigbatch_compat,
    named_document,
    recipe_from,
)
from noisescale.training.augmentation import CropFlip
from noisescale.training.batches import Arrangement
from noisescale.training.data import load_dataset
from noisescale.training.run import Trainer


def leaves(document, path=""):
    if isinstance(document, dict):
        for key, value in document.items():
            yield from leaves(value, f"{path}.{key}" if path else key)
    elif isinstance(document, list):
        for value in document:
            yield from leaves(value, path)
    else:
        yield path, document


def changed(**switch):
    """The keys that a switch changes, against the released code."""
    before, after = (Counter(leaves(d)) for d in (bigbatch_compat(), bigbatch_compat(**switch)))
    return {key for key, _ in (before - after) + (after - before)}


def test_the_shipped_recipe_is_the_released_code():
    document = named_document("bigbatch-compat-f1-mnist")
    del document["title"], document["sources"]
    assert document == bigbatch_compat()
    recipe_from(document)


@pytest.mark.parametrize(
    ("switch", "keys"),
    [
        ({"empties_momentum": False}, {"optimizer.momentum_reset"}),
        ({"keeps_last_batch": False}, {"partial"}),
        ({"shrinks_last_ghosts": False}, {"model.partial_ghost"}),
        ({"first_tensor_distance": False}, {"probe.distance"}),
        ({"always_clips": False}, {"optimizer.clip_norm"}),
        ({"grey_padding": True}, {"data.augmentation", "data.padding", "data.fill"}),
        ({"base_batch_size": 256}, {"phase.learning_rate"}),
        ({"scales_learning_rate": False}, {"phase.learning_rate"}),
        ({"adapts_regime": True}, {"phase.epochs"}),
    ],
)
def test_every_quirk_is_one_switch(switch, keys):
    assert changed(**switch) == keys
    recipe_from(bigbatch_compat(**switch))


@pytest.mark.parametrize(("base", "rate"), [(128, 0.1 * 32**0.5), (256, 0.4)])
def test_the_two_bases(base, rate):
    phases = bigbatch_compat(base_batch_size=base)["phase"]
    assert [p["learning_rate"] for p in phases] == pytest.approx(
        [rate, rate / 10, rate / 100, rate / 1000], rel=1e-11
    )
    adapted = bigbatch_compat(base_batch_size=base, adapts_regime=True)["phase"]
    assert [p["epochs"] for p in adapted] == [e * 4096 // base for e in (10, 10, 10, 20)]
    with pytest.raises(InputError, match="base_batch_size"):
        bigbatch_compat(base_batch_size=100)


def test_the_last_ghosts_shrink():
    """An epoch of 50,000 at B = 4096 ends with 848: 32 chunks of 27, the last of 11."""
    model = ModelConfig(batch_norm=True, ghost_batch_size=128, partial_ghost="chunk")
    arrangement = Arrangement(4096, model, 0)
    places = arrangement.places(848)
    slots = arrangement.shape[2]
    sizes = np.unique(places // slots, return_counts=True)[1]
    assert sizes.tolist() == [27] * 31 + [11]
    # The first batch is whole ghosts; at B = 2048 with ghosts of 256 the last are 8 of 106.
    assert arrangement.sizes == (128,) * 32
    model = ModelConfig(batch_norm=True, ghost_batch_size=256, partial_ghost="chunk")
    arrangement = Arrangement(2048, model, 0)
    sizes = np.unique(arrangement.places(848) // arrangement.shape[2], return_counts=True)[1]
    assert sizes.tolist() == [106] * 8


@pytest.mark.parametrize(
    ("size", "batch", "momentum"), [(200, 20, 0.9), (200, 50, 0.9), (196, 25, 0.5)]
)
def test_an_emptied_buffer_costs_the_published_fraction(size, batch, momentum):
    """On a constant gradient, f = 1 − m(1−mⁿ)/(n(1−m)) of the way, to 1e-6."""
    updates = -(-size // batch)
    moved = []
    for reset in ("epoch", "never"):
        optimizer = OptimizerConfig(momentum_reset=reset)
        moved.append(walk(optimizer, size, batch, momentum, epochs=6))
    # Against an endless run, which moves 1/(1−m) per update.
    expected = 1 - momentum * (1 - momentum**updates) / (updates * (1 - momentum))
    total = 6 * updates
    whole = 1 - momentum * (1 - momentum**total) / (total * (1 - momentum))
    assert moved[0] / (total / (1 - momentum)) == pytest.approx(expected, rel=1e-6)
    assert moved[1] / (total / (1 - momentum)) == pytest.approx(whole, rel=1e-6)


def walk(optimizer, size, batch, momentum, epochs):
    """How far the drivers' own update moves one weight under a constant gradient of −1."""
    import jax
    import jax.numpy as jnp

    from noisescale.training.batches import Feed
    from noisescale.training.optimizers import Hyper, Rule, apply_update
    from noisescale.training.streams import DataStream

    phase = Phase(epochs=epochs, learning_rate=1.0, batch_size=batch, momentum=momentum)
    plan = Schedule([phase]).plan(size, "keep")
    (row,) = plan.rows
    recipe = Recipe(
        schedule=Schedule([phase]),
        partial="keep",
        optimizer=optimizer,
        data=DataConfig(subset=size),
    )
    trainer = Trainer(recipe, load_dataset(recipe.data))
    arrangement = Arrangement(batch, ModelConfig(), 0)
    feed = Feed(DataStream(0, 0, size), row, "keep", 0, arrangement, with_epochs=False)
    begins = feed.batches(0, row.updates).begins_epoch
    hyper = trainer._hyper(0, 0, row.updates, row, begins)
    with jax.enable_x64(True):
        w, v = {"w": jnp.zeros(1)}, {"w": jnp.zeros(1)}
        for k in range(row.updates):
            at = Hyper(*(float(np.asarray(a)[k]) for a in hyper))
            w, v = apply_update(w, v, {"w": -jnp.ones(1)}, at, Rule(optimizer))
        return float(w["w"][0])


def test_published_fractions():
    """Mean rate over nominal at n = N/B updates an epoch: .977, .817, .666, .484 (N = 50,000)."""
    for batch, fraction in ((128, 0.977), (1024, 0.817), (2048, 0.666), (4096, 0.484)):
        n = 50000 / batch if batch == 128 else -(-50000 // batch)
        f = 1 - 0.9 * (1 - 0.9**n) / (n * 0.1)
        assert f == pytest.approx(fraction, abs=0.0006)


@pytest.mark.parametrize("fill", [0, 127])
def test_what_is_padded(fill):
    import jax
    import jax.numpy as jnp

    crop = CropFlip(2, fill / 255)
    images = jnp.ones((500, 6, 5, 1))
    keys = jax.random.split(jax.random.key(0), 500)
    cut = np.asarray(crop(keys, images)).reshape(500, 6, 5)
    assert cut.shape == (500, 6, 5)
    values = np.unique(cut)
    np.testing.assert_allclose(values, sorted({np.float32(fill / 255), np.float32(1)}), rtol=1e-6)
    # Offsets are uniform on 0 … 4 each way: rows of padding at the top and bottom.
    inside = np.isclose(cut, 1)
    rows = inside.any(axis=2).sum(axis=1)
    # |offset − 2| is 0, 1, 2 with probability 1/5, 2/5, 2/5; k = 5 standard errors.
    for missing, chance in ((0, 0.2), (1, 0.4), (2, 0.4)):
        error = 5 * np.sqrt(chance * (1 - chance) / 500)
        assert np.mean(rows == 6 - missing) == pytest.approx(chance, abs=error)


def test_a_crop_is_a_shift_or_its_mirror():
    import jax
    import jax.numpy as jnp

    crop = CropFlip(1, 0.5)
    image = jnp.arange(1.0, 13.0).reshape(1, 4, 3, 1)
    padded = np.pad(np.arange(1.0, 13.0).reshape(4, 3), 1, constant_values=0.5)
    windows = [padded[i : i + 4, j : j + 3] for i in range(3) for j in range(3)]
    allowed = [*windows, *(w[:, ::-1] for w in windows)]
    seen, mirrored = set(), 0
    for key in jax.random.split(jax.random.key(1), 200):
        cut = np.asarray(crop(key[None], image)).reshape(4, 3)
        (found,) = [k for k, w in enumerate(allowed) if np.array_equal(cut, w)]
        seen.add(found)
        mirrored += found >= 9
    assert len(seen) == 18
    assert mirrored == pytest.approx(100, abs=5 * np.sqrt(50))


def test_augmentation_is_of_training_alone():
    """The evaluation of the initial weights is that of the images as they are."""
    plain = {"phase": [{"epochs": 1, "batch_size": 50, "learning_rate": 0.1}]}
    augmented = {**plain, "data": {"augmentation": "crop-flip", "padding": 2, "fill": 127}}
    rows = []
    for document in (plain, augmented):
        recipe = recipe_from(document)
        trainer = Trainer(recipe, load_dataset(recipe.data))
        progress = trainer.start(0)
        rows.append(trainer.run_phase(progress, recipe.schedule.plan(1437), 0).rows)
    for column in ("train_loss", "evaluation_error"):
        assert rows[0][0][column] == rows[1][0][column]
        assert rows[0][-1][column] != rows[1][-1][column]
