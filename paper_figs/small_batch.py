"""Redraw the figures of experiments/small_batch from its recorded results.

python paper_figs/small_batch.py [FOLDER]   # PNG and PDF, by default out/ beside this file
"""

import sys
from pathlib import Path

from noisescale.experiment.study import draw_study

RESULTS = Path(__file__).resolve().parent.parent / "experiments" / "small_batch" / "results"


def main(out: Path) -> list[Path]:
    """Draw every figure of every recorded data set."""
    return draw_study(RESULTS, out, "small_batch")


if __name__ == "__main__":
    folder = Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).resolve().parent / "out"
    print(*main(folder), sep="\n")
