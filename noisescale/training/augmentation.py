"""Augmentation on the device: pure functions of one key per example, on pixel values in [0, 1].

Each augmentation draws its parameters from the examples' keys (`draw`) and applies them (`apply`);
calling it does both.
"""

from functools import cache
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int

from noisescale.errors import InputError, unknown_name

Images = Float[Array, "examples height width channels"]

# Rectangles proposed per example, of which the first that fits is erased, and the largest
# probability that none does.
PROPOSALS = 64
_MISFIT = 1e-6


def mirrored(images: Images, mirror: Bool[Array, " examples"]) -> Images:
    """Those images that `mirror` marks, with left and right exchanged."""
    return jnp.where(mirror[:, None, None, None], images[:, :, ::-1], images)


def hat_weights(
    positions: Float[Array, "examples outputs"], size: int
) -> Float[Array, "examples outputs size"]:
    """max(0, 1 − |x − i|) of pixel i = 0 … size−1, x being `positions` cut to 0 … size−1."""
    x = jnp.clip(positions, 0, size - 1)[..., None]
    return jnp.maximum(0.0, 1.0 - jnp.abs(x - jnp.arange(size, dtype=x.dtype)))


def sampled_on_lines(
    images: Images,
    rows: Float[Array, "examples height"],
    columns: Float[Array, "examples width"],
) -> Images:
    """Bilinear interpolation at every (row, column), the edge's value beyond it: two products."""
    of_rows = hat_weights(rows, images.shape[1])
    of_columns = hat_weights(columns, images.shape[2])
    return jnp.einsum("nir,njs,nrsc->nijc", of_rows, of_columns, images, precision="highest")


def sampled(
    images: Images,
    rows: Float[Array, "examples height width"],
    columns: Float[Array, "examples height width"],
) -> Images:
    """Bilinear interpolation at a (row, column) per pixel, the edge's value beyond it: a gather."""
    height, width = images.shape[1:3]
    rows, columns = jnp.clip(rows, 0, height - 1), jnp.clip(columns, 0, width - 1)
    top, left = jnp.floor(rows), jnp.floor(columns)
    down, right = (rows - top)[..., None], (columns - left)[..., None]
    top, left = top.astype(jnp.int32), left.astype(jnp.int32)
    below, beside = jnp.minimum(top + 1, height - 1), jnp.minimum(left + 1, width - 1)
    pixels = jax.vmap(lambda image, row, column: image[row, column])

    def along(row: Array) -> Array:
        return pixels(images, row, left) * (1 - right) + pixels(images, row, beside) * right

    return along(top) * (1 - down) + along(below) * down


def warped(
    images: Images,
    rotation: Float[Array, " examples"],
    shift: Float[Array, "examples 2"],
    zoom: Float[Array, "examples 2"],
    centre_offset: float = 0.0,
) -> Images:
    """out(p) = in(c + R(θ)(t + diag(z)(p − c))), points being (row, column).

    R = [[cos θ, −sin θ], [sin θ, cos θ]]. The picture grows where z < 1, moves up where t_row > 0
    and left where t_column > 0, and turns clockwise where θ > 0.

    Args:
        rotation: θ in degrees.
        shift: t in pixels.
        zoom: z.
        centre_offset: pixels by which c lies below and to the right of the image's centre.

    Source: Keras's `apply_affine_transform`.
    """
    height, width = images.shape[1:3]
    centre = (height - 1) / 2 + centre_offset, (width - 1) / 2 + centre_offset
    down = zoom[:, :1] * (jnp.arange(height, dtype=jnp.float32) - centre[0]) + shift[:, :1]
    right = zoom[:, 1:] * (jnp.arange(width, dtype=jnp.float32) - centre[1]) + shift[:, 1:]
    down, right = down[:, :, None], right[:, None, :]
    angle = jnp.deg2rad(rotation)[:, None, None]
    cos, sin = jnp.cos(angle), jnp.sin(angle)
    return sampled(
        images, centre[0] + cos * down - sin * right, centre[1] + sin * down + cos * right
    )


