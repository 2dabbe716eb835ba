"""`Samples`: arrays that fit the inputs of a model."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

import numpy as np

from octconvert.errors import InputError, UsageError
from octconvert.samples.chunks import CHUNK, pieces
from octconvert.samples.store import Folder, Store


@dataclass(frozen=True, eq=False)
class Samples:
    """Inputs for a model, to be read in any order.

    Attributes:
        arrays: one for each model input, in the flat order of ``model.inputs``; first axis = sample; float32, or the
            input's own dtype where that is an integer or bool; read-only; memory maps where they are large.
        labels: first axis = sample; None where the data have none, or none that are one array of numbers.
        origin: for reports, as ``calib/ (128 images)``.
        notes: for the user, one line each.
    """

    arrays: tuple[np.ndarray, ...]
    labels: np.ndarray | None
    origin: str
    notes: tuple[str, ...] = ()
    _folders: tuple[Folder | None, ...] = field(default=(), repr=False)

    @property
    def count(self) -> int:
        return len(self.arrays[0])

    def batches(self, size: int, indices: Iterable[int] | None = None) -> Iterator[list[np.ndarray]]:
        """Batches of ``size`` samples (the last may be smaller), copies, one array for each input.

        ``indices`` chooses the samples and their order.
        """
        if size < 1:
            raise UsageError(f"a batch takes at least 1 sample, received {size}")
        rows = self._rows(indices)
        # Indexing with numbers copies, where a slice would be a view into the file.
        return ([np.asarray(array)[part] for array in self.arrays] for part in pieces(rows, size))

    def subset(self, indices: Iterable[int]) -> Samples:
        """Copies of the samples ``indices``, in that order.

        Raises:
            InputError: there are none, or temporary files can not be written.
        """
        rows = self._rows(indices)
        if not len(rows):
            raise InputError(f"{self.origin}: a subset without samples")
        with Store(len(rows), self.origin) as inputs, Store(len(rows), self.origin) as labels:
            for part in pieces(rows, CHUNK):
                inputs.add([array[part] for array in self.arrays])
                if self.labels is not None:
                    labels.add([self.labels[part]])
            origin = f"{self.origin}, {len(rows):,} of them"
            return stored_samples(inputs, labels, origin, self.notes)

    def split(self, share: float, seed: int) -> tuple[Samples, Samples]:
        """(samples to fit on, held-out samples): ``share`` of all is held out, at least one; chosen by ``seed``.

        Raises:
            UsageError: ``share`` is not between 0 and 1.
            InputError: there are fewer than two samples.
        """
        if not 0 < share < 1:
            raise UsageError(f"the share that is held out must be above 0 and below 1, received {share!r}")
        if self.count < 2:
            raise InputError(f"{self.origin}: one sample can not be split; give two or more")
        out = min(max(1, round(share * self.count)), self.count - 1)
        order = np.random.default_rng(seed).permutation(self.count)
        return self.subset(np.sort(order[out:])), self.subset(np.sort(order[:out]))

    def _rows(self, indices: Iterable[int] | None) -> np.ndarray:
        rows = np.arange(self.count)
        if indices is None:
            return rows
        chosen = np.asarray(list(indices))
        return rows[chosen] if len(chosen) else rows[:0]


def stored_samples(inputs: Store, labels: Store | None, origin: str, notes: tuple[str, ...]) -> Samples:
    """`Samples` from finished stores."""
    if labels is None or not labels.count:
        return Samples(inputs.finish(), None, origin, notes, (inputs.folder,))
    return Samples(inputs.finish(), labels.finish()[0], origin, notes, (inputs.folder, labels.folder))
