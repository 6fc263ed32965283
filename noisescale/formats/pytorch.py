"""Python for PyTorch: a scheduler for torch.optim.SGD and a batch sampler."""

from noisescale.errors import InputError
from noisescale.formats import Export
from noisescale.formats.segments import phases_text, table_text

_CODE = '''"""{title}

{updates:,} updates; made by noisescale. It needs torch alone.

    optimizer = torch.optim.SGD(model.parameters(), **first_hyperparameters())
{resume}    scheduler = Scheduler(optimizer)
    loader = torch.utils.data.DataLoader(data, batch_sampler=BatchPlan(len(data), seed=0))
    for inputs, labels in loader:  # one pass over the loader is the whole run
        ...
        optimizer.step()
        scheduler.step()  # once per update
{split}"""

from bisect import bisect_right
from fractions import Fraction
from math import exp, floor, pi, sin, sqrt

import torch

UPDATES = {updates}
TRAIN_SIZE = {train_size}
PARTIAL = "{partial}"
PEAK = {peak!r}  # the highest learning rate
START = {start}  # examples seen before this plan
MOMENTUM_FACTOR = {factor!r}  # for the buffer of the run that was cut
MICRO_BATCH_SIZE = {micro}
SMALLEST_MOMENTUM = {smallest}

# (first update, batch size, momentum, weight decay)
PHASES = [
{phases}
]

# (updates, batch size, examples as a fraction; None where the updates are what is given)
ROWS = [
{rows}
]

# (first update, form, a, b, begun, begun_part, ends, ends_part, per_update, parameter)
# forms: 0 constant, 1 linear, 2 cosine, 3 exponential, 4 polynomial, 5 sqrt, 6 inverse-sqrt
SEGMENTS = [
{segments}
]

_FIRSTS = [s[0] for s in SEGMENTS]
_PHASE_FIRSTS = [p[0] for p in PHASES]


def learning_rate(update):
    """The learning rate of update `update`, from 0."""
    segment = SEGMENTS[max(bisect_right(_FIRSTS, update) - 1, 0)]
    _, form, a, b, begun, begun_part, ends, ends_part, per_update, p = segment
    passed = min(max((update - begun - begun_part) * per_update, 0.0), 1.0)
    left = min(max((ends - update + ends_part) * per_update, 0.0), 1.0)
    if form == 0:
        return a
    if form == 1:
        return a * left + b * passed
    if form == 2:
        return b + (a - b) * sin(pi / 2 * left) ** 2
    if form == 3:
        return a * exp(p * passed)
    if form == 4:
        return b + (a - b) * left**p
    if form == 5:
        return a + (b - a) * sqrt(passed)
    return a * sqrt(p / (p + passed))


def _phase(update):
    first, size, momentum, weight_decay = PHASES[max(bisect_right(_PHASE_FIRSTS, update) - 1, 0)]
    # At exactly 0 torch.optim.SGD keeps no buffer, and a later phase would lack a gradient.
    return first, size, max(momentum, SMALLEST_MOMENTUM), weight_decay


def batch_size(update):
    """Examples of update `update`, from 0."""
    return _phase(update)[1]


def first_hyperparameters():
    """Arguments for torch.optim.SGD; the Scheduler sets those of every update."""
    _, _, momentum, weight_decay = _phase(0)
    return {{"lr": PEAK, "momentum": momentum, "weight_decay": weight_decay}}


def hand_over(optimizer):
    """Fit the momentum buffers of the run that was cut to this plan's momentum."""
    for state in optimizer.state.values():
        if state.get("momentum_buffer") is not None:
            state["momentum_buffer"].mul_(MOMENTUM_FACTOR)


class Scheduler(torch.optim.lr_scheduler.LRScheduler):
    """Sets the learning rate, momentum and weight decay of the next update.

    A parameter group keeps its learning rate relative to the first group's, and stays without
    weight decay if it has none while another group has some.
    """

    def __init__(self, optimizer, last_epoch=-1):
        rates = [group.get("initial_lr", group["lr"]) for group in optimizer.param_groups]
        decays = [group["weight_decay"] for group in optimizer.param_groups]
        self.shares = [rate / rates[0] if rates[0] else 1.0 for rate in rates]
        self.decayed = [decay > 0 or not max(decays) for decay in decays]
        super().__init__(optimizer, last_epoch)

    def get_lr(self):
        update = min(self.last_epoch, UPDATES - 1)
        _, _, momentum, weight_decay = _phase(update)
        for group, decayed in zip(self.optimizer.param_groups, self.decayed):
            group["momentum"] = momentum
            group["weight_decay"] = weight_decay if decayed else 0.0
        return [learning_rate(update) * share for share in self.shares]


class BatchPlan(torch.utils.data.Sampler):
    """The indices of every update of the run, from one permutation per epoch.

    "carry", "wrap": batches straddle epochs. "drop", "keep": what an epoch (or a phase) does not
    fill is left out, or makes a smaller batch. A plan of the rest of a run goes on in the order of
    the whole run. With a world size, every rank gets its share of each batch.
    """

    def __init__(self, train_size, seed=0, rank=0, world_size=1):
        self.rank, self.world_size = rank, world_size
        if TRAIN_SIZE not in (None, train_size):
            raise ValueError(f"the plan is for {{TRAIN_SIZE}} examples, not {{train_size}}")
        self.train_size, self.seed = train_size, seed

    def __len__(self):
        return UPDATES

    def _order(self, epoch):
        generator = torch.Generator().manual_seed(self.seed * 1_000_003 + epoch)
        return torch.randperm(self.train_size, generator=generator).tolist()

    def _stream(self, position, number):
        found = []
        while number:
            epoch, begin = divmod(position, self.train_size)
            if epoch != self._epoch:
                self._epoch, self._listed = epoch, self._order(epoch)
            part = self._listed[begin : begin + number]
            found, position, number = found + part, position + len(part), number - len(part)
        return found

    def __iter__(self):
        cut = PARTIAL in ("drop", "keep")
        # Epochs are cut from their beginning: the rest of one that was begun is left out.
        start = -(-START // self.train_size) * self.train_size if cut else START
        self._epoch, self._listed, position, clock = -1, [], start, Fraction(start)
        for updates, size, length in ROWS:
            end = None
            if length is not None:
                clock += Fraction(*length)
                end = floor(clock + Fraction(1, 2))
            done = 0
            while done < updates:
                share = self.train_size - position % self.train_size
                if end is not None:
                    share = min(share, end - position)
                if cut and share < size and PARTIAL == "drop":
                    position += share
                    continue
                take = min(size, share) if cut else size
                yield self._stream(position, take)[self.rank :: self.world_size]
                position, done = position + take, done + 1
            left = self.train_size - position % self.train_size
            if end is not None:
                position = end if cut else position
            else:
                if PARTIAL == "drop" and left < size:
                    position += left
                clock = Fraction(position)
'''

