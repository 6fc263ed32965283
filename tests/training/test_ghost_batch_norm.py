"""Ghost batch norm, optimizers and noise of the training engine against a float64 twin."""

from dataclasses import replace
from functools import partial
from itertools import product

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from noisescale.errors import InputError
from noisescale.recipe import recipe_from
from noisescale.training.batches import Arrangement, Feed, check_batches
from noisescale.training.data import load_dataset
from noisescale.training.ghost_batch_norm import (
    GhostBatchNorm,
    Moments,
    Statistics,
    fold,
    ghost_sizes,
)
from noisescale.training.models import Pass, build_model
from noisescale.training.optimizers import Hyper, Rule, apply_update, start_of
from noisescale.training.parameters import parameters_of
from noisescale.training.probes import Probes
from noisescale.training.run import Trainer, Watch
from noisescale.training.steps import (
    Batch,
    TrainState,
    loss_factors,
    micro_step,
    noisy_labels,
    update,
)
from noisescale.training.streams import (
    DataStream,
    dynamics_key,
    epoch_order,
    example_keys,
    initial_weights_key,
)
from tests.reference import ghost_batch_norm as twin

SIZE, CLASSES = 200, 10
# As many evaluation examples as training examples: one program evaluates both.
DATA = {"subset": 2 * SIZE, "validation": SIZE}
QUIET = {
    "per_decade": 1,
    "layers": False,
    "sketch": 0,
    "gradient_parts": 0,
    "recalibration_examples": 0,
}
PHASE = {"updates": 32, "learning_rate": 0.02, "batch_size": 24, "momentum": 0.9}
GHOSTS = {"width": 6, "depth": 2, "batch_norm": True, "ghost_batch_size": 8}
MODES = ["sequential", "composite", "composite-printed", "divided"]
POLICIES = ["own", "even", "drop", "chunk"]
# float32 rounds weights of length 1 by 6e-8, and 32 updates carry that to 1e-6. A factor of 2
# anywhere moves 1e-3 and more.
ATOL = 1e-5
# For programs that run once and whose compilation takes the time.
quickly = partial(jax.jit, compiler_options={"xla_backend_optimization_level": 0})
# Sampled quantities: in some hundred comparisons with fixed seeds none lies further off.
STANDARD_ERRORS = 5
DRAWS = 4000


def recipe_of(phases=(PHASE,), *, optimizer=(), model=(), run=(), probe=(), **top):
    return recipe_from(
        {
            "phase": list(phases),
            "optimizer": dict(optimizer),
            "model": {**GHOSTS, **dict(model)},
            "data": DATA,
            "run": {"evaluate_every": 100.0, **dict(run)},
            "probe": {**QUIET, **dict(probe)},
            **top,
        }
    )


PLAIN = {"batch_norm": False, "ghost_batch_size": 0}


def micro_run(micro):
    return {"micro_batch_size": micro}


@pytest.fixture(scope="module")
def dataset():
    return load_dataset(recipe_of().data)


@pytest.fixture(scope="module")
def examples(dataset):
    return dataset.train_inputs.astype(np.float64), dataset.train_labels


def named(weights):
    """The twin's dict of a model's weights."""
    found = {f"W{k}": w for k, w in enumerate(weights.weights)}
    found |= {f"b{k}": b for k, b in enumerate(weights.biases)}
    found |= {f"scale{k}": norm.scale for k, norm in enumerate(weights.norms)}
    found |= {f"shift{k}": norm.shift for k, norm in enumerate(weights.norms)}
    return {name: np.asarray(a, np.float64) for name, a in found.items()}


def shaken(weights, seed=0):
    """Weights with no tensor at 0 or 1, where a missing term would not be seen."""
    rng = np.random.default_rng(seed)
    return jax.tree.map(lambda a: a + jnp.asarray(0.1 * rng.normal(size=a.shape), a.dtype), weights)


def trained(recipe, dataset, seed=0):
    """({update: state} wherever the run was looked at, its last progress, its plan)."""
    plan = recipe.schedule.plan(SIZE, recipe.partial)
    trainer = Trainer(recipe, dataset)
    progress = trainer.blank(seed)
    progress = replace(
        progress, state=progress.state._replace(weights=shaken(progress.state.weights))
    )
    seen = {0: progress.state}

    def look(now):
        seen[now.update] = now.state

    for number in range(len(plan.rows)):
        progress = trainer.run_phase(progress, plan, number, Watch(between=look))
    return seen, progress, plan


def batches_of(plan, seed=0):
    """(row, examples, epochs of the examples) of every update, cut from permutations by hand."""
    orders = [epoch_order(seed, 0, epoch, SIZE) for epoch in range(20)]
    stream = [(int(i), epoch) for epoch, order in enumerate(orders) for i in order]
    position, found = 0, []
    for row in plan.rows:
        for _ in range(row.updates):
            end = position + row.batch_size
            if plan.partial in ("drop", "keep"):
                left = SIZE - position % SIZE
                if plan.partial == "drop" and left < row.batch_size:
                    position += left
                    end = position + row.batch_size
                elif left < row.batch_size:
                    end = position + left
            piece = stream[position:end]
            found.append((row, [i for i, _ in piece], [epoch for _, epoch in piece]))
            position = end
    return found


def updates_of(recipe, plan):
    """What the twin is told about every update."""
    found, before = [], -1
    for row, batch, epochs in batches_of(plan):
        model = recipe.model
        size = (model.ghost_batch_size or row.batch_size) if model.batch_norm else len(batch)
        found.append(
            {
                "ghosts": twin.ghosts_of(batch, size, model.partial_ghost, row.batch_size),
                "rate": row.learning_rate,
                "momentum": row.momentum,
                "weight_decay": row.weight_decay,
                "empty": recipe.optimizer.momentum_reset == "epoch" and epochs[0] != before,
                "batch": batch,
                "epochs": epochs,
            }
        )
        before = epochs[0]
    return found


