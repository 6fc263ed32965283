"""Write the generated tables of README.md from the committed results.

python experiments/train_longer/tables.py          # rewrite
python experiments/train_longer/tables.py --check  # exit 1 if a table is out of date
"""

import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE))

import study  # noqa: E402

from noisescale.experiment.figures import filled, renew  # noqa: E402
from noisescale.experiment.report import markdown_table, points_text  # noqa: E402
from noisescale.experiment.study import blocks_of  # noqa: E402


def ladder() -> str:
    """Published accuracies, and those measured here; not run: why."""
    rows = []
    for name, published in study.PUBLISHED.items():
        note = study.NOT_RUN.get(name, "published")
        rows.append([name, *(f"{value:.2f}" for value in published), note])
    for name, what in study.NAMES.items():
        if not study.there(name):
            continue
        cells = []
        for errors in study.ladder(name):
            if errors is None:
                cells.append("–")
            else:
                accuracy = 100 * (1 - errors)
                cells.append(f"{accuracy.mean():.2f} ± {accuracy.std(ddof=1):.2f}")
        n = len(study.document(name)["arms"][0]["seeds"])
        rows.append([f"**{what}**", *cells, f"measured, n = {n}"])
    return markdown_table(["network, data", *study.STEPS, ""], rows)


def reset() -> str:
    """What emptying the momentum adds to the gap."""
    rows = []
    for arm, (kept, emptied) in study.reset_gap().items():
        share = 1 - kept.effect / emptied.effect
        gaps = [points_text(gap.effect, gap.interval, 2) for gap in (kept, emptied)]
        rows.append([arm, *gaps, f"{100 * share:.0f} %"])
    head = ["arm", "gap, momentum kept, pp", "gap, emptied every epoch, pp", "share of the reset"]
    return markdown_table(head, rows)


def distances() -> str:
    """How far each arm of the study on digits ends from its initial weights."""
    rows = []
    for arm in study.document("gap-digits")["arms"]:
        far = study.finals(study.document("gap-digits"), arm["name"], "distance")
        final = 100 * study.finals(study.document("gap-digits"), arm["name"])
        spread = [f"{x.mean():.2f} ± {x.std(ddof=1):.2f}" for x in (far, final)]
        rows.append([arm["name"], *spread])
    rows.sort(key=lambda row: -float(row[1].split()[0]))
    return markdown_table(["arm", "final distance", "final test error %"], rows)


def plateau() -> str:
    """Final error by the length of the constant phase, and what the distance adds."""
    found = study.plateau()
    rows = [
        [
            name,
            f"{study.PLATEAUS[name]:g}",
            f"{distance.mean():.2f} ± {distance.std(ddof=1):.2f}",
            f"{100 * final.mean():.2f} ± {100 * final.std(ddof=1):.2f}",
        ]
        for name, (distance, final) in found.groups.items()
    ]
    head = ["arm", "constant phase, epochs", "distance at its end", "final test error %"]
    verdict = "supported" if found.p <= 0.05 and found.slope < 0 else "undecided"
    sentence = (
        f"Over all {len(rows) * found.n} runs distance and final error correlate by "
        f"{found.correlation:+.2f}. Beside the logarithms of updates, training loss and test loss "
        f"at the same time the distance changes the final error by {100 * found.slope:+.2f} ± "
        f"{100 * found.stderr:.2f} points per unit (n = {found.n} seeds, p = {found.p:.2g}), and a "
        f"prediction without it is {100 * abs(found.gain):.1f} % "
        f"{'worse' if found.gain > 0 else 'better'} on seeds left out: **{verdict}**."
    )
    return f"{markdown_table(head, rows)}\n\n{sentence}"


def growth(name: str) -> str:
    """The law of every arm's distance: of all weights, and of the first tensor."""
    rows = []
    for arm in study.document(name)["arms"]:
        cells = []
        for tensor in ("distance", "first_tensor"):
            found = study.growth(name, arm["name"], tensor)
            _, curves = study.distances(arm, tensor)
            cells += [f"{curves[:, -1].mean():.2f}", found.verdict]
        rate, size = arm["phases"][0]["learning_rate"], arm["phases"][0]["batch_size"]
        rows.append([arm["name"], f"{size:,}", f"{rate:.3g}", f"{arm['updates']:,}", *cells])
    head = ["arm", "batch", "rate", "updates", "distance", "law", "first tensor's", "law"]
    return markdown_table(head, rows)


def spread() -> str:
    """How far batch sizes lie apart, stage by stage of matching."""
    rows, update = [], 0.0
    for stage in study.STAGES:
        cells = []
        for tensor in ("distance", "first_tensor"):
            update, least, largest = study.farthest_over_nearest(stage, tensor)
            cells.append(f"{least:.1f} … {largest:.1f}: × {largest / least:.2f}")
        rows.append([stage, *cells])
    head = [f"B = 64 … 2,048 at update {update:g}", "distance of all weights", "first tensor's"]
    return markdown_table(head, rows)


def blocks() -> dict[str, str]:
    """Every generated block by its name."""
    made = {**blocks_of(HERE / "results"), "ladder": ladder()}
    made |= {"plateau": plateau(), "gap distances": distances()}
    if study.there("mnist"):
        made["mnist momentum reset"] = reset()
    name = study.GROWTH
    if study.there(name):
        made |= {f"{name} laws": growth(name), f"{name} spread": spread()}
        del made[f"{name} arms"]
    return made


def readmes() -> dict[Path, str]:
    """README.md as the committed results give it."""
    return filled([HERE / "README.md"], blocks())


if __name__ == "__main__":
    sys.exit(renew(readmes(), "--check" in sys.argv[1:]))
