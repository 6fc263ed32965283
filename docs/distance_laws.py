# %% [markdown]
# # Which law does the distance from the initial weights follow?
# Is ‖w − w₀‖ of a few training runs a logarithm of the number of updates, a power of it, a power of
# the logarithm, or can these runs not tell; and what would decide?

# %%
# %matplotlib inline
import csv
from pathlib import Path
from tempfile import mkdtemp

import numpy as np

from noisescale import fit_distance, read_runs

# %% [markdown]
# A file as any trainer writes it: a row per measurement, a column that tells the seeds apart. Here
# it is made, so the truth is known: D = 0.2 (ln x + 3)², times noise of 0.5 % per measurement and
# 5 % per seed.

# %%
updates, seeds = np.unique(np.geomspace(10, 20_000, 48).astype(int)), range(5)
rng = np.random.default_rng(4)
path = Path(mkdtemp()) / "distances.csv"
with path.open("w", newline="") as file:
    rows = csv.writer(file)
    rows.writerow(["seed", "update", "distance"])
    for seed in seeds:
        curve = 0.2 * (np.log(updates) + 3) ** 2 * np.exp(0.05 * rng.standard_normal())
        noisy = curve * np.exp(0.005 * rng.standard_normal(len(updates)))
        rows.writerows([seed, x, f"{d:.6g}"] for x, d in zip(updates, noisy, strict=True))

# %%
runs = read_runs([path], clock="update", columns={"distance": "distance"}, seed_column="seed")
curves = [run.curve("update", "distance") for run in runs]
x, distances = curves[0][0], np.array([values for _, values in curves])
print(f"{len(runs)} seeds, {len(x)} measurements each, updates {x[0]:g} to {x[-1]:g}")

# %% [markdown]
# All laws, compared: a law is named only if its AICc is clear of every other's, it predicts the
# last decade from those before, and what it leaves is no more than the noise.

# %%
found = fit_distance(x, distances)
found

# %%
figure = found.plot()[0].figure
figure

# %% [markdown]
# The parameters of the law that was named, with intervals over seeds.

# %%
fit = found.fits["log-power"]
fit

# %% [markdown]
# One seed to its 500th update: a verdict would be a guess, so there is none, and the
# reason says what would decide.

# %%
early = fit_distance(x[x <= 500], distances[0][x <= 500])
print(early.verdict, "–", early.reason)
early

# %%
low, high = fit.interval["exponent"]
print(f"{found.verdict}: exponent {fit.parameters['exponent']:.3f} [{low:.3f}, {high:.3f}]")
assert found.verdict == "log-power" and early.verdict == "undecided"
assert early.decides_at is not None and early.decides_at < x[-1]
assert abs(fit.parameters["exponent"] - 2) < 3 * fit.stderr["exponent"]

# ruff: noqa: B018  (an expression at the end of a cell is what a notebook shows)