def twin_optimizer(recipe):
    options = recipe.optimizer
    return twin.Optimizer(
        name="sgd" if options.name == "sgd" else "adam",
        form=options.momentum_form,
        nesterov=options.nesterov,
        decay=recipe.schedule.decay,
        everything=options.decay_norm_and_bias,
        clip=options.clip_norm or None,
        normalize=options.normalize,
        clip_updates=options.clip_updates or None,
        beta1=options.beta1,
        beta2=options.beta2,
        epsilon=options.epsilon,
    )


def twin_run(recipe, plan, start, x, y, updates=None):
    return twin.train(
        named(start.weights),
        updates_of(recipe, plan) if updates is None else updates,
        x,
        y,
        twin_optimizer(recipe),
        mode=recipe.model.running_statistics,
        decay=0.9 if recipe.schedule.batch_norm_decay is None else recipe.schedule.batch_norm_decay,
    )


def agree(seen, trajectory):
    """At every update looked at: all weights, and the running statistics."""
    assert len(seen) >= 4 and max(seen) == len(trajectory) - 1
    for number, state in seen.items():
        weights, running = trajectory[number]
        ours = named(state.weights)
        assert set(ours) == set(weights)
        for name, expected in weights.items():
            np.testing.assert_allclose(ours[name], expected, atol=ATOL, err_msg=name)
        for layer, expected in zip(state.statistics, running, strict=True):
            np.testing.assert_allclose(layer.mean, expected[0], atol=ATOL)
            # Variances of the first layer's inputs reach 3: relative.
            np.testing.assert_allclose(layer.variance, expected[1], atol=ATOL, rtol=ATOL)


def apart(one, other):
    """The largest difference between two weight dicts."""
    return max(np.abs(one[k] - other[k]).max() for k in one)


RUNS = {
    "whole ghosts": {"probe": {"recalibration_examples": 50}},
    "a last ghost of one, on the host": {
        "batch": 25,
        "depth": 2,
        "mode": "divided",
        "decay": 0.8,
        "run": {"driver": "host"},
    },
    "own, and an uneven last micro-batch on the host": {
        "batch": 29,
        "mode": "composite",
        "run": {"driver": "host", "micro_batch_size": 16},
    },
    "even, short batches kept": {"batch": 56, "ghost": 12, "policy": "even", "partial": "keep"},
    "drop, short batches dropped": {
        "batch": 56,
        "ghost": 12,
        "policy": "drop",
        "mode": "composite-printed",
        "partial": "drop",
        "run": {"driver": "host"},
    },
    "chunk, short batches kept": {
        "batch": 56,
        "ghost": 14,
        "policy": "chunk",
        "decay": 0.5,
        "mode": "composite",
        "partial": "keep",
        "run": {"micro_batch_size": 28},
    },
}


@pytest.mark.parametrize("name", RUNS)
def test_a_run_is_the_twins(name, dataset, examples):
    case = RUNS[name]
    model = {
        "depth": case.get("depth", 1),
        "ghost_batch_size": case.get("ghost", 8),
        "partial_ghost": case.get("policy", "own"),
        "running_statistics": case.get("mode", "sequential"),
    }
    top = {"batch_norm_decay": case["decay"]} if "decay" in case else {}
    recipe = recipe_of(
        [PHASE | {"batch_size": case.get("batch", 24)}],
        model=model,
        run=case.get("run", {}),
        probe=case.get("probe", {}),
        partial=case.get("partial", "carry"),
        **top,
    )
    seen, progress, plan = trained(recipe, dataset)
    trajectory = twin_run(recipe, plan, seen[0], *examples)
    agree(seen, trajectory)
    (first, _), (weights, running) = trajectory[0], trajectory[-1]
    assert apart(first, weights) > 0.2  # the run is alive
    # Evaluated with the running statistics alone.
    x = dataset.evaluation_inputs.astype(np.float64)
    parts = {"train": (running, *examples), "evaluation": (running, x, dataset.evaluation_labels)}
    if "probe" in case:
        # Of 50 examples the first 6 ghosts of 8.
        ghosts = twin.ghosts_of(epoch_order(0, 0, 0, SIZE)[:48], 8, "own", 48)
        averaged = twin.averaged(weights, ghosts, *examples)
        parts["recalibrated"] = (averaged, x, dataset.evaluation_labels)
    losses = []
    for part, data in parts.items():
        loss, error = twin.evaluated(weights, *data)
        losses.append(loss)
        assert progress.rows[-1][f"{part}_loss"] == pytest.approx(loss, rel=1e-5)
        assert progress.rows[-1][f"{part}_error"] == pytest.approx(error, abs=1.01 / SIZE)
    assert np.diff(sorted(losses)).min() > 1e-3


TWO_PHASES = [
    PHASE | {"updates": 18, "weight_decay": 0.02, "learning_rate": 0.05},
    PHASE | {"updates": 14, "weight_decay": 0.01, "learning_rate": 0.02, "momentum": 0.5},
]
OPTIMIZERS = {
    "trace, clipped for a while": {"clip_norm": 0.4, "clip_updates": 12},
    "velocity, nesterov, independent decay of matrices, momentum emptied": {
        "momentum_form": "velocity",
        "nesterov": True,
        "decay": "independent",
        "decay_norm_and_bias": False,
        "momentum_reset": "epoch",
    },
    "dampened, decoupled decay, normalized": {
        "momentum_form": "dampened",
        "decay": "decoupled",
        "clip_norm": 2.0,
        "normalize": True,
    },
    "adam": {"name": "adam"},
    # A bias before batch norm has gradient 0 and rounding: a larger epsilon keeps it there.
    "adamw, decay of matrices": {"name": "adamw", "epsilon": 0.01, "decay_norm_and_bias": False},
}


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_a_run_with_other_optimizers_is_the_twins(name, dataset, examples):
    """Two phases: the rate, the momentum and the weight decay change at update 18."""
    options, phases = OPTIMIZERS[name], TWO_PHASES
    if "name" in options:
        phases = [phase | {"momentum": 0.0, "weight_decay": 0.2} for phase in phases]
    model = {"depth": 1} | (PLAIN if name == "adam" else {})
    recipe = recipe_of(phases, optimizer=options, model=model, run={"driver": "host"})
    seen, _, plan = trained(recipe, dataset)
    trajectory = twin_run(recipe, plan, seen[0], *examples)
    agree(seen, trajectory)
    # As the tolerance is meant: without these options the twin ends elsewhere.
    recipe = recipe_of(phases, optimizer={}, model=model)
    other = twin_run(recipe, plan, seen[0], *examples)
    assert apart(trajectory[-1][0], other[-1][0]) > 100 * ATOL


