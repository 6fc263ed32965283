"""Schedules that are the same run at another batch size, and what each of them conserves."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from fractions import Fraction

from noisescale.analysis import noise_scale as scale
from noisescale.analysis.schedule import (
    PARTIAL_BATCH_POLICIES,
    Phase,
    Plan,
    Schedule,
    exact,
    positive_integer,
)
from noisescale.errors import InputError, unknown_name

# A quantity counts as kept while it deviates by at most this much in every phase.
KEPT_WITHIN = 0.01
# Deviations below this are floating-point rounding.
ROUNDING = 1e-12


@dataclass(frozen=True, slots=True)
class Invariant:
    """A quantity before and after a change of schedule, at the phase where it deviates most.

    Args:
        before, after: the quantity in the original and in the new schedule.
        max_relative_deviation: max over phases of |after/before − 1|.
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


@dataclass(frozen=True, slots=True)
class Equivalent:
    """A schedule that conserves the noise scale of another one.

    Args:
        name: the route, such as "grow-batch", or a composition "learning-rate+grow-batch".
        plan: the schedule in whole updates; None where durations need a train size not given.
        invariants: what the route conserves and what it does not.
    """

    name: str
    schedule: Schedule
    plan: Plan | None
    invariants: tuple[Invariant, ...]
    warnings: tuple[RuleWarning, ...]

    @property
    def updates(self) -> int | None:
        """Total weight updates of the plan."""
        return None if self.plan is None else self.plan.updates


