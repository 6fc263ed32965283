"""Bad input of every kind: InputError with the name and a remedy, or one line at the shell.

Thousands of malformations are made from valid input by a seeded generator, one field at a time.
A value that happens to be legal has to give finite results. Failures that are known are listed in
KNOWN; an entry that no longer fails is an error as well, so the list cannot grow old.
"""

import copy
import datetime
import json
import math
import re
from contextlib import redirect_stdout
from dataclasses import fields, is_dataclass
from decimal import Decimal
from fnmatch import fnmatchcase
from fractions import Fraction
from functools import partial
from io import BytesIO, TextIOWrapper
from numbers import Integral, Real
from random import Random

import numpy as np
import pytest

from noisescale import (
    Duration,
    InputError,
    Phase,
    Schedule,
    Shape,
    Warmup,
    equivalents,
    sgd_noise_scale,
)
from noisescale.analysis.cost import costs, fastest
from noisescale.analysis.equivalence import find_routes
from noisescale.analysis.same_run import compare_runs
from noisescale.cli import main
from noisescale.formats import FORMATS, Export, exported
from noisescale.plots import draw_schedules, new_figure
from noisescale.recipe import (
    named_document,
    parse_json,
    parse_toml,
    read_document,
    recipe_from,
    schedule_from,
    step_schedule,
)

# Patterns of the labels of cases that fail today, with the reason. Remove an entry once fixed.
KNOWN: dict[str, str] = {}


class Judge:
    """Collects what went wrong, apart from what is known to go wrong."""

    def __init__(self, group):
        self.known = [p for p in KNOWN if p.startswith(f"{group}: ")]
        self.group, self.cases, self.refused = group, 0, 0
        self.failing, self.found = set(), []

    def judge(self, label, problem):
        label = f"{self.group}: {label}"
        self.cases += 1
        if problem:
            met = [p for p in self.known if fnmatchcase(label, p)]
            self.failing.update(met)
            if not met:
                self.found.append(f"{label}: {problem}")

    def finish(self, least):
        assert not self.found, f"{len(self.found)} cases:\n" + "\n".join(self.found[:25])
        gone = sorted(set(self.known) - self.failing)
        assert not gone, f"it does not fail (any more), so take it out of KNOWN: {gone}"
        assert self.cases >= least, self.cases


class Opaque:
    """No number, no text, no sequence."""

    def __repr__(self):
        return "<opaque>"


def nested(depth):
    value = []
    for _ in range(depth):
        value = [value]
    return value


# By name, so that a failing case can be read.
POOL = {
    "nan": float("nan"),
    "inf": float("inf"),
    "-inf": float("-inf"),
    "minus one": -1,
    "minus a half": -0.5,
    "zero": 0,
    "zero float": 0.0,
    "minus zero": -0.0,
    "one": 1,
    "one float": 1.0,
    "a half": 0.5,
    "three": 3,
    "above 1e18": 10**18 + 1,
    "1e18": 10**18,
    "int of 5000 digits": 10**5000,
    "minus int of 5000 digits": -(10**5000),
    "int above floats": 10**400,
    "1e101": 1e101,
    "1e300": 1e300,
    "1e-101": 1e-101,
    "smallest float": 5e-324,
    "true": True,
    "false": False,
    "none": None,
    "text": "text",
    "no text": "",
    "digits": "1",
    "lines": "a\nb\r\nc\x1b[31m",
    "long text": "x" * 10_000,
    "unicode": "ε→\u202e\u2028\ud800",
    "markup": "[red]x[/red] {0} %s",
    "bytes": b"1",
    "list": [1, 2],
    "no list": [],
    "list of text": ["epochs"],
    "list of none": [None],
    "list of an int of 5000 digits": [10**5000],
    "deep list": nested(50),
    "very deep list": nested(3000),
    "table": {"a": 1},
    "no table": {},
    "numbered table": {1: 2},
    "table of none": {None: None},
    "unit": {"epochs": float("nan")},
    "two units": {"epochs": 1, "updates": 2},
    "unit of list": {"epochs": [2, 1]},
    "unit of text": {"updates": "1"},
    "shape without start": {"shape": "cosine"},
    "shape of list": {"shape": [], "start": 0.1},
    "tuple": (1, 2),
    "complex": 1j,
    "date": datetime.date(2020, 1, 1),
    "decimal": Decimal("0.5"),
    "fraction": Fraction(1, 3),
    "huge fraction": Fraction(10**400, 3),
    "int64": np.int64(3),
    "float32": np.float32(0.5),
    "array": np.array([1.0, 2.0]),
    "array of one": np.array(3),
    "opaque": Opaque(),
    "type": int,
}


def number(value):
    """The value as a float, None if it is no finite number of a size that is allowed."""
    if isinstance(value, bool) or not isinstance(value, Real):
        return None
    try:
        found = float(value)
    except OverflowError:
        return None
    if not math.isfinite(found) or (found and not 1e-100 <= abs(found) <= 1e100):
        return None
    return found


def count(value):
    """A whole number from 1 to 1e18; of a whole float (1e6) either is right."""
    if isinstance(value, float) and value.is_integer() and 1 <= value <= 2**53:
        return None
    return isinstance(value, Integral) and not isinstance(value, bool) and 1 <= value <= 10**18


# What each kind of argument takes; None means that either is right.
LEGAL = {
    "positive": lambda v: number(v) is not None and number(v) > 0,
    "at least zero": lambda v: number(v) is not None and number(v) >= 0,
    "above one": lambda v: number(v) is not None and number(v) > 1,
    "share": lambda v: number(v) is not None and 0 <= number(v) < 1,
    "count": count,
    "never": lambda v: False,
}


def maybe(kind):
    """What is wrong by itself is refused; what is right may not go with the rest."""
    return lambda value: False if LEGAL[kind](value) is False else None


def maybe_none(kind):
    return lambda value: None if value is None else maybe(kind)(value)


def or_none(kind):
    return lambda value: True if value is None else LEGAL[kind](value)


def finite(value, path="result"):
    """The path to a number that is not finite, or None."""
    if isinstance(value, float | np.floating):
        return None if math.isfinite(value) else f"{path} = {value}"
    if isinstance(value, np.ndarray):
        return None if np.all(np.isfinite(value)) else f"{path} is not finite"
    if isinstance(value, dict):
        entries = [(f"{path}.{k}", v) for k, v in value.items()]
    elif isinstance(value, list | tuple):
        entries = [(f"{path}[{i}]", v) for i, v in enumerate(value)]
    elif is_dataclass(value) and not isinstance(value, type):
        entries = [(f"{path}.{f.name}", getattr(value, f.name)) for f in fields(value)]
    else:
        return None
    return next(filter(None, (finite(entry, where) for where, entry in entries)), None)


def problem_of(call, legal, names):
    """What is wrong with the outcome of a call, and whether it was refused.

    Args:
        legal: True, False, or None where either outcome is right.
        names: the message holds one of them.
    """
    try:
        result = call()
    except InputError as error:
        text = str(error)
        if legal:
            return f"refused: {text[:200]}", True
        if "\n" in text or len(text) > 700:
            return f"no short line: {text[:200]!r}", True
        if not any(name in text for name in names):
            return f"{names} is not named: {text[:200]}", True
        return None, True
    except Exception as error:
        return f"{type(error).__name__}: {str(error)[:120]}", False
    if legal is False:
        return f"accepted: {str(result)[:120]!a}", False
    return finite(result), False


# A recipe with everything in it, of durations and rates that are quick to plan.


def recipe_document():
    plain = {"batch_size": 10, "momentum": 0.9, "weight_decay": 5e-4}
    rates = [
        0.1,
        {
            "shape": "step",
            "start": 0.1,
            "milestones": {"epochs": [1.5, 2.0]},
            "factor": 5,
            "warmup": {"epochs": 0.5, "start": 0.01},
        },
        {"shape": "cosine", "start": 0.1, "end": 0.001, "warmup": {"updates": 20}},
        {
            "shape": "warmup-stable-decay",
            "start": 0.1,
            "end": 0.001,
            "decay": {"examples": 1000},
            "decay_form": "exponential",
            "warmup": {"updates": 5, "start": 0.05},
        },
        {"shape": "polynomial", "start": 0.1, "power": 2.0, "end": 0.01},
        {
            "shape": "inverse-sqrt",
            "start": 0.1,
            "timescale": {"updates": 30},
            "of": {"epochs": 5},
            "skip": {"epochs": 1},
        },
        0.004,
    ]
    phases = [{"epochs": 3, "learning_rate": rate, **plain} for rate in rates]
    phases[2] = {"updates": 300, "learning_rate": rates[2], **plain}
    phases[6] = {"examples": 3000, "learning_rate": rates[6], **plain}
    return {
        "title": "everything",
        "train_size": 1000,
        "partial": "carry",
        "sources": {"phase.epochs": "made up"},
        "phase": phases,
        "optimizer": {"name": "sgd", "weight_decay": 1e-4},
    }


def equivalent_document():
    document = recipe_document()
    document |= {"ema_decay": 0.999, "batch_norm_decay": 0.9}
    document["optimizer"]["decay"] = "decoupled"
    return document


def training_document():
    document = recipe_document()
    document["optimizer"]["momentum_form"] = "trace"
    document["model"] = {"name": "multilayer-perceptron", "width": 64, "depth": 1}
    document["data"] = {"name": "digits", "subset": 0, "validation": 0}
    document["run"] = {
        "seeds": 5,
        "replica": 0,
        "driver": "device",
        "micro_batch_size": 0,
        "evaluate_every": 1.0,
    }
    return document


