import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from noisescale.errors import InputError
from noisescale.training.augmentation import (
    PROPOSALS,
    CropFlip,
    Shift,
    ShiftDraw,
    Strong,
    fitting_probability,
    named,
    sampled,
    sampled_on_lines,
    warped,
)
from tests.reference import augmentation as twin

DRAWS = 8000
SHAPES = [(32, 32, 3), (7, 12, 1), (13, 8, 2)]
AUGMENTATIONS = [CropFlip(3, 127 / 255), Shift(), Strong()]
EXAMPLES = 12
STILL = Strong(
    flip=False, shift=0.0, zoom=(1.0, 1.0), channel_shift=0.0, rotation=0.0, erase_probability=0.0
)
EXTREME = Strong(rotation=180.0, zoom=(0.3, 2.0), centre_offset=1.0, erase_probability=1.0)


def keys_of(number, seed=0):
    return jax.random.split(jax.random.key(seed), number)


def pictures(number, shape, seed=0):
    """Noise on a ramp, black and white among it."""
    rng = np.random.default_rng(seed)
    images = rng.random((number, *shape)) * np.linspace(0.4, 1.0, shape[1])[:, None]
    images[:, 0, 0], images[:, -1, 0] = 0.0, 1.0
    return jnp.asarray(images, jnp.float32)


# Augmentations are static arguments: hashable, and compiled once for equal ones.
_draw = jax.jit(lambda kind, size, keys: kind.draw(keys, *size), static_argnums=(0, 1))
_apply = jax.jit(lambda kind, drawn, images: kind.apply(drawn, images), static_argnums=0)
_call = jax.jit(lambda kind, keys, images: kind(keys, images), static_argnums=0)


def drawn_by(augmentation, number, height=32, width=32, seed=0):
    size = () if isinstance(augmentation, CropFlip) else (height, width)
    drawn = _draw(augmentation, size, keys_of(number, seed))
    return type(drawn)(*(np.asarray(a) for a in drawn))


def called(augmentation, keys, images):
    return np.asarray(_call(augmentation, keys, images))


def cases(augmentation, shape):
    """(image, what is drawn for it, what comes out) per example."""
    images, keys = pictures(EXAMPLES, shape), keys_of(EXAMPLES)
    out = called(augmentation, keys, images)
    assert out.dtype == np.float32 and out.shape == images.shape
    drawn = zip(*drawn_by(augmentation, EXAMPLES, *shape[:2]), strict=True)
    return zip(np.asarray(images), drawn, out, strict=True)


def assert_uniform(values, low, high):
    """Mean and variance within 4 standard errors, the support filled and not left."""
    n, width = len(values), high - low
    assert values.mean() == pytest.approx((low + high) / 2, abs=4 * width / np.sqrt(12 * n))
    # Var(s²) = σ⁴ (κ − 1)/n with kurtosis κ = 9/5.
    assert values.var() == pytest.approx(width**2 / 12, rel=4 * np.sqrt(0.8 / n))
    rounding = 1e-6 * max(abs(low), abs(high))
    assert low - rounding <= values.min() <= low + 20 * width / n
    assert high - 20 * width / n <= values.max() <= high + rounding


def assert_chance(events, chance):
    error = np.sqrt(chance * (1 - chance) / len(events))
    assert np.mean(events) == pytest.approx(chance, abs=4 * error)


def assert_one_law(ours, theirs):
    """Two samples, by Kolmogorov & Smirnov; with ties the p-value is too large, if anything."""
    assert stats.ks_2samp(ours, theirs).pvalue > 1e-3


# ---- what is applied ----------------------------------------------------------------------------


@pytest.mark.parametrize("shape", SHAPES)
def test_crops_are_the_twins(shape):
    fill = 127 / 255
    for image, drawn, out in cases(CropFlip(3, fill), shape):
        expected = twin.crop_flip(image, *drawn, padding=3, fill=np.float32(fill))
        np.testing.assert_array_equal(out, expected)


@pytest.mark.parametrize("shape", SHAPES)
def test_shifts_are_the_twins(shape):
    for image, drawn, out in cases(Shift(), shape):
        np.testing.assert_allclose(out, twin.shift(image, *drawn), atol=1e-5)


