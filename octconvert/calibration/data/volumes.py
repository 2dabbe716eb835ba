"""Synthetic volumes and videos, for calibrating where there is no data: the dead leaves of `synthetic` in layers.

A volume is a pile of pictures. Each leaf lies in some of them, one behind another, and moves from each to the next. In
half of the volumes leaves last as long as they are wide, as organs do; in the others they last throughout and move
together and each by itself, as what a camera sees. A model does not show which of the two its inputs are.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np

from octconvert.calibration.data.synthetic import (
    CHUNK,
    FINE,
    Bank,
    Leaves,
    colour,
    defocused,
    draw_levels,
    draw_shapes,
    exposed,
    lit,
    look,
    make_bank,
    place,
)

_STEPS = 10**-2.7, 10**-1.3
"""Of a leaf from picture to picture at least and at most, in the image's size."""
_THICKNESS = 0.5, 4.0
"""Distance of two pictures of a body, in the distance of two rows."""
_THROUGHOUT = 1e9
"""Pictures."""
_MOST_COPIES = 64
"""Of a leaf that lasts a short while, at other places, so that no picture has fewer."""


def volumes(count: int, depth: int, rows: int, columns: int, channels: int = 1, seed: int = 0) -> np.ndarray:
    """Random volumes and videos of overlapping shapes.

    Returns:
        float32 (count, depth, rows, columns, channels) in [0, 1], with about the mean and deviation of `dead_leaves`.
    """
    parts = list(volumes_in_parts(count, depth, rows, columns, channels, seed))
    return np.concatenate(parts) if parts else np.empty((0, depth, rows, columns, channels), "float32")


def volumes_in_parts(
    count: int, depth: int, rows: int, columns: int, channels: int = 1, seed: int = 0
) -> Iterator[np.ndarray]:
    """The `volumes`, a few at a time."""
    rng = np.random.default_rng(seed)
    bank = make_bank(rng, FINE * rows, FINE * columns)
    step = max(1, CHUNK // (FINE * FINE * depth * rows * columns))
    for start in range(0, count, step):
        light = np.stack([_volume(rng, bank, depth, channels) for _ in range(min(step, count - start))])
        yield defocused(rng, exposed(rng, lit(rng, light))).astype("float32", copy=False)


@dataclass(frozen=True, eq=False)
class _Pile:
    """Leaves of one volume, back to front; every array has one entry a leaf, and the first one is the background.

    Attributes:
        levels: of their sizes.
        first, last: pictures between which they are seen.
        centres: (leaves, 2) in picture 0.
        steps: (leaves, 2) from picture to picture.
    """

    levels: np.ndarray
    first: np.ndarray
    last: np.ndarray
    centres: np.ndarray
    steps: np.ndarray


def _pile(rng: np.random.Generator, bank: Bank, depth: int) -> _Pile:
    levels = draw_levels(rng, bank)
    size = np.array([bank.rows, bank.columns])
    pace = math.sqrt(bank.rows * bank.columns) * math.exp(rng.uniform(*np.log(_STEPS)))
    steps = pace * (rng.normal(0, 1, 2) + rng.uniform(0, 1) * rng.standard_normal((len(levels), 2)))
    lasting = np.full(len(levels), _THROUGHOUT)
    if rng.random() < 0.5:
        thickness = FINE * math.exp(rng.uniform(*np.log(_THICKNESS)))
        lasting = np.maximum(2 * bank.radii[levels] / thickness * np.exp(0.4 * rng.standard_normal(len(levels))), 1.0)
    # A picture shows the leaves of an image: more are needed where they come and go.
    reach = size + 2 * bank.radii[levels][:, None]
    wandered = reach + (depth - 1) * abs(steps)
    copies = (wandered / reach).prod(axis=1) * (depth - 1 + lasting) / lasting
    copies = np.floor(np.minimum(copies, _MOST_COPIES) + rng.random(len(levels))).astype(int)
    chosen = rng.permutation(np.repeat(np.arange(len(levels)), copies))
    levels, steps, lasting, wandered = levels[chosen], steps[chosen], lasting[chosen], wandered[chosen]
    centres = rng.random((len(levels), 2)) * wandered - bank.radii[levels][:, None]
    centres -= np.maximum((depth - 1) * steps, 0.0)
    first = rng.random(len(levels)) * (depth - 1 + lasting) - lasting
    return _Pile(
        np.concatenate([[len(bank.radii) - 1], levels]),
        np.concatenate([[-np.inf], first]),
        np.concatenate([[np.inf], first + lasting]),
        np.concatenate([rng.random((1, 2)) * size, centres]),
        np.concatenate([np.zeros((1, 2)), steps]),
    )


def _volume(rng: np.random.Generator, bank: Bank, depth: int, channels: int) -> np.ndarray:
    """The light of one volume (depth, rows, columns, channels)."""
    pile = _pile(rng, bank, depth)
    shapes = draw_shapes(rng, bank, pile.levels)
    colours, slopes, grain, tiles = look(rng, bank, bank.radii[pile.levels], pile.centres, channels)
    colours, slopes, grain = (part.astype("float32") for part in (colours, slopes, grain))
    leaves = Leaves(colours, slopes, grain, tiles.astype("int32"))
    pictures = []
    for number in range(depth):
        moved = number * pile.steps
        seen = np.flatnonzero((pile.first < number) & (number <= pile.last))
        picture = np.zeros((1, bank.rows, bank.columns), "int32")
        place(picture[0], (shapes[leaf] for leaf in seen[1:]), (pile.centres + moved)[seen[1:]], seen[1:].tolist())
        pictures.append(colour(bank, picture, _moved(leaves, moved))[0])
    return np.stack(pictures)


def _moved(leaves: Leaves, steps: np.ndarray) -> Leaves:
    """Shading and texture move with the leaves."""
    slopes = leaves.slopes.copy()
    slopes[:, 2] -= (slopes[:, :2] * steps).sum(axis=1)
    tiles = leaves.tiles.copy()
    tiles[:, 1:] -= steps.astype("int32")
    return replace(leaves, slopes=slopes, tiles=tiles)
