import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from noisescale import Phase, Schedule
from noisescale.recipe import ModelConfig, OptimizerConfig
from noisescale.training.batches import Arrangement, Feed
from noisescale.training.drivers import Driver
from noisescale.training.models import build_model
from noisescale.training.optimizers import Hyper, Rule, clipped, normalized, start_of
from noisescale.training.parameters import parameters_of
from noisescale.training.probes import Probes
from noisescale.training.steps import TrainState, cross_entropy, micro_step
from noisescale.training.streams import DataStream, dynamics_key, initial_weights_key
from tests.reference import training as twin

FEATURES, CLASSES, SIZE = 7, 3, 50
HYPER = {"rate": 0.05, "momentum": 0.9, "decay": 1e-3}


@pytest.fixture(scope="module")
def problem():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(SIZE, FEATURES)).astype(np.float32)
    y = rng.integers(0, CLASSES, SIZE).astype(np.int32)
    model = build_model(
        ModelConfig(width=5, depth=2), (FEATURES, 1, 1), CLASSES, initial_weights_key(1)
    )
    weights, static = eqx.partition(model, eqx.is_inexact_array)
    return x, y, weights, static


def feed_of(batch, updates, micro=0):
    plan = Schedule([Phase(updates=updates, learning_rate=1.0, batch_size=batch)]).plan(SIZE)
    arrangement = Arrangement(batch, ModelConfig(), micro)
    stream = DataStream(0, 0, SIZE)
    return Feed(stream, plan.rows[0], "carry", 0, arrangement, with_epochs=False)


def hyper_of(number, rate=HYPER["rate"], clips=None):
    return Hyper(
        learning_rate=np.full(number, rate),
        momentum=np.full(number, HYPER["momentum"]),
        weight_decay=np.full(number, HYPER["decay"]),
        clip_norm=np.full(number, np.inf) if clips is None else clips,
        noise_variance=np.zeros(number),
        keep=np.ones(number),
    )


def run(problem, batch, updates, *, form="trace", kind="device", micro=0, chunk=None, **options):
    x, y, weights, static = problem
    clips = options.get("clips")
    optimizer = OptimizerConfig(
        momentum_form=form,
        nesterov=options.get("nesterov", False),
        clip_norm=0.0 if clips is None else 1.0,
    )
    rule = Rule(optimizer)
    driver = Driver(static, jnp.asarray(x), jnp.asarray(y), rule=rule, kind=kind)
    feed = feed_of(batch, updates, micro)
    state = TrainState(weights, start_of(weights, optimizer))
    chunk = chunk or updates
    for start in range(0, updates, chunk):
        end = min(start + chunk, updates)
        part = None if clips is None else np.asarray(clips)[start:end]
        hyper = hyper_of(end - start, clips=part)
        state = driver.advance(state, feed.batches(start, end), hyper, dynamics_key(0, 0))
    return state, driver


def leaves(state):
    return [np.asarray(a, np.float64) for a in jax.tree.leaves(state.weights)]


@pytest.mark.parametrize("form", ["trace", "velocity"])
@pytest.mark.parametrize("kind", ["device", "host"])
def test_trajectory_is_the_float64_twins(problem, form, kind):
    x, y, weights, _ = problem
    batch, updates = 8, 40
    state, _ = run(problem, batch, updates, form=form, kind=kind)
    stream = DataStream(0, 0, SIZE)
    batches = [stream.indices(k * batch, batch) for k in range(updates)]
    w = [np.asarray(a) for a in weights.weights]
    b = [np.asarray(a) for a in weights.biases]
    expected = twin.train(w, b, batches, x.astype(np.float64), y, form=form, **HYPER)[-1]
    moved = np.sqrt(sum(np.sum((e - s) ** 2) for e, s in zip(expected, [*w, *b], strict=True)))
    assert moved > 0.5  # the run is alive, so the tolerance below means something
    ours = [*state.weights.weights, *state.weights.biases]
    for a, e in zip(ours, expected, strict=True):
        # float32 rounding over 40 updates; a wrong factor anywhere is off by 10 % and more.
        np.testing.assert_allclose(np.asarray(a), e, atol=2e-5)


def test_both_drivers_follow_one_trajectory(problem):
    device, _ = run(problem, 6, 60, kind="device")
    host, _ = run(problem, 6, 60, kind="host")
    for a, b in zip(leaves(device), leaves(host), strict=True):
        np.testing.assert_allclose(a, b, atol=1e-5)


