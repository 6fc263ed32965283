"""Where a rule leaves its derivation, or a plan its rule."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby

from noisescale.analysis import noise_scale as scale
from noisescale.analysis.cautions import RuleWarning
from noisescale.analysis.pairing import Point
from noisescale.analysis.plan import Plan
from noisescale.analysis.schedule import Schedule

# A learning rate so many times the original's from the first update on asks for a warm-up.
_STEEP_START = 2.0
# More than this is worth a word.
TOLERATED = 0.01
_SMITH = "Smith, Kindermans, Ying & Le 2018, section 4"
_HOFFER = "Hoffer, Hubara & Soudry 2017, section 4"


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """A schedule and what a route made of it.

    Args:
        parents: for each new phase, the original phase it belongs to.
        points: the two side by side, see noisescale.analysis.pairing.
        original, plan: their plans; None without the train size they need.
    """

    name: str
    before: Schedule
    after: Schedule
    parents: Sequence[int]
    points: Sequence[Point]
    original: Plan | None
    plan: Plan | None
    train_size: int | None
    sharpness: float | None = None
    critical_batch_size: float | None = None


def warnings_of(change: Change) -> list[RuleWarning]:
    """All warnings of a change, in the order of its equations: time, noise, memories, limits."""
    found = []
    for check in (
        _sde_time,
        _partial_batches,
        _batch_not_small,
        _critical_batch,
        _outside_derivation,
        _momentum_memory,
        _reshuffled_memory,
        _cold_start,
        _short_warm_up,
        _no_warm_up,
        _averages,
        _limits,
    ):
        found += check(change)
    return found


def _largest(change: Change) -> int:
    return max(phase.batch_size for phase in change.after.phases)


def _sde_time(change: Change) -> list[RuleWarning]:
    """Time lost or won by rounding to whole updates, beside what the rule itself changes."""
    if change.plan is None or change.original is None:
        return []
    rows = zip(change.parents, change.plan.rows, strict=True)
    worst, where, total, expected_total = 0.0, 1, 0.0, 0.0
    child = 0
    for parent, group in groupby(rows, key=lambda pair: pair[0]):
        new = [row for _, row in group]
        rule, child = _noise_ratio(change, parent, child), child + len(new)
        old = change.original.rows[parent]
        span = float(sum(row.end_examples - row.start_examples for row in new))
        stretch = span / float(old.end_examples - old.start_examples)
        expected = old.sde_time * stretch * rule
        time = sum(row.sde_time for row in new)
        off = abs(time / expected - 1) if expected else float(time > 0)
        if off > worst:
            worst, where = off, parent + 1
        total, expected_total = total + time, expected_total + expected
    ratio = total / expected_total - 1 if expected_total else 0.0
    if abs(ratio) <= TOLERATED and worst <= TOLERATED:
        return []
    updates = sum(
        r.updates for p, r in zip(change.parents, change.plan.rows, strict=True) if p == where - 1
    )
    return [
        RuleWarning(
            "sde-time",
            f"whole updates change the SDE time by {ratio:+.2%} in all and by up to "
            f"{worst:.2%} in a phase (phase {where}: {updates} updates)",
            "Smith & Le 2018 (an update lasts ε/(1−m)); see docs/theory.md",
        )
    ]


def _noise_ratio(change: Change, parent: int, child: int) -> float:
    """g after over g before, as the rule has it: constant over a phase."""
    old, new = change.before.phases[parent], change.after.phases[child]
    rates = [p.pieces(p.clock_size(change.train_size))[0] for p in (old, new)]
    a, b = rates[0].first, rates[1].first
    if not a or not b:
        a, b = rates[0].last, rates[1].last
    if not a or not b:
        return 1.0
    return (b / (new.batch_size * (1 - new.momentum))) / (a / (old.batch_size * (1 - old.momentum)))


def _partial_batches(change: Change) -> list[RuleWarning]:
    plan = change.plan
    if plan is None or plan.partial == "carry":
        return []
    full = change.after.plan(change.train_size, "carry").sde_time
    if not full:
        return []
    lost = 1.0 - plan.sde_time / full
    if abs(lost) <= TOLERATED:
        return []
    what = "loses" if lost > 0 else "adds"
    return [
        RuleWarning(
            "partial-batches",
            f"partial={plan.partial!r} {what} {abs(lost):.2%} of the SDE time that a stream of "
            "full batches has; batches that divide the train size, or 'carry', do not",
            "Smith & Le 2018 (an update lasts ε/(1−m)); see docs/theory.md",
        )
    ]


def _batch_not_small(change: Change) -> list[RuleWarning]:
    size, largest = change.train_size, _largest(change)
    if size is None or 10 * largest <= size:
        return []
    share = largest / size
    return [
        RuleWarning(
            "batch-not-small",
            f"a batch of {largest} is {share:.1%} of the training set: the noise is {share:.1%} "
            "below what g says if batches are independent draws without replacement (in "
            "reshuffled epochs slow modes feel far less of it anyway); max_batch_size caps it",
            "Smith & Le 2018 (g = ε(N/B − 1)); Smith et al. 2018, section 5 (cap N/10)",
        )
    ]


def _critical_batch(change: Change) -> list[RuleWarning]:
    critical, largest = change.critical_batch_size, _largest(change)
    if critical is None or largest <= critical:
        return []
    return [
        RuleWarning(
            "beyond-critical-batch",
            f"a batch of {largest} is {largest / critical:.3g} times the critical batch size "
            f"{critical:.6g}: each update gains at most {1 / (1 + critical / largest):.0%} of a "
            f"noiseless one, and the examples cost {1 + largest / critical:.3g} times the least",
            "McCandlish et al. 2018, section 2 (E/E_min = 1 + B/B_crit)",
        )
    ]


def _outside_derivation(change: Change) -> list[RuleWarning]:
    found, steps = [], change.name.split("+")
    flat = [s for s in steps if s == "sqrt" or s.startswith("regime-adaptation")]
    decayed = any(p.before.weight_decay for p in change.points)
    if flat and decayed:
        found.append(
            "√ keeps the diffusion per update of a flat landscape; weight decay is a drift, and "
            "a drift grows with ε: its shrinkage per update changes by √κ"
        )
    size = change.train_size
    if flat and size is not None and 10 * _largest(change) > size:
        found.append("√ is derived for batches much smaller than the training set")
    if "momentum" in steps and change.plan is not None:
        rows = [r for r in change.plan.rows if r.updates and r.momentum]
        short = min(rows, key=lambda r: r.updates * (1 - r.momentum), default=None)
        if short is not None and short.updates * (1 - short.momentum) < 10:
            found.append(
                f"ε/(1−m) stands for momentum only over many times 1/(1−m) updates; a phase has "
                f"{short.updates} updates at m = {short.momentum:.4g}"
            )
    sources = _HOFFER if flat else _SMITH
    return [RuleWarning("outside-derivation", text, sources) for text in found]


def _momentum_memory(change: Change) -> list[RuleWarning]:
    size = change.train_size
    if size is None:
        return []
    memories = [
        scale.momentum_memory_examples(p.batch_size, p.momentum) / size
        for p in change.after.phases
        if p.momentum
    ]
    if not memories or max(memories) <= 1 + 1e-9:
        return []
    return [
        RuleWarning(
            "momentum-memory",
            f"the momentum buffer averages over {max(memories):.2f} epochs: it lags behind every "
            "change of the noise scale; raise the learning rate before the momentum",
            _SMITH,
        )
    ]


def _reshuffled_memory(change: Change) -> list[RuleWarning]:
    """Momentum that remembers much of an epoch averages the epoch's noise, which sums to zero."""
    size = change.train_size
    if size is None:
        return []
    worst, memories = 1.0, (0.0, 0.0)
    for point in change.points:
        old, new = (
            scale.momentum_memory_examples(v.batch_size, v.momentum) / size if v.momentum else 0.0
            for v in (point.before, point.after)
        )
        ratio = scale.reshuffling_factor(new) / scale.reshuffling_factor(old)
        if ratio < worst:
            worst, memories = ratio, (old, new)
    if worst >= 0.5:
        return []
    return [
        RuleWarning(
            "reshuffled-memory",
            f"in reshuffled epochs a momentum memory of {memories[1]:.3g} epochs "
            f"({memories[0]:.3g} in the original) leaves slow directions {worst:.0%} of their "
            "variance at equal g: equal noise scale is not equal noise there",
            "noisy quadratics, docs/theory.md; after Kühn & Rosenow 2023",
        )
    ]


