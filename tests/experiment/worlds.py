"""Planted curves of an experiment's arms, with known truth."""

import numpy as np

from noisescale.experiment import find_experiment
from noisescale.experiment.conclusion import SeedCurves
from noisescale.experiment.specification import shared_epochs

EXPERIMENT = find_experiment("increase-batch-size")
SIZE = 1437
EPOCHS = np.arange(0, 51, dtype=float)


def world(
    *,
    shifts: dict[str, float],
    seeds: int = 8,
    noise: float = 0.03,
    error: float = 0.03,
    error_noise: float = 0.002,
    error_shifts: dict[str, float] | None = None,
    status: dict[str, str] | None = None,
    rng_seed: int = 0,
):
    """Arms whose log training loss differs from the baseline's by `shifts` once they part."""
    rng = np.random.default_rng(rng_seed)
    arms = {arm.name: arm for arm in EXPERIMENT.planned(SIZE)}
    base = np.log(2.3) - 2 * np.log1p(EPOCHS / 3)
    shared_noise = rng.normal(0, noise, (seeds, len(EPOCHS)))
    shared_error = rng.normal(0, error_noise, seeds)
    results = {}
    for name, arm in arms.items():
        start = shared_epochs(arms["baseline"], arm) if name != "baseline" else EPOCHS[-1]
        apart = start < EPOCHS
        listed = []
        for seed in range(seeds):
            own = rng.normal(0, noise, len(EPOCHS))
            log_loss = base + np.where(apart, own + shifts.get(name, 0.0), shared_noise[seed])
            e = error + (error_shifts or {}).get(name, 0.0)
            e += rng.normal(0, error_noise) if start == 0 else shared_error[seed]
            loss = np.exp(log_loss)
            listed.append(
                SeedCurves(
                    seed=seed,
                    status=(status or {}).get(name, "finished"),
                    curves={
                        "epoch": list(EPOCHS),
                        "train_loss": list(loss),
                        "train_error": [0.01] * len(EPOCHS),
                        "evaluation_loss": list(loss),
                        "evaluation_error": [0.9] * (len(EPOCHS) - 1) + [e],
                    },
                )
            )
        results[name] = listed
    return results


CONTROLS_TOLD = {"batch-only": 1.4, "not-decayed": -0.8}
