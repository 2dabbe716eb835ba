"""Chunks of a `ChunkSource` -> `Samples`: prepared, checked and stored."""

from __future__ import annotations

import contextlib
from typing import NoReturn

import numpy as np

from octconvert.errors import InputError, UsageError, one_line
from octconvert.samples.chunks import ChunkSource
from octconvert.samples.elements import is_numeric
from octconvert.samples.inputs import ModelInput, fits, misfit_message
from octconvert.samples.preprocess import Preprocess
from octconvert.samples.store import Store
from octconvert.samples.values import Samples, stored_samples
from octconvert.text.words import plural


class Intake(contextlib.ExitStack):
    """Prepares and checks chunks and stores them."""

    def __init__(self, source: ChunkSource, inputs: list[ModelInput], function: Preprocess | None):
        super().__init__()
        self.source, self.inputs, self.function = source, inputs, function
        self.store = self.enter_context(Store(source.most, source.label))
        self.label_store = self.enter_context(Store(source.most, source.label))
        self.has_labels = True
        self.seen_bytes = False  # whether there were bytes above 1 among the images
        self.bad: list[int] = []  # numbers of the samples with nan or infinity

    def take(self, arrays: list[np.ndarray], labels: np.ndarray | None) -> None:
        """Add a chunk.

        Raises:
            InputError: it does not fit the model or the chunks before.
            UsageError: ``preprocess`` failed.
        """
        before = self.store.count
        prepared = [self._prepared(spec, array) for spec, array in zip(self.inputs, arrays, strict=True)]
        finite = np.ones(len(arrays[0]), bool)
        for array in prepared:
            finite &= np.isfinite(array).all(axis=tuple(range(1, array.ndim)))
        self.bad += (before + np.flatnonzero(~finite)).tolist()
        if not self.store.accepts(prepared):
            sizes = ", ".join(str(array.shape[1:]) for array in prepared)
            self._refuse(f"holds samples of different sizes: after {self.store.sizes}, {sizes}")
        self.store.add(prepared)
        # Labels of some samples only, or of different sizes, are of no use.
        self.has_labels = self.has_labels and labels is not None and self.label_store.accepts([labels])
        if self.has_labels and labels is not None:
            self.label_store.add([labels])

    def samples(self, notes: tuple[str, ...]) -> Samples:
        """All that was added.

        Raises:
            InputError: there are no samples, or some hold nan or infinity.
        """
        count, source = self.store.count, self.source
        if not count:
            self._refuse("holds no samples")
        if self.bad:
            after = " after preprocess" if self.function else ""
            first = source.name_of(self.bad[0])
            self._refuse(f"{len(self.bad):,} of {plural(count, 'sample')} hold nan or infinity{after} (first: {first})")
        of_all = source.total is not None and source.total != count
        counted = f"{count:,} of {plural(source.total or 0, source.noun)}" if of_all else plural(count, source.noun)
        origin = f"{source.name} ({counted})"
        return stored_samples(self.store, self.label_store if self.has_labels else None, origin, notes)

    def _prepared(self, spec: ModelInput, array: np.ndarray) -> np.ndarray:
        grey = spec.grey_shape
        if grey is not None and not spec.fits(array.shape[1:]) and fits(grey, array.shape[1:]):
            array = np.expand_dims(array, 1 + (spec.channels or 0))
        if spec.channels is not None and (self.source.are_images or array.dtype == np.uint8):
            self.seen_bytes = self.seen_bytes or bool(array.max(initial=0) > 1)
        if self.function is not None and (spec.channels is not None or all(i.channels is None for i in self.inputs)):
            array = self._preprocessed(self.function, array)
        if not spec.fits(array.shape[1:]):
            self._refuse(misfit_message(spec, array))
        return self._cast(spec, array)

    def _preprocessed(self, function: Preprocess, array: np.ndarray) -> np.ndarray:
        try:
            result = np.asarray(function(array.astype(np.float32)))  # a copy: it may work in place
        except Exception as error:  # whatever the user's function raises
            raise UsageError(f"preprocess failed on a batch of shape {array.shape}: {one_line(error)}") from error
        if not is_numeric(result.dtype) or result.shape[:1] != array.shape[:1]:
            received = f"{result.dtype} of shape {result.shape}"
            raise UsageError(f"preprocess: expected a batch of {plural(len(array), 'sample')}, received {received}")
        return result

    def _cast(self, spec: ModelInput, array: np.ndarray) -> np.ndarray:
        with np.errstate(over="ignore", invalid="ignore"):
            result = array.astype(spec.dtype)
        if spec.dtype.kind in "iub" and not np.array_equal(result, array):
            self._refuse(f"input '{spec.names[0]}' takes {spec.dtype}; some of the values are not of that type")
        return result

    def _refuse(self, reason: str) -> NoReturn:
        raise InputError(f"{self.source.label}: {reason}")
