"""From curves to verdicts: gate, controls, predictions. No training here, so that anyone can
recompute a committed verdict from the committed curves."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations, pairwise
from math import log
from typing import Any, TypedDict

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
from noisescale.experiment.specification import (
    METRICS,
    Control,
    Experiment,
    Gate,
    PlannedArm,
    Prediction,
    shared_epochs,
)

# A loss that underflowed to 0 is taken as this many nats.
SMALLEST_LOSS = 1e-12


@dataclass(frozen=True, slots=True)
class SeedCurves:
    """One seed of one arm: columns of equal length, at the evaluation epochs."""

    seed: int
    status: str
    curves: Mapping[str, Sequence[float | None]]


Curves = Mapping[str, Sequence[SeedCurves]]


def conclude(
    experiment: Experiment, train_size: int, evaluation_size: int, results: Curves
) -> dict[str, Any]:
    """Judge every prediction: {"predictions", "gate", "controls", "informative"}, all plain JSON.

    A report is void if some seed of some arm does not beat the gate, unless the gate lets the arm
    fail. Controls are judged in every
    prediction's own metric and window: the positive ones must come out different, the A/A one the
    same. Where one fails, a "same" is undecided, and so is the refutation of a "worse".

    Args:
        train_size, evaluation_size: examples behind the errors of the curves.
        results: curves of every arm, for the same seeds.

    Raises:
        InputError: an arm without curves, with other seeds, or unlike the arm it shares phases
            with while they are one run.
    """
    planned = {arm.name: arm for arm in experiment.planned(train_size)}
    _check_curves(planned, results)
    if experiment.gate is None or experiment.control is None:
        return {"predictions": [], "gate": None, "controls": [], "informative": False}
    gate_of = experiment.gate
    gate = _gate(gate_of, results)
    if not gate["passed"]:
        void = [_undecided(p, f"void: {gate['reason']}") for p in experiment.predictions]
        return {"predictions": void, "gate": gate, "controls": [], "informative": False}
    judge = _Judge(planned, results, {"train": train_size, "evaluation": evaluation_size})
    # An error has a value where a run diverged, a loss has none; between dead arms nothing has.
    dead = {name for name in gate_of.may_fail if _failing(gate_of, results[name])}
    lost = {p.name: _all_dead(p, dead) or _without_loss(p, results) for p in experiment.predictions}
    comparable = [p for p in experiment.predictions if not lost[p.name]]
    judged = [judge(p, p.arms) for p in comparable]
    adjusted = holm([min(j.p_supported, j.p_contradicted) for j in judged])
    controls: list[dict[str, Any]] = []
    predictions = [_undecided(p, lost[p.name]) for p in experiment.predictions if lost[p.name]]
    for prediction, judgement, p_value in zip(comparable, judged, adjusted, strict=True):
        checks = _check_power(experiment.control, prediction, judge)
        controls += checks
        failed = [c for c in checks if not c["passed"]]
        if judgement.verdict != "undecided" and p_value > prediction.level:
            reason = f"not decided among {len(judged)} predictions (Holm: p = {p_value:.2g})"
            judgement = replace(judgement, verdict="undecided", reason=reason, parts_at=())
        if failed and (prediction.kind == "same" or judgement.verdict == "contradicted"):
            needed = [c["seeds_needed"] for c in failed]
            judgement = replace(
                judgement,
                verdict="undecided",
                reason=f"no power: {failed[0]['reason']}",
                seeds_needed=None if None in needed else max(needed),
                parts_at=(),
            )
        informative = bool(checks) and not failed
        predictions.append(_entry(prediction, judgement, p_value, informative))
    place = {p.name: number for number, p in enumerate(experiment.predictions)}
    return {
        "predictions": sorted(predictions, key=lambda entry: place[entry["name"]]),
        "gate": gate,
        "controls": controls,
        "informative": any(p["informative"] for p in predictions),
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


def _gate(gate: Gate, results: Curves) -> dict[str, Any]:
    worst, where = -float("inf"), ""
    # Named in the results where there are any.
    allowed = {"may_fail": list(gate.may_fail)} if gate.may_fail else {}
    for name, seeds in results.items():
        for seed in [] if name in gate.may_fail else seeds:
            value = _end(seed, gate.metric)
            if value is None:
                return {
                    "metric": gate.metric,
                    "below": gate.below,
                    "worst": None,
                    "passed": False,
                    "reason": f"seed {seed.seed} of {name} {seed.status}",
                    **allowed,
                }
            if value > worst:
                worst, where = value, f"seed {seed.seed} of {name}"
    passed = worst < gate.below
    reason = f"{gate.metric} {worst:.4g} of {where} is not below {gate.below:g}"
    return {
        "metric": gate.metric,
        "below": gate.below,
        "worst": worst,
        "passed": passed,
        "reason": "" if passed else reason,
        **allowed,
    }


def _end(seed: SeedCurves, metric: str) -> float | None:
    """The final value of a seed that finished."""
    column = seed.curves[metric]
    if seed.status != "finished" or not column or column[-1] is None:
        return None
    return float(column[-1])


def _failing(gate: Gate, seeds: Sequence[SeedCurves]) -> bool:
    """Whether some seed of an arm does not beat the gate."""
    ends = [_end(seed, gate.metric) for seed in seeds]
    return any(end is None or not end < gate.below for end in ends)


def _all_dead(prediction: Prediction, dead: Collection[str]) -> str:
    """Why arms that fail the gate cannot be compared with each other; "" if they need not be."""
    failing = [name for name in prediction.arms if name in dead]
    if len(failing) < 2:
        return ""
    return f"{' and '.join(failing)} fail the gate: between dead arms nothing can be told"


def _without_loss(prediction: Prediction, results: Curves) -> str:
    """Why a prediction about losses, or about whole curves, cannot be judged; "" if it can."""
    for name in prediction.arms:
        for seed in results[name]:
            if seed.status == "finished":
                continue
            if prediction.metric.endswith("loss") or prediction.at == "curve":
                return f"seed {seed.seed} of {name} {seed.status}: only its final error can be told"
    return ""


def _check_curves(planned: Mapping[str, PlannedArm], results: Curves) -> None:
    missing = [name for name in planned if not results.get(name)]
    if missing:
        raise InputError(f"no curves of arm {missing[0]!r}: run every arm of the experiment first")
    names = list(planned)
    seeds = {name: [one.seed for one in results[name]] for name in names}
    for name in names:
        if seeds[name] != seeds[names[0]]:
            raise InputError(f"arms {names[0]!r} and {name!r} hold different seeds")
    for first, second in combinations(names, 2):
        shared = shared_epochs(planned[first], planned[second])
        for a, b in zip(results[first], results[second], strict=True):
            before = sum(float(e or 0.0) <= shared for e in a.curves["epoch"])
            if shared and any(
                list(a.curves[m][:before]) != list(b.curves[m][:before]) for m in METRICS
            ):
                raise InputError(
                    f"seed {a.seed} of {first!r} and {second!r} differ before epoch {shared:g}, "
                    "where they are one run: their results do not belong together"
                )


class _Judge:
    """Judges arms as a prediction says, seed by seed: all arms of a seed share its start."""

    def __init__(
        self, planned: Mapping[str, PlannedArm], results: Curves, sizes: Mapping[str, int]
    ) -> None:
        self._planned, self._results, self._sizes = planned, results, sizes

    def __call__(
        self, prediction: Prediction, arms: Sequence[str], as_control_of: Sequence[str] = ()
    ) -> Judgement:
        """The judgement on `arms`; as a control, in the window of the arms it stands for.

        Its epoch is None where arms are compared at different ones, each at its own end.
        """
        window = as_control_of or arms
        start = min(shared_epochs(self._planned[a], self._planned[b]) for a, b in pairwise(window))
        metric = prediction.metric
        shared: list[float] | None
        if prediction.at == "curve":
            column = self._results[arms[0]][0].curves["epoch"]
            shared = compared_epochs([float(e or 0.0) for e in column], start)
            samples = [_values(self._results[name], metric, shared) for name in arms]
        else:
            samples = [_values(self._results[name], metric, None) for name in arms]
            ends = {
                seed.curves["epoch"][-1]
                for name in arms
                for seed in self._results[name]
                if seed.status != "diverged"
            }
            shared = [float(end or 0.0) for end in ends] if len(ends) == 1 else None
        split, _, quantity = prediction.metric.partition("_")
        options: _Options = {
            "margin": prediction.margin,
            "level": prediction.level,
            "paired": True,
            "resolution": 1 / self._sizes[split] if quantity == "error" else 0.0,
        }
        if prediction.kind == "same" or as_control_of:
            return judge_same(samples[0], samples[1], epochs=shared, **options)
        finals = [sample[:, -1] for sample in samples]
        if prediction.kind == "worse":
            judgement = judge_worse(finals[0], finals[1], **options)
        else:
            judgement = judge_order(finals, **options)
        return replace(judgement, epoch=shared[-1] if shared else None)


class _Options(TypedDict):
    margin: float
    level: float
    paired: bool
    resolution: float


def worst_of(errors: Sequence[float | None]) -> float:
    """What a diverged seed counts with: its worst error, the untrained network's included."""
    return max((float(e) for e in errors if e is not None), default=1.0)


