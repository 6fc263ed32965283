"""Write the generated tables of README.md from the committed results.

python experiments/warmup_or_augmentation/tables.py          # rewrite
python experiments/warmup_or_augmentation/tables.py --check  # exit 1 if a table is out of date
"""

import sys
from math import isfinite
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE))

import study  # noqa: E402

from noisescale.analysis.comparison import Judgement  # noqa: E402
from noisescale.analysis.crossing import Crossing  # noqa: E402
from noisescale.experiment.figures import filled, renew  # noqa: E402
from noisescale.experiment.report import markdown_table, points_text  # noqa: E402
from noisescale.experiment.study import setting  # noqa: E402


def errors(metric: str) -> str:
    """Final errors, a row per condition."""
    rows = []
    for name, one in study.conditions(metric).items():
        cells = [
            f"{100 * column.mean():.1f} ± {100 * column.std(ddof=1):.1f}" for column in one.values.T
        ]
        rows.append([name, *cells])
    sizes = next(iter(study.conditions(metric).values())).batch_sizes
    return markdown_table(["condition", *(f"B = {size:,.0f}" for size in sizes)], rows)


def longer() -> str:
    """Final errors at the smallest batch after 20 and after 60 epochs."""
    rows = []
    for name, long in study.longer().items():
        short = study.conditions()[name].values[:, 0]
        paired = points(study.worse(study.longer()["none"], long))
        rows.append(
            [
                name,
                *(f"{100 * e.mean():.1f} ± {100 * e.std(ddof=1):.1f}" for e in (short, long)),
                "–" if name == "none" else paired,
            ]
        )
    return markdown_table(["condition", "20 epochs", "60 epochs", "against none, 60 epochs"], rows)


def batch(value: float | None) -> str:
    """A batch size in three digits."""
    return "–" if value is None else f"{value:,.0f}" if isfinite(value) else "∞"


def fall(found: Crossing) -> str:
    """B* with its interval, or beyond what it lies."""
    if found.value is None:
        low = min(found.seeds)
        return f"> {batch(found.interval[0])}" if not isfinite(low) else f"≥ {batch(low)} (not all)"
    assert found.interval is not None
    return f"{batch(found.value)} [{batch(found.interval[0])}, {batch(found.interval[1])}]"


def spread(value: float | None, interval: tuple[float, float] | None, factor: float = 1.0) -> str:
    """An estimate with its interval; below 0 it is lost in noise, and its lower end stands."""
    low, high = (None, None) if interval is None else [factor * end for end in interval]
    if value is None or value < 0:
        return "lost in noise" if low is None else f"lost in noise, > {batch(low)}"
    return f"{batch(factor * value)} [{batch(low)}, {batch(high)}]"


def falls() -> str:
    """Where accuracy falls off, beside what the smallest batch alone foretold."""
    rows = []
    for name in study.conditions():
        told = study.foretold(name)
        size = float(study.conditions()[name].batch_sizes[0])
        gauge = noise = "–"
        if told.noise is not None and told.gauge is not None:
            noise = spread(told.noise.value, told.noise.interval)
            gauge = spread(told.gauge.value, told.gauge.interval, size)
        rows.append(
            [
                name,
                fall(study.fall_off(name)),
                fall(study.fall_off(name, "recalibrated_error")),
                gauge,
                batch(told.sharpness),
                noise,
            ]
        )
    head = [
        "condition",
        "B* measured",
        "B*, recalibrated statistics",
        "gauge κ_max B",
        "sharpness limit",
        "B_simple",
    ]
    return markdown_table(head, rows)


def points(judgement: Judgement) -> str:
    """An effect in percentage points of error."""
    text = points_text(judgement.effect, judgement.interval)
    return text.replace(" [", " pp [", 1)


def factor(judgement: Judgement) -> str:
    """A difference of ln B as a ratio."""
    from math import exp

    assert judgement.interval is not None
    low, high = judgement.interval
    return f"× {exp(judgement.effect):.2f} [{exp(low):.2f}, {exp(high):.2f}]"


def claims() -> str:
    """Claims, verdicts, comparisons."""
    rows = []
    for claim in study.claims():
        lines = []
        for what, judgement in claim.comparisons:
            text = factor(judgement) if "falls off" in what else points(judgement)
            lines.append(f"{what}: {text}")
        n = min((j.n for _, j in claim.comparisons), default=0)
        rows.append(
            [
                claim.statement,
                f"**{claim.verdict}**",
                "; ".join([*([claim.why] if claim.why else []), *lines]),
                str(n) if n else "–",
            ]
        )
    return markdown_table(["claim", "verdict", "comparisons [90 % interval]", "n"], rows)


def blocks() -> dict[str, str]:
    """Every generated block by its name."""
    return {
        "setting": setting(study.document()),
        "errors": errors("evaluation_error"),
        "recalibrated errors": errors("recalibrated_error"),
        "falls": falls(),
        "longer": longer(),
        "claims": claims(),
    }


def readmes() -> dict[Path, str]:
    """README.md as the committed results give it."""
    return filled([HERE / "README.md"], blocks())


if __name__ == "__main__":
    sys.exit(renew(readmes(), "--check" in sys.argv[1:]))
