"""Estimators of B_simple side by side, where it is known: SGD at rest in a quadratic bowl.

python experiments/gradient_noise_estimators/run.py   # under a minute on one core

Writes results/estimators.json and results/coverage.json.
"""

import json
import sys
import time
from math import inf
from pathlib import Path

import numpy as np

from noisescale.analysis.gradient_noise import (
    adascale_gain,
    gradient_noise_scale,
    noise_scale_from_examples,
)
from noisescale.record import write_text

HERE = Path(__file__).resolve().parent
# w ← w − η (H w + noise): weights with ηh_i = x_i, per-example noise of variance 1 in each.
RATES = np.geomspace(0.005, 0.3, 20)
PARTS, PART_BATCH = 8, 64
BATCH = PARTS * PART_BATCH
RUNS, STEPS, SHORT = 150, 3000, 30
# gpt-neox's big batch: so many consecutive batches.
CONSECUTIVE = 10
EPSILON = 1e-8
SCALE = 16


def true_noise_scale() -> float:
    """B Σ_i 1/Σ_i x_i/(2 − x_i): E(h_i w_i)² = (1/B) x_i/(2 − x_i) at rest."""
    return BATCH * len(RATES) / float(np.sum(RATES / (2 - RATES)))


def simulate(runs: int, steps: int, seed: int, moving: bool = True) -> dict[str, np.ndarray]:
    """Squared norms of every step of independent runs at rest, (steps, runs) each.

    Args:
        moving: train; else every step has a fresh draw of weights at rest, held for 10 steps.
    """
    rng = np.random.default_rng(seed)
    spread = np.sqrt(RATES / (2 - RATES) / BATCH)
    names = ("parts", "last", "batch", "true", "consecutive_small", "consecutive_big")
    lengths = {name: steps // (CONSECUTIVE if "consecutive" in name else 1) for name in names}
    norms = {name: np.empty((length, runs)) for name, length in lengths.items()}
    signal = spread * rng.standard_normal((runs, len(RATES)))  # H w
    total = np.zeros_like(signal)
    for step in range(steps):
        if not moving and step % CONSECUTIVE == 0:
            signal = spread * rng.standard_normal(signal.shape)
        noise = rng.standard_normal((PARTS, *signal.shape)) / PART_BATCH**0.5
        gradients = noise + signal
        mean = gradients.mean(axis=0)
        squares = np.einsum("krp,krp->kr", gradients, gradients)
        norms["parts"][step], norms["last"][step] = squares.mean(axis=0), squares[-1]
        norms["batch"][step] = np.einsum("rp,rp->r", mean, mean)
        norms["true"][step] = np.einsum("rp,rp->r", signal, signal)
        total += mean
        if step % CONSECUTIVE == CONSECUTIVE - 1:
            total /= CONSECUTIVE
            norms["consecutive_small"][step // CONSECUTIVE] = norms["batch"][step]
            norms["consecutive_big"][step // CONSECUTIVE] = np.einsum("rp,rp->r", total, total)
            total[:] = 0
        if moving:
            signal = signal - RATES * mean
    return norms


def pairs(small: np.ndarray, big: np.ndarray, small_batch: int, big_batch: int):
    """(tr Σ, |G|²) of every measurement."""
    trace = (small - big) / (1 / small_batch - 1 / big_batch)
    return trace, (big_batch * big - small_batch * small) / (big_batch - small_batch)


def estimates(norms: dict[str, np.ndarray], steps: int) -> dict[str, np.ndarray]:
    """The estimate of every run from its first steps, by each estimator."""
    parts, batch = norms["parts"][:steps], norms["batch"][:steps]
    trace, signal = pairs(parts, batch, PART_BATCH, BATCH)
    last, last_signal = pairs(norms["last"][:steps], batch, PART_BATCH, BATCH)
    number = steps // CONSECUTIVE
    moved = pairs(
        norms["consecutive_small"][:number],
        norms["consecutive_big"][:number],
        BATCH,
        CONSECUTIVE * BATCH,
    )
    ours = [
        gradient_noise_scale(s, b, PART_BATCH, BATCH).value
        for s, b in zip(parts.T, batch.T, strict=True)
    ]
    return {
        "ratio of means": np.array(ours),
        "mean of ratios": np.mean(trace / signal, axis=0),
        "clipped before averaging": trace.mean(axis=0) / np.maximum(signal, 0).mean(axis=0),
        "consecutive steps": moved[0].mean(axis=0) / moved[1].mean(axis=0),
        "last part alone": last.mean(axis=0) / last_signal.mean(axis=0),
        "largest of |G|² and ε": np.maximum(trace.mean(axis=0), EPSILON)
        / np.maximum(signal.mean(axis=0), EPSILON),
    }


def summary(values: np.ndarray, truth: float) -> dict[str, float]:
    """What is shown of one estimator over all runs."""
    low, middle, high = np.quantile(values, [0.05, 0.5, 0.95])
    return {
        "mean": float(values.mean()),
        "standard_error": float(values.std(ddof=1) / len(values) ** 0.5),
        "median": float(middle),
        "low": float(low),
        "high": float(high),
        "spread": float((high - low) / 3.29 / truth),
        "negative": float(np.mean(values < 0)),
        "gain": float(adascale_gain(float(middle), BATCH, SCALE)) if middle > 0 else None,
    }


def compare() -> dict:
    """All estimators on the same runs, long and short, and two controls."""
    truth = true_noise_scale()
    norms = simulate(RUNS, STEPS, seed=0)
    still = simulate(RUNS, STEPS, seed=1, moving=False)
    _, signal = pairs(norms["parts"], norms["batch"], PART_BATCH, BATCH)
    document = {
        "truth": truth,
        "measured_truth": len(RATES) / float(norms["true"].mean()),
        "runs": RUNS,
        "steps": STEPS,
        "short": SHORT,
        "batch": BATCH,
        "parts": PARTS,
        "scale": SCALE,
        "true_gain": float(adascale_gain(truth, BATCH, SCALE)),
        "negative_steps": float(np.mean(signal < 0)),
    }
    document["long_run"] = {k: summary(v, truth) for k, v in estimates(norms, STEPS).items()}
    document["short_run"] = {k: summary(v, truth) for k, v in estimates(norms, SHORT).items()}
    held = estimates(still, STEPS)
    names = ("ratio of means", "consecutive steps")
    document["weights_held"] = {k: summary(held[k], truth) for k in names}
    for name, steps in (("long_run", STEPS), ("short_run", SHORT)):
        found = [
            gradient_noise_scale(s, b, PART_BATCH, BATCH)
            for s, b in zip(norms["parts"][:steps].T, norms["batch"][:steps].T, strict=True)
        ]
        document[name]["ratio of means"] |= {
            "coverage": float(np.mean([f.interval[0] <= truth <= f.interval[1] for f in found])),
            "undecided": float(np.mean([f.verdict == "undecided" for f in found])),
            "no_upper_end": float(np.mean([f.interval[1] == inf for f in found])),
        }
    return document


def pair_regime(n: int, noise: float, tails: int | None = None, memory: float = 0.0):
    """A drawer of intervals from n paired measurements with |G|² = 1 on average."""

    def draw(rng: np.random.Generator, level: float):
        spectrum = 1 / np.arange(1, 31)
        gradients = rng.standard_normal((n, 8, 30)) * np.sqrt(noise * spectrum / spectrum.sum() / 4)
        if tails is not None:
            gradients *= np.sqrt((tails - 2) / rng.chisquare(tails, (n, 8, 1)))
        size = np.ones(n)
        if memory:
            z = rng.standard_normal(n)
            for i in range(1, n):
                z[i] = memory * z[i - 1] + (1 - memory**2) ** 0.5 * z[i]
            size = (1 + 0.3 * z) / (1 + 0.3**2) ** 0.5
        gradients += (size * 30**-0.5)[:, None, None]
        small = np.einsum("nkp,nkp->nk", gradients, gradients).mean(axis=1)
        mean = gradients.mean(axis=1)
        return gradient_noise_scale(small, np.einsum("np,np->n", mean, mean), 4, 32, level=level)

    return draw, noise


def population_regime():
    """Batches of 48 of 64 examples without replacement."""
    examples = np.random.default_rng(5).standard_normal((64, 10)) + 0.6
    mean = examples.mean(axis=0)
    truth = float(np.sum((examples - mean) ** 2) / 64 / (mean @ mean))

    def draw(rng: np.random.Generator, level: float):
        order = np.argsort(rng.random((40, 64)), axis=1)[:, :48]
        parts = examples[order].reshape(40, 8, 6, 10).mean(axis=2)
        big = (parts.mean(axis=1) ** 2).sum(axis=-1)
        small = (parts**2).sum(axis=-1).mean(axis=1)
        return gradient_noise_scale(small, big, 6, 48, train_size=64, level=level)

    return draw, truth


def example_regime(n: int):
    """Per-example gradients at one step, tr Σ = 6 over 12 weights, |G|² = 1."""

    def draw(rng: np.random.Generator, level: float):
        gradients = rng.standard_normal((n, 12)) * 0.5**0.5 + 12**-0.5
        return noise_scale_from_examples(gradients, level=level)

    return draw, 6.0


REGIMES = {
    "weak noise, n = 60": lambda: pair_regime(60, 8.0),
    "strong noise, n = 200": lambda: pair_regime(200, 500.0),
    "signal lost, n = 60": lambda: pair_regime(60, 5000.0),
    "n = 6": lambda: pair_regime(6, 40.0),
    "heavy tails (t, 5 degrees), n = 120": lambda: pair_regime(120, 60.0, tails=5),
    "|G| wanders (memory 0.8), n = 300": lambda: pair_regime(300, 20.0, memory=0.8),
    "|G| wanders (memory 0.8), n = 60": lambda: pair_regime(60, 20.0, memory=0.8),
    "48 of 64 examples, n = 40": population_regime,
    "100 examples of one step": lambda: example_regime(100),
}
REPLICATIONS = 800


def coverage() -> dict:
    """Part of the intervals of 90 % that hold the truth, regime by regime."""
    found = {}
    for number, (name, regime) in enumerate(REGIMES.items()):
        draw, truth = regime()
        rng = np.random.default_rng(100 + number)
        results = [draw(rng, 0.9) for _ in range(REPLICATIONS)]
        ends = np.array([r.interval for r in results])
        inside = float(np.mean((ends[:, 0] <= truth) & (truth <= ends[:, 1])))
        found[name] = {
            "truth": truth,
            "coverage": inside,
            "standard_error": (inside * (1 - inside) / REPLICATIONS) ** 0.5,
            "median": float(np.median([r.value for r in results])),
            "undecided": float(np.mean([r.verdict == "undecided" for r in results])),
            "no_upper_end": float(np.mean(np.isinf(ends[:, 1]))),
        }
    return {"level": 0.9, "replications": REPLICATIONS, "regimes": found}


def main() -> None:
    """Run both parts, write results."""
    results, begin = HERE / "results", time.monotonic()
    results.mkdir(exist_ok=True)
    documents = {"estimators": compare(), "coverage": coverage()}
    for name, document in documents.items():
        text = json.dumps(document, indent=1, allow_nan=False, ensure_ascii=False) + "\n"
        write_text(results / f"{name}.json", text)
    print(f"{time.monotonic() - begin:.0f} s, {results}", flush=True)


if __name__ == "__main__":
    sys.exit(main())
