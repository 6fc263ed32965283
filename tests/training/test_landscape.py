from functools import partial

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.stats import kstest, spearmanr

from noisescale.errors import InputError
from noisescale.training.landscape import (
    _point_losses,
    _ray_losses,
    largest_hessian_eigenvalue,
    loss_along_rays,
    loss_at_random_points,
)

STANDARD_ERRORS = 4
ORIGIN = {"a": jnp.zeros((2, 5)), "b": jnp.zeros(40)}
SIZE = 50


def squares(weights):
    return 0.5 * sum(jnp.sum(leaf**2) for leaf in jax.tree.leaves(weights))


def quadratic(spectrum, seed=0):
    """½ wᵀAw + a·w with the eigenvalues given, in two leaves, and weights away from 0."""
    size = len(spectrum)
    rng = np.random.default_rng(seed)
    turn, _ = np.linalg.qr(rng.normal(size=(size, size)))
    matrix = jnp.asarray((turn * np.asarray(spectrum)) @ turn.T, jnp.float32)
    slope = jnp.asarray(rng.normal(size=size), jnp.float32)
    weights = rng.normal(size=size).astype(np.float32)

    def loss(w):
        flat = jnp.concatenate([w["a"].ravel(), w["b"]])
        return 0.5 * flat @ matrix @ flat + slope @ flat

    return loss, {"a": weights[: size // 2, None], "b": weights[size // 2 :]}


SPECTRA = {
    "positive": np.linspace(0.1, 7.0, 60),
    "larger negative ones": [*np.linspace(-50.0, 1.0, 58), 2.5, 3.0],
    "a degenerate largest": [*np.linspace(-5.0, 2.0, 57), 4.0, 4.0, 4.0],
    "negative alone": np.linspace(-10.0, -1.0, 60),
    "one of rank one": [*np.zeros(59), 5.0],
    "identity": np.full(40, 2.0),
}


@pytest.mark.parametrize("name", SPECTRA)
def test_the_largest_eigenvalue_of_a_quadratic(name):
    spectrum = SPECTRA[name]
    loss, weights = quadratic(spectrum)
    found = largest_hessian_eigenvalue(loss, weights)
    # A Rayleigh quotient errs by the square of the residual over the gap.
    assert found.value == pytest.approx(max(spectrum), rel=2e-4)
    assert found.converged and found.residual <= 1e-3
    assert found.products <= 200


@pytest.mark.parametrize("size", [1, 2, 3, 19, 20, 21])
def test_few_weights(size):
    spectrum = np.linspace(-3.0, 1.5, size) if size > 1 else [-3.0]
    loss, weights = quadratic(spectrum)
    found = largest_hessian_eigenvalue(loss, weights)
    assert found.value == pytest.approx(max(spectrum), rel=1e-5)
    assert found.converged
    if size <= 20:
        assert found.products == size


def test_the_hessian_is_taken_at_the_weights():
    # L = Σ c w⁴/12 has the Hessian diag(c w²).
    rng = np.random.default_rng(0)
    c, w = rng.normal(size=(2, 30)).astype(np.float32)
    found = largest_hessian_eigenvalue(lambda x: jnp.sum(c * x**4) / 12, w)
    assert found.value == pytest.approx(np.max(c * w**2), rel=2e-4)


@pytest.fixture(scope="module")
def perceptron():
    """A loss of 59 weights as a function of data and weights, with both."""
    rng = np.random.default_rng(1)
    data = rng.normal(size=(40, 5)), rng.integers(0, 3, 40)
    weights = [rng.normal(size=s) for s in [(5, 7), (7,), (7, 2), (2,), (2, 3)]]

    def loss(data, w):
        x, labels = data
        hidden = jnp.tanh(jnp.tanh(x @ w[0] + w[1]) @ w[2] + w[3])
        logits = hidden @ w[4]
        return jnp.mean(jax.nn.logsumexp(logits, axis=1) - logits[jnp.arange(40), labels])

    return loss, data, weights


def in_float32(tree):
    return jax.tree.map(
        lambda a: jnp.asarray(a, jnp.int32 if a.dtype.kind == "i" else jnp.float32), tree
    )


def test_a_perceptron_against_its_dense_hessian(perceptron):
    loss, data, weights = perceptron
    with jax.enable_x64(True):
        shapes = [w.shape for w in weights]
        cuts = np.cumsum([w.size for w in weights])[:-1]

        def flat_loss(flat):
            parts = zip(jnp.split(flat, cuts), shapes, strict=True)
            return loss(data, [part.reshape(shape) for part, shape in parts])

        flat = jnp.concatenate([jnp.asarray(w).ravel() for w in weights])
        dense = np.asarray(jax.jit(jax.hessian(flat_loss))(flat))
    assert dense.dtype == np.float64
    spectrum = np.linalg.eigvalsh(dense)
    assert spectrum[0] < -0.01  # a saddle, so "largest" is not "largest in size" by chance
    data, weights = in_float32((data, weights))
    bound = jax.tree_util.Partial(loss, data)
    for seed in (0, 1):
        found = largest_hessian_eigenvalue(bound, weights, seed=seed, tolerance=1e-4)
        assert found.converged and found.residual <= 1e-4
        assert found.value == pytest.approx(spectrum[-1], rel=1e-5)
    # The flipped loss has the same spectrum, upside down.
    found = largest_hessian_eigenvalue(lambda w: -loss(data, w), weights)
    assert found.value == pytest.approx(-spectrum[0], rel=1e-4)


@pytest.mark.parametrize("most", [2, 7, 15, 25, 60])
def test_a_run_cut_short_gives_its_best_estimate(most):
    # The gaps near the top are small, and ARPACK has nothing to return.
    spectrum = 1 - np.linspace(0, 1, 400) ** 2
    loss, weights = quadratic(spectrum)
    found = largest_hessian_eigenvalue(loss, weights, tolerance=1e-5, max_products=most)
    assert not found.converged and found.residual > 1e-5
    assert found.products == most - 1
    assert found.value <= 1 + 1e-5
    assert found.value > {2: 0.5, 7: 0.9, 15: 0.99, 25: 0.998, 60: 0.9997}[most]
    # The residual is that of the value: an eigenvalue is as near as it says.
    nearest = np.min(np.abs(spectrum - found.value))
    assert nearest <= found.residual * abs(found.value) + 1e-5


def test_a_run_cut_one_product_short_has_what_it_would_have_returned():
    for spectrum in (1 - np.linspace(0, 1, 400) ** 2, np.linspace(-50.0, 3.0, 400)):
        loss, weights = quadratic(spectrum)
        whole = largest_hessian_eigenvalue(loss, weights, tolerance=1e-3)
        most = whole.products
        assert whole.converged and most > 50  # several restarts
        cut = largest_hessian_eigenvalue(loss, weights, tolerance=1e-6, max_products=most)
        assert cut.value == pytest.approx(whole.value, rel=1e-5)
        assert cut.residual == pytest.approx(whole.residual, rel=0.05)


def test_the_residual_is_that_of_the_vector_found():
    # From the whole Hessian only rounding is left.
    loss, weights = quadratic([1.0, 3.0])
    assert largest_hessian_eigenvalue(loss, weights).residual < 1e-6
    # One product: v is the start, and value and residual are its mean and relative spread.
    spectrum = np.repeat([1.0, 3.0], 2000)
    diagonal = jnp.asarray(spectrum, jnp.float32)
    found = largest_hessian_eigenvalue(
        lambda w: 0.5 * jnp.sum(diagonal * w**2), jnp.zeros(4000), max_products=2
    )
    # Gaussian starts: the mean is 2 ± √(2/4000), the spread 1.
    assert found.value == pytest.approx(2.0, abs=STANDARD_ERRORS * np.sqrt(2 / 4000))
    assert found.residual == pytest.approx(0.5, rel=0.05)
    assert found.products == 1


@pytest.mark.parametrize("scale", [1e-25, 1e30])
@pytest.mark.parametrize("most", [10, 200])
def test_curvature_of_any_size(scale, most):
    loss, weights = quadratic(SPECTRA["positive"])
    one = largest_hessian_eigenvalue(loss, weights, max_products=most)
    scaled = largest_hessian_eigenvalue(lambda w: scale * loss(w), weights, max_products=most)
    assert scaled.value == pytest.approx(scale * one.value, rel=1e-4)
    assert scaled.converged == one.converged == (most == 200)


def test_a_linear_loss_has_no_curvature():
    for size in (2, 30):
        found = largest_hessian_eigenvalue(jnp.sum, jnp.ones(size))
        assert (found.value, found.residual, found.converged) == (0.0, 0.0, True)


@pytest.mark.parametrize("size", [1, 2, 30])
def test_what_is_not_finite_is_told(size):
    zero = jnp.zeros(size)
    cases = {
        "loss": lambda w: jnp.log(jnp.sum(w) - 1),
        "hessian alone": lambda w: jnp.sum(jnp.abs(w) ** 1.5),
    }
    for name, loss in cases.items():
        assert bool(jnp.isfinite(loss(zero))) == (name == "hessian alone")
        found = largest_hessian_eigenvalue(loss, zero)
        assert np.isnan(found.value) and np.isnan(found.residual), name
        assert not found.converged
    assert np.isnan(largest_hessian_eigenvalue(squares, zero + jnp.nan).value)


def test_the_eigenvalue_is_a_function_of_its_seed():
    loss, weights = quadratic(SPECTRA["positive"])
    first, again, other = (largest_hessian_eigenvalue(loss, weights, seed=s) for s in (5, 5, 6))
    assert first == again
    assert first != other


def test_rays_of_a_linear_loss_have_the_variance_of_the_sphere():
    """L(w + ru) − L(w) = r a·u, of mean 0 and variance r²|a|²/P."""
    rng = np.random.default_rng(0)
    slope = jax.tree.map(lambda x: jnp.asarray(rng.gamma(1.0, size=x.shape), jnp.float32), ORIGIN)
    start = jax.tree.map(lambda x: x + 0.3, ORIGIN)

    def loss(w):
        return sum(jnp.sum(a * b) for a, b in zip(*map(jax.tree.leaves, (slope, w)), strict=True))

    lengths, rays = np.array([0.0, 0.5, 2.0]), 4000
    losses = loss_along_rays(loss, start, lengths, rays=rays, seed=3)
    assert losses.shape == (rays, 3) and losses.dtype == np.float64
    np.testing.assert_allclose(losses[:, 0], float(loss(start)), rtol=1e-6)
    change = losses - float(loss(start))
    norm = np.sqrt(sum(float(jnp.sum(a**2)) for a in jax.tree.leaves(slope)))
    # E u⁴ = 3/(P(P+2)) for a coordinate on the sphere, hence the error of the mean square.
    relative = np.sqrt((3 * SIZE / (SIZE + 2) - 1) / rays)
    for column, length in zip(change.T[1:], lengths[1:], strict=True):
        variance = length**2 * norm**2 / SIZE
        assert np.mean(column**2) == pytest.approx(variance, rel=STANDARD_ERRORS * relative)
        assert abs(np.mean(column)) < STANDARD_ERRORS * np.sqrt(variance / rays)
    # One direction per ray: the change is proportional to the length.
    np.testing.assert_allclose(change[:, 2], 4 * change[:, 1], atol=2e-5)


def test_rays_of_a_sum_of_squares_depend_on_the_length_alone():
    lengths = [0.0, 1e-3, 1.0, 7.5, 100.0]
    losses = loss_along_rays(squares, ORIGIN, lengths, rays=20, seed=0)
    np.testing.assert_allclose(losses, np.tile(np.square(lengths) / 2, (20, 1)), rtol=1e-5)


def test_directions_cover_all_weights_together():
    """Each leaf has its share of the squares; a leaf normalised on its own would have all."""
    losses = loss_along_rays(lambda w: jnp.sum(w["a"] ** 2), ORIGIN, [1.0], rays=2000, seed=0)
    # The share of 10 of 50 squares is Beta(5, 20): variance .2 · .8 / 26.
    error = np.sqrt(0.2 * 0.8 / 26 / 2000)
    assert np.mean(losses) == pytest.approx(0.2, abs=STANDARD_ERRORS * error)


def coordinate(number):
    """The loss w_number, which reads a coordinate of the direction from the origin."""
    return lambda w: w[number]


def directions(rays, seed):
    reads = [
        loss_along_rays(coordinate(k), jnp.zeros(3), [1.0], rays=rays, seed=seed) for k in (0, 1, 2)
    ]
    return np.concatenate(reads, axis=1)


def test_directions_are_uniform_and_independent():
    found = directions(500, 0)
    np.testing.assert_allclose(np.linalg.norm(found, axis=1), 1.0, atol=1e-6)
    for k in range(3):  # on the sphere in three dimensions every coordinate is uniform
        assert kstest(found[:, k], "uniform", (-1, 2)).pvalue > 1e-3
        assert abs(spearmanr(found[:-1, k], found[1:, k]).statistic) < STANDARD_ERRORS / 500**0.5
    np.testing.assert_array_equal(found[:7], directions(7, 0))
    assert len(np.unique(found, axis=0)) == 500
    others = directions(500, 1)
    assert np.mean(np.sum(found * others, axis=1) > 0.999) < 0.01
    directions(1, 2**32 - 1)


def test_points_of_a_sum_of_squares_depend_on_the_length_alone():
    lengths, losses = loss_at_random_points(squares, ORIGIN, points=1000, longest=3.0, seed=0)
    assert lengths.shape == losses.shape == (1000,)
    np.testing.assert_allclose(losses, lengths**2 / 2, rtol=1e-5)
    assert kstest(lengths, "uniform", (0, 3.0)).pvalue > 1e-3
    first, _ = loss_at_random_points(squares, ORIGIN, points=10, longest=3.0, seed=0)
    np.testing.assert_array_equal(first, lengths[:10])


def test_points_have_their_own_directions():
    arguments = {"points": 1000, "longest": 10.0}
    lengths, losses = loss_at_random_points(coordinate(0), jnp.zeros(3), **arguments, seed=0)
    cosines = losses / lengths
    assert kstest(cosines, "uniform", (-1, 2)).pvalue > 1e-3
    bound = STANDARD_ERRORS / 1000**0.5
    assert abs(spearmanr(cosines, lengths).statistic) < bound
    assert abs(spearmanr(cosines[1:], cosines[:-1]).statistic) < bound
    again = loss_at_random_points(coordinate(0), jnp.zeros(3), **arguments, seed=0)
    np.testing.assert_array_equal((lengths, losses), again)
    others = loss_at_random_points(coordinate(0), jnp.zeros(3), **arguments, seed=1)
    assert abs(spearmanr(lengths, others[0]).statistic) < bound
    assert abs(spearmanr(cosines, others[1] / others[0]).statistic) < bound
    # Nor are they the rays of that seed.
    assert abs(spearmanr(cosines[:500], directions(500, 0)[:, 0]).statistic) < bound * 2**0.5


def test_data_as_an_argument_change_nothing(perceptron):
    loss, data, weights = perceptron
    data, weights = in_float32((data, weights))
    options = {"rays": 3, "seed": 0}
    inside = loss_along_rays(lambda w: loss(data, w), weights, [0.1, 1.0], **options)
    bound = jax.tree_util.Partial(loss, data)
    np.testing.assert_allclose(
        loss_along_rays(bound, weights, [0.1, 1.0], **options), inside, rtol=1e-5
    )


def test_directions_are_not_rounded_to_half_precision():
    weights = jnp.zeros(1000, jnp.bfloat16)
    losses = loss_along_rays(
        lambda w: squares(w.astype(jnp.float32)), weights, [1.0], rays=50, seed=0
    )
    # A norm summed in bfloat16 would be off by percents; rounding of the weights averages out.
    np.testing.assert_allclose(losses, 0.5, rtol=2e-3)


def test_one_direction_at_a_time_is_in_memory():
    size, number = 10_000, jnp.arange(500)
    for program in (_ray_losses, _point_losses):
        lengths = jnp.linspace(0.0, 1.0, 500)
        arguments = (jnp.zeros(size), jax.random.key(0), number, lengths)
        compiled = jax.jit(partial(program, squares)).lower(*arguments).compile()
        used = compiled.memory_analysis().temp_size_in_bytes
        assert used < 4 * 20 * size  # a few vectors for one direction; 500 for all


def test_models_of_equinox_are_weights():
    linear = eqx.nn.Linear(4, 2, key=jax.random.key(0))
    weights, _ = eqx.partition(linear, eqx.is_inexact_array)
    assert largest_hessian_eigenvalue(squares, weights).value == pytest.approx(1.0)


BAD_WEIGHTS = [{}, [], jnp.zeros(0), jnp.arange(3), {"a": jnp.ones(2), "b": 1.0}, None]


@pytest.mark.parametrize("weights", BAD_WEIGHTS, ids=str)
def test_weights_that_are_not_numbers_are_refused(weights):
    for call in (
        lambda: largest_hessian_eigenvalue(squares, weights),
        lambda: loss_along_rays(squares, weights, [1.0], rays=1, seed=0),
        lambda: loss_at_random_points(squares, weights, points=1, longest=1.0, seed=0),
    ):
        with pytest.raises(InputError, match="weight") as raised:
            call()
        assert "\n" not in str(raised.value)


@pytest.mark.parametrize(
    "loss", [lambda w: w, lambda w: (jnp.sum(w), 1.0), lambda w: jnp.argmax(w)], ids=range(3)
)
def test_a_loss_that_is_not_a_number_is_refused(loss):
    for call in (
        lambda: largest_hessian_eigenvalue(loss, jnp.ones(3)),
        lambda: loss_along_rays(loss, jnp.ones(3), [1.0], rays=1, seed=0),
        lambda: loss_at_random_points(loss, jnp.ones(3), points=1, longest=1.0, seed=0),
    ):
        with pytest.raises(InputError, match="the loss returns"):
            call()


@pytest.mark.parametrize(
    ("name", "value"),
    [
        *(("seed", x) for x in (-1, 0.5, float("nan"), 2**32, True)),
        *(("tolerance", x) for x in (0.0, -1e-3, 1.0, float("nan"), float("inf"))),
        *(("max_products", x) for x in (0, 1, -5, 2.5, float("nan"))),
    ],
)
def test_bad_arguments_of_the_eigenvalue(name, value):
    with pytest.raises(InputError, match=f"{name}=") as raised:
        largest_hessian_eigenvalue(squares, ORIGIN, **{name: value})
    assert "\n" not in str(raised.value)


BAD_LENGTHS = [
    [],
    [-1.0],
    [0.0, np.nan],
    [np.inf],
    [1.0, 1.0],
    [2.0, 1.0],
    [[1.0]],
    np.array(1.0),
    ["1"],
    [1e30],
]


@pytest.mark.parametrize(
    ("name", "value"),
    [
        *(("seed", x) for x in (-1, 0.5, float("nan"))),
        *(("rays", x) for x in (0, -3, 1.5, float("nan"), 2**31)),
        *(("lengths", x) for x in (*BAD_LENGTHS, np.array([True]), [[1.0], [1.0, 2.0]])),
    ],
)
def test_bad_arguments_of_the_rays(name, value):
    options = {"lengths": [1.0], "rays": 2, "seed": 0, name: value}
    with pytest.raises(InputError, match=f"{name}=") as raised:
        loss_along_rays(squares, ORIGIN, **options)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        *(("seed", x) for x in (-1, 0.5, float("nan"))),
        *(("points", x) for x in (0, -3, 1.5, float("nan"))),
        *(("longest", x) for x in (0.0, -1.0, float("nan"), float("inf"), 1e30)),
    ],
)
def test_bad_arguments_of_the_points(name, value):
    options = {"points": 2, "longest": 1.0, "seed": 0, name: value}
    with pytest.raises(InputError, match=f"{name}=") as raised:
        loss_at_random_points(squares, ORIGIN, **options)
    assert "\n" not in str(raised.value)
