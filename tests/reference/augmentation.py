"""Augmentation of one image by given parameters in float64: pixel by pixel, the warp by SciPy."""

import numpy as np
from scipy import ndimage


def crop_flip(image, corner, mirror, *, padding, fill):
    """The window at `corner` of the padded image, in the image's size."""
    height, width, channels = image.shape
    out = np.empty(image.shape)
    for i in range(height):
        for j in range(width):
            row = corner[0] + i - padding
            column = corner[1] + (width - 1 - j if mirror else j) - padding
            inside = 0 <= row < height and 0 <= column < width
            for channel in range(channels):
                out[i, j, channel] = image[row, column, channel] if inside else fill
    return out


def _between(image, row, column):
    """The bilinear value at a point brought back to the image."""
    height, width, _ = image.shape
    row, column = min(max(row, 0), height - 1), min(max(column, 0), width - 1)
    total = 0.0
    for i in {int(np.floor(row)), int(np.ceil(row))}:
        for j in {int(np.floor(column)), int(np.ceil(column))}:
            total = total + (1 - abs(row - i)) * (1 - abs(column - j)) * image[i, j]
    return total


def shift(image, by, mirror):
    """Each pixel read `by` (rows, columns) further on."""
    height, width, _ = image.shape
    out = np.empty(image.shape)
    for i in range(height):
        for j in range(width):
            source = width - 1 - j if mirror else j
            out[i, j] = _between(image, i + by[0], source + by[1])
    return out


def warp(image, degrees, by, zoom, centre_offset=0.0):
    """SciPy's affine transform by the product of 3 × 3 matrices about the centre."""
    turn = np.deg2rad(degrees)
    rotation = np.array(
        [[np.cos(turn), -np.sin(turn), 0], [np.sin(turn), np.cos(turn), 0], [0, 0, 1]]
    )
    translation, to_centre = np.eye(3), np.eye(3)
    translation[:2, 2] = by
    to_centre[:2, 2] = [size / 2 - 0.5 + centre_offset for size in image.shape[:2]]
    scaling = np.diag([zoom[0], zoom[1], 1.0])
    whole = to_centre @ rotation @ translation @ scaling @ np.linalg.inv(to_centre)
    planes = [
        ndimage.affine_transform(plane, whole[:2, :2], whole[:2, 2], order=1, mode="nearest")
        for plane in np.moveaxis(image.astype(np.float64), 2, 0)
    ]
    return np.stack(planes, axis=2)


def strong(
    image, rotation, shift, zoom, channel_shift, mirror, rectangle, grey, *, centre_offset=0.0
):
    """Warp, channel shift, mirror and erasing, in turn."""
    out = warp(image, rotation, shift, zoom, centre_offset)
    least, greatest = out.min(), out.max()
    for place in np.ndindex(out.shape):
        out[place] = min(max(out[place] + channel_shift, least), greatest)
    if mirror:
        out = np.array([row[::-1] for row in out])
    top, left, bottom, right = rectangle
    for i in range(top, bottom):
        for j in range(left, right):
            out[i, j, :] = grey
    return out


def rectangles(rng, number, area, aspect, height, width):
    """(accepted (S, r, y, x), share of proposals accepted), each drawn anew until it fits."""
    accepted, proposed = [], 0
    while len(accepted) < number:
        proposed += 1
        s, r = rng.uniform(*area) * height * width, rng.uniform(*aspect)
        y, x = rng.uniform(0, height), rng.uniform(0, width)
        if y + np.sqrt(s * r) <= height and x + np.sqrt(s / r) <= width:
            accepted.append((s, r, y, x))
    return np.array(accepted), number / proposed


def sides(rectangle):
    """The whole pixels (top, left, bottom, right) of (S, r, y, x)."""
    s, r, y, x = rectangle
    return int(y), int(x), int(y + np.sqrt(s * r)), int(x + np.sqrt(s / r))
