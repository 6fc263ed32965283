"""Networks: parameter counts, a naive twin, independence of the batch, one's own modules."""

import math
from itertools import pairwise

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from noisescale.errors import InputError
from noisescale.recipe import named_document, named_recipes, recipe_from
from noisescale.recipe.model import FAMILIES, ModelConfig
from noisescale.training.models import build_model
from noisescale.training.models.forward import Pass, norms_of
from noisescale.training.models.layers import (
    Convolution,
    Linear,
    average_pool,
    initial,
    max_pool,
)
from noisescale.training.parameters import parameters_of
from tests.reference import networks as twins

CIFAR = (32, 32, 3)
F1 = {"width": 512, "depth": 5, "batch_norm": True}
# (name, options, image shape, classes, parameters, source)
PUBLISHED = [
    ("multilayer-perceptron", F1, (28, 28, 1), 10, 1_462_794, "bigBatch, mnist_f1.py"),
    ("c1", {}, CIFAR, 10, 1_388_490, "bigBatch, cifar_shallow.py"),
    ("c3", {}, CIFAR, 100, 1_405_860, "bigBatch, cifar_shallow.py"),
    ("resnet", {}, CIFAR, 10, 661_338, "bigBatch, resnet.py"),
    ("wide-resnet", {}, CIFAR, 10, 2_777_674, "bigBatch, wide_resnet.py"),
    ("wide-resnet", {"block": "pre-activation"}, CIFAR, 10, 2_748_890, "its authors'"),
    ("alexnet", {}, (224, 224, 3), 1000, 61_100_840, "torchvision"),
    # Without a published code: 9 (convolution + bias + norm) and a dense layer, by hand.
    ("ten-layer-cnn", {}, CIFAR, 10, 1_925_258, "computed below"),
    ("vgg", {}, CIFAR, 10, 14_728_266, "VGG-16 with batch norm and one dense layer"),
]
SMALL = {
    "multilayer-perceptron": {"width": 8, "depth": 2, "batch_norm": True, "dropout": 0.5},
    "ten-layer-cnn": {"width": 2},
    "c1": {"width": 4},
    "c3": {"width": 4},
    "resnet": {"width": 2, "depth": 14},
    "wide-resnet": {"width": 4, "depth": 10},
    "vgg": {"width": 2, "depth": 11},
    "alexnet": {"width": 2},
}
CASES = [
    *SMALL.items(),
    ("wide-resnet", {"width": 32, "depth": 10, "block": "pre-activation", "dropout": 0.3}),
    ("ten-layer-cnn", {"width": 2, "batch_norm": False}),
    ("alexnet", {"width": 2, "batch_norm": True}),
]


def shape_of(name):
    return (67, 63, 3) if name == "alexnet" else CIFAR


def built(name, options, classes=10, seed=0):
    config = ModelConfig(name=name, **options)
    return build_model(config, shape_of(name), classes, jax.random.key(seed))


def images(name, number, seed=0):
    return np.random.default_rng(seed).random((number, *shape_of(name)), np.float32)


@pytest.mark.parametrize(("name", "options", "shape", "classes", "number", "source"), PUBLISHED)
def test_parameter_counts(name, options, shape, classes, number, source):
    config = ModelConfig(name=name, **options)
    model = eqx.filter_eval_shape(build_model, config, shape, classes, jax.random.key(0))
    weights, _ = eqx.partition(model, lambda a: isinstance(a, jax.ShapeDtypeStruct))
    assert sum(p.size for p in parameters_of(weights)) == number


def test_the_count_of_the_ten_layers():
    sizes = [3, 64, 64, 64, 128, 128, 128, 256, 256, 256]
    layers = [9 * a * b + b + 2 * b for a, b in pairwise(sizes)]
    assert sum(layers) + 256 * 10 + 10 == 1_925_258


def test_every_family_is_here():
    assert set(SMALL) == set(FAMILIES)