def _cold_start(change: Change) -> list[RuleWarning]:
    if change.plan is None or change.original is None or change.after.resumed is not None:
        return []
    lost = _cold_share(change.plan, change.parents)
    before = _cold_share(change.original, range(len(change.original.rows)))
    if lost <= TOLERATED or lost <= before:
        return []
    return [
        RuleWarning(
            "momentum-cold-start",
            f"the empty momentum buffer costs {lost:.1%} of the first phase's drift "
            f"({before:.1%} in the original)",
            _SMITH,
        )
    ]


def _cold_share(plan: Plan, parents: Sequence[int]) -> float:
    """Share of the first phase's drift lost while the buffer fills: m(1−mⁿ)/(n(1−m))."""
    n = sum(row.updates for row, parent in zip(plan.rows, parents, strict=True) if parent == 0)
    m = plan.rows[0].momentum
    return float(m * (1 - m**n) / (n * (1 - m))) if n else 0.0


def _warm_up_examples(schedule: Schedule, train_size: int | None) -> float:
    """How long the learning rate rises at the start, in a line or in steps."""
    clock, rising, highest = 0.0, 0.0, None
    for phase in schedule.phases:
        for piece in phase.pieces(train_size):
            if highest is not None and piece.start_value < highest:
                return rising
            if highest is not None and piece.start_value > highest:
                rising = clock
            if piece.falls:
                return rising
            clock += float(piece.end - piece.begin)
            if piece.last > piece.first:
                rising = clock
            highest = piece.end_value
    return rising


