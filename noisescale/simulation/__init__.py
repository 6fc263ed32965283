"""Random walks on Gaussian random potentials: samplers, exact propagation, valleys, walkers.

E[(V(x) − V(y))²] = σ² |x − y|^α on a lattice of spacing 1; σ is the structure function's.
Γ = T ln t is the barrier that a walker has overcome by time t. The names below are loaded when
first used.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from noisescale.analysis.roughness import estimate_alpha as estimate_alpha
    from noisescale.analysis.roughness.ray_losses import ray_loss_std as ray_loss_std
    from noisescale.analysis.roughness.structure import structure_function as structure_function
    from noisescale.simulation.barriers import BarrierTree as BarrierTree
    from noisescale.simulation.barriers import barrier_tree as barrier_tree
    from noisescale.simulation.exact import kesten_golosov_cdf as kesten_golosov_cdf
    from noisescale.simulation.exact import kesten_golosov_moments as kesten_golosov_moments
    from noisescale.simulation.exact import kesten_golosov_pdf as kesten_golosov_pdf
    from noisescale.simulation.exact import kesten_golosov_ppf as kesten_golosov_ppf
    from noisescale.simulation.exact import ramp_msd as ramp_msd
    from noisescale.simulation.exact import ramp_msd_exponential_clock as ramp_msd_exponential_clock
    from noisescale.simulation.fields import fractional_brownian_field as fractional_brownian_field
    from noisescale.simulation.first_passage import (
        mean_first_passage_time as mean_first_passage_time,
    )
    from noisescale.simulation.fourier_potential import (
        RandomFourierPotential as RandomFourierPotential,
    )
    from noisescale.simulation.long_paths import PathWalk as PathWalk
    from noisescale.simulation.long_paths import path_walk as path_walk
    from noisescale.simulation.potentials import fractional_brownian as fractional_brownian
    from noisescale.simulation.potentials import harmonic as harmonic
    from noisescale.simulation.potentials import smooth_short_range as smooth_short_range
    from noisescale.simulation.propagation import Displacements as Displacements
    from noisescale.simulation.propagation import displacements as displacements
    from noisescale.simulation.propagation import (
        mean_square_displacement as mean_square_displacement,
    )
    from noisescale.simulation.propagation import occupation as occupation
    from noisescale.simulation.propagation import sample_positions as sample_positions
    from noisescale.simulation.spectrum import relaxation_rates as relaxation_rates
    from noisescale.simulation.walkers import DiscreteWalk as DiscreteWalk
    from noisescale.simulation.walkers import HopLimitError as HopLimitError
    from noisescale.simulation.walkers import discrete_walk as discrete_walk
    from noisescale.simulation.walkers import random_walk as random_walk

_HOME = {
    "BarrierTree": "noisescale.simulation.barriers",
    "DiscreteWalk": "noisescale.simulation.walkers",
    "Displacements": "noisescale.simulation.propagation",
    "PathWalk": "noisescale.simulation.long_paths",
    "HopLimitError": "noisescale.simulation.walkers",
    "RandomFourierPotential": "noisescale.simulation.fourier_potential",
    "barrier_tree": "noisescale.simulation.barriers",
    "discrete_walk": "noisescale.simulation.walkers",
    "displacements": "noisescale.simulation.propagation",
    "estimate_alpha": "noisescale.analysis.roughness",
    "fractional_brownian": "noisescale.simulation.potentials",
    "fractional_brownian_field": "noisescale.simulation.fields",
    "harmonic": "noisescale.simulation.potentials",
    "kesten_golosov_cdf": "noisescale.simulation.exact",
    "kesten_golosov_moments": "noisescale.simulation.exact",
    "kesten_golosov_pdf": "noisescale.simulation.exact",
    "kesten_golosov_ppf": "noisescale.simulation.exact",
    "mean_first_passage_time": "noisescale.simulation.first_passage",
    "mean_square_displacement": "noisescale.simulation.propagation",
    "occupation": "noisescale.simulation.propagation",
    "path_walk": "noisescale.simulation.long_paths",
    "ramp_msd": "noisescale.simulation.exact",
    "ramp_msd_exponential_clock": "noisescale.simulation.exact",
    "random_walk": "noisescale.simulation.walkers",
    "ray_loss_std": "noisescale.analysis.roughness.ray_losses",
    "relaxation_rates": "noisescale.simulation.spectrum",
    "sample_positions": "noisescale.simulation.propagation",
    "smooth_short_range": "noisescale.simulation.potentials",
    "structure_function": "noisescale.analysis.roughness.structure",
}

__all__ = sorted(_HOME)


def __getattr__(name: str) -> Any:
    from importlib import import_module

    if name in _HOME:
        return getattr(import_module(_HOME[name]), name)
    raise AttributeError(f"module 'noisescale.simulation' has no attribute {name!r}")


def __dir__() -> list[str]:
    return __all__
