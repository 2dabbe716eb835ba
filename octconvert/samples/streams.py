"""Iterables of samples or batches -> chunks."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np

from octconvert.errors import InputError, one_line
from octconvert.samples.arrays import check_counts, check_labels
from octconvert.samples.chunks import Chunk
from octconvert.samples.elements import split_element
from octconvert.samples.inputs import ModelInput, fits

_EMPTY_BATCHES = 1000
"""So many in a row are an error: an endless iterable without samples would never end."""


def stream_chunks(data: Any, inputs: list[ModelInput], limit: int, label: str) -> Iterator[Chunk]:
    """The first ``limit`` samples.

    Raises:
        InputError: reading fails, or the samples do not fit the model.
    """
    left, empty = limit, 0
    for element in _elements(data, label):
        arrays, labels = _batch(element, inputs, label)
        count = min(len(arrays[0]), left)
        empty = 0 if count else empty + 1
        if empty == _EMPTY_BATCHES:
            raise InputError(f"{label}: {empty:,} batches without samples one after the other")
        if count:
            yield [array[:count] for array in arrays], None if labels is None else labels[:count]
        left -= count
        if not left:  # without reading the next one, which may be needed elsewhere
            return


def _elements(data: Any, label: str) -> Iterator[Any]:
    number = 0
    try:
        # The old protocol of sequences may have no end of its own.
        iterator = iter(data) if isinstance(data, Iterable) else map(data.__getitem__, range(len(data)))
        for element in iterator:
            yield element
            number += 1
    except Exception as error:  # whatever the user's code raises
        raise InputError(f"{label}: reading element {number} failed: {one_line(error)}") from error


def _batch(element: Any, inputs: list[ModelInput], label: str) -> Chunk:
    """One element as a chunk; a single sample is a batch of one."""
    arrays, labels = split_element(element, inputs, label)
    single = [_is_single(spec, array) for spec, array in zip(inputs, arrays, strict=True)]
    arrays = [array[None] if alone else array for alone, array in zip(single, arrays, strict=True)]
    if labels is not None and single[0]:
        labels = labels[None]
    if any(not array.shape for array in arrays):
        raise InputError(f"{label}: expected samples of shape {inputs[0].shape}, received a single number")
    check_counts([len(array) for array in arrays], label)
    check_labels(len(arrays[0]), labels, label)
    return arrays, labels


def _is_single(spec: ModelInput, array: np.ndarray) -> bool:
    """Whether the sample axis is missing."""
    grey = spec.grey_shape
    if array.ndim == len(spec.shape):
        return spec.fits(array.shape) or grey is None or not fits(grey, array.shape[1:])
    return grey is not None and array.ndim == len(grey)