@pytest.mark.parametrize(
    ("strong", "shape"),
    [(Strong(), SHAPES[0]), (Strong(), SHAPES[1]), (EXTREME, SHAPES[2])],
)
def test_strong_is_the_twins(strong, shape):
    for image, drawn, out in cases(strong, shape):
        expected = twin.strong(image, *drawn, centre_offset=strong.centre_offset)
        np.testing.assert_allclose(out, expected, atol=1e-5)


def test_both_samplings_agree():
    rng, images = np.random.default_rng(0), pictures(5, (9, 6, 2))
    rows, columns = (rng.uniform(-3, 12, (5, size)).astype(np.float32) for size in (9, 6))
    on_lines = jax.jit(sampled_on_lines)(images, rows, columns)
    everywhere = np.broadcast_arrays(rows[:, :, None], columns[:, None, :])
    np.testing.assert_allclose(on_lines, jax.jit(sampled)(images, *everywhere), atol=1e-6)


@pytest.mark.parametrize("still", [STILL, Shift(fraction=0.0, flip=False)])
def test_no_strength_is_no_change(still):
    images = pictures(EXAMPLES, SHAPES[1])
    np.testing.assert_array_equal(called(still, keys_of(EXAMPLES), images), images)


_warp = jax.jit(warped, static_argnames="centre_offset")


def warp(image, rotation=0.0, shift=(0.0, 0.0), zoom=(1.0, 1.0), **options):
    arguments = (jnp.array([value], jnp.float32) for value in (image, rotation, shift, zoom))
    return np.asarray(_warp(*arguments, **options))[0]


def test_a_shift_by_one_pixel():
    image = pictures(1, (6, 5, 2))[0]
    up = np.concatenate([image[1:], image[-1:]])
    left = np.concatenate([image[:, 1:], image[:, -1:]], axis=1)
    assert not np.allclose(up, image)
    for by, expected in (((1.0, 0.0), up), ((0.0, 1.0), left)):
        np.testing.assert_allclose(warp(image, shift=by), expected, atol=1e-6)
        drawn = ShiftDraw(jnp.array([by], jnp.float32), jnp.array([False]))
        moved = _apply(Shift(), drawn, image[None])
        np.testing.assert_allclose(moved[0], expected, atol=1e-6)
    halfway = warp(image, shift=(0.5, 0.0))
    np.testing.assert_allclose(halfway, (image + up) / 2, atol=1e-6)


def test_a_quarter_turn():
    """Clockwise about the true centre: the top left corner comes to the top right."""
    image = pictures(1, (5, 5, 1))[0]
    np.testing.assert_allclose(warp(image, rotation=90.0), np.rot90(image, -1), atol=1e-5)
    # With the centre one pixel too far down and right the picture goes two columns right.
    turned = warp(image, rotation=90.0, centre_offset=1.0)
    np.testing.assert_allclose(turned[:, 2:], np.rot90(image, -1)[:, :3], atol=1e-5)


def test_zoom_below_one_magnifies():
    ramp = np.broadcast_to(np.linspace(0, 1, 9)[:, None, None], (9, 4, 1))
    zoomed = warp(ramp, zoom=(0.5, 1.0))
    np.testing.assert_allclose(zoomed[:, 0, 0], 0.5 + 0.5 * (np.linspace(0, 1, 9) - 0.5), atol=1e-6)


@pytest.mark.parametrize("augmentation", AUGMENTATIONS)
def test_an_example_does_not_depend_on_its_batch(augmentation):
    images, keys = pictures(EXAMPLES, SHAPES[0]), keys_of(EXAMPLES)
    whole = called(augmentation, keys, images)
    order = np.random.default_rng(0).permutation(EXAMPLES)[:5]
    part = called(augmentation, keys[order], images[order])
    # Programs of two batch sizes may round a coordinate of up to 31 pixels apart, by 4e-6 at most.
    tolerance = 1e-5 if isinstance(augmentation, Strong) else 1e-6
    np.testing.assert_allclose(part, whole[order], atol=tolerance)
    # Another key gives another image.
    other = called(augmentation, keys_of(5, seed=1), images[order])
    assert np.abs(other - part).max(axis=(1, 2, 3)).min() > 0.1


