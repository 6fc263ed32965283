"""Write the generated tables of README.md from the committed results.

python experiments/ultra_slow_diffusion/tables.py          # rewrite
python experiments/ultra_slow_diffusion/tables.py --check  # exit 1 if a table is out of date
"""

import json
import sys
from collections.abc import Iterable
from pathlib import Path

from noisescale.experiment.figures import filled, renew
from noisescale.experiment.report import markdown_table

HERE = Path(__file__).resolve().parent


def results(prefix: str) -> list[dict]:
    """Committed summaries of the cases whose name begins so, in order of α."""
    found = [
        json.loads(path.read_text("utf-8")) for path in (HERE / "results").glob(f"{prefix}*.json")
    ]
    return sorted(found, key=lambda document: document["simulation"]["alpha"])


def number(value: float | None, digits: int = 3) -> str:
    """A number, or a dash."""
    return "–" if value is None else f"{value:.{digits}g}"


def laws(documents: Iterable[dict]) -> str:
    """True and estimated exponents, window, verdict."""
    rows = []
    for document in documents:
        law, simulation = document["law"], document["simulation"]
        low, high = law["alpha_interval"]
        first, last = law["window"]
        rows.append(
            [
                number(simulation["alpha"]),
                number(law["predicted_exponent"]),
                number(law["exponent"]),
                f"{law['alpha']:.3f} ± {law['alpha_stderr']:.3f} [{low:.2f}, {high:.2f}]",
                f"{law['naive_alpha']:.3f}",
                f"{first:.3g} – {last:.3g}",
                f"{law['times_at_walls']}",
                f"{document['environments']} × {simulation['sites']:,}",
                f"**{law['verdict']}**",
            ]
        )
    head = ["α", "2/α", "fitted exponent", "α̂ ± standard error [95 %]", "naive α̂", "ln t"]
    return markdown_table([*head, "times at walls", "environments × sites", "verdict"], rows)


def prefactors(documents: Iterable[dict]) -> str:
    """Median and root mean square in units of (T ln t/σ)^{2/α}, at the last time in the window."""
    rows = []
    for document in documents:
        simulation, times = document["simulation"], document["times"]
        last = [row for row in times if row["in_window"]][-1]
        unit = last["log_time"] ** (2 / simulation["alpha"])
        rows.append(
            [
                number(simulation["alpha"]),
                number(last["log_time"]),
                f"{last['distance'] / unit:.3g} ± {last['distance_stderr'] / unit:.2g}",
                number(last["mean_square"] ** 0.5 / last["distance"]),
                number(last["same_site"]),
                number(last["thermal_variance"] / last["mean_square"], 2),
                f"{last['wall_fraction']:.1g}",
            ]
        )
    head = ["α", "ln t", "median / (ln t)^{2/α}", "root mean square / median"]
    head += ["two walkers on one site", "thermal variance / mean square", "at walls"]
    return markdown_table(head, rows)


def valleys(documents: Iterable[dict], exact: Iterable[dict]) -> str:
    """Valleys beside the exact law."""
    known = {document["simulation"]["alpha"]: document for document in exact}
    rows = []
    for document in documents:
        law, alpha = document["law"], document["simulation"]["alpha"]
        last = [row for row in document["times"] if row["in_window"]][-1]
        other = {row["log_time"]: row for row in known[alpha]["times"]}.get(last["log_time"])
        ratio = None if other is None else last["distance"] / other["distance"]
        rows.append(
            [
                number(alpha),
                f"{law['alpha']:.3f} ± {law['alpha_stderr']:.3f}",
                number(law["log_tau0"], 2),
                number(last["log_time"]),
                number(ratio),
                f"**{law['verdict']}**",
            ]
        )
    head = ["α", "α̂ of valleys", "ln τ0", "last ln t", "median, valleys / exact", "verdict"]
    return markdown_table(head, rows)


def controls() -> str:
    """What the same fit says of landscapes that trap nobody."""
    rows = []
    for name in ("ramp", "smooth", "flat"):
        (document,) = results(name)
        law = document["law"]
        alpha = None if law.get("alpha") is None else law["alpha"]
        rows.append(
            [
                name,
                number(law.get("power_of_t")),
                number(law.get("power_misfit"), 2),
                number(alpha),
                number(law.get("misfit"), 2),
                f"**{law['verdict']}**",
            ]
        )
    head = ["control", "β of D ∝ t^β", "misfit in ln D", "α̂ of a power of ln t", "misfit in ln D"]
    return markdown_table([*head, "verdict"], rows)


def blocks() -> dict[str, str]:
    """Every generated block by its name."""
    exact = results("alpha-")
    return {
        "laws": laws(exact),
        "prefactors": prefactors(exact),
        "valleys": valleys(results("valleys-"), exact),
        "controls": controls(),
    }


def readmes() -> dict[Path, str]:
    """README.md as the committed results give it."""
    return filled([HERE / "README.md"], blocks())


if __name__ == "__main__":
    sys.exit(renew(readmes(), "--check" in sys.argv[1:]))