class Layer(eqx.Module):
    """Tensors of each kind that weight decay tells apart, of one shape: less to compile."""

    matrix: jax.Array
    bias: jax.Array
    norm: GhostBatchNorm

    def named(self):
        found = {"W": self.matrix, "b": self.bias}
        found |= {"scale": self.norm.scale, "shift": self.norm.shift}
        return {name: np.asarray(a, np.float64) for name, a in found.items()}


def steps_agree(options, momenta):
    """Random gradients; another rate, momentum and decay from the fourth update on."""
    rng = np.random.default_rng(0)
    weights = Layer(jnp.zeros(5), jnp.zeros(5), GhostBatchNorm(5))
    weights = jax.tree.map(lambda a: jnp.asarray(rng.normal(size=5), jnp.float32), weights)
    recipe = recipe_of([PHASE | {"momentum": momenta[0]}], optimizer=options)
    rule, reference = Rule(recipe.optimizer, recipe.schedule.decay), twin_optimizer(recipe)
    state, expected = start_of(weights, recipe.optimizer), weights.named()
    for k in range(6):
        rate, momentum, decay = (0.1, momenta[0], 0.2) if k < 3 else (0.03, momenta[1], 0.3)
        norm = options.get("clip_norm", np.inf)
        norm = norm if k < options.get("clip_updates", np.inf) else np.inf
        # About √20 long.
        gradient = jax.tree.map(lambda a: jnp.asarray(rng.normal(size=5), jnp.float32), weights)
        hyper = Hyper(rate, momentum, decay, norm)
        weights, state = apply_update(weights, state, gradient, hyper, rule)
        expected = reference.step(expected, gradient.named(), rate, momentum, decay)
    ours = weights.named()
    for key, value in expected.items():
        # Weights reach 3; float32 rounds 6 updates of them to 1e-6.
        np.testing.assert_allclose(ours[key], value, atol=5e-6)
    return expected


@pytest.mark.parametrize("form", ["trace", "velocity", "dampened"])
def test_every_form_of_momentum_steps_as_the_twins(form):
    cases = [
        {"nesterov": nesterov, "decay": decay, "decay_norm_and_bias": everything}
        for nesterov, decay, everything in product(
            (False, True), ("coupled", "decoupled", "independent"), (False, True)
        )
    ]
    cases.append({"clip_norm": 3.0, "clip_updates": 5})
    cases.append({"clip_norm": 6.0, "normalize": True})
    ends = [steps_agree({"momentum_form": form} | case, (0.9, 0.6)) for case in cases]
    # No case can stand in for another.
    for k, end in enumerate(ends):
        assert all(apart(end, other) > 1e-3 for other in ends[:k])


def test_adam_steps_as_the_twins():
    constants = {"beta1": 0.8, "beta2": 0.95, "epsilon": 0.1}
    for everything in (False, True):
        for name in ("adam", "adamw"):
            steps_agree({"name": name, "decay_norm_and_bias": everything} | constants, (0.0, 0.0))
    steps_agree({"name": "adam", "clip_norm": 2.0, "epsilon": 1.0}, (0.0, 0.0))


def test_the_twins_gradient_is_that_of_its_loss(examples):
    rng = np.random.default_rng(0)
    weights = named(shaken(model_of()[0]))
    ghosts, factors = [[0, 1, 2, 3, 4], [5, 6, 7], [8]], rng.normal(1.0, 0.5, SIZE)
    _, gradient, _ = twin.loss_and_gradient(weights, ghosts, *examples, factors)
    direction = {name: rng.normal(size=w.shape) for name, w in weights.items()}
    for name, d in direction.items():
        losses = []
        for step in (1e-6, -1e-6):
            moved = weights | {name: weights[name] + step * d}
            losses.append(twin.loss_and_gradient(moved, ghosts, *examples, factors)[0])
        slope = (losses[0] - losses[1]) / 2e-6
        # Second differences err by 1e-12, rounding by 1e-16/1e-6.
        assert slope == pytest.approx((gradient[name] * d).sum(), rel=1e-6, abs=1e-8)


def test_nesterovs_momentum_is_the_gradient_ahead():
    """Sutskever et al. 2013: v ← m v − ε ∇L(θ + m v), θ ← θ + v; our weights are θ + m v."""
    slopes, rate, m = np.array([3.0, 0.5, 1.0]), 0.1, 0.8
    theta, v = np.array([1.0, -2.0, 0.5]), np.zeros(3)
    for form in ("trace", "velocity"):
        options = recipe_of(optimizer={"momentum_form": form, "nesterov": True}).optimizer
        weights, state = jnp.asarray(theta, jnp.float32), jnp.zeros(3)
        ahead, moving = theta, v
        for _ in range(10):
            moving = m * moving - rate * slopes * (ahead + m * moving)
            ahead = ahead + moving
            gradient = jnp.asarray(slopes, jnp.float32) * weights
            weights, state = apply_update(weights, state, gradient, Hyper(rate, m), Rule(options))
        np.testing.assert_allclose(weights, ahead + m * moving, rtol=1e-5, atol=1e-6)


