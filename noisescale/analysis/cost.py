"""What a schedule costs: wall-clock from measured throughput, steps and examples over the least."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from math import exp, log

from noisescale.analysis.cautions import RISKS, check_risk
from noisescale.analysis.checks import listed, positive, positive_integer
from noisescale.analysis.equivalence import Equivalent
from noisescale.analysis.plan import Plan
from noisescale.errors import InputError, shown


@dataclass(frozen=True, slots=True)
class Cost:
    """The cost of one route.

    Args:
        seconds: Σ updates × B / throughput(B); None without throughput.
        extrapolated: some batch lies outside the measured ones.
        steps_ratio: S/S_min, updates over those that noiseless gradients would need; None
            without a critical batch size.
        examples_ratio: E/E_min, examples over those that the smallest batches would need.
        progress: Σ_k 1/(1+B_c/B_k), in noiseless updates; None without a critical batch size.
        risk: "none", "some" or "high"; see Equivalent.risk.
    """

    name: str
    seconds: float | None
    extrapolated: bool
    steps_ratio: float | None
    examples_ratio: float | None
    progress: float | None
    risk: str


def cost_of(
    name: str,
    plan: Plan,
    *,
    throughput: Mapping[int, float] | None = None,
    critical_batch_size: float | None = None,
    split: Sequence[tuple[int, int, int]] | None = None,
    risk: str = "none",
) -> Cost:
    """Seconds, S/S_min = U / Σ_k 1/(1+B_c/B_k) and E/E_min = Σ_k B_k / (B_c Σ_k 1/(1+B_c/B_k)).

    For one batch size these are 1 + B_c/B and 1 + B/B_c. They assume a learning rate tuned at
    every batch size and one critical batch size for the whole run.

    Args:
        throughput: examples per second by the examples processed at once: the batch size, or
            with `split` micro-batch × devices. Between two sizes a power law, below the
            smallest the time of an update is constant, above the largest the throughput is.
        critical_batch_size: B_c.
        split: per phase (micro-batch, steps, devices).

    Source: McCandlish et al. 2018, section 2.
    """
    seconds, extrapolated = None, False
    if throughput is not None:
        table = checked_throughput(throughput)
        seconds = 0.0
        for number, row in enumerate(plan.rows):
            at_once = row.batch_size
            if split is not None:
                at_once = split[number][0] * split[number][2]
            extrapolated = extrapolated or not min(table) <= at_once <= max(table)
            seconds += row.updates * row.batch_size / interpolated(table, at_once)
    steps = examples = gained = None
    if critical_batch_size is not None:
        critical = positive("critical_batch_size", critical_batch_size)
        gained = sum(row.updates / (1.0 + critical / row.batch_size) for row in plan.rows)
        seen = sum(row.updates * row.batch_size for row in plan.rows)
        steps, examples = plan.updates / gained, seen / (critical * gained)
    return Cost(name, seconds, extrapolated, steps, examples, gained, risk)


def costs(
    found: Sequence[Equivalent],
    *,
    throughput: Mapping[int, float] | None = None,
    critical_batch_size: float | None = None,
) -> list[Cost]:
    """The cost of every equivalent that has a plan; see cost_of."""
    found = listed("found", found, "give what equivalents returns")  # type: ignore[assignment]
    for e in found:
        if not isinstance(e, Equivalent):
            raise InputError(f"found holds {shown(e)}: give what equivalents returns")
    return [
        cost_of(
            e.name,
            e.plan,
            throughput=throughput,
            critical_batch_size=critical_batch_size,
            split=e.split,
            risk=e.risk,
        )
        for e in found
        if e.plan is not None
    ]


def fastest(listed: Sequence[Cost], max_risk: str = "some") -> Cost | None:
    """The cost with the least seconds among those of at most this risk; None if there is none.

    Where progress is known, with the least seconds for equal progress: a large batch that sees
    the same examples has not come as far.
    """
    most = RISKS.index(check_risk(max_risk))
    allowed = [c for c in listed if c.seconds is not None and RISKS.index(c.risk) <= most]
    return min(allowed, key=lambda c: (c.seconds or 0.0) / (c.progress or 1.0), default=None)


def checked_throughput(throughput: Mapping[int, float]) -> dict[int, float]:
    """Sorted by batch size, or an InputError."""
    if not isinstance(throughput, Mapping) or not throughput:
        raise InputError("throughput: give examples per second by batch size, {128: 2500.0}")
    table = {
        positive_integer("batch size of throughput", batch): positive(
            f"throughput at {batch}", rate
        )
        for batch, rate in throughput.items()
    }
    return dict(sorted(table.items()))


def interpolated(table: Mapping[int, float], batch: int) -> float:
    """Examples per second at a batch size, from a sorted table."""
    sizes = list(table)
    if batch <= sizes[0]:
        return table[sizes[0]] * batch / sizes[0]
    for low, high in pairwise(sizes):
        if batch <= high:
            share = log(batch / low) / log(high / low)
            return exp((1 - share) * log(table[low]) + share * log(table[high]))
    return table[sizes[-1]]
