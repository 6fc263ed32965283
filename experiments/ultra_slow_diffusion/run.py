"""Simulate every case of the study; a stopped run goes on where it was.

python experiments/ultra_slow_diffusion/run.py [CASE...]   # about five minutes on two cores

Rows go to noisescale-runs/ultra-slow-diffusion (not committed), summaries to results/.
"""

import json
import sys
import time
from pathlib import Path

import numpy as np

from noisescale.record import write_text
from noisescale.simulation.simulate import simulate
from noisescale.simulation.specification import Simulation
from noisescale.simulation.summary import summarise

HERE = Path(__file__).resolve().parent
ROWS = HERE.parent.parent / "noisescale-runs" / "ultra-slow-diffusion"


def logs(first: float, last: float, count: int) -> tuple[float, ...]:
    """ln t evenly spaced in ln ln t: a power of ln t is then sampled evenly."""
    return tuple(np.geomspace(first, last, count).tolist())


def case(**changes) -> Simulation:
    """σ = T = 1, 32 environments of 2^20 sites, 64 starts in each, unless changed."""
    return Simulation(**{"sites": 1 << 20, "environments": 32, "starts": 64, **changes})


# Times end where the box of the largest distances would begin to matter.
CASES = {
    "alpha-0.5": case(alpha=0.5, sites=1 << 21, log_times=logs(4, 44, 16)),
    "alpha-1": case(alpha=1.0, log_times=logs(10, 200, 18)),
    "alpha-1.5": case(alpha=1.5, log_times=logs(10, 320, 18)),
    "alpha-1.75": case(alpha=1.75, log_times=logs(10, 320, 18)),
    "alpha-1.9": case(alpha=1.9, sites=1 << 21, log_times=logs(10, 320, 18)),
    "alpha-1.95": case(alpha=1.95, sites=1 << 21, log_times=logs(10, 320, 18)),
    # The same potentials in the limit of long times: valleys only.
    **{
        f"valleys-alpha-{alpha:g}": case(
            alpha=alpha, sites=sites, log_times=logs(10, last, 18), method="valleys", starts=1024
        )
        for alpha, last, sites in (
            (1.0, 200, 1 << 20),
            (1.5, 320, 1 << 20),
            (1.75, 320, 1 << 20),
            (1.9, 320, 1 << 21),
            (1.95, 320, 1 << 21),
        )
    },
    # Controls.
    "ramp": case(alpha=2.0, sigma=0.2, sites=1 << 17, log_times=logs(7, 11, 8)),
    "smooth": case(
        potential="smooth", correlation_length=16.0, sigma=1.5, sites=1 << 18,
        log_times=logs(10, 19, 10),
    ),
    "flat": case(potential="flat", environments=2, sites=1 << 16, log_times=logs(3, 16, 10)),
}  # fmt: skip


def main(names: list[str]) -> None:
    """Run, summarise, write results/CASE.json."""
    unknown = [name for name in names if name not in CASES]
    if unknown:
        raise SystemExit(f"unknown case {unknown[0]!r}: known are {', '.join(CASES)}")
    (HERE / "results").mkdir(exist_ok=True)
    for name in names or CASES:
        simulation, begin = CASES[name], time.monotonic()
        record = simulate(simulation, ROWS / name)
        document = summarise(simulation, record.rows)
        document["versions"] = record.identity["versions"]
        text = json.dumps(document, indent=1, allow_nan=False) + "\n"
        write_text(HERE / "results" / f"{name}.json", text)
        law = document["law"]
        print(
            f"{name}: {law['verdict']}, alpha {law.get('alpha', float('nan')):.3f}, "
            f"{time.monotonic() - begin:.0f} s",
            flush=True,
        )


if __name__ == "__main__":
    main(sys.argv[1:])
