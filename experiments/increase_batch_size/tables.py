"""Write the generated tables of README.md from the committed results.

python experiments/increase_batch_size/tables.py          # rewrite
python experiments/increase_batch_size/tables.py --check  # exit 1 if a table is out of date
"""

import json
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE))

import rates  # noqa: E402

from noisescale.experiment.figures import filled, renew  # noqa: E402
from noisescale.experiment.report import markdown_table, points_text  # noqa: E402
from noisescale.experiment.study import blocks_of  # noqa: E402


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


def base_rates() -> str:
    """Errors and differences at every base rate, and where they change sides."""
    rows = []
    for k, rate in enumerate(rates.rates()):
        cells = []
        for arm in rates.ARMS:
            column = rates.errors(arm)[:, k]
            cells.append(f"{100 * column.mean():.1f} ± {100 * column.std(ddof=1):.1f}")
        for first, second in (
            ("baseline", "momentum"),
            ("baseline", "learning-rate"),
            ("learning-rate", "momentum"),
        ):
            apart = rates.apart(f"{first}_{rate:g}", f"{second}_{rate:g}")
            cells.append(points_text(apart.effect, apart.interval))
        rows.append([f"{rate:g} ({4 * rate:g})", *cells])
    head = [
        "base rate (at 128)",
        "baseline %",
        "momentum %",
        "learning rate %",
        "momentum − baseline, pp",
        "learning rate − baseline, pp",
        "momentum − learning rate, pp",
    ]
    found = rates.sides()
    sentence = (
        "Which of the two costs less depends on the base rate: "
        f"**{found.verdict}**, {found.reason}; n = {len(rates.errors('momentum'))}."
    )
    return f"{markdown_table(head, rows)}\n\n{sentence}"


def statistics() -> str:
    """The blog's arms with batch norm over different parts of the batch."""
    rows = []
    for ending, what in rates.STATISTICS.items():
        cells = []
        for arm in rates.ARMS:
            if rates.has(f"{arm}_{ending}"):
                column = rates.finals(rates.document(), f"{arm}_{ending}")
                cells.append(f"{100 * column.mean():.1f} ± {100 * column.std(ddof=1):.1f}")
            else:
                cells.append("as above" if ending == "batch" else "–")
        rows.append([what, *cells])
    return markdown_table(["statistics over", *(f"{arm} %" for arm in rates.ARMS)], rows)


def blocks() -> dict[str, str]:
    """Every generated block by its name."""
    found = blocks_of(HERE / "results")
    if rates.PATH.exists():
        found["base rates"], found["batch norm statistics"] = base_rates(), statistics()
        del found[f"{rates.NAME} arms"]
    for path in HERE.glob("selection-*.json"):
        dataset = path.stem.removeprefix("selection-")
        found[f"{dataset} selection"] = selection(dataset)
    return found


def readmes() -> dict[Path, str]:
    """README.md as the committed results give it."""
    return filled([HERE / "README.md"], blocks())


if __name__ == "__main__":
    sys.exit(renew(readmes(), "--check" in sys.argv[1:]))
