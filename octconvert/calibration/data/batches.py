"""Batches that are counted while they are used."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np

from octconvert.text.words import plural


class CountedBatches:
    """Batches, with the number of samples in those that were handed out."""

    def __init__(self, batches: Iterable[list[np.ndarray]]):
        self._batches, self.samples = batches, 0

    def __iter__(self) -> Iterator[list[np.ndarray]]:
        for batch in self._batches:
            self.samples += len(batch[0])
            yield batch

    def cut_off(self, total: int) -> str:
        """For the report of a step that ended before all samples were used."""
        return f", on {self.samples:,} of {plural(total, 'sample')}, then the time was over"
