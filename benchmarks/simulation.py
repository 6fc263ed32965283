"""Simulation in one dimension against what a user would pick instead, in one process.

pip install -e '.[simulate,peers]'
python benchmarks/simulation.py [--rounds 5] [--quick]
"""

import argparse
import statistics
import time
import warnings
from collections.abc import Callable

import numpy as np
from measuring import TARGETS_HEADING, at_least, peak, resident, row, told
from scipy.integrate import solve_ivp
from scipy.sparse import block_diag, diags, identity
from scipy.sparse.linalg import expm_multiply, splu

from noisescale.analysis.roughness.structure import structure_function
from noisescale.simulation import displacements, fractional_brownian, mean_square_displacement
from noisescale.simulation.propagation import central_starts
from noisescale.simulation.rates import hop_rates

SEED = 1


def both(
    ours: Callable[[], object], peer: Callable[[], object], rounds: int
) -> tuple[list[float], float, float]:
    """Ratios peer/ours round by round, and the median seconds of each; warm.

    Ours is repeated within a round until it takes a hundredth of the peer's time at least.
    """
    ours(), peer()
    pairs = []
    for _ in range(rounds):
        start = time.perf_counter()
        peer()
        peer_time = time.perf_counter() - start
        repeats, start = 0, time.perf_counter()
        while repeats < 3 or time.perf_counter() - start < 0.01 * peer_time:
            ours()
            repeats += 1
        pairs.append(((time.perf_counter() - start) / repeats, peer_time))
    ratios = [b / a for a, b in pairs]
    return ratios, statistics.median(a for a, _ in pairs), statistics.median(b for _, b in pairs)


def report(what: str, peer: str, target: float | None, result: tuple) -> None:
    """A row of TARGETS.md."""
    ratios, ours, theirs = result
    goal, measured = at_least(target, ratios) if target else ("for the record", told(ratios))
    seconds = f"; {1e3 * ours:.3g} ms against {1e3 * theirs:.4g} ms"
    print(row("`simulation.py`", what, peer, goal, measured + seconds), flush=True)


def paths(quick: bool, rounds: int) -> None:
    """Exact fractional Brownian paths."""
    from fbm import FBM
    from stochastic.processes.continuous import FractionalBrownianMotion

    for power in (12,) if quick else (16, 20):
        n, rng = 1 << power, np.random.default_rng(SEED)
        peers = {
            "`fbm`, its exact method": FBM(n - 1, 0.75, n - 1, "daviesharte").fbm,
            "`stochastic`": lambda n=n: FractionalBrownianMotion(0.75, n - 1).sample(n - 1),
        }
        for peer, call in peers.items():
            result = both(lambda n=n, r=rng: fractional_brownian(n, 1.5, rng=r), call, rounds)
            report(f"path of 2^{power} sites, α = 1.5", peer, 50, result)


def structure(quick: bool, rounds: int) -> None:
    """Structure function at all lags of a regular trace."""
    import gstools

    for n in (1024,) if quick else (4096, 16384):
        V = fractional_brownian(n, 1.0, rng=np.random.default_rng(SEED))
        # gstools estimates half of it.
        theirs = 2 * gstools.vario_estimate_axis(V)[1:]
        _, S, _ = structure_function(V)
        worst = np.abs(S / theirs - 1).max()
        assert worst < 1e-9, worst
        result = both(
            lambda V=V: structure_function(V), lambda V=V: gstools.vario_estimate_axis(V), rounds
        )
        what = f"structure function of {n:,} sites, all lags (largest difference {worst:.0e})"
        report(what, "`gstools` on a regular grid", 50, result)


def generator(V: np.ndarray):
    """The sparse generator of the walk."""
    right, left = hop_rates(V, 1.0)
    return diags([left[1:], -(right + left), right[:-1]], [-1, 0, 1], format="csc")


def propagation(quick: bool, rounds: int) -> None:
    """E x²(t) of 1,000 starts at a fixed time."""
    n = 200 if quick else 1000
    V = fractional_brownian(n, 1.0, rng=np.random.default_rng(SEED))
    L, x = generator(V), np.arange(n) - 0.5 * n
    f, twice = np.stack([x**2, x], 1), block_diag([L, L], format="csc")

    def msd(moments: np.ndarray) -> np.ndarray:
        return moments[:, 0] - 2 * x * moments[:, 1] + x**2

    def exponential(t: float) -> np.ndarray:
        return msd(expm_multiply(L * t, f))

    def stiff(t: float) -> np.ndarray:
        flat = f.T.ravel()
        done = solve_ivp(
            lambda _, y: twice @ y,
            (0, t),
            flat,
            "BDF",
            rtol=1e-6,
            atol=1e-6 * n,
            jac=twice,
        )
        return msd(done.y[:, -1].reshape(2, n).T)

    def linear(t: float) -> np.ndarray:
        return msd(splu((identity(n, format="csc") - t * L).tocsc()).solve(f))

    for t, peers in (
        (1e3, {"`expm_multiply`": exponential, "`solve_ivp`, BDF": stiff}),
        (1e10, {"`solve_ivp`, BDF": stiff}),
    ):
        ours = mean_square_displacement(V, [t], clock="fixed")[0]
        for peer, call in peers.items():
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                apart = np.abs(ours / call(t) - 1).max()
                result = both(
                    lambda t=t: mean_square_displacement(V, [t], clock="fixed"),
                    lambda t=t, call=call: call(t),
                    rounds,
                )
            what = f"E x² of {n:,} starts at t = {t:.0e} (largest difference {apart:.0e})"
            report(what, peer, 100, result)
    for t in (1e6, 1e10, 1e16, 1e22):
        ours = mean_square_displacement(V, [t])[0]
        apart = np.abs(linear(t) / ours - 1).max()
        what = f"{n:,} starts, exponential clock of mean {t:.0e}"
        result = both(lambda t=t: mean_square_displacement(V, [t]), lambda t=t: linear(t), rounds)
        report(what, f"`splu` of 1 − tL: wrong by up to {apart:.0e}", None, result)


def scale(quick: bool) -> None:
    """Cost per site, and the largest case."""
    per_site = []
    sizes = (10**4, 10**5) if quick else (10**5, 10**6, 10**7)
    for n in sizes:
        V = fractional_brownian(n, 1.0, rng=np.random.default_rng(SEED))
        count = 4 if n < 10**7 else 40
        times, starts = np.linspace(5.0, 40.0, count), central_starts(n)
        displacements(V[:1000], log_t=times[:1])
        before, start = resident(), time.perf_counter()
        displacements(V, log_t=times, starts=starts)
        took = time.perf_counter() - start
        per_site.append(took / n / count)
        memory = (peak() - before) / 2**30
        print(
            row(
                "`simulation.py`",
                f"{n:,} sites × {count} times, mean square and median over starts",
                "–",
                "10⁷ × 40: under 60 s and 2 GiB; cost linear in sites",
                f"{took:.2f} s, {1e9 * per_site[-1]:.0f} ns per site and time"
                + (f", {memory:.2f} GiB" if n == sizes[-1] else ""),
            ),
            flush=True,
        )


def main() -> None:
    """Print rows for TARGETS.md."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--quick", action="store_true", help="small sizes: does it run?")
    options = parser.parse_args()
    print(TARGETS_HEADING)
    paths(options.quick, options.rounds)
    structure(options.quick, options.rounds)
    propagation(options.quick, options.rounds)
    scale(options.quick)


if __name__ == "__main__":
    main()
