"""results.json as Markdown: every number of the report is one of its numbers."""

from collections.abc import Mapping, Sequence
from statistics import mean, stdev
from typing import Any

from noisescale.analysis.html import percent_text, scaled_text


def prediction_table(results: Mapping[str, Any]) -> list[list[str]]:
    """Rows: prediction, verdict, why, effect, margin, n, correlation over seeds, seeds needed."""
    rows = []
    for p in results["predictions"]:
        note = p["reason"]
        if p["parts_at"]:
            note = f"{note + '; ' if note else ''}{parts_text(p)}"
        rows.append(
            [
                p["statement"],
                p["verdict"],
                note,
                effect_text(p, results["data"]["evaluation_split"]),
                f"{_scaled(p, p['margin'])}",
                str(p["n"]),
                "–" if p["correlation"] is None else f"{p['correlation']:.2f}",
                "?" if p["seeds_needed"] is None else str(p["seeds_needed"]),
            ]
        )
    return rows


PREDICTION_HEAD = [
    "prediction",
    "verdict",
    "why",
    "effect [interval]",
    "margin",
    "n",
    "correlation",
    "seeds needed",
]


def confidence_text(results: Mapping[str, Any]) -> str:
    """Confidence 1 − 2 level of the intervals, such as "90 %"."""
    levels = sorted({p["level"] for p in results["predictions"]}, reverse=True)
    return " or ".join(f"{100 * (1 - 2 * level):g}" for level in levels) + " %"


def parts_text(p: Mapping[str, Any]) -> str:
    """Where two arms part."""
    listed = ", ".join(f"{e:g}" for e in p["parts_at"])
    return f"parts at epoch{'s' if len(p['parts_at']) > 1 else ''} {listed}"


def effect_text(p: Mapping[str, Any], split: str) -> str:
    """The effect with its interval: of the log loss, or percentage points of error."""
    if p["effect"] is None:
        return "–"
    interval = ""
    if p["interval"] is not None:
        interval = f" [{_scaled(p, p['interval'][0])}, {_scaled(p, p['interval'][1])}]"
    at = " at the end of each" if p["epoch"] is None else f" at epoch {p['epoch']:g}"
    what = p["metric"].replace("_", " ").replace("train", "training").replace("evaluation", split)
    return f"{_scaled(p, p['effect'])}{interval} {what}{at}"


def points_text(effect: float, interval: tuple[float, float] | None, digits: int = 1) -> str:
    """A difference of errors and its interval in percentage points."""
    text = f"{100 * effect:+.{digits}f}"
    if interval is None:
        return text
    low, high = interval
    return f"{text} [{100 * low:+.{digits}f}, {100 * high:+.{digits}f}]"


def _scaled(p: Mapping[str, Any], value: float) -> str:
    if p["metric"].endswith("loss"):
        return f"{value:+.3f}" if value else "0"
    return f"{100 * value:+.2f} pp" if value else "0"


def arm_table(results: Mapping[str, Any]) -> list[list[str]]:
    """Rows: arm, role, phases, updates, final losses and errors with their spread."""
    rows = []
    for arm in results["arms"]:
        rows.append(
            [
                arm["name"],
                arm["role"],
                _phases(arm["phases"], "learning_rate"),
                _phases(arm["phases"], "batch_size"),
                _phases(arm["phases"], "momentum"),
                _updates(arm),
                _spread(arm, "train_loss", 1.0, ".4g"),
                _spread(arm, "evaluation_error", 100.0, ".2f"),
            ]
        )
    return rows


def arm_head(results: Mapping[str, Any]) -> list[str]:
    """Column names of arm_table."""
    split = results["data"]["evaluation_split"]
    return [
        "arm",
        "role",
        "learning rate",
        "batch",
        "momentum",
        "updates",
        "final training loss",
        f"final {split} error %",
    ]


