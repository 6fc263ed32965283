"""Which training schedules are the same run at another batch size, learning rate or momentum.

The public names are loaded when first used, so that `import noisescale` costs next to nothing.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from noisescale.analysis.cautions import RuleWarning as RuleWarning
    from noisescale.analysis.equivalence import Equivalent as Equivalent
    from noisescale.analysis.equivalence import equivalents as equivalents
    from noisescale.analysis.invariants import Invariant as Invariant
    from noisescale.analysis.noise_scale import sgd_noise_scale as sgd_noise_scale
    from noisescale.analysis.plan import Plan as Plan
    from noisescale.analysis.plan import PlanRow as PlanRow
    from noisescale.analysis.roughness import estimate_alpha as estimate_alpha
    from noisescale.analysis.same_run import Comparison as Comparison
    from noisescale.analysis.same_run import compare_runs as compare_runs
    from noisescale.analysis.schedule import Phase as Phase
    from noisescale.analysis.schedule import Schedule as Schedule
    from noisescale.analysis.shapes import Duration as Duration
    from noisescale.analysis.shapes import Shape as Shape
    from noisescale.analysis.shapes import Warmup as Warmup
    from noisescale.errors import InputError as InputError
    from noisescale.recipe import Recipe as Recipe
    from noisescale.record import Record as Record
    from noisescale.training.train import train as train

_HOME = {
    "Comparison": "noisescale.analysis.same_run",
    "Duration": "noisescale.analysis.shapes",
    "Equivalent": "noisescale.analysis.equivalence",
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
    "Warmup": "noisescale.analysis.shapes",
    "compare_runs": "noisescale.analysis.same_run",
    "equivalents": "noisescale.analysis.equivalence",
    "estimate_alpha": "noisescale.analysis.roughness",
    "sgd_noise_scale": "noisescale.analysis.noise_scale",
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