# Its order matters: a scheduler made first would find the old run's learning rate in its place.
_RESUME = """    optimizer.load_state_dict(state of the run that was cut)  # before the Scheduler
    hand_over(optimizer)  # fits its momentum buffers
"""
_SPLIT = """
A batch is split: BatchPlan(len(data), seed, rank, world_size) on every device, and there parts of
MICRO_BATCH_SIZE examples, each loss weighted by its share of the batch, before one step.
"""


def write(what: Export) -> str:
    """A Python file with a Scheduler and a BatchPlan that follow the plan at every update."""
    plan = what.plan
    assert plan is not None
    if what.schedule.decay != "coupled" and any(p.weight_decay for p in what.schedule.phases):
        raise InputError(
            f"torch.optim.SGD couples weight decay to the gradient; the recipe's is "
            f"{what.schedule.decay}: export to optax, or apply it yourself"
        )
    rows = []
    for phase, row in zip(what.schedule.phases, plan.rows, strict=True):
        span = row.end_examples - row.start_examples
        length = None if phase.updates is not None else (span.numerator, span.denominator)
        rows.append(f"    {(row.updates, row.batch_size, length)!r},")
    return _CODE.format(
        title=what.title.replace("\\", " ").replace('"', "'"),
        updates=plan.updates,
        train_size=what.train_size,
        peak=max(max(p.start_value, p.end_value) for row in plan.rows for p in row.rate),
        start=what.start,
        factor=what.momentum_factor,
        micro=what.micro_batch_size,
        resume=_RESUME if what.schedule.resumed is not None else "",
        split=_SPLIT if what.split is not None else "",
        smallest=1e-30 if any(row.momentum for row in plan.rows) else 0.0,
        partial=what.partial,
        phases=phases_text(plan),
        rows="\n".join(rows),
        segments=table_text(plan),
    )
