"""What an experiment will cost here, from a short trial of every kind of arm in it."""

import json
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from statistics import median, median_low

from noisescale.experiment.execution import programs_of, trunks_of
from noisescale.experiment.specification import PlannedArm
from noisescale.recipe import Recipe
from noisescale.record import finite
from noisescale.training.batches import Arrangement, Feed
from noisescale.training.checkpoints import arrays_of
from noisescale.training.data import Dataset
from noisescale.training.measurements import Progress, Stopwatch
from noisescale.training.provenance import identity_of, provenance
from noisescale.training.run import Trainer, Watch
from noisescale.training.stops import Stop, stops_of
from noisescale.training.streams import DataStream

# Seconds for the whole trial, and at most for the updates of one kind of arm.
TRIAL_SECONDS, MOST_SECONDS = 20.0, 2.0
# The first updates are measured one by one; what they take in longer calls is what counts.
LONG_CALL = 32

Key = tuple[Recipe, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class Estimate:
    """What training all seeds of all arms takes on this machine.

    Args:
        seconds: wall-clock, with nothing trained yet.
        memory_bytes: the largest resident memory of the process, not that of an accelerator; None
            where the platform does not tell.
        disk_bytes: rows and descriptions of all runs, and the checkpoints of one seed's arms.
        measured: whether a trial stands behind the numbers; without one they are None.
        tried, kinds: how many of the kinds of arm (program and batch size) the trial has run; the
            others are taken to cost as much per example.
        trial_seconds: what the trial took.
        reason: why there was no trial.
    """

    seconds: float | None = None
    memory_bytes: int | None = None
    disk_bytes: int | None = None
    measured: bool = False
    tried: int = 0
    kinds: int = 0
    trial_seconds: float | None = None
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Cost:
    """Seconds of one kind of arm: to compile, per phase begun, update, evaluation and probe."""

    compilation: float
    phase: float
    update: float
    evaluation: float
    probe: float


@dataclass(slots=True)
class Work:
    """What one seed does of one kind: phases, updates, evaluations, other probes."""

    phases: int = 0
    updates: int = 0
    evaluations: int = 0
    probes: int = 0


def work_by_kind(arms: Sequence[PlannedArm]) -> dict[Key, Work]:
    """What one seed has to do, by program and batch size; shared phases are counted once."""
    found: dict[Key, Work] = {}
    for (kind, rows), arm in trunks_of(arms).items():
        work = found.setdefault((programs_of(kind), rows[-1].batch_size), Work())
        stops = _stops(arm, len(rows) - 1)
        work.phases += 1
        work.updates += rows[-1].updates
        work.evaluations += sum(stop.epoch is not None for stop in stops)
        work.probes += len(stops)
    return found


def seconds_of(work: Mapping[Key, Work], costs: Mapping[Key, Cost], seeds: int) -> float:
    """Σ over kinds: compilation once; updates, evaluations and probes for every seed."""
    total = 0.0
    for key, done in work.items():
        cost = costs[key]
        total += cost.compilation + seeds * (
            done.phases * cost.phase
            + done.updates * cost.update
            + done.evaluations * cost.evaluation
            + done.probes * cost.probe
        )
    return total


def completed(keys: Sequence[Key], costs: Mapping[Key, Cost]) -> dict[Key, Cost]:
    """Costs of all kinds; one that was not tried takes as long per example as those that were.

    It is compared with tried kinds of its own program where there are some, and with all others
    where there are none.
    """
    found = dict(costs)
    for program, batch in keys:
        if (program, batch) in costs:
            continue
        own = {key: cost for key, cost in costs.items() if key[0] == program}
        near = own or costs
        per_example = median(cost.update / size for (_, size), cost in near.items())
        found[program, batch] = Cost(
            compilation=median(cost.compilation for cost in near.values()),
            phase=median(cost.phase for cost in near.values()),
            update=per_example * batch,
            evaluation=median(cost.evaluation for cost in near.values()),
            probe=median(cost.probe for cost in near.values()),
        )
    return found


def estimate(
    arms: Sequence[PlannedArm],
    dataset: Dataset,
    seeds: int,
    *,
    limit: float = TRIAL_SECONDS,
    clock: Callable[[], float] = time.perf_counter,
    report: Callable[[int, int], None] = lambda tried, kinds: None,
) -> Estimate:
    """Train every kind of arm for a few updates, the most laborious first, and extrapolate.

    Args:
        seeds: how many will be trained.
        limit: seconds after which no further kind is begun; the compilation and the evaluation of
            one that has been begun are not interrupted.
        report: hears how many kinds have been tried, and of how many.
    """
    began = clock()
    work = work_by_kind(arms)
    where = {
        (programs_of(kind), rows[-1].batch_size): (arm, len(rows) - 1)
        for (kind, rows), arm in trunks_of(arms).items()
    }
    order = sorted(work, key=lambda key: -work[key].updates * key[1])
    trainers: dict[Recipe, _Trial] = {}
    costs: dict[Key, Cost] = {}
    for key in order:
        left = limit - (clock() - began)
        if costs and left <= 0:
            break
        slice_ = min(MOST_SECONDS, max(0.0, left) / (len(order) - len(costs)))
        if key[0] not in trainers:
            trainers[key[0]] = _Trial(key[0], dataset, clock, left)
        costs[key] = trainers[key[0]].cost(*where[key], slice_)
        report(len(costs), len(order))
    # The run holds the data once per program.
    programs = {program for program, _ in order}
    more = len(programs) - len(trainers)
    memory = _peak_memory()
    if memory is not None:
        memory += more * dataset.rows[0].nbytes
    every = completed(order, costs)
    return Estimate(
        seconds=seconds_of(work, every, seeds),
        memory_bytes=memory,
        disk_bytes=_disk(arms, dataset, seeds, every, next(iter(trainers.values())).start),
        measured=True,
        tried=len(costs),
        kinds=len(order),
        trial_seconds=clock() - began,
    )


class _Enough(Exception):
    """The trial of a kind is over."""


class _Trial:
    """One program tried at one batch size after the other."""

    def __init__(
        self, program: Recipe, dataset: Dataset, clock: Callable[[], float], left: float
    ) -> None:
        self._clock = clock
        begun = clock()
        self._trainer = Trainer(program, dataset)
        self.start = self._trainer.start(0)
        middle = clock()
        # Every phase is begun with new initial weights, and a checkpoint put in their place.
        self._trainer.blank(0)
        self._blank = clock() - middle
        self._compilation = middle - begun
        if 2 * self._compilation < left:
            self._trainer.start(0)
            self._evaluation = max(0.0, clock() - middle - 2 * self._blank)
        else:
            # There is no time to tell the first evaluation from its compilation.
            self._evaluation = self._compilation

    def cost(self, arm: PlannedArm, number: int, seconds: float) -> Cost:
        """Seconds of phase `number` of an arm, begun at the initial weights."""
        seen = _Seen(self._clock, seconds)
        watch = Watch(report=seen.advanced, between=seen.stopped, clock=seen.watch)
        began = self._clock()
        blank = self._trainer.blank(0, arm.recipe.run.replica)
        try:
            self._trainer.run_phase(blank, arm.plan, number, watch)
        except _Enough:
            pass
        whole = self._clock() - began
        update = seen.per_update()
        probe = median_low(seen.probes) if seen.probes else 0.0
        evaluation = median_low(seen.evaluations) if seen.evaluations else self._evaluation
        steady = update * sum(n for n, _ in seen.calls) + sum(seen.probes) + sum(seen.evaluations)
        compilation = self._compilation + max(0.0, whole - steady)
        self._compilation = 0.0
        return Cost(compilation, self._blank, update, evaluation, probe)


@dataclass(slots=True)
class _Seen:
    """What a watch has seen of a phase."""

    clock: Callable[[], float]
    seconds: float
    watch: Stopwatch = field(default_factory=Stopwatch)
    calls: list[tuple[int, float]] = field(default_factory=list)
    evaluations: list[float] = field(default_factory=list)
    probes: list[float] = field(default_factory=list)
    since: float | None = None
    before: tuple[float, float, float] = (0.0, 0.0, 0.0)
    rows: int = 0

    def advanced(self, number: int) -> None:
        """A call of so many updates is over."""
        self.calls.append((number, self.watch.train - self.before[0]))
        self.before = (self.watch.train, *self.before[1:])
        if self.since is None:
            self.since = self.clock()  # what came before was compilation

    def stopped(self, progress: Progress) -> None:
        """Between two calls, perhaps after a measurement."""
        if len(progress.rows) > self.rows:
            self.rows = len(progress.rows)
            if progress.rows[-1]["train_loss"] is not None:
                self.evaluations.append(self.watch.evaluate - self.before[1])
            self.probes.append(self.watch.probe - self.before[2])
            self.before = (self.before[0], self.watch.evaluate, self.watch.probe)
        spent = 0.0 if self.since is None else self.clock() - self.since
        long = any(number >= LONG_CALL for number, _ in self.calls[1:])
        if len(self.calls) > 2 and spent >= (self.seconds if long else MOST_SECONDS):
            raise _Enough

    def per_update(self) -> float:
        """Seconds per update in the longest calls; the first call, perhaps another, compiled."""
        later = self.calls[1:] or self.calls
        longest = max((number for number, _ in later), default=1)
        return median_low([s / n for n, s in later if 2 * n >= longest] or [0.0])


def _stops(arm: PlannedArm, number: int) -> list[Stop]:
    row, recipe = arm.plan.rows[number], arm.recipe
    assert arm.plan.train_size is not None
    arrangement = Arrangement(row.batch_size, recipe.model, recipe.run.micro_batch_size)
    stream = DataStream(0, 0, arm.plan.train_size)
    feed = Feed(stream, row, arm.plan.partial, row.stream[0], arrangement, with_epochs=False)
    return stops_of(recipe, arm.plan, number, feed, row.start_update)


def _disk(
    arms: Sequence[PlannedArm],
    dataset: Dataset,
    seeds: int,
    costs: Mapping[Key, Cost],
    start: Progress,
) -> int:
    """Rows × bytes per row and what describes every run, and the checkpoints of one seed."""
    first = start.rows[0]
    # What stands in the rows of log-spaced updates alone.
    plain = {**first, **dict.fromkeys(("layers", "sketch", "without_norm_parameters"))}
    probed, other = (len(json.dumps(finite(row))) for row in (first, plain))
    total = 0
    for arm in arms:
        described = identity_of(arm.recipe, 0, dataset), provenance()
        total += probed + sum(len(json.dumps(d, indent=1)) for d in described)
        for number in range(len(arm.plan.rows)):
            total += sum(probed if stop.probe else other for stop in _stops(arm, number))
    checkpoint = sum(array.nbytes for array in arrays_of(start.state).values())
    kept = 0
    for (kind, rows_), arm in trunks_of(arms).items():
        cost = costs[programs_of(kind), rows_[-1].batch_size]
        # A phase shorter than the interval leaves none.
        kept += rows_[-1].updates * cost.update > arm.recipe.run.checkpoint_seconds
    return seeds * total + max(1, kept) * checkpoint


def _peak_memory() -> int | None:
    """The largest resident memory of this process so far."""
    try:
        import resource
    except ImportError:  # Windows
        return None
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else 1024 * peak
