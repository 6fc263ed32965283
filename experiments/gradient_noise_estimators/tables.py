"""Write the generated tables of README.md from the committed results.

python experiments/gradient_noise_estimators/tables.py          # rewrite
python experiments/gradient_noise_estimators/tables.py --check  # exit 1 if a table is out of date
"""

import json
import sys
from pathlib import Path

from noisescale.experiment.figures import filled, renew
from noisescale.experiment.report import markdown_table

HERE = Path(__file__).resolve().parent


def results(name: str) -> dict:
    """A committed document."""
    return json.loads((HERE / "results" / f"{name}.json").read_text("utf-8"))


def toy() -> str:
    """What the toy is, and what is known of it."""
    document = results("estimators")
    rows = [
        ["true B_simple", f"{document['truth']:,.0f}"],
        ["the same from the simulated |G|²", f"{document['measured_truth']:,.0f}"],
        ["batch, parts of it", f"{document['batch']}, {document['parts']}"],
        ["runs, steps each", f"{document['runs']}, {document['steps']:,}"],
        ["single steps with |G|² < 0", f"{document['negative_steps']:.0%}"],
        [f"AdaScale's gain at S = {document['scale']}", f"{document['true_gain']:.2f}"],
    ]
    return markdown_table(["quantity", "value"], rows)


def estimators(key: str) -> str:
    """Every estimator over the truth."""
    document = results("estimators")
    truth, rows = document["truth"], []
    for name, found in document[key].items():
        gain = found["gain"]
        rows.append(
            [
                name,
                f"{found['median'] / truth:.3g}",
                f"{found['low'] / truth:.3g} – {found['high'] / truth:.3g}",
                f"{found['mean'] / truth:.3g} ± {found['standard_error'] / truth:.2g}",
                f"{found['negative']:.0%}",
                "–" if gain is None else f"{gain:.2f}",
            ]
        )
    head = ["estimator", "median / truth", "5 – 95 % / truth", "mean ± s.e. / truth"]
    return markdown_table([*head, "negative", "gain of the median"], rows)


def intervals() -> str:
    """What this package's intervals say of the same runs."""
    document = results("estimators")
    rows = []
    for key, steps in (("long_run", document["steps"]), ("short_run", document["short"])):
        found = document[key]["ratio of means"]
        rows.append(
            [
                f"{steps:,}",
                f"{found['coverage']:.1%}",
                f"{found['undecided']:.0%}",
                f"{found['no_upper_end']:.0%}",
            ]
        )
    return markdown_table(["steps", "95 % intervals that hold", "undecided", "no upper end"], rows)


def coverage() -> str:
    """Intervals of 90 % in several regimes."""
    rows = []
    for name, found in results("coverage")["regimes"].items():
        rows.append(
            [
                name,
                f"{found['truth']:.3g}",
                f"{found['median']:.3g}",
                f"{found['coverage']:.1%} ± {found['standard_error']:.1%}",
                f"{found['undecided']:.0%}",
                f"{found['no_upper_end']:.0%}",
            ]
        )
    head = ["regime", "true B_simple", "median estimate", "coverage ± s.e.", "undecided"]
    return markdown_table([*head, "no upper end"], rows)


def blocks() -> dict[str, str]:
    """Every generated block by its name."""
    return {
        "toy": toy(),
        "long run": estimators("long_run"),
        "short run": estimators("short_run"),
        "weights held": estimators("weights_held"),
        "intervals": intervals(),
        "coverage": coverage(),
    }


def readmes() -> dict[Path, str]:
    """README.md as the committed results give it."""
    return filled([HERE / "README.md"], blocks())


if __name__ == "__main__":
    sys.exit(renew(readmes(), "--check" in sys.argv[1:]))