# What a key takes, whatever the rest of the document says. A key that is not here depends on it.
FIELD = {
    "title": lambda v: isinstance(v, str),
    "train_size": or_none("count"),
    "ema_decay": or_none("share"),
    "batch_norm_decay": or_none("share"),
    "partial": lambda v: isinstance(v, str) and v in ("carry", "drop", "keep", "wrap"),
    "phase": LEGAL["never"],
    "optimizer": lambda v: v is None or isinstance(v, dict),
    "epochs": LEGAL["positive"],
    "milestones.epochs": lambda v: isinstance(v, list | tuple | np.ndarray),
    "updates": LEGAL["count"],
    "examples": LEGAL["count"],
    "batch_size": LEGAL["count"],
    "learning_rate": LEGAL["positive"],
    "momentum": LEGAL["share"],
    "weight_decay": LEGAL["at least zero"],
    "start": LEGAL["positive"],
    "warmup.start": LEGAL["at least zero"],
    "end": or_none("at least zero"),
    "power": or_none("positive"),
    "factor": LEGAL["above one"],
    "shape": LEGAL["never"],
    "decay_form": lambda v: v is None,
    "optimizer.name": LEGAL["never"],
    "optimizer.decay": LEGAL["never"],
    "optimizer.momentum_form": LEGAL["never"],
    "model.name": LEGAL["never"],
    "data.name": LEGAL["never"],
    "run.driver": LEGAL["never"],
    "width": LEGAL["count"],
    "seeds": LEGAL["count"],
    "evaluate_every": LEGAL["positive"],
    "sources": lambda v: isinstance(v, dict) and all(isinstance(t, str) for t in v.values()),
}
# Where the message names what the key stands for, or the table that it is missing from.
SAYS = {
    "phase": ["[[phase]]", "phase 1"],
    "epochs": ["epochs", "warmup", "milestones", "shape", "decay", "timescale"],
    "updates": ["updates", "warmup", "timescale", "shape"],
    "examples": ["examples", "decay"],
    "milestones": ["milestones"],
    "shape": ["shape", "belong", "needs", "exponential"],
    "end": ["end"],
    "timescale": ["timescale", "inverse-sqrt"],
    "decay": ["decay", "warmup-stable-decay"],
    "of": ["of"],
    "skip": ["skip", "shape of"],
    "learning_rate": ["learning_rate", "warmup"],
    "optimizer": ["optimizer"],
    "train_size": ["train_size"],
}


def sites(value, path=()):
    """Every place in a document."""
    if path:
        yield path
    entries = value.items() if isinstance(value, dict) else enumerate(value)
    for key, entry in entries:
        if isinstance(entry, dict | list):
            yield from sites(entry, (*path, key))
        else:
            yield (*path, key)


def parent_of(document, path):
    for key in path[:-1]:
        document = document[key]
    return document


def words(path):
    """The keys of a path, without the numbers."""
    return [key for key in path if isinstance(key, str)]


def legal_field(path, value):
    keys = words(path)
    if isinstance(path[-1], int):
        return None
    if keys[-1] == "learning_rate" and isinstance(value, dict):
        return None if "start" in value else False
    oracle = FIELD.get(".".join(keys[-2:])) or FIELD.get(keys[-1])
    if oracle is None:
        return None
    # A value that is right by itself may still not go with the others.
    return False if oracle(value) is False else None


def names_of(path):
    """What the message may name: the key, or a table around it."""
    names = []
    for key in words(path)[-3:]:
        names += [key, *SAYS.get(key, ())]
    return names


def read(document):
    """A recipe planned, with its learning rates where they are not too many."""
    schedule, train_size, policy = schedule_from(document)
    plan = schedule.plan(train_size, policy)
    rates = plan.learning_rates() if plan.updates < 10**5 else None
    return schedule, plan, rates, [row.described() for row in plan.rows]


def use(document):
    """The routes of a recipe, its comparison with each of them and its files."""
    schedule, train_size, policy = schedule_from(document)
    found = equivalents(
        schedule, train_size, partial=policy, target_batch_size=20, max_batch_size=40
    )
    compared = [compare_runs(schedule, e.schedule, train_size, policy) for e in found]
    json.dumps([[r.before, r.after] for e in found for r in e.invariants], allow_nan=False)
    for name in FORMATS:
        what = Export("t", schedule, train_size, policy, schedule.plan(train_size, policy))
        assert "nan" not in exported(what, name)
    return [e.invariants for e in found], [e.plan for e in found], compared


def spoil(rng, document):
    """(label, path, legal, names) of one change made to the document in place."""
    places = sorted(sites(document), key=str)
    path = rng.choice(places)
    table, key, how = parent_of(document, path), path[-1], rng.random()
    where = ".".join(words(path))
    if how < 0.8:
        name = rng.choice(list(POOL))
        table[key] = POOL[name]
        return f"{where} = {name}", legal_field(path, POOL[name]), names_of(path)
    if how < 0.87:
        del table[key]
        return f"{where} deleted", None, [*names_of(path), "phase"]
    if how < 0.94 and isinstance(table, dict):
        wrong = rng.choice([f"{key}s", key.upper(), key[::-1], f"{key} ", "lr", "", "a\nb", "ε"])
        if wrong in table:
            wrong += "_"
        table[wrong] = table.pop(key)
        free = True if len(path) > 1 and path[0] == "sources" else False
        return f"{where} renamed", free, [repr(wrong), *names_of(path)]
    if isinstance(table, dict):
        table["epohcs"] = 1
        return (
            f"{'.'.join(words(path[:-1]))} + key",
            False,
            ["'epohcs'", "milestones", "sources"],
        )
    table.append(POOL["text"])
    return f"{where} + text", False, names_of(path)


def test_documents():
    """2,600 recipes with one thing wrong."""
    rng, judge = Random(20), Judge("document")
    accepted = 0
    for number_ in range(2600):
        train = number_ % 3 == 0
        document = copy.deepcopy(training_document() if train else equivalent_document())
        label, legal, names = spoil(rng, document)
        entry = partial(recipe_from if train else read, document)
        problem, refused = problem_of(entry, legal, names)
        judge.judge(label, problem)
        judge.refused += refused
        if not problem and not refused and not train:
            accepted += 1
            if accepted % 20 == 0:
                problem, _ = problem_of(partial(use, document), None, [""])
                judge.judge(f"{label}, used", problem)
    assert judge.refused > 1500
    judge.finish(least=2600)


# Arguments of the Python interface: valid ones, what each of them takes, and the call.


def two_phases(**changes):
    phase = {"epochs": 2, "learning_rate": 0.1, "batch_size": 10, "momentum": 0.9} | changes
    return Schedule([Phase(**phase), Phase(**phase | {"learning_rate": 0.02})])


SCHEDULE = two_phases()
SMOOTH = Schedule(
    [Phase(updates=200, batch_size=10, learning_rate={"shape": "cosine", "start": 0.1})]
)
FOUND = equivalents(SCHEDULE, 1000)
EXPORT = Export("t", SCHEDULE, 1000, "carry", SCHEDULE.plan(1000))
COSTS = costs(FOUND, throughput={10: 100.0})


def planned_phase(**arguments):
    return Schedule([Phase(**arguments)]).plan(1000)


def planned_shape(**arguments):
    rate = Shape(**arguments)
    plan = Schedule([Phase(epochs=5, batch_size=10, learning_rate=rate)]).plan(1000)
    return plan, plan.learning_rates()


def planned_warmup(**arguments):
    return planned_shape(shape="cosine", start=0.1, warmup=Warmup(**arguments))


def planned_steps(**arguments):
    return step_schedule(**arguments).plan(1000)


def scheduled(**arguments):
    return Schedule(**arguments).plan(1000)


def after(**arguments):
    return SCHEDULE.after(**arguments)


def smooth_after(**arguments):
    rest = SMOOTH.after(**arguments)
    return rest, rest.plan(1000).learning_rates()


def routes_of(**arguments):
    return equivalents(**{"schedule": SCHEDULE} | arguments)


def smooth_routes(**arguments):
    return equivalents(**{"schedule": SMOOTH} | arguments)


def same_run(**arguments):
    return compare_runs(**{"first": SCHEDULE, "second": SMOOTH} | arguments)


def costs_of(**arguments):
    return costs(**{"found": FOUND} | arguments)


def fastest_of(**arguments):
    return fastest(**{"listed": COSTS} | arguments)


def written(**arguments):
    return exported(**{"what": EXPORT, "name": "toml"} | arguments)


def choice(*known):
    return lambda v: isinstance(v, str) and v in known


_PARTIAL = choice("carry", "drop", "keep", "wrap")


def rate_or_shape(value):
    return None if isinstance(value, dict) else LEGAL["positive"](value)


def a_train_size(value):
    """Smaller than the batch is refused, of the batch's size and above not."""
    return count(value) and value >= 10


def elapsed(value):
    """0 leaves the schedule whole."""
    return None if number(value) == 0 else maybe("count")(value)


def a_number(value):
    """What cannot be a number; the range depends on the argument."""
    if isinstance(value, bool | str | bytes | dict | complex | type(None)):
        return False
    return None


