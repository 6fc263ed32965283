"""One training update here and in PyTorch: examples per second and peak memory, in float32.

python benchmarks/pytorch.py [--rounds 9] [--models f1 cnn8 cnn16 resnet44]

Forward pass, gradient, momentum SGD with weight decay, batch norm in training mode, batches
gathered from a data set in memory. Every side is a process of its own, so that no thread of one
library waits in the other's pool; they take turns, round by round. Before anything is timed
PyTorch must reproduce our logits, gradients and weights. PyTorch's side is a model and
torch.optim.SGD as its tutorials write them, eager and under torch.compile(model); convolutions in
both memory formats, of which the faster one is the peer.
"""

import argparse
import os
import platform
import statistics
import sys
import tempfile
import time
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

from measuring import (
    MIB,
    TARGETS_HEADING,
    Worker,
    WorkerError,
    at_least,
    at_most,
    heading,
    ratios,
    row,
    told,
)
from sides import CASES, Case, case_of

# Gradients are sums of 1e5 terms of either sign: a pixel whose ReLU or maximum flips by rounding
# moves them by far more than rounding itself, and not the weights after so small a step.
TOLERANCE, MEMORY_TARGET = 3e-4, 1.5


@dataclass
class Side:
    """A worker, and what was measured of it."""

    title: str
    worker: Worker
    cold: float = 0.0
    differences: dict[str, float] | None = None
    rates: list[float] | None = None
    memory: dict[str, Any] | None = None

    @property
    def speed(self) -> float:
        """Examples per second, the median."""
        return statistics.median(self.rates or [0.0])


def start(
    name: str, side: str, arguments: argparse.Namespace, folder: str, memory_format: str = ""
) -> Side:
    """A worker that is built and has done its first update."""
    options = [str(Path(__file__).with_name("sides.py")), side, name]
    options += ["--threads", str(arguments.threads)]
    options += ["--format", memory_format] if memory_format else []
    options += ["--quick"] if arguments.quick else []
    title = f"{side}, {memory_format}" if memory_format else side
    # An own cache, so that the first call compiles.
    environment = dict(os.environ, TORCHINDUCTOR_CACHE_DIR=f"{folder}/{side}-{memory_format}")
    environment.pop("JAX_COMPILATION_CACHE_DIR", None)
    started = Side(title, Worker(*options, environment=environment))
    try:
        started.worker.ask(do="build")
        started.cold = started.worker.ask(do="first")["seconds"]
    except WorkerError:
        started.worker.end()
        raise
    return started


def compare(name: str, arguments: argparse.Namespace) -> tuple[list[Side], list[str]]:
    """(sides, what could not run) of one model."""
    case, notes, peers = case_of(name, arguments.quick), [], []
    with tempfile.TemporaryDirectory() as folder:
        path = str(Path(folder) / "ours.npz")
        # By a worker of its own: what the check compiles would count as memory.
        saving = start(name, "ours", arguments, folder)
        saving.worker.ask(do="check", path=path)
        saving.worker.end()
        ours = start(name, "ours", arguments, folder)
        for side in ("eager", "compiled"):
            for memory_format in case.formats:
                try:
                    peers.append(start(name, side, arguments, folder, memory_format))
                except WorkerError as error:
                    if side == "eager":
                        raise
                    notes.append(f"{case.title}: torch.compile could not run: {error}")
        for peer in peers:
            peer.differences = peer.worker.ask(do="check", path=path)
            # Not ">": what is not a number fails as well.
            bounds = {True: case.gradient_tolerance, False: TOLERANCE}
            if not all(d < bounds["buffers" in k] for k, d in peer.differences.items()):
                raise SystemExit(
                    f"{case.title}, {peer.title}: not the same training, largest relative "
                    f"differences {peer.differences}"
                )
        sides = [ours, *peers]
        for side in sides:
            side.rates = []
            side.worker.ask(do="forget")
        for number in range(arguments.rounds + 1):
            for side in sides:
                answer = side.worker.ask(do="round", updates=case.updates)
                # The first round warms up.
                if number:
                    side.rates.append(answer["examples"] / answer["seconds"])
        for side in sides:
            side.memory = side.worker.ask(do="end")
            side.worker.end()
            if not side.memory["finite"]:
                raise SystemExit(f"{case.title}, {side.title}: weights are no longer finite")
    return sides, notes


