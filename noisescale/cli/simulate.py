"""`noisescale simulate`: walkers in random potentials, their distance against ln t."""

import argparse
import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from noisescale.cli import fail
from noisescale.cli.extras import need
from noisescale.cli.interrupts import stop_wish
from noisescale.cli.progress import counting
from noisescale.cli.progress import stop as stop_bar
from noisescale.errors import InputError

if TYPE_CHECKING:
    from noisescale.record import Record
    from noisescale.simulation.specification import Simulation

_DEFAULTS = "self-affine, α = 1, σ = T = 1, 131,072 sites, 16 environments, exact"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command's arguments."""
    parser.epilog = (
        "example: noisescale simulate --alpha 1.5 --sites 1048576 --log-times 5 60 12 "
        f"--environments 40 --out walk (defaults: {_DEFAULTS})"
    )
    add = parser.add_argument
    add("--potential", metavar="NAME", help="self-affine, smooth, harmonic or flat")
    add("--alpha", type=float, metavar="A", help="E[(V(x)-V(y))^2] = sigma^2 |x-y|^A, 0 < A <= 2")
    add("--sigma", type=float, metavar="S", help="rms difference of neighbours (smooth: std of V)")
    add("--temperature", type=float, metavar="T", help="in units of the potential")
    add("--sites", type=int, metavar="N", help="lattice sites, with reflecting ends")
    add("--correlation-length", type=float, metavar="L", help="of the smooth potential, in sites")
    add("--stiffness", type=float, metavar="K", help="of the harmonic potential")
    add("--method", metavar="NAME", help="exact, exact-fixed, valleys, walkers or "
        "kinetic-monte-carlo")  # fmt: skip
    add("--rates", metavar="NAME", help="arrhenius, metropolis or heat_bath")
    add("--times", type=float, nargs="+", metavar="t", help="ascending times")
    add("--log-times", type=float, nargs=3, metavar=("FROM", "TO", "COUNT"),
        help="evenly spaced ln t instead, up to 540")  # fmt: skip
    add("--environments", type=int, metavar="E", help="independent potentials")
    add("--starts", type=int, metavar="S", help="starting sites per environment")
    add("--seed", type=int, metavar="K", help="of all random numbers (default 0)")
    add("--out", metavar="DIR", help="rows, summary and figures (default: noisescale-runs/...)")
    add("--fresh", action="store_true", help="begin anew instead of going on with what is there")
    add("--json", action="store_true", help="print the summary as JSON on standard output")


def run(options: argparse.Namespace) -> int:
    """Simulate, fit, draw, print."""
    need("simulate", ("numba", *(["jax"] if options.method == "walkers" else [])), "simulate")
    if options.out == "":
        raise InputError("--out is empty: give a name")
    simulation = _simulation(options)
    out = Path(options.out) if options.out else Path("noisescale-runs") / _name(simulation)
    record = _simulate(simulation, out, options.fresh)

    from noisescale.plots import save, simulate_figures
    from noisescale.record import write_text
    from noisescale.simulation.summary import drawing_of, summarise

    document = summarise(simulation, record.rows)
    text = json.dumps(document, indent=1, allow_nan=False)
    write_text(out / "summary.json", text + "\n")
    for name, figure in simulate_figures(drawing_of(simulation, record.rows, document)).items():
        save(figure, out / f"{name}.png")
    if options.json:
        print(text)
    else:
        _print(document)
    print(f"wrote rows.jsonl, summary.json and figures to {out}", file=sys.stderr)
    return 0


def _simulation(options: argparse.Namespace) -> "Simulation":
    from noisescale.simulation.specification import Simulation, simulation_fields

    given = {
        name: value
        for name in simulation_fields()
        if name != "log_times" and (value := getattr(options, name)) is not None
    }
    if options.times is not None and options.log_times is not None:
        raise InputError("give --times or --log-times, not both")
    if options.times is not None:
        from noisescale.simulation.clocks import checked_log_times

        given["log_times"] = tuple(checked_log_times(options.times, None)[0].tolist())
    if options.log_times is not None:
        given["log_times"] = _evenly(*options.log_times)
    return Simulation(**given)


