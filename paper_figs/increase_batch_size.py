"""Redraw the figures of experiments/increase_batch_size from its recorded results.

python paper_figs/increase_batch_size.py [FOLDER]   # PNG and PDF, by default out/ beside this file
"""

import json
import sys
from pathlib import Path

from noisescale.experiment import read_experiment
from noisescale.plots import save, verify_figures

ROOT = Path(__file__).resolve().parent.parent
RESULTS = ROOT / "experiments" / "increase_batch_size" / "results"


def main(out: Path) -> list[Path]:
    """Draw every figure of every recorded data set."""
    out.mkdir(parents=True, exist_ok=True)
    drawn = []
    for folder in sorted(path.parent for path in RESULTS.glob("*/results.json")):
        results = json.loads((folder / "results.json").read_text("utf-8"))
        planned = read_experiment(folder / "experiment.toml").planned(results["data"]["train_size"])
        figures = verify_figures(results, {arm.name: arm.plan for arm in planned})
        for name, figure in figures.items():
            for ending in ("png", "pdf"):
                target = out / f"increase_batch_size_{folder.name}_{name}.{ending}"
                save(figure, target)
                drawn.append(target)
    return drawn


if __name__ == "__main__":
    folder = Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).resolve().parent / "out"
    print(*main(folder), sep="\n")
