"""Synthetic samples of a model's maps by their rank: signals, images, or volumes and videos."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from octconvert.calibration.data.signals import signals_in_parts
from octconvert.calibration.data.synthetic import dead_leaves_in_parts
from octconvert.calibration.data.volumes import volumes_in_parts

NOUNS = {1: "signal", 2: "image", 3: "volume"}
"""What the inputs of a model of each rank are called."""


def natural_in_parts(count: int, size: Sequence[int], channels: int, seed: int = 0) -> Iterator[np.ndarray]:
    """(some of ``count``, *size, channels) at a time, with about the same mean and deviation at every rank."""
    if len(size) == 1:
        return signals_in_parts(count, size[0], channels, seed)
    if len(size) == 2:
        return dead_leaves_in_parts(count, size[0], size[1], channels, seed)
    return volumes_in_parts(count, size[0], size[1], size[2], channels, seed)


def natural(count: int, size: Sequence[int], channels: int, seed: int = 0) -> np.ndarray:
    """All of them, (count, *size, channels)."""
    return np.concatenate(list(natural_in_parts(count, size, channels, seed)))
