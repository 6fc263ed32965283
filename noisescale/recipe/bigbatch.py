"""The released code of Hoffer, Hubara & Soudry 2017, quirk by quirk."""

from math import ceil, sqrt
from typing import Any

from noisescale.analysis.checks import choice, positive_integer
from noisescale.errors import InputError

# F1 on MNIST: epochs and learning rates at the base batch size (models/mnist_f1.py).
REGIME = ((10, 0.1), (10, 0.01), (10, 0.001), (20, 0.0001))


def bigbatch_compat(
    batch_size: int = 4096,
    *,
    empties_momentum: bool = True,
    keeps_last_batch: bool = True,
    shrinks_last_ghosts: bool = True,
    first_tensor_distance: bool = True,
    always_clips: bool = True,
    grey_padding: bool = False,
    base_batch_size: int = 128,
    scales_learning_rate: bool = True,
    ghost_batch_size: int = 128,
    adapts_regime: bool = False,
) -> dict[str, Any]:
    """A recipe document that trains F1 on MNIST as eladhoffer/bigBatch would, had it still run.

    Every argument is one switch and changes one key of the recipe; all of them off, with
    clip_norm left out, is what the paper says.

    Args:
        batch_size: B_L.
        empties_momentum: a new optimizer every epoch, so that the momentum buffer starts at 0 and
            the mean rate of an epoch of n updates is f = 1 − m(1−mⁿ)/(n(1−m)) of the nominal one.
        keeps_last_batch: an epoch ends with the batch of what is left (else batches straddle
            epochs).
        shrinks_last_ghosts: ghosts are ⌊B_L/G⌋ chunks, so that those of a smaller last batch are
            smaller than G (else they are G, and only the last one is smaller).
        first_tensor_distance: the column `distance` is that of the first tensor alone.
        always_clips: gradients are clipped at norm 5 in every update (the paper speaks of the
            initial ones).
        grey_padding: crops of images padded by 4 pixels of value 127 (else not augmented; the
            released code augments CIFAR, not MNIST).
        base_batch_size: from which the learning rate is scaled, 128 (main_gbn.py) or 256
            (main_normal.py).
        scales_learning_rate: ε √(B_L/base).
        ghost_batch_size: G; 0: plain batch norm, as in main_normal.py.
        adapts_regime: every duration times ⌈B_L/base⌉.

    Source: eladhoffer/bigBatch: main_normal.py, main_gbn.py, models/mnist_f1.py, utils/optim.py.
    """
    positive_integer("batch_size", batch_size)
    choice("base_batch_size", str(base_batch_size), ("128", "256"))
    if ghost_batch_size and batch_size < ghost_batch_size:
        raise InputError(
            f"batch_size={batch_size} is below ghost_batch_size={ghost_batch_size}: raise it"
        )
    factor = sqrt(batch_size / base_batch_size) if scales_learning_rate else 1.0
    times = ceil(batch_size / base_batch_size) if adapts_regime else 1
    document: dict[str, Any] = {
        "train_size": 60000,
        "partial": "keep" if keeps_last_batch else "carry",
        "batch_norm_decay": 0.9,
        "phase": [
            {
                "epochs": times * epochs,
                "batch_size": batch_size,
                "learning_rate": float(f"{factor * rate:.12g}"),
                "momentum": 0.9,
            }
            for epochs, rate in REGIME
        ],
        "optimizer": {
            "weight_decay": 1e-4,
            "momentum_reset": "epoch" if empties_momentum else "never",
        },
        "model": {
            "name": "multilayer-perceptron",
            "width": 512,
            "depth": 5,
            "batch_norm": True,
            "ghost_batch_size": ghost_batch_size,
            "partial_ghost": "chunk" if shrinks_last_ghosts and ghost_batch_size else "own",
        },
        "data": {"name": "mnist"},
        "probe": {"distance": "first-tensor" if first_tensor_distance else "whole"},
    }
    if always_clips:
        document["optimizer"]["clip_norm"] = 5.0
    if grey_padding:
        document["data"] |= {"augmentation": "crop-flip", "padding": 4, "fill": 127}
    return document
