"""Schedules that are the same run at another batch size, and what each of them conserves."""

from collections.abc import Sequence
from dataclasses import dataclass

from noisescale.analysis.invariants import Invariant, RuleWarning, invariants_of, warnings_of
from noisescale.analysis.routes import ROUTES, limits_of, rounding_note
from noisescale.analysis.schedule import PARTIAL_BATCH_POLICIES, Plan, Schedule
from noisescale.errors import InputError, unknown_name


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
        "hybrid": the first drop by the batch, as in "grow-batch"; later ones by the rate.
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
    options = (target_batch_size, max_batch_size, granularity)
    return find_routes(schedule, train_size, routes, options, partial)[0]


def find_routes(
    schedule: Schedule,
    train_size: int | None,
    routes: Sequence[str] | None,
    options: tuple[int | None, int | None, int],
    partial: str,
) -> tuple[list[Equivalent], dict[str, str]]:
    """What `equivalents` returns, and why each route that was left out cannot apply.

    Args:
        options: (target_batch_size, max_batch_size, granularity).
    """
    if not isinstance(schedule, Schedule):
        raise InputError(f"schedule={schedule!r}: give a Schedule")
    if partial not in PARTIAL_BATCH_POLICIES:
        raise unknown_name("partial-batch policy", partial, PARTIAL_BATCH_POLICIES)
    limits = limits_of(schedule, train_size, *options)
    original = plan_if_possible(schedule, train_size, partial)
    named = _route_names(routes)
    found, left_out = [], {}
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
            left_out[name] = str(error)
            continue
        notes += rounding_note(schedule, changed, limits)
        found.append(
            Equivalent(
                name=name,
                schedule=changed,
                plan=plan,
                invariants=invariants_of(schedule, changed, original, plan, train_size),
                warnings=(*notes, *warnings_of(changed, original, plan, train_size)),
            )
        )
    return found, left_out


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
    return tuple(dict.fromkeys(routes))
