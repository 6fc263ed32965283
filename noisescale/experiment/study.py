"""Tables and figures of a study: the results of one experiment on several data sets."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from noisescale.analysis.html import percent_text
from noisescale.experiment.parsing import read_experiment
from noisescale.experiment.report import (
    arm_head,
    arm_table,
    confidence_text,
    effect_text,
    markdown_table,
    parts_text,
    threads_text,
)


def results_in(folder: Path) -> dict[str, dict[str, Any]]:
    """results.json of every data set, by the name of its folder."""
    return {
        path.parent.name: json.loads(path.read_text("utf-8"))
        for path in sorted(folder.glob("*/results.json"))
    }


def blocks_of(folder: Path) -> dict[str, str]:
    """Generated blocks of a README: "DATASET verdicts", "DATASET arms", "DATASET setting"."""
    found = {}
    for dataset, document in results_in(folder).items():
        if document["predictions"]:
            found[f"{dataset} verdicts"] = verdicts(document)
        found[f"{dataset} arms"] = markdown_table(arm_head(document), arm_table(document))
        found[f"{dataset} setting"] = setting(document)
    return found


def verdicts(document: Mapping[str, Any]) -> str:
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
    effect_head = f"effect [{confidence_text(document)} interval], n = {n}"
    return markdown_table(["prediction", "verdict", effect_head, "margin", "seeds needed"], rows)


def setting(document: Mapping[str, Any]) -> str:
    """One line: fraction, seeds, device, versions."""
    provenance = document["provenance"]
    n = max(len(arm["seeds"]) for arm in document["arms"])
    told = sum(c["passed"] for c in document["controls"])
    state = "informative" if document["informative"] else "not informative"
    controls = f"{state}, {told} of {len(document['controls'])} control checks passed; "
    fraction = document["fraction_of_protocol"]
    scaled = ""
    if fraction is not None:
        share = percent_text(fraction)
        scaled = f"{share} of the published protocol's training examples per arm; "
    return (
        f"{document['data']['name']}, N = {document['data']['train_size']:,}, {n} seeds, "
        f"{scaled}{controls if document['predictions'] else 'a sweep; '}"
        f"{provenance['device']} with {threads_text(provenance)}, "
        f"JAX {provenance['versions']['jax']}, "
        f"file SHA-256 `{document['experiment_sha256'][:16]}…`."
    )


def draw_study(folder: Path, out: Path, name: str) -> list[Path]:
    """Every figure of every data set as NAME_DATASET_FIGURE, PNG and PDF; what was written."""
    from noisescale.plots import save_png_and_pdf, verify_figures

    drawn = []
    for dataset, results in results_in(folder).items():
        experiment = read_experiment(folder / dataset / "experiment.toml")
        planned = experiment.planned(results["data"]["train_size"])
        figures = verify_figures(results, {arm.name: arm.plan for arm in planned})
        for figure_name, figure in figures.items():
            drawn += save_png_and_pdf(figure, out, f"{name}_{dataset}_{figure_name}")
    return drawn
