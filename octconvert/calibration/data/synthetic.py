"""Synthetic images with the statistics of photographs, for calibrating where there is no data.

"Dead leaves": shapes with power-law sizes that cover each other (Lee, Mumford & Huang, "Occlusion models for natural
images", 2001; used for pre-training by Baradad et al., "Learning to see by looking at noise", 2021). Shapes are taken
from a bank of masks, painted as numbers, and coloured all at once.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np

MEAN, DEVIATION = 0.45, 0.25
"""Of the values of a large set of `dead_leaves`, about (and of photographs in 0..1)."""

FINE = 2  # leaves are painted at this many times the rows and columns, then averaged down: soft edges
CHUNK = 1 << 18  # painted pixels worked on at once: stays in the cache
_RATIO = 1.25  # of the radii of two neighbouring levels of the bank
_MASK_PIXELS = 1 << 20  # a level of the bank holds about this many pixels, but 4 to 48 masks
_SMALLEST, _SMALLEST_SHARE, _LARGEST_SHARE = 0.7, 0.12, 0.7  # radii: pixels, shares of the image's size


def dead_leaves(count: int, rows: int, columns: int, channels: int = 3, seed: int = 0) -> np.ndarray:
    """Random images of overlapping, partly textured and shaded shapes (Lee et al. 2001).

    The sizes' density is r^-3, which makes the images look alike at every scale. Mean brightness, contrast, colours,
    smallest shape and sharpness differ from image to image.

    Returns:
        float32 (count, rows, columns, channels) in [0, 1], with about `MEAN` and `DEVIATION` over the whole set.
    """
    parts = list(dead_leaves_in_parts(count, rows, columns, channels, seed))
    return np.concatenate(parts) if parts else np.empty((0, rows, columns, channels), "float32")


def dead_leaves_in_parts(count: int, rows: int, columns: int, channels: int = 3, seed: int = 0) -> Iterator[np.ndarray]:
    """The images of `dead_leaves`, a few at a time."""
    rng = np.random.default_rng(seed)
    bank = make_bank(rng, FINE * rows, FINE * columns)
    step = max(1, CHUNK // (FINE * FINE * rows * columns))
    for start in range(0, count, step):
        numbers, leaves = _paint(rng, bank, min(step, count - start), channels)
        yield defocused(rng, exposed(rng, lit(rng, colour(bank, numbers, leaves)))).astype("float32", copy=False)


def power_noise(count: int, rows: int, columns: int, channels: int, exponent: float = 1.0, seed: int = 0) -> np.ndarray:
    """Gaussian noise whose amplitude falls with the spatial frequency f as 1/f^exponent (0: white), by FFT.

    Channels are independent, and the images wrap around at their borders.

    Returns:
        float32 (count, rows, columns, channels), mean 0 and deviation 1 in every channel of every image (all 0 where
        there is but one pixel).
    """
    parts = list(power_noise_in_parts(count, rows, columns, channels, exponent, seed))
    return np.concatenate(parts) if parts else np.empty((0, rows, columns, channels), "float32")


def power_noise_in_parts(
    count: int, rows: int, columns: int, channels: int, exponent: float = 1.0, seed: int = 0
) -> Iterator[np.ndarray]:
    """The samples of `power_noise`, a few at a time."""
    rng = np.random.default_rng(seed)
    filters = _amplitude(rows, columns, exponent)
    step = max(1, CHUNK // (rows * columns * channels))
    for start in range(0, count, step):
        part = _filtered(rng, (min(step, count - start), channels), filters, columns)
        yield np.ascontiguousarray(np.moveaxis(part, 1, -1), dtype="float32")


def _amplitude(rows: int, columns: int, exponent: float, stretch: float = 1.0, angle: float = 0.0) -> np.ndarray:
    """Amplitude at each frequency of ``rfft2``, 0 at frequency 0; a ``stretch`` other than 1 gives a grain."""
    vertical, horizontal = np.fft.fftfreq(rows)[:, None], np.fft.rfftfreq(columns)[None, :]
    along = vertical * math.cos(angle) + horizontal * math.sin(angle)
    across = horizontal * math.cos(angle) - vertical * math.sin(angle)
    frequency = np.hypot(along * stretch, across / stretch)
    frequency[0, 0] = 1.0
    amplitude = frequency**-exponent
    amplitude[0, 0] = 0.0
    return amplitude.astype("float32")


def _filtered(rng: np.random.Generator, batch: tuple[int, ...], amplitude: np.ndarray, columns: int) -> np.ndarray:
    """White noise (*batch, rows, columns) with these amplitudes, each image scaled to deviation 1."""
    rows = amplitude.shape[0]
    white = rng.standard_normal((*batch, rows, columns), dtype="float32")
    noise = np.fft.irfft2(np.fft.rfft2(white) * amplitude, s=(rows, columns))
    deviation = noise.std(axis=(-2, -1), keepdims=True)
    return noise / np.where(deviation > 0, deviation, 1)


@dataclass(frozen=True, eq=False)
class Bank:
    """Everything images are put together from; lengths in painted pixels.

    Attributes:
        rows, columns: of the painted image.
        masks: bool arrays, one a shape.
        radii: (levels,).
        first, sizes: masks ``first[level]`` .. ``first[level] + sizes[level]`` are of one level.
        areas: (levels,), mean number of pixels of the level's masks.
        textures: float32 (tiles, side, side) of deviation 1, side a power of two.
    """

    rows: int
    columns: int
    masks: list[np.ndarray]
    radii: np.ndarray
    first: np.ndarray
    sizes: np.ndarray
    areas: np.ndarray
    textures: np.ndarray


@dataclass(frozen=True, eq=False)
class Leaves:
    """How each painted leaf looks; every array has one entry a leaf.

    Attributes:
        colours: (leaves, channels).
        slopes: (leaves, 3), shading: factors of row, column and 1.
        grain: amplitude of the texture.
        tiles: (leaves, 3), texture number and its shift in rows and columns.
    """

    colours: np.ndarray
    slopes: np.ndarray
    grain: np.ndarray
    tiles: np.ndarray


def make_bank(rng: np.random.Generator, rows: int, columns: int) -> Bank:
    size = math.sqrt(rows * columns)
    smallest = FINE * _SMALLEST
    levels = 1 + max(0, round(math.log(max(_LARGEST_SHARE * size / smallest, 1.0), _RATIO)))
    radii = smallest * _RATIO ** np.arange(levels)
    sizes = np.clip(_MASK_PIXELS / (4 * radii**2), 4, 48).astype(int)
    masks = [_mask(rng, radius) for radius, n in zip(radii, sizes, strict=True) for _ in range(n)]
    first = np.cumsum(sizes) - sizes
    areas = np.add.reduceat([mask.sum() for mask in masks], first) / sizes
    side = 1 << min(8, math.ceil(math.log2(max(rows, columns))))
    return Bank(rows, columns, masks, radii, first, sizes, areas, _textures(rng, side))


def _textures(rng: np.random.Generator, side: int) -> np.ndarray:
    """Noise from rough to cloudy; half of the tiles have a grain, as wood, grass and cloth do."""
    tiles = []
    for number in range(12):
        stretch = rng.uniform(1.5, 4) if number % 2 else 1.0
        amplitude = _amplitude(side, side, rng.uniform(0.6, 1.4), stretch, rng.uniform(0, math.pi))
        tiles.append(_filtered(rng, (), amplitude, side))
    return np.stack(tiles).astype("float32")


def _mask(rng: np.random.Generator, radius: float) -> np.ndarray:
    """One random shape within about the radius, without its empty borders."""
    radius *= rng.uniform(1 / math.sqrt(_RATIO), math.sqrt(_RATIO))
    reach = np.arange(-math.ceil(radius), math.ceil(radius) + 1) / radius
    y, x = reach[:, None], reach[None, :]
    inside = _SHAPES[rng.integers(len(_SHAPES))](rng, y, x)
    inside[len(reach) // 2, len(reach) // 2] = True  # thin shapes must not vanish
    used_rows, used_columns = (np.flatnonzero(inside.any(axis=axis)) for axis in (1, 0))
    return inside[used_rows[0] : used_rows[-1] + 1, used_columns[0] : used_columns[-1] + 1].copy()


def _turned(rng: np.random.Generator, y: np.ndarray, x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    angle = rng.uniform(0, math.pi)
    return y * math.cos(angle) + x * math.sin(angle), x * math.cos(angle) - y * math.sin(angle)


def _ellipse(rng: np.random.Generator, y: np.ndarray, x: np.ndarray) -> np.ndarray:
    along, across = _turned(rng, y, x)
    return along**2 + (across / rng.uniform(0.3, 1)) ** 2 <= 1


def _disc(rng: np.random.Generator, y: np.ndarray, x: np.ndarray) -> np.ndarray:
    return y**2 + x**2 <= 1


def _rectangle(rng: np.random.Generator, y: np.ndarray, x: np.ndarray) -> np.ndarray:
    along, across = _turned(rng, y, x)
    aspect = rng.uniform(0.08, 1)  # from a twig to a square
    half = 1 / math.hypot(1, aspect)
    return (abs(along) <= half) & (abs(across) <= half * aspect)


def _polygon(rng: np.random.Generator, y: np.ndarray, x: np.ndarray) -> np.ndarray:
    """Triangles to hexagons, by their half-planes."""
    corners = rng.integers(3, 7)
    turn = rng.uniform(0, 2 * math.pi)
    inside = np.full(np.broadcast_shapes(y.shape, x.shape), True)
    for side in range(corners):
        angle = turn + 2 * math.pi * (side + rng.uniform(-0.25, 0.25)) / corners
        inside &= y * math.sin(angle) + x * math.cos(angle) <= rng.uniform(0.4, 0.8)
    return inside


def _blob(rng: np.random.Generator, y: np.ndarray, x: np.ndarray) -> np.ndarray:
    angle, reach = np.arctan2(y, x), 0.75
    for waves in (2, 3, 5):
        reach = reach + rng.uniform(0, 0.25) / math.sqrt(waves) * np.cos(waves * angle + rng.uniform(0, 2 * math.pi))
    return np.hypot(y, x) <= reach


_SHAPES = (_disc, _ellipse, _rectangle, _rectangle, _polygon, _polygon, _blob)


def _paint(rng: np.random.Generator, bank: Bank, count: int, channels: int) -> tuple[np.ndarray, Leaves]:
    """Leaf numbers (count, painted rows, painted columns), and how the leaves look. The first of each image is its
    background."""
    canvas = np.empty((count, bank.rows, bank.columns), "int32")
    looks, start = [], 0
    for picture in canvas:
        levels = np.concatenate([[len(bank.radii) - 1], draw_levels(rng, bank)])
        radii = bank.radii[levels]
        centres = rng.random((len(levels), 2)) * (np.array(picture.shape) + 2 * radii[:, None]) - radii[:, None]
        picture[:] = start
        shapes = draw_shapes(rng, bank, levels[1:])
        place(picture, shapes, centres[1:], range(start + 1, start + len(levels)))
        looks.append(look(rng, bank, radii, centres, channels))
        start += len(levels)
    joined = (np.concatenate(parts).astype("float32") for parts in zip(*looks, strict=True))
    colours, slopes, grain, tiles = joined
    return canvas, Leaves(colours, slopes, grain, tiles.astype("int32"))


def draw_levels(rng: np.random.Generator, bank: Bank) -> np.ndarray:
    """Random sizes for one image, density r^-3 from a random smallest radius on, enough to cover it a few times."""
    size = math.sqrt(bank.rows * bank.columns)
    low, high = FINE * _SMALLEST, max(FINE * _SMALLEST, _SMALLEST_SHARE * size)
    smallest = low * (high / low) ** rng.random()
    radii = bank.radii
    # r^-3 dr is r^-2 of a level; a larger leaf touches the image from further outside
    reach = (bank.rows + 2 * radii) * (bank.columns + 2 * radii)
    density = radii**-2 * reach * (radii >= min(smallest, radii[-1]))
    density /= density.sum()
    covered = (density * bank.areas / reach).sum()  # of a place, by one leaf
    return rng.choice(len(radii), size=math.ceil(rng.uniform(2.5, 4.5) / covered), p=density)


def draw_shapes(rng: np.random.Generator, bank: Bank, levels: np.ndarray) -> list[np.ndarray]:
    """A mask for each leaf."""
    chosen = bank.first[levels] + rng.integers(0, bank.sizes[levels])
    flips = rng.integers(0, 2, (len(levels), 2)) * 2 - 1
    pairs = zip(chosen.tolist(), flips.tolist(), strict=True)
    return [bank.masks[mask][::up, ::left] for mask, (up, left) in pairs]


def place(picture: np.ndarray, shapes: Iterable[np.ndarray], centres: np.ndarray, numbers: Iterable[int]) -> None:
    """Write the numbers of leaves into the picture, back to front."""
    for shape, (y, x), number in zip(shapes, centres.tolist(), numbers, strict=True):
        top, edge = int(y) - shape.shape[0] // 2, int(x) - shape.shape[1] // 2
        if top < 0:
            shape, top = shape[-top:], 0
        if edge < 0:
            shape, edge = shape[:, -edge:], 0
        part = picture[top : top + shape.shape[0], edge : edge + shape.shape[1]]
        np.copyto(part, number, where=shape[: part.shape[0], : part.shape[1]])


def look(
    rng: np.random.Generator, bank: Bank, radii: np.ndarray, centres: np.ndarray, channels: int
) -> tuple[np.ndarray, ...]:
    """Arrays for `Leaves` of one image."""
    count = len(radii)
    palette = _palette(rng, int(rng.integers(3, 9)), channels)
    colours = palette[rng.integers(0, len(palette), count)] * np.exp(0.3 * rng.standard_normal((count, 1)))
    slope = 0.25 * rng.standard_normal((count, 2)) * (rng.random((count, 1)) < 0.6) / radii[:, None]
    slopes = np.column_stack([slope, -(slope * centres).sum(axis=1)])
    grain = rng.exponential(rng.uniform(0.05, 0.2), count) * (rng.random(count) < 0.7)
    side = bank.textures.shape[-1]
    tiles = np.column_stack([rng.integers(0, len(bank.textures), count), rng.integers(0, side, (count, 2))])
    return colours, slopes, grain, tiles


def _palette(rng: np.random.Generator, count: int, channels: int) -> np.ndarray:
    """Positive colours (count, channels): brightness, times hues that are cosines over the channels.

    Those are the principal colours of photographs: for red, green, blue the first is warm to cold, the second magenta
    to green, and the first is the stronger.
    """
    place = (np.arange(channels) + 0.5) / channels
    waves = np.arange(1, min(channels, 4))
    hues = np.cos(math.pi * np.outer(waves, place)) / waves[:, None] ** 1.5
    strength = rng.uniform(0.02, 0.35)  # from nearly grey images to colourful ones
    light, chroma = rng.standard_normal((1, len(waves))), rng.standard_normal((count, len(waves)))
    brightness = np.exp(0.7 * rng.standard_normal((count, 1)))
    return brightness * np.exp(strength * (0.5 * light + chroma) @ hues)


def colour(bank: Bank, numbers: np.ndarray, leaves: Leaves) -> np.ndarray:
    """Painted numbers -> images (count, rows, columns, channels), averaged down to their size."""
    side = bank.textures.shape[-1]
    y, x = np.arange(bank.rows, dtype="int32")[:, None], np.arange(bank.columns, dtype="int32")[None, :]
    tile, down, right = (part[numbers] for part in leaves.tiles.T)
    place = (tile * side + ((y + down) & (side - 1))) * side + ((x + right) & (side - 1))
    light = leaves.grain[numbers] * bank.textures.ravel()[place]
    vertical, horizontal, constant = (np.ascontiguousarray(part) for part in leaves.slopes.T)
    light += vertical[numbers] * y + horizontal[numbers] * x + constant[numbers]
    np.maximum(light + 1, 0.1, out=light)
    channels = [_averaged(np.ascontiguousarray(part)[numbers] * light) for part in leaves.colours.T]
    return np.stack(channels, axis=-1)


def _averaged(fine: np.ndarray) -> np.ndarray:
    corners = (fine[:, row::FINE, column::FINE] for row in range(FINE) for column in range(FINE))
    return sum(corners) / FINE**2  # type: ignore[return-value]


def lit(rng: np.random.Generator, images: np.ndarray) -> np.ndarray:
    """Brighter towards one side, each image, or volume, towards its own."""
    light = np.zeros(())
    for axis in range(1, images.ndim - 1):
        shape = [1] * images.ndim
        shape[axis] = -1
        slope = rng.normal(0, 0.4, (len(images), *[1] * (images.ndim - 1)))
        light = light + slope * np.linspace(-1, 1, images.shape[axis], dtype="float32").reshape(shape)
    return images * np.exp(light)


def exposed(rng: np.random.Generator, images: np.ndarray) -> np.ndarray:
    """Give each image, or volume, a mean and a deviation as photographs have them, and clip to [0, 1]."""
    images = np.sqrt(images)  # of light: what a display gamma does
    axes = tuple(range(1, images.ndim))
    deviation = images.std(axis=axes, keepdims=True)
    shape = deviation.shape
    mean = rng.normal(MEAN, 0.13, shape)
    contrast = 0.225 * np.exp(0.3 * rng.standard_normal(shape)) / np.where(deviation > 0, deviation, 1)
    images = (images - images.mean(axis=axes, keepdims=True)) * contrast + mean
    return np.clip(images, 0, 1)


def defocused(rng: np.random.Generator, images: np.ndarray) -> np.ndarray:
    """Blur a share of the images, or volumes, a little."""
    amount = rng.uniform(-1.0, 1.0, (len(images), *[1] * (images.ndim - 1))).clip(0)
    for axis in range(1, images.ndim - 1):
        padded = np.concatenate([images.take([0], axis), images, images.take([-1], axis)], axis)
        size = images.shape[axis]
        before, after = padded.take(range(size), axis), padded.take(range(2, size + 2), axis)
        images = images + amount * (0.25 * (before + after) - 0.5 * images)
    return images
