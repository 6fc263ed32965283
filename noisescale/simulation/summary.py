"""What a simulation says: distances with errors, the law fitted to them, figures' data."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from noisescale.analysis.roughness.distance_curves import FEWEST_TIMES, alpha_from_distance
from noisescale.simulation.exact import kesten_golosov_cdf, ramp_msd, ramp_msd_exponential_clock
from noisescale.simulation.methods import environment
from noisescale.simulation.propagation import WALL_LIMIT, sample_positions
from noisescale.simulation.specification import METHODS, Simulation

Array = NDArray[np.float64]
Rows = Sequence[Mapping[str, Any]]

# Largest misfit of ln D that a law may leave, or this many standard errors of ln D.
_MISFIT, _MISFIT_ERRORS = 0.1, 3.0
# Above this α means are those of rare environments.
_RARE_RAMPS = 1.8
_DRAWN_WALKERS = 40
_MOST_DRAWN_SITES = 1 << 17


def columns_of(rows: Rows) -> dict[str, Array]:
    """Columns of a simulation's rows as (environments, times) arrays; None becomes NaN."""
    numbers = sorted({row["seed"] for row in rows})
    per = [[row for row in rows if row["seed"] == number] for number in numbers]
    names = [k for k, v in rows[0].items() if isinstance(v, int | float) or v is None]
    found = {
        name: np.array([[np.nan if r[name] is None else r[name] for r in own] for own in per])
        for name in names
    }
    found["farther"] = np.array([[r["farther"] for r in own] for own in per])
    return found


def summarise(simulation: Simulation, rows: Rows) -> dict[str, Any]:
    """Averages over environments, and the law of the typical distance.

    Returns:
        A document for JSON: "times" (a row per time, means with standard errors over
        environments), "law".
    """
    columns = columns_of(rows)
    environments = len(columns["seed"])
    wall = columns["wall_fraction"].mean(axis=0)
    times = []
    for k, log_t in enumerate(columns["log_time"][0]):
        row: dict[str, Any] = {"log_time": float(log_t)}
        for name in ("distance", "mean_square", "mean_absolute", "thermal_variance", "same_site"):
            values = columns[name][:, k]
            row[name] = _number(values.mean())
            error = values.std(ddof=1) / np.sqrt(environments) if environments > 1 else np.nan
            row[f"{name}_stderr"] = _number(error)
        row["wall_fraction"] = _number(wall[k])
        row["in_window"] = bool(wall[k] <= WALL_LIMIT)
        times.append(row)
    return {
        "schema": "noisescale.simulate/1",
        "simulation": simulation.as_dict(),
        "method": METHODS[simulation.method],
        "time_unit": time_unit(simulation),
        "environments": environments,
        "times": times,
        "law": law_of(simulation, columns, wall),
    }


def time_unit(simulation: Simulation) -> str:
    """What t counts, in words."""
    if simulation.method == "valleys":
        return "t of the barrier T ln t that has been overcome"
    clock = "fixed t" if simulation.method != "exact" else "exponential clock of mean t"
    rate = {"heat_bath": "1/2"}.get(simulation.rates, "1")
    return f"{clock}; a free walker hops to each neighbour with rate {rate}"


