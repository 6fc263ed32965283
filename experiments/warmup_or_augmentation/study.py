"""What the sweep says: where accuracy falls off, what the smallest batch alone predicted, claims.

Fixed when the first of three seeds was done: accuracy has fallen off where the error is DROP above
the same condition's at the smallest batch; claims are judged at level 5 % with Holm's correction
over all comparisons.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from math import inf
from pathlib import Path
from typing import Any

import numpy as np

from noisescale.analysis.comparison import Judgement, holm, judge_worse
from noisescale.analysis.crossing import Crossing, fall_off_batch_size
from noisescale.analysis.gradient_noise import GradientNoiseScale, noise_scale_over_time
from noisescale.analysis.gradient_noise.linear_rule import LinearRuleLimit, linear_rule_limit
from noisescale.experiment.sweeps import AgainstBatchSize, against_batch_size, finals

RESULTS = Path(__file__).resolve().parent / "results"
DROP, LEVEL, CONFIDENCE = 0.05, 0.05, 0.9
WARM_UPS = ("medium-warmup-0.2", "medium-warmup-1", "medium-warmup-2")
WITHOUT = ("none", "medium-without-flip", "medium", "strong")
# Of the first phase, in which the rate is constant: the windows of B_simple end with it.
FIRST_PHASE_EPOCHS = 12.0


@cache
def document(name: str = "cifar10") -> dict[str, Any]:
    """results.json."""
    return json.loads((RESULTS / name / "results.json").read_text("utf-8"))


@cache
def conditions(metric: str = "evaluation_error") -> dict[str, AgainstBatchSize]:
    """Final errors by condition and batch size."""
    return against_batch_size(document(), metric)


@cache
def fall_off(condition: str, metric: str = "evaluation_error") -> Crossing:
    """The batch size at which a condition's accuracy falls off."""
    one = conditions(metric)[condition]
    return fall_off_batch_size(one.batch_sizes, one.values, DROP, confidence=CONFIDENCE)


def smallest(condition: str) -> dict[str, Any]:
    """The arm at the smallest batch."""
    size = int(conditions()[condition].batch_sizes[0])
    return next(a for a in document()["arms"] if a["name"] == f"{condition}_{size}")


@dataclass(frozen=True, slots=True)
class Foretold:
    """Batch sizes that the smallest batch's runs give as the limit; None: not measured.

    Args:
        gauge: κ_max = C² + (C² − 1) B_simple/B with C = 2, times B.
        sharpness: B times the factor that takes ε λ_max to its limit 2(1 + m).
        noise: B_simple, beyond which larger batches save few updates.
        sharpest: λ_max, the largest measured in the first phase, mean over seeds.
    """

    gauge: LinearRuleLimit | None
    sharpness: float | None
    noise: GradientNoiseScale | None
    sharpest: float | None


def foretold(condition: str) -> Foretold:
    """What the smallest batch alone says of how far the linear rule goes."""
    arm = smallest(condition)
    size = float(conditions()[condition].batch_sizes[0])
    phase = arm["phases"][0]
    rate = max(phase["learning_rate"], _full_rate(condition))
    noise = _noise_scale(condition)
    gauge = None if noise is None else linear_rule_limit(noise, batch_size=size)
    sharpest = _sharpest(arm)
    sharpness = None
    if sharpest is not None:
        sharpness = size * 2 * (1 + phase["momentum"]) / (rate * sharpest)
    return Foretold(gauge, sharpness, noise, sharpest)


def _full_rate(condition: str) -> float:
    """The rate after the warm-up: that of the condition without one."""
    return float(smallest("medium")["phases"][0]["learning_rate"])


def _sharpest(arm: Mapping[str, Any]) -> float | None:
    peaks = []
    for seed in arm["seeds"]:
        curves = seed["curves"]
        measured = curves.get("hessian_eigenvalue")
        if measured is None:
            return None
        pairs = zip(curves["epoch"], measured, strict=True)
        peaks.append(max(v for e, v in pairs if v is not None and e <= FIRST_PHASE_EPOCHS))
    return float(np.mean(peaks))


@cache
def _moments() -> dict[str, Any]:
    path = RESULTS / "cifar10" / "gradient_moments.json"
    return json.loads(path.read_text("utf-8")) if path.exists() else {}