@pytest.mark.parametrize(("name", "options"), CASES)
def test_logits_are_the_float64_twins(name, options):
    """In training mode without draws, two ghosts and padding, and in evaluation."""
    model = built(name, options)
    # Norms and biases that are not 0 and 1, so that none can be forgotten.
    leaves, structure = jax.tree.flatten(model)
    rng = np.random.default_rng(1)
    leaves = [
        a + jnp.asarray(rng.uniform(0.0, 0.3, a.shape), a.dtype)
        if eqx.is_array(a) and a.ndim == 1
        else a
        for a in leaves
    ]
    model = jax.tree.unflatten(structure, leaves)
    x = images(name, 8)
    counts = np.array([1, 1, 1, 1, 1, 1, 1, 0], np.float32)
    logits, moments = jax.jit(lambda m, x: m(x, Pass(jnp.asarray(counts), 2, None, None)))(model, x)
    true, statistics = twins.forward(name, options, model, x, counts, ghosts=2)
    np.testing.assert_allclose(
        np.asarray(logits)[:7], true[:7], rtol=1e-3, atol=1e-3 * np.abs(true).max()
    )
    assert len(moments) == len(statistics) == len(norms_of(model))
    for found, (mean, variance) in zip(moments, statistics, strict=True):
        scale = np.abs(mean).max()
        np.testing.assert_allclose(found.mean, mean, rtol=2e-3, atol=2e-4 * scale)
        np.testing.assert_allclose(found.variance, variance, rtol=5e-3, atol=1e-4 * scale**2)


@pytest.mark.parametrize(("name", "options"), CASES)
def test_evaluation_does_not_depend_on_the_batch(name, options):
    model = built(name, options)
    x = images(name, 6)
    running = model.start_statistics()
    run = jax.jit(lambda x, n: model(x, Pass(jnp.ones(len(x)), 1, None, running))[0])
    together = run(x, 6)
    alone = np.concatenate([run(x[k : k + 1], 1) for k in range(6)])
    np.testing.assert_allclose(together, alone, rtol=1e-4, atol=1e-5)


# Each compiles two gradients; the small perceptron and the ten layers run by default.
_QUICK = ("multilayer-perceptron", "ten-layer-cnn")


@pytest.mark.parametrize(
    ("name", "options"),
    [pytest.param(*c, marks=() if c[0] in _QUICK else pytest.mark.long) for c in CASES],
)
def test_bfloat16_is_float32_to_its_precision(name, options):
    model = built(name, options)
    x = jnp.asarray(images(name, 8))

    def loss(model, dtype):
        how = Pass(jnp.ones(8), 2, None, None, dtype)
        logits, moments = model(x, how)
        return jnp.mean(jax.nn.logsumexp(logits, axis=1) - logits[:, 0]), (logits, moments)

    gradient = eqx.filter_jit(eqx.filter_grad(loss, has_aux=True))
    exact, (logits, _) = gradient(model, "float32")
    rough, (short, moments) = gradient(model, "bfloat16")
    assert short.dtype == jnp.float32
    assert all(m.mean.dtype == jnp.float32 for m in moments)
    assert all(a.dtype == jnp.float32 for a in jax.tree.leaves(rough) if eqx.is_array(a))
    spread = float(jnp.max(jnp.abs(logits)))
    difference = float(jnp.max(jnp.abs(short - logits)))
    # 8 bits of precision, 2^-8 a product; batch norm over few examples magnifies it.
    assert 0 < difference < 0.15 * spread
    flat = [np.concatenate([np.ravel(a) for a in jax.tree.leaves(g)]) for g in (exact, rough)]
    cosine = flat[0] @ flat[1] / np.linalg.norm(flat[0]) / np.linalg.norm(flat[1])
    assert cosine > 0.85


