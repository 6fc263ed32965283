"""Every format executed: its learning rate and batch size at every update are the plan's."""

import csv as csv_reader
import importlib.util
import tomllib
from contextlib import suppress
from io import StringIO

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from noisescale import InputError, Phase, Schedule, equivalents
from noisescale.analysis.equivalence import plan_if_possible
from noisescale.formats import FORMATS, Export, exported
from noisescale.recipe import parse_json, parse_toml, schedule_from
from tests.analysis.test_equivalence import recipes

N = 1000
WARM = {"epochs": 1.5, "start": 0.01}
SHAPES = {
    "constant": {"shape": "constant", "start": 0.1, "warmup": WARM},
    "step": {"shape": "step", "start": 0.1, "factor": 5, "milestones": {"epochs": [3, 6.5]}},
    "linear": {"shape": "linear", "start": 0.1, "end": 0.01, "warmup": WARM},
    "cosine": {"shape": "cosine", "start": 0.1, "end": 0.0, "warmup": {"updates": 17}},
    "exponential": {"shape": "exponential", "start": 0.1, "end": 1e-4},
    "polynomial": {"shape": "polynomial", "start": 0.1, "end": 0.0, "power": 2.5},
    "inverse-sqrt": {"shape": "inverse-sqrt", "start": 0.1, "warmup": WARM},
    "wsd": {
        "shape": "wsd",
        "start": 0.1,
        "end": 0.001,
        "decay": {"examples": 2500},
        "decay_form": "sqrt",
        "warmup": WARM,
    },
}


def one_phase(shape, decay="coupled"):
    phase = Phase(epochs=9.7, learning_rate=shape, batch_size=24, momentum=0.9, weight_decay=5e-4)
    return Schedule([phase], decay=decay)


def joined():
    """Phases of every unit, momentum and batch size, one after the other."""
    return Schedule(
        [
            Phase(updates=7, learning_rate=SHAPES["linear"] | {"warmup": None}, batch_size=10),
            Phase(epochs=2.3, learning_rate=0.05, batch_size=33, momentum=0.5),
            Phase(
                examples=4321,
                learning_rate=SHAPES["cosine"],
                batch_size=17,
                momentum=0.9,
                weight_decay=1e-4,
            ),
            Phase(epochs=0.4, learning_rate=SHAPES["polynomial"], batch_size=90, momentum=0.98),
        ]
    )


def schedules():
    for name, shape in SHAPES.items():
        yield name, one_phase(shape)
    yield "joined", joined()
    yield "rest", one_phase(SHAPES["cosine"]).after(examples=3456, train_size=N)
    grown = equivalents(one_phase(SHAPES["cosine"]), N, routes=["grow-batch"], max_batch_size=200)
    yield "grow-batch", grown[0].schedule


CASES = dict(schedules())


def export(schedule, partial="carry", size=N):
    plan = plan_if_possible(schedule, size, partial)
    return Export('a "title" \\ with signs', schedule, size, partial, plan)


def module_of(text, path, name):
    file = path / f"{name}.py"
    file.write_text(text)
    spec = importlib.util.spec_from_file_location(name, file)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("partial", ["carry", "drop", "keep", "wrap"])
@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("form", ["toml", "json"])
def test_toml_and_json_read_back_as_the_same_schedule(form, name, partial):
    read = {"toml": parse_toml, "json": parse_json}[form]
    text = exported(export(CASES[name], partial), form)
    assert schedule_from(read(text, "x")) == (CASES[name], N, partial)


def test_everything_a_schedule_holds_reads_back():
    phase = Phase(examples=7, learning_rate=1e-7, batch_size=3, weight_decay=0.1)
    schedule = Schedule([phase], decay="independent", ema_decay=0.999, batch_norm_decay=0.9)
    for form, read in (("toml", parse_toml), ("json", parse_json)):
        text = exported(export(schedule, size=None), form)
        assert schedule_from(read(text, "x")) == (schedule, None, "carry")


@pytest.mark.parametrize("partial", ["carry", "drop", "keep", "wrap"])
@pytest.mark.parametrize("name", CASES)
def test_csv_has_every_update(name, partial):
    what = export(CASES[name], partial)
    rows = list(csv_reader.DictReader(StringIO(exported(what, "csv"))))
    assert [int(r["update"]) for r in rows] == list(range(1, what.plan.updates + 1))
    assert [float(r["learning_rate"]) for r in rows] == what.plan.learning_rates().tolist()
    sizes = [int(r["batch_size"]) for r in rows]
    if partial == "keep":  # the last batch of an epoch or phase is what is left
        assert sum(sizes) == what.plan.examples
        assert 0 < min(sizes)
        assert np.all(np.array(sizes) <= what.plan.batch_sizes())
    else:
        assert sizes == what.plan.batch_sizes().tolist()
    if partial == "carry":
        seen = np.concatenate([[0], np.cumsum(what.plan.batch_sizes())[:-1]])
        assert [int(r["examples"]) for r in rows] == seen.tolist()