def model_of(float64=False, **model):
    """(weights, the rest, running statistics) of a recipe's model."""
    config = recipe_of(model=model).model
    built = build_model(config, (8, 8, 1), CLASSES, initial_weights_key(0))
    weights, static = eqx.partition(built, eqx.is_inexact_array)
    if float64:
        weights = jax.tree.map(lambda a: a.astype(jnp.float64), weights)
    return weights, static, eqx.combine(weights, static).start_statistics()


def batch_of(recipe, update_number=0):
    """The layout of one update's batch."""
    plan = recipe.schedule.plan(SIZE)
    row = plan.rows[0]
    arrangement = Arrangement(row.batch_size, recipe.model, recipe.run.micro_batch_size)
    feed = Feed(DataStream(0, 0, SIZE), row, plan.partial, 0, arrangement, with_epochs=True)
    found = feed.batches(update_number, update_number + 1)
    return Batch(found.indices[0], found.counts, found.epochs[0])


def gradients_with(model, weights, static, statistics, x, y, optimizer=()):
    """A function from a batch to (gradient, running statistics): one update from rest.

    After it the momentum is the gradient.
    """
    recipe = recipe_of(model=model, optimizer=optimizer)
    rule = Rule(recipe.optimizer, running_statistics="composite")
    start = TrainState(weights, start_of(weights, recipe.optimizer), statistics)
    run = quickly(partial(update, static, rule))
    hyper = Hyper(0.1, noise_variance=3.0)

    def of(batch):
        state = run(start, jnp.asarray(x), jnp.asarray(y), batch, dynamics_key(0, 0), hyper)
        return state.optimizer, state.statistics

    return of


def relative(ours, expected):
    ours, expected = (named(a) if hasattr(a, "weights") else a for a in (ours, expected))
    difference = sum(((ours[k] - expected[k]) ** 2).sum() for k in expected)
    return np.sqrt(difference / sum((a**2).sum() for a in expected.values()))


@pytest.mark.parametrize("float64", [False, True], ids=["float32", "float64"])
@pytest.mark.parametrize("ghost", [0, 4])
def test_accumulated_gradients_are_those_of_the_batch(ghost, float64, examples):
    """Parts of 8, 8 and 7: the last is uneven, and with ghosts of 4 the last ghost as well."""
    model = {"depth": 1} | ({"ghost_batch_size": 4} if ghost else PLAIN)
    tolerance = 1e-12 if float64 else 1e-5
    x, y = examples
    with jax.enable_x64(float64):
        x = x if float64 else x.astype(np.float32)
        weights, static, statistics = model_of(float64, **model)
        weights = shaken(weights)
        gradient_of = gradients_with(model, weights, static, statistics, x, y)
        found = []
        for micro in (0, 8):
            recipe = recipe_of([PHASE | {"batch_size": 23}], model=model, run=micro_run(micro))
            batch = batch_of(recipe)
            assert len(batch.indices) == (3 if micro else 1)
            found.append(gradient_of(batch))
        assert jax.tree.leaves(found[0])[0].dtype == (np.float64 if float64 else np.float32)
        order = epoch_order(0, 0, 0, SIZE)[:23]
        ghosts = twin.ghosts_of(order, 4 if ghost else 23, "own", 23)
        expected = twin.loss_and_gradient(named(weights), ghosts, *examples)[1]
        for gradient, running in found:
            assert relative(gradient, found[0][0]) < tolerance
            assert relative(gradient, expected) < tolerance
            for layer, other in zip(running, found[0][1], strict=True):
                np.testing.assert_allclose(layer.mean, other.mean, rtol=tolerance, atol=tolerance)
                np.testing.assert_allclose(layer.variance, other.variance, rtol=tolerance)


@pytest.mark.parametrize("policy", POLICIES)
def test_layouts_are_the_ghosts_written_by_hand(policy):
    """Every partial batch, plain and cut into micro-batches: which example lies in which ghost."""
    cases = [(24, 8, 0), (24, 8, 8), (24, 8, 16), (24, 5, 0), (29, 8, 0), (9, 8, 0), (5, 8, 0)]
    cases += [(56, 14, 28), (56, 12, 0)]
    if policy in ("own", "drop"):
        cases += [(29, 8, 16), (25, 8, 8), (56, 12, 24)]
    for batch, ghost, micro in cases:
        for partial_batch in ("carry", "drop", "keep"):
            recipe = recipe_of(
                [PHASE | {"batch_size": batch, "updates": 50}],
                model={"ghost_batch_size": ghost, "partial_ghost": policy},
                partial=partial_batch,
            )
            plan = recipe.schedule.plan(SIZE, partial_batch)
            row = plan.rows[0]
            feed = Feed(
                DataStream(0, 0, SIZE),
                row,
                partial_batch,
                0,
                Arrangement(batch, recipe.model, micro),
                with_epochs=True,
            )
            # In two calls, as a run would make them.
            done, wanted, before = 0, batches_of(plan), -1
            for call in (feed.batches(0, 7), feed.batches(7, 50)):
                for k in range(len(call.indices)):
                    _, expected, seen = wanted[done]
                    done += 1
                    indices, epochs = call.indices[k], call.epochs[k]
                    counts = call.counts[k] if call.counts.ndim == 4 else call.counts
                    assert not micro or np.prod(indices.shape[1:]) <= micro
                    ghosts, at = [], []
                    for part in range(indices.shape[0]):
                        for g in range(indices.shape[1]):
                            here = counts[part, g] > 0
                            if here.any():
                                ghosts.append(indices[part, g][here].tolist())
                                at += epochs[part, g][here].tolist()
                    assert ghosts == twin.ghosts_of(expected, ghost, policy, batch)
                    assert at == seen[: len(at)]
                    assert call.begins_epoch[k] == (seen[0] != before)
                    before = seen[0]
            assert done == 50


