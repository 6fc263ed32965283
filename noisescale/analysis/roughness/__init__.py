"""The roughness exponent α: of traces, of losses along rays, from distance curves of walkers."""

from noisescale.analysis.roughness.distance_curves import alpha_from_distance as alpha_from_distance
from noisescale.analysis.roughness.landscape import Bins as Bins
from noisescale.analysis.roughness.landscape import Landscape as Landscape
from noisescale.analysis.roughness.landscape import bin_losses as bin_losses
from noisescale.analysis.roughness.landscape import judge_landscape as judge_landscape
from noisescale.analysis.roughness.ray_losses import ray_loss_std as ray_loss_std
from noisescale.analysis.roughness.rays import alpha_from_rays as alpha_from_rays
from noisescale.analysis.roughness.result import RoughnessEstimate as RoughnessEstimate
from noisescale.analysis.roughness.structure import structure_function as structure_function
from noisescale.analysis.roughness.trace import estimate_alpha as estimate_alpha