def channel_shifted(images: Images, amount: Float[Array, " examples"]) -> Images:
    """One amount added to all channels, cut to the image's own least and greatest value."""
    least = jnp.min(images, axis=(1, 2, 3), keepdims=True)
    greatest = jnp.max(images, axis=(1, 2, 3), keepdims=True)
    return jnp.clip(images + amount[:, None, None, None], least, greatest)


def erased(
    images: Images, rectangle: Int[Array, "examples 4"], grey: Float[Array, " examples"]
) -> Images:
    """Rows top … bottom−1 and columns left … right−1 set to grey.

    Args:
        rectangle: (top, left, bottom, right); nothing is erased where bottom = top.
    """
    top, left, bottom, right = (side[:, None] for side in rectangle.T)
    rows, columns = jnp.arange(images.shape[1]), jnp.arange(images.shape[2])
    in_rows, in_columns = (top <= rows) & (rows < bottom), (left <= columns) & (columns < right)
    inside = in_rows[:, :, None, None] & in_columns[:, None, :, None]
    return jnp.where(inside, grey[:, None, None, None], images)


def rectangle_size(
    area: Any, aspect: Any, height: int, width: int, xp: Any = jnp
) -> tuple[Any, Any]:
    """(√(S r), √(S/r)): height and width in pixels.

    Args:
        area: S as a fraction of the image's.
        aspect: r.
        xp: the module that computes, JAX's or NumPy.
    """
    return xp.sqrt(area * height * width * aspect), xp.sqrt(area * height * width / aspect)


@cache
def fitting_probability(
    area: tuple[float, float], aspect: tuple[float, float], height: int, width: int
) -> float:
    """E[(1 − H/height)⁺ (1 − W/width)⁺]: how probable it is that a proposed rectangle fits.

    The expectation is over uniform area and aspect, by the midpoint rule.
    """
    middle = (np.arange(200) + 0.5) / 200
    s = area[0] + (area[1] - area[0]) * middle[:, None]
    r = aspect[0] + (aspect[1] - aspect[0]) * middle[None, :]
    high, wide = rectangle_size(s, r, height, width, np)
    return float(np.mean(np.maximum(0, 1 - high / height) * np.maximum(0, 1 - wide / width)))


def _check_fit(
    area: tuple[float, float], aspect: tuple[float, float], height: int, width: int
) -> None:
    misfit = (1 - fitting_probability(area, aspect, height, width)) ** PROPOSALS
    if misfit > _MISFIT:
        raise InputError(
            f"erase_area={area} with erase_aspect={aspect} gives rectangles that seldom fit into "
            f"images of {height} x {width}: lower the area or bring the aspect nearer to 1"
        )


def fitting_rectangle(
    uniforms: Float[Array, "proposals 4"],
    area: tuple[float, float],
    aspect: tuple[float, float],
    height: int,
    width: int,
) -> Int[Array, "4"]:
    """(top, left, bottom, right) of the first proposed rectangle that fits.

    Area S, aspect r and corner (y, x) are uniform and drawn together until y + √(S r) ≤ height and
    x + √(S/r) ≤ width; the sides are then cut to ⌊y⌋, ⌊x⌋, ⌊y + √(S r)⌋ and ⌊x + √(S/r)⌋, so that
    the last row and the last column are never erased. One of the default rectangles fits into a
    square with probability 0.36: that none of 64 does has probability 3e-13, and erases nothing.

    Args:
        uniforms: numbers in [0, 1), four per proposal.
        area: least and greatest, as a fraction of the image's.
        aspect: least and greatest height over width.

    Source: Zhong et al. 2017, with the uniform aspect of Koshian's blog (2019-06-21).
    """
    low = jnp.array([area[0], aspect[0], 0.0, 0.0])
    high = jnp.array([area[1], aspect[1], height, width], dtype=jnp.float32)
    s, r, y, x = (low + uniforms * (high - low)).T
    tall, wide = rectangle_size(s, r, height, width)
    fits = (y + tall <= height) & (x + wide <= width)
    sides = jnp.stack([y, x, y + tall, x + wide], axis=1)[jnp.argmax(fits)]
    return jnp.where(jnp.any(fits), sides, 0.0).astype(jnp.int32)


class CropDraw(NamedTuple):
    """What `CropFlip` draws per example.

    Args:
        corner: (top, left) of the window in the padded image.
        mirror: whether left and right are exchanged.
    """

    corner: Any  # Int[Array, "examples 2"], and so on
    mirror: Any


