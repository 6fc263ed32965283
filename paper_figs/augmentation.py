"""Draw what each augmentation makes of two photographs, ten draws each.

python paper_figs/augmentation.py [FOLDER]   # augmentation.png, by default out/ beside this file
"""

import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray
from sklearn.datasets import load_sample_images

from noisescale.plots import save
from noisescale.training.augmentation import named

DRAWS, SIZE = 10, 32
# Left edges of the squares cut out of the photographs of a temple and of a flower.
LEFT = (110, 105)
ROWS = {
    "none": named("none"),
    "crop-flip,\nblack": named("crop-flip", padding=4, fill=0.0),
    "crop-flip,\ngrey": named("crop-flip", padding=4, fill=127 / 255),
    "medium": named("medium"),
    "medium-\nwithout-flip": named("medium-without-flip"),
    "strong": named("strong"),
}


def photographs() -> NDArray[np.float32]:
    """Squares of two photographs, averaged down to 32 × 32, pixel values in [0, 1]."""
    small = []
    for whole, left in zip(load_sample_images().images, LEFT, strict=True):
        side = len(whole) // SIZE * SIZE
        square = whole[:side, left : left + side] / 255
        blocks = square.reshape(SIZE, side // SIZE, SIZE, side // SIZE, 3)
        small.append(blocks.mean(axis=(1, 3)))
    return np.asarray(small, np.float32)


def main(out: Path) -> list[Path]:
    """Rows are augmentations, the first column the original."""
    keys = jax.random.split(jax.random.key(0), DRAWS)
    figure = Figure(figsize=(8.6, 9.8))
    top, bottom = figure.subfigures(2, 1, hspace=0.0)
    figure.suptitle(
        "Augmentations of two 32 × 32 photographs, ten draws each", fontsize=13, y=0.985
    )
    for part, image in zip((top, bottom), photographs(), strict=True):
        panels = part.subplots(
            len(ROWS),
            1 + DRAWS,
            gridspec_kw={
                **{"left": 0.12, "right": 0.99, "bottom": 0.01, "top": 0.87},
                **{"wspace": 0.06, "hspace": 0.06, "width_ratios": [1.0] * (1 + DRAWS)},
            },
        )
        for row, (label, augmentation) in zip(panels, ROWS.items(), strict=True):
            same = jnp.broadcast_to(jnp.asarray(image), (DRAWS, *image.shape))
            drawn = same if augmentation is None else jax.jit(augmentation.__call__)(keys, same)
            for panel, picture in zip(row, [image, *np.asarray(drawn)], strict=True):
                panel.imshow(np.clip(picture, 0, 1), interpolation="nearest")
                panel.set(xticks=[], yticks=[])
                panel.spines[:].set_visible(False)
            row[0].set_ylabel(label, rotation=0, ha="right", va="center", fontsize=10)
        panels[0, 0].set_title("original", fontsize=10)
        panels[0, 1].set_title("draws", fontsize=10, loc="left")
    target = out / "augmentation.png"
    save(figure, target)
    return [target]


if __name__ == "__main__":
    folder = Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).resolve().parent / "out"
    print(*main(folder), sep="\n")
