"""The training engine against PyTorch's own layers and optimizers (make test-pytorch)."""

import numpy as np
import pytest

from noisescale.training.data import load_dataset
from tests.training.test_ghost_batch_norm import (
    ATOL,
    PHASE,
    PLAIN,
    TWO_PHASES,
    recipe_of,
    trained,
    updates_of,
)

CHUNKS = {"ghost_batch_size": 14, "partial_ghost": "chunk"}
FLAT = {"depth": 1}
# Adam divides rounding by small gradients: a lower learning rate than that of SGD.
ADAM = [
    phase | {"momentum": 0.0, "weight_decay": decay, "learning_rate": rate}
    for phase, decay, rate in zip(TWO_PHASES, (0.5, 0.2), (0.02, 0.01), strict=True)
]
CASES = {
    "SGD, a smaller last ghost": {"phases": [p | {"batch_size": 29} for p in TWO_PHASES]},
    # As in the released code of Hoffer et al. 2017: chunks of a batch, and an epoch's last batch
    # in smaller ones.
    "Nesterov, chunks, clipped": {
        "phases": [PHASE | {"batch_size": 56, "weight_decay": 0.01}],
        "optimizer": {"nesterov": True, "clip_norm": 0.4},
        "model": CHUNKS,
        "partial": "keep",
        "batch_norm_decay": 0.8,
    },
    "dampened": {
        "phases": TWO_PHASES,
        "optimizer": {"momentum_form": "dampened"},
        "model": FLAT,
    },
    "Adam": {"phases": ADAM, "optimizer": {"name": "adam"}, "model": PLAIN | FLAT},
    "AdamW, decay of matrices": {
        "phases": ADAM,
        "optimizer": {"name": "adamw", "epsilon": 0.01, "decay_norm_and_bias": False},
        "model": FLAT,
    },
}


def module_of(torch, weights, decay):
    """The same weights in PyTorch's layers."""
    layers, norms = [], []
    for k, (weight, bias) in enumerate(zip(weights.weights, weights.biases, strict=True)):
        layers.append(torch.nn.Linear(*weight.shape))
        tensors = [(layers[-1].weight, weight.T), (layers[-1].bias, bias)]
        if k < len(weights.weights) - 1:
            if weights.norms:
                norms.append(torch.nn.BatchNorm1d(len(bias), momentum=1 - decay))
                layers.append(norms[-1])
                tensors += [(norms[-1].weight, weights.norms[k].scale)]
                tensors += [(norms[-1].bias, weights.norms[k].shift)]
            layers.append(torch.nn.ReLU())
        for tensor, values in tensors:
            tensor.data = torch.tensor(np.array(values))
    return torch.nn.Sequential(*layers), norms


def optimizer_of(torch, module, options):
    matrices = [p for p in module.parameters() if p.ndim == 2]
    others = [p for p in module.parameters() if p.ndim == 1]
    groups = [{"params": matrices}, {"params": others}]
    if options.name != "sgd":
        kind = torch.optim.AdamW if options.name == "adamw" else torch.optim.Adam
        return kind(groups, betas=(options.beta1, options.beta2), eps=options.epsilon)
    return torch.optim.SGD(groups, nesterov=options.nesterov, lr=0.1, momentum=0.9)


def trained_by_pytorch(torch, recipe, updates, start, dataset, *, first_step="damped"):
    """(tensors in our order, running statistics) after all updates."""
    options, decay = recipe.optimizer, recipe.schedule.batch_norm_decay or 0.9
    module, norms = module_of(torch, start.weights, decay)
    optimizer = optimizer_of(torch, module, options)
    if first_step == "damped" and options.momentum_form == "dampened":
        # PyTorch takes the first gradient whole, (1−m) of it only from the second update on.
        for parameter in module.parameters():
            optimizer.state[parameter]["momentum_buffer"] = torch.zeros_like(parameter)
    x, y = (
        torch.tensor(dataset.train_inputs.reshape(-1, 64)),
        torch.tensor(dataset.train_labels).long(),
    )
    for update in updates:
        matrices, others = optimizer.param_groups
        for group in (matrices, others):
            decays = group is matrices or options.decay_norm_and_bias
            group["lr"] = update["rate"]
            group["weight_decay"] = update["weight_decay"] if decays else 0.0
            if options.name == "sgd":
                group["momentum"] = update["momentum"]
                dampened = options.momentum_form == "dampened"
                group["dampening"] = update["momentum"] if dampened else 0.0
        batch = torch.tensor(update["batch"])
        ghosts = [torch.tensor(ghost) for ghost in update["ghosts"]]
        if recipe.model.partial_ghost == "chunk":
            (phase,) = recipe.schedule.phases
            ghosts = batch.chunk(phase.batch_size // recipe.model.ghost_batch_size)
        optimizer.zero_grad()
        for ghost in ghosts:
            loss = torch.nn.functional.cross_entropy(module(x[ghost]), y[ghost], reduction="sum")
            (loss / len(batch)).backward()
        if options.clip_norm:
            torch.nn.utils.clip_grad_norm_(module.parameters(), options.clip_norm)
        optimizer.step()
    linear = [layer for layer in module if isinstance(layer, torch.nn.Linear)]
    tensors = [layer.weight.T for layer in linear] + [layer.bias for layer in linear]
    tensors += [tensor for norm in norms for tensor in (norm.weight, norm.bias)]
    running = [tensor for norm in norms for tensor in (norm.running_mean, norm.running_var)]
    return tuple([a.detach().numpy() for a in found] for found in (tensors, running))


def test_training_with_pytorch_itself():
    torch = pytest.importorskip("torch", reason="PyTorch is in the optional group [pytorch]")
    dataset = load_dataset(recipe_of().data)
    for name, case in CASES.items():
        case = dict(case)
        recipe = recipe_of(case.pop("phases"), run={"driver": "host"}, **case)
        seen, _, plan = trained(recipe, dataset)
        updates, end = updates_of(recipe, plan), seen[max(seen)]
        tensors, running = trained_by_pytorch(torch, recipe, updates, seen[0], dataset)
        weights = end.weights
        ours = [*weights.weights, *weights.biases]
        ours += [tensor for norm in weights.norms for tensor in (norm.scale, norm.shift)]
        # Both round to float32 and end 1e-6 off the float64 twin.
        for a, b in zip(ours, tensors, strict=True):
            np.testing.assert_allclose(a, b, atol=ATOL, err_msg=name)
        statistics = [tensor for layer in end.statistics for tensor in layer]
        for a, b in zip(statistics, running, strict=True):
            np.testing.assert_allclose(a, b, atol=ATOL, rtol=ATOL, err_msg=name)
        begun = seen[0].weights
        moved = [np.abs(a - b).max() for a, b in zip(ours, begun.weights, strict=False)]
        assert min(moved) > 0.05, name
        if name == "dampened":
            other, _ = trained_by_pytorch(
                torch, recipe, updates, seen[0], dataset, first_step="whole"
            )
            # Nine tenths of the first gradient times ε, and what it grows to.
            assert max(np.abs(a - b).max() for a, b in zip(ours, other, strict=True)) > 1e-3
