"""Barrier trees against gudhi's persistence of cubical complexes, in alternating rounds.

python benchmarks/barrier_tree.py [--rounds 9] [--quick]

Both sides see the same potential, and all finite persistences must be equal to the last bit before
anything is timed. gudhi returns pairs of values; ours the valley of every site, the pointers and
the distance to the wall as well. `CubicalComplex(vertices=…)` has our neighbourhood (2d nearest
sites); it computes the homology of all dimensions. gudhi's `CubicalPersistence` is faster, but on a
line only: in the plane its fast case joins sites over corners.
"""

import argparse
import os
import platform
from importlib.metadata import version

import gudhi
import numpy as np
from gudhi.sklearn.cubical_persistence import CubicalPersistence
from measuring import TARGETS_HEADING, alternating, at_least, ratios, row, told

from noisescale.simulation.barriers import barrier_tree
from noisescale.simulation.fields import fractional_brownian_field
from noisescale.simulation.potentials import fractional_brownian

SCRIPT = "`barrier_tree.py`"
TARGET = 3.0


def pairs(V: np.ndarray) -> np.ndarray:
    """Births and deaths of gudhi's components of sublevel sets, (m, 2)."""
    complex_ = gudhi.CubicalComplex(vertices=V)
    complex_.compute_persistence()
    return complex_.persistence_intervals_in_dimension(0)


def line_pairs(V: np.ndarray) -> np.ndarray:
    """The same on a line, by the algorithm of its own that gudhi has there."""
    diagrams = CubicalPersistence(homology_dimensions=0).fit_transform([V])
    return np.asarray(diagrams[0])


def finite(lengths: np.ndarray) -> np.ndarray:
    """Sorted, without the component that lives for ever and without empty ones."""
    return np.sort(lengths[np.isfinite(lengths) & (lengths > 0)])


def compare(name: str, V: np.ndarray, rounds: int) -> list[str]:
    """Rows of one potential; the script ends with an error if a persistence differs."""
    peers = {"gudhi CubicalComplex": lambda: pairs(V)}
    if V.ndim == 1:
        peers["gudhi CubicalPersistence"] = lambda: line_pairs(V)
    mine = finite(barrier_tree(V).persistence)
    for peer, work in peers.items():
        theirs = work()
        if not np.array_equal(mine, finite(theirs[:, 1] - theirs[:, 0])):
            raise SystemExit(f"{name}: {peer} finds other persistences")
    starts = np.arange(0, V.shape[0], 16) if V.ndim == 1 else None
    barriers = np.linspace(0.0, np.ptp(V), 40)
    tree = barrier_tree(V)
    cases = {
        "ours": lambda: barrier_tree(V),
        **peers,
        "40 log-times of every 16th site" if V.ndim == 1 else "40 log-times of all sites": (
            lambda: tree.location(barriers, starts)
        ),
    }
    times = alternating(cases, rounds)
    for case, measured in times.items():
        print(f"{name:28s} {case:32s} {told([1e3 * t for t in measured], 1)} ms")
    rows = []
    for peer in peers:
        found = ratios(times[peer], times["ours"])
        # Pairs only, on a line only: no target was set against it.
        special = peer == "gudhi CubicalPersistence"
        cells = ("for the record", told(found)) if special else at_least(TARGET, found)
        rows.append(row(SCRIPT, f"tree of {name}", peer, *cells))
    return rows


def main() -> None:
    """Print times, then rows for TARGETS.md."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--quick", action="store_true", help="tiny sizes, to see that it works")
    arguments = parser.parse_args()
    n, side, edge = (1 << 12, 32, 10) if arguments.quick else (1 << 20, 512, 64)
    versions = ", ".join(f"{name} {version(name)}" for name in ("gudhi", "numba", "numpy"))
    print(f"{platform.machine()}, {os.cpu_count()} cores, {versions}, {arguments.rounds} rounds")
    rng = np.random.default_rng(1)
    rows = []
    for alpha in (1.0, 1.75):
        V = fractional_brownian(n, alpha, rng=rng)
        rows += compare(f"{n:,} sites, α = {alpha:g}", V, arguments.rounds)
    V = fractional_brownian_field((side, side), 1.0, rng=rng)
    rows += compare(f"{side}² sites, α = 1", V, arguments.rounds)
    V = fractional_brownian_field((edge, edge, edge), 1.0, rng=rng)
    rows += compare(f"{edge}³ sites, α = 1", V, arguments.rounds)
    print("\n".join(["", TARGETS_HEADING, *rows]))


if __name__ == "__main__":
    main()