def test_ghost_sizes():
    """Policy "chunk" at the end of an epoch of 50,000 examples: 848 are left of 4,096."""
    assert ghost_sizes(4096, 128, "chunk", 4096) == [128] * 32
    # 32 chunks of 27, of which the last has 11.
    assert ghost_sizes(848, 128, "chunk", 4096) == [27] * 31 + [11]
    for policy in POLICIES:
        for batch, ghost in ((12, 4), (13, 4), (3, 4), (7, 1), (50, 16)):
            for number in range(1, batch + 1):
                expected = twin.ghosts_of(range(number), ghost, policy, batch)
                sizes = ghost_sizes(number, ghost, policy, batch)
                assert sizes == [len(part) for part in expected], (policy, batch, ghost, number)


@pytest.mark.parametrize(
    ("model", "batch", "micro", "remedy"),
    [
        ({"ghost_batch_size": 0}, 24, 8, "set ghost_batch_size"),
        ({}, 24, 12, "no multiple of model.ghost_batch_size=8"),
        ({}, 24, 4, "no multiple of model.ghost_batch_size=8"),
        ({"partial_ghost": "even"}, 29, 8, "leave out run.micro_batch_size"),
        ({"partial_ghost": "chunk"}, 29, 16, "leave out run.micro_batch_size"),
    ],
)
def test_micro_batches_that_would_cut_a_ghost(model, batch, micro, remedy):
    recipe = recipe_of([PHASE | {"batch_size": batch}], model=model, run=micro_run(micro))
    with pytest.raises(InputError, match=remedy):
        check_batches(recipe, recipe.schedule.plan(SIZE))
    # Whole in one part it is no problem.
    whole = recipe_of([PHASE | {"batch_size": batch}], model=model, run=micro_run(batch))
    check_batches(whole, whole.schedule.plan(SIZE))


# --- running statistics ---------------------------------------------------------------------

DECAYS = (0.0, 0.7)
# Four features, and 1, 4 or 9 ghosts, so that it is compiled three times; in float64, so that the
# identities hold to 1e-12.
FOLDS = quickly(
    lambda running, moments: {
        (mode, decay): fold(running, moments, mode=mode, decay=decay)
        for mode in MODES
        for decay in DECAYS
    }
)


@pytest.fixture
def float64():
    with jax.enable_x64(True):
        yield


def moments_of(ghosts):
    """Statistics of ghosts of different sizes, and the same for the twin."""
    rng = np.random.default_rng(ghosts)
    numbers = rng.integers(1, 20, ghosts).astype(float)
    means, variances = rng.normal(size=(ghosts, 4)), rng.gamma(2.0, size=(ghosts, 4))
    given = Moments(jnp.asarray(means), jnp.asarray(variances), jnp.asarray(numbers))
    return given, list(zip(means, variances, numbers, strict=True))


def statistics_of():
    rng = np.random.default_rng(100)
    mean, variance = rng.normal(size=4), rng.gamma(2.0, size=4)
    return Statistics(jnp.asarray(mean), jnp.asarray(variance)), (mean, variance)


def alike(one, other):
    for a, b in zip(one, other, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-12, atol=1e-12)


def test_fold_is_the_twins(float64):
    running, expected = statistics_of()
    for ghosts in (1, 4, 9):
        moments, listed = moments_of(ghosts)
        for (mode, decay), found in FOLDS(running, moments).items():
            alike(found, twin.folded(expected, listed, mode, decay))


def test_ghosts_one_by_one_are_ghosts_together(float64):
    """sequential = composite = one fold per ghost."""
    running, _ = statistics_of()
    for ghosts in (1, 4, 9):
        moments, _ = moments_of(ghosts)
        together = FOLDS(running, moments)
        for decay in DECAYS:
            sequential = together["sequential", decay]
            alike(together["composite", decay], sequential)
            for mode in ("sequential", "composite"):
                one_by_one = running
                for k in range(ghosts):
                    ghost = Moments(*(a[k : k + 1] for a in moments))
                    one_by_one = FOLDS(one_by_one, ghost)[mode, decay]
                alike(one_by_one, sequential)


def test_ghosts_of_padding_are_passed_over(float64):
    running, _ = statistics_of()
    moments, _ = moments_of(4)
    places = np.array([1, 2, 4, 7])
    padded = [np.full((9, 4), 7.0), np.full((9, 4), 7.0), np.zeros(9)]
    nothing = FOLDS(running, Moments(*map(jnp.asarray, padded)))
    for values, given in zip(padded, moments, strict=True):
        values[places] = given
    found, expected = FOLDS(running, Moments(*map(jnp.asarray, padded))), FOLDS(running, moments)
    for case in expected:
        alike(found[case], expected[case])
        alike(nothing[case], running)


def weights_of_ghosts(mode, decay):
    """(weight of the old value, weight of each of 4 ghosts) in the new running mean."""
    marks, nothing, numbers = jnp.eye(4), jnp.zeros((4, 4)), jnp.full(4, 4.0)
    old, blank = Statistics(jnp.ones(4), jnp.ones(4)), Statistics(jnp.zeros(4), jnp.zeros(4))
    kept = FOLDS(old, Moments(nothing, nothing, numbers))[mode, decay]
    found = FOLDS(blank, Moments(marks, marks, numbers))[mode, decay]
    return float(kept.mean[0]), np.asarray(found.mean)