class CropFlip(NamedTuple):
    """Pad by p pixels, cut out the former size at a uniform offset, mirror with probability ½.

    Args:
        padding: p.
        fill: value of the pixels added, in [0, 1].

    Source: He et al. 2016, section 4.2; with grey (127/255) instead of black in the released code
    of Hoffer, Hubara & Soudry 2017.
    """

    padding: int = 4
    fill: float = 0.0

    def draw(self, keys: Array) -> CropDraw:
        """Corners uniform on 0 … 2p, and mirrors."""

        def one(key: Array) -> CropDraw:
            where, mirror = jax.random.split(key)
            corner = jax.random.randint(where, (2,), 0, 2 * self.padding + 1, dtype=jnp.int32)
            return CropDraw(corner, jax.random.bernoulli(mirror))

        return jax.vmap(one)(keys)

    def apply(self, drawn: CropDraw, images: Images) -> Images:
        """The windows drawn, mirrored where drawn so."""
        p, shape = self.padding, images.shape[1:]
        padded = jnp.pad(
            images, ((0, 0), (p, p), (p, p), (0, 0)), constant_values=jnp.float32(self.fill)
        )

        def window(image: Array, corner: Array) -> Array:
            return jax.lax.dynamic_slice(image, (corner[0], corner[1], jnp.int32(0)), shape)

        return mirrored(jax.vmap(window)(padded, drawn.corner), drawn.mirror)

    def __call__(self, keys: Array, images: Images) -> Images:
        """Augmented examples."""
        return self.apply(self.draw(keys), images)


class ShiftDraw(NamedTuple):
    """What `Shift` draws per example.

    Args:
        shift: (t_row, t_column) in pixels.
        mirror: whether left and right are exchanged.
    """

    shift: Any  # Float[Array, "examples 2"]
    mirror: Any


class Shift(NamedTuple):
    """out(row, column) = in(row + t_row, column + t_column); mirror with probability ½ if `flip`.

    t is uniform on ± fraction of the height and of the width, independently; values between pixels
    are bilinear, values beyond the edge those of the edge.

    Args:
        fraction: largest shift, as a fraction of the size.
        flip: "medium" of Koshian's blog (2019-06-21) has flips in its text and none in its code.

    Source: `ImageDataGenerator` of Keras with width_shift_range and height_shift_range, as called
    in that blog.
    """

    fraction: float = 4 / 32
    flip: bool = True

    def draw(self, keys: Array, height: int, width: int) -> ShiftDraw:
        """Shifts and mirrors for images of height × width."""
        limits = self.fraction * jnp.array([height, width], dtype=jnp.float32)

        def one(key: Array) -> ShiftDraw:
            u = jax.random.uniform(key, (3,))
            return ShiftDraw((2 * u[:2] - 1) * limits, (u[2] < 0.5) & self.flip)

        return jax.vmap(one)(keys)

    def apply(self, drawn: ShiftDraw, images: Images) -> Images:
        """Images shifted and mirrored as drawn."""
        height, width = images.shape[1:3]
        rows = jnp.arange(height, dtype=jnp.float32) + drawn.shift[:, :1]
        columns = jnp.arange(width, dtype=jnp.float32) + drawn.shift[:, 1:]
        return mirrored(sampled_on_lines(images, rows, columns), drawn.mirror)

    def __call__(self, keys: Array, images: Images) -> Images:
        """Augmented examples."""
        return self.apply(self.draw(keys, *images.shape[1:3]), images)


class StrongDraw(NamedTuple):
    """What `Strong` draws per example.

    Args:
        rotation: θ in degrees.
        shift: (t_row, t_column) in pixels.
        zoom: (z_row, z_column).
        channel_shift: added to the pixel values.
        mirror: whether left and right are exchanged.
        rectangle: (top, left, bottom, right); all 0 where nothing is erased.
        grey: the pixel value that it gets.
    """

    rotation: Any  # Float[Array, " examples"], and so on
    shift: Any
    zoom: Any
    channel_shift: Any
    mirror: Any
    rectangle: Any
    grey: Any


