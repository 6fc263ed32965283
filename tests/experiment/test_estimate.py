"""What an experiment will cost: counted exactly, measured roughly."""

import time
from itertools import count

import pytest

from noisescale.experiment.estimate import (
    Cost,
    _Seen,
    completed,
    estimate,
    seconds_of,
    work_by_kind,
)
from noisescale.experiment.execution import execute, work_of
from noisescale.experiment.parsing import find_experiment, parse_experiment
from noisescale.training.data import load_dataset
from tests.cli.test_verify import TINY

EXPERIMENT = parse_experiment(TINY, "tiny.toml")
ARMS = EXPERIMENT.planned(240)


def test_work_is_counted_as_it_is_done():
    """Phases of 4, 2, 2 and 2 epochs; the first one of the baseline serves three arms."""
    work = work_by_kind(ARMS)
    assert sum(done.updates for done in work.values()) == work_of(ARMS)
    assert sum(done.phases for done in work.values()) == 5 * 4 + 2 * 3
    assert sum(done.evaluations for done in work.values()) == 5 * 10 + 2 * 6
    assert sorted(batch for _, batch in work) == [1, 5, 25, 125]
    assert len({program for program, _ in work}) == 1
    (grown,) = [done for (_, batch), done in work.items() if batch == 125]
    assert (grown.updates, grown.phases, grown.evaluations) == (4, 1, 2)


def test_seconds_are_the_sum_over_kinds():
    work = work_by_kind(ARMS)
    costs = {key: Cost(100.0, 0.0, 0.0, 0.0, 0.0) for key in work}
    assert seconds_of(work, costs, 7) == 4 * 100
    costs = {key: Cost(0.0, 0.0, 1e-3, 0.0, 0.0) for key in work}
    assert seconds_of(work, costs, 3) == pytest.approx(3 * 1e-3 * work_of(ARMS))
    costs = {key: Cost(0.0, 2.0, 0.0, 0.0, 0.0) for key in work}
    assert seconds_of(work, costs, 3) == pytest.approx(3 * 2.0 * 26)
    costs = {key: Cost(0.0, 0.0, 0.0, 0.5, 0.0) for key in work}
    assert seconds_of(work, costs, 3) == pytest.approx(3 * 0.5 * 62)


def test_what_was_not_tried_costs_as_much_per_example():
    keys = sorted(work_by_kind(ARMS), key=lambda key: key[1])
    tried = {keys[1]: Cost(1.0, 0.1, 5e-3, 0.2, 0.01)}
    costs = completed(keys, tried)
    assert costs[keys[1]] == tried[keys[1]]
    assert costs[keys[3]] == Cost(1.0, 0.1, pytest.approx(125e-3), 0.2, 0.01)
    assert costs[keys[0]].update == pytest.approx(1e-3)


def test_the_longest_calls_count():
    """A call that compiled, single updates with their overhead, then long calls of 1 ms each."""
    seen = _Seen(clock=count(1.0).__next__, seconds=1.0)
    for number, seconds in [(1, 3.0), (1, 0.1), (2, 0.1), (64, 0.064), (64, 0.9), (40, 0.04)]:
        seen.watch.train += seconds
        seen.advanced(number)
    assert seen.per_update() == pytest.approx(1e-3)


def test_the_trial_ends_at_its_limit():
    """A clock that leaps: after the first kind, the most laborious one, no other is begun."""
    dataset = load_dataset(EXPERIMENT.base.data)
    told = []
    found = estimate(
        ARMS,
        dataset,
        3,
        limit=5.0,
        clock=count(0.0, 6.0).__next__,
        report=lambda tried, kinds: told.append((tried, kinds)),
    )
    assert told == [(1, 4)]
    assert found.measured and (found.tried, found.kinds) == (1, 4)
    assert found.seconds is not None and found.seconds > 0
    assert found.memory_bytes is None or found.memory_bytes > dataset.rows[0].nbytes


@pytest.mark.long
def test_the_estimate_is_near_what_it_takes(tmp_path):
    """Within a factor of 3 of the time, of 1.5 of the rows, checkpoints and descriptions."""
    experiment = find_experiment("increase-batch-size")
    dataset = load_dataset(experiment.base.data)
    arms = experiment.planned(dataset.train_size)
    found = estimate(arms, dataset, 3)
    begun = time.perf_counter()
    execute(arms, dataset, range(3), tmp_path, lambda what, updates: None)
    taken = time.perf_counter() - begun
    assert taken / 3 < found.seconds < 3 * taken
    size = sum(path.stat().st_size for path in tmp_path.rglob("*") if path.is_file())
    assert size / 1.5 < found.disk_bytes < 1.5 * size