ARGUMENTS = {
    "Phase": (
        planned_phase,
        {"epochs": 2, "learning_rate": 0.1, "batch_size": 10, "momentum": 0.9, "weight_decay": 0},
        {
            "epochs": maybe("positive"),
            "updates": lambda v: v is None,
            "examples": lambda v: v is None,
            "learning_rate": rate_or_shape,
            "batch_size": maybe("count"),
            "momentum": LEGAL["share"],
            "weight_decay": LEGAL["at least zero"],
        },
    ),
    "Shape polynomial": (
        planned_shape,
        {"shape": "polynomial", "start": 0.1, "end": 0.01, "power": 2.0},
        {
            "shape": LEGAL["never"],
            "start": LEGAL["positive"],
            "end": or_none("at least zero"),
            "power": or_none("positive"),
            "timescale": or_none("never"),
            "milestones": or_none("never"),
            "factor": or_none("never"),
            "decay": or_none("never"),
            "decay_form": or_none("never"),
            "warmup": lambda v: True if v is None else False,
            "of": or_none("never"),
            "skip": or_none("never"),
        },
    ),
    "Shape warmup-stable-decay": (
        planned_shape,
        {
            "shape": "wsd",
            "start": 0.1,
            "decay": Duration(epochs=1),
            "decay_form": "sqrt",
            "warmup": {"updates": 20},
        },
        {
            "start": LEGAL["positive"],
            "end": or_none("at least zero"),
            "decay": LEGAL["never"],
            "decay_form": or_none("never"),
            "warmup": or_none("never"),
        },
    ),
    "Shape step": (
        planned_shape,
        {"shape": "step", "start": 0.1, "milestones": {"epochs": [1, 2]}, "factor": 5},
        {
            "milestones": lambda v: None if isinstance(v, dict) else False,
            "factor": LEGAL["above one"],
        },
    ),
    "Warmup": (
        planned_warmup,
        {"epochs": 1, "start": 0.01},
        {
            "epochs": maybe("positive"),
            "updates": or_none("never"),
            "start": LEGAL["at least zero"],
        },
    ),
    "Duration": (
        Duration,
        {"updates": 5},
        {"updates": LEGAL["count"], "epochs": or_none("never")},
    ),
    "Schedule": (
        scheduled,
        {"phases": SCHEDULE.phases, "optimizer": "sgd", "decay": "coupled"},
        {
            "phases": LEGAL["never"],
            "optimizer": LEGAL["never"],
            "decay": LEGAL["never"],
            "ema_decay": or_none("share"),
            "batch_norm_decay": or_none("share"),
        },
    ),
    "Schedule.plan": (
        SCHEDULE.plan,
        {"train_size": 1000, "partial": "carry"},
        {
            "train_size": a_train_size,
            "partial": _PARTIAL,
        },
    ),
    "Schedule.after": (
        after,
        {"examples": 100, "train_size": 1000},
        {
            "examples": elapsed,
            "train_size": maybe("count"),
        },
    ),
    "Schedule.after in epochs": (
        after,
        {"epochs": 1, "train_size": 1000},
        {"epochs": maybe("at least zero"), "train_size": maybe("count")},
    ),
    "smooth Schedule.after": (
        smooth_after,
        {"examples": 101, "train_size": 1000},
        {
            "examples": elapsed,
            "train_size": or_none("count"),
        },
    ),
    "equivalents": (
        routes_of,
        {"train_size": 1000, "target_batch_size": 20},
        {
            "schedule": LEGAL["never"],
            "train_size": maybe_none("count"),
            "routes": lambda v: v is None,
            "target_batch_size": maybe_none("count"),
            "max_batch_size": maybe_none("count"),
            "granularity": maybe("count"),
            "base_batch_size": maybe_none("count"),
            "micro_batch_size": or_none("count"),
            "devices": LEGAL["count"],
            "sharpness": or_none("positive"),
            "critical_batch_size": or_none("positive"),
            "partial": _PARTIAL,
        },
    ),
    "smooth equivalents": (
        smooth_routes,
        {"train_size": 1000, "target_batch_size": 20, "max_batch_size": 40},
        {
            "target_batch_size": maybe_none("count"),
            "max_batch_size": maybe_none("count"),
            "granularity": maybe("count"),
            "sharpness": or_none("positive"),
        },
    ),
    "compare_runs": (
        same_run,
        {"train_size": 1000, "partial": "carry"},
        {
            "first": LEGAL["never"],
            "second": LEGAL["never"],
            "train_size": a_train_size,
            "partial": _PARTIAL,
        },
    ),
    "costs": (
        costs_of,
        {"throughput": {10: 100.0}, "critical_batch_size": 100},
        {
            "found": lambda v: None if v in ([], (), {}) and not isinstance(v, str) else False,
            "throughput": lambda v: True if v is None else None if v == {1: 2} else False,
            "critical_batch_size": or_none("positive"),
        },
    ),
    "fastest": (
        fastest_of,
        {"max_risk": "some"},
        {"max_risk": LEGAL["never"]},
    ),
    "exported": (
        written,
        {},
        {"what": LEGAL["never"], "name": LEGAL["never"]},
    ),
    "sgd_noise_scale": (
        sgd_noise_scale,
        {"learning_rate": 0.1, "batch_size": 10, "train_size": 1000, "momentum": 0.9},
        {
            "learning_rate": a_number,
            "batch_size": a_number,
            "train_size": a_number,
            "momentum": a_number,
        },
    ),
    "step_schedule": (
        planned_steps,
        {
            "epochs": 10,
            "batch_size": 10,
            "learning_rate": 0.1,
            "milestones": (4, 8),
            "decay_factor": 5,
        },
        {
            "epochs": maybe("positive"),
            "batch_size": maybe("count"),
            "learning_rate": LEGAL["positive"],
            "momentum": LEGAL["share"],
            "weight_decay": LEGAL["at least zero"],
            "milestones": lambda v: None if isinstance(v, tuple | list | np.ndarray) else False,
            "decay_factor": LEGAL["positive"],
        },
    ),
}
# Where the message uses another word for an argument.
ARGUMENT_SAYS = {
    "name": ["format"],
    "found": ["found", "Equivalent"],
    "what": ["Export"],
    "max_risk": ["risk"],
    "routes": ["route"],
    "step_schedule.epochs": ["milestones"],
    "Warmup.epochs": ["warmup"],
    "Schedule.after.train_size": ["run is over", "examples"],
    "Schedule.after in epochs.epochs": ["run is over"],
    "first": ["Schedule"],
    "second": ["Schedule"],
    "Shape warmup-stable-decay.decay": ["warmup-stable-decay"],
}


def test_arguments():
    """Every argument with every value of the pool, alone and beside another odd but legal one."""
    judge = Judge("arguments")
    for function, (call, valid, kinds) in ARGUMENTS.items():
        for argument, oracle in kinds.items():
            also = [ARGUMENT_SAYS.get(k, []) for k in (argument, f"{function}.{argument}")]
            names = [argument, *also[0], *also[1]]
            for name, value in POOL.items():
                label = f"{function}({argument} = {name})"
                try:
                    legal = oracle(value)
                except ValueError:  # an array has no truth
                    legal = False
                arguments = {**valid, argument: value}
                problem, refused = problem_of(partial(call, **arguments), legal, names)
                judge.judge(label, problem)
                judge.refused += refused
    assert judge.refused > 2000
    judge.finish(least=3000)


# The shell.

FLAGS = (
    "equivalent --epochs 10 --batch-size 10 --learning-rate 0.1 --momentum 0.9 --milestones 4 8 "
    "--decay-factor 5 --train-size 1000"
).split()
RECIPE = """
train_size = 1000
[[phase]]
epochs = 5
batch_size = 10
learning_rate = 0.1
[[phase]]
epochs = 5
batch_size = 10
learning_rate = 0.02
"""
JSON_RECIPE = json.dumps(parse_toml(RECIPE, ""))
WHOLE = [
    "text",
    "",
    "-1",
    "nan",
    "inf",
    "-inf",
    "1e400",
    "1.5",
    "1e-3",
    "1e19",
    "9" * 25,
    "9" * 5000,
    "0x10",
    "[]",
    "１.５",
]
WHOLE += ["a\nb", "--", "- 1", "+-1", "5 5", "None", "true", "%s", "\x00", "\ud800", "10**3"]
REAL = [
    "text",
    "",
    "-1",
    "-0.5",
    "nan",
    "NaN",
    "inf",
    "-inf",
    "1e400",
    "1e101",
    "0x10",
    "1,5",
    "%s",
]
REAL += ["a\nb", "--", "1/3", "[1]", "None", "９ ９", "\x00", "\ud800"]
NAMES = ["text", "", "a\nb", "-", "%s", "[red]x[/red]", "x" * 300, "é", "\ud800", "None", "0"]
RATES = ["text", "", ":", "10:", ":10", "10", "10:x", "x:10", "10:nan", "10:inf", "10:0", "10:-1"]
RATES += ["0:10", "-1:10", "1.5:10", "1e3:10", "10:10:10", "10:1e400", "9" * 25 + ":1", "10;10"]
RATES += ["10:100 10:200"]
# For every flag: what cannot be, and the words of which the message holds one.
SHELL = {
    "--train-size": ([*WHOLE, "0"], ["train_size"]),
    "--epochs": ([*REAL, "0", "1e-101"], ["epochs"]),
    "--batch-size": ([*WHOLE, "0"], ["batch_size"]),
    "--learning-rate": ([*REAL, "0", "1e-101"], ["learning_rate"]),
    "--momentum": ([*REAL, "1", "1.0", "2"], ["momentum"]),
    "--weight-decay": ([*REAL, "1e-101"], ["weight_decay"]),
    "--milestones": ([*REAL, "0", "10", "11", "1e-101"], ["milestones", "epochs"]),
    "--decay-factor": ([*REAL, "0", "1e-101", "1e99", "1e-99"], ["decay_factor", "rate="]),
    "--partial": (NAMES, ["partial"]),
    "--at-examples": ([*WHOLE, "10000", "20000", "9999"], ["examples", "no update"]),
    "--at-epochs": (
        [*REAL, "10", "20", "9.9999"],
        ["at-epochs", "epochs", "run is over", "no update"],
    ),
    "--to-batch": ([*WHOLE, "0", "1001"], ["target_batch_size"]),
    "--max-batch-size": ([*WHOLE, "0"], ["max_batch_size"]),
    "--granularity": ([*WHOLE, "0", "1001"], ["granularity"]),
    "--routes": ([*NAMES, "hybrid+", "+", "hybrid+hybird", "Hybrid", "original+hybrid"], ["route"]),
    "--base-batch-size": ([*WHOLE, "0"], ["base_batch_size"]),
    "--micro-batch-size": ([*WHOLE, "0"], ["micro_batch_size"]),
    "--devices": ([*WHOLE, "0"], ["devices"]),
    "--sharpness": ([*REAL, "0"], ["sharpness"]),
    "--critical-batch-size": ([*REAL, "0"], ["critical_batch_size"]),
    "--throughput": (RATES, ["throughput"]),
    "--max-risk": ([*NAMES, "None", "Some", "low"], ["risk"]),
    "--plot": (
        [*NAMES, "x.jpg", ".png", "x.png.", "no/x.png", "folder", "folder.png", "file.toml/x.png"],
        ["png", "draw", "folder"],
    ),
    "--to": (
        [*NAMES, "TOML", "yaml", "toml json"],
        ["format", "--routes", "unrecognized", "a recipe"],
    ),
    "--diff": (
        [*NAMES, "missing.toml", "missing.json", "folder", "folder.png"],
        ["recipe", "file", "cannot read"],
    ),
    "--recipe": ([*NAMES, "smith2018", "file.toml", "../x"], ["recipe"]),
}


