"""The two sides of pytorch.py: a process that trains one model, and waits to be asked for it.

python benchmarks/sides.py ours|eager|compiled MODEL
"""

import argparse
import json
import os
import sys
from dataclasses import dataclass, replace
from typing import Any

from measuring import forget_peak, peak, resident, seconds

from noisescale.recipe import ModelConfig

# The check goes over two updates: the first has no momentum yet.
CHECKED_UPDATES = 2
CONTIGUOUS, CHANNELS_LAST = "contiguous", "channels-last"


@dataclass(frozen=True)
class Case:
    """A model and how it is trained.

    Args:
        shape: of an image.
        updates: in a round.
        eager, compiled: the least wanted ratio of examples per second; None: for the record.
        gradient_tolerance: relative difference of momentum buffers that is taken for rounding.
    """

    title: str
    model: ModelConfig
    shape: tuple[int, int, int]
    batch_size: int
    updates: int
    eager: float
    compiled: float | None = None
    train_size: int = 4096
    gradient_tolerance: float = 2e-2

    @property
    def formats(self) -> tuple[str, ...]:
        """The memory formats to try."""
        return (CONTIGUOUS, CHANNELS_LAST) if self.model.convolutional else (CONTIGUOUS,)


F1 = ModelConfig(width=512, depth=5, batch_norm=True)
CIFAR = (32, 32, 3)
CASES = {
    "f1": Case("F1", F1, (28, 28, 1), 128, 100, 1.0, 0.8),
    "cnn8": Case(
        "ten-layer CNN, width 8", ModelConfig(name="ten-layer-cnn", width=8), CIFAR, 128, 20, 0.5
    ),
    "cnn16": Case(
        "ten-layer CNN, width 16", ModelConfig(name="ten-layer-cnn", width=16), CIFAR, 128, 10, 0.5
    ),
    "resnet44": Case(
        "ResNet-44", ModelConfig(name="resnet"), CIFAR, 32, 4, 0.5, gradient_tolerance=0.1
    ),
}


def case_of(name: str, quick: bool) -> Case:
    """The case, or a small one of its kind that only shows that all this works."""
    case = CASES[name]
    if not quick:
        return case
    small = {"width": 64} if name == "f1" else {"depth": 8} if name == "resnet44" else {}
    return replace(
        case,
        title=f"small, for {case.title}",
        model=replace(case.model, **small),
        shape=(16, 16, 3) if case.model.convolutional else case.shape,
        batch_size=16,
        updates=3,
        train_size=64,
    )


class Ours:
    """The worker's side of noisescale."""

    def __init__(self, case: Case, arguments: argparse.Namespace) -> None:
        from engine import Engine

        self.imported = resident()
        self._engine = Engine(case.model, case.shape, case.batch_size, case.train_size)
        self._run: Any = None

    def first(self) -> float:
        """Seconds of the first update, with what it compiles."""
        self._run = self._engine.begin()
        return seconds(lambda: self._engine.advance(self._run, 1))

    def round(self, updates: int) -> float:
        """Seconds of so many updates."""
        return seconds(lambda: self._engine.advance(self._run, updates))

    def check(self, path: str) -> dict[str, float]:
        """Saves what the other side has to reproduce."""
        self._engine.save(path, CHECKED_UPDATES)
        return {}

    def finite(self) -> bool:
        """Whether the weights still are."""
        return self._engine.finite(self._run)


