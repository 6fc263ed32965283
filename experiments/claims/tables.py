"""Write the table of all claims, here and at the top, from claims.toml and the committed results.

python experiments/claims/tables.py          # rewrite
python experiments/claims/tables.py --check  # exit 1 if a table is out of date
"""

import importlib.util
import json
import sys
import tomllib
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any

from noisescale.errors import InputError
from noisescale.experiment.figures import filled, renew
from noisescale.experiment.report import effect_text, markdown_table
from noisescale.experiment.study import blocks_of

HERE = Path(__file__).resolve().parent
STUDIES, TOP = HERE.parent, HERE.parent.parent
NAMES = {
    "digits": "digits",
    "mnist": "MNIST",
    "cifar10": "CIFAR-10",
    "mnist-adapted": "a tenth of MNIST",
    "gap-digits": "digits with batch norm",
    "digits-label-noise": "digits, label noise",
    "digits-random-labels": "digits, random labels",
}


@cache
def module(folder: str, name: str = "study") -> ModuleType:
    """A study's own module, under a name of its own."""
    path = STUDIES / folder / f"{name}.py"
    spec = importlib.util.spec_from_file_location(f"claims_{folder}_{name}", path)
    assert spec is not None and spec.loader is not None
    made = importlib.util.module_from_spec(spec)
    # Its dataclasses look their module up.
    sys.modules[spec.name] = made
    spec.loader.exec_module(made)
    return made


@cache
def results(folder: str, name: str) -> dict[str, Any]:
    """A committed results.json."""
    path = STUDIES / folder / "results" / name / "results.json"
    return json.loads(path.read_text("utf-8"))


def found(pointer: str, root: str) -> tuple[str, str]:
    """(what was measured, verdict) behind a pointer of claims.toml.

    Args:
        root: path to experiments/ from the document that the text stands in.
    """
    if pointer.count("/") == 2 and " " not in pointer:
        return _prediction(*pointer.split("/"))
    kind, _, rest = pointer.partition(" ")
    if kind == "document":
        path, _, text = rest.partition(" ")
        return f"[{text}]({path.replace('../', root, 1)})", "–"
    if kind == "walk":
        verdict = module("is_it_a_walk").document(rest)["verdicts"]["walk"]
        n = len({run["seed"] for run in module("is_it_a_walk").document(rest)["runs"]})
        what = verdict["verdict"]
        told = {"trapping": "supported", "undecided": "undecided"}.get(what, "contradicted")
        return f"{NAMES[rest]} (n = {n}): {what}", told
    if kind == "warm-up":
        claim = module("warmup_or_augmentation").claims()[int(rest)]
        n = len(module("warmup_or_augmentation").document()["arms"][0]["seeds"])
        return f"CIFAR-10 (n = {n}): {claim.why or _least(claim)}", claim.verdict
    if pointer == "plateau":
        plateau = module("train_longer").plateau()
        text = f"{100 * plateau.slope:+.2f} ± {100 * plateau.stderr:.2f} pp a unit of distance"
        told = plateau.p <= 0.05 and plateau.slope < 0
        return f"digits (n = {plateau.n}): {text}", "supported" if told else "undecided"
    if pointer == "base rates":
        return _base_rates()
    if pointer == "batch norm statistics":
        return f"[the table]({root}increase_batch_size/README.md)", "–"
    if pointer == "growth":
        study, ratios = module("train_longer"), []
        for stage in study.STAGES:
            _, least, largest = study.farthest_over_nearest(stage, "distance")
            ratios.append(f"× {largest / least:.2f}")
        n = len(study.document(study.GROWTH)["arms"][0]["seeds"])
        text = f"largest over least at equal updates {' → '.join(ratios)}"
        return f"MNIST (n = {n}): [{text}]({root}train_longer/README.md)", "–"
    raise InputError(f"claims.toml: evidence {pointer!r} points nowhere")


def _prediction(folder: str, name: str, prediction: str) -> tuple[str, str]:
    document = results(folder, name)
    p = next((p for p in document["predictions"] if p["name"] == prediction), None)
    if p is None:
        raise InputError(f"claims.toml: {folder}/{name} has no prediction {prediction!r}")
    effect = effect_text(p, document["data"]["evaluation_split"])
    return f"{NAMES[name]} (n = {p['n']}): {effect}", p["verdict"]


def _least(claim: Any) -> str:
    """The comparison that decides least."""
    what, judgement = min(claim.comparisons, key=lambda pair: abs(pair[1].effect))
    low, high = judgement.interval
    if "falls off" in what:
        return f"{what}: {judgement.effect:+.2f} [{low:+.2f}, {high:+.2f}] in ln B"
    return f"{what}: {100 * judgement.effect:+.1f} pp [{100 * low:+.1f}, {100 * high:+.1f}]"


def _base_rates() -> tuple[str, str]:
    rates = module("increase_batch_size", "rates")
    found = rates.sides()
    return f"CIFAR-10 (n = {len(rates.errors('momentum'))}): {found.reason}", found.verdict


def claims() -> dict[str, Any]:
    """claims.toml."""
    return tomllib.loads((HERE / "claims.toml").read_text("utf-8"))


def table(listed: list[dict[str, Any]], root: str) -> str:
    """Claim, published, measured, verdict."""
    rows = []
    for claim in listed:
        if "not_run" in claim:
            measured, verdicts = [f"not run: {claim['not_run']}"], ["–"]
        else:
            pairs = [found(pointer, root) for pointer in claim["evidence"]]
            measured = [text for text, _ in pairs]
            verdicts = [verdict if verdict == "–" else f"**{verdict}**" for _, verdict in pairs]
        cells = (claim["statement"], claim["published"])
        rows.append([*cells, "<br>".join(measured), "<br>".join(verdicts)])
    return markdown_table(["prediction", "published", "measured here", "verdict"], rows)


def blocks() -> dict[str, str]:
    """Every generated block by its name."""
    listed = claims()["claim"]
    made = {
        source["key"]: table([c for c in listed if c["source"] == source["key"]], "../")
        for source in claims()["source"]
    }
    return made


def top_blocks() -> dict[str, str]:
    """The blocks of the top README: its claims, and what the first command prints."""
    first = blocks_of(STUDIES / "increase_batch_size" / "results")
    listed = [claim for claim in claims()["claim"] if claim.get("top")]
    return {
        "claims": table(listed, "experiments/"),
        **{name: first[name] for name in ("digits verdicts", "digits setting")},
    }


def readmes() -> dict[Path, str]:
    """Both READMEs as the committed results give them."""
    return {
        **filled([HERE / "README.md"], blocks()),
        **filled([TOP / "README.md"], top_blocks()),
    }


if __name__ == "__main__":
    sys.exit(renew(readmes(), "--check" in sys.argv[1:]))