def _values(
    seeds: Sequence[SeedCurves], metric: str, epochs: Sequence[float] | None
) -> NDArray[np.float64]:
    """(seeds, epochs) of a metric, logarithms of losses; without epochs at each seed's own end."""
    rows = []
    for seed in seeds:
        if seed.status == "diverged":
            rows.append([worst_of(seed.curves[metric])] * (1 if epochs is None else len(epochs)))
            continue
        times = [float(e or 0.0) for e in seed.curves["epoch"]]
        at = {e: i for i, e in enumerate(times)}
        wanted = times[-1:] if epochs is None else epochs
        values = [seed.curves[metric][at[e]] if e in at else None for e in wanted]
        if None in values:
            raise InputError(
                f"seed {seed.seed} has no {metric} at epoch {wanted[values.index(None)]:g}"
            )
        numbers = [float(v) for v in values if v is not None]
        if metric.endswith("loss"):
            numbers = [log(max(v, SMALLEST_LOSS)) for v in numbers]
        rows.append(numbers)
    return np.array(rows)


def _check_power(control: Control, prediction: Prediction, judge: _Judge) -> list[dict[str, Any]]:
    """The controls judged as a "same" with the prediction's metric, window, margin and level."""
    if prediction.margin == 0:
        return []
    wanted = [(name, "positive") for name in prediction.controls or control.positive]
    checks = []
    for name, role in [*wanted, (control.aa, "aa")]:
        judgement = judge(prediction, (control.against, name), as_control_of=prediction.arms)
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


def _entry(
    prediction: Prediction, judgement: Judgement, p_value: float, informative: bool
) -> dict[str, Any]:
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
        "informative": informative,
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
