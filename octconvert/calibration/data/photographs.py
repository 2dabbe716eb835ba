"""Crops of the photographs that come with octconvert, for calibrating where there is no data.

Dead leaves have the edges, sizes and spectrum of photographs, but nothing of fur, foliage, cloth, faces and light.
Crops of a few photographs at many scales have enough of these to move a network to another one (Asano & Saeed 2023,
"Extrapolating from a single image", arXiv 2112.00725). ``photographs/README.md`` names their sources and licences.
"""

from __future__ import annotations

import math
from functools import cache
from pathlib import Path

import numpy as np
import tensorflow as tf

FOLDER = Path(__file__).with_name("photographs")
LEAST_PART, LEAST_SCALE = 0.25, 0.5
"""Sides of the smallest crop in those of the largest, and pixels of a photograph for one of a crop at least: what is
enlarged more has no detail left."""
LIGHT, CONTRAST, TINT = 0.12, 0.25, 0.12
"""Deviations of a crop's brightness, and of the logarithms of its contrast and of the strength of each colour."""
PLAIN, DRAWN = 0.12, 3
"""Deviation below which a crop is drawn again, and draws at most."""


def photograph_crops(count: int, rows: int, columns: int, channels: int, rng: np.random.Generator) -> np.ndarray:
    """Random crops of the photographs: any scale, half of them mirrored, each in a light of its own.

    Args:
        channels: 3 (red, green, blue) or 1 (grey).

    Returns:
        float32 (count, rows, columns, channels) in [0, 1].
    """
    images = np.stack([_relit(rng, _detailed(rng, rows, columns)) for _ in range(count)])
    return images if channels == 3 else images.mean(axis=-1, keepdims=True)


@cache
def photographs() -> tuple[np.ndarray, ...]:
    """uint8 (rows, columns, 3), in the order of their file names."""
    files = sorted(FOLDER.glob("*.jpg"))
    return tuple(
        tf.io.decode_jpeg(file.read_bytes(), channels=3, dct_method="INTEGER_ACCURATE").numpy() for file in files
    )


def _detailed(rng: np.random.Generator, rows: int, columns: int) -> np.ndarray:
    """A crop that is no plain piece of sky or wall, if one is soon drawn."""
    for _ in range(DRAWN):
        crop = _crop(rng, rows, columns)
        if crop.std() >= PLAIN:
            break
    return crop


def _crop(rng: np.random.Generator, rows: int, columns: int) -> np.ndarray:
    """A part of a photograph, as large as fits into it or smaller, scaled to the size: float32 in [0, 1]."""
    every = photographs()
    photograph = every[rng.integers(len(every))]
    most = min(photograph.shape[0] / rows, photograph.shape[1] / columns)
    least = min(max(LEAST_PART * most, LEAST_SCALE), most)
    scale = math.exp(rng.uniform(math.log(least), math.log(most)))
    size = (max(1, int(rows * scale)), max(1, int(columns * scale)))
    top, left = (rng.integers(whole - part + 1) for whole, part in zip(photograph.shape[:2], size, strict=True))
    part = photograph[top : top + size[0], left : left + size[1]]
    scaled = np.asarray(tf.image.resize(part, (rows, columns), "bicubic", antialias=True), "float32") / 255
    return scaled[:, ::-1] if rng.random() < 0.5 else scaled


def _relit(rng: np.random.Generator, image: np.ndarray) -> np.ndarray:
    """In another light: brightness, contrast and the strength of each colour."""
    mean = image.mean()
    light = mean + LIGHT * rng.standard_normal()
    contrast, tint = math.exp(CONTRAST * rng.standard_normal()), np.exp(TINT * rng.standard_normal(3))
    return np.clip((np.clip((image - mean) * contrast + light, 0, 1)) * tint, 0, 1).astype("float32")
