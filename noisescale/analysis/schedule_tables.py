"""Plans and invariants in HTML tables."""

from typing import TYPE_CHECKING, Any

from noisescale.analysis.html import course, table

if TYPE_CHECKING:
    from noisescale.analysis.invariants import Invariant
    from noisescale.analysis.plan import Plan

# Phases shown at most; those in the middle are left out.
MOST_SHOWN = 12


def plan_table(plan: "Plan") -> str:
    """Epochs, updates, learning rate, batch size, momentum and g of every phase."""
    size = "not given" if plan.train_size is None else f"{plan.train_size:,}"
    title = f"{plan.updates:,} updates; train size {size}, partial batches: {plan.partial}"
    head = ["phase", "epochs", "updates", "learning rate", "batch size", "momentum", "g"]
    rows = [_row(plan, number) for number in range(len(plan.rows))]
    if len(rows) > MOST_SHOWN:
        between = f"… {len(rows) - MOST_SHOWN + 1} more"
        rows[MOST_SHOWN // 2 : 1 - MOST_SHOWN // 2] = [[between, *[""] * (len(head) - 1)]]
    per = "" if plan.train_size is not None else ", per training example"
    return table(title, head, rows, [f"g = εN/(B(1−m)){per}"])


def invariant_cells(row: "Invariant") -> list[Any]:
    """Name, before, after, largest deviation in percent, and kept."""
    change = f"{100 * row.max_relative_deviation:.3g} %"
    return [row.name.replace("_", " "), row.before, row.after, change, row.kept]


def _row(plan: "Plan", number: int) -> list[Any]:
    row = plan.rows[number]
    per_rate = (plan.train_size or 1) / (row.batch_size * (1.0 - row.momentum))
    rates = course(row.learning_rate, row.learning_rate_end, row.peak)
    scales = course(row.noise_scale, row.noise_scale_end, row.peak * per_rate)
    return [number + 1, row.epochs, row.updates, rates, row.batch_size, row.momentum, scales]
