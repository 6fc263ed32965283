"""A run with every probe against the same run with none: F1 with ghosts of 32, on digits.

python benchmarks/probes.py
"""

import statistics
import time
from dataclasses import replace

import jax

from noisescale import Phase, Schedule
from noisescale.recipe import ModelConfig, ProbeConfig, Recipe, RunConfig
from noisescale.training.data import load_dataset
from noisescale.training.run import Stopwatch, Trainer, Watch

UPDATES, BATCH, ROUNDS = 3000, 128, 5
PROBES = {
    "none": ProbeConfig(
        per_decade=1, layers=False, sketch=0, gradient_parts=0, recalibration_examples=0
    ),
    "all": ProbeConfig(),
}


def main() -> None:
    """Print seconds of both runs, their ratio, and what the probes' own clock says."""
    schedule = Schedule(
        [Phase(updates=UPDATES, learning_rate=0.01, batch_size=BATCH, momentum=0.9)]
    )
    recipe = Recipe(
        schedule=schedule,
        model=ModelConfig(width=512, depth=5, batch_norm=True, ghost_batch_size=32),
        run=RunConfig(evaluate_every=1e6),
    )
    data = load_dataset(recipe.data)
    plan = schedule.plan(data.train_size)
    trainers = {name: Trainer(replace(recipe, probe=probe), data) for name, probe in PROBES.items()}
    print(f"JAX {jax.__version__}, {jax.devices()[0].device_kind}, {UPDATES} updates of {BATCH}")
    times: dict[str, list[float]] = {name: [] for name in trainers}
    shares = []
    for _ in range(ROUNDS + 1):
        for name, trainer in trainers.items():
            clock, began = Stopwatch(), time.perf_counter()
            trainer.run_phase(trainer.start(0), plan, 0, Watch(clock=clock))
            times[name].append(time.perf_counter() - began)
            if name == "all":
                shares.append(clock.probe / (clock.probe + clock.train))
    # The first round compiles.
    ratios = [a / b for a, b in zip(times["all"][1:], times["none"][1:], strict=True)]
    low, middle, high = statistics.quantiles(ratios, n=4)
    for name, measured in times.items():
        print(f"{name:5s} {statistics.median(measured[1:]):7.2f} s  (first {measured[0]:.2f} s)")
    print(f"ratio {middle:.3f} (quartiles {low:.3f} – {high:.3f})")
    print(f"share of the probes by their own clock {100 * statistics.median(shares[1:]):.2f} %")


if __name__ == "__main__":
    main()