class Theirs:
    """The worker's side of PyTorch."""

    def __init__(self, case: Case, arguments: argparse.Namespace) -> None:
        import torch

        # The optimizer imports it at its first step, eager or not; it is no memory of training.
        import torch._dynamo
        from peers import peer_of
        from synthetic import LEARNING_RATE, MOMENTUM, WEIGHT_DECAY, synthetic

        self.imported = resident()
        torch.set_num_threads(arguments.threads)
        images, labels = synthetic(case.shape, case.train_size)
        self._last = arguments.format == CHANNELS_LAST
        self._x, self._y = self._stored(torch.from_numpy(images)), torch.from_numpy(labels).long()
        self._model = peer_of(case.model, case.shape)
        if self._last:
            self._model = self._model.to(memory_format=torch.channels_last)
        compiled = arguments.side == "compiled"
        self._forward = torch.compile(self._model) if compiled else self._model
        self._sgd = lambda: torch.optim.SGD(
            self._model.parameters(), LEARNING_RATE, MOMENTUM, weight_decay=WEIGHT_DECAY
        )
        self._optimizer = self._sgd()
        self._size, self._batch_size = case.train_size, case.batch_size
        self._torch = torch

    def _stored(self, images: Any) -> Any:
        """Images (N, height, width, channels) as they lie in memory."""
        return images if self._last else images.permute(0, 3, 1, 2).contiguous()

    def _seen(self, stored: Any) -> Any:
        """The same as the model takes them: no copy."""
        return stored.permute(0, 3, 1, 2) if self._last else stored

    def _update(self, stored: Any, labels: Any) -> None:
        self._optimizer.zero_grad(set_to_none=True)
        logits = self._forward(self._seen(stored))
        self._torch.nn.functional.cross_entropy(logits, labels).backward()
        self._optimizer.step()

    def _updates(self, number: int) -> None:
        order, place = None, 0
        for _ in range(number):
            if order is None or place + self._batch_size > self._size:
                order, place = self._torch.randperm(self._size), 0
            chosen = order[place : place + self._batch_size]
            self._update(self._x[chosen], self._y[chosen])
            place += self._batch_size

    def first(self) -> float:
        """Seconds of the first update, with what it compiles."""
        return seconds(lambda: self._updates(1))

    def round(self, updates: int) -> float:
        """Seconds of so many updates."""
        return seconds(lambda: self._updates(updates))

    def check(self, path: str) -> dict[str, float]:
        """The largest relative differences from what our side has saved."""
        import numpy as np
        from peers import difference, load, peer_tensors

        torch = self._torch
        with np.load(path) as archive:
            arrays = dict(archive)
        stored = self._stored(torch.from_numpy(arrays["images"]))
        labels = torch.from_numpy(arrays["labels"]).long()
        load(self._model, peer_tensors(arrays, "weights 0"))
        self._optimizer = self._sgd()
        logits = self._forward(self._seen(stored)).detach()
        ours = torch.from_numpy(arrays["logits"])
        found = {"logits": difference({"z": logits}, {"z": ours})}
        for number in range(1, CHECKED_UPDATES + 1):
            self._update(stored, labels)
            state = self._optimizer.state
            here = {name: p.detach() for name, p in self._model.named_parameters()}
            buffers = {
                name: state[p]["momentum_buffer"] for name, p in self._model.named_parameters()
            }
            for what, values in (("buffers", buffers), ("weights", here)):
                key = f"{what} {number}"
                found[key] = difference(values, peer_tensors(arrays, key))
        return found

    def finite(self) -> bool:
        """Whether the weights still are."""
        return all(bool(p.isfinite().all()) for p in self._model.parameters())


def work(arguments: argparse.Namespace) -> None:
    """Answers the questions that come in on standard input."""
    # Whatever a library prints must not get between the answers.
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    case = case_of(arguments.model, arguments.quick)
    side: Any = None
    cold = 0
    for line in sys.stdin:
        question = json.loads(line)
        answer: dict[str, Any] = {}
        try:
            match question.pop("do"):
                case "build":
                    side = (Ours if arguments.side == "ours" else Theirs)(case, arguments)
                case "first":
                    answer = {"seconds": side.first()}
                    cold = peak()
                case "check":
                    answer = side.check(question["path"])
                case "forget":
                    answer = {"counted": forget_peak()}
                case "round":
                    updates = question["updates"]
                    answer = {"seconds": side.round(updates), "examples": updates * case.batch_size}
                case "end":
                    warm = peak()
                    answer = {
                        "peak": max(cold, warm) - side.imported,
                        "warm": warm - side.imported,
                        "whole": max(cold, warm),
                        "finite": side.finite(),
                    }
        except Exception as error:  # whatever a library raises
            answer = {"error": f"{type(error).__name__}: {error}"}
        answers.write(json.dumps(answer) + "\n")
        answers.flush()


def main() -> None:
    """The command line, as pytorch.py writes it."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("side", choices=("ours", "eager", "compiled"))
    parser.add_argument("model", choices=CASES)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--format", choices=(CONTIGUOUS, CHANNELS_LAST), default=CONTIGUOUS)
    parser.add_argument("--quick", action="store_true")
    work(parser.parse_args())


if __name__ == "__main__":
    main()
