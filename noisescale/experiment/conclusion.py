"""From curves to verdicts: gate, controls, predictions. No training here, so that anyone can
recompute a committed verdict from the committed curves."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from math import log
from typing import Any

import numpy as np
from numpy.typing import NDArray

from noisescale.analysis.comparison import (
    Judgement,
    holm,
    judge_order,
    judge_same,
    judge_worse,
)
from noisescale.errors import InputError
from noisescale.experiment.specification import Experiment, PlannedArm, Prediction

# A loss that underflowed to 0 is taken as this many nats.
SMALLEST_LOSS = 1e-12


@dataclass(frozen=True, slots=True)
class SeedCurves:
    """One seed of one arm: columns of equal length, at the evaluation epochs."""

    seed: int
    status: str
    curves: Mapping[str, Sequence[float | None]]


Curves = Mapping[str, Sequence[SeedCurves]]


@dataclass(frozen=True, slots=True)
class _Comparison:
    """Values of arms at the points that a prediction compares."""

    samples: list[NDArray[np.float64]]
    epochs: list[float]
    paired: bool


def conclude(experiment: Experiment, train_size: int, results: Curves) -> dict[str, Any]:
    """Judge every prediction: {"predictions", "gate", "controls", "informative"}, all plain JSON.

    A report is void if some seed of some arm does not beat the gate. A "same" needs power: in its
    own metric and window, its positive controls must come out different and the A/A control the
    same, or it is undecided.
    """
    planned = {arm.name: arm for arm in experiment.planned(train_size)}
    missing = [name for name in planned if not results.get(name)]
    if missing:
        raise InputError(f"no curves of arm {missing[0]!r}: run every arm of the experiment first")
    gate = _gate(experiment, results)
    if not gate["passed"]:
        void = [_undecided(p, f"void: {gate['reason']}") for p in experiment.predictions]
        return {"predictions": void, "gate": gate, "controls": [], "informative": False}
    controls: list[dict[str, Any]] = []
    judged = [
        _judge(p, _compared(p, list(p.arms), planned, results)) for p in experiment.predictions
    ]
    adjusted = holm([min(j.p_supported, j.p_contradicted) for j in judged])
    predictions = []
    for prediction, judgement, p_value in zip(
        experiment.predictions, judged, adjusted, strict=True
    ):
        if judgement.verdict != "undecided" and p_value > prediction.level:
            reason = f"not decided among {len(judged)} predictions (Holm: p = {p_value:.2g})"
            judgement = replace(judgement, verdict="undecided", reason=reason)
        if prediction.kind == "same":
            checks = _check_power(experiment, prediction, planned, results)
            controls += checks
            failed = [c for c in checks if not c["passed"]]
            if failed:
                needed = [c["seeds_needed"] for c in failed]
                judgement = replace(
                    judgement,
                    verdict="undecided",
                    reason=f"no power: {failed[0]['reason']}",
                    seeds_needed=None if None in needed else max(needed),
                )
        predictions.append(_entry(prediction, judgement, p_value))
    powered = {
        c["prediction"]: all(d["passed"] for d in controls if d["prediction"] == c["prediction"])
        for c in controls
    }
    for entry in predictions:
        entry["informative"] = powered.get(entry["name"], True)
    return {
        "predictions": predictions,
        "gate": gate,
        "controls": controls,
        "informative": not powered or any(powered.values()),
    }


def compared_epochs(epochs: Sequence[float], start: float) -> list[float]:
    """Log-spaced epochs after `start`: the first at or beyond start + 1, 2, 4, …, and the last."""
    after = [e for e in epochs if e > start + 1e-9]
    if not after:
        return []
    chosen, distance = set(), 1.0
    while start + distance <= after[-1]:
        chosen.add(min(e for e in after if e >= start + distance - 1e-9))
        distance *= 2
    return sorted(chosen | {after[-1]})


def shared_epochs(a: PlannedArm, b: PlannedArm) -> float:
    """Epochs over which two arms are one run: equal first phases and equal everything else."""
    if replace(a.recipe, schedule=b.recipe.schedule) != b.recipe:
        return 0.0
    shared = 0.0
    for row_a, row_b in zip(a.plan.rows, b.plan.rows, strict=False):
        if row_a != row_b:
            break
        shared = float(row_a.end_examples / (a.plan.train_size or 1))
    return shared


def _gate(experiment: Experiment, results: Curves) -> dict[str, Any]:
    gate = experiment.gate
    worst, where = -float("inf"), ""
    for name, seeds in results.items():
        for seed in seeds:
            value = seed.curves[gate.metric][-1] if seed.curves[gate.metric] else None
            if seed.status != "finished" or value is None:
                return {
                    "metric": gate.metric,
                    "below": gate.below,
                    "worst": None,
                    "passed": False,
                    "reason": f"seed {seed.seed} of {name} {seed.status}",
                }
            if value > worst:
                worst, where = float(value), f"seed {seed.seed} of {name}"
    passed = worst < gate.below
    reason = f"{gate.metric} {worst:.4g} of {where} is not below {gate.below:g}"
    return {
        "metric": gate.metric,
        "below": gate.below,
        "worst": worst,
        "passed": passed,
        "reason": "" if passed else reason,
    }


def _compared(
    prediction: Prediction,
    names: list[str],
    planned: Mapping[str, PlannedArm],
    results: Curves,
    start: float | None = None,
) -> _Comparison:
    arms = [planned[name] for name in names]
    shared = min(shared_epochs(a, b) for a, b in pairwise(arms))
    begin = shared if start is None else start
    epochs = [float(e or 0.0) for e in results[names[0]][0].curves["epoch"]]
    points = compared_epochs(epochs, begin) if prediction.at == "curve" else [epochs[-1]]
    if not points:
        raise InputError(
            f"prediction {prediction.name!r}: its arms are one run to the end, so there is "
            "nothing to compare; change an arm"
        )
    return _Comparison(
        samples=[_values(results[name], prediction.metric, points) for name in names],
        epochs=points,
        # Seeds correlate between arms that share their first phases, not otherwise.
        paired=shared > 0,
    )


def _values(
    seeds: Sequence[SeedCurves], metric: str, epochs: Sequence[float]
) -> NDArray[np.float64]:
    rows = []
    for seed in seeds:
        at = {float(e or 0.0): i for i, e in enumerate(seed.curves["epoch"])}
        values = [float(seed.curves[metric][at[e]] or 0.0) for e in epochs]
        if metric.endswith("loss"):
            values = [log(max(v, SMALLEST_LOSS)) for v in values]
        rows.append(values)
    return np.array(rows)


def _judge(prediction: Prediction, compared: _Comparison) -> Judgement:
    margin, level, paired = prediction.margin, prediction.level, compared.paired
    a, b = compared.samples[0], compared.samples[1]
    if prediction.kind == "same":
        return judge_same(a, b, margin=margin, epochs=compared.epochs, level=level, paired=paired)
    if prediction.kind == "worse":
        judgement = judge_worse(a[:, -1], b[:, -1], margin=margin, level=level, paired=paired)
    else:
        finals = [s[:, -1] for s in compared.samples]
        judgement = judge_order(finals, margin=margin, level=level, paired=paired)
    return replace(judgement, epoch=compared.epochs[-1])


def _check_power(
    experiment: Experiment,
    prediction: Prediction,
    planned: Mapping[str, PlannedArm],
    results: Curves,
) -> list[dict[str, Any]]:
    """The controls judged like the prediction: its metric, window, margin and level."""
    control = experiment.control
    start = shared_epochs(planned[prediction.arms[0]], planned[prediction.arms[1]])
    wanted = [(name, "positive") for name in prediction.controls or control.positive]
    checks = []
    for name, role in [*wanted, (control.aa, "aa")]:
        judgement = _judge(
            prediction,
            _compared(prediction, [control.against, name], planned, results, start),
        )
        expected = "supported" if role == "aa" else "contradicted"
        passed = judgement.verdict == expected
        inside = abs(judgement.effect) < prediction.margin
        # More seeds help a control only if its effect lies on the side where it should.
        helps = not passed and inside == (role == "aa")
        if role == "aa":
            reason = f"{name} is not shown to be the same as {control.against}"
        else:
            reason = f"{name} is not told from {control.against}"
        checks.append(
            {
                "prediction": prediction.name,
                "arm": name,
                "role": role,
                "metric": prediction.metric,
                "passed": passed,
                "reason": "" if passed else f"{reason} in {prediction.metric.replace('_', ' ')}",
                "effect": judgement.effect,
                "interval": _interval(judgement),
                "epoch": judgement.epoch,
                "seeds_needed": judgement.seeds_needed if helps else None,
            }
        )
    return checks


def _interval(judgement: Judgement) -> list[float] | None:
    return None if judgement.interval is None else list(judgement.interval)


def _entry(prediction: Prediction, judgement: Judgement, p_value: float) -> dict[str, Any]:
    return {
        **_about(prediction),
        "verdict": judgement.verdict,
        "reason": judgement.reason,
        "effect": judgement.effect,
        "interval": _interval(judgement),
        "n": judgement.n,
        "seeds_needed": judgement.seeds_needed,
        "epoch": judgement.epoch,
        "p_adjusted": p_value,
        "paired": judgement.paired,
        "correlation": judgement.correlation,
        "parts_at": list(judgement.parts_at),
    }


def _undecided(prediction: Prediction, reason: str) -> dict[str, Any]:
    nothing = ("effect", "interval", "seeds_needed", "epoch", "p_adjusted", "paired", "correlation")
    return {
        **_about(prediction),
        "verdict": "undecided",
        "reason": reason,
        "n": 0,
        "parts_at": [],
        "informative": False,
        **dict.fromkeys(nothing),
    }


def _about(p: Prediction) -> dict[str, Any]:
    return {
        "name": p.name,
        "statement": p.statement,
        "kind": p.kind,
        "arms": list(p.arms),
        "metric": p.metric,
        "at": p.at,
        "margin": p.margin,
        "level": p.level,
        "source": p.source,
    }
