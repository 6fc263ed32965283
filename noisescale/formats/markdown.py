"""A table for a lab book or a pull request."""

from noisescale.analysis.shapes import Shape
from noisescale.formats import Export
from noisescale.formats.document import inline, shape_table

HEAD = "| phase | updates | epochs | learning rate | batch size | momentum | weight decay | g |"


def write(what: Export) -> str:
    """One row per phase; a learning rate that changes is written as in a recipe."""
    plan = what.plan
    assert plan is not None
    size = "no train size" if what.train_size is None else f"N = {what.train_size:,}"
    unit = "g" if what.train_size is not None else "g / N"
    lines = [
        f"**{what.title}** ({plan.updates:,} updates, {size}, partial = {what.partial})",
        "",
        HEAD.replace("| g |", f"| {unit} |"),
        "|---|---|---|---|---|---|---|---|",
    ]
    for number, (phase, row) in enumerate(zip(what.schedule.phases, plan.rows, strict=True), 1):
        rate = phase.learning_rate
        shown = f"`{inline(shape_table(rate))}`" if isinstance(rate, Shape) else repr(rate)
        scale = f"{row.noise_scale:.6g}"
        if not row.constant:
            per_rate = (what.train_size or 1) / (row.batch_size * (1.0 - row.momentum))
            values = [row.noise_scale, *(p.end_value * per_rate for p in row.rate)]
            scale = " → ".join(f"{value:.6g}" for value in values)
        epochs = "" if row.epochs is None else f"{row.epochs:.10g}"
        cells = (
            number,
            row.updates,
            epochs,
            shown,
            row.batch_size,
            repr(row.momentum),
            repr(row.weight_decay),
            scale,
        )
        lines.append("| " + " | ".join(map(str, cells)) + " |")
    return "\n".join(lines) + "\n"