def shell_problem(capsys, folder, arguments, names=("",)):
    """What is wrong with how the shell refuses these arguments, or None."""
    before = sorted(folder.iterdir())
    try:
        code = main(arguments)
    except SystemExit as end:
        code = end.code
    except Exception as error:
        capsys.readouterr()
        return f"{type(error).__name__}: {str(error)[:120]}"
    out, err = capsys.readouterr()
    after = sorted(folder.iterdir())
    if after != before:
        return f"wrote {set(after) - set(before)}"
    if code != 2:
        return f"exit code {code}: {err[:120]!a}"
    if out:
        return f"something on standard output: {out[:60]!a}"
    if err.count("\n") != 1 or not err.endswith("\n") or len(err.splitlines()) != 1:
        return f"not one line: {err[:200]!a}"
    if not err.startswith("noisescale: error: ") or "Traceback" in err:
        return f"not an error of noisescale: {err[:120]!a}"
    if not any(name in err for name in names):
        return f"{list(names)} is not named: {err[:200]!a}"
    return None


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """The current folder, with what the cases of the shell refer to."""
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder.png").mkdir()
    (tmp_path / "file.toml").write_text(RECIPE)
    (tmp_path / "file.json").write_text(JSON_RECIPE)
    (tmp_path / "epochs.toml").write_text(RECIPE.replace("train_size = 1000", ""))
    (tmp_path / "updates.toml").write_text(
        RECIPE.replace("train_size = 1000", "").replace("epochs = 5", "updates = 500")
    )
    monkeypatch.chdir(tmp_path)
    return tmp_path


def with_flag(flag, value):
    arguments = [*FLAGS] if flag != "--recipe" else ["equivalent"]
    values = value.split(" ") if flag in ("--throughput", "--to") and " " in value else [value]
    if flag in arguments:
        where = arguments.index(flag)
        end = where + 3 if flag == "--milestones" else where + 2
        arguments[where:end] = []
    if flag == "--to":
        arguments += ["--routes", "hybrid"]
    return [*arguments, flag, *values]


# Right by themselves; a wrong flag beside them stays wrong.
BESIDE = [
    [],
    [],
    ["--json"],
    ["--plot", "p.svg"],
    ["--routes", "learning-rate"],
    ["--devices", "2"],
]


def test_flags_at_the_shell(capsys, folder):
    """Every flag with every kind of junk, beside others that are right."""
    rng, judge = Random(3), Judge("flag")
    for flag, (values, names) in SHELL.items():
        for value in values:
            beside = rng.choice(BESIDE)
            # They exclude each other, or one would be given twice.
            if flag in ("--to", "--diff", "--routes", "--plot", "--devices"):
                beside = []
            arguments = with_flag(flag, value) + beside
            shown = value if len(value) < 30 else f"{value[:8]}…"
            label = f"{flag} {shown!a} {' '.join(beside)}".strip()
            judge.judge(label, shell_problem(capsys, folder, arguments, [flag, *names]))
    judge.finish(least=450)


# Flags that do not go together, or with the recipe; each line with the words that it names.
COMBINATIONS = [
    ("", ["recipe"]),
    ("--json", ["recipe"]),
    ("--epochs 5", ["--batch-size"]),
    ("--epochs 5 --batch-size 5", ["--learning-rate"]),
    ("--epochs 5 --learning-rate 1", ["--batch-size"]),
    ("--batch-size 5 --learning-rate 1", ["--epochs"]),
    ("--epochs 5 --batch-size 5 --learning-rate 1 --milestones", ["--milestones"]),
    ("--epochs 5 --batch-size 5 --learning-rate 1 --milestones 2", ["decay_factor"]),
    ("--epochs 5 --batch-size 5 --learning-rate 1 --decay-factor 2", ["milestones"]),
    ("--epochs 5 --batch-size 5 --learning-rate 1 --milestones 3 2 --decay-factor 2", ["3 2"]),
    ("--epochs 5 --batch-size 5 --learning-rate 1 --milestones 2 2 --decay-factor 2", ["2 2"]),
    ("--epochs 5 --batch-size 5 --learning-rate 1 --milestones 2 nan --decay-factor 2", ["nan"]),
    ("--epochs 5 --batch-size 50 --learning-rate 1 --train-size 40", ["batch_size", "train_size"]),
    ("file.toml file.json", ["file.json"]),
    ("file.toml --recipe smith2018-cifar10", ["--recipe"]),
    ("file.toml --epochs 5", ["--epochs"]),
    ("file.toml --momentum 0", ["--momentum"]),
    ("file.toml --weight-decay 0", ["--weight-decay"]),
    ("--recipe smith2018-cifar10 --batch-size 5", ["--batch-size"]),
    ("--recipe smith2018-cifar10 --milestones 5", ["--milestones"]),
    ("missing.toml", ["missing.toml"]),
    ("missing.toml --plot p.png", ["missing.toml"]),
    ("folder", ["folder"]),
    (".", ["'.'"]),
    ("file.toml/x.toml", ["file.toml/x.toml"]),
    ("smith2018-cifar10", ["smith2018-cifar10"]),
    ("file.toml --jso", ["--jso"]),
    ("file.toml --json=1", ["--json"]),
    ("file.toml --nothing", ["--nothing"]),
    ("file.toml --train-size", ["--train-size"]),
    ("file.toml --train-size=", ["--train-size"]),
    ("file.toml --train-size 5", ["train_size"]),
    ("file.toml --to toml", ["--routes"]),
    ("file.toml --to toml --routes hybrid momentum", ["--routes"]),
    ("file.toml --to toml --routes hybrid --json", ["--json"]),
    ("file.toml --to toml --routes hybrid --plot p.png", ["--plot"]),
    ("file.toml --to toml --routes hybrid --plot p.png --json", ["--plot"]),
    ("file.toml --to csv --routes nothing", ["nothing"]),
    ("epochs.toml --to csv --routes hybrid", ["train_size"]),
    ("epochs.toml --to markdown --routes original", ["train_size"]),
    ("epochs.toml --to optax --routes original", ["train_size"]),
    ("epochs.toml --to pytorch --routes hybrid", ["train_size"]),
    ("file.toml --to toml --routes hybrid --throughput 10:x", ["throughput"]),
    ("file.toml --to toml --routes hybrid --throughput 10:-1", ["throughput"]),
    ("file.toml --to toml --routes hybrid --max-risk low", ["risk"]),
    ("file.toml --to toml --routes original --granularity 0", ["granularity"]),
    ("file.toml --to toml --routes original --devices 0", ["devices"]),
    ("file.toml --routes original --granularity 0", ["granularity"]),
    ("file.toml --routes original --devices 0", ["devices"]),
    ("file.toml --routes original --to-batch 0", ["target_batch_size", "--to-batch"]),
    ("file.toml --routes original --max-batch-size 0", ["max_batch_size"]),
    ("file.toml --routes original --base-batch-size 0", ["base_batch_size"]),
    ("file.toml --routes original --micro-batch-size 0", ["micro_batch_size"]),
    ("file.toml --routes original --sharpness nan", ["sharpness"]),
    ("file.toml --routes original --sharpness nan --json", ["sharpness"]),
    ("file.toml --routes original --critical-batch-size nan", ["critical_batch_size"]),
    ("file.toml --routes original hybrid", ["original"]),
    ("file.toml --routes original+hybrid", ["original"]),
    ("file.toml --routes", ["--routes"]),
    ("file.toml --routes accumulate", ["micro_batch_size"]),
    ("file.toml --routes momentum --to-batch 2", ["momentum"]),
    ("file.toml --max-risk none", ["--throughput"]),
    ("file.toml --routes hybrid --json --max-risk none", ["--throughput"]),
    ("file.toml --max-batch-size 20 --to-batch 40", ["target_batch_size"]),
    ("file.toml --max-batch-size 20 --granularity 40", ["granularity"]),
    ("epochs.toml --throughput 10:100", ["--train-size"]),
    ("epochs.toml --critical-batch-size 10", ["--train-size"]),
    ("epochs.toml --at-examples 5", ["train_size"]),
    ("epochs.toml --train-size 0", ["train_size"]),
    ("epochs.toml --train-size -1 --json", ["train_size"]),
    ("epochs.toml --partial drop", ["train_size"]),
    ("epochs.toml --partial drop --json", ["train_size"]),
    ("updates.toml --partial drop", ["train_size"]),
    ("updates.toml --partial none", ["partial"]),
    ("epochs.toml --plot p.png", ["--train-size"]),
    ("updates.toml --plot p.png", ["--train-size"]),
    ("file.toml --plot p.png --max-risk none", ["--max-risk"]),
    ("file.toml --plot p.png --throughput 3", ["throughput"]),
    ("file.toml --plot p.png --throughput 3:-1", ["throughput"]),
    ("file.toml --plot p.png --routes nothing", ["nothing"]),
    ("file.toml --plot p.png --routes accumulate", ["accumulat"]),
    ("file.toml --plot p.png --at-examples 10000", ["examples"]),
    ("file.toml --plot p.png --at-examples 9999", ["no update"]),
    ("file.toml --plot p.png --granularity 0", ["granularity"]),
    ("file.toml --plot no/p.png --json", ["folder"]),
    ("file.toml --plot p.bmp --json", ["p.bmp"]),
    ("file.toml --at-examples 10000", ["examples"]),
    ("file.toml --at-examples 5 --train-size 0", ["train_size"]),
    ("file.toml --at-examples 5 --at-epochs 1", ["examples and epochs"]),
    ("epochs.toml --at-epochs 1", ["train_size"]),
    ("updates.toml --at-epochs 1", ["train_size"]),
    ("file.toml --at-examples 9999 --partial drop", ["no update"]),
    ("file.toml --diff", ["--diff"]),
    ("file.toml --diff file.toml --to toml", ["--to"]),
    ("file.toml --diff file.toml --plot p.png", ["--plot"]),
    ("file.toml --diff file.toml --routes hybrid", ["--routes"]),
    ("file.toml --diff file.toml --to-batch 5", ["--to-batch"]),
    ("file.toml --diff file.toml --throughput 3:4", ["--throughput"]),
    ("file.toml --diff file.toml --max-risk low", ["risk"]),
    ("file.toml --diff file.toml --granularity 0", ["granularity"]),
    ("file.toml --diff file.toml --devices 0", ["devices"]),
    ("file.toml --diff file.toml --sharpness nan", ["sharpness"]),
    ("file.toml --diff file.toml --max-batch-size 0", ["max-batch-size", "max_batch_size"]),
    ("file.toml --diff file.toml --base-batch-size 0", ["base-batch-size", "base_batch_size"]),
    ("file.toml --diff file.toml --micro-batch-size 0", ["micro-batch-size", "micro_batch_size"]),
    ("file.toml --diff file.toml --critical-batch-size nan", ["critical"]),
    ("file.toml --diff file.toml --train-size 0", ["train_size", "--train-size"]),
    ("file.toml --diff file.toml --train-size -1", ["train_size"]),
    ("file.toml --diff file.toml --train-size 5", ["train_size"]),
    ("epochs.toml --diff epochs.toml --train-size 0", ["train_size", "--train-size"]),
    ("file.toml --diff file.toml --partial none", ["partial"]),
    ("epochs.toml --diff epochs.toml --partial none", ["partial"]),
    ("epochs.toml --diff epochs.toml --partial drop", ["train_size"]),
    ("epochs.toml --diff updates.toml", ["train_size"]),
    ("file.toml --diff smith2018-cifar10", ["--train-size"]),
    ("file.toml --diff file.toml --at-examples 10000", ["examples"]),
    ("file.toml --diff missing.json", ["missing.json"]),
    ("file.toml --diff folder", ["folder"]),
]
# The same without the name of the command in front.
COMMANDS = [
    "",
    "nothing",
    "EQUIVALENT",
    "--version x",
    "--nothing",
    "--json",
    "equivalent --version",
]
COMMANDS += ["--nothing equivalent", "verify", "verify nothing", "verify missing.toml"]
COMMANDS += ["verify file.toml --dry-run", "verify increase-batch-size --seeds 0"]
COMMANDS += ["verify increase-batch-size --seeds x", "verify increase-batch-size --dataset cifar"]
COMMANDS += ["verify increase-batch-size --seeds -1 --dry-run", "verify folder --dry-run"]


