"""What options of a training run cost, each against doing without it, in alternating rounds.

python benchmarks/training.py [--rounds 9] [--only ghosts seeds probes memory augmentation]
"""

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from importlib.metadata import version
from typing import Any

from measuring import (
    MIB,
    TARGETS_HEADING,
    alternating,
    at_most,
    forget_peak,
    peak,
    ratios,
    resident,
    row,
    told,
)

from noisescale.recipe import ModelConfig

SCRIPT = "`training.py`"
GHOSTS_TARGET, SEEDS_TARGET, PROBES_TARGET, MEMORY_TARGET = 1.05, 1.5, 1.05, 1.1
AUGMENTATION_TARGETS = {"crop-flip": None, "medium": 1.1, "strong": 1.3}
SEEDS = 8


@dataclass(frozen=True)
class Case:
    """A model, and for how many updates of 128 a round is about a second or two."""

    title: str
    model: ModelConfig
    shape: tuple[int, int, int]
    updates: int


@dataclass(frozen=True, kw_only=True)
class Sizes:
    """How large everything is."""

    cases: dict[str, Case]
    batch: int
    ghost: int
    seeds_batch: int
    large_batch: int
    train_size: int
    probed_updates: int


F1 = Case("F1", ModelConfig(width=512, depth=5, batch_norm=True), (28, 28, 1), 100)
CNN = Case("ten-layer CNN, width 8", ModelConfig(name="ten-layer-cnn", width=8), (32, 32, 3), 20)
WHOLE = Sizes(
    cases={"f1": F1, "cnn": CNN},
    batch=128,
    ghost=32,
    seeds_batch=32,
    large_batch=16384,
    train_size=16384,
    probed_updates=600,
)
# Only to see that everything works.
SMALL_F1 = replace(F1, title="small MLP", model=replace(F1.model, width=32), updates=3)
SMALL_CNN = Case("small CNN", replace(CNN.model, width=2), (8, 8, 3), 3)
SMALL = Sizes(
    cases={"f1": SMALL_F1, "cnn": SMALL_CNN},
    batch=16,
    ghost=4,
    seeds_batch=4,
    large_batch=64,
    train_size=64,
    probed_updates=20,
)


def timed(engines: dict[str, Any], updates: int, rounds: int) -> dict[str, list[float]]:
    """Seconds of so many updates of every engine, round by round."""
    runs = {name: engine.begin() for name, engine in engines.items()}
    times = alternating(
        {name: partial(engine.advance, runs[name], updates) for name, engine in engines.items()},
        rounds,
    )
    for name, engine in engines.items():
        assert engine.finite(runs[name]), f"{name}: weights are no longer finite"
    return times


def ghosts(sizes: Sizes, rounds: int) -> list[str]:
    """Ghost batch norm and none against plain batch norm.

    Source of the claim that ghosts cost nothing: Hoffer, Hubara & Soudry 2017, section 5.
    """
    from engine import Engine

    rows = []
    for case in sizes.cases.values():
        models = {
            "plain": case.model,
            "ghosts": replace(case.model, ghost_batch_size=sizes.ghost),
            "none": replace(case.model, batch_norm=False),
        }
        engines = {
            name: Engine(model, case.shape, sizes.batch, sizes.train_size)
            for name, model in models.items()
        }
        times = timed(engines, case.updates, rounds)
        title, peer = f"{case.title}, B = {sizes.batch}: time per update", "plain batch norm"
        cells = at_most(GHOSTS_TARGET, ratios(times["ghosts"], times["plain"]))
        each = f" ({1e3 * statistics.median(times['plain']) / case.updates:.2f} ms plain)"
        rows.append(
            row(SCRIPT, f"{title}, ghosts of {sizes.ghost}", peer, cells[0], cells[1] + each)
        )
        without = told(ratios(times["none"], times["plain"]), 3)
        rows.append(row(SCRIPT, f"{title}, no batch norm", peer, "for the record", without))
    return rows


