"""What a change of schedule keeps and breaks, and where a rule leaves its derivation."""

from collections.abc import Callable
from dataclasses import dataclass

from noisescale.analysis import noise_scale as scale
from noisescale.analysis.schedule import Phase, Plan, PlanRow, Schedule

# A quantity counts as kept while it deviates by at most this much in every phase.
KEPT_WITHIN = 0.01
# Deviations below this are floating-point rounding.
ROUNDING = 1e-12


@dataclass(frozen=True, slots=True)
class Invariant:
    """A quantity before and after a change of schedule.

    Args:
        before, after: the quantity in the original and in the new schedule: at the phase where it
            deviates most, or over the whole plan for what accumulates (sde_time, weight decay and
            diffusion per epoch, examples, updates).
        max_relative_deviation: |after/before − 1| there.
        kept: that deviation is at most 1 %.
    """

    name: str
    before: float
    after: float
    max_relative_deviation: float
    kept: bool


@dataclass(frozen=True, slots=True)
class RuleWarning:
    """Where a rule leaves its derivation: a stable code, a sentence with numbers, a source."""

    code: str
    message: str
    source: str


def invariants_of(
    before: Schedule,
    after: Schedule,
    plan_before: Plan | None,
    plan_after: Plan | None,
    train_size: int | None,
) -> tuple[Invariant, ...]:
    """Every quantity before and after; what accumulates is summed over the planned updates."""
    pairs = list(zip(before.phases, after.phases, strict=True))
    size = 1 if train_size is None else train_size
    unit = "epoch" if train_size is not None else "example"

    def by_phase(name: str, quantity: Callable[[Phase], float]) -> Invariant:
        return _worst(name, [(quantity(old), quantity(new)) for old, new in pairs])

    rows = [
        by_phase(
            "noise_scale", lambda p: size * p.learning_rate / (p.batch_size * (1 - p.momentum))
        ),
        by_phase(
            "temperature",
            lambda p: scale.temperature(p.learning_rate, p.batch_size, p.momentum, train_size),
        ),
        by_phase(
            "diffusion_per_update",
            lambda p: scale.diffusion_per_update(p.learning_rate, p.batch_size, p.momentum),
        ),
        by_phase(
            f"momentum_memory_{unit}s",
            lambda p: scale.momentum_memory_examples(p.batch_size, p.momentum) / size,
        ),
    ]
    if plan_before is None or plan_after is None:
        return tuple(rows)
    span = float(plan_before.rows[-1].end_examples) / size

    def in_all(name: str, quantity: Callable[[PlanRow], float], over: float = 1.0) -> Invariant:
        totals = [sum(map(quantity, p.rows)) / over for p in (plan_before, plan_after)]
        return _worst(name, [(totals[0], totals[1])])

    rows.append(in_all("sde_time", lambda row: row.sde_time))
    if any(p.weight_decay for p in before.phases):
        rows.append(
            in_all(
                f"weight_decay_per_{unit}",
                lambda row: row.updates * row.weight_decay * row.effective_learning_rate,
                span,
            )
        )
    rows.append(
        in_all(
            f"diffusion_per_{unit}",
            lambda row: (
                row.updates
                * scale.diffusion_per_update(row.learning_rate, row.batch_size, row.momentum)
            ),
            span,
        )
    )
    rows.append(in_all("examples", lambda row: row.examples))
    rows.append(in_all("updates", lambda row: row.updates))
    return tuple(rows)


def _worst(name: str, pairs: list[tuple[float, float]]) -> Invariant:
    """The pair that deviates most; the first one where none does."""

    def deviation(pair: tuple[float, float]) -> float:
        old, new = pair
        # A quantity that vanishes (temperature at B = N) has no ratio: compare with the larger.
        relative = abs(new - old) / ((abs(old) or abs(new)) or 1.0)
        return 0.0 if relative < ROUNDING else relative

    old, new = max(pairs, key=deviation)
    worst = deviation((old, new))
    return Invariant(name, float(old), float(new), worst, worst <= KEPT_WITHIN)


def warnings_of(
    changed: Schedule, original: Plan | None, plan: Plan | None, train_size: int | None
) -> list[RuleWarning]:
    if plan is None or original is None:
        return []
    found = []
    ratio = plan.sde_time / original.sde_time - 1
    by_phase = [
        (abs(new.sde_time / old.sde_time - 1) if old.updates else float(new.updates > 0), number)
        for number, (old, new) in enumerate(zip(original.rows, plan.rows, strict=True), 1)
    ]
    worst, number = max(by_phase)
    if abs(ratio) > KEPT_WITHIN or worst > KEPT_WITHIN:
        found.append(
            RuleWarning(
                "sde-time",
                f"whole updates change the SDE time by {ratio:+.2%} in all and by up to "
                f"{worst:.2%} in a phase (phase {number}: {plan.rows[number - 1].updates} updates)",
                "Smith & Le 2018 (an update lasts ε/(1−m)); see docs/theory.md",
            )
        )
    if train_size is None:
        return found
    largest = max(phase.batch_size for phase in changed.phases)
    if 10 * largest > train_size:
        found.append(
            RuleWarning(
                "batch-not-small",
                f"a batch of {largest} is {largest / train_size:.1%} of the training set: the "
                f"noise is {largest / train_size:.1%} below what g says if batches are "
                "independent draws without replacement",
                "Smith & Le 2018 (g = ε(N/B − 1)); Smith et al. 2018, section 5 (cap N/10)",
            )
        )
    memory = (
        max(
            scale.momentum_memory_examples(p.batch_size, p.momentum) / train_size
            for p in changed.phases
            if p.momentum
        )
        if any(p.momentum for p in changed.phases)
        else 0.0
    )
    if memory > 1:
        found.append(
            RuleWarning(
                "momentum-memory",
                f"the momentum buffer averages over {memory:.2f} epochs: it lags behind every "
                "change of the noise scale; raise the learning rate before the momentum",
                "Smith, Kindermans, Ying & Le 2018, section 4",
            )
        )
    lost, lost_before = (_cold_start_share(p) for p in (plan, original))
    if lost > KEPT_WITHIN and lost > lost_before:
        found.append(
            RuleWarning(
                "momentum-cold-start",
                f"the empty momentum buffer costs {lost:.1%} of the first phase's drift "
                f"({lost_before:.1%} in the original)",
                "Smith, Kindermans, Ying & Le 2018, section 4",
            )
        )
    return found


def _cold_start_share(plan: Plan) -> float:
    """Share of the first phase's drift lost while the buffer fills: m(1−mⁿ)/(n(1−m))."""
    first = plan.rows[0]
    if not first.updates:
        return 0.0
    m = first.momentum
    return float(m * (1 - m**first.updates) / (first.updates * (1 - m)))