def test_the_printed_weights_and_where_they_rest(float64):
    """With η = 0.3 and 4 ghosts."""
    old, weights = weights_of_ghosts("composite-printed", 0.7)
    assert old == pytest.approx(0.7**4)
    np.testing.assert_allclose(weights, [0.3 * 0.7, 0.3 * 0.49, 0.3 * 0.343, 0.3 * 0.2401])
    assert old + weights.sum() == pytest.approx(0.7 + 0.3 * 0.7**4)
    mean, variance = np.array([2.0, -1.0, 0.5, 0.0]), np.array([4.0, 0.25, 1.0, 9.0])
    ghosts = [np.tile(mean, (4, 1)), np.tile(variance, (4, 1)), np.full(4, 5.0)]
    ghosts, rest = Moments(*map(jnp.asarray, ghosts)), statistics_of()[0]
    for _ in range(30):  # 0.7^120 of the start is left
        rest = FOLDS(rest, ghosts)["composite-printed", 0.7]
    # σ, not σ², is averaged, and it is the biased one.
    alike(rest, (0.7 * mean, 0.49 * variance))


def test_other_weights_add_up_to_one_and_divided_keeps_the_memory(float64):
    for mode in ("sequential", "composite", "divided"):
        old, weights = weights_of_ghosts(mode, 0.7)
        assert old + weights.sum() == pytest.approx(1.0)
        assert np.all(np.diff(weights) > 0)  # the last ghost counts most
        if mode != "divided":
            assert old == pytest.approx(0.7**4)
        else:  # as after one ghost, up to η²/2
            assert 0.7 < old < 0.7 + 0.3**2 / 2


def normalised(x, scale, shift):
    return (x - x.mean(axis=0)) / np.sqrt(x.var(axis=0) + 1e-5) * scale + shift


def test_one_ghost_is_plain_batch_norm():
    rng = np.random.default_rng(0)
    scale, shift = np.arange(1.0, 6.0), np.arange(5.0) - 2.0
    norm = eqx.tree_at(
        lambda n: (n.scale, n.shift),
        GhostBatchNorm(5),
        (jnp.asarray(scale, jnp.float32), jnp.asarray(shift, jnp.float32)),
    )
    # Padding enters no statistic, whatever it holds.
    x = rng.normal(3.0, 2.0, (12, 5))
    padded = jnp.asarray(np.concatenate([x, np.full((3, 5), 1e3)]), jnp.float32)
    counts = jnp.asarray([1.0] * 12 + [0.0] * 3)
    found, moments = quickly(lambda a: norm(a, counts, 1, None))(padded)
    np.testing.assert_allclose(found[:12], normalised(x, scale, shift), atol=5e-6)
    np.testing.assert_allclose(moments.variance[0], x.var(axis=0), rtol=1e-5)
    assert float(moments.number[0]) == 12
    # Height and width share the statistics of their channel.
    image = rng.normal(size=(4, 3, 2, 5))
    found, moments = quickly(lambda a: norm(a, jnp.ones(4), 2, None))(
        jnp.asarray(image, jnp.float32)
    )
    for ghost in (slice(0, 2), slice(2, 4)):
        expected = normalised(image[ghost].reshape(-1, 5), scale, shift)
        np.testing.assert_allclose(found[ghost].reshape(-1, 5), expected, atol=5e-6)
    np.testing.assert_allclose(moments.number, [12.0, 12.0])


def test_a_ghost_as_large_as_the_batch_is_the_batch():
    """No ghost size, that of the batch and a larger one lay the batch out alike."""
    for size in (0, 24, 100):
        batch = batch_of(recipe_of(model={"ghost_batch_size": size}), update_number=3)
        assert batch.indices.shape == (1, 1, 24)
        assert batch.indices.ravel().tolist() == epoch_order(0, 0, 0, SIZE)[72:96].tolist()


def test_recalibrated_statistics_and_evaluation_in_any_chunks(dataset, examples, monkeypatch):
    """Evaluation takes running statistics alone, so an example's loss is its own."""
    # Nothing is dropped here.
    weights, static, statistics = model_of(dropout=0.5, dropconnect=0.5)
    weights = shaken(weights)
    probes = Probes(static, Rule(), parameters_of(weights))
    x, y = jnp.asarray(dataset.train_inputs), jnp.asarray(dataset.train_labels)
    # 103 examples are 12 ghosts of 8; the 7 left over are left out.
    order = epoch_order(0, 0, 0, SIZE)[:103].astype(np.int32)
    ghosts = twin.ghosts_of(order[:96], 8, "own", 96)
    expected = twin.averaged(named(weights), ghosts, *examples)
    together = probes.loss_and_error(weights, statistics, x, y)
    wanted = twin.evaluated(named(weights), twin.fresh_statistics(named(weights)), *examples)
    assert together == pytest.approx(wanted, rel=1e-5)
    # Evaluated in 64 + 64 + 64 + 8, averaged over 8 ghosts and 4.
    monkeypatch.setattr("noisescale.training.probes.EVALUATION_CHUNK", 64)
    assert probes.loss_and_error(weights, statistics, x, y) == pytest.approx(together, rel=1e-6)
    averaged = probes.recalibrated(weights, x, order, 8)
    for layer, (mean, variance) in zip(averaged, expected, strict=True):
        np.testing.assert_allclose(layer.mean, mean, rtol=1e-5, atol=1e-6)
        np.testing.assert_allclose(layer.variance, variance, rtol=1e-5)
    wanted = twin.evaluated(named(weights), expected, *examples)
    assert probes.loss_and_error(weights, averaged, x, y) == pytest.approx(wanted, rel=1e-5)
    assert abs(wanted[0] - together[0]) > 0.01


# --- noise ----------------------------------------------------------------------------------


