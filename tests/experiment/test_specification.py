from pathlib import Path

import pytest

from noisescale import InputError
from noisescale.experiment import find_experiment, read_experiment
from noisescale.experiment.parsing import built_in, parse_experiment

TEXT = find_experiment("increase-batch-size").text


def changed(old, new):
    assert old in TEXT
    return TEXT.replace(old, new, 1)


@pytest.mark.parametrize(
    ("name", "dataset"), [(n, d) for n, files in built_in().items() for d in files]
)
def test_every_built_in_experiment_plans(name, dataset):
    chosen = {"preset": dataset} if dataset == "paper" else {"dataset": dataset}
    experiment = find_experiment(name, **chosen)
    assert experiment.name == name
    assert experiment.base.data.name == built_in()[name][dataset].split(".")[1]
    arms = experiment.planned(experiment.base.train_size)
    assert len(arms) == len(experiment.arms) > 1


@pytest.mark.parametrize("dataset", built_in()["increase-batch-size"])
def test_the_arms_of_the_blog(dataset):
    chosen = {"preset": dataset} if dataset == "paper" else {"dataset": dataset}
    experiment = find_experiment("increase-batch-size", **chosen)
    arms = experiment.planned(experiment.base.train_size)
    assert len(arms) == 7
    by_name = {arm.name: arm for arm in arms}
    first = by_name["baseline"].plan.rows[0]
    rate = by_name["increase-learning-rate"].plan.rows[0]
    heavy = by_name["increase-momentum"].plan.rows[0]
    # The blog's ratios: × 5 per step, .9 → .98, the batch grown by 5, 25, 125.
    assert rate.batch_size == 5 * first.batch_size
    assert rate.learning_rate == pytest.approx(5 * first.learning_rate)
    assert (heavy.batch_size, heavy.momentum) == (5 * first.batch_size, 0.98)
    grown = [r.batch_size for r in by_name["increase-batch-size"].plan.rows]
    assert [b / first.batch_size for b in grown] == [1, 5, 25, 125]
    for arm in arms[:4]:
        old, new = by_name["baseline"].plan.sde_time, arm.plan.sde_time
        assert new == pytest.approx(old, rel=0.01)
    margins = [p.margin for p in experiment.predictions if p.kind == "same"]
    assert all(m > 0 for m in margins)


def test_presets():
    """quick: digits; cpu: the largest data set that has no accelerator's size; paper: as published.

    distance-growth and others have no paper file; a preset and a data set that differ are refused.
    """
    small, middle, large = (
        find_experiment("increase-batch-size", preset=p) for p in ("quick", "cpu", "paper")
    )
    assert small.sha256 == find_experiment("increase-batch-size").sha256
    assert middle.sha256 == find_experiment("increase-batch-size", "cifar10").sha256
    assert large.base.data.name == "cifar10"
    fraction = large.fraction_of_protocol(large.base.train_size)
    assert fraction == pytest.approx(1, rel=1e-4)  # whole updates
    again = find_experiment("increase-batch-size", "cifar10", "paper")
    assert again.sha256 == large.sha256
    cpu = find_experiment("train-longer", preset="cpu")
    assert cpu.sha256 == find_experiment("train-longer", "mnist").sha256
    assert find_experiment("train-longer", preset="paper").base.data.name == "cifar10"
    with pytest.raises(InputError, match=r"has no preset 'paper': it has .*cpu \(mnist\)"):
        find_experiment("distance-growth", preset="paper")
    with pytest.raises(InputError, match="did you mean 'paper'"):
        find_experiment("increase-batch-size", preset="papers")
    with pytest.raises(InputError, match="'paper' of increase-batch-size is on cifar10"):
        find_experiment("increase-batch-size", "mnist", "paper")
    with pytest.raises(InputError, match="not to a file"):
        find_experiment("some.toml", preset="quick")
    # An experiment without a digits file: its only data set.
    only = find_experiment("momentum-or-learning-rate")
    assert only.base.data.name == "cifar10"