def test_stretches_change_nothing(problem):
    whole, _ = run(problem, 6, 30)
    cut, _ = run(problem, 6, 30, chunk=7)
    for a, b in zip(leaves(whole), leaves(cut), strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("micro", [1, 4, 5, 12, 64])
@pytest.mark.parametrize("kind", ["device", "host"])
def test_accumulated_gradients_are_the_batchs(problem, micro, kind):
    whole, _ = run(problem, 12, 20, kind=kind)
    parts, _ = run(problem, 12, 20, kind=kind, micro=micro)
    for a, b in zip(leaves(whole), leaves(parts), strict=True):
        np.testing.assert_allclose(a, b, atol=1e-5)


def test_trace_and_velocity_part_when_the_rate_changes(problem):
    """They are one trajectory at a constant rate, and differ by m(ε_new − ε_old)v after a drop."""
    trace, driver = run(problem, 8, 10, form="trace")
    velocity, other = run(problem, 8, 10, form="velocity")
    for a, b in zip(leaves(trace), leaves(velocity), strict=True):
        np.testing.assert_allclose(a, b, atol=1e-6)
    batch = feed_of(8, 11).batches(10, 11)
    lower = (batch, hyper_of(1, HYPER["rate"] / 5), dynamics_key(0, 0))
    after = [d.advance(s, *lower) for d, s in ((driver, trace), (other, velocity))]
    for v, a, b in zip(
        jax.tree.leaves(trace.optimizer), leaves(after[0]), leaves(after[1]), strict=True
    ):
        expected = HYPER["momentum"] * HYPER["rate"] * (1 - 1 / 5) * np.asarray(v)
        np.testing.assert_allclose(a - b, expected, atol=1e-6)


@pytest.mark.parametrize(("kind", "micro"), [("device", 0), ("host", 0), ("device", 4)])
def test_programs_are_compiled_once_per_batch_size(problem, kind, micro):
    x, y, weights, static = problem
    driver = Driver(static, jnp.asarray(x), jnp.asarray(y), rule=Rule(), kind=kind)
    state = TrainState(weights, start_of(weights, OptimizerConfig()))
    for rate in (0.1, 0.01):
        for batch in (4, 10):
            for updates in (1, 3):
                batches = feed_of(batch, updates, micro).batches(0, updates)
                hyper = hyper_of(updates, rate)
                state = driver.advance(state, batches, hyper, dynamics_key(0, 0))
    assert driver.compiled() == 2


@pytest.mark.parametrize("kind", ["device", "host"])
def test_batches_of_any_size_share_the_program_of_their_micro_batch(problem, kind):
    """Nine batch sizes, one of them of more parts than a stretch has room for."""
    x, y, weights, static = problem
    driver = Driver(static, jnp.asarray(x), jnp.asarray(y), rule=Rule(), kind=kind)
    for batch in (5, 8, 9, 12, 16, 17, 30, 40, 48):
        feed = feed_of(batch, 3, micro=4)
        state = TrainState(weights, start_of(weights, OptimizerConfig()))
        batches = feed.batches(0, 3)
        state = driver.advance(state, batches, hyper_of(3), dynamics_key(0, 0))
        whole, _ = run(problem, batch, 3, kind=kind)
        for a, b in zip(leaves(state), leaves(whole), strict=True):
            np.testing.assert_allclose(a, b, atol=1e-5)
    assert driver.compiled() == 1


def test_a_batch_of_more_parts_than_there_is_room_for(problem, monkeypatch):
    monkeypatch.setattr("noisescale.training.drivers.STRETCH_EXAMPLES", 20)
    parts, driver = run(problem, 30, 3, micro=4, chunk=1)
    assert driver.stretch_updates((8, 1, 4)) == 1
    monkeypatch.undo()
    whole, _ = run(problem, 30, 3)
    for a, b in zip(leaves(parts), leaves(whole), strict=True):
        np.testing.assert_allclose(a, b, atol=1e-5)


@pytest.mark.parametrize("size", [1, 7, 2**14 - 1, 2**15 + 1])
def test_gradient_sum_over_odd_sizes(problem, size):
    """Σ_i c_i ∇ℓ_i against the twin at the shapes that one release of JAX miscompiled."""
    _, _, weights, static = problem
    rng = np.random.default_rng(size)
    x = rng.normal(size=(size, FEATURES)).astype(np.float32)
    y = rng.integers(0, CLASSES, size).astype(np.int32)
    counts = (rng.random(size) < 0.7).astype(np.float32)
    counts[0] = 1
    ours, _ = jax.jit(lambda *a: micro_step(static, Rule(), *a))(weights, x, y, counts)
    kept = counts > 0
    w = [np.asarray(a, np.float64) for a in weights.weights]
    b = [np.asarray(a, np.float64) for a in weights.biases]
    _, dw, db = twin.loss_and_gradient(w, b, x[kept].astype(np.float64), y[kept])
    for a, e in zip([*ours.weights, *ours.biases], [*dw, *db], strict=True):
        np.testing.assert_allclose(np.asarray(a) / kept.sum(), e, atol=2e-6, rtol=2e-4)


def test_cross_entropy():
    logits = jnp.array([[0.0, 0.0, 0.0], [100.0, 0.0, 0.0], [0.0, 100.0, 0.0]])
    loss = cross_entropy(logits, jnp.array([0, 0, 0]))
    np.testing.assert_allclose(loss, [np.log(3), 0.0, 100.0], atol=1e-6)


def test_probes(problem, monkeypatch):
    x, y, weights, static = problem
    monkeypatch.setattr("noisescale.training.probes.EVALUATION_CHUNK", 16)
    probes = Probes(static, Rule(), parameters_of(weights))
    loss, error = probes.loss_and_error(weights, (), jnp.asarray(x), jnp.asarray(y))
    w = [np.asarray(a, np.float64) for a in weights.weights]
    b = [np.asarray(a, np.float64) for a in weights.biases]
    expected, _, _ = twin.loss_and_gradient(w, b, x.astype(np.float64), y)
    assert loss == pytest.approx(expected, rel=1e-5)
    logits = x.astype(np.float64)
    for k in range(3):
        logits = logits @ w[k] + b[k]
        logits = np.maximum(logits, 0) if k < 2 else logits
    assert error == pytest.approx(np.mean(logits.argmax(axis=1) != y))
    moved = jax.tree.map(lambda a: a + 0.5, weights)
    parameters = sum(a.size for a in jax.tree.leaves(weights))
    squares = probes.squares(moved, weights, weights)
    assert probes.way(squares).distance == pytest.approx(0.5 * np.sqrt(parameters), rel=1e-6)


def test_initial_weights_have_the_stated_variance():
    model = build_model(ModelConfig(width=400, depth=1), (300, 1, 1), 10, initial_weights_key(0))
    first = np.asarray(model.weights[0])
    # 120,000 draws: relative standard error of the variance √(2/120000) = .4 %; k = 4.
    assert first.var() == pytest.approx(2 / 300, rel=4 * 0.0041)
    assert all(np.all(np.asarray(b) == 0) for b in model.biases)


@pytest.mark.parametrize("form", ["trace", "velocity"])
@pytest.mark.parametrize("kind", ["device", "host"])
def test_nesterov_and_clipping_are_the_twins(problem, form, kind):
    """Clipped for the first 12 updates to a norm that cuts most of them."""
    x, y, weights, _ = problem
    batch, updates = 8, 30
    clips = np.where(np.arange(updates) < 12, 0.3, np.inf)
    state, _ = run(
        problem, batch, updates, form=form, kind=kind, nesterov=True, clips=clips, chunk=7
    )
    stream = DataStream(0, 0, SIZE)
    batches = [stream.indices(k * batch, batch) for k in range(updates)]
    arguments = (
        [np.asarray(w) for w in weights.weights],
        [np.asarray(b) for b in weights.biases],
        batches,
        x.astype(np.float64),
        y,
    )
    options = {**HYPER, "form": form}
    expected = twin.train(*arguments, **options, nesterov=True, clips=clips[:12])[-1]
    for a, b in zip(leaves(state), expected, strict=True):
        np.testing.assert_allclose(a, b, atol=2e-6)
    for other in ({"nesterov": False, "clips": clips[:12]}, {"nesterov": True}):
        without = twin.train(*arguments, **options, **other)[-1]
        assert max(np.abs(a - b).max() for a, b in zip(expected, without, strict=True)) > 1e-3


def test_clipping_keeps_the_direction_and_cuts_the_length():
    gradient = {"a": jnp.array([3.0, 0.0]), "b": jnp.array([[0.0, 4.0]])}
    cut = clipped(gradient, 2.5)  # the norm over both is 5
    np.testing.assert_allclose(cut["a"], [1.5, 0.0])
    np.testing.assert_allclose(cut["b"], [[0.0, 2.0]])
    for norm in (5.0, 100.0, float("inf")):
        np.testing.assert_array_equal(clipped(gradient, norm)["a"], gradient["a"])
    nothing = jax.tree.map(jnp.zeros_like, gradient)
    np.testing.assert_array_equal(clipped(nothing, 1.0)["a"], [0.0, 0.0])


def test_normalizing_keeps_the_direction_and_sets_the_length():
    gradient = {"a": jnp.array([3.0, 0.0]), "b": jnp.array([[0.0, 4.0]])}
    for norm in (2.5, 50.0):
        scaled = normalized(gradient, norm)
        np.testing.assert_allclose(scaled["a"], [3.0 * norm / 5, 0.0], rtol=1e-6)
        np.testing.assert_allclose(scaled["b"], [[0.0, 4.0 * norm / 5]], rtol=1e-6)
    np.testing.assert_array_equal(normalized(gradient, float("inf"))["a"], gradient["a"])
    nothing = jax.tree.map(jnp.zeros_like, gradient)
    np.testing.assert_array_equal(normalized(nothing, 1.0)["a"], [0.0, 0.0])