def _short_warm_up(change: Change) -> list[RuleWarning]:
    if change.plan is None:
        return []
    warm, first = _warm_up_examples(change.after, change.train_size), change.after.phases[0]
    memory = scale.momentum_memory_examples(first.batch_size, first.momentum)
    if not warm or not first.momentum or warm >= memory * (1 - 1e-9):
        return []
    return [
        RuleWarning(
            "warm-up-short",
            f"the warm-up lasts {warm:,.6g} examples and the momentum buffer averages over "
            f"{memory:,.6g}: it is over before the buffer has followed; warm up for longer",
            "Goyal et al. 2017, section 2.2; " + _SMITH,
        )
    ]


def _no_warm_up(change: Change) -> list[RuleWarning]:
    """A start at several times the original's learning rate, without a rise."""
    first = change.points[0]
    if not first.before.learning_rate:
        return []
    ratio = first.after.learning_rate / first.before.learning_rate
    if ratio < _STEEP_START:
        return []
    sizes = {phase.clock_size(change.train_size) for phase in change.after.phases}
    if len(sizes) == 1 and _warm_up_examples(change.after, sizes.pop()):
        return []
    return [
        RuleWarning(
            "no-warm-up",
            f"the run starts at {ratio:.3g} times the original's learning rate, while the weights "
            "change fastest: let it rise over the first epochs "
            "(learning_rate = {shape = …, warmup = {epochs = 5}})",
            "Goyal et al. 2017, section 2.2",
        )
    ]


def _averages(change: Change) -> list[RuleWarning]:
    found = []
    pairs = {(p.before.batch_size, p.after.batch_size) for p in change.points}
    old, new = max(pairs, key=lambda pair: abs(pair[1] / pair[0] - 1))
    ratio = new / old
    if abs(ratio - 1) <= TOLERATED:
        return []
    for what, decay in (
        ("average of the weights", change.after.ema_decay),
        ("running statistics of batch norm", change.after.batch_norm_decay),
    ):
        if decay:
            found.append(
                RuleWarning(
                    "averaging-memory",
                    f"the {what} looks back over {ratio:.3g} times as many examples at a batch "
                    f"of {new}; a decay of {decay:g}^{ratio:.3g} = {decay**ratio:.6g} there keeps "
                    "its memory",
                    "Busbridge et al. 2023 (ρ → ρ^κ)",
                )
            )
    return found


def _limits(change: Change) -> list[RuleWarning]:
    """Which limit is nearer at a given sharpness: stability (ε) or the memory of momentum (m)."""
    sharpness = change.sharpness
    if sharpness is None:
        return []
    found = []

    def ratio(which: str) -> float:
        values = [getattr(p, which) for p in change.points]
        return max(scale.stability_ratio(v.learning_rate, sharpness, v.momentum) for v in values)

    before, after = ratio("before"), ratio("after")
    nearer = _nearer_limit(change, after)
    if after >= 1:
        found.append(
            RuleWarning(
                "unstable",
                f"learning rate × sharpness reaches {after:.3g} times the stability limit 2(1+m) "
                f"({before:.3g} in the original): a quadratic of this sharpness diverges",
                "Polyak 1964; Cohen et al. 2021",
            )
        )
    elif after > before * (1 + TOLERATED):
        found.append(
            RuleWarning(
                "sharpness-limit",
                f"learning rate × sharpness comes to {after:.3g} of the stability limit 2(1+m) "
                f"({before:.3g} in the original); {nearer}",
                "Polyak 1964; Cohen et al. 2021",
            )
        )
    modes = [
        min(
            (
                scale.underdamped_curvature(v.learning_rate, v.momentum)
                for v in (getattr(p, which) for p in change.points)
                if v.learning_rate
            ),
            default=float("inf"),
        )
        for which in ("before", "after")
    ]
    if modes[1] < modes[0] * (1 - TOLERATED) and modes[1] < sharpness:
        found.append(
            RuleWarning(
                "momentum-limit",
                f"directions of curvature above (1−√m)²/ε = {modes[1]:.3g} ({modes[0]:.3g} in the "
                f"original; the sharpness is {sharpness:.4g}) oscillate and relax slower than the "
                f"SDE time says, though their stationary spread is still that of g; {nearer}",
                _SMITH,
            )
        )
    return found


def _nearer_limit(change: Change, stability: float) -> str:
    by_rate = 1.0 / stability if stability else float("inf")
    size = change.train_size
    if size is None:
        return f"the learning rate can grow by a factor of {by_rate:.3g} up to it"
    last = max(change.after.phases, key=lambda p: p.batch_size / (1 - p.momentum))
    by_memory = (size * (1 - last.momentum) / last.batch_size) ** 0.5
    which = "stability" if by_rate < by_memory else "the memory of momentum"
    return (
        f"from here batch and rate can change by a factor of {by_rate:.3g} up to it, batch and "
        f"1/(1−m) by {by_memory:.3g} until the buffer spans an epoch: {which} is the nearer limit"
    )