class Seeds:
    """Runs of several seeds, with the host driver's program: one update per call."""

    def __init__(self, case: Case, sizes: Sizes) -> None:
        import jax
        import jax.numpy as jnp
        import numpy as np
        from engine import Engine, hypers

        from noisescale.training.optimizers import Hyper
        from noisescale.training.steps import Batch, update

        self._engine = Engine(
            case.model, case.shape, sizes.seeds_batch, sizes.train_size, kind="host"
        )
        self._runs = [self._engine.begin(seed) for seed in range(SEEDS)]
        self._feeds = [run.feed for run in self._runs]
        self._stacked = jax.tree.map(lambda *a: jnp.stack(a), *(run.state for run in self._runs))
        self._done = 0
        hyper = Hyper(*(a[0] for a in hypers(1)))
        static, rule = self._engine.static, self._engine.rule

        def one(state, indices, x, y, counts, epochs, key):  # type: ignore[no-untyped-def]
            batch = Batch(indices, counts, epochs)
            return update(static, rule, state, x, y, batch, key, hyper, 0, 1, np.float32(1))

        self._together = jax.jit(jax.vmap(one, in_axes=(0, 0, None, None, None, None, None)))

    def at_once(self, updates: int) -> None:
        """So many updates of every seed, an update of all of them per call."""
        import jax
        import numpy as np

        engine, end = self._engine, self._done + updates
        batches = [feed.batches(self._done, end) for feed in self._feeds]
        indices = np.stack([b.indices for b in batches], axis=1)
        same = (engine.x, engine.y, batches[0].counts, batches[0].epochs, engine.key)
        for k in range(updates):
            self._stacked = self._together(self._stacked, indices[k], *same)
        jax.block_until_ready(self._stacked)
        self._done = end

    def in_turn(self, updates: int) -> None:
        """So many updates of every seed, one seed after the other."""
        for run in self._runs:
            self._engine.advance(run, updates)

    def apart(self) -> float:
        """The largest distance between the weights that both ways have led to, relative."""
        import jax
        import numpy as np

        def flat(weights: Any, *place: int) -> Any:
            return np.concatenate([np.ravel(a[place]) for a in jax.tree.leaves(weights)])

        found = []
        for k, run in enumerate(self._runs):
            here, there = flat(self._stacked.weights, k), flat(run.state.weights)
            found.append(float(np.linalg.norm(here - there) / np.linalg.norm(there)))
        return max(found)


