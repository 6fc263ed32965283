"""The recipes that ship: each plans, each number has its source, published counts come out."""

from math import ceil, sqrt

import pytest

from noisescale import Phase, Schedule, equivalents
from noisescale.recipe import named_document, named_recipes, schedule_from

# Updates of the recipe's own plan under its own partial-batch policy; train size, momentum, weight
# decay, decay of batch norm's statistics.
KNOWN = {
    "bigbatch-compat-f1-mnist": (750, 60000, 0.9, 1e-4, 0.9),
    "goyal2017-resnet50-imagenet": (450410, 1281167, 0.9, 1e-4, 0.9),
    "goyal2017-resnet50-imagenet-8192": (14075, 1281167, 0.9, 1e-4, 0.9),
    "hoffer2017-c1-cifar10": (78125, 50000, 0.0, 5e-4, 0.9),
    "hoffer2017-c3-cifar100": (78125, 50000, 0.0, 5e-4, 0.9),
    "hoffer2017-f1-mnist": (23438, 60000, 0.9, 1e-4, 0.9),
    "hoffer2017-resnet44-cifar10": (78125, 50000, 0.9, 1e-4, 0.9),
    "hoffer2017-wrn-cifar100": (78125, 50000, 0.9, 1e-4, 0.9),
    "koshian2019-augmentation-cifar10": (39000, 50000, 0.9, 0.0, 0.99),
    "koshian2019-cifar10": (97656, 50000, 0.9, 0.0, None),
    "smith2018-cifar10": (78125, 50000, 0.9, 0.0, None),
    "smith2018-imagenet": (14075, 1281167, 0.9, 0.0, None),
}
# What was not read in the publication or the code itself says so.
NOT_READ = {
    ("bigbatch-compat-f1-mnist", "batch_norm_decay"): "computed",
    ("goyal2017-resnet50-imagenet", "train_size"): "recalled",
    ("goyal2017-resnet50-imagenet-8192", "train_size"): "recalled",
    ("hoffer2017-c1-cifar10", "batch_norm_decay"): "computed",
    ("hoffer2017-c1-cifar10", "phase.batch_size"): "recalled",
    ("hoffer2017-c3-cifar100", "batch_norm_decay"): "computed",
    ("hoffer2017-c3-cifar100", "phase.batch_size"): "recalled",
    ("hoffer2017-f1-mnist", "batch_norm_decay"): "computed",
    ("hoffer2017-f1-mnist", "phase.batch_size"): "recalled",
    ("hoffer2017-resnet44-cifar10", "batch_norm_decay"): "computed",
    ("hoffer2017-resnet44-cifar10", "phase.batch_size"): "recalled",
    ("hoffer2017-wrn-cifar100", "batch_norm_decay"): "computed",
    ("hoffer2017-wrn-cifar100", "phase.batch_size"): "recalled",
    ("koshian2019-cifar10", "model.width"): "recalled",
    ("smith2018-cifar10", "phase.epochs"): "inferred",
    ("smith2018-imagenet", "train_size"): "recalled",
    ("smith2018-imagenet", "phase.epochs"): "inferred",
    ("smith2018-imagenet", "phase.learning_rate"): "recalled",
}


def recipe(name):
    return schedule_from(named_document(name))


def route(name, *steps, **options):
    """The routes one after the other; a step is a route, or a pair of it and its own options."""
    schedule, train_size, partial = recipe(name)
    options = {"partial": partial, **options}
    found = None
    for step in steps:
        step, own = (step, {}) if isinstance(step, str) else step
        (found,) = equivalents(schedule, train_size, routes=[step], **options, **own)
        schedule = found.schedule
    return found


def rates(schedule):
    return [phase.learning_rate for phase in schedule.phases]


def batches(schedule):
    return [phase.batch_size for phase in schedule.phases]


# Sources.


def has_number(value):
    if isinstance(value, dict):
        return any(has_number(inner) for inner in value.values())
    if isinstance(value, list):
        return any(has_number(inner) for inner in value)
    return isinstance(value, int | float) and not isinstance(value, bool)