def faster(sides: list[Side], kind: str) -> Side | None:
    """The peer of a kind: in the memory format that is faster."""
    return max((s for s in sides if s.title.startswith(kind)), key=lambda s: s.speed, default=None)


def details(case: Case, sides: list[Side]) -> list[str]:
    """Rows of everything measured of a model."""
    rows = []
    for side in sides:
        memory, worst = side.memory or {}, max((side.differences or {"": 0.0}).values())
        quotient = told(ratios(sides[0].rates or [], side.rates or []))
        rows.append(
            row(
                f"{case.title}, B = {case.batch_size}",
                side.title,
                f"{side.cold:.2f}",
                f"{side.speed:,.0f}",
                "1" if side is sides[0] else quotient,
                f"{memory['peak'] / MIB:.0f}",
                f"{memory['warm'] / MIB:.0f}",
                f"{memory['whole'] / MIB:.0f}",
                f"{worst:.1e}" if side.differences else "",
            )
        )
    return rows


def targets(case: Case, sides: list[Side]) -> list[str]:
    """Rows for TARGETS.md."""
    ours, title = sides[0], f"{case.title}, B = {case.batch_size}"
    rows = []
    for kind, peer, bound in (
        ("eager", "PyTorch, eager", case.eager),
        ("compiled", "PyTorch, `torch.compile`", case.compiled),
    ):
        other = faster(sides, kind)
        if other is None:
            wanted = "for the record" if bound is None else f"at least {bound:g} times"
            cells = (wanted, "could not run")
        else:
            values = ratios(ours.rates or [], other.rates or [])
            cells = ("for the record", told(values)) if bound is None else at_least(bound, values)
            if case.model.convolutional:
                peer += f" ({other.title.rpartition(', ')[2]})"
        rows.append(row("`pytorch.py`", f"{title}: examples per second", peer, *cells))
        if kind == "eager":
            assert other and other.memory and ours.memory
            used = [ours.memory["peak"] / other.memory["peak"]]
            cells = at_most(MEMORY_TARGET, used)
            rows.append(row("`pytorch.py`", f"{title}: peak memory above imports", peer, *cells))
    return rows


def parsed() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--models", nargs="+", choices=CASES, default=list(CASES))
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--quick", action="store_true", help="small sizes, to see that it works")
    return parser.parse_args()


def main() -> None:
    """Print a table of everything and the rows of TARGETS.md."""
    arguments = parsed()
    if hasattr(os, "sched_setaffinity"):
        # XLA takes as many threads as there are cores to it; workers inherit this.
        cores = sorted(os.sched_getaffinity(0))
        arguments.threads = min(arguments.threads, len(cores))
        os.sched_setaffinity(0, cores[: arguments.threads])
    installed = ", ".join(f"{name} {version(name)}" for name in ("jax", "torch", "numpy"))
    print(
        f"{installed}, Python {platform.python_version()}, {platform.machine()}, "
        f"{arguments.threads} threads a side, {arguments.rounds} rounds"
        + (", small sizes (--quick)" if arguments.quick else ""),
        flush=True,
    )
    began, every, rows, notes = time.perf_counter(), [], [], []
    for name in arguments.models:
        sides, unable = compare(name, arguments)
        case = case_of(name, arguments.quick)
        every += details(case, sides)
        rows += targets(case, sides)
        notes += unable
        print(f"{case.title}: done after {time.perf_counter() - began:.0f} s", file=sys.stderr)
    print(
        "\n"
        + heading(
            "model",
            "side",
            "first update, s",
            "examples/s",
            "ours against it",
            "peak above imports, MiB",
            "the same after the first update, MiB",
            "peak of the process, MiB",
            "largest relative difference",
        )
    )
    print("\n".join(every))
    print("\n".join(["", *notes, "", TARGETS_HEADING, *rows]))


if __name__ == "__main__":
    main()