def law_of(simulation: Simulation, columns: Mapping[str, Array], wall: Array) -> dict[str, Any]:
    """The law of the distance averaged over environments, in the window.

    The distance is E|x|, whose average over environments has no bias however few valleys a box
    holds; for α > 1.8, where rare ramps dominate it, each environment's median.

    "log-power" is D ∝ (ln t − ln τ0)^{2/α}; "power" is D ∝ t^β; the one with the smaller misfit
    is named, if its misfit is below 0.1 in ln D or three standard errors of it, and the fit allows
    a verdict; else "undecided".
    """
    rare = simulation.potential == "self-affine" and simulation.alpha > _RARE_RAMPS
    statistic = "distance" if rare else "mean_absolute"
    logs, curves = columns["log_time"][0], columns[statistic]
    usable = (wall <= WALL_LIMIT) & (logs > 0) & (curves.min(axis=0) > 0)
    predicted = _predicted_exponent(simulation)
    document: dict[str, Any] = {
        "verdict": "undecided",
        "statistic": "median |x|" if rare else "mean |x|",
        "predicted_exponent": predicted,
        "times_used": int(usable.sum()),
        "times_at_walls": int((wall > WALL_LIMIT).sum()),
    }
    if usable.sum() < FEWEST_TIMES or len(curves) < 2:
        document["reason"] = (
            f"{int(usable.sum())} times in the window and {len(curves)} environments: at least "
            f"{FEWEST_TIMES} times with all distances above 0 and walls untouched, and 2 "
            "environments, are needed"
        )
        return document
    x, y = logs[usable], curves[:, usable]
    fit = alpha_from_distance(x, y)
    low, high = fit.interval
    slope, misfit = _power(x, np.log(y.mean(axis=0)))
    residual = float(fit.diagnostics["residual"])
    errors = y.std(axis=0, ddof=1) / np.sqrt(len(y)) / y.mean(axis=0)
    allowed = max(_MISFIT, _MISFIT_ERRORS * float(errors.max()))
    document |= {
        "window": list(fit.window),
        "alpha": fit.alpha,
        "alpha_stderr": _number(fit.stderr),
        "alpha_interval": [low, high],
        "exponent": 2 / fit.alpha if fit.alpha else None,
        "exponent_interval": [2 / high if high else None, 2 / low if low else None],
        "log_tau0": fit.diagnostics["log_tau0"],
        "misfit": residual,
        "naive_alpha": fit.diagnostics["naive_alpha"],
        "power_of_t": slope,
        "power_misfit": misfit,
        "reason": fit.reason,
    }
    if misfit < residual:
        document["reason"] = (
            f"a power of t, D = t^{slope:.2f}, leaves a misfit of {misfit:.2g} in ln D, a power of "
            f"ln t {residual:.2g}"
        )
        document["verdict"] = "power" if misfit < allowed else "undecided"
    elif residual > allowed:
        document["reason"] = f"no power of ln t: the misfit in ln D is {residual:.2g}"
    else:
        document["verdict"] = fit.verdict
    return document


def _power(log_t: Array, log_distance: Array) -> tuple[float, float]:
    slope, intercept = np.polyfit(log_t, log_distance, 1)
    return float(slope), float(np.abs(log_distance - intercept - slope * log_t).max())


def _predicted_exponent(simulation: Simulation) -> float | None:
    rough = simulation.potential == "self-affine" and simulation.alpha < 2
    return 2 / simulation.alpha if rough else None


def _number(value: float) -> float | None:
    return float(value) if np.isfinite(value) else None


def drawing_of(simulation: Simulation, rows: Rows, document: Mapping[str, Any]) -> dict[str, Any]:
    """Arguments of `plots.simulate_figures`."""
    columns = columns_of(rows)
    logs, curves = columns["log_time"][0], columns["distance"]
    inside = columns["wall_fraction"].mean(axis=0) <= WALL_LIMIT
    later = logs > 0
    alpha = f"α = {simulation.alpha:g}, " if simulation.potential == "self-affine" else ""
    title = (
        f"{simulation.potential} potential, {alpha}σ = {simulation.sigma:g}, "
        f"T = {simulation.temperature:g}, {simulation.sites:,} sites, {simulation.method}"
    )
    return {
        "title": title,
        **_walkers_on_potential(simulation),
        "log_t": logs[later],
        "curves": curves[:, later],
        "in_window": inside[later],
        "references": _references(simulation, logs[later], curves[:, later], document["law"]),
        **_collapse(simulation, columns, inside),
    }