def dotted(document):
    """Every value by the name that [sources] gives it: "train_size", "phase.epochs", …"""
    for key, value in document.items():
        if key == "sources":
            continue
        for block in value if isinstance(value, list) else [value]:
            if isinstance(block, dict):
                yield from ((f"{key}.{inner}", held) for inner, held in block.items())
            else:
                yield key, block


def source_faults(document):
    """Numbers without a source, and sources of what is not in the recipe."""
    sources = document.get("sources", {})
    values = list(dotted(document))
    numbers = {key for key, value in values if has_number(value)}
    told = {key for key, text in sources.items() if text.strip()}
    unsourced = [f"{key} has no source" for key in sorted(numbers - told)]
    spare = sorted(set(sources) - {key for key, _ in values})
    return unsourced + [f"{key} is not in the recipe" for key in spare]


@pytest.mark.parametrize("name", sorted(named_recipes()))
def test_every_number_has_a_source(name):
    assert source_faults(named_document(name)) == []


@pytest.mark.parametrize("name", sorted(named_recipes()))
def test_a_source_taken_away_is_missed(name):
    keys = [k for k, v in dotted(named_document(name)) if has_number(v)]
    assert {"train_size", "phase.epochs", "phase.batch_size", "phase.learning_rate"} <= set(keys)
    for key in keys:
        document = named_document(name)
        del document["sources"][key]
        assert source_faults(document) == [f"{key} has no source"]
        document["sources"][key] = " "
        assert source_faults(document) == [f"{key} has no source"]


def test_a_number_inside_a_shape_needs_a_source():
    document = named_document("goyal2017-resnet50-imagenet-8192")
    del document["sources"]["phase.learning_rate"]
    document["phase"] = document["phase"][:1]  # only the shape is left
    assert source_faults(document) == ["phase.learning_rate has no source"]


def test_a_source_of_nothing_is_told():
    document = named_document("smith2018-cifar10")
    document["sources"]["phase.weight_decay"] = "nowhere"
    assert source_faults(document) == ["phase.weight_decay is not in the recipe"]
    del document["sources"]
    assert len(source_faults(document)) == 7


@pytest.mark.parametrize(("name", "key"), NOT_READ)
def test_what_was_not_read_says_so(name, key):
    assert NOT_READ[name, key] in named_document(name)["sources"][key]


# Plans.


def test_the_recipes_are_these():
    assert sorted(named_recipes()) == sorted(KNOWN)


@pytest.mark.parametrize("name", KNOWN)
def test_plans_at_its_train_size(name):
    schedule, train_size, partial = recipe(name)
    (pair,) = {(p.momentum, p.weight_decay) for p in schedule.phases}
    updates = schedule.plan(train_size, partial).updates
    assert (updates, train_size, *pair, schedule.batch_norm_decay) == KNOWN[name]
    assert named_document(name)["title"]


@pytest.mark.parametrize("name", KNOWN)
def test_every_default_route_finds_something(name):
    schedule, train_size, partial = recipe(name)
    found = {e.name for e in equivalents(schedule, train_size, partial=partial)}
    assert {"grow-batch", "hybrid", "learning-rate", "momentum", "sqrt"} <= found


# Smith, Kindermans, Ying & Le 2018, CIFAR-10.

LARGER_RATE = (
    "learning-rate+grow-batch",
    {"target_batch_size": 640, "max_batch_size": 5120},
)
# The rate first, then the momentum, then the batch.
LARGER_MOMENTUM = (
    ("learning-rate", {"target_batch_size": 640}),
    ("momentum", {"target_batch_size": 3200}),
    ("grow-batch", {"max_batch_size": 5120}),
)


