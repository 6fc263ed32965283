"""The potential of random waves: structure function, slope, gradient."""

import numpy as np
import pytest

from noisescale.errors import InputError
from noisescale.simulation.fourier_potential import RandomFourierPotential, _one_minus_mean_cosine

DISTANCES = np.array([0.1, 0.3, 1.0, 10.0, 100.0])


@pytest.mark.parametrize("dim", [1, 2, 3, 1000])
@pytest.mark.parametrize("alpha", [1.0, 1.9])
def test_structure_function_is_the_power_law(dim, alpha):
    """Within 8 % of σ² r^α from 0.1 to 100; far below without the slope at α = 1.9."""
    kmax = 300.0 * np.sqrt(dim)
    potential = RandomFourierPotential(
        dim, alpha, 1.5, 2048, 1e-3, kmax, np.random.default_rng(dim)
    )
    law = 1.5**2 * DISTANCES**alpha
    found = potential.structure_function(DISTANCES)
    assert found == pytest.approx(law, rel=0.08)
    waves = found - potential.slope_variance * DISTANCES**2
    if alpha == 1.9:
        assert (waves < 0.8 * law).all() and waves[-1] < 0.5 * law[-1]


@pytest.mark.parametrize("alpha", [0.5, 1.4, 1.9, 2.0])
def test_values_have_that_structure_function(alpha):
    """Mean squares over 600 potentials within 4 standard errors, between points far from 0."""
    rng = np.random.default_rng(6)
    points = np.array([[0.3, -2.0, 1.0], [0.8, -2.0, 1.0], [0.3, 5.0, -7.0]])
    values = np.array(
        [
            RandomFourierPotential(3, alpha, 0.7, 100, 0.003, 300.0, rng).value(points)
            for _ in range(600)
        ]
    )
    potential = RandomFourierPotential(3, alpha, 0.7, 4000, 0.003, 300.0, rng)
    for one, other in ((0, 1), (0, 2)):
        squares = (values[:, one] - values[:, other]) ** 2
        truth = float(potential.structure_function(np.linalg.norm(points[one] - points[other])))
        assert abs(squares.mean() - truth) < 4 * np.std(squares) / np.sqrt(600)
        # Gaussian: E Δ⁴ = 3 (E Δ²)², its standard error √(96/600) (E Δ²)²
        assert abs(np.mean(squares**2) / truth**2 - 3) < 4 * np.sqrt(96 / 600)


def test_value_is_the_sum_of_its_waves():
    potential = RandomFourierPotential(2, 1.2, 1.0, 50, 0.01, 30.0, np.random.default_rng(2))
    x = np.array([[0.0, 0.0], [1.0, -3.0]])
    by_hand = [
        sum(
            a * (np.cos(k @ p + phase) - np.cos(phase))
            for a, k, phase in zip(
                potential.amplitudes, potential.wave_vectors, potential.phases, strict=True
            )
        )
        + potential.slope @ p
        for p in x
    ]
    assert potential.value(x) == pytest.approx(by_hand, abs=1e-12)
    assert potential.value(x)[0] == pytest.approx(0.0, abs=1e-12)
    numbers = np.linalg.norm(potential.wave_vectors, axis=1)
    edges = 0.01 * 3000.0 ** (np.arange(51) / 50)
    assert (numbers >= edges[:-1] * (1 - 1e-12)).all() and (numbers <= edges[1:] * 1.000001).all()


def test_gradient_equals_finite_differences(monkeypatch):
    rng = np.random.default_rng(8)
    potential = RandomFourierPotential(4, 1.3, 2.0, 300, 0.01, 50.0, rng)
    x, step = rng.standard_normal((9, 4)), 1e-5
    differences = np.stack(
        [(potential.value(x + e) - potential.value(x - e)) / (2 * step) for e in step * np.eye(4)],
        axis=1,
    )
    assert potential.gradient(x) == pytest.approx(differences, abs=1e-6 * abs(differences).max())
    whole = potential.value(x), potential.gradient(x)
    monkeypatch.setattr("noisescale.simulation.fourier_potential._BLOCK", 600)  # two rows a time
    assert potential.value(x) == pytest.approx(whole[0], rel=1e-12)
    assert potential.gradient(x) == pytest.approx(whole[1], rel=1e-12)


def test_alpha_two_is_a_ramp():
    rng = np.random.default_rng(3)
    ramps = [RandomFourierPotential(3, 2.0, 0.5, 20, 0.01, 50.0, rng) for _ in range(2000)]
    x = rng.standard_normal((5, 3))
    assert ramps[0].value(x) == pytest.approx(x @ ramps[0].slope, abs=1e-12)
    assert ramps[0].gradient(x) == pytest.approx(np.tile(ramps[0].slope, (5, 1)), abs=1e-12)
    slopes = np.array([ramp.slope for ramp in ramps])
    # k ~ N(0, σ² I): within 4 standard errors
    assert (slopes**2).mean(axis=0) == pytest.approx(0.25, abs=4 * 0.25 * np.sqrt(2 / 2000))


@pytest.mark.parametrize("dim", [1, 2, 3, 7, 100, 101, 400])
def test_mean_cosine_over_directions(dim):
    """Against sampled directions within 5 standard errors, and z²/2d − … where it is small."""
    rng = np.random.default_rng(dim)
    directions = rng.standard_normal((20_000, dim))
    u = directions[:, 0] / np.linalg.norm(directions, axis=1)
    z = np.array([0.0, 1e-5, 0.5, 3.0, 20.0, 200.0])
    found = _one_minus_mean_cosine(z, dim)
    sampled = 1 - np.cos(np.multiply.outer(z, u))
    assert (abs(found - sampled.mean(1)) <= 5 * sampled.std(1) / np.sqrt(20_000) + 1e-15).all()
    assert found[1] == pytest.approx(1e-10 / (2 * dim), rel=1e-9)
    exact = {1: 1 - np.cos(z), 3: 1 - np.sinc(z / np.pi)}
    if dim in exact:
        assert found == pytest.approx(exact[dim], abs=1e-12)


@pytest.mark.parametrize(
    ("change", "what"),
    [
        ({"dim": 0}, "whole number"),
        ({"alpha": 2.1}, r"\(0, 2\]"),
        ({"alpha": -1}, r"\(0, 2\]"),
        ({"sigma": np.nan}, "above 0"),
        ({"n_modes": 2.5}, "whole number"),
        ({"kmin": 0.0}, "above 0"),
        ({"kmax": 0.01}, "must exceed kmin"),
        ({"rng": None}, "Generator"),
    ],
)
def test_refused(change, what):
    given = {
        "dim": 2,
        "alpha": 1.0,
        "sigma": 1.0,
        "n_modes": 10,
        "kmin": 0.01,
        "kmax": 10.0,
        "rng": np.random.default_rng(0),
    }
    RandomFourierPotential(**given)
    with pytest.raises(InputError, match=what) as error:
        RandomFourierPotential(**given | change)
    assert "\n" not in str(error.value)


def test_refused_positions():
    potential = RandomFourierPotential(2, 1.0, 1.0, 10, 0.01, 10.0, np.random.default_rng(0))
    for wrong in ([0.0, 1.0], np.zeros((3, 3)), [[np.nan, 0.0]], [["a", "b"]], [[1.0], [1.0, 2.0]]):
        for method in (potential.value, potential.gradient):
            with pytest.raises(InputError, match=r"positions are|finite numbers"):
                method(wrong)
    with pytest.raises(InputError, match="at least 0"):
        potential.structure_function([-1.0])
