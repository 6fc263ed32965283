"""Simulations into folders: the same rows whatever stops them, methods that agree."""

import json

import numpy as np
import pytest

from noisescale import InputError
from noisescale.simulation.methods import environment, measure
from noisescale.simulation.simulate import Stopped, simulate
from noisescale.simulation.specification import METHODS, Simulation

SMALL = {"sites": 512, "log_times": (1.0, 3.0, 5.0), "environments": 6, "starts": 16}


def small(**changes):
    return Simulation(**{**SMALL, **changes})


def text(folder):
    return (folder / "rows.jsonl").read_text()


def test_rows_have_the_columns_of_a_training_run_and_those_of_a_walk(tmp_path):
    record = simulate(small(), tmp_path)
    assert record.status == "finished" and len(record.rows) == 18
    row = record.rows[4]
    assert (row["seed"], row["log_time"]) == (1, 3.0)
    assert row["update"] == pytest.approx(np.exp(3), rel=1e-6)
    assert len(row["farther"]) == len(record.identity["distances"])
    # The median lies between the last distance with half of the walkers beyond and the next.
    distances = np.array(record.identity["distances"])
    beyond = distances[np.array(row["farther"]) > 0.5]
    assert row["distance"] >= (beyond[-1] if beyond.size else 0)


def test_late_times_have_no_update_but_a_logarithm(tmp_path):
    late = small(sites=1 << 13, alpha=1.9, log_times=(100.0, 500.0), environments=1, sigma=0.9)
    rows = simulate(late, tmp_path).rows
    assert rows[0]["update"] is not None and rows[1]["update"] == pytest.approx(np.exp(500.0))


def test_stopped_and_resumed_ends_with_the_same_rows(tmp_path):
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    simulate(small(), whole)
    asked = iter([False, False, True])
    with pytest.raises(Stopped):
        simulate(small(), parts, stop=lambda: next(asked))
    assert not (parts / "result.json").exists()
    seen = []
    simulate(small(), parts, report=lambda done, row: seen.append(done))
    assert seen == [3, 4, 5, 6]
    assert text(parts) == text(whole)
    assert (parts / "result.json").read_text() == (whole / "result.json").read_text()


def test_more_environments_keep_those_that_are_there(tmp_path):
    few, many = tmp_path / "few", tmp_path / "many"
    simulate(small(environments=2), few)
    seen = []
    grown = simulate(small(), few, report=lambda done, row: seen.append(done))
    assert seen == [3, 4, 5, 6]
    assert grown.rows == simulate(small(), many).rows and text(few) == text(many)
    assert simulate(small(environments=2), few).rows == grown.rows[:6]


def test_fewer_environments_than_a_stopped_run_has(tmp_path):
    asked = iter([False] * 4 + [True])
    with pytest.raises(Stopped):
        simulate(small(), tmp_path, stop=lambda: next(asked))
    assert {row["seed"] for row in simulate(small(environments=2), tmp_path).rows} == {0, 1}
    assert {row["seed"] for row in simulate(small(environments=4), tmp_path).rows} == set(range(4))


def test_another_simulation_does_not_overwrite(tmp_path):
    simulate(small(environments=1), tmp_path)
    before = text(tmp_path)
    with pytest.raises(InputError, match=r"simulation\.alpha: 1\.0 there, 1\.5 here"):
        simulate(small(environments=1, alpha=1.5), tmp_path)
    assert text(tmp_path) == before
    anew = simulate(small(environments=1, alpha=1.5), tmp_path, resume=False)
    assert anew.identity["simulation"]["alpha"] == 1.5


def test_environments_are_their_own():
    first, second = environment(small(), 0), environment(small(), 1)
    assert not np.array_equal(first, second)
    np.testing.assert_array_equal(environment(small(environments=99), 1), second)
    assert not np.array_equal(environment(small(seed=1), 0), first)


@pytest.mark.parametrize("method", ["walkers", "kinetic-monte-carlo"])
def test_walkers_agree_with_the_exact_fixed_time(method):
    # Same environments, 3,000 starts × 2 walkers: 5 standard errors of the mean |x|.
    plan = {"sites": 12_288, "starts": 3000, "environments": 1, "log_times": (2.0, 4.0)}
    exact = measure(small(**plan, method="exact-fixed", rates="metropolis"), 0)
    found = measure(small(**plan, method=method, rates="metropolis"), 0)
    for a, b in zip(exact, found, strict=True):
        sd = np.sqrt(a["mean_square"] - a["mean_absolute"] ** 2)
        # Walkers that start 2 sites apart share valleys: count one start in four.
        assert abs(b["mean_absolute"] - a["mean_absolute"]) < 5 * sd / np.sqrt(1500)
        assert b["wall_fraction"] == 0 and 0 < b["same_site"] < 0.5


