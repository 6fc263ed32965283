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
        start = float(row.start_examples)
        begins = np.rint(start + row.clock.at(np.arange(row.updates, dtype=np.float64)))
        sizes = np.full(row.updates, row.batch_size)
        if what.partial == "keep" and row.updates:
            # The last batch of an epoch, and of the phase, is what is left.
            end = min(np.rint(float(row.end_examples)), begins[-1] + row.batch_size)
            sizes = np.minimum(sizes, np.diff(np.append(begins, end))).astype(np.int64)
        columns = zip(begins.tolist(), rates, sizes.tolist(), strict=True)
        for s, (examples, rate, size) in enumerate(columns):
            constants = (row.momentum, row.weight_decay)
            writer.writerow((row.start_update + s + 1, int(examples), rate, size, *constants))
    return out.getvalue()