def test_combinations_at_the_shell(capsys, folder):
    """Flags that exclude each other, wrong ones that another flag makes unused, bad paths."""
    judge = Judge("shell")
    for line, names in COMBINATIONS:
        arguments = ["equivalent", *line.split()]
        judge.judge(line, shell_problem(capsys, folder, arguments, names))
    for line in COMMANDS:
        judge.judge(line, shell_problem(capsys, folder, line.split()))
    judge.finish(least=120)


# Files: what a recipe file says instead, and a word of the message.
HEXADECIMAL = "0x" + "f" * 6000
DOTTED = ".".join("a" * 3000)


def changed(old, new, text=RECIPE):
    assert old in text
    return text.replace(old, new, 1)


TOML_FILES = {
    "empty": ("", "[[phase]]"),
    "no phase": ("train_size = 3", "[[phase]]"),
    "phase is a number": ("phase = 3", "[[phase]]"),
    "phase is empty": ("phase = []", "[[phase]]"),
    "phase of numbers": ("phase = [1]", "phase 1"),
    "one phase as a table": ("[phase]\nepochs = 1", "[[phase]]"),
    "phase within phase": (RECIPE + "[[phase.phase]]\nepochs = 1\n", "'phase'"),
    "NUL": ("\0", "TOML"),
    "not UTF-8": (b"\xff\xfe\0", "UTF-8"),
    "UTF-16": (RECIPE.encode("utf-16"), "UTF-8"),
    "cut short": (RECIPE[:-8], "TOML"),
    "JSON": (JSON_RECIPE, "TOML"),
    "text": ("dear reader", "TOML"),
    "control characters": ("\x1b[31m = 3", "TOML"),
    "key twice": (RECIPE + "learning_rate = 3", "TOML"),
    "table twice": (RECIPE + "[optimizer]\n[optimizer]\n", "TOML"),
    "deep lists": ("a = " + "[" * 5000 + "]" * 5000, "deep"),
    "deep tables": (f"{DOTTED} = 1", "'a'"),
    "deep sources": (f"sources.{DOTTED} = 1\n{RECIPE}", "sources"),
    "deep partial": (f"partial.{DOTTED} = 1\n{RECIPE}", "partial"),
    "deep rate": (changed("learning_rate = 0.1", f"learning_rate.{DOTTED} = 1"), "learning_rate"),
    "deep start": (
        changed("learning_rate = 0.1", f"learning_rate = {{shape='cosine', start.{DOTTED} = 1}}"),
        "start",
    ),
    "deep momentum": (f"{RECIPE}momentum.{DOTTED} = 1", "momentum"),
    "5000 digits": (changed("1000", "1" * 5000), "digits"),
    "hexadecimal train_size": (changed("1000", HEXADECIMAL), "train_size"),
    "hexadecimal rate": (changed("0.1", HEXADECIMAL), "learning_rate"),
    "hexadecimal partial": (f"partial = {HEXADECIMAL}\n{RECIPE}", "partial"),
    "hexadecimal shape": (changed("0.1", f"{{shape = {HEXADECIMAL}, start = 1}}"), "shape"),
    "hexadecimal optimizer": (f"{RECIPE}[optimizer]\nname = {HEXADECIMAL}", "optimizer"),
    "hexadecimal decay": (f"{RECIPE}[optimizer]\ndecay = [{HEXADECIMAL}]", "decay"),
    "hexadecimal title": (f"title = {HEXADECIMAL}\n{RECIPE}", "title"),
    "nan": (changed("0.1", "nan"), "phase 1: learning_rate=nan"),
    "inf": (changed("0.02", "inf"), "phase 2: learning_rate=inf"),
    "minus zero": (changed("0.1", "-0.0"), "learning_rate=-0.0"),
    "date": (changed("0.1", "1979-05-27"), "learning_rate"),
    "time": (f"partial = 07:32:00\n{RECIPE}", "partial"),
    "train_size 0": (changed("1000", "0"), "train_size=0"),
    "train_size float": (changed("1000", "1000.5"), "train_size=1000.5"),
    "train_size text": (changed("1000", "'1000'"), "train_size='1000'"),
    "train_size true": (changed("1000", "true"), "train_size=True"),
    "train_size 9": (changed("1000", "9"), "train"),
    "epochs and updates": (changed("epochs = 5", "epochs = 5\nupdates = 5"), "epochs and updates"),
    "no duration": (changed("epochs = 5", ""), "epochs, updates, examples"),
    "no batch": (changed("batch_size = 10", ""), "phase 1: missing 'batch_size'"),
    "no rate": (changed("learning_rate = 0.1", ""), "phase 1: missing 'learning_rate'"),
    "updates 1.5": (changed("epochs = 5", "updates = 1.5"), "phase 1: updates=1.5"),
    "misspelt key": (changed("batch_size", "batchsize"), "did you mean 'batch_size'"),
    "unknown key": (f"lr = 1\n{RECIPE}", "'lr'"),
    "key of two lines": (f'"a\\nb" = 1\n{RECIPE}', "a\\nb"),
    "long key": ("x" * 5000 + f" = 1\n{RECIPE}", "xxx"),
    "shape without start": (changed("0.1", "{shape = 'cosine'}"), "start"),
    "shape unknown": (changed("0.1", "{shape = 'cosin', start = 1}"), "'cosine'"),
    "shape with another's key": (
        changed("0.1", "{shape = 'cosine', start = 1, power = 2}"),
        "power",
    ),
    "long warmup": (
        changed("0.1", "{shape = 'cosine', start = 0.1, warmup = {epochs = 5}}"),
        "warmup",
    ),
    "warmup without unit": (changed("0.1", "{shape = 'cosine', start = 1, warmup = 5}"), "warmup"),
    "milestones without unit": (
        changed("0.1", "{shape = 'step', start = 1, factor = 5, milestones = [1, 2]}"),
        "milestones",
    ),
    "milestones fall": (
        changed("0.1", "{shape = 'step', start = 1, factor = 5, milestones = {epochs = [2, 1]}}"),
        "milestones",
    ),
    "factor underflows": (
        changed("0.1", "{shape='step', start=1, factor=1e99, milestones={epochs=[1, 2, 3, 4]}}"),
        "factor",
    ),
    "factor overflows": (
        changed("0.1", "{shape='step', start=1, factor=1e-99, milestones={epochs=[1, 2, 3, 4]}}"),
        "factor",
    ),
    "optimizer is a number": (f"optimizer = 3\n{RECIPE}", "optimizer"),
    "optimizer unknown": (f"{RECIPE}[optimizer]\nname = 'adam'", "'adam'"),
    "optimizer misspelt key": (f"{RECIPE}[optimizer]\nweigth_decay = 1e-4", "weight_decay"),
    "decay unknown": (f"{RECIPE}[optimizer]\ndecay = 'decopled'", "'decoupled'"),
    "weight decay": (f"{RECIPE}[optimizer]\nweight_decay = -1", "weight_decay=-1"),
    "unused weight decay": (
        RECIPE.replace("epochs = 5", "epochs = 5\nweight_decay = 0")
        + "[optimizer]\nweight_decay = 'x'",
        "weight_decay",
    ),
    "ema_decay": (f"ema_decay = 1\n{RECIPE}", "ema_decay=1"),
    "batch_norm_decay": (f"batch_norm_decay = -1\n{RECIPE}", "batch_norm_decay=-1"),
    "momentum 1": (f"{RECIPE}momentum = 1", "phase 2: momentum=1"),
    "title": (f"title = 3\n{RECIPE}", "title=3"),
    "sources": (f"sources = {{a = 1}}\n{RECIPE}", "sources"),
}
JSON_FILES = {
    "empty": ("", "JSON"),
    "null": ("null", "JSON"),
    "list": ("[]", "JSON"),
    "number": ("3", "JSON"),
    "TOML": (RECIPE, "JSON"),
    "single quotes": (JSON_RECIPE.replace('"', "'"), "JSON"),
    "text after it": (JSON_RECIPE + "x", "JSON"),
    "comment": ("// recipe\n" + JSON_RECIPE, "JSON"),
    "deep lists": ("[" * 100_000, "deep"),
    "deep tables": ('{"a": ' * 50_000, "deep"),
    "5000 digits": (JSON_RECIPE.replace("1000", "1" * 5000), "digits"),
    "NaN": (JSON_RECIPE.replace("0.1", "NaN"), "NaN"),
    "Infinity": (JSON_RECIPE.replace("0.1", "Infinity"), "Infinity"),
    "-Infinity": (JSON_RECIPE.replace("1000", "-Infinity"), "-Infinity"),
    "1e999": (JSON_RECIPE.replace("0.1", "1e999"), "phase 1: learning_rate=inf"),
    "key twice": (JSON_RECIPE.replace('"epochs": 5', '"epochs": 5, "epochs": 50'), "'epochs'"),
    "key twice above": (JSON_RECIPE.replace("{", '{"train_size": 3,', 1), "'train_size'"),
    "another schema": (JSON_RECIPE.replace("{", '{"schema": "x",', 1), "schema"),
    "schema null": (JSON_RECIPE.replace("{", '{"schema": null,', 1), "schema"),
    "schema of a result": (
        JSON_RECIPE.replace("{", '{"schema": "noisescale.equivalent/1",', 1),
        "noisescale.recipe/1",
    ),
    "phase null": ('{"phase": null}', "[[phase]]"),
    "phase of null": ('{"phase": [null]}', "phase 1"),
    "rate null": (JSON_RECIPE.replace("0.1", "null"), "learning_rate=None"),
    "batch float": (JSON_RECIPE.replace('"batch_size": 10', '"batch_size": 10.5'), "batch_size"),
    "batch text": (JSON_RECIPE.replace('"batch_size": 10', '"batch_size": "10"'), "batch_size"),
    "surrogate key": (JSON_RECIPE.replace("{", '{"\\ud800": 1,', 1), "\\ud800"),
    "no key": (JSON_RECIPE.replace("{", '{"": 1,', 1), "''"),
}


