"""Write the generated tables of README.md, here and at the top, from the committed results.

python experiments/increase_batch_size/tables.py          # rewrite
python experiments/increase_batch_size/tables.py --check  # exit 1 if a table is out of date
"""

import json
import sys
from pathlib import Path

from noisescale.experiment.figures import filled, renew
from noisescale.experiment.report import markdown_table
from noisescale.experiment.study import blocks_of

HERE = Path(__file__).resolve().parent
TOP = HERE.parent.parent


def selection(dataset: str) -> str:
    """The candidates of a base recipe, measured on the validation split."""
    document = json.loads((HERE / f"selection-{dataset}.json").read_text("utf-8"))
    rows = []
    for c in document["candidates"]:
        chosen = all(c[k] == document["chosen"][k] for k in ("batch_size", "learning_rate"))
        rows.append(
            [
                f"{c['batch_size']}",
                f"{c['learning_rate']:g}",
                f"{100 * c['validation_error']:.2f} ± {100 * c['validation_error_sd']:.2f}",
                ", ".join(f"{k} {v:+.2f}" for k, v in c["control_effects"].items()),
                ", ".join(f"{k} {100 * v:+.2f}" for k, v in c["control_error_effects"].items()),
                f"{c['aa_spread']:.3f}",
                f"{c['power']:.1f}",
                "chosen" if chosen else "",
            ]
        )
    head = ["batch", "rate", "validation error %", "control effects, log loss"]
    return markdown_table([*head, "control effects, pp", "A/A sd", "power", ""], rows)


def blocks() -> dict[str, str]:
    """Every generated block by its name."""
    found = blocks_of(HERE / "results")
    for path in HERE.glob("selection-*.json"):
        dataset = path.stem.removeprefix("selection-")
        found[f"{dataset} selection"] = selection(dataset)
    return found


def readmes() -> dict[Path, str]:
    """Both READMEs, each as the committed results give it."""
    return filled([TOP / "README.md", HERE / "README.md"], blocks())


if __name__ == "__main__":
    sys.exit(renew(readmes(), "--check" in sys.argv[1:]))
