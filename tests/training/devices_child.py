"""The same recipes on 1 and on all of this process's devices; prints one JSON line per case.

python -m tests.training.devices_child [CASE...] | seeds FOLDER
"""

import json
import sys
from pathlib import Path

import equinox as eqx
import jax
import numpy as np

from noisescale import train
from noisescale.recipe import plan_of, recipe_from
from noisescale.training.data import load_dataset
from noisescale.training.run import Trainer

# Programs of probes take most of the time.
NO_PROBE = {"layers": False, "sketch": 0, "gradient_parts": 0, "recalibration_examples": 0}
PLAIN = {"batch_norm": True, "width": 32, "depth": 2}
CASES = {
    "plain batch norm": {"model": PLAIN},
    "ghosts on devices, every probe": {
        "model": PLAIN | {"ghost_batch_size": 16},
        "probe": {"per_decade": 4},
    },
    "ghosts across devices": {"batch": 192, "model": PLAIN | {"ghost_batch_size": 64}},
    "padded": {"batch": 100, "model": PLAIN | {"ghost_batch_size": 25}},
    "fewer examples than devices": {"batch": 5, "epochs": 0.2, "model": {"width": 16}},
    "micro-batches, host": {
        "batch": 256,
        "model": PLAIN | {"ghost_batch_size": 16},
        "run": {"micro_batch_size": 64, "driver": "host"},
    },
    "everything drawn": {
        "batch": 100,
        "momentum": 0.0,
        "rate": 1e-3,
        "model": PLAIN | {"dropout": 0.3, "ghost_batch_size": 25},
        "optimizer": {"name": "adam", "label_noise": 0.1},
        "data": {"augmentation": "crop-flip", "padding": 1},
    },
    "convolutions": {
        "batch": 32,
        "epochs": 0.5,
        "model": {"name": "resnet", "width": 4, "depth": 8, "ghost_batch_size": 8},
    },
}


def recipe_of(case, devices):
    return recipe_from(
        {
            "phase": [
                {
                    "epochs": case.get("epochs", 3),
                    "batch_size": case.get("batch", 128),
                    "learning_rate": case.get("rate", 0.05),
                    "momentum": case.get("momentum", 0.9),
                }
            ],
            "run": {"devices": devices, "seeds": 1, "evaluate_every": 3} | case.get("run", {}),
            "probe": case.get("probe", NO_PROBE | {"per_decade": 1}),
            **{k: case[k] for k in ("model", "optimizer", "data") if k in case},
        }
    )


def trained(case, devices):
    recipe = recipe_of(case, devices)
    dataset = load_dataset(recipe.data)
    trainer = Trainer(recipe, dataset)
    progress = trainer.run_phase(trainer.start(0), plan_of(recipe, dataset.train_size), 0)
    return progress, trainer.compiled


def live(progress):
    """All weights but biases before a norm: their gradient is 0, what they hold is rounding."""
    weights = progress.state.weights
    dead = {
        id(node.bias)
        for node in jax.tree.leaves(weights, is_leaf=lambda n: hasattr(n, "bias"))
        if hasattr(node, "bias") and node.bias is not None
    }
    if getattr(weights, "norms", None):
        dead |= {id(b) for b in getattr(weights, "biases", [])[:-1]}
    return [np.asarray(a, np.float64) for a in jax.tree.leaves(weights) if id(a) not in dead]


def seeds_alone_and_together(folder):
    """Whether four seeds on three devices are bit for bit the four after one another."""
    document = {
        "phase": [{"epochs": 1, "batch_size": 32, "learning_rate": 0.1, "momentum": 0.9}],
        "probe": NO_PROBE,
        "model": PLAIN | {"dropout": 0.2},
        "run": {"seeds": 4},
    }
    shown = []
    alone = train(document, f"{folder}/alone")
    together = train(document, f"{folder}/together", parallel=3, report=shown.append)
    files = [
        sorted(Path(folder, kind).glob(f"seed-*/{name}"))
        for kind in ("alone", "together")
        for name in ("weights.npz", "rows.jsonl", "result.json")
    ]
    equal = all(
        a.read_bytes() == b.read_bytes()
        for mine, theirs in zip(files[:3], files[3:], strict=True)
        for a, b in zip(mine, theirs, strict=True)
    )
    found = {
        "case": "seeds",
        "rows": alone.rows == together.rows,
        "files": equal,
        "number": len(files[3]),
        "done": shown[-1].done == shown[-1].total,
        "mixed": [s.seed for s in shown] != sorted(s.seed for s in shown),
    }
    print(json.dumps(found), flush=True)


def main():
    print(json.dumps({"devices": len(jax.devices())}), flush=True)
    if len(sys.argv) > 1 and sys.argv[1] == "seeds":
        seeds_alone_and_together(sys.argv[2])
        return
    for name in sys.argv[1:] or CASES:
        one, programs = trained(CASES[name], 1)
        all_, programs_of_all = trained(CASES[name], 0)
        pairs = list(zip(live(one), live(all_), strict=True))
        moved = np.sqrt(sum(np.sum((a - b) ** 2) for a, b in pairs))
        whole = np.sqrt(sum(np.sum(a**2) for a, _ in pairs))
        leaves = jax.tree.leaves(eqx.filter(all_.state, eqx.is_array))
        rows = [
            (r["train_loss"], s["train_loss"]) for r, s in zip(one.rows, all_.rows, strict=True)
        ]
        losses = max(abs(a - b) for a, b in rows if a is not None)
        found = {
            "case": name,
            "updates": one.update,
            "difference": float(moved / whole),
            "loss_difference": float(losses),
            "distance": one.rows[-1]["distance"] / one.rows[-1]["weight_norm"],
            "on_all": all(len(a.sharding.device_set) == len(jax.devices()) for a in leaves),
            "replicated": all(a.sharding.is_fully_replicated for a in leaves),
            "programs": [programs, programs_of_all],
        }
        print(json.dumps(found), flush=True)


if __name__ == "__main__":
    main()
