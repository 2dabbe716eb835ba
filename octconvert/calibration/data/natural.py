"""Synthetic samples of a model's maps by their rank: signals, images, or volumes and videos."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from octconvert.calibration.data.photographs import photograph_crops
from octconvert.calibration.data.signals import signals_in_parts
from octconvert.calibration.data.synthetic import dead_leaves_in_parts
from octconvert.calibration.data.volumes import volumes_in_parts

NOUNS = {1: "signal", 2: "image", 3: "volume"}
"""What the inputs of a model of each rank are called."""
COLOURS = (1, 3)
"""Channels of images: grey ones, and those with colours."""


def natural_in_parts(
    count: int, size: Sequence[int], channels: int, seed: int = 0, photographs: bool = False
) -> Iterator[np.ndarray]:
    """(some of ``count``, *size, channels) at a time, with about the same mean and deviation at every rank.

    Args:
        photographs: whether half of the images are crops of photographs; else all are dead leaves.
    """
    if len(size) == 1:
        return signals_in_parts(count, size[0], channels, seed)
    if len(size) == 2:
        images = with_crops_in_parts if photographs and channels in COLOURS else dead_leaves_in_parts
        return images(count, size[0], size[1], channels, seed)
    return volumes_in_parts(count, size[0], size[1], size[2], channels, seed)


def with_crops_in_parts(count: int, rows: int, columns: int, channels: int, seed: int = 0) -> Iterator[np.ndarray]:
    """Dead leaves and crops of photographs in turn."""
    rng, left = np.random.default_rng(seed), count
    for leaves in dead_leaves_in_parts(-(-count // 2), rows, columns, channels, seed):
        crops = photograph_crops(len(leaves), rows, columns, channels, rng)
        both = np.stack([leaves, crops], axis=1).reshape(-1, rows, columns, channels)[:left]
        left -= len(both)
        yield both


def natural(count: int, size: Sequence[int], channels: int, seed: int = 0) -> np.ndarray:
    """All of them, (count, *size, channels)."""
    return np.concatenate(list(natural_in_parts(count, size, channels, seed)))