@pytest.mark.parametrize("law", ["he-fan-in", "he-fan-out", "glorot", "fan-in", "small"])
def test_variances_of_initial_weights(law):
    shape = (3, 3, 40, 60)
    n_in, n_out = 9 * 40, 9 * 60
    true = {
        "he-fan-in": 2 / n_in,
        "he-fan-out": 2 / n_out,
        "glorot": 2 / (n_in + n_out),
        "fan-in": 1 / (3 * n_in),
        "small": 1e-4,
    }[law]
    drawn = np.asarray(initial(jax.random.key(3), shape, law), np.float64)
    # Var of the sample variance: (kurtosis − 1) σ⁴/n; kurtosis 3 or 9/5; k = 5.
    kurtosis = 1.8 if law in ("glorot", "fan-in") else 3.0
    error = true * math.sqrt((kurtosis - 1) / drawn.size)
    assert abs(drawn.var() - true) < 5 * error
    assert abs(drawn.mean()) < 5 * math.sqrt(true / drawn.size)


def test_layers_by_hand():
    x = np.arange(2 * 5 * 4 * 1, dtype=np.float32).reshape(2, 5, 4, 1)
    pooled = np.asarray(average_pool(jnp.asarray(x), 2))
    assert pooled.shape == (2, 2, 2, 1)
    assert pooled[0, 0, 0, 0] == x[0, :2, :2, 0].mean()
    assert pooled[1, 1, 1, 0] == x[1, 2:4, 2:4, 0].mean()
    largest = np.asarray(max_pool(jnp.asarray(-x), 3, 2))
    assert largest.shape == (2, 2, 1, 1)
    assert largest[0, 1, 0, 0] == -x[0, 2, 0, 0]
    convolution = Convolution(1, 1, 3, key=jax.random.key(0))
    kernel = np.zeros((3, 3, 1, 1), np.float32)
    kernel[0, 2] = 2.0  # takes the pixel above to the right
    convolution = eqx.tree_at(lambda c: c.weight, convolution, jnp.asarray(kernel))
    y = np.asarray(convolution(jnp.asarray(x)))
    assert y[0, 2, 1, 0] == 2 * x[0, 1, 2, 0] and y[0, 0, 0, 0] == 0 and y[0, 2, 3, 0] == 0
    assert Linear(3, 2, bias=False, law="glorot", key=jax.random.key(0)).bias is None


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"name": "resnet", "depth": 43}, "6n + 2"),
        ({"name": "vgg", "depth": 12}, "11, 13, 16 or 19"),
        ({"name": "c1", "depth": 4}, "must be 5"),
        ({"name": "resnett"}, "did you mean 'resnet'"),
        ({"name": 5}, "must be text"),
        ({"name": "resnet", "dropout": 0.1}, "'resnet' has none"),
        ({"name": "c1", "dropconnect": 0.1}, "multilayer-perceptron"),
        ({"name": "c1", "block": "pre-activation"}, "wide-resnet"),
        ({"dtype": "float16"}, "float16"),
        ({"name": "c1", "batch_norm": False, "ghost_batch_size": 8}, "batch_norm = true"),
        ({"name": "own.module:factory", "width": 3}, "decides it itself"),
    ],
)
def test_refused(options, message):
    with pytest.raises(InputError, match=message.replace("+", r"\+")):
        ModelConfig(**options)


@pytest.mark.parametrize(
    ("name", "shape", "message"),
    [
        ("alexnet", CIFAR, "63×63"),
        ("vgg", (28, 28, 1), "32×32"),
        ("c1", (6, 8, 1), "7×7"),
        ("ten-layer-cnn", (3, 8, 1), "4×4"),
        ("no_such_module_at_all:factory", CIFAR, "no_such_module_at_all"),
        ("math:no_such_function", CIFAR, "no_such_function"),
        ("math:pi", CIFAR, "function or class"),
        ("math:sqrt", CIFAR, "called as"),
        ("tests.training.own_models:nothing", CIFAR, "module with weights"),
        ("tests.training.own_models:Normalised", CIFAR, "batch_norm = true"),
    ],
)
def test_refused_when_built(name, shape, message):
    with pytest.raises(InputError, match=message):
        build_model(ModelConfig(name=name), shape, 10, jax.random.key(0))


def test_batch_norm_that_is_not_there():
    with pytest.raises(InputError, match="has no GhostBatchNorm"):
        config = ModelConfig(name="tests.training.own_models:PlainModule", batch_norm=True)
        build_model(config, CIFAR, 10, jax.random.key(0))


