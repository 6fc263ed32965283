"""Where a phase is measured, and the batches that lead there."""

from dataclasses import dataclass

import numpy as np

from noisescale.analysis.plan import Plan
from noisescale.recipe import Recipe
from noisescale.training.batches import Feed


@dataclass(frozen=True, slots=True)
class Stop:
    """A point at which to measure: after `update` updates of the run.

    Args:
        epoch: at which loss and error are measured; None where they are not.
        probe: whether it is one of the log-spaced updates.
        check: whether the phase may end here, at a distance.
    """

    update: int
    epoch: float | None
    probe: bool = False
    check: bool = False


def stops_of(recipe: Recipe, plan: Plan, number: int, feed: Feed, start_update: int) -> list[Stop]:
    """Where phase `number` of a plan is measured, in order.

    Losses at multiples of run.evaluate_every epochs and at the phase's end; the weights at
    log-spaced updates too. Where no earlier phase has ended at a distance they depend on the phase
    alone, so arms that share it share them.

    Args:
        start_update: where the phase begins; before plan.rows[number].start_update if an earlier
            phase has ended at a distance.
    """
    assert plan.train_size is not None
    row, size, every = plan.rows[number], plan.train_size, recipe.run.evaluate_every
    last = start_update + row.updates
    as_planned = plan.partial == "carry" and start_update == row.start_update
    if as_planned:
        start, end = (float(x / size) for x in (row.start_examples, row.end_examples))
    else:
        start, end = (feed.position(k) / size for k in (0, row.updates))
    grid = [k * every for k in range(int(start / every), int(end / every) + 2)]
    epochs = sorted({e for e in grid if start < e < end} | {end})
    if as_planned:
        updates = [min(plan.update_at(e), last) for e in epochs]
    else:
        begins, sizes = feed.spans(0, row.updates)
        # The update after which so many examples are nearest.
        middles = begins + 0.5 * sizes
        wanted = np.array(epochs) * size
        updates = [start_update + int(np.sum(middles < w)) for w in wanted[:-1]] + [last]
    decades = np.arange(0, 12 * recipe.probe.per_decade) / recipe.probe.per_decade
    spaced = {int(u) for u in np.rint(10.0**decades) if start_update < u <= last}
    stops = [Stop(u, e, u in spaced) for u, e in zip(updates, epochs, strict=True)]
    evaluated = set(updates)
    stops += [Stop(u, None, True) for u in spaced if u not in evaluated]
    distances = recipe.run.until_distance
    if number < len(distances) and distances[number]:
        per_epoch = max(1, round(size / row.batch_size / recipe.run.distance_checks))
        checks = range(start_update + per_epoch, last, per_epoch)
        stops += [Stop(u, None, False, True) for u in checks]
    return sorted(stops, key=lambda s: (s.update, s.epoch is None, s.epoch or 0.0, s.check))
