"""Walks hop by hop against plain-Python twins, exact laws and closed forms."""

import threading
import time
from functools import partial

import numpy as np
import pytest
from scipy.linalg import expm
from scipy.stats import chi2, poisson

from noisescale import InputError
from noisescale.simulation import continuous_time, discrete_time, walkers
from noisescale.simulation.rates import RATES, cumulative_rates, hop_rates
from noisescale.simulation.threads import in_threads, slices
from noisescale.simulation.walkers import HopLimitError, discrete_walk, random_walk
from tests.reference import walkers as reference


def rough(shape, seed=0, sigma=1.0):
    """Independent heights: neighbours differ by sigma in root mean square."""
    return sigma / np.sqrt(2) * np.random.default_rng(seed).standard_normal(shape)


def chi_square_p(sites, law):
    """P(χ² larger) of sites drawn from `law`; cells with fewer than 5 expected are merged."""
    expected = len(sites) * law
    counts = np.bincount(sites, minlength=len(law))
    small = expected < 5
    expected = np.append(expected[~small], expected[small].sum())
    counts = np.append(counts[~small], counts[small].sum())
    keep = expected > 1e-6
    assert counts[~keep].sum() == 0
    statistic = ((counts - expected)[keep] ** 2 / expected[keep]).sum()
    return chi2.sf(statistic, keep.sum() - 1)


def within(values, truth, errors=4.0):
    """Whether the mean of independent values lies within so many standard errors of the truth."""
    return abs(values.mean() - truth) < errors * values.std(ddof=1) / np.sqrt(values.size)


# --- twins ------------------------------------------------------------------------------------
@pytest.mark.parametrize("rates", RATES)
@pytest.mark.parametrize("boundary", ["reflecting", "periodic"])
def test_a_continuous_walk_is_the_plain_one_with_the_same_words(rates, boundary):
    times = [0.0, 0.3, 0.3, 2.0, 11.0]
    for shape in [(7,), (3, 4), (2, 3, 3)]:
        V = rough(shape, sigma=2.0)
        starts = np.stack([np.arange(5) % size for size in shape], axis=1)
        key = np.random.default_rng(9).integers(1 << 32, size=2, dtype=np.uint32).tolist()
        x0 = starts[:, 0] if len(shape) == 1 else starts
        walk = partial(random_walk, T=0.8, rates=rates, boundary=boundary)
        found = walk(V, x0, times, rng=np.random.default_rng(9))
        assert found.dtype == np.int64
        for w, start in enumerate(starts.tolist()):
            twin = reference.continuous_walk(
                V, start, times, 0.8, rates, key, w, boundary == "periodic"
            )
            np.testing.assert_array_equal(found[w].reshape(twin.shape), twin)


@pytest.mark.parametrize("rates", RATES)
@pytest.mark.parametrize("boundary", ["reflecting", "periodic"])
def test_a_discrete_walk_is_the_plain_one_with_the_same_words(rates, boundary):
    V, record = rough((3, 6), sigma=2.0), [0, 1, 2, 5, 5, 32]
    starts = np.arange(12).reshape(3, 4) % 6
    walk = partial(discrete_walk, V, starts, 40, 0.8, rates, seed=11, record_at=record)
    found = walk(boundary=boundary)
    assert found.positions.dtype == np.int32
    for e, w in np.ndindex(3, 4):
        arguments = (record, 0.8, rates, 11, e, w, boundary == "periodic")
        twin = reference.discrete_walk(V[e], int(starts[e, w]), *arguments)
        np.testing.assert_array_equal(found.positions[e, w], twin)


@pytest.mark.parametrize("rates", RATES)
def test_rates_are_those_of_the_propagation_and_of_the_generator(rates):
    V = rough(9, sigma=3.0)
    right, left = hop_rates(V, 0.7, rates)
    table = cumulative_rates(V, 0.7, rates, periodic=False)
    np.testing.assert_allclose(table, np.stack([left, left + right], axis=1), rtol=1e-13)
    for shape, periodic in [((3, 4), False), ((3, 4), True), ((3, 3, 3), True)]:
        V = rough(shape)
        L = reference.generator(V, 0.7, rates, periodic)
        total = cumulative_rates(V, 0.7, rates, periodic)[:, -1]
        np.testing.assert_allclose(total, -np.diag(L), rtol=1e-13)


