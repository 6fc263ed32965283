"""Compile training for a slice of four TPU chips on a machine without any.

python tests/tpu/compile.py [NAME...]     # writes tests/tpu/last-run.txt when all are compiled

Needs jax[tpu], whose libtpu compiles from a description of the slice. Checks that the gradients of
all weights are summed over the chips, and that everything fits their memory.
"""

import os
import re
import subprocess
import sys
import time
from datetime import UTC, datetime
from math import prod
from pathlib import Path

HERE = Path(__file__).resolve().parent
SLICE, CHIP_GIB = "v5e:2x2", 16
# Name: model, images, images in the set, batch, ghosts, type of products.
PROGRAMS = {
    "F1": ({"name": "multilayer-perceptron", "width": 512, "depth": 5, "batch_norm": True},
           (28, 28, 1), 60000, 4096, 32, "float32"),
    "ten-layer CNN": ({"name": "ten-layer-cnn"}, (32, 32, 3), 50000, 1024, 8, "bfloat16"),
    "C1": ({"name": "c1"}, (32, 32, 3), 50000, 4096, 32, "bfloat16"),
    "ResNet-44": ({"name": "resnet"}, (32, 32, 3), 50000, 2048, 16, "bfloat16"),
    "WRN-16-4": ({"name": "wide-resnet", "block": "pre-activation"},
                 (32, 32, 3), 50000, 1024, 8, "bfloat16"),
    "VGG-16": ({"name": "vgg"}, (32, 32, 3), 50000, 1024, 8, "bfloat16"),
    "AlexNet": ({"name": "alexnet"}, (224, 224, 3), 1024, 512, 4, "bfloat16"),
}  # fmt: skip


def environment():
    """What libtpu asks the machine for where there is no TPU."""
    return {
        **os.environ,
        "JAX_PLATFORMS": "cpu",
        "TPU_SKIP_MDS_QUERY": "1",
        "TPU_WORKER_HOSTNAMES": "localhost",
        "TPU_ACCELERATOR_TYPE": "v5litepod-4",
        "TPU_MIN_LOG_LEVEL": "3",
        "ALLOW_MULTIPLE_LIBTPU_LOAD": "1",
    }


def summed(text):
    """How many values the largest all-reduce of the program sums, and all of them together."""
    found_sizes = [0]
    for line in text.splitlines():
        found = re.match(r"\s*(?:ROOT )?%?\S+ = (.*?) all-reduce(?:-start)?\(", line)
        if found:
            shapes = re.findall(r"[a-z0-9]+\[([0-9,]*)\]", found[1])
            sizes = (prod(int(n) for n in s.split(",") if n) for s in shapes)
            found_sizes.append(sum(sizes))
    return max(found_sizes), sum(found_sizes)


def compiled(name):
    """Compile one program in this process; prints a row of the table."""
    import numpy as np
    from jax.experimental import topologies
    from jax.sharding import Mesh, NamedSharding, PartitionSpec

    from tests.tpu.programs import stretch

    options, image_shape, size, batch, ghosts, dtype = PROGRAMS[name]
    devices = topologies.get_topology_desc(SLICE, "tpu").devices
    mesh = Mesh(np.array(devices), ("data",))
    classes = 1000 if name == "AlexNet" else 10
    program, shapes, weights = stretch(
        options,
        image_shape,
        classes,
        batch=batch,
        ghosts=ghosts,
        size=size,
        dtype=dtype,
        mesh=mesh,
        sharding=NamedSharding(mesh, PartitionSpec()),
    )
    began = time.monotonic()
    found = program.lower(*shapes).compile()
    seconds = time.monotonic() - began
    memory = found.memory_analysis()
    peak = memory.peak_memory_in_bytes
    over, all_ = summed(found.as_text())
    # A few small gradients, such as those of biases, may travel apart from the others.
    assert over >= 0.99 * weights and all_ >= weights, (
        f"{name}: no all-reduce sums the {weights} gradients: at most {over} in one, {all_} in all"
    )
    assert peak < CHIP_GIB * 2**30, f"{name}: {peak} bytes do not fit {CHIP_GIB} GiB"
    cells = (
        name,
        f"{weights:,}",
        f"{batch:,} in {ghosts} ghosts",
        dtype,
        f"{memory.argument_size_in_bytes / 2**20:.0f}",
        f"{peak / 2**20:.0f}",
        f"{over:,}",
        f"{seconds:.0f}",
    )
    print("| " + " | ".join(cells) + " |", flush=True)


def main(names):
    """Every program in a process of its own, then the record of the run."""
    import jax
    import libtpu

    rows = []
    for name in names or PROGRAMS:
        done = subprocess.run(
            [sys.executable, str(HERE / "compile.py"), "--one", name],
            env=environment() | {"PYTHONPATH": str(HERE.parents[1])},
            capture_output=True,
            text=True,
            check=False,
        )
        lines = [line for line in done.stdout.splitlines() if line.startswith("| ")]
        if done.returncode or not lines:
            sys.exit(f"{name} did not compile:\n{done.stdout}\n{done.stderr[-3000:]}")
        print(lines[0], flush=True)
        rows.append(lines[0])
    if names:
        return
    git = ["git", "-C", str(HERE), "rev-parse", "--short", "HEAD"]
    commit = subprocess.run(git, capture_output=True, text=True, check=False).stdout.strip()
    head = (
        "model",
        "weights",
        "batch",
        "products",
        "arguments, MiB a chip",
        "peak, MiB a chip",
        "values in the largest all-reduce",
        "compile, s",
    )
    table = ["| " + " | ".join(head) + " |", "|---" * len(head) + "|", *rows]
    today = datetime.now(UTC).date()
    (HERE / "last-run.txt").write_text(
        f"{len(rows)} of {len(PROGRAMS)} programs compiled for {SLICE} on a machine without a TPU: "
        f"commit {commit}, {today}, JAX {jax.__version__}, libtpu {libtpu.__version__}\n\n"
        + "\n".join(table)
        + "\n"
    )


if __name__ == "__main__":
    if sys.argv[1:2] == ["--one"]:
        compiled(sys.argv[2])
    else:
        main(sys.argv[1:])
