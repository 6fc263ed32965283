"""Train every arm of the study at a constant learning rate; a stopped run goes on where it was.

python experiments/is_it_a_walk/run.py [TASK...] [--data-dir DIR]

Runs go to noisescale-runs/is-it-a-walk (not committed), their curves to results/.
"""

import argparse
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import study

import noisescale

HERE = Path(__file__).resolve().parent
RUNS = HERE.parent.parent / "noisescale-runs" / "is-it-a-walk"

MLP = {"name": "multilayer-perceptron", "width": 64, "depth": 1}
F1 = {"name": "multilayer-perceptron", "width": 512, "depth": 5, "batch_norm": True}
CNN = {"name": "ten-layer-cnn", "width": 4}

# Batch norm is plain (its group is the batch), so that the full-batch arm has no noise at all.
TASKS: dict[str, dict[str, Any]] = {
    "digits": {
        "model": MLP, "data": {"name": "digits"}, "train_size": 1437,
        "updates": 20_000, "learning_rate": 0.05, "momentum": 0.0,
        "batch_sizes": (8, 32, 128, 1437), "seeds": 5,
    },
    "digits-label-noise": {
        "model": MLP, "data": {"name": "digits"}, "train_size": 1437,
        "updates": 20_000, "learning_rate": 0.05, "momentum": 0.0, "label_noise": 0.2,
        "batch_sizes": (8, 32, 128, 1437), "seeds": 5,
    },
    # One label in a thousand means something: nearly all that moves the weights is noise.
    "digits-random-labels": {
        "model": MLP, "data": {"name": "digits"}, "train_size": 1437,
        "updates": 20_000, "learning_rate": 0.05, "momentum": 0.0, "label_noise": 0.999,
        "batch_sizes": (8, 32, 128, 1437), "seeds": 5,
    },
    "mnist": {
        "model": F1, "data": {"name": "mnist", "subset": 2048}, "train_size": 2048,
        "updates": 2000, "learning_rate": 0.1, "momentum": 0.9,
        "batch_sizes": (32, 128, 512, 2048), "seeds": 3, "evaluations": 3,
        "noise_scale": (512, 1000),
    },
    "cifar10": {
        "model": CNN, "data": {"name": "cifar10", "subset": 512}, "train_size": 512,
        "updates": 1000, "learning_rate": 0.05, "momentum": 0.9,
        "batch_sizes": (32, 128, 512), "seeds": 3, "evaluations": 3,
        "noise_scale": (128, 500),
        # Convolutions inside a compiled loop are slow on a CPU.
        "landscape": {"rays": 12, "random_points": 100, "landscape_examples": 100},
    },
}  # fmt: skip


def recipe(task: str, batch_size: int, replica: int) -> dict[str, Any]:
    """The recipe of an arm: one phase, the learning rate never changes."""
    plan = TASKS[task]
    epochs = plan["updates"] * batch_size / plan["train_size"]
    return {
        "train_size": plan["train_size"],
        "phase": [
            {
                "updates": plan["updates"],
                "batch_size": batch_size,
                "learning_rate": plan["learning_rate"],
                "momentum": plan["momentum"],
            }
        ],
        "optimizer": {"label_noise": plan.get("label_noise", 0.0)},
        "model": plan["model"],
        "data": plan["data"],
        "run": {
            "seeds": plan["seeds"],
            "replica": replica,
            "evaluate_every": max(1, int(epochs / plan.get("evaluations", 10))),
        },
        "probe": {"per_decade": 12, "gradient_parts": 8 if batch_size % 8 == 0 else 0},
    }


def arms(task: str) -> Iterator[tuple[int, int]]:
    """(batch size, replica): two data orders each, and the full batch, which has but one."""
    plan = TASKS[task]
    for batch_size in reversed(plan["batch_sizes"]):
        for replica in range(1 if batch_size == plan["train_size"] else 2):
            yield batch_size, replica


def noise_scale_recipe(task: str) -> dict[str, Any]:
    """With ghosts of 32: in plain batch norm a part of the batch has no gradient of its own."""
    batch_size, updates = TASKS[task]["noise_scale"]
    document = recipe(task, batch_size, 0)
    document["phase"][0]["updates"] = updates
    document["model"] = {**document["model"], "ghost_batch_size": 32}
    document["run"]["evaluate_every"] = 10**6
    document["probe"] = {"per_decade": 16, "gradient_parts": batch_size // 32, "sketch": 0}
    return document


def landscape_recipe(task: str) -> dict[str, Any]:
    """One update, and the training loss along random rays and at random points around w_0."""
    plan = TASKS[task]
    document = recipe(task, plan["batch_sizes"][1], 0)
    document["phase"][0]["updates"] = 1
    document["run"]["seeds"] = 3
    document["probe"] = {
        "rays": 32, "random_points": 500, "longest": 10.0, "landscape_examples": 500,
        "gradient_parts": 0, **plan.get("landscape", {}),
    }  # fmt: skip
    return document


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, allow_abbrev=False)
    parser.add_argument("tasks", nargs="*", metavar="TASK", help=", ".join(TASKS))
    parser.add_argument("--data-dir", metavar="DIR")
    options = parser.parse_args()
    for unknown in set(options.tasks) - set(TASKS):
        parser.error(f"unknown task {unknown!r}: known are {', '.join(TASKS)}")
    for task in options.tasks or TASKS:
        documents = {
            f"batch-{batch_size}-replica-{replica}": recipe(task, batch_size, replica)
            for batch_size, replica in arms(task)
        }
        documents["landscape"] = landscape_recipe(task)
        if "noise_scale" in TASKS[task]:
            documents["noise-scale"] = noise_scale_recipe(task)
        for name, document in documents.items():
            print(task, name, flush=True)
            noisescale.train(document, RUNS / task / name, data_dir=options.data_dir)
        study.collect(task, RUNS / task)


if __name__ == "__main__":
    main()
