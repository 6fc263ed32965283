"""Schedules that are the same run at another batch size, and what each of them conserves."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from noisescale.analysis.accumulation import accumulation_notes, split_over_devices
from noisescale.analysis.applicability import Change, warnings_of
from noisescale.analysis.cautions import RuleWarning, risk_of
from noisescale.analysis.checks import choice, listed, positive
from noisescale.analysis.documents import document, plain
from noisescale.analysis.handover import handover_notes
from noisescale.analysis.html import table
from noisescale.analysis.invariants import DECISIVE, Invariant, invariants_of
from noisescale.analysis.limits import limits_of
from noisescale.analysis.pairing import by_parents
from noisescale.analysis.plan import PARTIAL_BATCH_POLICIES, Plan
from noisescale.analysis.routes import (
    DEFAULT_ROUTES,
    ROUTES,
    apply,
    decay_note,
    rounding_note,
)
from noisescale.analysis.schedule import Schedule
from noisescale.analysis.schedule_tables import invariant_cells
from noisescale.errors import InputError, shown


@dataclass(frozen=True, slots=True)
class Equivalent:
    """A schedule made from another one by a rule, with what the rule conserves.

    Args:
        name: the route, such as "grow-batch", or a composition "learning-rate+grow-batch".
        plan: the schedule in whole updates; None where durations need a train size not given.
        invariants: what the route conserves and what it does not.
        parents: for each phase, which phase of the original it belongs to (from 0).
        split: per phase (micro-batch, steps, devices), where either was given.
    """

    name: str
    schedule: Schedule
    plan: Plan | None
    invariants: tuple[Invariant, ...]
    warnings: tuple[RuleWarning, ...]
    parents: tuple[int, ...] = ()
    split: tuple[tuple[int, int, int], ...] | None = None

    @property
    def updates(self) -> int | None:
        """Total weight updates of the plan."""
        return None if self.plan is None else self.plan.updates

    @property
    def risk(self) -> str:
        """The highest risk among the warnings; "some" at least where the run is another one.

        It is another one where the noise scale, the SDE time or the weight decay is broken.
        """
        told = risk_of(self.warnings)
        other = any(not row.kept and row.name in DECISIVE for row in self.invariants)
        return "some" if told == "none" and other else told

    def to_dict(self) -> dict[str, Any]:
        """As strict JSON; phases as in Plan.to_dict, or as given where there is no plan."""
        plan = None if self.plan is None else self.plan.to_dict()
        phases = [document(phase) for phase in self.schedule.phases]
        return {
            "name": self.name,
            "phases": phases if plan is None else plan["phases"],
            "updates": self.updates,
            "updates_exact": None if plan is None else plan["updates_exact"],
            "examples": None if plan is None else plan["examples"],
            "invariants": plain(self.invariants),
            "warnings": [{**document(w), "risk": w.risk} for w in self.warnings],
            "risk": self.risk,
            "split": plain(self.split),
        }

    def _repr_html_(self) -> str:
        head = ["quantity", "original", self.name, "largest deviation", "kept"]
        rows = [invariant_cells(row) for row in self.invariants]
        notes = [f"{w.code}: {w.message} ({w.source})" for w in self.warnings]
        kept = table(f"{self.name}; risk: {self.risk}", head, rows, notes)
        return kept if self.plan is None else kept + self.plan._repr_html_()

    def plot(self, ax: Any = None) -> Any:
        """Learning rate, batch size, noise scale and updates against epochs; see Plan.plot.

        Raises:
            InputError: the updates are not known without a train size.
        """
        if self.plan is None:
            raise InputError("nothing to draw without updates: give equivalents a train_size")
        return self.plan.plot(ax, self.name)


def equivalents(
    schedule: Schedule,
    train_size: int | None = None,
    *,
    routes: Sequence[str] | None = None,
    target_batch_size: int | None = None,
    max_batch_size: int | None = None,
    granularity: int = 1,
    base_batch_size: int | None = None,
    micro_batch_size: int | None = None,
    devices: int = 1,
    sharpness: float | None = None,
    critical_batch_size: float | None = None,
    partial: str = "carry",
) -> list[Equivalent]:
    """Schedules with the same noise scale g = εN/(B(1−m)), or that another rule calls the same.

    Routes, with κ = target / first batch size (below 1 as well):
        "grow-batch": ε stays where it would drop by f, and B grows by f; past the cap, B is the
            cap and ε takes the rest. A smooth decay becomes a ramp of batch sizes.
        "hybrid": the first drop by the batch, as in "grow-batch"; later ones by the rate.
        "learning-rate": B → κB, ε → κε.
        "momentum": B → κB, 1−m → (1−m)/κ; impossible below κ = 1−m.
        "sqrt": B → κB, ε → √κ ε; keeps the diffusion per update, not g.
        "regime-adaptation": "sqrt" with every duration κ times as long: the same updates.
        "regime-adaptation-ceil": the same with ⌈κ⌉ (the released code's form); only if named.
        "accumulate": the same schedule in micro-batches × steps × devices.
    Routes compose from left to right: "learning-rate+grow-batch". Where the granularity or the
    cap rounds a batch size, ε (for "momentum": m) absorbs the rounding, so g is kept exactly.

    Args:
        schedule: the original.
        train_size: N; without it g is per example and durations in epochs have no plan.
        routes: names of routes; all that apply by default.
        target_batch_size: first batch size after the routes with κ; by default the first batch
            size times the factor of the first drop of the learning rate.
        max_batch_size: cap; no batch exceeds it, nor N.
        granularity: every batch size that a route sets is a multiple of it.
        base_batch_size: the batch for which the learning rate is stated ("0.1 per 256"), where
            it is not the recipe's own; the rules with κ count from it.
        micro_batch_size, devices: how one batch is split; see "accumulate".
        sharpness: λ_max, the largest curvature of the loss: says which limit is nearer.
        critical_batch_size: warns where a batch exceeds it.
        partial: partial-batch policy of the plans, see Schedule.plan.

    Returns:
        One Equivalent per route. A route that cannot apply is left out.

    Raises:
        InputError: bad arguments, or a named route that cannot apply.

    Source: Smith, Kindermans, Ying & Le 2018, sections 4 and 5; "sqrt" and
    "regime-adaptation": Hoffer, Hubara & Soudry 2017, sections 4 and 5.
    """
    return find_routes(
        schedule,
        train_size,
        routes=routes,
        target_batch_size=target_batch_size,
        max_batch_size=max_batch_size,
        granularity=granularity,
        base_batch_size=base_batch_size,
        micro_batch_size=micro_batch_size,
        devices=devices,
        sharpness=sharpness,
        critical_batch_size=critical_batch_size,
        partial=partial,
    )[0]


def find_routes(
    schedule: Schedule,
    train_size: int | None,
    *,
    routes: Sequence[str] | None = None,
    target_batch_size: int | None = None,
    max_batch_size: int | None = None,
    granularity: int = 1,
    base_batch_size: int | None = None,
    micro_batch_size: int | None = None,
    devices: int = 1,
    sharpness: float | None = None,
    critical_batch_size: float | None = None,
    partial: str = "carry",
) -> tuple[list[Equivalent], dict[str, str]]:
    """What `equivalents` returns, and why each route that was left out cannot apply."""
    if not isinstance(schedule, Schedule):
        raise InputError(f"schedule={shown(schedule)}: give a Schedule")
    choice("partial-batch policy", partial, PARTIAL_BATCH_POLICIES)
    limits = limits_of(
        schedule,
        train_size,
        target=target_batch_size,
        cap=max_batch_size,
        granularity=granularity,
        base=base_batch_size,
        micro=micro_batch_size,
        devices=devices,
    )
    if sharpness is not None:
        sharpness = positive("sharpness", sharpness)
    if critical_batch_size is not None:
        critical_batch_size = positive("critical_batch_size", critical_batch_size)
    train_size = limits.train_size
    original = plan_if_possible(schedule, train_size, partial)
    named = _route_names(routes)
    splits = micro_batch_size is not None or devices != 1
    found, left_out = [], {}
    for name in named or (*DEFAULT_ROUTES, *(["accumulate"] if splits else [])):
        try:
            changed, parents, notes = apply(name, schedule, limits)
            plan = plan_if_possible(changed, train_size, partial)
            stretches = list(by_parents(schedule, changed, parents, train_size))
        except InputError as error:
            if named:
                raise InputError(f"route {name}: {error}") from None
            left_out[name] = str(error)
            continue
        change = Change(
            name=name,
            before=schedule,
            after=changed,
            parents=parents,
            points=[point for stretch in stretches for point in stretch.points()],
            original=original,
            plan=plan,
            train_size=train_size,
            sharpness=sharpness,
            critical_batch_size=critical_batch_size,
        )
        found.append(
            Equivalent(
                name=name,
                schedule=changed,
                plan=plan,
                invariants=invariants_of(
                    schedule, changed, stretches, original, plan, train_size, sharpness
                ),
                warnings=(
                    *notes,
                    *rounding_note(schedule, changed, limits),
                    *decay_note(schedule, changed, parents),
                    *warnings_of(change),
                    *accumulation_notes(changed, limits.micro, limits.devices),
                    *handover_notes(schedule, changed, train_size),
                ),
                parents=tuple(parents),
                split=tuple(
                    split_over_devices(p.batch_size, limits.micro, limits.devices)
                    for p in changed.phases
                )
                if splits
                else None,
            )
        )
    return found, left_out


def plan_if_possible(schedule: Schedule, train_size: int | None, partial: str) -> Plan | None:
    """The plan, or None where a duration in epochs lacks its train size."""
    if train_size is None and any("epochs" in phase.units() for phase in schedule.phases):
        if partial != "carry":
            raise InputError(f"partial={partial!r} cuts epochs, so it needs train_size")
        return None
    return schedule.plan(train_size, partial)


def _route_names(routes: Sequence[str] | None) -> tuple[str, ...]:
    if routes is None:
        return ()
    names = (
        [routes] if isinstance(routes, str) else listed("routes", routes, "give a list of names")
    )
    if not names:
        raise InputError(f"routes is empty: name at least one of {', '.join(ROUTES)}")
    found = []
    for name in names:
        for step in name.split("+") if isinstance(name, str) else [name]:
            choice("route", step, ROUTES)
        found.append(str(name))
    return tuple(dict.fromkeys(found))