def test_files_at_the_shell(capsys, folder):
    """Malformed recipe files, read and compared with."""
    judge = Judge("file")
    for ending, files in (("toml", TOML_FILES), ("json", JSON_FILES)):
        for name, (text, word) in files.items():
            path = folder / f"bad.{ending}"
            path.write_bytes(text if isinstance(text, bytes) else text.encode())
            for arguments in (
                ["equivalent", path.name, "--plot", "p.svg"],
                ["equivalent", "file.toml", "--diff", path.name, "--json"],
            ):
                label = f"{name} ({ending})"
                judge.judge(label, shell_problem(capsys, folder, arguments, [word]))
    judge.finish(least=190)


# Extreme but legal input: it is answered, with finite numbers, and answers agree.


def plain(**changes):
    return {"epochs": 2, "learning_rate": 0.1, "batch_size": 10, "momentum": 0.9} | changes


# A route may not apply, but not because it made a duration or a shape that cannot be.
INTERNAL = re.compile(r"=0(\.0)?:|fills the shape|of a shape|longer than the shape|must increase")


def all_of(phases, train_size=1000, **options):
    """Routes, invariants, comparisons, rest and files of a legal schedule, all finite."""
    schedule = Schedule([Phase(**phase) for phase in phases])
    found, left_out = find_routes(schedule, train_size, **options)
    assert not [reason for reason in left_out.values() if INTERNAL.search(reason)], left_out
    assert finite(found) is None
    for e in found:
        assert finite(compare_runs(schedule, e.schedule, train_size)) is None
        assert not any("nan" in w.message or " inf" in w.message for w in e.warnings)
    assert finite(costs(found, throughput={10: 100.0}, critical_batch_size=100)) is None
    compared = compare_runs(schedule, schedule, train_size)
    assert compared.same, compared.reason
    rest = schedule.after(examples=1, train_size=train_size)
    assert finite(rest.plan(train_size)) is None
    for name in ("toml", "json"):
        plan = schedule.plan(train_size)
        text = exported(Export("t", schedule, train_size, "carry", plan), name)
        document = (parse_toml if name == "toml" else parse_json)(text, name)
        assert schedule_from(document) == (schedule, train_size, "carry")
    return found


def rate(shape, **more):
    return {"shape": shape, "start": 0.1} | more


def refusal(call):
    """The message of the InputError that a call raises."""
    with pytest.raises(InputError) as caught:
        call()
    return str(caught.value)


SLOW = {"epochs": 1, "start": 0.05}
LEGAL_EXTREMES = {
    "one example, batch of 1": ([plain(batch_size=1), plain(batch_size=1, learning_rate=0.02)], 1),
    "1e18 examples": ([plain(), plain(learning_rate=0.02)], 10**18),
    "batch of 1e18": (
        [plain(batch_size=10**18, learning_rate=0.1), plain(batch_size=10**18)],
        10**18,
    ),
    "smallest rates": ([plain(learning_rate=1e-99), plain(learning_rate=1e-100)], 1000),
    "rates of 1e100": ([plain(learning_rate=1e100), plain(learning_rate=1e99)], 1000),
    "rates from 1e100 to 1e-100": (
        [plain(learning_rate=1e100), plain(learning_rate=1e-100)],
        1000,
    ),
    "momentum of 0.999999": ([plain(momentum=0.999999), plain(learning_rate=0.02)], 1000),
    "momentum one step below 1": (
        [plain(momentum=1 - 2**-53), plain(momentum=1 - 2**-53, learning_rate=0.02)],
        1000,
    ),
    "weight decay of 1e100": ([plain(weight_decay=1e100), plain(learning_rate=0.02)], 1000),
    "shorter than an update": (
        [plain(epochs=1e-4), plain(), plain(epochs=1e-4, learning_rate=0.02)],
        1000,
    ),
    "epochs of 1e-100 and 1e100": ([plain(epochs=1e100), plain(epochs=1e-100)], 1000),
    "longest warm-up": (
        [plain(learning_rate=rate("cosine", warmup={"epochs": 1.9999999999}))],
        1000,
    ),
    "warm-up from above": (
        [plain(learning_rate=rate("linear", warmup={"epochs": 1, "start": 7.0}))],
        1000,
    ),
    "restart after a rate": (
        [plain(), plain(learning_rate=rate("cosine", warmup={"epochs": 1}))],
        1000,
    ),
    "cosine after cosine": (
        [plain(learning_rate=rate("cosine")), plain(learning_rate=rate("cosine"))],
        1000,
    ),
    "three restarts": (
        [plain(learning_rate=rate("cosine", warmup={"epochs": 0.5}))] * 3,
        1000,
    ),
    "no start of a shape": (
        [plain(learning_rate=rate("linear", skip={"epochs": 1})), plain(learning_rate=0.01)],
        1000,
    ),
    "steep polynomial": ([plain(learning_rate=rate("polynomial", power=1e100))], 1000),
    "flat polynomial": ([plain(learning_rate=rate("polynomial", power=1e-100))], 1000),
    "warm-up a little above": (
        [plain(), plain(learning_rate=rate("cosine", start=0.10001, warmup=SLOW))],
        1000,
    ),
    "steep rise": (
        [
            plain(learning_rate=0.85, batch_size=1),
            plain(learning_rate=rate("polynomial", start=0.05, end=2.0, power=0.001), batch_size=1),
        ],
        1000,
    ),
    "exponential over 200 decades": (
        [plain(epochs=50, learning_rate={"shape": "exponential", "start": 1e99, "end": 1e-99})],
        1000,
    ),
    "momentum one step below 1, with a sharpness": (
        [plain(momentum=1 - 2**-53), plain(momentum=1 - 2**-53, learning_rate=0.02)],
        1000,
        {"sharpness": 1.0},
    ),
    "rates that vanish, with a sharpness": (
        [
            plain(
                learning_rate=rate("polynomial", power=1e100, of={"epochs": 3}, skip={"epochs": 1})
            )
        ],
        1000,
        {"sharpness": 1.0, "target_batch_size": 20},
    ),
    "rates that vanish, epochs cut": (
        [
            plain(
                learning_rate=rate("polynomial", power=1e100, of={"epochs": 3}, skip={"epochs": 1})
            )
        ],
        1000,
        {"partial": "drop", "target_batch_size": 20},
    ),
    "polynomial of few updates": (
        [plain(updates=3, epochs=None, learning_rate=rate("polynomial", power=3))],
        1000,
    ),
    "cosine of one update": ([plain(updates=1, epochs=None, learning_rate=rate("cosine"))], 1000),
}


