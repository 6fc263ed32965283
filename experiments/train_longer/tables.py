"""Write the generated tables of README.md from the committed results.

python experiments/train_longer/tables.py          # rewrite
python experiments/train_longer/tables.py --check  # exit 1 if a table is out of date
"""

import sys
from pathlib import Path

from noisescale.experiment.figures import filled, renew
from noisescale.experiment.study import blocks_of

HERE = Path(__file__).resolve().parent


def blocks() -> dict[str, str]:
    """Every generated block by its name."""
    return blocks_of(HERE / "results")


def readmes() -> dict[Path, str]:
    """README.md as the committed results give it."""
    return filled([HERE / "README.md"], blocks())


if __name__ == "__main__":
    sys.exit(renew(readmes(), "--check" in sys.argv[1:]))
