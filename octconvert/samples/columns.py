"""Arrays that are there as a whole, in memory or in a file, as a source."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import repeat

import numpy as np

from octconvert.errors import InputError
from octconvert.samples.chunks import CHUNK, Choice, Source, pieces
from octconvert.text.words import plural


@dataclass(frozen=True, eq=False)
class Column:
    """An array that may lie in a file: its shape, and what reads some of its rows, chunk by chunk."""

    shape: tuple[int, ...]
    read: Callable[[list[np.ndarray]], Iterator[np.ndarray]]


def column_of(array: np.ndarray) -> Column:
    return Column(array.shape, lambda parts: (np.asarray(array[rows]) for rows in parts))


def column_source(columns: list[Column], labels: Column | None, label: str, name: str, choice: Choice) -> Source:
    if any(not column.shape for column in columns):
        raise InputError(f"{label}: expected arrays whose first axis is the sample, received a single number")
    check_counts([column.shape[0] for column in columns], label)
    total = columns[0].shape[0]
    check_labels(total, labels, label)
    rows = choice.rows(total)
    parts = pieces(rows, CHUNK)
    inputs = zip(*(column.read(parts) for column in columns), strict=True)
    chunks = ((list(part), y) for part, y in zip(inputs, labels.read(parts) if labels else repeat(None), strict=False))
    return Source(label, name, "sample", chunks, len(rows), total, lambda number: f"sample {rows[number]}")


def check_counts(counts: Sequence[int], label: str) -> None:
    """All inputs have as many samples."""
    if len(set(counts)) > 1:
        raise InputError(f"{label}: the inputs have different numbers of samples: {', '.join(map(str, counts))}")


def check_labels(count: int, labels: Column | np.ndarray | None, label: str) -> None:
    if labels is not None and labels.shape[:1] != (count,):
        found = plural(labels.shape[0], "label") if labels.shape else "a single label"
        raise InputError(f"{label}: {plural(count, 'sample')} but {found}")