def test_gradient_noise_has_the_covariance_of_the_smaller_batch(examples):
    """Of a batch of B with factors of variance B/B_S − 1.

    ĝ = Σ_i f_i g_i / B with E f = 1 and E f² = B/B_S. For one batch, over the factors alone,
    cov ĝ = (E f² − 1) Σ_i g_i g_iᵀ / B² = (1/B_S − 1/B) M with M = Σ_i g_i g_iᵀ / B. Over
    batches drawn with replacement, cov ĝ = (E f² M − G Gᵀ)/B = M/B_S − G Gᵀ/B.
    """
    batch_size, noise = 16, 4
    config = {**PLAIN, "depth": 0}
    weights, static, _ = model_of(**config)
    x, y = examples
    rule = Rule(recipe_of(model=config, optimizer={"noise_batch_size": noise}).optimizer)
    inputs, labels = jnp.asarray(x, jnp.float32), jnp.asarray(y)

    @quickly
    @jax.vmap
    def noisy(rows, epochs):
        """Of the biases and of one pixel's weights."""
        keys = example_keys(dynamics_key(0, 0), epochs, rows)
        total, _ = micro_step(
            static,
            rule,
            weights,
            inputs[rows],
            labels[rows],
            jnp.ones(batch_size),
            1,
            keys,
            batch_size / noise - 1,
        )
        return jnp.concatenate([total.biases[0], total.weights[0][28]]) / batch_size

    def per_example(rows):
        found = []
        for i in rows:
            _, g, _ = twin.loss_and_gradient(named(weights), [[i]], x, y)
            found.append(np.concatenate([g["b0"], g["W0"][28]]))
        return np.array(found)

    rng = np.random.default_rng(0)
    every = per_example(range(SIZE))
    fixed = rng.choice(SIZE, batch_size, replace=False)
    drawn = rng.integers(0, SIZE, (DRAWS, batch_size))
    # The epochs make every key another.
    epochs = np.arange(DRAWS * batch_size).reshape(DRAWS, batch_size)
    for rows in (np.tile(fixed, (DRAWS, 1)), drawn):
        sample = np.asarray(noisy(rows, epochs), np.float64)
        one = rows is not drawn
        g = every[fixed] if one else every
        second, mean = g.T @ g / len(g), g.mean(axis=0)
        expected = second / noise - (second if one else np.outer(mean, mean)) / batch_size
        centred = sample - mean
        error = centred.mean(axis=0) / (centred.std(axis=0) / np.sqrt(DRAWS))
        assert np.abs(error).max() < STANDARD_ERRORS
        products = centred[:, :, None] * centred[:, None, :]
        errors = products.std(axis=0) / np.sqrt(DRAWS)
        off = np.abs(products.mean(axis=0) - expected) / errors
        assert off.max() < STANDARD_ERRORS
        # Half or twice the covariance would be seen.
        assert np.all(np.diag(expected) > 3 * STANDARD_ERRORS * np.diag(errors))