@pytest.mark.parametrize("augmentation", AUGMENTATIONS)
def test_pixels_stay_in_range(augmentation):
    images = pictures(EXAMPLES, SHAPES[0])
    for seed in range(30):
        some = (images, jnp.zeros_like(images), jnp.ones_like(images))[seed % 3]
        changed = called(augmentation, keys_of(EXAMPLES, seed), some)
        # Two weights may add up to the float32 number next to 1.
        assert changed.min() >= 0 and changed.max() <= 1 + 2e-7


# ---- what is drawn ------------------------------------------------------------------------------


def test_crops_drawn():
    drawn = drawn_by(CropFlip(2, 0.0), DRAWS)
    for corner in range(5):
        for axis in range(2):
            assert_chance(drawn.corner[:, axis] == corner, 0.2)
    assert_chance(np.all(drawn.corner == [0, 4], axis=1), 1 / 25)
    assert_chance(drawn.mirror, 0.5)
    assert_chance(drawn.mirror & (drawn.corner[:, 0] < 2), 0.2)


def test_crops_use_their_keys_as_ever():
    """Recorded runs would otherwise not be repeated."""

    def expected(key):
        where, mirror = jax.random.split(key)
        corner = jax.random.randint(where, (2,), 0, 7, dtype=jnp.int32)
        return corner, jax.random.bernoulli(mirror)

    keys = keys_of(EXAMPLES, seed=3)
    ours = drawn_by(AUGMENTATIONS[0], EXAMPLES, seed=3)
    for a, b in zip(ours, jax.jit(jax.vmap(expected))(keys), strict=True):
        np.testing.assert_array_equal(a, b)


def test_shifts_drawn():
    drawn = drawn_by(Shift(), DRAWS, 32, 48)
    assert_uniform(drawn.shift[:, 0], -4.0, 4.0)
    assert_uniform(drawn.shift[:, 1], -6.0, 6.0)
    assert_chance(drawn.mirror, 0.5)
    assert_independent([*drawn.shift.T, drawn.mirror])
    assert not drawn_by(Shift(flip=False), 100).mirror.any()


def assert_independent(columns):
    """Values and their squares are uncorrelated, all pairs within 5 standard errors."""
    columns = [stats.zscore(np.asarray(c, np.float64)) for c in columns]
    for a in range(len(columns)):
        for b in range(a):
            for powers in ((1, 1), (2, 2), (1, 2), (2, 1)):
                x, y = (c - c.mean() for c in (columns[a] ** powers[0], columns[b] ** powers[1]))
                error = np.sqrt(x.var() * y.var() / len(x))
                assert abs(np.mean(x * y)) <= 5 * error + 1e-12, (a, b, powers)


def test_strong_draws():
    drawn = drawn_by(Strong(), DRAWS, 32, 48)
    assert_uniform(drawn.rotation, -10.0, 10.0)
    assert_uniform(drawn.shift[:, 0], -4.0, 4.0)
    assert_uniform(drawn.shift[:, 1], -6.0, 6.0)
    assert_uniform(drawn.zoom[:, 0], 0.75, 1.25)
    assert_uniform(drawn.zoom[:, 1], 0.75, 1.25)
    assert_uniform(drawn.channel_shift, -50 / 255, 50 / 255)
    assert_uniform(drawn.grey, 0.0, 1.0)
    assert_chance(drawn.mirror, 0.5)
    erases = drawn.rectangle[:, 2] > 0
    assert_chance(erases, 0.5)
    assert_independent(
        [
            *(drawn.rotation, *drawn.shift.T, *drawn.zoom.T, drawn.channel_shift, drawn.mirror),
            *(drawn.grey, erases),
        ]
    )
    assert not drawn_by(Strong(flip=False), 100).mirror.any()


