"""`ChunkSource`: data of any kind as chunks of a few samples."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np

CHUNK = 32
"""Samples that are read and prepared at a time."""

Chunk = tuple[list[np.ndarray], np.ndarray | None]
"""Arrays, one for each input, first axis = sample; their labels."""


@dataclass(frozen=True, eq=False)
class ChunkSource:
    """Data of any kind as chunks.

    Attributes:
        label: the file or argument, for messages.
        name: for reports.
        noun: for one sample, in reports.
        chunks: at most ``most`` samples in all, none of the chunks empty.
        most: samples.
        total: number of samples to choose from; None where it is not known.
        name_of: number of a sample -> its name for the user.
        are_images: whether the values are those of image files, 0..255.
    """

    label: str
    name: str
    noun: str
    chunks: Iterable[Chunk]
    most: int
    total: int | None
    name_of: Callable[[int], str]
    are_images: bool = False


@dataclass(frozen=True)
class Selection:
    """At most ``limit`` samples, chosen at random by ``seed``."""

    limit: int
    seed: int

    def rows(self, total: int) -> np.ndarray:
        """Numbers of the chosen samples out of ``total``, ascending."""
        if total <= self.limit:
            return np.arange(total)
        return np.sort(np.random.default_rng(self.seed).choice(total, self.limit, replace=False))


def pieces(rows: Any, size: int) -> list[Any]:
    """A sequence or array cut into parts of ``size`` items; the last may be shorter."""
    return [rows[start : start + size] for start in range(0, len(rows), size)]