class Strong(NamedTuple):
    """Rotation, shift and zoom in one (`warped`), channel shift, mirror, random erasing; in turn.

    Every parameter is uniform and independent of the others, the zooms of the two axes too.

    Args:
        flip: mirror with probability ½.
        shift: largest shift, as a fraction of the size.
        zoom: least and greatest zoom; below 1 the picture grows.
        channel_shift: largest amount added to the pixel values, in [0, 1]; Keras adds it before
            it divides by 255, hence 50/255.
        rotation: largest angle in degrees.
        erase_probability: of erasing a rectangle.
        erase_area: least and greatest area of it, as a fraction of the image's.
        erase_aspect: least and greatest height over width of it.
        centre_offset: see `warped`; Keras took 1 by mistake until October 2020 (corrected in pull
            request 314 of keras-preprocessing), so in the blog's runs too.

    Source: `ImageDataGenerator` of Keras as called in Koshian's blog (2019-06-21), followed by the
    blog's own random erasing.
    """

    flip: bool = True
    shift: float = 4 / 32
    zoom: tuple[float, float] = (0.75, 1.25)
    channel_shift: float = 50 / 255
    rotation: float = 10.0
    erase_probability: float = 0.5
    erase_area: tuple[float, float] = (0.05, 0.2)
    erase_aspect: tuple[float, float] = (0.2, 0.8)
    centre_offset: float = 0.0

    def draw(self, keys: Array, height: int, width: int) -> StrongDraw:
        """Parameters for images of height × width."""
        area, aspect = self.erase_area, self.erase_aspect
        if self.erase_probability > 0:
            _check_fit(area, aspect, height, width)
        limits = self.shift * jnp.array([height, width], dtype=jnp.float32)

        def one(key: Array) -> StrongDraw:
            # One call for all numbers: it compiles in half the time of two.
            u = jax.random.uniform(key, (9 + 4 * PROPOSALS,))
            rectangle = fitting_rectangle(u[9:].reshape(-1, 4), area, aspect, height, width)
            return StrongDraw(
                rotation=(2 * u[0] - 1) * self.rotation,
                shift=(2 * u[1:3] - 1) * limits,
                zoom=self.zoom[0] + u[3:5] * (self.zoom[1] - self.zoom[0]),
                channel_shift=(2 * u[5] - 1) * self.channel_shift,
                mirror=(u[6] < 0.5) & self.flip,
                rectangle=jnp.where(u[7] < self.erase_probability, rectangle, 0),
                grey=u[8],
            )

        return jax.vmap(one)(keys)

    def apply(self, drawn: StrongDraw, images: Images) -> Images:
        """Images changed as drawn."""
        images = warped(images, drawn.rotation, drawn.shift, drawn.zoom, self.centre_offset)
        images = mirrored(channel_shifted(images, drawn.channel_shift), drawn.mirror)
        return erased(images, drawn.rectangle, drawn.grey)

    def __call__(self, keys: Array, images: Images) -> Images:
        """Augmented examples."""
        return self.apply(self.draw(keys, *images.shape[1:3]), images)


Augmentation = CropFlip | Shift | Strong

_NAMES: dict[str, tuple[Any, dict[str, Any]]] = {
    "none": (None, {}),
    "crop-flip": (CropFlip, {}),
    "medium": (Shift, {"flip": True}),
    "medium-without-flip": (Shift, {"flip": False}),
    "strong": (Strong, {}),
}
NAMES = tuple(_NAMES)


def named(name: str, **parameters: Any) -> Augmentation | None:
    """The augmentation of that name, with `parameters` in place of its defaults; "none": None."""
    if name not in NAMES:
        raise unknown_name("augmentation", name, NAMES)
    kind, fixed = _NAMES[name]
    if kind is None:
        if parameters:
            raise InputError(f"augmentation {name!r} takes no parameter: leave out {[*parameters]}")
        return None
    known = [field for field in kind._fields if field not in fixed]
    for parameter in parameters:
        if parameter not in known:
            raise unknown_name(f"parameter of augmentation {name!r}", parameter, known)
    # A list, as a recipe file gives it, would not be hashable.
    values = {k: tuple(v) if isinstance(v, list) else v for k, v in parameters.items()}
    return kind(**fixed, **values)