@pytest.mark.parametrize("name", CASES)
def test_markdown_holds_the_whole_schedule(name):
    what = export(CASES[name])
    lines = [li for li in exported(what, "markdown").splitlines() if li.startswith("|")]
    phases, updates = [], []
    for line in lines[2:]:
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        rate = tomllib.loads("x = " + cells[3].strip("`"))["x"]
        phases.append(
            Phase(
                epochs=float(cells[2]),
                learning_rate=rate,
                batch_size=int(cells[4]),
                momentum=float(cells[5]),
                weight_decay=float(cells[6]),
            )
        )
        updates.append(int(cells[1]))
    plan = Schedule(phases).plan(N)
    assert [row.updates for row in what.plan.rows] == updates
    np.testing.assert_array_equal(plan.batch_sizes(), what.plan.batch_sizes())
    np.testing.assert_allclose(plan.learning_rates(), what.plan.learning_rates(), rtol=1e-9)


@pytest.mark.parametrize("partial", ["carry", "drop", "keep", "wrap"])
@pytest.mark.parametrize("name", CASES)
def test_optax_has_the_plans_values_at_every_update(name, partial, tmp_path):
    import jax

    what = export(CASES[name], partial)
    module = module_of(exported(what, "optax"), tmp_path, f"made_{name.replace('-', '_')}")
    updates = np.arange(what.plan.updates)
    rates = np.asarray(jax.vmap(module.learning_rate)(updates))
    expected = what.plan.learning_rates()
    np.testing.assert_allclose(rates, expected, rtol=2e-6, atol=2e-8 * expected.max())
    sizes = [module.batch_size(int(k)) for k in updates]
    assert sizes == what.plan.batch_sizes().tolist()


def heavy_ball(plan, decay, gradients, w=1.0):
    """v ← m v + gradient (+ λw), w ← w − ε v, with decay in its form; one weight, in float64."""
    v, seen, k = 0.0, [], 0
    for row in plan.rows:
        for rate in row.learning_rates():
            shrink = {"coupled": 0.0, "decoupled": rate, "independent": 1.0}[decay]
            pull = row.weight_decay * w if decay == "coupled" else 0.0
            v = row.momentum * v + gradients[k] + pull
            w = w - rate * v - shrink * row.weight_decay * w
            seen.append(w)
            k += 1
    return np.array(seen)


@pytest.mark.parametrize("decay", ["coupled", "decoupled", "independent"])
def test_optax_takes_the_updates_of_the_recipe(decay, tmp_path):
    import jax.numpy as jnp
    import optax

    phases = [phase.changed(weight_decay=0.02) for phase in joined().phases]
    what = export(Schedule(phases, decay=decay))
    module = module_of(exported(what, "optax"), tmp_path, f"made_{decay}")
    gradients = np.random.default_rng(0).normal(size=what.plan.updates)
    w = jnp.float32(1.0)
    state, seen = module.optimizer.init(w), []
    for k in range(60):
        step, state = module.optimizer.update(jnp.float32(gradients[k]), state, w)
        w = optax.apply_updates(w, step)
        seen.append(float(w))
        assert float(state.hyperparams["learning_rate"]) == pytest.approx(
            what.plan.learning_rates()[k], rel=1e-5
        )
    np.testing.assert_allclose(seen, heavy_ball(what.plan, decay, gradients)[:60], atol=2e-5)


def test_optax_spares_what_a_mask_says(tmp_path):
    import jax.numpy as jnp

    phase = Phase(epochs=3, learning_rate=0.1, batch_size=8, weight_decay=0.5)
    module = module_of(exported(export(Schedule([phase])), "optax"), tmp_path, "made_mask")
    optimizer = module.make_optimizer({"w": True, "b": False})
    weights = {"w": jnp.ones(1), "b": jnp.ones(1)}
    state = optimizer.init(weights)
    step, _ = optimizer.update({"w": jnp.zeros(1), "b": jnp.zeros(1)}, state, weights)
    assert float(step["w"][0]) == pytest.approx(-0.05) and float(step["b"][0]) == 0.0


def test_formats_say_what_they_lack():
    phase = Phase(epochs=3, learning_rate=0.1, batch_size=8)
    what = export(Schedule([phase]), size=None)
    for form in FORMATS:
        if form in ("toml", "json"):
            assert exported(what, form)
        else:
            with pytest.raises(InputError, match="train_size"):
                exported(what, form)
    with pytest.raises(InputError, match="did you mean 'pytorch'"):
        exported(what, "pytorhc")
    with pytest.raises(InputError, match="row per update"):
        exported(export(Schedule([phase]), size=10**8), "csv")
    with pytest.raises(InputError, match="couples weight decay"):
        decoupled = Schedule([phase.changed(weight_decay=0.1)], decay="decoupled")
        exported(export(decoupled), "pytorch")


@settings(max_examples=50, deadline=None)
@given(recipes, st.sampled_from(["carry", "drop", "keep", "wrap"]), st.integers(0, 3 * 10**5))
def test_random_recipes_and_their_rests_and_routes_read_back(schedule, partial, cut):
    size = 60000
    candidates = [schedule]
    total = sum(phase.exact_examples(size) for phase in schedule.phases)
    if 0 < cut < total:
        candidates.append(schedule.after(examples=cut, train_size=size))
    with suppress(InputError):
        candidates.append(equivalents(schedule, size, routes=["grow-batch"])[0].schedule)
    for one in candidates:
        for form, read in (("toml", parse_toml), ("json", parse_json)):
            what = Export("t", one, size, partial, None)
            assert schedule_from(read(exported(what, form), "x")) == (one, size, partial)
