"""Which training schedules are the same run at another batch size, learning rate or momentum.

The public names are loaded when first used, so that `import noisescale` costs next to nothing.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from noisescale.analysis.cautions import RuleWarning as RuleWarning
    from noisescale.analysis.crossing import fall_off_batch_size as fall_off_batch_size
    from noisescale.analysis.equivalence import Equivalent as Equivalent
    from noisescale.analysis.equivalence import equivalents as equivalents
    from noisescale.analysis.gradient_noise import GradientNoiseScale as GradientNoiseScale
    from noisescale.analysis.gradient_noise import adascale_gain as adascale_gain
    from noisescale.analysis.gradient_noise import critical_batch_size as critical_batch_size
    from noisescale.analysis.gradient_noise import gradient_noise_scale as gradient_noise_scale
    from noisescale.analysis.gradient_noise import noise_scale_over_time as noise_scale_over_time
    from noisescale.analysis.gradient_noise import steps_and_examples as steps_and_examples
    from noisescale.analysis.invariants import Invariant as Invariant
    from noisescale.analysis.laws import fit_distance as fit_distance
    from noisescale.analysis.noise_scale import sgd_noise_scale as sgd_noise_scale
    from noisescale.analysis.plan import Plan as Plan
    from noisescale.analysis.plan import PlanRow as PlanRow
    from noisescale.analysis.roughness import estimate_alpha as estimate_alpha
    from noisescale.analysis.roughness.landscape import judge_landscape as judge_landscape
    from noisescale.analysis.run_groups.compare import compare_groups as compare_groups
    from noisescale.analysis.same_run import Comparison as Comparison
    from noisescale.analysis.same_run import compare_runs as compare_runs
    from noisescale.analysis.schedule import Phase as Phase
    from noisescale.analysis.schedule import Schedule as Schedule
    from noisescale.analysis.shapes import Duration as Duration
    from noisescale.analysis.shapes import Shape as Shape
    from noisescale.analysis.shapes import Warmup as Warmup
    from noisescale.analysis.walk import Trajectory as Trajectory
    from noisescale.analysis.walk import judge_walk as judge_walk
    from noisescale.errors import InputError as InputError
    from noisescale.formats.measured import read_runs as read_runs
    from noisescale.formats.trajectories import read_trajectories as read_trajectories
    from noisescale.recipe import Recipe as Recipe
    from noisescale.record import Record as Record
    from noisescale.training.train import train as train

_HOME = {
    "Comparison": "noisescale.analysis.same_run",
    "Duration": "noisescale.analysis.shapes",
    "Equivalent": "noisescale.analysis.equivalence",
    "GradientNoiseScale": "noisescale.analysis.gradient_noise",
    "InputError": "noisescale.errors",
    "Invariant": "noisescale.analysis.invariants",
    "Phase": "noisescale.analysis.schedule",
    "Plan": "noisescale.analysis.plan",
    "PlanRow": "noisescale.analysis.plan",
    "Recipe": "noisescale.recipe",
    "Record": "noisescale.record",
    "RuleWarning": "noisescale.analysis.cautions",
    "Schedule": "noisescale.analysis.schedule",
    "Shape": "noisescale.analysis.shapes",
    "Trajectory": "noisescale.analysis.walk",
    "Warmup": "noisescale.analysis.shapes",
    "adascale_gain": "noisescale.analysis.gradient_noise",
    "compare_groups": "noisescale.analysis.run_groups.compare",
    "compare_runs": "noisescale.analysis.same_run",
    "critical_batch_size": "noisescale.analysis.gradient_noise",
    "equivalents": "noisescale.analysis.equivalence",
    "estimate_alpha": "noisescale.analysis.roughness",
    "fall_off_batch_size": "noisescale.analysis.crossing",
    "fit_distance": "noisescale.analysis.laws",
    "gradient_noise_scale": "noisescale.analysis.gradient_noise",
    "judge_landscape": "noisescale.analysis.roughness.landscape",
    "judge_walk": "noisescale.analysis.walk",
    "noise_scale_over_time": "noisescale.analysis.gradient_noise",
    "read_runs": "noisescale.formats.measured",
    "read_trajectories": "noisescale.formats.trajectories",
    "sgd_noise_scale": "noisescale.analysis.noise_scale",
    "steps_and_examples": "noisescale.analysis.gradient_noise",
    "train": "noisescale.training.train",
}

__all__ = sorted(_HOME)


def __getattr__(name: str) -> Any:
    from importlib import import_module

    if name == "__version__":
        from importlib.metadata import version

        return version("noisescale")
    if name in _HOME:
        return getattr(import_module(_HOME[name]), name)
    raise AttributeError(f"module 'noisescale' has no attribute {name!r}")


def __dir__() -> list[str]:
    return __all__