def seeds(sizes: Sizes, rounds: int) -> list[str]:
    """Eight seeds at once under vmap against one after the other."""
    rows = []
    for case in sizes.cases.values():
        both, updates = Seeds(case, sizes), max(1, case.updates // 2)
        both.at_once(2)
        both.in_turn(2)
        assert both.apart() < 1e-4, both.apart()
        times = alternating(
            {"vmap": partial(both.at_once, updates), "turn": partial(both.in_turn, updates)}, rounds
        )
        faster = ratios(times["turn"], times["vmap"])
        batched = "should be" if statistics.median(faster) >= SEEDS_TARGET else "are not"
        rows.append(
            row(
                SCRIPT,
                f"{case.title}, B = {sizes.seeds_batch}: one seed at a time, an update per call",
                "eight seeds under `vmap`",
                f"`vmap` less than {SEEDS_TARGET:g} times as fast per seed, else seeds should be "
                "batched",
                f"{told(faster)} times as fast: seeds {batched} batched",
            )
        )
    return rows


def probes(sizes: Sizes, rounds: int) -> list[str]:
    """A run with the default probes against the same with none."""
    from synthetic import CLASSES, LEARNING_RATE, MOMENTUM, synthetic

    from noisescale import Phase, Schedule
    from noisescale.recipe import ProbeConfig, Recipe, RunConfig
    from noisescale.training.data import Dataset
    from noisescale.training.run import Stopwatch, Trainer, Watch

    case, updates = sizes.cases["cnn"], sizes.probed_updates
    images, labels = synthetic(case.shape, sizes.train_size)
    few = sizes.train_size // 8
    data = Dataset(
        name="synthetic",
        train_inputs=images,
        train_labels=labels,
        evaluation_inputs=images[:few],
        evaluation_labels=labels[:few],
        evaluation_split="test",
        classes=CLASSES,
        fingerprint="",
    )
    phase = Phase(
        updates=updates, learning_rate=LEARNING_RATE, batch_size=sizes.batch, momentum=MOMENTUM
    )
    schedule = Schedule([phase])
    plan = schedule.plan(data.train_size)
    none = ProbeConfig(
        per_decade=1, layers=False, sketch=0, gradient_parts=0, recalibration_examples=0
    )
    shares: list[float] = []

    def running(probe: Any) -> Callable[[], None]:
        # Evaluated at the end alone, both of them.
        run = RunConfig(evaluate_every=1e6)
        recipe = Recipe(schedule=schedule, model=case.model, run=run, probe=probe)
        trainer = Trainer(recipe, data)

        def run_it() -> None:
            clock = Stopwatch()
            trainer.run_phase(trainer.start(0), plan, 0, Watch(clock=clock))
            if probe is not none:
                shares.append(clock.probe / (clock.probe + clock.train))

        return run_it

    rounds = min(rounds, 3)
    times = alternating({"none": running(none), "all": running(ProbeConfig())}, rounds)
    cells = at_most(PROBES_TARGET, ratios(times["all"], times["none"]))
    share = f"; {100 * statistics.median(shares[1:]):.1f} % by their own clock, {rounds} rounds"
    title = f"{case.title}, {updates} updates of {sizes.batch}, every default probe"
    return [row(SCRIPT, title, "the same run with none", cells[0], cells[1] + share)]


def memory(sizes: Sizes, rounds: int) -> list[str]:
    """Peak memory of a large batch in micro-batches against a batch of one, in fresh processes."""
    rows, rounds = [], min(rounds, 3)
    for name, case in sizes.cases.items():
        found: dict[int, list[dict[str, int]]] = {sizes.batch: [], sizes.large_batch: []}
        for _ in range(rounds):
            for batch, peaks in found.items():
                command = [sys.executable, __file__, "--worker", name, "--batch", str(batch)]
                command += ["--quick"] if sizes is SMALL else []
                answer = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
                peaks.append(json.loads(answer.stdout))
        small, large = found.values()

        def quotients(what: str, large=large, small=small) -> list[float]:
            return [a[what] / b[what] for a, b in zip(large, small, strict=True)]

        cells = at_most(MEMORY_TARGET, quotients("peak"))
        both = " against ".join(
            f"{statistics.median(p['peak'] for p in peaks) / MIB:.0f}" for peaks in (large, small)
        )
        rows.append(
            row(
                SCRIPT,
                f"{case.title}, B = {sizes.large_batch:,} in micro-batches of {sizes.batch}: peak "
                "memory above the data set",
                f"B = {sizes.batch}",
                cells[0],
                f"{cells[1]}, {both} MiB; after the first update "
                f"{told(quotients('warm'), 3)}, {rounds} rounds",
            )
        )
    return rows


def work(name: str, batch: int, sizes: Sizes) -> None:
    """Prints the peaks of some updates, in bytes above what the data set and imports hold."""
    from engine import Engine

    case = sizes.cases[name]
    # Ghosts as large as a micro-batch, in both: plain batch norm cannot be divided.
    model = replace(case.model, ghost_batch_size=sizes.batch)
    engine = Engine(model, case.shape, batch, sizes.train_size, micro_batch_size=sizes.batch)
    before = resident()
    run = engine.begin()
    engine.advance(run, 1)
    cold = peak()
    forget_peak()
    # Two updates of the large batch at most, and as many micro-batches of either.
    engine.advance(run, max(1, sizes.large_batch // batch))
    warm = peak()
    print(json.dumps({"peak": max(cold, warm) - before, "warm": warm - before}))


def augmentation(sizes: Sizes, rounds: int) -> list[str]:
    """An update with each augmentation against one without."""
    from engine import Engine

    case = sizes.cases["cnn"]
    engines = {
        name: Engine(case.model, case.shape, sizes.batch, sizes.train_size, augmentation=name)
        for name in ("none", *AUGMENTATION_TARGETS)
    }
    times, rows = timed(engines, case.updates, rounds), []
    for name, bound in AUGMENTATION_TARGETS.items():
        values = ratios(times[name], times["none"])
        cells = ("for the record", told(values, 3)) if bound is None else at_most(bound, values)
        title = f"{case.title}, B = {sizes.batch}: time per update, augmentation {name!r}"
        rows.append(row(SCRIPT, title, "none", *cells))
    return rows


PARTS = {
    "ghosts": ghosts,
    "seeds": seeds,
    "probes": probes,
    "memory": memory,
    "augmentation": augmentation,
}


def main() -> None:
    """Print rows of TARGETS.md."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", nargs="+", choices=PARTS, default=list(PARTS))
    parser.add_argument("--rounds", type=int, default=9, help="of probes and memory at most 3")
    parser.add_argument("--quick", action="store_true", help="small sizes, to see that it works")
    # How it calls itself.
    parser.add_argument("--worker", choices=WHOLE.cases, help=argparse.SUPPRESS)
    parser.add_argument("--batch", type=int, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    sizes = SMALL if arguments.quick else WHOLE
    if arguments.worker:
        work(arguments.worker, arguments.batch, sizes)
        return
    print(
        f"JAX {version('jax')}, NumPy {version('numpy')}, Python {platform.python_version()}, "
        f"{platform.machine()}, {os.cpu_count()} cores, {arguments.rounds} rounds"
        + (", small sizes (--quick)" if arguments.quick else "")
        + f"\n\n{TARGETS_HEADING}",
        flush=True,
    )
    began = time.perf_counter()
    for name in arguments.only:
        print("\n".join(PARTS[name](sizes, arguments.rounds)), flush=True)
        print(f"{name}: done after {time.perf_counter() - began:.0f} s", file=sys.stderr)


if __name__ == "__main__":
    main()
