"""One batch in micro-batches, steps and devices: when it is the same update, and when not."""

from noisescale.analysis.cautions import RuleWarning
from noisescale.analysis.schedule import Schedule


def split_over_devices(batch_size: int, micro: int | None, devices: int) -> tuple[int, int, int]:
    """(micro-batch per device, steps, devices) that make one batch: B ≤ micro × steps × devices."""
    share = -(-batch_size // devices)
    micro = share if micro is None else min(micro, share)
    return micro, -(-share // micro), devices


def accumulation_notes(
    schedule: Schedule, micro_batch_size: int | None, devices: int
) -> list[RuleWarning]:
    """When micro-batches make the same update, and when batch norm prevents it."""
    if micro_batch_size is None and devices == 1:
        return []
    found, sizes = [], sorted({phase.batch_size for phase in schedule.phases})
    splits = [(b, *split_over_devices(b, micro_batch_size, devices)) for b in sizes]
    for batch, micro, steps, _ in splits:
        if micro * steps * devices != batch:
            whole = micro * devices
            down, up = max(whole, batch // whole * whole), -(-batch // whole) * whole
            found.append(
                RuleWarning(
                    "uneven-accumulation",
                    f"a batch of {batch} is not {micro} × {devices} device(s) × whole steps: weigh "
                    f"every micro-batch by its examples, or take {down} or {up}",
                    "the gradient of a mean over the batch",
                )
            )
            break
    batch, micro, steps, _ = splits[-1]
    if steps * devices > 1:
        found.append(
            RuleWarning(
                "accumulation",
                f"{micro} × {steps} step(s) × {devices} device(s): exact if the loss is a mean "
                "over examples, the gradients are averaged with the examples as weights, and "
                "clipping and the update come once, after the last step",
                "linearity of the gradient",
            )
        )
        found.append(
            RuleWarning(
                "batch-norm-accumulation",
                f"with batch norm it is not the same run: statistics come from {micro} examples "
                f"instead of {batch}; a ghost batch size of {micro} (or a divisor of it) in both "
                "runs restores it",
                "Hoffer, Hubara & Soudry 2017, section 4 (ghost batch norm)",
            )
        )
    return found