def test_smith_cifar10_original():
    schedule, train_size, partial = recipe("smith2018-cifar10")
    plan = schedule.plan(train_size, partial)
    assert rates(schedule) == [0.1, 0.02, 0.004, 0.0008]
    assert [row.start_update for row in plan.rows] == [0, 23438, 46875, 62500]
    # The published "about 80,000".
    assert (plan.updates, round(plan.updates, -4)) == (78125, 80000)
    assert plan.rows[0].noise_scale / train_size == pytest.approx(0.0078125, rel=1e-12)


@pytest.mark.parametrize(
    ("routes", "carried", "kept"),
    [
        ([("grow-batch", {"max_batch_size": 5120})], 29141, 29240),
        (["hybrid"], 34375, 34520),
        ([LARGER_RATE], 6406, 6500),
        (LARGER_MOMENTUM, 2305, 2360),
    ],
)
def test_smith_cifar10_updates(routes, carried, kept):
    assert route("smith2018-cifar10", *routes, partial="carry").updates == carried
    # With the last, smaller batch of every epoch: 60 ⌈N/B_1⌉ + 60 ⌈N/B_2⌉ + ….
    assert route("smith2018-cifar10", *routes, partial="keep").updates == kept


def test_smith_cifar10_published_counts():
    # Section 5.2: about 29,000, fewer than 6,500, fewer than 2,500.
    growing = route("smith2018-cifar10", "grow-batch", max_batch_size=5120)
    assert round(growing.updates, -3) == 29000
    assert batches(growing.schedule) == [128, 640, 3200, 5120]
    faster = route("smith2018-cifar10", LARGER_RATE)
    assert 6000 < faster.updates < 6500
    assert (rates(faster.schedule)[0], batches(faster.schedule)[0]) == (0.5, 640)
    heavier = route("smith2018-cifar10", *LARGER_MOMENTUM)
    assert 2000 < heavier.updates < 2500
    first = heavier.schedule.phases[0]
    assert (first.learning_rate, first.batch_size, first.momentum) == (0.5, 3200, 0.98)
    for found in (growing, faster, heavier):
        assert found.plan.rows[0].noise_scale / 50000 == pytest.approx(0.0078125, rel=1e-12)


def test_smith_cifar10_written_out():
    """The same count from the published numbers themselves, without the recipe or a route."""
    published = [(60, 0.1, 128), (60, 0.1, 640), (40, 0.1, 3200), (40, 0.032, 5120)]
    phases = [
        Phase(epochs=epochs, learning_rate=rate, batch_size=batch, momentum=0.9)
        for epochs, rate, batch in published
    ]
    found = route("smith2018-cifar10", "grow-batch", max_batch_size=5120)
    assert found.schedule == Schedule(tuple(phases))


# Smith, Kindermans, Ying & Le 2018, ImageNet.


def test_smith_imagenet_original():
    schedule, train_size, partial = recipe("smith2018-imagenet")
    plan = schedule.plan(train_size, partial)
    assert (plan.updates, round(plan.updates, -3)) == (14075, 14000)
    assert plan.rows[0].noise_scale == pytest.approx(4691.8, abs=0.05)


@pytest.mark.parametrize(
    ("name", "options", "updates", "below"),
    [
        ("hybrid", {}, 5630, 6000),
        ("hybrid", {"max_batch_size": 65536}, 5865, 6000),
        ("grow-batch", {"max_batch_size": 65536}, 5865, 6000),
        (
            "momentum+grow-batch",
            {"target_batch_size": 32768, "max_batch_size": 65536},
            2346,
            2500,
        ),
        (
            "momentum+grow-batch",
            {"target_batch_size": 16384, "max_batch_size": 65536},
            3519,
            None,
        ),
    ],
)
def test_smith_imagenet_updates(name, options, updates, below):
    found = route("smith2018-imagenet", name, **options)
    assert found.updates == updates
    assert below is None or found.updates < below
    assert found.plan.rows[0].noise_scale == pytest.approx(4691.8, abs=0.05)