def _references(
    simulation: Simulation, log_t: Array, curves: Array, law: Mapping[str, Any]
) -> dict[str, Array]:
    """Predicted and fitted powers of ln t through the data, and controls."""
    found = {}
    mean = curves.mean(axis=0)
    exponent = law["predicted_exponent"]
    if exponent is not None:
        middle = len(log_t) // 2
        found[f"predicted slope 2/α = {exponent:.3g}"] = (
            mean[middle] * (log_t / log_t[middle]) ** exponent
        )
    if law.get("alpha") and law["verdict"] == "log-power":
        shift = law["log_tau0"]
        ages = np.maximum(log_t - shift, 1e-9)
        scale = np.exp(np.mean(np.log(mean) - law["exponent"] * np.log(ages)))
        found[f"fit (ln t − {shift:.2g})^{law['exponent']:.3g}"] = scale * ages ** law["exponent"]
    # Controls that look like a logarithm, or are none: no walker and no potential needed.
    found["gradient descent on e^(−w)"] = np.logaddexp(0.0, log_t)
    soon = np.minimum(log_t, 300.0)
    ramp = ramp_msd_exponential_clock if simulation.method == "exact" else ramp_msd
    ballistic = np.sqrt(ramp(np.exp(soon), simulation.sigma, simulation.temperature))
    found["ramp (α = 2), root mean square"] = ballistic
    found["free walker, root mean square"] = np.sqrt(2 * np.exp(soon))
    return found


def _walkers_on_potential(simulation: Simulation) -> dict[str, Any]:
    """Walkers at up to four times from the middle of the first environment, in a window."""
    V = environment(simulation, 0)
    start = simulation.sites // 2
    at = _valley_bottoms if simulation.method == "valleys" else _exact_draws
    rng = np.random.default_rng([simulation.seed, 2])
    logs = [t for t in simulation.log_times if t <= 300.0] or [simulation.log_times[0]]
    chosen = sorted({logs[k] for k in np.linspace(0, len(logs) - 1, 4).astype(int)})
    walkers = {f"ln t = {log_t:.3g}": at(simulation, V, start, log_t, rng) for log_t in chosen}
    reach = max(int(np.abs(sites - start).max()) for sites in walkers.values())
    half = min(max(2 * reach, 50), start, _MOST_DRAWN_SITES)
    first, last = start - half, min(start + half, simulation.sites - 1)
    return {
        "potential": V[first : last + 1],
        "walkers": {label: sites - first for label, sites in walkers.items()},
        "start": start - first,
    }


def _exact_draws(
    simulation: Simulation, V: Array, start: int, log_t: float, rng: np.random.Generator
) -> NDArray[np.int64]:
    starts = np.full(_DRAWN_WALKERS, start)
    T, rates = simulation.temperature, simulation.rates
    return sample_positions(V, starts, T=T, log_t=log_t, rates=rates, rng=rng)


def _valley_bottoms(
    simulation: Simulation, V: Array, start: int, log_t: float, rng: np.random.Generator
) -> NDArray[np.int64]:
    from noisescale.simulation.barriers import barrier_tree

    return barrier_tree(V).location([simulation.temperature * log_t], [start])[0]


def _collapse(
    simulation: Simulation, columns: Mapping[str, Array], inside: NDArray[np.bool_]
) -> dict[str, Any]:
    """Sinai's case: P(|y| ≥ u) with y = σ² x / (T (ln t − δ))², δ from E|x|'s law at each time."""
    if simulation.potential != "self-affine" or simulation.alpha != 1:
        return {"law": None}
    distances = simulation.distances.astype(np.float64)
    logs, farther = columns["log_time"][0], columns["farther"].mean(axis=0)
    means = columns["mean_absolute"].mean(axis=0)
    u = np.linspace(0.0, 4.5, 200)
    curves = {}
    late = [k for k in range(len(logs)) if inside[k] and logs[k] > 4]
    chosen = sorted({late[k] for k in np.linspace(0, len(late) - 1, 5).astype(int)}) if late else []
    for k in chosen:
        scale = means[k] / (5 / 6)
        shift = logs[k] - np.sqrt(scale) * simulation.sigma / simulation.temperature
        curves[f"ln t = {logs[k]:.3g}, δ = {shift:.2g}"] = (distances / scale, farther[k])
    return {"law": (u, 2 * (1 - kesten_golosov_cdf(u))), "collapse": curves}