def test_factors_belong_to_seed_epoch_and_example():
    """Not to the batch size, the micro-batch or the order."""

    def factors_of(rows, epochs, key):
        keys = example_keys(key, jnp.asarray(epochs, jnp.int32), jnp.asarray(rows, jnp.int32))
        return np.asarray(loss_factors(keys, 3.0)).tolist()

    tables = []
    for batch_size, micro in ((24, 0), (24, 8), (48, 20)):
        phase = PHASE | {"batch_size": batch_size}
        recipe = recipe_of([phase], model=PLAIN, run=micro_run(micro))
        rows, epochs = [], []
        for number in range(240 // batch_size):
            batch = batch_of(recipe, number)
            rows += batch.indices[batch.counts > 0].tolist()
            epochs += batch.epochs[batch.counts > 0].tolist()
        examples = list(zip(epochs, rows, strict=True))
        assert examples[-1][0] == 1
        tables.append(
            dict(zip(examples, factors_of(rows, epochs, dynamics_key(0, 0)), strict=True))
        )
    first = tables[0]
    assert len(first) == len(set(first.values())) == 240
    assert all(table == first for table in tables)
    for other in (dynamics_key(1, 0), dynamics_key(0, 1)):
        assert not set(factors_of(rows, epochs, other)) & set(first.values())


@pytest.fixture(scope="module")
def keys():
    return jax.random.split(jax.random.key(0), DRAWS)


def test_loss_factors_have_mean_one_and_the_variance(keys):
    for variance in (0.0, 0.25, 3.0):
        factors = np.asarray(loss_factors(keys, variance), np.float64)
        error = np.sqrt(variance / DRAWS)
        assert abs(factors.mean() - 1) <= STANDARD_ERRORS * error
        # Of a normal variable: the sample variance has the relative error √(2/n).
        relative_error = np.sqrt(2 / DRAWS)
        assert factors.var() == pytest.approx(variance, rel=STANDARD_ERRORS * relative_error)


def test_label_noise_replaces_by_any_class(keys):
    probability, labels = 0.4, np.tile([3, 7], DRAWS // 2).astype(np.int32)
    found = np.asarray(noisy_labels(keys, jnp.asarray(labels), probability, CLASSES))
    for label in (3, 7):
        got = found[labels == label]
        shares = np.bincount(got, minlength=CLASSES) / len(got)
        expected = np.full(CLASSES, probability / CLASSES)
        expected[label] += 1 - probability
        errors = np.sqrt(expected * (1 - expected) / len(got))
        assert np.all(np.abs(shares - expected) < STANDARD_ERRORS * errors)


def test_a_run_with_noise_is_the_twins(dataset, examples):
    """Factors and labels drawn as (seed, epoch, example) says, over the end of an epoch."""
    x, y = examples
    recipe = recipe_of(
        [PHASE | {"updates": 12}],
        optimizer={"noise_batch_size": 6, "label_noise": 0.3},
        model=PLAIN | {"depth": 0},
        run={"driver": "host"},
    )
    seen, _, plan = trained(recipe, dataset)
    updates = updates_of(recipe, plan)
    # A batch across two epochs may hold an example twice: the second epoch has its own copies.
    assert updates[8]["epochs"][0] == 0 and updates[8]["epochs"][-1] == 1
    for entry in updates:
        rows, epochs = np.array(entry["batch"]), np.array(entry["epochs"])
        keys = example_keys(dynamics_key(0, 0), jnp.asarray(epochs), jnp.asarray(rows))
        places = rows + SIZE * epochs
        entry["ghosts"] = [places]
        entry["factors"], entry["labels"] = np.zeros(2 * SIZE), np.zeros(2 * SIZE, int)
        entry["factors"][places] = loss_factors(keys, 24 / 6 - 1)
        entry["labels"][places] = noisy_labels(keys, jnp.asarray(y[rows]), 0.3, CLASSES)
    agree(seen, twin_run(recipe, plan, seen[0], np.concatenate([x, x]), None, updates))


def hidden_read_off(**model):
    """A model whose logits are its hidden activations, and its inputs: all hidden units on."""
    weights, static, _ = model_of(**PLAIN, depth=1, width=CLASSES, **model)
    rng = np.random.default_rng(0)
    weights = eqx.tree_at(
        lambda w: (w.weights[0], w.biases[0], w.weights[1]),
        weights,
        (
            jnp.asarray(rng.uniform(0.1, 1.0, (64, CLASSES)), jnp.float32),
            jnp.zeros(CLASSES),
            jnp.eye(CLASSES),
        ),
    )
    return eqx.combine(weights, static)


def test_dropout_is_unbiased(dataset, keys):
    probability = 0.3
    model = hidden_read_off(dropout=probability)
    x = jnp.asarray(np.tile(dataset.train_inputs[:20], (DRAWS // 20, 1, 1, 1)))
    counts = jnp.ones(DRAWS)
    plain, _ = model(x, Pass(counts, 1, None, None))
    dropped, _ = quickly(lambda a: model(a, Pass(counts, 1, keys, None)))(x)
    plain, dropped = np.asarray(plain, np.float64), np.asarray(dropped, np.float64)
    kept = dropped != 0
    rate = 1 - probability
    np.testing.assert_allclose(dropped[kept], plain[kept] / rate, rtol=1e-5)
    error = np.sqrt(rate * probability)
    assert abs(kept.mean() - rate) < STANDARD_ERRORS * error / np.sqrt(kept.size)
    # Every unit by itself, and no unit or example tells about another.
    assert np.all(np.abs(kept.mean(axis=0) - rate) < STANDARD_ERRORS * error / np.sqrt(DRAWS))
    centred = (kept - rate) / error
    pairs = (centred.T @ centred / DRAWS)[np.triu_indices(CLASSES, 1)]
    assert np.all(np.abs(pairs) < STANDARD_ERRORS / np.sqrt(DRAWS))
    following = (centred[1:] * centred[:-1]).mean()
    assert abs(following) < STANDARD_ERRORS / np.sqrt(kept.size)
    shares = (dropped / plain).mean(axis=0)
    assert np.all(np.abs(shares - 1) < STANDARD_ERRORS * error / rate / np.sqrt(DRAWS))


def test_dropconnect_is_unbiased(dataset, keys):
    """Logit c of an example is Σ_j h_j M_jc V_jc/(1−p) with a mask M of its own; V = 1 here."""
    probability = 0.3
    model = hidden_read_off(dropconnect=probability)
    model = eqx.tree_at(lambda m: m.weights[1], model, jnp.ones((CLASSES, CLASSES)))
    how = Pass(jnp.ones(DRAWS), 1, keys, None)
    _, static = eqx.partition(model, eqx.is_array)
    logits_of = quickly(lambda m, x: eqx.combine(m, static)(x, how)[0])
    # Hidden unit j alone is on in every tenth example: its row of the mask can be read off.
    which = np.arange(DRAWS) % CLASSES
    first = jnp.zeros((64, CLASSES)).at[:CLASSES].set(jnp.eye(CLASSES))
    alone = eqx.tree_at(lambda m: m.weights[0], model, first)
    x = np.zeros((DRAWS, 64), np.float32)
    x[np.arange(DRAWS), which] = 1.0
    logits = np.asarray(logits_of(eqx.filter(alone, eqx.is_array), x), np.float64)
    rate = 1 - probability
    kept = logits != 0
    np.testing.assert_allclose(logits[kept], 1 / rate, rtol=1e-5)
    error = np.sqrt(rate * probability)
    assert abs(kept.mean() - rate) < STANDARD_ERRORS * error / np.sqrt(kept.size)
    for j in range(CLASSES):
        share = kept[which == j].mean(axis=0)
        assert np.all(np.abs(share - rate) < STANDARD_ERRORS * error / np.sqrt(DRAWS / CLASSES))
    assert len({row.tobytes() for row in kept[which == 0]}) > 50  # every example its own mask
    # With all units on: the mean over masks is the pass without one.
    x = np.tile(dataset.train_inputs[:1], (DRAWS, 1, 1, 1))
    plain, _ = model(jnp.asarray(x[:1]), Pass(jnp.ones(1), 1, None, None))
    sample = np.asarray(logits_of(eqx.filter(model, eqx.is_array), x), np.float64)
    errors = sample.std(axis=0) / np.sqrt(DRAWS)
    assert np.all(np.abs(sample.mean(axis=0) - np.asarray(plain[0])) < STANDARD_ERRORS * errors)


def test_nothing_drawn_depends_on_the_micro_batch(examples):
    """Factors, labels and masks belong to the example and the epoch."""
    x, y = examples
    model = {"dropout": 0.4, "dropconnect": 0.2, "ghost_batch_size": 4, "depth": 1}
    noise = {"noise_batch_size": 6, "label_noise": 0.2}
    weights, static, statistics = model_of(**model)
    weights, x = shaken(weights), x.astype(np.float32)
    gradient_of = gradients_with(model, weights, static, statistics, x, y, noise)
    whole, parts = (batch_of(recipe_of(model=model, run=micro_run(micro))) for micro in (0, 12))
    expected, _ = gradient_of(whole)
    assert relative(gradient_of(parts)[0], expected) < 1e-5
    later = whole._replace(epochs=whole.epochs + 1)
    assert relative(gradient_of(later)[0], expected) > 0.1