def test_fraction_of_protocol():
    experiment = find_experiment("increase-batch-size", "digits")
    assert experiment.fraction_of_protocol(1437) == pytest.approx(1437 * 50 / (50000 * 250), 1e-3)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("name = ", "not valid TOML"),
        ("name = 'x'", "'title' is missing"),
        (changed('title = "', 'titel = "x"\ntitle = "'), "did you mean 'title'"),
        (changed('kind = "same"', 'kind = "sam"'), "did you mean 'same'"),
        (changed('metric = "train_loss"', 'metric = "loss"'), "unknown metric 'loss'"),
        (changed("margin = 0.2", "margin = 0"), "margin=0.*above 0"),
        (changed("margin = 0.002", "margin = -1"), "margin=-1.*at least 0"),
        (changed('name = "baseline"', "target_batch_size = [32]"), "give it a name"),
        (changed("margin = 0.2", 'margin = "wide"'), "must be a finite number"),
        (changed('"increase-batch-size"]', '"increase-batch-sise"]'), "did you mean"),
        (changed('aa = "baseline-again"', 'aa = "nobody"'), "unknown arm in"),
        (changed('name = "batch-only"', 'name = "baseline"'), "named twice"),
        (changed("momentum = 0.9", "momentun = 0.9"), "did you mean 'momentum'"),
        (changed("momentum = 0.9", "momentum = 1.9"), "momentum=1.9"),
        (changed("batch_size = 8", ""), "missing"),
        (changed("width = 64", "width = 0"), "model.width=0"),
        (changed('name = "digits"', 'name = "digit"'), "did you mean 'digits'"),
        (changed("seeds = 20", "sedes = 20"), "did you mean 'seeds'"),
        (changed("below = 0.1", ""), "missing"),
        (changed('controls = ["batch-only"]', 'controls = ["baseline"]'), "positive control"),
        (changed('positive = ["batch-only", "not-decayed"]', "positive = []"), "positive is empty"),
        (changed('kind = "worse"', 'kind = "worse"\nat = "curve"'), "final values"),
        (changed("margin = 0.2", "margin = nan"), "margin=nan must be a finite number"),
        (changed("below = 0.1", "below = inf"), "below=inf must be a finite number"),
        (changed("below = 0.1", "below = 0"), r"gate\.below=0"),
        (changed("epochs = 250", "epochs = inf"), "epochs=inf must be a finite number"),
        (changed('aa = "baseline-again"', 'aa = "baseline"'), "in two roles"),
        (changed('positive = ["batch-only"', 'positive = ["baseline"'), "in two roles"),
        (changed('aa = "baseline-again"', 'aa = "batch-only"'), "in two roles"),
        (TEXT.replace('"batch-only"', '"../../pwn"'), "as in a file name"),
        (changed('name = "increase-batch-size"', 'name = "a/b"'), "as in a file name"),
        (TEXT.replace('"batch-only"', '"' + 65 * "a" + '"'), "as in a file name"),
        (changed('route = "grow-batch"', "granularity = 8"), "granularity belongs to a route"),
        (changed("width = 64", "width = 1000000000000"), "model.width=1000000000000"),
        (changed("learning_rate = 0.005", "learning_rate = 1e308"), "1e-100"),
        (changed("learning_rate = 0.005", "learning_rate = " + 400 * "9"), "learning_rate"),
        (changed("train_size = 1437", "train_size = " + 5000 * "9"), "not valid TOML"),
        (changed("below = 0.1", 'below = 0.1\nmay_fail = ["nobody"]'), "arm in gate.may_fail"),
        (changed("below = 0.1", 'below = 0.1\nmay_fail = ["baseline"]'), "must not fail"),
        (changed('route = "grow-batch"', "target_batch_size = [8, 8]"), "list of different ones"),
        (changed('route = "grow-batch"', "target_batch_size = []"), "list of different ones"),
        ("a = " + 5000 * "[", "nested too deeply|not valid TOML"),
    ],
)
def test_refuses(text, message):
    with pytest.raises(InputError, match=message):
        parse_experiment(text, "here.toml")


def test_refuses_when_planned():
    experiment = parse_experiment(changed('route = "grow-batch"', 'route = "grow"'), "x")
    with pytest.raises(InputError, match="arm 'increase-batch-size': unknown route"):
        experiment.planned(1437)
    with pytest.raises(InputError, match=r"base\.train_size=1437, but the data set has 100"):
        find_experiment("increase-batch-size").planned(100)
    text = changed('"phase.batch_size" = 40', '"batch_size" = 40')
    with pytest.raises(InputError, match="write section"):
        parse_experiment(text, "x").planned(1437)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (changed('"run.replica" = 1', '"run.replica" = 0'), "A/A control"),
        (changed('"run.replica" = 1', '"phase.momentum" = 0.5'), "A/A control"),
        (changed('"phase.batch_size" = 40', '"phase.batch_size" = 8'), "is the same run as"),
        (changed('route = "grow-batch"', ""), "are one run to the end"),
        (changed('"phase.batch_size" = 40', '"run.evaluate_every" = 2.0'), "evaluate_every"),
        (changed('"phase.batch_size" = 40', '"data.subset" = 9'), r"it changes \[data\]"),
        (changed('"phase.batch_size" = 40', '"phase.epochs" = 9'), "lasts 36 epochs"),
        (changed('"phase.batch_size" = 40', '"phase.epochs" = 1e50'), "at most 1e"),
        (changed('"phase.batch_size" = 40', '"train_size.x" = 5'), "unknown section"),
        (changed('"phase.batch_size" = 40', '"phase.colour" = 5'), "unknown key 'colour'"),
        (changed('"phase.batch_size" = 40', '"phase.5.epochs" = 5'), "number them from 1 to 4"),
        (changed('"phase.batch_size" = 40', '"run.until_distance" = [1.0]'), "at a distance"),
        (changed('"phase.batch_size" = 40', '"run.seeds" = 3'), "run.seeds"),
        (changed('"phase.batch_size" = 40', "phase.batch_size = 40"), "quote the key"),
        (
            changed('{ "run.replica" = 1 }', '{ "run.replica" = 1, "run.micro_batch_size" = 4 }'),
            "A/A control",
        ),
        (changed('"phase.batch_size" = 40', '"phase.0.epochs" = 5'), "number them from 1 to 4"),
    ],
)
def test_refuses_what_could_say_nothing(text, message):
    with pytest.raises(InputError, match=message):
        parse_experiment(text, "x").planned(1437)


def test_finds_by_name_or_path(tmp_path):
    with pytest.raises(InputError, match="did you mean 'increase-batch-size'"):
        find_experiment("increase-batchsize")
    with pytest.raises(InputError, match="unknown data set"):
        find_experiment("increase-batch-size", "imagenet")
    with pytest.raises(InputError, match="no file"):
        find_experiment(str(tmp_path / "none.toml"))
    with pytest.raises(InputError, match="cannot read"):
        read_experiment(tmp_path)
    path = tmp_path / "mine.toml"
    path.write_text(TEXT)
    assert find_experiment(str(path)).sha256 == find_experiment("increase-batch-size").sha256
    with pytest.raises(InputError, match="--dataset says 'mnist'"):
        find_experiment(str(path), "mnist")
    assert isinstance(path, Path)