@pytest.mark.parametrize("size", [(4000, 4000), (4000, 3000)])
def test_erased_rectangles_have_the_law_of_rejection(size):
    """On images so large that whole pixels do not show."""
    height, width = size
    strong = Strong()
    drawn = drawn_by(strong._replace(erase_probability=1.0), DRAWS, height, width)
    top, left, bottom, right = drawn.rectangle.T.astype(np.float64)
    rng = np.random.default_rng(1)
    true, share = twin.rectangles(rng, DRAWS, strong.erase_area, strong.erase_aspect, *size)
    s, r, y, x = true.T
    assert_one_law((bottom - top) * (right - left) / (height * width), s / (height * width))
    assert_one_law((bottom - top) / (right - left), r)
    assert_one_law(top / height, y / height)
    assert_one_law(left / width, x / width)
    # Together too: what accepting does to area, aspect and place is not four separate things.
    assert_one_law((bottom - top) * left, np.sqrt(s * r) * x)
    assert_one_law((right - left) * left, np.sqrt(s / r) * x)
    fits = fitting_probability(strong.erase_area, strong.erase_aspect, *size)
    # After n successes the standard error of their share p is p √((1 − p)/n).
    assert share == pytest.approx(fits, rel=4 * np.sqrt((1 - fits) / DRAWS))


@pytest.mark.parametrize("size", [(32, 32), (12, 20)])
def test_erased_pixels_have_the_law_of_rejection(size):
    strong = Strong()
    drawn = drawn_by(strong, DRAWS, *size)
    ours = drawn.rectangle[drawn.rectangle[:, 2] > 0]
    rng = np.random.default_rng(2)
    true, _ = twin.rectangles(rng, len(ours), strong.erase_area, strong.erase_aspect, *size)
    theirs = np.array([twin.sides(rectangle) for rectangle in true])
    for statistic in (
        lambda a: a[:, 0],
        lambda a: a[:, 1],
        lambda a: a[:, 2],
        lambda a: a[:, 3],
        lambda a: a[:, 2] - a[:, 0],
        lambda a: a[:, 3] - a[:, 1],
        lambda a: (a[:, 2] - a[:, 0]) * (a[:, 3] - a[:, 1]),
    ):
        assert_one_law(statistic(ours), statistic(theirs))
        # Where the law is that of a few integers: the means too, within 4 standard errors.
        a, b = statistic(ours), statistic(theirs)
        assert a.mean() == pytest.approx(b.mean(), abs=4 * np.sqrt((a.var() + b.var()) / len(a)))
    # Cut-off sides leave the last row and column alone.
    assert ours[:, 2].max() == size[0] - 1 and ours[:, 3].max() == size[1] - 1


def test_a_rectangle_that_seldom_fits_is_refused():
    strong = Strong()
    area, aspect = strong.erase_area, strong.erase_aspect
    assert (1 - fitting_probability(area, aspect, 32, 32)) ** PROPOSALS < 3e-13
    with pytest.raises(InputError, match="erase_area"):
        Strong(erase_area=(0.8, 0.9), erase_aspect=(0.2, 0.3))(keys_of(2), jnp.zeros((2, 8, 8, 1)))


# ---- what it is called and where it runs --------------------------------------------------------


def test_names():
    assert named("none") is None
    assert named("crop-flip", padding=2, fill=0.5) == CropFlip(2, 0.5)
    assert named("medium") == Shift(4 / 32, flip=True)
    assert named("medium-without-flip", fraction=0.25) == Shift(0.25, flip=False)
    assert named("strong", zoom=[0.5, 1.5]) == Strong(zoom=(0.5, 1.5))
    for augmentation in AUGMENTATIONS:
        assert hash(augmentation) == hash(type(augmentation)(*augmentation))
    for name, parameters, message in (
        ("strng", {}, "did you mean 'strong'"),
        ("strong", {"zooms": 1.0}, "did you mean 'zoom'"),
        ("medium", {"flip": False}, "known are fraction"),
        ("none", {"fill": 0.0}, "takes no parameter"),
    ):
        with pytest.raises(InputError, match=message):
            named(name, **parameters)


@pytest.mark.parametrize("augmentation", AUGMENTATIONS)
def test_compiles_for_a_tpu(augmentation):
    keys, images = keys_of(4), jnp.zeros((4, 8, 8, 3))
    exported = jax.export.export(jax.jit(augmentation.__call__), platforms=["tpu"])(keys, images)
    assert exported.platforms == ("tpu",)
