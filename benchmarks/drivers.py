"""Updates per second: device loop, host loop, and eight seeds at once under vmap, on digits.

python benchmarks/drivers.py
"""

import statistics
import time
from functools import partial

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from noisescale import Phase, Schedule
from noisescale.recipe import DataConfig, ModelConfig
from noisescale.training.batches import Arrangement, Feed
from noisescale.training.data import load_dataset
from noisescale.training.drivers import Driver
from noisescale.training.models import build_model
from noisescale.training.optimizers import Hyper, Rule, start_of
from noisescale.training.steps import Batch, TrainState, update
from noisescale.training.streams import DataStream, dynamics_key, initial_weights_key

SEEDS, UPDATES, ROUNDS = 8, 2000, 9
HYPER = Hyper(0.005, 0.9)


def main() -> None:
    """Print microseconds per update and seed, with the ratio to the device loop."""
    data = load_dataset(DataConfig())
    x, y = jnp.asarray(data.train_inputs), jnp.asarray(data.train_labels)
    states, static = [], None
    for seed in range(SEEDS):
        model = build_model(ModelConfig(), (8, 8, 1), 10, initial_weights_key(seed))
        weights, static = eqx.partition(model, eqx.is_inexact_array)
        states.append(TrainState(weights, start_of(weights, Rule().optimizer)))
    one = partial(update, static, Rule())
    key = dynamics_key(0, 0)

    def several(state, indices, counts):
        def body(k, current):
            batch = Batch(indices[k], counts, jnp.zeros_like(indices[k]))
            return one(current, x, y, batch, key, HYPER)

        return jax.lax.fori_loop(0, UPDATES, body, state)

    together = jax.jit(jax.vmap(several, in_axes=(0, 0, None)))
    stacked = jax.tree.map(lambda *a: jnp.stack(a), *states)
    print(f"JAX {jax.__version__}, {jax.devices()[0].device_kind}, {UPDATES} updates a round")
    hyper = Hyper(*(np.full(UPDATES, value) for value in HYPER))
    for batch in (8, 40, 200):
        phase = Phase(updates=UPDATES, learning_rate=0.005, batch_size=batch)
        (row,) = Schedule([phase]).plan(data.train_size).rows
        feeds = [
            Feed(
                DataStream(seed, 0, data.train_size),
                row,
                "carry",
                0,
                Arrangement(batch, ModelConfig(), 0),
                with_epochs=False,
            )
            for seed in range(SEEDS)
        ]
        drivers = {
            kind: Driver(static, x, y, rule=Rule(), kind=kind) for kind in ("device", "host")
        }
        batched = np.stack([feed.batches(0, UPDATES).indices for feed in feeds])
        counts = np.ones((1, 1, batch), np.float32)
        step = drivers["device"].stretch_updates((1, 1, batch))

        def device(driver=drivers["device"], step=step, batch=batch, feed=feeds[0]):
            state = states[0]
            for start in range(0, UPDATES, step):
                end = min(start + step, UPDATES)
                part = Hyper(*(a[start:end] for a in hyper))
                state = driver.advance(state, feed.batches(start, end), part, key)
            return state

        def host(driver=drivers["host"], batch=batch, feed=feeds[0]):
            return driver.advance(states[0], feed.batches(0, UPDATES), hyper, key)

        def vmapped(batched=batched, counts=counts):
            return together(stacked, batched, counts)

        cases = {"device loop": (device, 1), "host loop": (host, 1), "8 seeds, vmap": (vmapped, 8)}
        times: dict[str, list[float]] = {name: [] for name in cases}
        for _ in range(ROUNDS + 1):
            for name, (run, seeds) in cases.items():
                start = time.perf_counter()
                jax.block_until_ready(run())
                times[name].append((time.perf_counter() - start) / UPDATES / seeds * 1e6)
        for name, measured in times.items():
            ratios = [a / b for a, b in zip(measured[1:], times["device loop"][1:], strict=True)]
            low, middle, high = statistics.quantiles(ratios, n=4)
            print(
                f"batch {batch:4d}  {name:14s} {statistics.median(measured[1:]):7.1f} µs per "
                f"update and seed   ratio {middle:.2f} (quartiles {low:.2f} – {high:.2f})"
            )


if __name__ == "__main__":
    main()
