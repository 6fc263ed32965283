"""Planning against optax: the rates of a whole run, and ten thousand phases, in one session.

python benchmarks/plans.py
"""

import statistics
import time
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
import optax

from noisescale import Phase, Schedule

ROUNDS, SIZE, PHASES = 9, 50000, 10000
COSINE = {"shape": "cosine", "start": 0.1, "end": 0.0, "warmup": {"epochs": 5}}


def seconds(work: Callable[[], object]) -> float:
    """Wall time of one call."""
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def report(name: str, ours: Callable[[], object], peer: Callable[[], object]) -> None:
    """Median times and quartiles of the ratios, alternating."""
    times = [(seconds(ours), seconds(peer)) for _ in range(ROUNDS + 1)][1:]
    low, middle, high = statistics.quantiles([a / b for a, b in times], n=4)
    a, b = (statistics.median(t) for t in zip(*times, strict=True))
    print(
        f"{name:28s} ours {1e3 * a:7.1f} ms, optax {1e3 * b:7.1f} ms   "
        f"ratio {middle:.2f} (quartiles {low:.2f} – {high:.2f})"
    )


def main() -> None:
    """Print both comparisons."""
    schedule = Schedule([Phase(epochs=200, learning_rate=COSINE, batch_size=128, momentum=0.9)])
    updates = schedule.plan(SIZE).updates
    peer = optax.warmup_cosine_decay_schedule(0.0, 0.1, 1953, updates, 0.0)
    evaluated = jax.jit(jax.vmap(peer))
    report(
        f"rates of {updates:,} updates",
        lambda: schedule.plan(SIZE).learning_rates(),
        lambda: np.asarray(evaluated(jnp.arange(updates))),
    )
    phases = [
        Phase(
            epochs=0.01 * (1 + i % 7),
            learning_rate=0.1 / (1 + i % 13),
            batch_size=1 + i % 5000,
            momentum=0.9,
        )
        for i in range(PHASES)
    ]
    many = Schedule(phases)
    ends = np.cumsum([row.updates for row in many.plan(SIZE).rows])[:-1].tolist()
    pieces = [optax.constant_schedule(p.learning_rate) for p in phases]
    report(
        f"plan of {PHASES:,} phases",
        lambda: many.plan(SIZE),
        lambda: optax.join_schedules(pieces, ends)(ends[-1]),
    )


if __name__ == "__main__":
    main()
