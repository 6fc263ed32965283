"""What training needs beside the schedule: one frozen dataclass per block of a recipe."""

from dataclasses import dataclass, field
from typing import Any

from noisescale.analysis.checks import (
    at_least_zero,
    choice,
    fraction_below_one,
    listed,
)
from noisescale.analysis.schedule import Schedule
from noisescale.errors import InputError
from noisescale.recipe.checks import positive, true_or_false, whole
from noisescale.recipe.data import DataConfig as DataConfig
from noisescale.recipe.model import ModelConfig as ModelConfig


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
            true_or_false(f"optimizer.{name}", getattr(self, name))
        for name in ("beta1", "beta2", "label_noise"):
            put(self, name, fraction_below_one(f"optimizer.{name}", getattr(self, name)))
        put(self, "epsilon", positive("optimizer.epsilon", self.epsilon))
        put(self, "clip_norm", at_least_zero("optimizer.clip_norm", self.clip_norm))
        whole("optimizer.clip_updates", self.clip_updates, 0)
        whole("optimizer.noise_batch_size", self.noise_batch_size, 0)
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
class RunConfig:
    """How a recipe is run.

    Args:
        seeds: how many seeds, 0 … seeds−1.
        replica: same initial weights, another data order for every replica number.
        driver: "device" (many updates in one compiled call), "host" (one call per update), or
            "auto": host for convolutions on a CPU, device for everything else.
        devices: among which the examples of a micro-batch are divided; 0: all there are. Another
            number gives the same run up to rounding.
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
    driver: str = "auto"
    devices: int = 1
    micro_batch_size: int = 0
    evaluate_every: float = 1.0
    checkpoint_seconds: float = 60.0
    until_distance: tuple[float, ...] = ()
    distance_checks: int = 10

    def __post_init__(self) -> None:
        put = object.__setattr__
        put(self, "evaluate_every", positive("run.evaluate_every", self.evaluate_every))
        seconds = at_least_zero("run.checkpoint_seconds", self.checkpoint_seconds)
        put(self, "checkpoint_seconds", seconds)
        whole("run.seeds", self.seeds, 1, 10000)
        whole("run.replica", self.replica, 0)
        choice("run.driver", self.driver, ("auto", "device", "host"))
        whole("run.devices", self.devices, 0)
        whole("run.micro_batch_size", self.micro_batch_size, 0)
        given: Any = self.until_distance
        values = listed("run.until_distance", given, "give a list of distances, one per phase")
        distances = tuple(at_least_zero("run.until_distance", v) for v in values)
        put(self, "until_distance", distances)
        whole("run.distance_checks", self.distance_checks, 1, 1000)


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
        whole("probe.per_decade", self.per_decade, 1, 100)
        choice("probe.distance", self.distance, ("whole", "first-tensor"))
        true_or_false("probe.layers", self.layers)
        whole("probe.sketch", self.sketch, 0, 65536)
        for name in ("recalibration_examples", "hessian_examples", "rays", "random_points"):
            whole(f"probe.{name}", getattr(self, name), 0)
        whole("probe.landscape_examples", self.landscape_examples, 1)
        whole("probe.gradient_parts", self.gradient_parts, 0, 1024)
        if self.gradient_parts == 1:
            raise InputError("probe.gradient_parts=1: moments need two parts or more (0: none)")
        object.__setattr__(self, "longest", positive("probe.longest", self.longest))


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