@dataclass(frozen=True, slots=True)
class _Limits:
    """Target and limits of the batch size."""

    target: int | None
    cap: int | None
    granularity: int

    def nearest(self, batch: Fraction) -> int:
        """The multiple of the granularity nearest to `batch`, from one granule up to the cap."""
        granules = max(1, int(batch / self.granularity + Fraction(1, 2)))
        if self.cap is not None:
            granules = min(granules, self.cap // self.granularity)
        return granules * self.granularity

    def ratio(self, schedule: Schedule) -> Fraction:
        """κ = target / first batch; by default the factor of the first drop of the rate."""
        first = schedule.phases[0].batch_size
        if self.target is not None:
            return Fraction(self.target, first)
        factor = _first_drop_factor(schedule)
        if factor is None:
            raise InputError(
                "the learning rate never drops, so there is no default target: give "
                "target_batch_size (--to-batch)"
            )
        return Fraction(self.nearest(factor * first), first)


def equivalents(
    schedule: Schedule,
    train_size: int | None = None,
    *,
    routes: Sequence[str] | None = None,
    target_batch_size: int | None = None,
    max_batch_size: int | None = None,
    granularity: int = 1,
    partial: str = "carry",
) -> list[Equivalent]:
    """Schedules with the same noise scale g = εN/(B(1−m)) in every phase.

    Routes, with κ = target / first batch size (below 1 as well):
        "grow-batch": ε stays where it would drop by f, and B grows by f; past the cap, B is the
            cap and ε takes the rest.
        "learning-rate": B → κB, ε → κε.
        "momentum": B → κB, 1−m → (1−m)/κ; impossible below κ = 1−m.
    Routes compose from left to right: "learning-rate+grow-batch". Where the granularity or the
    cap rounds a batch size, ε (for "momentum": m) absorbs the rounding, so g is kept exactly.

    Args:
        schedule: the original.
        train_size: N; without it g is per example and durations in epochs have no plan.
        routes: names of routes; all that apply by default.
        target_batch_size: first batch size after "learning-rate" and "momentum"; by default the
            first batch size times the factor of the first drop of the learning rate.
        max_batch_size: cap; no batch exceeds it, nor N.
        granularity: every batch size is a multiple of it.
        partial: partial-batch policy of the plans, see Schedule.plan.

    Returns:
        One Equivalent per route. A route that cannot apply is left out.

    Raises:
        InputError: bad arguments, or a named route that cannot apply.

    Source: Smith, Kindermans, Ying & Le 2018, sections 4 and 5.
    """
    if not isinstance(schedule, Schedule):
        raise InputError(f"schedule={schedule!r}: give a Schedule")
    if partial not in PARTIAL_BATCH_POLICIES:
        raise unknown_name("partial-batch policy", partial, PARTIAL_BATCH_POLICIES)
    limits = _limits(train_size, target_batch_size, max_batch_size, granularity)
    original = plan_if_possible(schedule, train_size, partial)
    named = _route_names(routes)
    found = []
    for name in named or tuple(ROUTES):
        changed, notes = schedule, []
        try:
            for step in name.split("+"):
                changed, more = ROUTES[step](changed, limits)
                notes += more
            plan = plan_if_possible(changed, train_size, partial)
        except InputError as error:
            if named:
                raise InputError(f"route {name}: {error}") from None
            continue
        found.append(
            Equivalent(
                name=name,
                schedule=changed,
                plan=plan,
                invariants=_invariants(schedule, changed, original, plan, train_size),
                warnings=(*notes, *_warnings(changed, original, plan, train_size)),
            )
        )
    return found


def plan_if_possible(schedule: Schedule, train_size: int | None, partial: str) -> Plan | None:
    """The plan, or None where a duration in epochs lacks its train size."""
    if train_size is None and any(phase.epochs is not None for phase in schedule.phases):
        return None
    return schedule.plan(train_size, partial)


def _route_names(routes: Sequence[str] | None) -> tuple[str, ...]:
    if routes is None:
        return ()
    if isinstance(routes, str):
        routes = [routes]
    if not routes:
        raise InputError(f"routes is empty: name at least one of {', '.join(ROUTES)}")
    for name in routes:
        for step in str(name).split("+"):
            if step not in ROUTES:
                raise unknown_name("route", step, ROUTES)
    return tuple(routes)


def _limits(
    train_size: int | None, target: int | None, cap: int | None, granularity: int
) -> _Limits:
    granularity = positive_integer("granularity", granularity)
    if target is not None:
        target = positive_integer("target_batch_size", target)
    if cap is not None:
        cap = positive_integer("max_batch_size", cap)
        if target is not None and target > cap:
            raise InputError(
                f"target_batch_size={target} exceeds max_batch_size={cap}: lower the target or "
                "raise the cap"
            )
    if train_size is not None:
        train_size = positive_integer("train_size", train_size)
        if target is not None and target > train_size:
            raise InputError(
                f"target_batch_size={target} exceeds train_size={train_size}: lower the target"
            )
        cap = train_size if cap is None else min(cap, train_size)
    if cap is not None and granularity > cap:
        raise InputError(
            f"granularity={granularity} exceeds the largest batch size allowed, {cap}: lower it"
        )
    return _Limits(target, cap, granularity)


def _first_drop_factor(schedule: Schedule) -> Fraction | None:
    highest = exact(schedule.phases[0].learning_rate)
    for phase in schedule.phases[1:]:
        rate = exact(phase.learning_rate)
        if rate < highest:
            return highest / rate
        highest = rate
    return None


def _resized(phase: Phase, batch_size: int, learning_rate: Fraction, momentum: float) -> Phase:
    """The phase over the same examples with other hyper-parameters."""
    examples = phase.examples
    if phase.updates is not None and batch_size != phase.batch_size:
        examples = phase.updates * phase.batch_size
    return Phase(
        epochs=phase.epochs,
        updates=phase.updates if examples is None else None,
        examples=examples,
        learning_rate=float(learning_rate),
        batch_size=batch_size,
        momentum=momentum,
        weight_decay=phase.weight_decay,
    )


_Route = tuple[Schedule, list[RuleWarning]]


def _grow_batch(schedule: Schedule, limits: _Limits) -> _Route:
    if _first_drop_factor(schedule) is None:
        raise InputError(
            "the learning rate never drops, so there is no decay for the batch to take"
        )
    phases, capped, rises = [], [], False
    highest = exact(schedule.phases[0].learning_rate)
    for number, phase in enumerate(schedule.phases, 1):
        rate = exact(phase.learning_rate)
        rises = rises or rate > highest
        highest = max(highest, rate)
        wanted = phase.batch_size * highest / rate
        batch = limits.nearest(wanted)
        if limits.cap is not None and wanted > limits.cap:
            capped.append(number)
        phases.append(_resized(phase, batch, rate * batch / phase.batch_size, phase.momentum))
    notes = _cap_note(limits, capped, "the learning rate takes the rest of the decay")
    if rises:
        notes.append(
            RuleWarning(
                "warm-up-kept",
                "the learning rate rises at first; the batch would have to shrink to take that "
                "up, so the rise stays in the learning rate",
                "Goyal et al. 2017, section 2.2",
            )
        )
    return Schedule(tuple(phases), schedule.optimizer), notes


def _learning_rate(schedule: Schedule, limits: _Limits) -> _Route:
    kappa = limits.ratio(schedule)
    phases, capped = [], []
    for number, phase in enumerate(schedule.phases, 1):
        wanted = kappa * phase.batch_size
        batch = limits.nearest(wanted)
        if limits.cap is not None and wanted > limits.cap:
            capped.append(number)
        rate = exact(phase.learning_rate) * batch / phase.batch_size
        phases.append(_resized(phase, batch, rate, phase.momentum))
    notes = _cap_note(limits, capped, "the learning rate follows the capped batch")
    return Schedule(tuple(phases), schedule.optimizer), notes


def _momentum(schedule: Schedule, limits: _Limits) -> _Route:
    kappa = limits.ratio(schedule)
    phases, capped = [], []
    for number, phase in enumerate(schedule.phases, 1):
        wanted = kappa * phase.batch_size
        batch = limits.nearest(wanted)
        if limits.cap is not None and wanted > limits.cap:
            capped.append(number)
        one_minus = (1 - exact(phase.momentum)) * phase.batch_size / batch
        if 1 < one_minus <= 1 + Fraction(ROUNDING):
            one_minus = Fraction(1)
        if one_minus > 1:
            raise InputError(
                f"batch {phase.batch_size} → {batch} at momentum {phase.momentum:g} would need "
                f"1−m = {float(one_minus):.4g} above 1, a negative momentum: the batch cannot "
                f"shrink below (1−m) times its size, "
                f"{float((1 - exact(phase.momentum)) * phase.batch_size):.4g}; lower the learning "
                "rate instead"
            )
        phases.append(_resized(phase, batch, exact(phase.learning_rate), float(1 - one_minus)))
    notes = _cap_note(limits, capped, "the momentum follows the capped batch")
    return Schedule(tuple(phases), schedule.optimizer), notes


ROUTES: dict[str, Callable[[Schedule, _Limits], _Route]] = {
    "grow-batch": _grow_batch,
    "learning-rate": _learning_rate,
    "momentum": _momentum,
}


def _cap_note(limits: _Limits, capped: list[int], rest: str) -> list[RuleWarning]:
    if not capped:
        return []
    where = ", ".join(map(str, capped))
    largest = limits.nearest(Fraction(limits.cap or 0))
    return [
        RuleWarning(
            "cap-reached",
            f"the batch stops at {largest} in phase {where}; {rest}",
            "Smith, Kindermans, Ying & Le 2018, section 5.2",
        )
    ]


def _invariants(
    before: Schedule,
    after: Schedule,
    plan_before: Plan | None,
    plan_after: Plan | None,
    train_size: int | None,
) -> tuple[Invariant, ...]:
    pairs = list(zip(before.phases, after.phases, strict=True))
    per_epoch = 1 if train_size is None else train_size
    unit = "epoch" if train_size is not None else "example"

    def compare(name: str, quantity: Callable[[Phase], float]) -> Invariant:
        return _worst(name, [(quantity(old), quantity(new)) for old, new in pairs])

    rows = [
        compare(
            "noise_scale",
            lambda p: per_epoch * p.learning_rate / (p.batch_size * (1 - p.momentum)),
        ),
        compare(
            "temperature",
            lambda p: scale.temperature(p.learning_rate, p.batch_size, p.momentum, train_size),
        ),
    ]
    if plan_before is not None and plan_after is not None:
        rows.append(_worst("sde_time", [(plan_before.sde_time, plan_after.sde_time)]))
    if any(p.weight_decay for p in before.phases):
        rows.append(
            compare(
                f"weight_decay_per_{unit}",
                lambda p: (
                    per_epoch
                    * scale.weight_decay_per_example(
                        p.learning_rate, p.batch_size, p.momentum, p.weight_decay
                    )
                ),
            )
        )

    def diffusion(p: Phase) -> float:
        return scale.diffusion_per_update(p.learning_rate, p.batch_size, p.momentum)

    rows += [
        compare("diffusion_per_update", diffusion),
        compare(f"diffusion_per_{unit}", lambda p: diffusion(p) * per_epoch / p.batch_size),
        compare(
            f"momentum_memory_{unit}s",
            lambda p: scale.momentum_memory_examples(p.batch_size, p.momentum) / per_epoch,
        ),
    ]
    if plan_before is not None and plan_after is not None:
        rows.append(_worst("examples", [(plan_before.examples, plan_after.examples)]))
        rows.append(_worst("updates", [(plan_before.updates, plan_after.updates)]))
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


def _warnings(
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
