"""Where a walker is after any time, exactly: the law, its mean square, averages over starts.

The walker hops on sites 0 … n−1 of a line with reflecting ends, in continuous time, with the rates
of `rates.hop_rates`. The clock is exponential of mean t ("exponential", exact to rounding) or the
fixed time t ("fixed", by Stehfest's inversion: about 1e-4 relative at order 12).
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from noisescale.analysis.documents import document
from noisescale.analysis.html import table
from noisescale.errors import InputError, shown
from noisescale.simulation import resolvent
from noisescale.simulation.clocks import checked_log_times, clock_mixture
from noisescale.simulation.rates import rates_on_line
from noisescale.simulation.threads import in_threads, thread_count

Array = NDArray[np.float64]

# A time counts as box-limited where more walkers than this have touched an end.
WALL_LIMIT = 0.01
_MOST_STARTS = 4096


@dataclass(frozen=True, slots=True)
class Displacements:
    """Displacements |X_τ − x0| in one potential, averaged over starts; arrays (K,), a time each.

    Args:
        log_t: ln t, natural logarithm of the time in units of the free walker's hop.
        clock: "exponential" (of mean t) or "fixed".
        rates: the rule of the hops, see `rates.hop_rates`.
        temperature: T, in units of V.
        n_starts: starting sites averaged over.
        mean_square: mean of (X − x0)², lattice spacings squared.
        mean_absolute: mean of |X − x0|.
        median: median of |X − x0| over starts and walkers together: where P(|X − x0| ≥ d),
            linear between whole d, falls to ½, less ½ (half a site).
        thermal_variance: mean over starts of the variance of X given the start.
        same_site: probability that two independent walkers of one start, each at its own clock,
            are on one site; NaN at a fixed clock.
        wall_fraction: at most this share of walkers has touched an end of the box by an
            exponential clock of mean t.
        distances: (D,) distances asked for.
        farther: (K, D) P(|X − x0| ≥ distance) over starts and walkers together.
    """

    log_t: Array
    clock: str
    rates: str
    temperature: float
    n_starts: int
    mean_square: Array
    mean_absolute: Array
    median: Array
    thermal_variance: Array
    same_site: Array
    wall_fraction: Array
    distances: NDArray[np.int64]
    farther: Array

    @property
    def in_window(self) -> NDArray[np.bool_]:
        """Which times are not limited by the box: wall_fraction ≤ 1 %."""
        return self.wall_fraction <= WALL_LIMIT

    def to_dict(self) -> dict[str, Any]:
        """All fields as strict JSON."""
        return document(self)

    def _repr_html_(self) -> str:
        head = ["ln t", "median |x − x₀|", "mean |x − x₀|", "mean square", "at walls", "in window"]
        columns = (self.median, self.mean_absolute, self.mean_square, self.wall_fraction)
        rows = [
            [*values, bool(inside)]
            for *values, inside in zip(self.log_t, *columns, self.in_window, strict=True)
        ]
        title = f"Displacements in lattice sites, T = {self.temperature:g}, {self.clock} clock"
        return table(title, head, rows, [f"{self.n_starts:,} starts, {self.rates} rates"])


def mean_square_displacement(
    V: ArrayLike,
    times: ArrayLike | None = None,
    T: float = 1.0,
    clock: str = "exponential",
    order: int = 12,
    starts: ArrayLike | None = None,
    *,
    log_t: ArrayLike | None = None,
    rates: str = "arrhenius",
) -> Array:
    """E_i[(X_τ − i)²] = Σ_j (j − i)² P_i(X_τ = j), for all starts i from one elimination per time.

    Args:
        V: (n,) potential.
        times: (K,) t > 0, ascending.
        T: temperature, > 0.
        clock: "exponential" (mean t, accurate to rounding) or "fixed".
        order: clocks of Stehfest's inversion for "fixed", even, 4 to 18.
        starts: one site, or (S,) sites; all n by default.
        log_t: (K,) ln t instead of `times`, up to 540.
        rates: "arrhenius", "metropolis" or "heat_bath".

    Returns:
        (K,) for one site, else (K, S) or (K, n), lattice spacings squared. Ends of the box
        reflect: see `displacements` for the share of walkers that touched them.

    Raises:
        InputError: an argument outside its range, or neighbours that differ by more than 300 T.
    """
    right, left = rates_on_line(V, T, rates)
    logs, _ = checked_log_times(times, log_t)
    sites, single = _sites(starts, right.size)
    out = np.empty((logs.size, right.size if sites is None else sites.size))

    def one(k: int) -> None:
        total = np.zeros(right.size)
        for factors, weight in _mixture(right, left, float(logs[k]), clock, order):
            resolvent.add_mean_squares(*factors, total, weight)
        out[k] = total if sites is None else total[sites]

    _each(one, logs.size, right.size, 4)
    return out[:, 0] if single else out


def occupation(
    V: ArrayLike,
    x0: int,
    t: float | None = None,
    T: float = 1.0,
    clock: str = "exponential",
    order: int = 12,
    *,
    log_t: float | None = None,
    rates: str = "arrhenius",
) -> Array:
    """P_{x0}(X_τ = j) for all sites j; for t → ∞ Boltzmann's e^{−V_j/T} / Σ_k e^{−V_k/T}.

    Args:
        V: (n,) potential.
        x0: starting site.
        t: time > 0, or `log_t` = ln t.
        T, clock, order, rates: as in `mean_square_displacement`. At a fixed clock entries
            carry an absolute error of about 1e-4, so that small ones may be negative.

    Returns:
        (n,) probabilities, relative accuracy at an exponential clock entry by entry.
    """
    right, left = rates_on_line(V, T, rates)
    logs, single = checked_log_times(t, log_t, "t")
    if not single:
        raise InputError(f"t={shown(t if log_t is None else log_t)}: the law is of one time")
    start = _site(x0, right.size)
    law = np.zeros(right.size)
    for factors, weight in _mixture(right, left, float(logs[0]), clock, order):
        resolvent.law_from(*factors, start, law, weight)
    return law


def sample_positions(
    V: ArrayLike,
    starts: ArrayLike,
    t: float | None = None,
    T: float = 1.0,
    *,
    log_t: float | None = None,
    rates: str = "arrhenius",
    rng: np.random.Generator,
) -> NDArray[np.int64]:
    """Draws of X_τ at an exponential clock of mean t, one independent walker per start.

    Inversion of the exact law: a draw costs log n operations, whatever t is.

    Args:
        V: (n,) potential.
        starts: (W,) sites; repeat one for several walkers from it.
        t, T, log_t, rates: as in `occupation`.
        rng: source of one uniform deviate per walker.

    Returns:
        (W,) sites.
    """
    right, left = rates_on_line(V, T, rates)
    logs, _ = checked_log_times(t, log_t, "t")
    if logs.size != 1:
        raise InputError("t: positions are drawn at one time; call again for the next")
    sites, _ = _sites(starts, right.size)
    assert sites is not None
    out = np.empty(sites.size, np.int64)
    for factors, _ in _mixture(right, left, float(logs[0]), "exponential", 4):
        tails = np.empty((4, right.size))
        resolvent.summarise(*factors, np.empty(0, np.int64), np.empty((5, 0)), *tails)
        resolvent.positions_at(sites, rng.random(sites.size), *tails, out)
    return out


def displacements(
    V: ArrayLike,
    times: ArrayLike | None = None,
    T: float = 1.0,
    clock: str = "exponential",
    order: int = 12,
    starts: ArrayLike | None = None,
    *,
    log_t: ArrayLike | None = None,
    rates: str = "arrhenius",
    distances: ArrayLike = (),
    report: Callable[[int], None] | None = None,
) -> Displacements:
    """Mean square, mean and median of |X_τ − x0| with the share of walkers that met a wall.

    Args:
        V, times, T, clock, order, log_t, rates: as in `mean_square_displacement`.
        starts: (S,) sites; by default up to 4,096 evenly spaced ones of the central half.
        distances: whole numbers ≥ 1 at which to give P(|X − x0| ≥ d).
        report: called with 1 after each time.
    """
    right, left = rates_on_line(V, T, rates)
    logs, _ = checked_log_times(times, log_t)
    n = right.size
    sites, _ = _sites(central_starts(n) if starts is None else starts, n)
    assert sites is not None
    sites.sort()
    wanted = np.asarray(distances, np.int64)
    if wanted.ndim != 1 or (wanted < 1).any():
        raise InputError(f"distances={shown(distances)}: give whole numbers of at least 1")
    found = np.full((6, logs.size), np.nan)
    farther = np.zeros((logs.size, wanted.size))

    def one(k: int) -> None:
        found[:, k], farther[k] = _at_one_time(
            right, left, float(logs[k]), clock, order, sites, wanted
        )
        if report:
            report(1)

    clocks = 1 if clock == "exponential" else order
    _each(one, logs.size, n, 4 + 4 * clocks)
    square, absolute, median, variance, same, wall = found
    return Displacements(
        log_t=logs,
        clock=clock,
        rates=rates,
        temperature=float(T),
        n_starts=sites.size,
        mean_square=square,
        mean_absolute=absolute,
        median=median,
        thermal_variance=variance,
        same_site=same,
        wall_fraction=wall,
        distances=wanted,
        farther=farther,
    )


def central_starts(n: int, most: int = _MOST_STARTS) -> NDArray[np.int64]:
    """Up to `most` evenly spaced sites of the central half of n."""
    first, last = n // 4, n - 1 - n // 4
    count = min(most, last - first + 1)
    return np.unique(np.linspace(first, last, count).round().astype(np.int64))


def _at_one_time(
    right: Array,
    left: Array,
    log_t: float,
    clock: str,
    order: int,
    sites: NDArray[np.int64],
    distances: NDArray[np.int64],
) -> tuple[tuple[float, ...], list[float]]:
    moments = np.zeros((3, sites.size))
    parts: list[tuple[float, Array]] = []
    same = np.nan
    numbers = np.empty((5, sites.size))
    for factors, weight in _mixture(right, left, log_t, clock, order):
        tails = np.empty((4, right.size))
        resolvent.summarise(*factors, sites, numbers, *tails)
        moments += weight * numbers[:3]
        parts.append((weight, tails))
    if clock == "exponential":
        same = float(numbers[3].mean())
    else:
        # Walls are told at an exponential clock of mean t: a bound needs positive weights.
        for factors, _ in _mixture(right, left, log_t, "exponential", order):
            resolvent.summarise(*factors, sites, numbers, *np.empty((4, right.size)))
    mean, absolute, square = moments
    variance = float((square - mean**2).mean())
    found = (
        float(square.mean()),
        float(absolute.mean()),
        _median(parts, sites, right.size),
        variance,
        same,
        float(numbers[4].mean()),
    )
    return found, [_farther_than(int(d), parts, sites) for d in distances]


def _median(parts: list[tuple[float, Array]], sites: NDArray[np.int64], n: int) -> float:
    # P(|X − x0| ≥ low) > ½ ≥ P(|X − x0| ≥ high)
    low, high, above, below = 0, n, 1.0, 0.0
    while high - low > 1:
        d = (low + high) // 2
        there = _farther_than(d, parts, sites)
        if there > 0.5:
            low, above = d, there
        else:
            high, below = d, there
    return max(low + (above - 0.5) / (above - below) - 0.5, 0.0)


def _farther_than(d: int, parts: list[tuple[float, Array]], sites: NDArray[np.int64]) -> float:
    return sum(weight * resolvent.mean_farther_than(d, sites, *tails) for weight, tails in parts)


def _mixture(
    right: Array, left: Array, log_t: float, clock: str, order: int
) -> Iterator[tuple[Array, float]]:
    factors = np.empty((3, right.size))
    for s, weight in clock_mixture(clock, log_t, order):
        resolvent.factorise(right, left, s, *factors)
        yield factors, weight


def _sites(given: ArrayLike | None, n: int) -> tuple[NDArray[np.int64] | None, bool]:
    if given is None:
        return None, False
    array = np.asarray(given)
    if array.dtype.kind not in "iu" or array.ndim > 1 or not array.size:
        raise InputError(f"starts={shown(given)}: give one site or a list of sites, whole numbers")
    if array.min() < 0 or array.max() >= n:
        raise InputError(f"starts={shown(given)}: sites run from 0 to {n - 1}")
    return np.atleast_1d(array).astype(np.int64), array.ndim == 0


def _site(given: object, n: int) -> int:
    sites, single = _sites(given, n)  # type: ignore[arg-type]
    if sites is None or not single:
        raise InputError(f"x0={shown(given)}: give one site, a whole number from 0 to {n - 1}")
    return int(sites[0])


def _each(work: Callable[[int], None], count: int, n: int, arrays: int) -> None:
    # Times are independent; the kernels release the interpreter. At most about 1.5 GB at once.
    bytes_each = 8 * n * arrays
    threads = 1 if bytes_each < 200_000 else min(thread_count(None), 1_500_000_000 // bytes_each)

    def part(k: int, go_on: Callable[[], None]) -> None:
        go_on()
        work(k)

    in_threads(part, range(count), max(1, threads))
