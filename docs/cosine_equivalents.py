# %% [markdown]
# # A cosine schedule with warm-up at another batch size
# Which schedules at eight times the batch size are the same run as B = 256 with a learning rate of
# 0.1, five epochs of warm-up and a cosine decay, and what does each of them keep and break?

# %%
# %matplotlib inline
from noisescale import Phase, Schedule, Shape, Warmup, equivalents
from noisescale.plots import draw_schedules, new_figure

N = 50_000
rate = Shape(shape="cosine", start=0.1, end=0.0, warmup=Warmup(epochs=5))
schedule = Schedule(
    [Phase(epochs=90, learning_rate=rate, batch_size=256, momentum=0.9, weight_decay=5e-4)]
)
original = schedule.plan(N)
original

# %% [markdown]
# Every route that applies, no batch above 8,192. `learning-rate` and `momentum` keep the noise
# scale g = εN/(B(1−m)); `grow-batch` gives the decay to the batch size; `sqrt` keeps the diffusion
# per update instead, and is another run.

# %%
routes = {
    route.name: route
    for route in equivalents(schedule, N, target_batch_size=2048, max_batch_size=8192)
}
print(f"{'original':18} {original.updates:>7,} updates")
for name, route in routes.items():
    kept = {row.name: row.kept for row in route.invariants}
    told = "keeps g" if kept["noise_scale"] else "breaks g"
    print(f"{name:18} {route.updates:>7,} updates, {told}, risk: {route.risk}")

# %% [markdown]
# One of them in full: the quantities before and after, the warnings, the plan. The same numbers
# come as strict JSON from `.to_dict()`.

# %%
linear = routes["learning-rate"]
linear

# %%
for warning in (*linear.warnings, *routes["grow-batch"].warnings):
    print(f"{warning.code} ({warning.risk}): {warning.message} [{warning.source}]")

# %%
figure = new_figure(2, 2, title="A cosine schedule at eight times the batch size")
names = ("learning-rate", "grow-batch", "momentum", "sqrt")
draw_schedules(figure.axes, {"original": original, **{name: routes[name].plan for name in names}})
figure

# %% [markdown]
# What was found: the linear rule and the momentum rule take an eighth of the updates at the same
# noise scale; the square-root rule takes as few, but its noise scale is lower by √8; a batch that
# grows leaves the warm-up to the learning rate, starts at 256 and so saves fewer updates.

# %%
noise = {
    name: next(row for row in route.invariants if row.name == "noise_scale")
    for name, route in routes.items()
}
assert abs(original.updates / linear.updates - 8) < 0.01
assert all(noise[name].kept for name in ("learning-rate", "momentum", "grow-batch"))
assert abs(noise["sqrt"].before / noise["sqrt"].after - 8**0.5) < 1e-9
assert linear.updates < routes["grow-batch"].updates < original.updates
assert "warm-up-kept" in {warning.code for warning in routes["grow-batch"].warnings}

# ruff: noqa: B018  (an expression at the end of a cell is what a notebook shows)
