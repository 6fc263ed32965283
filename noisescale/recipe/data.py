"""The [data] block: a data set, its splits, what is done to its pixels."""

from collections.abc import Mapping
from dataclasses import dataclass
from math import isfinite
from typing import Any

from noisescale.analysis.checks import choice
from noisescale.errors import InputError, shown
from noisescale.recipe.checks import whole

DATASETS = ("digits", "mnist", "cifar10", "cifar100")
AUGMENTATIONS = ("none", "crop-flip", "medium", "medium-without-flip", "strong")
NORMALIZATIONS = ("none", "half", "imagenet", "data")


@dataclass(frozen=True, slots=True, kw_only=True)
class DataConfig:
    """A data set and its splits.

    Args:
        name: "digits" (inside scikit-learn), or in a data directory "mnist" (IDX files), "cifar10"
            and "cifar100" (binary version, as a folder or as the archive).
        subset: keep only the first so many training examples; 0 keeps all.
        validation: hold out the last so many training examples and evaluate on them; with 0,
            evaluate on the test split. Selection of any kind uses a validation split.
        augmentation: of training batches: "none"; "crop-flip": padded by `padding` pixels of
            value `fill` (0 … 255), cut out at a random place and mirrored at random; "medium":
            shifted by up to 1/8 of the size and mirrored at random; "medium-without-flip";
            "strong": see noisescale.training.augmentation.
        augmentation_parameters: of the augmentation, where they are not its own, by name.
        normalization: of pixels in [0, 1], after augmentation: "none"; "half": (x − ½)/½;
            "imagenet": that data set's mean and deviation per colour; "data": those of the
            training images.
        sha256: the fingerprint that the arrays must have; by default it is recorded, not checked.
    """

    name: str = "digits"
    subset: int = 0
    validation: int = 0
    augmentation: str = "none"
    augmentation_parameters: Any = ()
    padding: int = 4
    fill: int = 0
    normalization: str = "none"
    sha256: str = ""

    def __post_init__(self) -> None:
        choice("data.name", self.name, DATASETS)
        whole("data.subset", self.subset, 0)
        whole("data.validation", self.validation, 0)
        choice("data.augmentation", self.augmentation, AUGMENTATIONS)
        object.__setattr__(self, "augmentation_parameters", _pairs(self.augmentation_parameters))
        if self.augmentation_parameters and self.augmentation == "none":
            raise InputError("data.augmentation_parameters need data.augmentation: name one")
        choice("data.normalization", self.normalization, NORMALIZATIONS)
        whole("data.padding", self.padding, 0, 1000)
        whole("data.fill", self.fill, 0, 255)
        if self.augmentation != "crop-flip" and (self.padding != 4 or self.fill):
            raise InputError("data.padding and data.fill need data.augmentation = 'crop-flip'")
        text = self.sha256
        hexadecimal = isinstance(text, str) and not set(text) - set("0123456789abcdef")
        if not hexadecimal or len(text) not in (0, 64):
            raise InputError(
                f"data.sha256={shown(text)}: it must be 64 hexadecimal digits, in small letters"
            )


def _pairs(given: Any) -> tuple[tuple[str, Any], ...]:
    """A table of truth values, numbers and ranges as sorted pairs, which can be hashed."""
    if given == ():
        return ()
    items = given.items() if isinstance(given, Mapping) else given
    if not isinstance(items, tuple) and not isinstance(given, Mapping):
        raise InputError(f"data.augmentation_parameters={shown(given)}: it must be a table")
    pairs = []
    for name, value in items:
        ends = list(value) if isinstance(value, list | tuple) else [value]
        fine = all(isinstance(v, int | float) and isfinite(v) for v in ends)
        if not fine or (isinstance(value, list | tuple) and (len(ends) != 2 or ends[0] > ends[1])):
            raise InputError(
                f"data.augmentation_parameters.{name}={shown(value)}: it must be a number, true or "
                "false, or the least and the greatest of a range"
            )
        pairs.append((name, tuple(ends) if isinstance(value, list | tuple) else value))
    return tuple(sorted(pairs))