def _noise_scale(condition: str) -> GradientNoiseScale | None:
    """B_simple over the last decade of the first phase's updates, all seeds together.

    From the arm in ghosts; that of medium augmentation stands for all lengths of warm-up.
    """
    arm = f"noise-{'medium' if condition in WARM_UPS else condition}"
    tables = _moments().get(arm)
    if not tables:
        return None
    entry = next(a for a in document()["arms"] if a["name"] == arm)
    epochs = sum(p["epochs"] for p in entry["phases"])
    last = entry["updates"] * FIRST_PHASE_EPOCHS / epochs
    updates = np.array(tables[0]["update"], float)
    inside = (updates >= last / 10) & (updates <= last)
    columns = {
        key: np.array([table[key] for table in tables])[:, inside]
        for key in ("small_sq_norm", "big_sq_norm")
    }
    (window,) = noise_scale_over_time(
        np.tile(updates[inside], (len(tables), 1)),
        columns["small_sq_norm"],
        columns["big_sq_norm"],
        float(tables[0]["small_batch"][0]),
        float(tables[0]["big_batch"][0]),
        windows=1,
    ).windows
    return window


def longer() -> dict[str, Any]:
    """Final errors (seeds,) at the smallest batch with three times the epochs, by condition."""
    names = [a["name"] for a in document()["arms"] if a["name"].startswith("long-")]
    return {name.removeprefix("long-"): finals(document(), name) for name in names}


@dataclass(frozen=True, slots=True)
class Claim:
    """One claim of the source.

    Args:
        verdict: of all its comparisons together.
        comparisons: (what is compared, judgement) pairs.
        why: in words, where the verdict needs them.
    """

    statement: str
    verdict: str
    comparisons: tuple[tuple[str, Judgement], ...]
    why: str = ""


def claims() -> tuple[Claim, ...]:
    """The four claims of the source, judged."""
    first = _strong_is_best()
    second = _strong_falls_first()
    third, batch = _warm_up_is_best()
    listed = [*first, *second, *third]
    adjusted = holm([min(j.p_supported, j.p_contradicted) for _, j in listed])
    kept = {id(j): p <= LEVEL for (_, j), p in zip(listed, adjusted, strict=True)}

    def verdict(comparisons: list[tuple[str, Judgement]]) -> str:
        said = [j.verdict if kept[id(j)] else "undecided" for _, j in comparisons]
        if "contradicted" in said:
            return "contradicted"
        return "supported" if said and set(said) == {"supported"} else "undecided"

    lost = [c for c in WITHOUT if fall_off(c).value is None]
    return (
        Claim("strong augmentation is best at the smallest batch", verdict(first), tuple(first)),
        Claim(
            "strong augmentation falls off first",
            verdict(second) if not lost else "undecided",
            tuple(second),
            f"no batch size at which {', '.join(lost)} falls off in every seed" if lost else "",
        ),
        Claim(
            f"warm-up is best at the largest batch before the fall, {batch:,.0f}",
            verdict(third),
            tuple(third),
        ),
        _gain_carries_over(verdict(first), verdict(second)),
    )


def _strong_is_best() -> list[tuple[str, Judgement]]:
    strong = conditions()["strong"].values[:, 0]
    return [
        (f"{other} is worse than strong", worse(strong, conditions()[other].values[:, 0]))
        for other in WITHOUT
        if other != "strong"
    ]


def _strong_falls_first() -> list[tuple[str, Judgement]]:
    """On the logarithms of the batch sizes; a seed that never falls has none."""
    found = []
    strong = np.log(fall_off("strong").seeds)
    for other in WITHOUT:
        theirs = np.log(fall_off(other).seeds)
        both = (strong < inf) & (theirs < inf)
        if other != "strong" and both.sum() >= 2:
            judgement = worse(strong[both], theirs[both])
            found.append((f"{other} falls off later than strong", judgement))
    return found


def _warm_up_is_best() -> tuple[list[tuple[str, Judgement]], float]:
    """At the largest batch where some condition has not yet fallen off, the best of each kind."""
    sizes = next(iter(conditions().values())).batch_sizes
    place = max(
        k
        for k in range(len(sizes))
        if any(c.values[:, k].mean() < c.values[:, 0].mean() + DROP for c in conditions().values())
    )

    def best(names: tuple[str, ...]) -> str:
        return min(names, key=lambda name: float(conditions()[name].values[:, place].mean()))

    warm = best(WARM_UPS)
    at = {name: conditions()[name].values[:, place] for name in conditions()}
    listed = [(f"{other} is worse than {warm}", worse(at[warm], at[other])) for other in WITHOUT]
    return listed, float(sizes[place])


def _gain_carries_over(best_at_small: str, falls_first: str) -> Claim:
    """Only where there is a gain at the small batch can it fail to carry over."""
    statement = "a gain at the small batch does not carry over to large ones"
    if best_at_small != "supported":
        why = "strong augmentation gains nothing at the smallest batch here, so nothing could carry"
        return Claim(statement, "undecided", (), why)
    return Claim(statement, falls_first, (), "by the two claims on strong augmentation")


def worse(a: Any, b: Any) -> Judgement:
    """b − a, seed by seed."""
    size = document()["data"]["evaluation_size"]
    return judge_worse(a, b, level=LEVEL, paired=True, resolution=1 / size)
