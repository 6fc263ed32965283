"""Write the generated tables of README.md, here and at the top, from the committed results.

python experiments/increase_batch_size/tables.py          # rewrite
python experiments/increase_batch_size/tables.py --check  # exit 1 if a table is out of date
"""

import json
import sys
from pathlib import Path

from noisescale.experiment.figures import filled, renew
from noisescale.experiment.report import (
    arm_head,
    arm_table,
    confidence_text,
    effect_text,
    markdown_table,
    parts_text,
)

HERE = Path(__file__).resolve().parent
TOP = HERE.parent.parent


def results(dataset: str) -> dict:
    """The committed results.json of a data set."""
    return json.loads((HERE / "results" / dataset / "results.json").read_text("utf-8"))


def verdicts(document: dict) -> str:
    """Prediction, verdict, effect, margin, seeds needed."""
    rows = []
    for p in document["predictions"]:
        note = f" ({p['reason']})" if p["verdict"] == "undecided" else ""
        if p["parts_at"]:
            note = f" ({parts_text(p)})"
        percent = not p["metric"].endswith("loss")
        margin = f"{100 * p['margin']:g} pp" if percent else f"{p['margin']:g}"
        needed = "–" if p["seeds_needed"] is None else str(p["seeds_needed"])
        effect = effect_text(p, document["data"]["evaluation_split"])
        rows.append([p["statement"], f"**{p['verdict']}**{note}", effect, margin, needed])
    n = max(len(arm["seeds"]) for arm in document["arms"])
    head = [
        "prediction",
        "verdict",
        f"effect [{confidence_text(document)} interval], n = {n}",
        "margin",
        "seeds needed",
    ]
    return markdown_table(head, rows)


def arms(document: dict) -> str:
    """What every arm ran and how it ended."""
    return markdown_table(arm_head(document), arm_table(document))


def setting(document: dict) -> str:
    """One line: fraction, seeds, device, versions."""
    fraction, provenance = 100 * document["fraction_of_protocol"], document["provenance"]
    n = max(len(arm["seeds"]) for arm in document["arms"])
    told = sum(c["passed"] for c in document["controls"])
    state = "informative" if document["informative"] else "not informative"
    return (
        f"{document['data']['name']}, N = {document['data']['train_size']:,}, {n} seeds, "
        f"{fraction:.2g} % of the published protocol's training examples per arm; {state}, "
        f"{told} of {len(document['controls'])} control checks passed; "
        f"{provenance['device']} with {provenance['threads']} threads, "
        f"JAX {provenance['versions']['jax']}, "
        f"file SHA-256 `{document['experiment_sha256'][:16]}…`."
    )


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
    found = {}
    for dataset in ("digits", "mnist", "cifar10"):
        document = results(dataset)
        found[f"{dataset} verdicts"] = verdicts(document)
        found[f"{dataset} arms"] = arms(document)
        found[f"{dataset} setting"] = setting(document)
        if (HERE / f"selection-{dataset}.json").exists():
            found[f"{dataset} selection"] = selection(dataset)
    return found


def readmes() -> dict[Path, str]:
    """Both READMEs, each as the committed results give it."""
    return filled([TOP / "README.md", HERE / "README.md"], blocks())


if __name__ == "__main__":
    sys.exit(renew(readmes(), "--check" in sys.argv[1:]))
