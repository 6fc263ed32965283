# %% [markdown]
# # A walker in a random potential is slower than any power of time
# How far does a walker get by time t in a Brownian potential (α = 1), and does its distance follow
# Sinai's law (ln t)² up to ln t = 300?

# %%
# %matplotlib inline
import numpy as np

from noisescale.analysis.roughness.distance_curves import alpha_from_distance
from noisescale.plots import draw_collapse, draw_walk_distances, new_figure
from noisescale.simulation import displacements, fractional_brownian, kesten_golosov_cdf

sigma, sites, environments = 2.0, 2**18, 24
log_t = np.geomspace(12.0, 300.0, 10)

# %% [markdown]
# E[(V(x) − V(y))²] = σ²|x − y| with σ = 2 in units of the temperature. No step is simulated: the
# law of the walker at an exponential clock of mean t is computed to rounding, averaged over 64
# starts in each potential. By ln t = 300 (t = 10¹³⁰) walkers have crossed barriers of 300.

# %%
rng = np.random.default_rng(1)
starts = np.arange(sites // 4, 3 * sites // 4, sites // 128)
ask = np.unique(np.geomspace(1, sites // 4, 200).astype(int))
found = [
    displacements(
        fractional_brownian(sites, 1.0, sigma, rng=rng), log_t=log_t, starts=starts, distances=ask
    )
    for _ in range(environments)
]
found[0]

# %% [markdown]
# E|x| grows as (ln t − ln τ₀)^{2/α}; the microscopic time τ₀ is fitted too, because a naive fit
# takes it for 1. Whole potentials are the independent units behind the error.

# %%
distance = np.array([f.mean_absolute for f in found])
walls = np.mean([f.wall_fraction for f in found], axis=0)
roughness = alpha_from_distance(log_t, distance, wall_fraction=walls)
roughness

# %% [markdown]
# In one dimension the limit law is known: y = σ²x/(ln t − δ)² has the density of Kesten and
# Golosov, with E|y| = 5/6. The shift δ, the lattice's correction, is read off E|x| at each time.

# %%
farther, mean = np.mean([f.farther for f in found], axis=0), distance.mean(axis=0)
u = np.linspace(0.0, 4.5, 200)
law = 2 * (1 - kesten_golosov_cdf(u))
curves = {f"ln t = {log_t[k]:.3g}": (ask / (1.2 * mean[k]), farther[k]) for k in (1, 3, 5, 7, 9)}

figure = new_figure(1, 2, title=f"Sinai's walk: {environments} potentials of {sites:,} sites")
medians = np.array([f.median for f in found])
slope = {"slope 2/α = 2": medians.mean(axis=0)[5] * (log_t / log_t[5]) ** 2}
draw_walk_distances(figure.axes[0], log_t, medians, walls <= 0.01, slope)
draw_collapse(figure.axes[1], curves, (u, law))
for ax in figure.axes:
    ax.legend(frameon=False, fontsize=8)
figure

# %%
gap = max(np.abs(np.interp(u, *curve) - law).max() for curve in list(curves.values())[1:])
print(f"α = {roughness.alpha:.3f} ± {roughness.stderr:.3f}, exponent {2 / roughness.alpha:.2f}")
print(f"largest distance from the law of Kesten and Golosov: {gap:.3f} in probability")
assert roughness.verdict == "log-power" and abs(roughness.alpha - 1) < 3 * roughness.stderr
assert roughness.stderr < 0.1 and walls.max() < 0.01

# ruff: noqa: B018  (an expression at the end of a cell is what a notebook shows)