# --- free walkers, both conventions -----------------------------------------------------------
@pytest.mark.parametrize(
    ("rates", "rate"), [("arrhenius", 1), ("metropolis", 1), ("heat_bath", 0.5)]
)
def test_a_free_walker_in_continuous_time(rates, rate):
    """MSD = 2 d rate t within 4 standard errors, 4000 walkers, d = 1, 2, 3."""
    times = np.array([0.5, 4.0, 25.0])
    for d, side in [(1, 201), (2, 101), (3, 61)]:
        centre = side // 2
        x0 = np.full(4000, centre) if d == 1 else np.full((4000, d), centre)
        x = random_walk(np.zeros((side,) * d), x0, times, rates=rates, rng=np.random.default_rng(d))
        squares = ((x - centre) ** 2).reshape(4000, 3, d).sum(axis=2)
        for k, t in enumerate(times):
            assert within(squares[:, k], 2 * d * rate * t), (d, t)


@pytest.mark.parametrize(
    ("rates", "msd"), [("arrhenius", 1), ("metropolis", 1), ("heat_bath", 0.5)]
)
def test_a_free_walker_in_steps(rates, msd):
    """MSD = msd × steps within 4 standard errors, 4096 walkers; on a ring as in a wide box."""
    for boundary, n in [("reflecting", 401), ("periodic", 7)]:
        V = np.full((8, n), 3.5)
        start = np.full(512, n // 2)
        walk = discrete_walk(
            V, start, 100, rates=rates, seed=4, record_at=[1, 10, 100], boundary=boundary
        )
        moved = walk.positions - n // 2
        if msd == 1:
            assert (np.abs(moved[..., 0]) == 1).all()
        for k, steps in enumerate([1, 10, 100]):
            exact = msd == 1 and steps == 1
            assert exact or within((moved[..., k] ** 2.0).ravel(), msd * steps), (boundary, steps)
        # A step lasts ½ of the time in which a free walker's MSD is 2, 2 and 1.
        np.testing.assert_allclose(walk.time_step, 0.5, rtol=1e-14)
        assert f"displacement is {'1' if msd == 1 else '1/2'} per step" in walk.time_unit


# --- exact laws -------------------------------------------------------------------------------
@pytest.mark.parametrize("rates", RATES)
def test_law_in_continuous_time_is_the_matrix_exponential(rates):
    """χ² of 20,000 walkers at t = 1, 10; p > 1e-4."""
    cases = [((20,), (7,), "reflecting"), ((9,), (1,), "periodic"), ((4, 5), (1, 2), "reflecting")]
    for number, (shape, start, boundary) in enumerate(cases):
        V = rough(shape, sigma=1.5)
        x0 = np.tile(start, (20_000, 1))
        x = random_walk(
            V, x0[:, 0] if len(shape) == 1 else x0, [1.0, 10.0], T=0.9, rates=rates,
            rng=np.random.default_rng(number), boundary=boundary,
        )  # fmt: skip
        L = reference.generator(V, 0.9, rates, boundary == "periodic")
        sites = np.ravel_multi_index(
            tuple(np.moveaxis(x.reshape(20_000, 2, -1) % np.array(shape), -1, 0)), shape
        )
        origin = np.ravel_multi_index(start, shape)
        for k, t in enumerate([1.0, 10.0]):
            assert chi_square_p(sites[:, k], expm(L * t)[origin]) > 1e-4, (shape, t)


@pytest.mark.parametrize("rates", RATES)
@pytest.mark.parametrize("boundary", ["reflecting", "periodic"])
def test_law_in_steps_is_the_power_of_the_transition_matrix(rates, boundary):
    """χ² of 20,000 walkers in each of two environments after 1, 7, 40 steps; p > 1e-4."""
    V, record = rough((2, 20), sigma=1.5), [1, 7, 40]
    walk = discrete_walk(
        V, np.full(20_000, 7), 40, 0.9, rates, seed=8, record_at=record, boundary=boundary
    )
    for e in range(2):
        P = reference.transition_matrix(V[e], 0.9, rates, boundary == "periodic")
        for k, steps in enumerate(record):
            law = np.linalg.matrix_power(P, steps)[7]
            assert chi_square_p(walk.positions[e, :, k] % 20, law) > 1e-4, (e, steps)
        rate = reference.uniformisation_rate(V[e], 0.9, rates, boundary == "periodic")
        assert walk.time_step[e] == pytest.approx(1 / rate, rel=1e-13)


@pytest.mark.parametrize("rates", RATES)
def test_walkers_in_a_box_end_in_the_boltzmann_law(rates):
    """χ² of 20,000 walkers at T = 0.7, far beyond the relaxation time; p > 1e-4."""
    V, T = rough(6, seed=2, sigma=1.5), 0.7
    law = reference.boltzmann(V, T)
    gap = np.sort(-np.linalg.eigvals(reference.generator(V, T, rates)).real)[1]
    x = random_walk(V, np.zeros(20_000, int), [15 / gap], T, rates, rng=np.random.default_rng(1))
    assert chi_square_p(x[:, 0], law) > 1e-4
    steps = int(15 / gap * reference.uniformisation_rate(V, T, rates))
    walk = discrete_walk(V, np.zeros(20_000, int), steps, T, rates, seed=1)
    assert chi_square_p(walk.positions[0, :, 0], law) > 1e-4
    # Twice the temperature is another law.
    assert chi_square_p(x[:, 0], reference.boltzmann(V, 2 * T)) < 1e-12


@pytest.mark.parametrize("rates", RATES)
def test_mean_first_passage_time(rates):
    """Within 4 standard errors, 2000 walkers; the far site is a trap that nobody leaves."""
    V = np.append(rough(11, seed=3, sigma=1.5), -60.0)
    exact = reference.first_passage(V, 1.0, rates)
    width = exact / 60
    times = width * (np.arange(900) + 0.5)  # midpoints: the survival's integral to 1e-4
    x = random_walk(V, np.zeros(2000, int), times, rates=rates, rng=np.random.default_rng(6))
    assert (x[:, -1] == 11).all()
    assert within(width * (x < 11).sum(axis=1), exact)


def test_ramps():
    """E x² = 2(e^{σ²/2T²} − 1)t² + 2e^{σ²/8T²}t for V = kx, k ~ N(0, σ²), within 4 standard errors.

    The steps are summed with the Poisson weights of a time, which tests the length of a step too.
    """
    sigma, environments, steps = 0.5, 10_000, 30
    k = sigma * np.random.default_rng(12).standard_normal(environments)
    V = k[:, None] * np.arange(2 * steps + 1.0)
    walk = discrete_walk(
        V, [steps, steps], steps, rates="arrhenius", seed=13, record_at=range(steps + 1)
    )
    squares = ((walk.positions - steps) ** 2.0).mean(axis=1)
    for t in (1.0, 4.0):
        weights = poisson.pmf(np.arange(steps + 1), t / walk.time_step[:, None])
        exact = 2 * np.expm1(sigma**2 / 2) * t**2 + 2 * np.exp(sigma**2 / 8) * t
        assert within((weights * squares).sum(axis=1), exact), t
    assert walk.wall_fraction[:-1].max() == 0


# --- independence, and of what the result does not depend on ----------------------------------
def correlation_z(a, b):
    """The correlation of two samples in units of its standard error."""
    return np.corrcoef(a.ravel(), b.ravel())[0, 1] * np.sqrt(a.size)


def test_walkers_environments_and_times_are_independent():
    """Correlations of free displacements within 4 standard errors of 0."""
    V = np.zeros((64, 401))
    walk = discrete_walk(V, np.full(256, 200), 80, rates="metropolis", seed=5, record_at=[40, 80])
    first, both = walk.positions[..., 0] - 200.0, walk.positions[..., 1] - 200.0
    second = both - first
    x = random_walk(V[0], np.full(16_384, 200), [30.0, 60.0], rng=np.random.default_rng(5)) - 200.0
    pairs = [
        (first, second),
        (first[:-1], first[1:]),
        (first[:, :-1], first[:, 1:]),
        (first[:-1], second[1:]),
        (x[:-1, 0], x[1:, 0]),
        (x[:, 0], x[:, 1] - x[:, 0]),
        (first.reshape(-1), x[:, 0]),
    ]
    for number, (a, b) in enumerate(pairs):
        assert abs(correlation_z(a, b)) < 4, number


def test_a_discrete_walk_does_not_depend_on_its_division(monkeypatch):
    V, starts = rough((5, 50), sigma=2.0), np.full((5, 30), 25)
    record = [0, 3, 64, 129]
    walk = partial(discrete_walk, rates="arrhenius", seed=21)
    whole = walk(V, starts, 129, record_at=record)
    tail = walk(V[3:], starts[3:], 129, record_at=record, first_environment=3)
    np.testing.assert_array_equal(tail.positions, whole.positions[3:])
    fewer = walk(V, starts[0, :7], 200, record_at=[3, 129])
    np.testing.assert_array_equal(fewer.positions, whole.positions[:, :7, [1, 3]])
    monkeypatch.setattr(discrete_time, "_AT_ONCE", {"cpu": 16})
    monkeypatch.setattr(discrete_time, "_LONGEST", 15 * 7)
    monkeypatch.setattr(walkers, "_MOST_SITES", 100)
    for threads in (1, 3):
        cut = walk(V, starts, 129, record_at=record, threads=threads)
        np.testing.assert_array_equal(cut.positions, whole.positions)
        np.testing.assert_array_equal(cut.time_step, whole.time_step)
    other = walk(V, starts, 129, record_at=record, threads=3, first_environment=1)
    assert (other.positions[..., 1:] != whole.positions[..., 1:]).mean() > 0.3


def test_a_continuous_walk_does_not_depend_on_threads_or_on_other_walkers(monkeypatch):
    V, x0, times = rough((9, 9)), np.full((37, 2), 4), [0.5, 20.0, 60.0]

    def walk(count=37, seed=2, **options):
        return random_walk(V, x0[:count], times, rng=np.random.default_rng(seed), **options)

    whole = walk(threads=1)
    np.testing.assert_array_equal(walk(threads=5), whole)
    np.testing.assert_array_equal(walk(count=10), whole[:10])
    monkeypatch.setattr(continuous_time, "_SLICE", 11)
    np.testing.assert_array_equal(walk(threads=2), whole)
    assert (walk(seed=3)[:, 1:] != whole[:, 1:]).any(axis=-1).mean() > 0.5


# --- walls, extremes, limits ------------------------------------------------------------------
def test_wall_fraction_is_the_share_on_the_end_sites():
    V = np.array([[0.0, 0.0, 0.0, 0.0], [9.0, 6.0, 3.0, 0.0]])
    walk = discrete_walk(V, np.full(100, 1), 400, 0.1, "metropolis", seed=0, record_at=[0, 1, 400])
    ends = np.isin(walk.positions, [0, 3]).mean(axis=(0, 1))
    np.testing.assert_array_equal(walk.wall_fraction, ends)
    assert walk.wall_fraction[0] == 0
    # The second environment drives all walkers against its wall.
    assert (walk.positions[1, :, 2] == 3).all()


def test_on_a_ring_positions_go_on_counting_and_far_walkers_are_told():
    # A staircase with one steep rise, too high to climb: nobody crosses the seam to the left.
    V = np.array([0.0, -1.0, -2.0, -3.0, -4.0, -5.0])
    walk = discrete_walk(
        np.stack([V, np.zeros(6)]), np.zeros(200, int), 600, 0.05, "metropolis",
        seed=1, record_at=[2, 600], boundary="periodic",
    )  # fmt: skip
    assert np.ptp(walk.positions[1, :, 1]) > 24
    assert (walk.positions[0, :, 1] == -1).sum() + (walk.positions[0, :, 1] == 5).sum() == 200
    far = (np.abs(walk.positions) >= 3).mean(axis=(0, 1))
    np.testing.assert_array_equal(walk.wall_fraction, far)
    assert far[0] < far[1]


@pytest.mark.parametrize("rates", RATES)
def test_steep_potentials_neither_overflow_nor_warn(rates):
    V = np.array([0.0, -1300.0, 0.0, -1300.0, -1300.0])
    walk = discrete_walk(V, [0, 2], 50, rates=rates, seed=0)
    assert np.isin(walk.positions, [0, 1, 2, 3, 4]).all()
    assert walk.time_step[0] > 0
    x = random_walk(V, [0, 2], [100.0], rates=rates, rng=np.random.default_rng(0))
    assert np.isin(x, [1, 3, 4]).all()


def test_too_many_hops_are_refused(monkeypatch):
    V, x0 = np.zeros(50), np.full(20, 25)
    walk = partial(random_walk, V, x0, rng=np.random.default_rng(0))
    with pytest.raises(HopLimitError, match=r"max_hops=3,000 hops.* to time 1e\+12: raise"):
        walk([1e12], max_hops=3000)
    walk([1.0], max_hops=3000)
    monkeypatch.setattr(continuous_time, "MOST_HOPS", 100)
    with pytest.raises(HopLimitError, match="or 100 of one walker, up to time 1000"):
        walk([1000.0])


def test_parts_stop_together_and_keep_their_order():
    assert in_threads(lambda part, go_on: part**2, [3, 1, 2], 2) == [9, 1, 4]
    assert [list(range(7))[s] for s in slices(7, 3)] == [[0, 1], [2, 3], [4, 5, 6]]
    waiting = threading.Event()

    def work(part, go_on):
        if part == 0:
            waiting.wait(10)
            raise InputError("no")
        waiting.set()
        for _ in range(1000):  # until stopped
            time.sleep(0.01)
            go_on()

    began = time.monotonic()
    with pytest.raises(InputError, match="no"):
        in_threads(work, [0, 1, 2, 3], 2)
    assert time.monotonic() - began < 5


# --- bad input --------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"T": 0}, "T=0"),
        ({"T": -1.0}, "T=-1.0"),
        ({"T": float("nan")}, "T=nan"),
        ({"T": 1e-9}, "neighbouring sites differ by"),
        ({"V": [0.0, float("nan"), 1.0]}, "V holds 1 NaN"),
        ({"V": [0.0]}, "at least two sites"),
        ({"V": np.zeros((2, 1, 3))}, "at least two sites each"),
        ({"V": np.zeros((2, 2, 2, 2))}, "one to three axes"),
        ({"V": "flat"}, "array of numbers"),
        ({"V": np.float32([0, 1e8, 1e8])}, "make it in float64"),
        ({"x0": [0, 5]}, "sites must lie in the box"),
        ({"x0": [-1]}, "sites must lie in the box"),
        ({"x0": [0.5]}, "whole numbers"),
        ({"x0": []}, "whole numbers"),
        ({"x0": [[0], [1, 2]]}, "whole numbers"),
        ({"x0": [[0, 1]]}, r"it must be \(W,\)"),
        ({"x0": 1}, "a site for every walker"),
        ({"V": np.zeros((3, 3)), "x0": [1, 1]}, r"it must be \(W, 2\)"),
        ({"V": np.zeros((3, 3)), "x0": [[1, 3]]}, "sites must lie in the box"),
        ({"times": [2.0, 1.0]}, "they must ascend"),
        ({"times": [-1.0]}, "at least 0"),
        ({"times": [float("inf")]}, "finite"),
        ({"times": []}, "list of numbers|finite"),
        ({"times": None}, "list of numbers"),
        ({"rates": "metropolys"}, "did you mean 'metropolis'"),
        ({"rates": None}, "unknown rates"),
        ({"boundary": "open"}, "unknown boundary"),
        ({"rng": 3}, "default_rng"),
        ({"max_hops": 0}, "max_hops=0"),
        ({"threads": 0}, "threads=0"),
    ],
)
def test_bad_input_to_the_continuous_walk(change, message):
    good = {"V": [0.0, 1.0, 0.5], "x0": [1], "times": [1.0], "rng": np.random.default_rng(0)}
    random_walk(**good)
    with pytest.raises(InputError, match=message) as error:
        random_walk(**good | change)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"T": 0.0}, "T=0.0"),
        ({"T": float("nan")}, "T=nan"),
        ({"T": 1e-4}, "neighbouring sites differ by"),
        ({"potentials": [[0.0, float("inf")]]}, "potentials holds 1 NaN or inf"),
        ({"potentials": np.zeros((2, 2, 2))}, r"it must be \(E, n\)"),
        ({"potentials": np.zeros((0, 4))}, r"it must be \(E, n\)"),
        ({"potentials": np.float32([[0, 1e8]])}, "float32"),
        ({"potentials": np.float16([[0, 1e3]])}, "float16"),
        ({"starts": [0, 3]}, "sites must lie in the box"),
        ({"starts": [[0], [1]]}, r"it must be \(W,\) or \(1, W\)"),
        ({"starts": [0.0]}, "whole numbers"),
        ({"starts": 2}, "a site for every walker"),
        ({"steps": 0}, "steps=0"),
        ({"steps": 2.5}, "steps=2.5"),
        ({"steps": 2 * 10**9}, "at most 1,999,999,997 on 3 sites"),
        ({"record_at": [2, 1]}, "ascending"),
        ({"record_at": [-1]}, "from 0 to steps=10"),
        ({"record_at": [11]}, "from 0 to steps=10"),
        ({"record_at": [1.5]}, "whole numbers"),
        ({"rates": "glauber"}, "unknown rates"),
        ({"boundary": "absorbing"}, "unknown boundary"),
        ({"seed": -1}, "seed=-1"),
        ({"seed": None}, "seed=None"),
        ({"first_environment": 1 << 32}, "told apart"),
        ({"first_environment": -1}, "first_environment=-1"),
        ({"threads": 1.5}, "threads=1.5"),
    ],
)
def test_bad_input_to_the_discrete_walk(change, message):
    good = {"potentials": [0.0, 1.0, 0.5], "starts": [1], "steps": 10, "seed": 0}
    with pytest.raises(InputError, match=message) as error:
        discrete_walk(**good | change)
    assert "\n" not in str(error.value)
