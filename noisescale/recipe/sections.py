"""What training needs beside the schedule: one frozen dataclass per block of a recipe."""

from dataclasses import dataclass, field
from typing import Any

from noisescale.analysis.checks import (
    at_least_zero,
    choice,
    fraction_below_one,
    listed,
    real_number,
)
from noisescale.analysis.schedule import Schedule
from noisescale.errors import InputError, shown


def _whole(name: str, value: object, low: int, high: int = 10**9) -> None:
    if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
        raise InputError(f"{name}={shown(value)}: it must be a whole number from {low} to {high:,}")


def _true_or_false(name: str, value: object) -> None:
    if not isinstance(value, bool):
        raise InputError(f"{name}={shown(value)}: it must be true or false")


def _positive(name: str, value: object) -> float:
    return real_number(name, value, above=0.0, hint="it must be a finite number above 0")


@dataclass(frozen=True, slots=True, kw_only=True)
class OptimizerConfig:
    """What an update does with a gradient; momentum and weight decay stand in the phases.

    Args:
        name: "sgd", "adam" (decay coupled) or "adamw" (decay decoupled).
        momentum_form: "trace" (v ← m v + gradient, w ← w − ε v; PyTorch, optax), "velocity"
            (v ← m v − ε gradient, w ← w + v; Keras) or "dampened" (v ← m v + (1−m) gradient,
            w ← w − ε v). The first two differ for about 1/(1−m) updates after the learning rate
            changes; the third is the first at ε(1−m).
        nesterov: step along gradient + m v instead of v (the same g = εN/(B(1−m))).
        beta1, beta2, epsilon: of Adam.
        decay_norm_and_bias: whether weight decay acts on biases and on batch norm's scale and
            shift as well.
        clip_norm: gradients of the batch mean that are longer are scaled down to it; 0: never.
        normalize: scale every gradient to clip_norm, shorter ones up as well.
        clip_updates: clip or normalize only the first so many updates; 0: all.
        noise_batch_size: B_S; multiply every example's loss by a factor 1 + √(B/B_S − 1) z with
            standard normal z, so that the gradient of a batch of B has the covariance of one of
            B_S; 0: no noise.
        label_noise: probability that a label is replaced by one drawn uniformly from all classes,
            anew every time the example is seen.
        momentum_reset: "never", or "epoch": the momentum buffer is emptied whenever an epoch
            begins (what the released code of Hoffer et al. does).
    """

    name: str = "sgd"
    momentum_form: str = "trace"
    nesterov: bool = False
    beta1: float = 0.9
    beta2: float = 0.999
    epsilon: float = 1e-8
    decay_norm_and_bias: bool = True
    clip_norm: float = 0.0
    normalize: bool = False
    clip_updates: int = 0
    noise_batch_size: int = 0
    label_noise: float = 0.0
    momentum_reset: str = "never"

    def __post_init__(self) -> None:
        put = object.__setattr__
        choice("optimizer.name", self.name, ("sgd", "adam", "adamw"))
        choice("optimizer.momentum_form", self.momentum_form, ("trace", "velocity", "dampened"))
        choice("optimizer.momentum_reset", self.momentum_reset, ("never", "epoch"))
        for name in ("nesterov", "decay_norm_and_bias", "normalize"):
            _true_or_false(f"optimizer.{name}", getattr(self, name))
        for name in ("beta1", "beta2", "label_noise"):
            put(self, name, fraction_below_one(f"optimizer.{name}", getattr(self, name)))
        put(self, "epsilon", _positive("optimizer.epsilon", self.epsilon))
        put(self, "clip_norm", at_least_zero("optimizer.clip_norm", self.clip_norm))
        _whole("optimizer.clip_updates", self.clip_updates, 0)
        _whole("optimizer.noise_batch_size", self.noise_batch_size, 0)
        for name in ("clip_updates", "normalize"):
            if getattr(self, name) and not self.clip_norm:
                raise InputError(f"optimizer.{name} needs optimizer.clip_norm: to what norm?")
        if self.name == "sgd":
            for name, plain in (("beta1", 0.9), ("beta2", 0.999), ("epsilon", 1e-8)):
                if getattr(self, name) != plain:
                    raise InputError(
                        f"optimizer.{name} belongs to Adam: set optimizer.name = 'adam'"
                    )
        else:
            for name, default in (
                ("momentum_form", "trace"),
                ("nesterov", False),
                ("momentum_reset", "never"),
            ):
                if getattr(self, name) != default:
                    raise InputError(f"optimizer.{name} belongs to SGD, not to {self.name!r}")

    def noise_variance(self, batch_size: int) -> float:
        """B/B_S − 1, of the factor on every example's loss; 0 without noise.

        Source: Hoffer, Hubara & Soudry 2017, section 4.1.
        """
        return batch_size / self.noise_batch_size - 1.0 if self.noise_batch_size else 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelConfig:
    """A multilayer perceptron with `depth` hidden layers of `width` ReLU units.

    Args:
        batch_norm: normalise before every ReLU.
        ghost_batch_size: G, examples that share their statistics in training; 0: the batch.
        partial_ghost: what happens to a batch that is no multiple of G. "own": the last ghost is
            smaller; "even": ⌈B/G⌉ ghosts whose sizes differ by at most one; "drop": the rest is
            left out of the update; "chunk": ⌊B/G⌋ chunks of ⌈n/⌊B/G⌋⌉ (PyTorch's tensor.chunk, as
            in the released code of Hoffer et al.; a smaller batch n then has smaller ghosts).
        running_statistics: how ghosts enter the running mean and variance, see
            noisescale.training.ghost_batch_norm.fold: "sequential", "composite",
            "composite-printed" or "divided".
        dropout: probability that a hidden activation is set to 0.
        dropconnect: probability that a weight fed by a hidden layer is set to 0, drawn anew for
            every example (a micro-batch then holds a copy of these weights per example).
    """

    name: str = "multilayer-perceptron"
    width: int = 64
    depth: int = 1
    batch_norm: bool = False
    ghost_batch_size: int = 0
    partial_ghost: str = "own"
    running_statistics: str = "sequential"
    dropout: float = 0.0
    dropconnect: float = 0.0

    def __post_init__(self) -> None:
        choice("model.name", self.name, ("multilayer-perceptron",))
        _whole("model.width", self.width, 1, 65536)
        _whole("model.depth", self.depth, 0, 1000)
        _true_or_false("model.batch_norm", self.batch_norm)
        _whole("model.ghost_batch_size", self.ghost_batch_size, 0)
        choice("model.partial_ghost", self.partial_ghost, ("own", "even", "drop", "chunk"))
        choice(
            "model.running_statistics",
            self.running_statistics,
            ("sequential", "composite", "composite-printed", "divided"),
        )
        if not self.batch_norm:
            for name, plain in (
                ("ghost_batch_size", 0),
                ("partial_ghost", "own"),
                ("running_statistics", "sequential"),
            ):
                if getattr(self, name) != plain:
                    raise InputError(f"model.{name} needs model.batch_norm = true")
        for name in ("dropout", "dropconnect"):
            value = fraction_below_one(f"model.{name}", getattr(self, name))
            object.__setattr__(self, name, value)
        for name in ("batch_norm", "dropout", "dropconnect"):
            if getattr(self, name) and not self.depth:
                raise InputError(f"model.{name} needs a hidden layer: set model.depth to 1 or more")


