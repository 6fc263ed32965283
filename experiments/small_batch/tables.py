"""Write the generated tables of README.md from the committed results.

python experiments/small_batch/tables.py          # rewrite
python experiments/small_batch/tables.py --check  # exit 1 if a table is out of date
"""

import json
import sys
from pathlib import Path

from noisescale.analysis.difference import difference
from noisescale.experiment.figures import filled, renew
from noisescale.experiment.report import points_text
from noisescale.experiment.study import blocks_of
from noisescale.experiment.sweeps import finals

RESULTS = Path(__file__).resolve().parent / "results"


def answer() -> str:
    """The answer to give, in three sentences with the numbers of CIFAR-10 and digits."""
    cifar, digits = (
        json.loads((RESULTS / name / "results.json").read_text("utf-8"))
        for name in ("cifar10", "digits")
    )
    n, few = (len(document["arms"][0]["seeds"]) for document in (digits, cifar))

    def loss(document: dict, arm: str) -> float:
        return float(finals(document, arm, "train_loss").mean())

    def against(arm: str, other: str = "large-batch") -> str:
        size = cifar["data"]["evaluation_size"]
        found = difference(
            finals(cifar, other), finals(cifar, arm), paired=True, resolution=1 / size
        )
        return f"{points_text(found.effect, found.interval)} points"

    return (
        f"Accumulate the gradients of eight parts, and it is the large batch (digits, n = {n}: "
        f"training loss {loss(digits, 'accumulate'):.4f} against "
        f"{loss(digits, 'large-batch'):.4f}; CIFAR-10, n = {few}: {against('accumulate')} of "
        "error), as long as batch norm sees the same ghosts in both. "
        "If you would rather make the small updates, divide the learning rate by the same factor, "
        f"or multiply 1 − m by it: on CIFAR-10 that is {against('small-linear')} and "
        f"{against('small-lower-momentum')} from the large batch, here if anything for the better. "
        "Do not raise the learning rate or the momentum to compensate "
        f"({against('small-raised-rate')} and {against('small-raised-momentum')}), and shrink the "
        "images only if you must: halving their sides costs "
        f"{against('large-batch', 'full-size-batch-64')} against the batch of as many pixels."
    )


def blocks() -> dict[str, str]:
    """Every generated block by its name."""
    return {**blocks_of(RESULTS), "answer": answer()}


def readmes() -> dict[Path, str]:
    """README.md as the committed results give it."""
    return filled([RESULTS.parent / "README.md"], blocks())


if __name__ == "__main__":
    sys.exit(renew(readmes(), "--check" in sys.argv[1:]))
