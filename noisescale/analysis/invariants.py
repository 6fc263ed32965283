"""What a change of schedule keeps and what it breaks."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from noisescale.analysis import noise_scale as scale
from noisescale.analysis.pairing import Stretch, Values
from noisescale.analysis.plan import Plan, PlanRow
from noisescale.analysis.schedule import WEIGHT_DECAYS, Schedule

# A quantity counts as kept while it deviates by at most this much everywhere.
KEPT_WITHIN = 0.01
# Deviations below this are floating-point rounding.
ROUNDING = 1e-12
# Runs that agree in these are the same stochastic differential equation for the same time.
DECISIVE = (
    "noise_scale",
    "sde_time",
    "weight_decay_per_epoch",
    "weight_decay_per_example",
    "examples",
)
_RESHUFFLED = "batches cut from reshuffled epochs; directions that relax slower than an epoch"
_INDEPENDENT = "batches drawn without replacement, independent of each other"


@dataclass(frozen=True, slots=True)
class Invariant:
    """A quantity before and after a change of schedule.

    Args:
        before, after: the quantity in the original and in the new schedule: at the time where it
            deviates most, or over the whole plan for what accumulates (sde_time, weight decay and
            diffusion per epoch, examples, updates).
        max_relative_deviation: |after/before − 1| there.
        kept: that deviation is at most 1 %.
        differs_from: the time from which it deviates by more, in epochs of the original (without
            a train size on the clock of its durations); None if kept, or if it accumulates.
        assumes: the sampling of batches for which it is derived, where that matters.
    """

    name: str
    before: float
    after: float
    max_relative_deviation: float
    kept: bool
    differs_from: float | None = None
    assumes: str = ""


def deviation(old: float, new: float) -> float:
    """|new/old − 1|; a quantity that vanishes has no ratio and is compared with the larger."""
    relative = abs(new - old) / ((abs(old) or abs(new)) or 1.0)
    return 0.0 if relative < ROUNDING else relative


def invariants_of(
    before: Schedule,
    after: Schedule,
    stretches: Sequence[Stretch],
    plan_before: Plan | None,
    plan_after: Plan | None,
    train_size: int | None,
    sharpness: float | None = None,
) -> tuple[Invariant, ...]:
    """Every quantity before and after; what accumulates is summed over the planned updates.

    Args:
        stretches: the two schedules side by side, see noisescale.analysis.pairing.
        sharpness: λ_max, the largest curvature of the loss; adds how near it is to its limits.
    """
    rows = _by_time(before, after, stretches, train_size, sharpness)
    if plan_before is not None and plan_after is not None:
        rows += _in_all(before, after, plan_before, plan_after, train_size)
    return tuple(rows)


def _by_time(
    before: Schedule,
    after: Schedule,
    stretches: Sequence[Stretch],
    train_size: int | None,
    sharpness: float | None,
) -> list[Invariant]:
    points = [(s, share, s.at(share)) for s in stretches for share in s.looks]
    size = 1 if train_size is None else train_size
    unit = "epochs" if train_size is not None else "examples"
    rows: list[Invariant] = []

    def row(
        name: str,
        quantity: Callable[[Values], float],
        new_quantity: Callable[[Values], float] | None = None,
        assumes: str = "",
    ) -> None:
        worst, top, first, since = 0.0, 0.0, (0.0, 0.0), None
        later = new_quantity or quantity
        for stretch, share, point in points:
            old, new = quantity(point.before), later(point.after)
            relative = deviation(old, new)
            worst = max(worst, relative)
            if relative > KEPT_WITHIN and since is None:
                since = _since(stretch, share, quantity, later)
            # Of equal deviations (rounding makes none) the one with most of the quantity is shown.
            told = max(relative, 1e-9)
            if told > top * (1 + 1e-6) or (told >= top * (1 - 1e-6) and abs(old) > abs(first[0])):
                top, first = max(told, top), (old, new)
        kept = worst <= KEPT_WITHIN
        rows.append(Invariant(name, *first, worst, kept, since, assumes))

    row("noise_scale", lambda v: size * v.effective_learning_rate / v.batch_size)
    row(
        "temperature",
        lambda v: scale.temperature(v.learning_rate, v.batch_size, v.momentum, train_size),
        assumes=_INDEPENDENT if train_size else "",
    )
    if train_size is not None:
        row(
            "finite_population_correction",
            lambda v: 1.0 - v.batch_size / size,
            assumes=_INDEPENDENT,
        )
    row(
        "diffusion_per_update",
        lambda v: scale.diffusion_per_update(v.learning_rate, v.batch_size, v.momentum),
        assumes=_INDEPENDENT,
    )
    if train_size is not None:
        row(
            "reshuffled_slow_variance",
            lambda v: scale.reshuffled_slow_variance(
                v.learning_rate, v.batch_size, v.momentum, size
            ),
            assumes=_RESHUFFLED,
        )
    row(
        f"momentum_memory_{unit}",
        lambda v: scale.momentum_memory_examples(v.batch_size, v.momentum) / size,
    )
    for name, decays in (
        ("ema_memory", (before.ema_decay, after.ema_decay)),
        ("batch_norm_memory", (before.batch_norm_decay, after.batch_norm_decay)),
    ):
        old_decay, new_decay = decays
        if old_decay is not None and new_decay is not None:
            row(
                f"{name}_{unit}",
                lambda v, d=old_decay: scale.averaging_memory_examples(v.batch_size, d) / size,  # type: ignore[misc]
                lambda v, d=new_decay: scale.averaging_memory_examples(v.batch_size, d) / size,  # type: ignore[misc]
            )
    if any(p.before.weight_decay or p.after.weight_decay for _, _, p in points):
        row(
            "intrinsic_learning_rate",
            lambda v: decay_per_update(v, before.decay),
            lambda v: decay_per_update(v, after.decay),
        )
        row(
            f"weight_decay_timescale_{unit}",
            lambda v: _inverse(decay_per_update(v, before.decay) * size / v.batch_size),
            lambda v: _inverse(decay_per_update(v, after.decay) * size / v.batch_size),
        )
    if sharpness is not None:
        row(
            "stability_ratio",
            lambda v: scale.stability_ratio(v.learning_rate, sharpness, v.momentum),
        )
        row(
            "underdamping_ratio",
            lambda v: (
                v.learning_rate
                and sharpness / scale.underdamped_curvature(v.learning_rate, v.momentum)
            ),
        )
    return rows


def _since(
    stretch: Stretch,
    share: float,
    quantity: Callable[[Values], float],
    later: Callable[[Values], float],
) -> float:
    """The time in a stretch, up to `share`, from which the two differ by more than is kept."""

    def differs(at: float) -> bool:
        point = stretch.at(at)
        return deviation(quantity(point.before), later(point.after)) > KEPT_WITHIN

    low = max((look for look in stretch.looks if look < share), default=share)
    high = share
    for _ in range(30 if low < high else 0):
        middle = (low + high) / 2
        low, high = (low, middle) if differs(middle) else (middle, high)
    return stretch.at(high).time


def decay_per_update(values: Values, form: str) -> float:
    """The share by which an update shrinks a flat direction: λε/(1−m), λε or λ."""
    if form == "coupled":
        return values.weight_decay * values.effective_learning_rate
    if form == "decoupled":
        return values.weight_decay * values.learning_rate
    return values.weight_decay


def _inverse(value: float) -> float:
    # No decay, no timescale: 0 stands for "none", so that the report stays plain JSON.
    return 1.0 / value if value else 0.0


def _in_all(
    before: Schedule, after: Schedule, plan_before: Plan, plan_after: Plan, train_size: int | None
) -> list[Invariant]:
    size = 1 if train_size is None else train_size
    unit = "epoch" if train_size is not None else "example"
    plans = (plan_before, plan_after)
    spans = [float(plan.rows[-1].end_examples) / size for plan in plans]
    rows: list[Invariant] = []

    def row(
        name: str,
        quantity: Callable[[PlanRow], float],
        new_quantity: Callable[[PlanRow], float] | None = None,
        per_unit: bool = False,
        assumes: str = "",
    ) -> None:
        old = sum(map(quantity, plan_before.rows)) / (spans[0] if per_unit else 1.0)
        new = sum(map(new_quantity or quantity, plan_after.rows)) / (spans[1] if per_unit else 1.0)
        relative = deviation(old, new)
        kept = relative <= KEPT_WITHIN
        rows.append(Invariant(name, float(old), float(new), relative, kept, assumes=assumes))

    row("sde_time", lambda r: r.sde_time)
    row(f"sde_time_per_{unit}", lambda r: r.sde_time, per_unit=True)
    if any(p.weight_decay for p in (*before.phases, *after.phases)):
        row(
            f"weight_decay_per_{unit}",
            lambda r: _decay(r, before.decay),
            lambda r: _decay(r, after.decay),
            per_unit=True,
        )
        for form in WEIGHT_DECAYS:
            if form != before.decay or before.decay != after.decay:
                row(
                    f"weight_decay_per_{unit}_if_{form}",
                    lambda r, f=form: _decay(r, f),  # type: ignore[misc]
                    per_unit=True,
                )
    row(
        f"diffusion_per_{unit}",
        lambda r: r.rate_square_sum / ((1.0 - r.momentum) ** 2 * r.batch_size),
        per_unit=True,
        assumes=_INDEPENDENT,
    )
    row("examples", lambda r: r.examples)
    row("updates", lambda r: r.updates)
    return rows


def _decay(row: PlanRow, form: str) -> float:
    """Σ over the updates of what decay_per_update gives for one."""
    if not row.weight_decay:
        return 0.0
    if form == "independent":
        return row.weight_decay * row.updates
    return row.weight_decay * (row.sde_time if form == "coupled" else row.rate_sum)