@pytest.mark.parametrize(("target", "momentum"), [(16384, 0.95), (32768, 0.975)])
def test_smith_imagenet_momentum(target, momentum):
    found = route("smith2018-imagenet", "momentum", target_batch_size=target)
    assert {p.momentum for p in found.schedule.phases} == {momentum}
    assert rates(found.schedule) == [3.0, 0.3, 0.03, 0.003]


# Hoffer, Hubara & Soudry 2017.


@pytest.mark.parametrize(
    ("name", "milestones", "levels"),
    [
        ("resnet44-cifar10", [0, 81, 122, 164, 200], [0.1, 0.01, 0.001, 0.0001]),
        ("wrn-cifar100", [0, 60, 120, 140, 200], [0.1, 0.02, 0.004, 0.0001]),
        ("f1-mnist", [0, 10, 20, 30, 50], [0.1, 0.01, 0.001, 0.0001]),
        ("c1-cifar10", [0, 60, 120, 180, 200], [0.001, 0.01, 0.001, 0.0001]),
    ],
)
def test_hoffer_regimes(name, milestones, levels):
    schedule, _, _ = recipe(f"hoffer2017-{name}")
    ends = [sum(p.epochs for p in schedule.phases[:j]) for j in range(5)]
    assert (ends, rates(schedule)) == (milestones, levels)
    assert set(batches(schedule)) == {128}


@pytest.mark.parametrize("target", [1024, 2048, 4096])
@pytest.mark.parametrize("name", [n for n in KNOWN if n.startswith("hoffer2017")])
def test_regime_adaptation_keeps_updates_and_milestones(name, target):
    schedule, train_size, partial = recipe(name)
    before = schedule.plan(train_size, partial)
    after = route(name, "regime-adaptation", target_batch_size=target).plan
    assert [(r.start_update, r.updates) for r in after.rows] == [
        (r.start_update, r.updates) for r in before.rows
    ]
    assert {r.batch_size for r in after.rows} == {target}


def test_resnet44_first_drop():
    # 81·50000/128 = 31,640.6: where the published error curves drop, about 31,600.
    schedule, train_size, _ = recipe("hoffer2017-resnet44-cifar10")
    assert schedule.plan(train_size).rows[1].start_update == 31641
    # The released loader keeps the last batch of every epoch: 81·391, and 81·16·25 at 2,048.
    assert schedule.plan(train_size, "keep").rows[1].start_update == 31671
    adapted = route(
        "hoffer2017-resnet44-cifar10", "regime-adaptation", target_batch_size=2048, partial="keep"
    )
    assert adapted.plan.rows[1].start_update == 32400


# main_gbn.py of the released code scales from 128, main_normal.py from 256.
@pytest.mark.parametrize(("base", "factor"), [(None, 4.0), (128, 4.0), (256, 2.828)])
def test_sqrt_rule_counts_from_the_declared_base(base, factor):
    found = route(
        "hoffer2017-resnet44-cifar10", "sqrt", target_batch_size=2048, base_batch_size=base
    )
    assert rates(found.schedule) == pytest.approx(
        [factor * rate for rate in (0.1, 0.01, 0.001, 0.0001)], rel=2e-4
    )
    assert rates(found.schedule)[0] == pytest.approx(0.1 * sqrt(2048 / (base or 128)), rel=1e-12)


@pytest.mark.parametrize(
    ("base", "target"), [(128, 2048), (128, 2000), (256, 2048), (256, 3000), (256, 4096)]
)
def test_regime_adaptation_of_the_released_code(base, target):
    options = {"target_batch_size": target, "base_batch_size": base}
    found = route("hoffer2017-resnet44-cifar10", "regime-adaptation-ceil", **options)
    times = ceil(target / base)
    assert [p.epochs for p in found.schedule.phases] == [times * e for e in (81, 41, 42, 36)]
    assert rates(found.schedule)[0] == pytest.approx(0.1 * sqrt(target / base), rel=1e-12)
    exact = route("hoffer2017-resnet44-cifar10", "regime-adaptation", **options)
    assert exact.schedule.phases[0].epochs == pytest.approx(81 * target / base, rel=1e-12)
    assert (found.schedule == exact.schedule) == (target % base == 0)