def test_valleys_are_where_the_walkers_end_up():
    # Low temperature: x(Γ) is the median walker's valley up to O(T/Γ).
    plan = {"sites": 1 << 14, "temperature": 0.2, "log_times": (100.0,), "environments": 1}
    exact = measure(small(**plan), 0)[0]
    valleys = measure(small(**plan, method="valleys"), 0)[0]
    assert valleys["mean_absolute"] == pytest.approx(exact["mean_absolute"], rel=0.35)


def test_valleys_need_no_rates(tmp_path):
    # At T = 0.001 neighbours differ by thousands of T: no rate is a float, a valley still is one.
    from noisescale.simulation.summary import drawing_of, summarise

    cold = small(temperature=1e-3, log_times=(100.0, 200.0), method="valleys", environments=2)
    rows = simulate(cold, tmp_path).rows
    drawing = drawing_of(cold, rows, summarise(cold, rows))
    assert all(0 <= site[0] < len(drawing["potential"]) for site in drawing["walkers"].values())


def test_controls_do_what_they_are_for():
    log_times = (2.0, 6.0)
    flat = measure(small(potential="flat", log_times=log_times, sites=4096), 0)
    assert flat[1]["mean_square"] == pytest.approx(2 * np.exp(6), rel=1e-6)
    ramp = measure(small(alpha=2.0, log_times=log_times, sites=1 << 16), 0)
    # Ballistic: mean squares grow as t², within the drift's own spread.
    growth = np.log(ramp[1]["mean_square"] / ramp[0]["mean_square"]) / 4
    assert growth > 1.5
    bowl = measure(small(potential="harmonic", stiffness=0.01, log_times=(1.0, 30.0)), 0)
    assert bowl[1]["distance"] < 130  # one valley of width 10, starts up to 128 from its middle
    smooth = measure(small(potential="smooth", log_times=log_times, sites=4096), 0)
    assert smooth[1]["mean_square"] < flat[1]["mean_square"]


@pytest.mark.parametrize(
    ("changes", "part"),
    [
        ({"potential": "rough"}, "self-affine"),
        ({"method": "exact-"}, "did you mean 'exact'"),
        ({"alpha": 2.5}, r"\(0, 2\]"),
        ({"temperature": 0}, "temperature=0"),
        ({"sites": 4}, "8 sites"),
        ({"sites": 10**9}, "at most"),
        ({"environments": 0}, "environments"),
        ({"starts": 1.5}, "starts"),
        ({"seed": -1}, "seed"),
        ({"log_times": (3.0, 2.0)}, "ascend"),
        ({"log_times": ()}, "list"),
        ({"log_times": (2.0, 200.0)}, "too few for ln t = 200"),
        ({"method": "walkers", "log_times": (2.0, 20.0), "sites": 10**5}, "hop by hop"),
        ({"method": "valleys", "log_times": (0.0, 2.0)}, "ln t > 0"),
        ({"potential": "smooth", "correlation_length": 200.0}, "a quarter"),
    ],
)
def test_bad_input_is_refused_before_any_work(changes, part):
    with pytest.raises(InputError, match=part):
        small(**changes)


def test_times_that_round_to_one_step_are_refused_before_any_file(tmp_path):
    crowded = small(method="walkers", log_times=(1.0, 1.01, 3.0), rates="metropolis")
    with pytest.raises(InputError, match="round to one number of steps"):
        simulate(crowded, tmp_path / "new")
    assert not (tmp_path / "new").exists()


def test_a_file_is_no_folder(tmp_path):
    (tmp_path / "x").write_text("")
    with pytest.raises(InputError, match="is a file"):
        simulate(small(), tmp_path / "x")


def test_identity_names_what_decides_the_numbers(tmp_path):
    simulate(small(environments=1), tmp_path)
    recipe = json.loads((tmp_path / "recipe.json").read_text())["identity"]
    assert set(recipe["simulation"]) == set(Simulation.__dataclass_fields__) - {"environments"}
    assert "numba" in recipe["versions"] and "jax" not in recipe["versions"]
    assert set(METHODS) >= {"exact", "valleys"}
