"""Python for optax: a schedule, an optimizer with injected hyper-parameters, batch sizes."""

from noisescale.formats import Export
from noisescale.formats.segments import phases_text, table_text

_CODE = '''"""{title}

{updates:,} updates; made by noisescale. It needs jax and optax alone.

    state = optimizer.init(params)
    for update in range(UPDATES):
        batch = next_batch(batch_size(update))
        step, state = optimizer.update(gradient(params, batch), state, params)
        params = optax.apply_updates(params, step)

make_optimizer(decay_mask) spares weights from decay. {resume}"""

from bisect import bisect_right

import jax.numpy as jnp
import optax

UPDATES = {updates}

# (first update, batch size, momentum, weight decay)
PHASES = [
{phases}
]

# (first update, form, a, b, begun, begun_part, ends, ends_part, per_update, parameter)
# forms: 0 constant, 1 linear, 2 cosine, 3 exponential, 4 polynomial, 5 sqrt, 6 inverse-sqrt
SEGMENTS = [
{segments}
]

_FIRST = jnp.array([s[0] for s in SEGMENTS], jnp.int32)
_FORM = jnp.array([s[1] for s in SEGMENTS], jnp.int32)
_BEGUN = jnp.array([s[4] for s in SEGMENTS], jnp.int32)
_ENDS = jnp.array([s[6] for s in SEGMENTS], jnp.int32)
_A, _B, _BEGUN_PART, _ENDS_PART, _PER_UPDATE, _PARAMETER = (
    jnp.array([s[i] for s in SEGMENTS], jnp.float32) for i in (2, 3, 5, 7, 8, 9)
)
_PHASE_FIRST = jnp.array([p[0] for p in PHASES], jnp.int32)


def learning_rate(count):
    """The learning rate of update `count`, from 0."""
    count = jnp.asarray(count, jnp.int32)
    i = jnp.searchsorted(_FIRST, count, side="right") - 1
    a, b, p = _A[i], _B[i], _PARAMETER[i]
    # Whole updates are subtracted as integers, so that a rate near its end keeps its digits.
    passed = jnp.clip((count - _BEGUN[i] - _BEGUN_PART[i]) * _PER_UPDATE[i], 0.0, 1.0)
    left = jnp.clip((_ENDS[i] - count + _ENDS_PART[i]) * _PER_UPDATE[i], 0.0, 1.0)
    forms = [
        a,
        a * left + b * passed,
        b + (a - b) * jnp.sin(jnp.pi / 2 * left) ** 2,
        a * jnp.exp(jnp.where(_FORM[i] == 3, p, 0.0) * passed),
        b + (a - b) * left**p,
        a + (b - a) * jnp.sqrt(passed),
        a * jnp.sqrt(p / (p + passed)),
    ]
    return jnp.select([_FORM[i] == n for n in range(len(forms))], forms)


def _of_phase(column):
    values = jnp.array([p[column] for p in PHASES], jnp.float32)
    return lambda count: values[jnp.searchsorted(_PHASE_FIRST, count, side="right") - 1]


def batch_size(update):
    """Examples of update `update`, from 0 (a plain int)."""
    return PHASES[bisect_right([p[0] for p in PHASES], update) - 1][1]


def make_optimizer(decay_mask=None):
    """The optimizer; `decay_mask` says which weights decay, as in optax.add_decayed_weights."""

    @optax.inject_hyperparams
    def of(learning_rate, momentum, weight_decay):
        return {chain}

    return of(learning_rate=learning_rate, momentum=_of_phase(2), weight_decay=_of_phase(3))


optimizer = make_optimizer()
'''
_CHAINS = {
    "coupled": """optax.chain(
            optax.add_decayed_weights(weight_decay, decay_mask),
            optax.sgd(learning_rate, momentum),
        )""",
    "decoupled": """optax.chain(
            optax.trace(momentum),
            optax.add_decayed_weights(weight_decay, decay_mask),
            optax.scale_by_learning_rate(learning_rate),
        )""",
    "independent": """optax.chain(
            optax.sgd(learning_rate, momentum),
            optax.add_decayed_weights(-weight_decay, decay_mask),
        )""",
}

_RESUME = """This is the rest of a run: its data go
on at example {:,}, and the trace of the run that was cut is taken over times {:.10g}.
"""


def write(what: Export) -> str:
    """A Python file whose `optimizer` has the plan's ε, m and λ at every update."""
    assert what.plan is not None
    return _CODE.format(
        title=what.title.replace("\\", " ").replace('"', "'"),
        updates=what.plan.updates,
        phases=phases_text(what.plan),
        segments=table_text(what.plan),
        resume=_RESUME.format(what.start, what.momentum_factor)
        if what.schedule.resumed is not None
        else "",
        chain=_CHAINS[what.schedule.decay],
    )
