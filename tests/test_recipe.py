import pytest

from noisescale import InputError
from noisescale.recipe import parse_toml, recipe_from, step_schedule

TEXT = """
[[phase]]
epochs = 2
batch_size = 8
learning_rate = 0.1
[[phase]]
epochs = 1
batch_size = 8
learning_rate = 0.02
weight_decay = 0.0
[optimizer]
momentum_form = "velocity"
weight_decay = 5e-4
[model]
width = 32
[data]
name = "mnist"
[run]
seeds = 3
"""


def read(text):
    return recipe_from(parse_toml(text, "recipe.toml"))


def test_every_section():
    recipe = read(TEXT)
    assert [p.weight_decay for p in recipe.schedule.phases] == [5e-4, 0.0]
    assert recipe.optimizer.momentum_form == "velocity"
    assert (recipe.model.width, recipe.data.name, recipe.run.seeds) == (32, "mnist", 3)
    assert (recipe.train_size, recipe.partial, recipe.run.driver) == (None, "carry", "auto")


def test_defaults():
    recipe = read(TEXT.split("[optimizer]")[0])
    assert recipe.optimizer.momentum_form == "trace"
    assert [p.weight_decay for p in recipe.schedule.phases] == [0.0, 0.0]
    assert recipe.schedule.decay == "coupled"


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('momentum_form = "velocity"', 'momentum_form = "velocit"', "did you mean 'velocity'"),
        ('momentum_form = "velocity"', "momentum_form = 3", "unknown optimizer.momentum_form 3"),
        ("weight_decay = 5e-4", "weight_decay = -1", "optimizer.weight_decay=-1"),
        (
            "weight_decay = 5e-4",
            "weigth_decay = 1",
            r"optimizer\] 'weigth_decay': did you mean 'weight_decay'",
        ),
        ("width = 32", "width = 32.5", "model.width=32.5"),
        ("width = 32", "witdh = 32", "did you mean 'width'"),
        ("seeds = 3", "seeds = true", "run.seeds=True"),
        ("seeds = 3", 'driver = "gpu"', "unknown run.driver 'gpu'"),
        ("seeds = 3", "evaluate_every = 0", "run.evaluate_every=0"),
        ("\n[[phase]]\nepochs = 2", "run = 3\n[[phase]]\nepochs = 2", "not a table"),
    ],
)
def test_refuses(old, new, message):
    assert old in TEXT
    text = TEXT.replace(old, new, 1)
    if "run = 3" in text:
        text = text.split("[run]")[0]
    with pytest.raises(InputError, match=message):
        read(text)


def test_step_schedule_divides_decimals():
    schedule = step_schedule(
        epochs=10, batch_size=4, learning_rate=0.3, milestones=(2.5, 7), decay_factor=10
    )
    assert [(p.epochs, p.learning_rate) for p in schedule.phases] == [
        (2.5, 0.3),
        (4.5, 0.03),
        (3.0, 0.003),
    ]


@pytest.mark.parametrize("ending", ["toml", "json"])
def test_a_byte_order_mark_is_no_error(tmp_path, ending):
    from noisescale.recipe import read_document

    path = tmp_path / f"recipe.{ending}"
    text = "train_size = 5" if ending == "toml" else '{"train_size": 5}'
    path.write_text("\ufeff" + text, "utf-8")
    assert read_document(path) == {"train_size": 5}
