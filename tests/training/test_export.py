"""Every model's training loop can be lowered for TPU, GPU and CPU; no such device is needed."""

import pytest
from jax import export

from noisescale.recipe.model import FAMILIES
from noisescale.training.augmentation import named
from tests.tpu.programs import stretch
from tests.training.test_models import CASES, shape_of


def text_of(*arguments, platform="tpu", **options):
    """The StableHLO of a stretch of updates, exported for a platform."""
    program, shapes, _ = stretch(*arguments, **options)
    exported = export.export(program, platforms=[platform])(*shapes)
    assert exported.platforms == (platform,)
    assert len(exported.out_avals) == len(exported.in_avals[: len(exported.out_avals)])
    return exported.mlir_module()


def test_every_family_is_exported():
    assert {name for name, _ in CASES} == set(FAMILIES)


@pytest.mark.parametrize(("name", "options"), CASES)
def test_a_stretch_of_updates_for_tpu(name, options):
    text = text_of({"name": name, **options}, shape_of(name), batch=16)
    assert "stablehlo.while" in text
    assert ("stablehlo.convolution" in text) == (name != "multilayer-perceptron")
    assert "stablehlo.dot_general" in text
    assert "custom_call" not in text.replace("custom_call @Sharding", "")


def test_bfloat16_products():
    for name, product in (("resnet", "convolution"), ("multilayer-perceptron", "dot_general")):
        lines = text_of({"name": name, "depth": 8}, batch=16, dtype="bfloat16").splitlines()
        shapes = [line.rpartition(":")[2] for line in lines if f"stablehlo.{product}" in line]
        assert sum("bf16" in s for s in shapes) >= len(shapes) / 2 > 0


@pytest.mark.parametrize("name", ["crop-flip", "medium", "strong"])
def test_augmentations(name):
    options = {"name": "ten-layer-cnn", "width": 2}
    plain = text_of(options, batch=16)
    drawn = text_of(options, batch=16, augmentation=named(name))
    assert len(drawn) > len(plain)


@pytest.mark.parametrize("platform", ["cuda", "cpu"])
def test_other_platforms(platform):
    assert "while" in text_of({"name": "ten-layer-cnn", "width": 2}, batch=16, platform=platform)