@pytest.mark.parametrize("name", LEGAL_EXTREMES)
def test_legal_extremes(name):
    phases, train_size, *options = LEGAL_EXTREMES[name]
    judge = Judge(f"extreme {name}")
    try:
        all_of(phases, train_size, **(options[0] if options else {}))
        problem = None
    except (Exception, RuntimeWarning) as error:
        problem = f"{type(error).__name__}: {str(error)[:200]}"
    judge.judge("all", problem)
    judge.finish(least=1)


def imagenet(unit):
    """The same step schedule, stated in epochs or in the whole updates that they come to."""
    phases = [{"epochs": 30, "batch_size": 256, "learning_rate": r} for r in (0.1, 0.01)]
    schedule = Schedule([Phase(**phase) for phase in phases])
    if unit == "updates":
        counts = [row.updates for row in schedule.plan(1_281_167).rows]
        for phase, count in zip(phases, counts, strict=True):
            phase.update(epochs=None, updates=count)
    return Schedule([Phase(**phase) for phase in phases])


def epochs_against_updates():
    compared = compare_runs(imagenet("epochs"), imagenet("updates"), 1_281_167)
    assert compared.same, compared.reason


def noise_scale_kept(duration, train_size=997, milestones=(0.5, 0.75)):
    """The routes keep the noise scale, and the comparison sees it, where cuts are not whole."""
    shape = rate("step", milestones={"epochs": milestones}, factor=2)
    schedule = Schedule([Phase(**duration, batch_size=8, learning_rate=shape)])
    for e in equivalents(schedule, train_size, routes=["grow-batch", "hybrid", "learning-rate"]):
        kept = [next(row.kept for row in e.invariants if row.name == "noise_scale")]
        compared = compare_runs(schedule, e.schedule, train_size)
        kept.append(next(row.kept for row in compared.invariants if row.name == "noise_scale"))
        assert kept == [True, True], (e.name, kept)


def milestones_between_examples():
    noise_scale_kept({"examples": 4985})


def long_phase_between_examples():
    noise_scale_kept({"updates": 9_608_752}, 1_281_167, (22.5, 37.5))


def short_phase_between_examples():
    noise_scale_kept({"examples": 997})


def size_of_generated_code():
    """A policy that cuts epochs must not write a line per epoch without a bound."""
    shape = Schedule([Phase(epochs=20_000, batch_size=10, learning_rate=rate("cosine"))])
    for name in ("optax", "pytorch"):
        what = Export("t", shape, 105, "drop", shape.plan(105, "drop"))
        try:
            assert len(exported(what, name)) < 300_000, name
        except InputError as error:
            assert "drop" in str(error) or "updates" in str(error)


def names_from_an_iterator():
    found = equivalents(SCHEDULE, 1000, routes=iter(["hybrid"]))
    assert [e.name for e in found] == ["hybrid"]


def exact_epochs():
    """A fraction, or a NumPy number, is kept as a plain one that a file holds."""
    for epochs in (Fraction(1, 3), np.float64(0.5), np.float32(0.5), np.int64(2)):
        schedule = two_phases(epochs=epochs)
        for name in ("toml", "json"):
            what = Export("t", schedule, 1000, "carry", schedule.plan(1000))
            document = (parse_toml if name == "toml" else parse_json)(exported(what, name), name)
            assert schedule_from(document)[0] == schedule, epochs


def odd_epochs_of_update_at():
    plan = SCHEDULE.plan(1000)
    for epoch in (float("nan"), float("inf"), "x", None):
        assert "epoch" in refusal(lambda epoch=epoch: plan.update_at(epoch))


def documents_that_are_none():
    for document in ([], None, 3, "x", b"x"):
        for read_one in (schedule_from, recipe_from):
            refusal(lambda read_one=read_one, document=document: read_one(document))


def texts_that_are_none():
    for text in (None, 3, b"x"):
        assert "x.toml" in refusal(lambda text=text: parse_toml(text, "x.toml"))
    for text in (None, 3):
        assert "x.json" in refusal(lambda text=text: parse_json(text, "x.json"))
    assert "recipe" in refusal(lambda: named_document([]))


def overflow_of_noise_scale():
    for arguments in ((1e300, 1, 1e300), (1e308, 1e-3 + 1, 1e308), ([1e300], 1, 1e300)):
        message = refusal(lambda arguments=arguments: sgd_noise_scale(*arguments))
        assert "learning_rate" in message or "train_size" in message


def momentum_that_rounds_to_one():
    schedule = two_phases(momentum=1 - 2**-53)
    message = refusal(lambda: equivalents(schedule, 1000, routes="momentum"))
    assert "momentum=1.0" not in message, message


def ten_thousand_phases():
    schedule = Schedule([Phase(**plain(epochs=1, learning_rate=0.1 / n)) for n in range(1, 10_001)])
    assert schedule.plan(1000).updates == 1_000_000
    assert len(schedule.after(examples=5_000_500, train_size=1000).phases) == 5000


def long_smooth_decay():
    """To 0, over 1e9 examples, with every batch size allowed."""
    schedule = Schedule([Phase(epochs=100, batch_size=256, learning_rate=rate("cosine"))])
    (found,) = equivalents(schedule, 10**9, routes="grow-batch")
    assert len(found.schedule.phases) < 2000
    assert finite(found.invariants) is None


def cap_below_the_first_batch():
    for e in equivalents(SCHEDULE, 1000, max_batch_size=3):
        assert {p.batch_size for p in e.schedule.phases} == {3}


def target_below_the_granularity():
    (found,) = equivalents(
        SCHEDULE, 1000, routes="learning-rate", target_batch_size=3, granularity=64
    )
    assert [p.batch_size for p in found.schedule.phases] == [64, 64]
    assert "rounded-to-granularity" in [w.code for w in found.warnings]


def parts_add_up():
    """A phase cut in the middle of an example is as long as before."""
    wsd = rate("wsd", decay={"epochs": 1.625})
    schedule = Schedule([Phase(examples=325, batch_size=64, learning_rate=wsd)])
    for e in equivalents(schedule, 100, routes="grow-batch"):
        assert sum(p.exact_examples(100) for p in e.schedule.phases) == 325


def growth_raises_no_rate():
    """Where the batch takes the decay, the learning rate stays at what it was, or falls."""
    shape = rate("cosine", warmup={"epochs": 5})
    schedule = Schedule([Phase(epochs=90, batch_size=256, learning_rate=shape)])
    for e in equivalents(schedule, 1_281_167, routes="grow-batch"):
        pieces = [piece for row in e.plan.rows for piece in row.rate]
        assert max(max(p.start_value, p.end_value) for p in pieces) < 0.103


def paths_that_are_none():
    for path in (None, 3, [], "a\0b"):
        refusal(lambda path=path: read_document(path))


def plain_terminal():
    """Characters that the terminal lacks are replaced, not fatal."""
    terminal = TextIOWrapper(BytesIO(), encoding="ascii", newline="")
    with redirect_stdout(terminal):
        assert main(FLAGS) == 0
        terminal.flush()


def plot_of_extreme_rates():
    schedule = two_phases(learning_rate=1e100)
    panels = new_figure(2, 2, title="t")
    draw_schedules(panels.axes, {"original": schedule.plan(1000)})
    panels.savefig(BytesIO(), format="svg")


AGREEMENTS = [
    parts_add_up,
    growth_raises_no_rate,
    paths_that_are_none,
    plain_terminal,
    plot_of_extreme_rates,
    epochs_against_updates,
    milestones_between_examples,
    long_phase_between_examples,
    short_phase_between_examples,
    size_of_generated_code,
    names_from_an_iterator,
    exact_epochs,
    odd_epochs_of_update_at,
    documents_that_are_none,
    texts_that_are_none,
    overflow_of_noise_scale,
    momentum_that_rounds_to_one,
    ten_thousand_phases,
    long_smooth_decay,
    cap_below_the_first_batch,
    target_below_the_granularity,
]


@pytest.mark.parametrize("case", AGREEMENTS, ids=lambda case: case.__name__)
def test_agreements(case):
    judge = Judge(f"agreement {case.__name__}")
    try:
        case()
        problem = None
    except (Exception, SystemExit, pytest.fail.Exception) as error:
        problem = f"{type(error).__name__}: {str(error)[:200]}"
    judge.judge("all", problem)
    judge.finish(least=1)


def random_phase(rng):
    """A legal phase of quick size, with every shape."""
    shape = rng.choice(["plain", "step", "linear", "cosine", "exponential", "polynomial", "wsd"])
    epochs = rng.choice([0.5, 1, 2, 3.25])
    batch = rng.choice([1, 8, 10, 32])
    duration = rng.choice(
        [
            {"epochs": epochs},
            {"updates": max(1, int(epochs * 1000 / batch))},
            {"examples": int(epochs * 1000)},
        ]
    )
    value = {"shape": shape, "start": rng.choice([0.1, 0.5, 0.02])}
    if shape == "plain":
        value = value["start"]
    elif shape == "step":
        value |= {"milestones": {"epochs": [0.5 * epochs, 0.75 * epochs]}, "factor": 5}
    elif shape == "exponential":
        value["end"] = 0.001
    elif shape == "wsd":
        value |= {"decay": {"epochs": 0.3 * epochs}, "decay_form": rng.choice(["sqrt", "cosine"])}
    if shape != "plain" and rng.random() < 0.5:
        value["warmup"] = {"epochs": 0.1 * epochs, "start": rng.choice([0.0, 0.01])}
    return {
        **duration,
        "learning_rate": value,
        "batch_size": batch,
        "momentum": rng.choice([0.0, 0.9]),
        "weight_decay": rng.choice([0.0, 5e-4]),
    }