@pytest.mark.parametrize("name", ["PlainModule", "Dropping", "Normalised"])
def test_ones_own_module_trains(name, tmp_path):
    from noisescale import train

    options = {"name": f"tests.training.own_models:{name}"}
    if name == "Normalised":
        options |= {"batch_norm": True, "ghost_batch_size": 16}
    recipe = {
        "phase": [{"epochs": 3, "batch_size": 32, "learning_rate": 0.1, "momentum": 0.9}],
        "model": options,
        "run": {"seeds": 1},
        "probe": {"gradient_parts": 2},
    }
    record = train(recipe, tmp_path / "run")
    losses = [row["train_loss"] for row in record.rows if row["train_loss"] is not None]
    assert losses[-1] < 0.7 * losses[0]
    assert record.rows[-1]["evaluation_error"] < 0.5
    again = train(recipe, tmp_path / "again")
    assert again.rows == record.rows


def test_a_function_instead_of_a_name(tmp_path):
    """`train(..., model=)`: another module of the same name is another run."""
    from noisescale import train
    from tests.training import own_models

    recipe = {
        "phase": [{"updates": 5, "batch_size": 32, "learning_rate": 0.1}],
        "run": {"seeds": 1},
    }
    first = train(recipe, tmp_path / "run", model=own_models.PlainModule)
    assert train(recipe, tmp_path / "run", model=own_models.PlainModule).rows == first.rows
    with pytest.raises(InputError, match="another recipe"):
        train(recipe, tmp_path / "run", model=own_models.Dropping)


# Recipes that ship with a model: its parameters.
RECIPES = {
    "bigbatch-compat-f1-mnist": 1_462_794,
    "hoffer2017-c1-cifar10": 1_388_490,
    "hoffer2017-c3-cifar100": 1_405_860,
    "hoffer2017-f1-mnist": 1_462_794,
    "hoffer2017-resnet44-cifar10": 661_338,
    "hoffer2017-wrn-cifar100": 2_777_674 + 90 * 257,
    "koshian2019-augmentation-cifar10": 1_925_258,
    "koshian2019-cifar10": 1_925_258,
    "smith2018-cifar10": 2_748_890,
}


@pytest.mark.parametrize("name", sorted(named_recipes()))
def test_recipes_that_ship_name_their_model(name):
    if name not in RECIPES:  # ImageNet cannot be loaded
        assert name.endswith(("imagenet", "imagenet-8192")), "model missing"
        return
    recipe = recipe_from(named_document(name))
    shape = (28, 28, 1) if recipe.data.name == "mnist" else CIFAR
    classes = 100 if recipe.data.name == "cifar100" else 10
    model = eqx.filter_eval_shape(build_model, recipe.model, shape, classes, jax.random.key(0))
    sizes = [a.size for a in jax.tree.leaves(model) if isinstance(a, jax.ShapeDtypeStruct)]
    assert sum(sizes) == RECIPES[name]


@pytest.mark.parametrize("window", [2, 3])
def test_downsampling_averages_squares_before_the_network(window):
    options = {"width": 2, "downsample": window}
    model, plain = built("ten-layer-cnn", options), built("ten-layer-cnn", {"width": 2})
    x = images("ten-layer-cnn", 4)
    side = 32 // window
    means = np.zeros((4, side, side, 3))
    for row, column in np.ndindex(side, side):
        square = x[:, window * row : window * (row + 1), window * column : window * (column + 1)]
        means[:, row, column] = square.astype(float).mean(axis=(1, 2))
    how = Pass(jnp.ones(4), 1, None, None)
    logits, _ = model(jnp.asarray(x), how)
    expected, _ = plain(jnp.asarray(means, jnp.float32), how)
    np.testing.assert_allclose(logits, expected, rtol=1e-5, atol=1e-5)


def test_downsampling_needs_images_that_are_large_enough():
    with pytest.raises(InputError, match="at most 32"):
        built("ten-layer-cnn", {"width": 2, "downsample": 33})
    with pytest.raises(InputError, match="4×4 pixels or more, these have 2×2"):
        built("ten-layer-cnn", {"width": 2, "downsample": 16})