@dataclass(frozen=True, slots=True, kw_only=True)
class DataConfig:
    """A data set and its splits.

    Args:
        name: "digits" (inside scikit-learn) or "mnist" (IDX files in a data directory).
        subset: keep only the first so many training examples; 0 keeps all.
        validation: hold out the last so many training examples and evaluate on them; with 0,
            evaluate on the test split. Selection of any kind uses a validation split.
        augmentation: of training batches: "none", or "crop-flip": padded by `padding` pixels of
            value `fill` (0 … 255), cut out at a random place and mirrored at random.
        sha256: the fingerprint that the arrays must have; by default it is recorded, not checked.
    """

    name: str = "digits"
    subset: int = 0
    validation: int = 0
    augmentation: str = "none"
    padding: int = 4
    fill: int = 0
    sha256: str = ""

    def __post_init__(self) -> None:
        choice("data.name", self.name, ("digits", "mnist"))
        _whole("data.subset", self.subset, 0)
        _whole("data.validation", self.validation, 0)
        choice("data.augmentation", self.augmentation, ("none", "crop-flip"))
        _whole("data.padding", self.padding, 0, 1000)
        _whole("data.fill", self.fill, 0, 255)
        if self.augmentation == "none" and (self.padding != 4 or self.fill):
            raise InputError("data.padding and data.fill need data.augmentation = 'crop-flip'")
        text = self.sha256
        hexadecimal = isinstance(text, str) and not set(text) - set("0123456789abcdef")
        if not hexadecimal or len(text) not in (0, 64):
            raise InputError(
                f"data.sha256={shown(text)}: it must be 64 hexadecimal digits, in small letters"
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class RunConfig:
    """How a recipe is run.

    Args:
        seeds: how many seeds, 0 … seeds−1.
        replica: same initial weights, another data order for every replica number.
        driver: "device" (many updates in one compiled call) or "host" (one call per update).
        micro_batch_size: gradients of a batch are accumulated over parts of this size; 0 takes
            the batch in one part.
        evaluate_every: epochs between measurements of loss and error.
        checkpoint_seconds: time between checkpoints; 0: at every look at the clock.
        until_distance: phase j ends once ‖w − w_0‖ has reached its j-th entry, if that comes
            before the phase's duration is over; 0: the duration alone decides.
        distance_checks: looks at that distance per epoch.
    """

    seeds: int = 5
    replica: int = 0
    driver: str = "device"
    micro_batch_size: int = 0
    evaluate_every: float = 1.0
    checkpoint_seconds: float = 60.0
    until_distance: tuple[float, ...] = ()
    distance_checks: int = 10

    def __post_init__(self) -> None:
        put = object.__setattr__
        put(self, "evaluate_every", _positive("run.evaluate_every", self.evaluate_every))
        seconds = at_least_zero("run.checkpoint_seconds", self.checkpoint_seconds)
        put(self, "checkpoint_seconds", seconds)
        _whole("run.seeds", self.seeds, 1, 10000)
        _whole("run.replica", self.replica, 0)
        choice("run.driver", self.driver, ("device", "host"))
        _whole("run.micro_batch_size", self.micro_batch_size, 0)
        given: Any = self.until_distance
        values = listed("run.until_distance", given, "give a list of distances, one per phase")
        distances = tuple(at_least_zero("run.until_distance", v) for v in values)
        put(self, "until_distance", distances)
        _whole("run.distance_checks", self.distance_checks, 1, 1000)


@dataclass(frozen=True, slots=True, kw_only=True)
class ProbeConfig:
    """What is measured between updates, beside loss and error.

    Args:
        per_decade: log-spaced updates per decade at which the weights are measured.
        distance: what the column `distance` is: "whole" (all weights) or "first-tensor" (what
            the released code of Hoffer et al. logs).
        layers: distance, norm and angle of every tensor by itself.
        sketch: numbers in the random sketch of the weights; 0: none.
        gradient_parts: parts of the next batch whose gradients' moments are recorded; 0: none.
        recalibration_examples: training examples over which batch norm's statistics are averaged
            for a second evaluation; 0: no second evaluation.
        hessian_examples: training examples on which the largest eigenvalue of the loss's Hessian
            is found at every evaluation; 0: never.
        rays, random_points: how many random directions, and how many random (direction, length)
            pairs from the initial weights, the training loss is taken along.
        longest: their largest length.
        landscape_examples: training examples that this loss is the mean over.
    """

    per_decade: int = 8
    distance: str = "whole"
    layers: bool = True
    sketch: int = 256
    gradient_parts: int = 4
    recalibration_examples: int = 10000
    hessian_examples: int = 0
    rays: int = 0
    random_points: int = 0
    longest: float = 10.0
    landscape_examples: int = 1000

    def __post_init__(self) -> None:
        _whole("probe.per_decade", self.per_decade, 1, 100)
        choice("probe.distance", self.distance, ("whole", "first-tensor"))
        _true_or_false("probe.layers", self.layers)
        _whole("probe.sketch", self.sketch, 0, 65536)
        for name in ("recalibration_examples", "hessian_examples", "rays", "random_points"):
            _whole(f"probe.{name}", getattr(self, name), 0)
        _whole("probe.landscape_examples", self.landscape_examples, 1)
        _whole("probe.gradient_parts", self.gradient_parts, 0, 1024)
        if self.gradient_parts == 1:
            raise InputError("probe.gradient_parts=1: moments need two parts or more (0: none)")
        object.__setattr__(self, "longest", _positive("probe.longest", self.longest))


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """A schedule with everything that training it needs."""

    schedule: Schedule
    train_size: int | None = None
    partial: str = "carry"
    optimizer: OptimizerConfig = field(default_factory=OptimizerConfig)
    model: ModelConfig = field(default_factory=ModelConfig)
    data: DataConfig = field(default_factory=DataConfig)
    run: RunConfig = field(default_factory=RunConfig)
    probe: ProbeConfig = field(default_factory=ProbeConfig)

    def __post_init__(self) -> None:
        phases = self.schedule.phases
        if self.optimizer.name != "sgd":
            if any(phase.momentum for phase in phases):
                raise InputError(
                    f"momentum belongs to SGD: with {self.optimizer.name!r} set optimizer.beta1"
                )
            wanted = "decoupled" if self.optimizer.name == "adamw" else "coupled"
            if self.schedule.decay != wanted:
                raise InputError(
                    f"optimizer.decay={self.schedule.decay!r}: that of {self.optimizer.name!r} "
                    f"is {wanted!r}"
                )
        if self.optimizer.noise_batch_size > min(phase.batch_size for phase in phases):
            raise InputError(
                f"optimizer.noise_batch_size={self.optimizer.noise_batch_size} exceeds a phase's "
                "batch size: noise can be added, not taken away"
            )
        if len(self.run.until_distance) > len(phases):
            raise InputError(
                f"run.until_distance has {len(self.run.until_distance)} entries for "
                f"{len(phases)} phases: give at most one per phase"
            )
        if self.schedule.ema_decay is not None:
            raise InputError(
                f"ema_decay={self.schedule.ema_decay!r} cannot be trained here: leave it out"
            )
        if self.schedule.batch_norm_decay is not None and not self.model.batch_norm:
            raise InputError("batch_norm_decay needs model.batch_norm = true")