def test_random_legal_recipes():
    """They are never refused, read back as they were, and are the same run as themselves."""
    rng, judge = Random(11), Judge("random")
    for number_ in range(40):
        phases = [random_phase(rng) for _ in range(rng.randint(1, 3))]
        options = {"max_batch_size": rng.choice([32, 64, 1000])} if rng.random() < 0.5 else {}
        if rng.random() < 0.3:
            options["target_batch_size"] = rng.choice([4, 16, 32])
        if rng.random() < 0.3:
            options["granularity"] = rng.choice([2, 8])
        try:
            for e in all_of(phases, 1000, **options):
                sizes = [p.batch_size for p in e.schedule.phases]
                assert max(sizes) <= options.get("max_batch_size", 1000), e.name
                assert not any(b % options.get("granularity", 1) for b in sizes), e.name
            problem = None
        except (Exception, RuntimeWarning) as error:
            problem = f"{type(error).__name__}: {str(error)[:200]}; {phases}"
        judge.judge(f"{number_} {problem and problem[:40]}", problem)
    judge.finish(least=40)


# The most instructive cases, word for word.


def flat(**changes):
    return Phase(**plain(**changes))


EXACT = {
    "no duration": (
        lambda: Phase(learning_rate=0.1, batch_size=1),
        "a phase takes exactly one of epochs, updates, examples; given: none",
    ),
    "two durations": (
        lambda: flat(updates=3),
        "a phase takes exactly one of epochs, updates, examples; given: epochs and updates",
    ),
    "epochs of nan": (
        lambda: flat(epochs=float("nan")),
        "epochs=nan: it must be a finite number above 0",
    ),
    "updates in part": (
        lambda: flat(epochs=None, updates=1.5),
        "updates=1.5: it must be a whole number of at least 1",
    ),
    "true is no number": (
        lambda: flat(batch_size=True),
        "batch_size=True: it must be a whole number of at least 1",
    ),
    "text is no number": (
        lambda: flat(learning_rate="0.1"),
        "learning_rate='0.1': write a number without quotes, or a shape such as {shape='cosine', "
        "start=0.1}",
    ),
    "momentum of 1": (lambda: flat(momentum=1.0), "momentum=1.0: it must lie in [0, 1)"),
    "products would overflow": (
        lambda: flat(learning_rate=1e-101),
        "learning_rate=1e-101: its size must lie in 1e-100 … 1e100",
    ),
    "thousands of digits": (
        lambda: flat(batch_size=10**5000),
        "batch_size=a number of thousands of digits: it must be at most 1e+18",
    ),
    "a shape without its start": (
        lambda: flat(learning_rate={"shape": "cosine"}),
        "learning_rate: a shape needs 'start': write it as {shape='cosine', start=0.1}",
    ),
    "a shape's key misspelt": (
        lambda: flat(learning_rate={"shape": "cosine", "start": 1, "ends": 0}),
        "learning_rate: unknown key of a shape 'ends': did you mean 'end'? known are shape, start, "
        "end, power, timescale, milestones, factor, decay, decay_form, warmup, of, skip",
    ),
    "a key of another shape": (
        lambda: Shape(shape="cosine", start=0.1, power=2),
        "power does not belong to shape 'cosine', only to polynomial",
    ),
    "an exponential to 0": (
        lambda: Shape(shape="exponential", start=0.1),
        "an exponential decay needs an end above 0",
    ),
    "a warm-up without unit": (
        lambda: Shape(shape="cosine", start=0.1, warmup=5),
        "warmup=5: write it as {epochs=5}, with its unit",
    ),
    "a warm-up that fills the phase": (
        lambda: planned_phase(**plain(learning_rate=rate("cosine", warmup={"epochs": 2}))),
        "the warmup of 2,000 examples fills the shape of 2,000: shorten the warmup or lengthen the "
        "phase",
    ),
    "no phase": (
        lambda: Schedule([]),
        "phases is empty: a schedule needs at least one phase",
    ),
    "a phase that is none": (
        lambda: Schedule([{"epochs": 1}]),
        "phases holds {'epochs': 1}: every entry must be a Phase",
    ),
    "no train size": (
        lambda: SCHEDULE.plan(),
        "a duration in epochs needs train_size; give it, or use examples=",
    ),
    "a batch above N": (
        lambda: SCHEDULE.plan(5),
        "batch_size=10 exceeds train_size=5: stop growing the batch and lower the learning rate "
        "instead",
    ),
    "no update": (
        lambda: Schedule([flat(epochs=1e-4)]).plan(1000),
        "the plan has no update under partial='carry': lengthen the phases or lower the batch size",
    ),
    "the run is over": (
        lambda: SCHEDULE.after(examples=4000, train_size=1000),
        "examples=4,000: the run is over after 4,000 examples, so nothing is left",
    ),
    "a route misspelt": (
        lambda: equivalents(SCHEDULE, 1000, routes="learning-rate+grow_batch"),
        "unknown route 'grow_batch': did you mean 'grow-batch'? known are grow-batch, hybrid, "
        "learning-rate, momentum, sqrt, regime-adaptation, regime-adaptation-ceil, accumulate",
    ),
    "no route": (
        lambda: equivalents(SCHEDULE, 1000, routes=[]),
        "routes is empty: name at least one of grow-batch, hybrid, learning-rate, momentum, sqrt, "
        "regime-adaptation, regime-adaptation-ceil, accumulate",
    ),
    "a target above the cap": (
        lambda: equivalents(SCHEDULE, 1000, target_batch_size=64, max_batch_size=32),
        "target_batch_size=64 exceeds max_batch_size=32: lower the target or raise the cap",
    ),
    "momentum cannot shrink so far": (
        lambda: (
            equivalents(SCHEDULE, 100, routes="momentum", target_batch_size=1)[0].name
            and equivalents(two_phases(momentum=0.0), 100, routes="momentum", target_batch_size=5)
        ),
        "route momentum: batch 10 → 5 at momentum 0 would need 1−m = 2 above 1, a negative "
        "momentum: the batch cannot shrink below (1−m) times its size, 10; lower the learning rate "
        "instead",
    ),
    "a batch without end": (
        lambda: equivalents(
            Schedule([Phase(**plain(learning_rate=rate("cosine")))]), routes="grow-batch"
        ),
        "route grow-batch: the learning rate falls to 0, so the batch would grow without end: give "
        "max_batch_size or train_size",
    ),
    "a throughput for no batch": (
        lambda: costs(FOUND, throughput={}),
        "throughput: give examples per second by batch size, {128: 2500.0}",
    ),
    "a batch above N without replacement": (
        lambda: sgd_noise_scale(0.1, 20, 10, finite_population=True),
        "batch_size=20 exceeds train_size=10: a batch without replacement cannot; leave "
        "finite_population off or lower the batch size",
    ),
    "milestones fall": (
        lambda: planned_steps(
            epochs=9, batch_size=1, learning_rate=1, milestones=(4, 3), decay_factor=5
        ),
        "milestones 4 3 must increase from above 0 to below epochs=9",
    ),
    "a format misspelt": (
        lambda: exported(EXPORT, "torch"),
        "unknown format 'torch': did you mean 'pytorch'? known are toml, json, csv, markdown, "
        "optax, pytorch",
    ),
    "a recipe's key misspelt": (
        lambda: schedule_from({"trainsize": 3}),
        "unknown key 'trainsize': did you mean 'train_size'? known are title, train_size, partial, "
        "ema_decay, batch_norm_decay, sources, phase, optimizer, model, data, run, probe",
    ),
    "a phase's key missing": (
        lambda: schedule_from({"phase": [{"epochs": 1}]}),
        "phase 1: missing 'learning_rate' and 'batch_size'",
    ),
}


@pytest.mark.parametrize("name", EXACT)
def test_exact_messages(name):
    call, message = EXACT[name]
    assert refusal(call) == message


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("", "give a recipe file, --recipe NAME, or at least --epochs, --batch-size and "
         "--learning-rate (--epochs is missing)"),
        ("missing.toml", "no file 'missing.toml': check the path"),
        ("folder", "cannot read 'folder': Is a directory"),
        ("file.toml --epochs 5", "--epochs and a recipe: give one or the other"),
        ("file.toml --train-size x", "argument --train-size: invalid whole number value: 'x'"),
        ("file.toml --jso", "unrecognized arguments: --jso"),
        ("file.toml --to toml --json --routes hybrid",
         "--to prints a file: leave --json and --plot out"),
        ("file.toml --diff file.toml --to-batch 5",
         "--diff compares two recipes as they stand: leave --to-batch out"),
        ("file.toml --throughput 10", "--throughput '10': write batch:examples-per-second, as "
         "128:2500"),
        ("file.toml --plot x.bmp", "cannot draw 'x.bmp': end the name in .png, .pdf or .svg"),
        ("file.toml --plot no/x.png", "no folder 'no' for the figure: make it first"),
        ("epochs.toml --plot x.png", "--plot draws against epochs: give --train-size"),
        ("file.toml --at-examples 10000",
         "--at-examples: examples=10,000: the run is over after 10,000 examples, "
         "so nothing is left"),
    ],
)  # fmt: skip
def test_exact_lines(line, message, capsys, folder):
    assert shell_problem(capsys, folder, ["equivalent", *line.split()]) is None
    with pytest.raises(SystemExit):
        main(["equivalent", *line.split()])
    assert capsys.readouterr().err == f"noisescale: error: {message}\n"
