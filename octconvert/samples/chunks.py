"""Data of any kind, seen as chunks of a few samples."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np

CHUNK = 32
"""Samples that are read and prepared at a time."""

Chunk = tuple[list[np.ndarray], np.ndarray | None]
"""Arrays, one for each input, first axis = sample; their labels."""


@dataclass(frozen=True, eq=False)
class Source:
    """Data of any kind as chunks.

    Attributes:
        label: the file or argument, for errors.
        name: for reports.
        noun: what a sample is called in them.
        chunks: at most ``most`` samples in all, none of the chunks empty.
        total: samples there were to choose from, where known.
        called: number of a sample read -> its name for the user.
        are_images: whether the values are those of image files, 0..255.
    """

    label: str
    name: str
    noun: str
    chunks: Iterable[Chunk]
    most: int
    total: int | None
    called: Callable[[int], str]
    are_images: bool = False


@dataclass(frozen=True)
class Choice:
    """At most ``limit`` samples."""

    limit: int
    seed: int

    def rows(self, total: int) -> np.ndarray:
        """Numbers of the samples to take out of ``total``, ascending."""
        if total <= self.limit:
            return np.arange(total)
        return np.sort(np.random.default_rng(self.seed).choice(total, self.limit, replace=False))


def pieces(rows: Sequence | np.ndarray, size: int) -> list:
    return [rows[start : start + size] for start in range(0, len(rows), size)]