def _evenly(first: float, last: float, count: float) -> tuple[float, ...]:
    import numpy as np

    if not 1 <= count <= 10_000 or count != int(count):
        raise InputError(f"--log-times: COUNT {count:g} must be a whole number from 1 to 10,000")
    if not first < last and count > 1:
        raise InputError(f"--log-times: FROM {first:g} must lie below TO {last:g}")
    return tuple(np.linspace(first, last, int(count)).tolist())


def _name(simulation: "Simulation") -> str:
    kind = simulation.potential
    if kind == "self-affine":
        kind = f"alpha-{simulation.alpha:g}"
    return f"simulate-{kind}-{simulation.method}"


def _simulate(simulation: "Simulation", out: Path, fresh: bool) -> "Record":
    from noisescale.simulation.simulate import Stopped, simulate
    from noisescale.simulation.walkers import HopLimitError

    bar = counting("environments, distance {task.fields[distance]:,.0f} at the last time")
    task = bar.add_task(simulation.method, total=simulation.environments, distance=0.0)

    def report(done: int, row: Mapping[str, Any]) -> None:
        if not bar.live.is_started:
            bar.start()
        bar.update(task, completed=done, distance=row["distance"])

    try:
        with stop_wish() as stop:
            return simulate(simulation, out, resume=not fresh, report=report, stop=stop)
    except (Stopped, KeyboardInterrupt):
        stop_bar(bar)
        fail(f"stopped; finished environments are kept in {out}, the same command goes on", 143)
    except HopLimitError as error:
        stop_bar(bar)
        fail(f"{error}; or take --method exact", 1)
    except OSError as error:
        stop_bar(bar)
        fail(f"cannot write to {error.filename or out} ({error.strerror or error})", 1)
    finally:
        stop_bar(bar)


def _print(document: Mapping[str, Any]) -> None:
    from noisescale.cli.tables import Output, table

    def number(value: float | None, error: float | None = None) -> str:
        if value is None:
            return "–"
        return f"{value:.4g}" if error is None else f"{value:.4g} ± {error:.2g}"

    rows = [
        [
            f"{row['log_time']:.4g}",
            number(row["distance"], row["distance_stderr"]),
            number(row["mean_square"]),
            number(row["same_site"]),
            "0" if row["wall_fraction"] < 1e-6 else f"{100 * row['wall_fraction']:.2g} %",
            "yes" if row["in_window"] else "no",
        ]
        for row in document["times"]
    ]
    head = ["ln t", "median |x|", "mean square", "same site", "at walls", "in window"]
    output = Output()
    output.print(table(head, rows, right=set(range(5))))
    output.print(f"{document['environments']} environments; t: {document['time_unit']}")
    for line in _law_lines(document["law"]):
        output.print(line)


def _law_lines(law: Mapping[str, Any]) -> list[str]:
    """The fitted law in words."""
    lines = [f"law: {law['verdict']} ({law['reason']})"]
    if law.get("alpha") is not None:
        low, high = law["alpha_interval"]
        first, last = law["window"]
        exponent = "–" if law["exponent"] is None else f"{law['exponent']:.3g}"
        predicted = law["predicted_exponent"]
        lines += [
            f"D ~ (ln t - {law['log_tau0']:.2g})^p with p = 2/alpha = {exponent}"
            + (f" (predicted {predicted:.3g})" if predicted else ""),
            f"alpha = {law['alpha']:.3g} ± {_two_digits(law['alpha_stderr'])}, 95 % interval "
            f"[{low:.3g}, {high:.3g}], ln t from {first:g} to {last:g}, {law['times_used']} times, "
            f"{law['times_at_walls']} left out at walls",
            f"naive, with microscopic time 1: alpha = {law['naive_alpha']:.3g}",
        ]
    return lines


def _two_digits(value: float | None) -> str:
    """Two digits, or a dash for what is not known."""
    return "–" if value is None else f"{value:.2g}"
