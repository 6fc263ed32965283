"""One row per update."""

import csv
from io import StringIO

import numpy as np

from noisescale.errors import InputError
from noisescale.formats import Export

MOST_ROWS = 10**7
HEAD = ("update", "examples", "learning_rate", "batch_size", "momentum", "weight_decay")


def write(what: Export) -> str:
    """update (from 1), examples at which it begins, ε, B, m, λ.

    "examples" is the clock of the schedule: what the updates before have seen, plus what a
    partial-batch policy has passed over.
    """
    plan = what.plan
    assert plan is not None
    if plan.updates > MOST_ROWS:
        raise InputError(
            f"csv has a row per update, and {plan.updates:.3g} are more than {MOST_ROWS:.0e}: "
            "take toml or json"
        )
    out = StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(HEAD)
    for row in plan.rows:
        rates = row.learning_rates().tolist()
        inside = row.clock.at(np.arange(row.updates, dtype=np.float64)).tolist()
        start, constants = float(row.start_examples), (row.momentum, row.weight_decay)
        for s, (time, rate) in enumerate(zip(inside, rates, strict=True)):
            examples = round(start + time)
            writer.writerow((row.start_update + s + 1, examples, rate, row.batch_size, *constants))
    return out.getvalue()