def test_regime_adaptation_from_256_halves_the_updates():
    found = route(
        "hoffer2017-resnet44-cifar10",
        "regime-adaptation",
        target_batch_size=2048,
        base_batch_size=256,
    )
    assert (found.updates, found.plan.updates_exact) == (39063, 39062.5)


# Goyal et al. 2017.


def test_goyal_warm_up():
    schedule, train_size, partial = recipe("goyal2017-resnet50-imagenet-8192")
    learning_rates = schedule.plan(train_size, partial).learning_rates()
    updates_per_epoch = train_size / 8192
    # The update nearest to an epoch is within half an update of it.
    step = 3.1 / (5 * updates_per_epoch)
    for epoch, rate in ((0, 0.1), (2.5, 1.65), (5, 3.2)):
        assert learning_rates[round(epoch * updates_per_epoch)] == pytest.approx(
            rate, abs=0.51 * step
        )
    assert learning_rates[0] == 0.1
    assert learning_rates[781] < 3.2 == learning_rates[782]
    assert learning_rates[391] == pytest.approx(0.1 + 391 * step, rel=1e-12)
    drops = [
        (int(i), float(learning_rates[i]))
        for i in range(783, 14075)
        if learning_rates[i] != learning_rates[i - 1]
    ]
    assert drops == [(4692, 0.32), (9384, 0.032), (12511, 0.0032)]


def test_goyal_linear_rule():
    found = route("goyal2017-resnet50-imagenet", "learning-rate", target_batch_size=8192)
    large, train_size, partial = recipe("goyal2017-resnet50-imagenet-8192")
    assert rates(found.schedule) == [3.2, 0.32, 0.032, 0.0032]
    # The authors' large batch is this but for the warm-up.
    assert found.schedule.phases[1:] == large.phases[1:]
    first = large.phases[0]
    assert found.schedule.phases[0] == first.changed(learning_rate=first.learning_rate.start)
    assert found.updates == large.plan(train_size, partial).updates == 14075


# Koshian 2019.


def test_koshian_arms():
    name = "koshian2019-cifar10"
    schedule, train_size, partial = recipe(name)
    plan = schedule.plan(train_size, partial)
    assert (plan.updates, plan.updates_exact) == (97656, 97656.25)
    assert [row.start_update for row in plan.rows] == [0, 39063, 58594, 78125]
    growing = route(name, "grow-batch")
    assert batches(growing.schedule) == [128, 640, 3200, 16000]
    assert rates(growing.schedule) == [0.1] * 4
    assert (growing.updates, growing.plan.updates_exact) == (43906, 43906.25)
    heavier = route(name, "momentum", target_batch_size=640)
    assert {(p.batch_size, p.momentum) for p in heavier.schedule.phases} == {(640, 0.98)}
    assert rates(heavier.schedule) == [0.1, 0.02, 0.004, 0.0008]
    faster = route(name, "learning-rate", target_batch_size=640)
    assert {(p.batch_size, p.momentum) for p in faster.schedule.phases} == {(640, 0.9)}
    assert rates(faster.schedule) == [0.5, 0.1, 0.02, 0.004]
    assert heavier.updates == faster.updates == 19531


@pytest.mark.parametrize("batch", [128, 256, 512, 1024, 2048, 4096, 8192])
def test_koshian_seven_batch_sizes(batch):
    # The post's code: learning rate 0.1·B/128, and 100 epochs of N // B updates.
    found = route("koshian2019-augmentation-cifar10", "learning-rate", target_batch_size=batch)
    levels = [0.1 * batch / 128 / 10**j for j in range(3)]
    assert rates(found.schedule) == pytest.approx(levels, rel=1e-12)
    assert [row.updates for row in found.plan.rows] == [
        epochs * (50000 // batch) for epochs in (60, 25, 15)
    ]
