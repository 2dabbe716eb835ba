"""Re-estimates BatchNormalization in a converted model (running mean and variance) from the data.

The converted model's inputs to a normalisation differ from the source's; its statistics are moved by as much:
``mean + (mean now - mean in the source)`` and ``variance * (variance now / variance in the source)``, with both
measured on the same samples, and for a low map against the source's *pooled* map. The same holds for a plain map that a
layer computes from a low map alone. (Plain re-estimation would scale low maps, whose variance is smaller because they
are pooled, to the variance of the high ones: another function.)
"""

from __future__ import annotations

from collections.abc import Iterable

import keras
import numpy as np
from keras import ops

from octconvert.calibration.alignment import AlignedCall, Alignment
from octconvert.calibration.fitting.linear import regressions
from octconvert.model.execution import observe
from octconvert.model.graph import OPERATION
from octconvert.model.tensors import BackendTensor
from octconvert.octave.geometry import Octave

LARGEST_CHANGE = 4.0
"""Largest factor by which a variance is multiplied or divided."""


def renormalize(alignment: Alignment, batches: Iterable[list[np.ndarray]]) -> int:
    """Move the statistics of every BatchNormalization, in one pass; returns how many layers were changed.

    A layer that is called more than once gets the statistics of all its calls.
    """
    layers = _normalizations(alignment)
    sums = {id(calls[0].layer): np.zeros((2, 3, _width(calls[0]))) for calls in layers}
    for batch in batches:
        _add(alignment, batch, [aligned for calls in layers for aligned in calls], sums)
    return sum(_move(alignment, calls[0], sums[id(calls[0].layer)]) for calls in layers)


def _normalizations(alignment: Alignment) -> list[list[AlignedCall]]:
    layers = [calls for calls in alignment.layers if isinstance(calls[0].layer, keras.layers.BatchNormalization)]
    return [calls for calls in layers if all(aligned.source.inputs[0] in alignment.counterparts for aligned in calls)]


def _width(aligned: AlignedCall) -> int:
    return aligned.layer.moving_mean.shape[0]


def _add(alignment: Alignment, batch: list[np.ndarray], calls: list[AlignedCall], sums: dict[int, np.ndarray]) -> None:
    by_source: dict[int, list[AlignedCall]] = {}
    by_converted: dict[int, list[AlignedCall]] = {}
    for aligned in calls:
        by_source.setdefault(aligned.source.inputs[0], []).append(aligned)
        by_converted.setdefault(aligned.call.inputs[0], []).append(aligned)
    for tensor, value in observe(alignment.source, batch, by_source):
        for aligned in by_source[tensor]:
            split = (
                None if aligned.part == "clone" else alignment.counterparts[tensor].split
            )  # a copy reads the merged map
            parts = alignment.parts(value, split)
            own = parts[-1 if aligned.part == "clone-L" else 0]
            if alignment.source.is_map(own.shape):
                own = alignment.block_means(own, _cell(alignment, aligned))
            sums[id(aligned.layer)][0] += _moments(own, aligned.layer.axis)
    for tensor, value in observe(alignment.converted, batch, by_converted):
        for aligned in by_converted[tensor]:
            sums[id(aligned.layer)][1] += _moments(value, aligned.layer.axis)


def _cell(alignment: Alignment, aligned: AlignedCall) -> Octave:
    """Positions along each axis of the normalised map that hold one value: those of a low map that was upsampled."""
    tensor = aligned.call.inputs[0]
    writer = alignment.converted.producer(tensor)
    if writer.kind != OPERATION:
        return 1
    cells = {regression.output: regression.cell for regression in regressions(writer.operation)}
    return cells.get(writer.outputs.index(tensor), 1)


def _moments(x: BackendTensor, axis: int) -> np.ndarray:
    """(count, sum, sum of squares) for each channel."""
    x = ops.cast(x, "float32")
    axes = [i for i in range(len(x.shape)) if i != axis % len(x.shape)]
    parts = (ops.ones_like(x), x, ops.square(x))
    return np.stack([ops.convert_to_numpy(ops.sum(part, axis=axes)) for part in parts]).astype("float64")


def _move(alignment: Alignment, aligned: AlignedCall, sums: np.ndarray) -> int:
    layer: keras.layers.BatchNormalization = aligned.layer
    count, total, squares = sums[:, 0], sums[:, 1], sums[:, 2]
    if not np.isfinite(sums).all() or not count.all():
        return 0
    mean = total / count
    variance = np.maximum(squares / count - mean**2, 0.0)
    usable = variance[0] > 1e-12
    ratio = np.where(usable, variance[1] / np.where(usable, variance[0], 1.0), 1.0)
    ratio = np.clip(ratio, 1 / LARGEST_CHANGE, LARGEST_CHANGE)
    # From the source's mean: that of the layer may have moved already, with the layer before it (`fitting.problem`).
    layer.moving_mean.assign(alignment.own_channels(aligned, aligned.source.operation.moving_mean) + mean[1] - mean[0])
    layer.moving_variance.assign(ops.convert_to_numpy(layer.moving_variance) * ratio)
    return 1