def _updates(arm: Mapping[str, Any]) -> str:
    """As planned; with those made, where a distance ended the phases of finished seeds."""
    made = [s["curves"]["update"][-1] for s in finished(arm)]
    planned = f"{arm['updates']:,}"
    if not made or set(made) == {arm["updates"]}:
        return planned
    ends = " to ".join(f"{end:,}" for end in sorted({min(made), max(made)}))
    return f"{ends} of {planned}"


def _phases(phases: Sequence[Mapping[str, Any]], key: str) -> str:
    values = [f"{p[key]:g}" for p in phases]
    return values[0] if len(set(values)) == 1 else " → ".join(values)


def threads_text(provenance: Mapping[str, Any]) -> str:
    """Such as "2 threads"."""
    count = provenance["threads"]
    return f"{count} thread" if count == 1 else f"{count} threads"


def _of_those(diverged: bool) -> str:
    if not diverged:
        return ""
    return " that did not diverge (in verdicts those that did count with the worst error they had)"


def finished(arm: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """The seeds of an arm that did not diverge."""
    return [seed for seed in arm["seeds"] if seed["status"] == "finished"]


def _spread(arm: Mapping[str, Any], metric: str, factor: float, form: str) -> str:
    finals = [s["curves"][metric][-1] for s in finished(arm)]
    alive = [factor * v for v in finals if v is not None]
    if not alive:
        return "diverged"
    text = format(mean(alive), form)
    if len(alive) > 1:
        text += f" ± {format(stdev(alive), form if form.endswith('f') else '.2g')}"
    lost = len(arm["seeds"]) - len(alive)
    return text + (f" ({lost} diverged)" if lost else "")


def markdown_table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A Markdown table."""
    lines = ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    lines += ["| " + " | ".join(c.replace("|", "\\|") for c in row) + " |" for row in rows]
    return "\n".join(lines)


def markdown_report(results: Mapping[str, Any]) -> str:
    """The whole report."""
    if not results["predictions"]:
        return _sweep_report(results)
    data, protocol = results["data"], results["protocol"]
    n = max(len(arm["seeds"]) for arm in results["arms"])
    fraction = results["fraction_of_protocol"]
    informative = "informative" if results["informative"] else "NOT informative"
    gate = results["gate"]
    gate_text = "passed" if gate["passed"] else f"failed ({gate['reason']})"
    allowed = ", ".join(gate.get("may_fail", ()))
    gated = f"every arm but {allowed}, which may fail," if allowed else "every arm"
    diverged = any(len(finished(arm)) < len(arm["seeds"]) for arm in results["arms"])
    controls = [
        [
            c["prediction"],
            c["arm"],
            "must differ" if c["role"] == "positive" else "must be the same",
            "passed" if c["passed"] else "FAILED",
            effect_text(c, data["evaluation_split"]),
        ]
        for c in results["controls"]
    ]
    against = next(arm for arm in results["arms"] if arm["role"] == "arm")
    finals = [s["curves"]["evaluation_error"][-1] for s in finished(against)]
    error = mean([e for e in finals if e is not None] or [0.5])
    binomial = (error * (1 - error) / data["evaluation_size"]) ** 0.5
    levels = " or ".join(f"{v:g}" for v in sorted({p["level"] for p in results["predictions"]}))
    parts = [
        f"# {results['title']}: {data['name']}{_scaled_to(results)}",
        f"{n} seeds; {data['train_size']:,} training examples, errors on "
        f"{data['evaluation_size']:,} {data['evaluation_split']} examples; the report is "
        f"**{informative}**.",
        "## Verdicts",
        markdown_table(PREDICTION_HEAD, prediction_table(results)),
        "Effects of losses are differences of natural logarithms (+0.10 is about 10 % more), those "
        "of errors are percentage points (pp). "
        f"Intervals hold {confidence_text(results)}; a verdict needs p ≤ {levels} after Holm's "
        "correction over all predictions. Arms are compared seed by seed; *correlation* is that of "
        "the two arms over seeds at the epoch shown. Margins stood in the experiment file before "
        "training. *Seeds needed* is for a decision with probability 0.8, before Holm's "
        "correction, if effects and spread are as measured.",
        "## Arms",
        markdown_table(arm_head(results), arm_table(results)),
        f"Mean ± standard deviation over seeds{_of_those(diverged)}. One evaluation of "
        f"{data['evaluation_size']:,} examples at the error of {against['name']} has a binomial "
        f"standard error of {100 * binomial:.2g} pp; all arms are evaluated on the same examples.",
        "## Gate and controls",
        f"Gate: every seed of {gated} ends with {gate['metric'].replace('_', ' ')} below "
        f"{gate['below']:g}: {gate_text}.",
        markdown_table(
            ["for prediction", "control arm", "it", "result", "effect [interval]"], controls
        )
        if controls
        else "No control was judged.",
        "## Figures",
        "![test error and training loss against epochs and updates](curves.png)",
        "![learning rate, batch size and noise scale against epochs](schedules.png)",
        "![distance from initialisation against updates](distance.png)",
        "## Protocol",
        f"Published: {protocol['source']}: {protocol['model']} on {protocol['dataset']}, "
        f"{protocol['train_size']:,} images, {protocol['epochs']:g} epochs. Here each arm sees "
        f"{percent_text(fraction)} as many training examples"
        f"{'' if fraction >= 1 else ', on another data set and model'}.",
        _origin(results),
    ]
    return "\n\n".join(parts) + "\n"


def _origin(results: Mapping[str, Any]) -> str:
    provenance = results["provenance"]
    versions = ", ".join(f"{k} {v}" for k, v in provenance["versions"].items())
    return (
        f"Experiment `{results['experiment']}`, file SHA-256 `{results['experiment_sha256']}`. "
        f"Run by noisescale {provenance['noisescale']} on {provenance['device']} with "
        f"{threads_text(provenance)}, Python {provenance['python']}, {versions}."
    )


def _sweep_report(results: Mapping[str, Any]) -> str:
    """Arms in order of their final loss; no claim was made, so none is judged."""
    data = results["data"]
    n = max(len(arm["seeds"]) for arm in results["arms"])
    head = arm_head(results)
    ranked = {**results, "arms": sorted(results["arms"], key=_final_loss)}
    diverged = any(len(finished(arm)) < len(arm["seeds"]) for arm in results["arms"])
    rows = [
        [row[0], f"{sum(p['epochs'] for p in arm['phases']):g}", *row[2:]]
        for row, arm in zip(arm_table(ranked), ranked["arms"], strict=True)
    ]
    parts = [
        f"# {results['title']}: {data['name']}{_scaled_to(results)}",
        f"{n} seed{'s' if n > 1 else ''}; {data['train_size']:,} training examples, errors on "
        f"{data['evaluation_size']:,} {data['evaluation_split']} examples. A sweep: it states no "
        "prediction, so nothing is judged.",
        "## Arms, by final training loss",
        markdown_table([head[0], "epochs", *head[2:]], rows),
        f"Mean ± standard deviation over seeds{_of_those(diverged)}. Arms need not last equally "
        "many epochs.",
        "## Figures",
        f"![{data['evaluation_split']} error and training loss against epochs and updates]"
        "(curves.png)",
        "![learning rate, batch size and noise scale against epochs](schedules.png)",
        "![distance from initialisation against updates](distance.png)",
        _origin(results),
    ]
    return "\n\n".join(parts) + "\n"


def _scaled_to(results: Mapping[str, Any]) -> str:
    fraction = results["fraction_of_protocol"]
    return "" if fraction is None else f" ({scaled_text(fraction)})"


def _final_loss(arm: Mapping[str, Any]) -> float:
    """Mean over seeds; infinite as soon as one has diverged."""
    if len(finished(arm)) < len(arm["seeds"]):
        return float("inf")
    return mean(seed["curves"]["train_loss"][-1] for seed in arm["seeds"])
