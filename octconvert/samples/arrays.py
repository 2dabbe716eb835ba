"""Arrays in memory or in a file -> `ChunkSource`."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import repeat

import numpy as np

from octconvert.errors import InputError
from octconvert.samples.chunks import CHUNK, ChunkSource, Selection, pieces
from octconvert.text.words import plural


@dataclass(frozen=True, eq=False)
class StoredArray:
    """An array in memory or in a file.

    Attributes:
        shape: of the array; first axis = sample.
        read: numbers of samples, chunk by chunk -> these samples.
    """

    shape: tuple[int, ...]
    read: Callable[[list[np.ndarray]], Iterator[np.ndarray]]


def stored_array(array: np.ndarray) -> StoredArray:
    """From an array in memory, or a memory map."""
    return StoredArray(array.shape, lambda parts: (np.asarray(array[rows]) for rows in parts))


def array_source(
    stored: list[StoredArray], labels: StoredArray | None, label: str, name: str, selection: Selection
) -> ChunkSource:
    """A choice of the samples of some arrays.

    Args:
        stored: an array for each input of the model.
        label: the file or argument, for messages.
        name: for reports.

    Raises:
        InputError: the arrays have different numbers of samples.
    """
    if any(not array.shape for array in stored):
        raise InputError(f"{label}: expected arrays whose first axis is the sample, received a single number")
    check_counts([array.shape[0] for array in stored], label)
    total = stored[0].shape[0]
    check_labels(total, labels, label)
    rows = selection.rows(total)
    parts = pieces(rows, CHUNK)
    inputs = zip(*(array.read(parts) for array in stored), strict=True)
    chunks = ((list(part), y) for part, y in zip(inputs, labels.read(parts) if labels else repeat(None), strict=False))
    return ChunkSource(label, name, "sample", chunks, len(rows), total, lambda number: f"sample {rows[number]}")


def check_counts(counts: Sequence[int], label: str) -> None:
    """Raise InputError unless all inputs have the same number of samples."""
    if len(set(counts)) > 1:
        raise InputError(f"{label}: the inputs have different numbers of samples: {', '.join(map(str, counts))}")


def check_labels(count: int, labels: StoredArray | np.ndarray | None, label: str) -> None:
    """Raise InputError unless there are ``count`` labels, or None."""
    if labels is not None and labels.shape[:1] != (count,):
        received = plural(labels.shape[0], "label") if labels.shape else "a single label"
        raise InputError(f"{label}: {plural(count, 'sample')} but {received}")
