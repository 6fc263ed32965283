"""Find a base recipe that works, on a validation split: never on test data.

For every candidate (batch size, learning rate) all arms of `increase-batch-size` are trained with
seeds 1000 and up, which no verification uses. A candidate is alive if every seed of every arm
beats the gate. Among those alive whose baseline error is within two standard errors of the best
(over seeds, and binomial for the size of the validation split), the one with the most power is
chosen: the largest ratio of the weakest positive control's effect on the training loss to the A/A
control's spread.

    python experiments/increase_batch_size/select_base.py digits
    python experiments/increase_batch_size/select_base.py mnist --data-dir DIR
"""

import argparse
import json
import tempfile
from copy import deepcopy
from dataclasses import replace
from pathlib import Path

import numpy as np

from noisescale.experiment import Experiment, find_experiment
from noisescale.experiment.conclusion import SeedCurves, compared_epochs
from noisescale.experiment.execution import curves_of, execute
from noisescale.experiment.report import markdown_table
from noisescale.experiment.specification import shared_epochs
from noisescale.recipe import recipe_from
from noisescale.training.data import load_dataset

FIRST_SEED = 1000
GRIDS = {
    "digits": {"validation": 287, "seeds": 6, "batch": [4, 8], "rate": [0.005, 0.01, 0.02]},
    "mnist": {"validation": 10000, "seeds": 3, "batch": [128], "rate": [0.02, 0.05, 0.1]},
}


def candidate(experiment: Experiment, validation: int, batch: int, rate: float) -> Experiment:
    """The experiment with another first batch size and rate, on the validation split."""
    document = deepcopy(dict(experiment.base_document))
    document.pop("train_size", None)
    first = document["phase"][0]["learning_rate"]
    kappa = batch / document["phase"][0]["batch_size"]
    for phase in document["phase"]:
        phase["learning_rate"] = float(f"{phase['learning_rate'] * rate / first:.12g}")
        phase["batch_size"] = batch
    document["data"] = {**document["data"], "validation": validation}
    arms = []
    for arm in experiment.arms:
        override = dict(arm.override)
        if "phase.batch_size" in override:
            override["phase.batch_size"] = round(override["phase.batch_size"] * kappa)
        if "phase.learning_rate" in override:
            override["phase.learning_rate"] = rate
        target = arm.target_batch_size and round(arm.target_batch_size * kappa)
        arms.append(replace(arm, override=override, target_batch_size=target))
    return replace(experiment, base=recipe_from(document), base_document=document, arms=tuple(arms))


def columns(seeds: list[SeedCurves], metric: str, epochs: list[float]) -> np.ndarray:
    """(seeds, epochs) values of a metric."""
    at = {e: i for i, e in enumerate(seeds[0].curves["epoch"])}
    return np.array([[s.curves[metric][at[e]] for e in epochs] for s in seeds])


def study(experiment: Experiment, data_dir: Path | None, seeds: int) -> dict:
    """Train all arms of one candidate and summarise them."""
    dataset = load_dataset(experiment.base.data, data_dir)
    arms = {arm.name: arm for arm in experiment.planned(dataset.train_size)}
    with tempfile.TemporaryDirectory() as folder:
        records = execute(
            list(arms.values()),
            dataset,
            range(FIRST_SEED, FIRST_SEED + seeds),
            Path(folder),
            lambda what, updates: None,
        )
    curves = {name: [curves_of(r) for r in listed] for name, listed in records.items()}
    finals = {
        name: [s.curves[experiment.gate.metric][-1] for s in listed]
        for name, listed in curves.items()
    }
    alive = all(
        s.status == "finished" and s.curves[experiment.gate.metric][-1] < experiment.gate.below
        for listed in curves.values()
        for s in listed
    )
    control = experiment.control
    errors = np.array([np.nan if e is None else e for e in finals[control.against]])
    phase = experiment.base.schedule.phases[0]
    summary = {
        "batch_size": phase.batch_size,
        "learning_rate": phase.learning_rate,
        "alive": alive,
        "validation_error": float(errors.mean()),
        "validation_error_sd": float(errors.std(ddof=1)),
        "validation_size": len(dataset.evaluation_labels),
        "seeds": seeds,
    }
    if not alive:
        return summary
    epochs = curves[control.against][0].curves["epoch"]
    effects, error_effects, spread = {}, {}, 0.0
    for name in (*control.positive, control.aa):
        start = shared_epochs(arms[control.against], arms[name])
        points = compared_epochs(epochs, start)
        both = [np.log(columns(curves[n], "train_loss", points)) for n in (control.against, name)]
        if name == control.aa:
            spread = float((both[1] - both[0]).std(axis=0, ddof=1).max())
        else:
            means = (both[1] - both[0]).mean(axis=0)
            effects[name] = float(means[np.argmax(abs(means))])
            gaps = columns(curves[name], experiment.gate.metric, points).mean(axis=0)
            gaps -= columns(curves[control.against], experiment.gate.metric, points).mean(axis=0)
            error_effects[name] = float(gaps[np.argmax(abs(gaps))])
    return {
        **summary,
        "control_effects": effects,
        "control_error_effects": error_effects,
        "aa_spread": spread,
        "power": min(map(abs, effects.values())) / spread,
        "half_control_effect": min(map(abs, effects.values())) / 2,
    }


def main() -> None:
    """Study the grid, print the table, write selection-DATASET.json."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("dataset", choices=GRIDS)
    parser.add_argument("--data-dir", type=Path)
    options = parser.parse_args()
    grid = GRIDS[options.dataset]
    experiment = find_experiment("increase-batch-size", options.dataset)
    found = []
    for batch in grid["batch"]:
        for rate in grid["rate"]:
            tried = candidate(experiment, grid["validation"], batch, rate)
            found.append(study(tried, options.data_dir, grid["seeds"]))
            print(json.dumps(found[-1]), flush=True)
    living = [c for c in found if c["alive"]]
    best = min(living, key=lambda c: c["validation_error"])
    p = best["validation_error"]
    variance = best["validation_error_sd"] ** 2 / best["seeds"]
    limit = p + 2 * (variance + p * (1 - p) / best["validation_size"]) ** 0.5
    chosen = max((c for c in living if c["validation_error"] <= limit), key=lambda c: c["power"])
    document = {"dataset": options.dataset, "candidates": found, "chosen": chosen}
    target = Path(__file__).with_name(f"selection-{options.dataset}.json")
    target.write_text(json.dumps(document, indent=1) + "\n")
    rows = [
        [
            f"{c['batch_size']}",
            f"{c['learning_rate']:g}",
            "yes" if c["alive"] else "no",
            f"{100 * c['validation_error']:.2f} ± {100 * c['validation_error_sd']:.2f}",
            ", ".join(f"{k} {v:+.2f}" for k, v in c.get("control_effects", {}).items()),
            ", ".join(f"{k} {100 * v:+.2f}" for k, v in c.get("control_error_effects", {}).items()),
            f"{c['aa_spread']:.3f}" if c["alive"] else "",
            f"{c['power']:.1f}" if c["alive"] else "",
        ]
        for c in found
    ]
    head = ["batch", "rate", "alive", "validation error %", "effect of controls on log loss"]
    head += ["on error, pp", "A/A sd of log loss", "power"]
    print(markdown_table(head, rows))
    print(f"chosen: batch {chosen['batch_size']}, learning rate {chosen['learning_rate']:g}")


if __name__ == "__main__":
    main()
