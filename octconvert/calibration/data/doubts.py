"""Whether the data of a calibration look like those that the model was trained on.

Held-out samples of the same data do not show it: a model that is fitted to images that are all alike, or 255 times too
bright, is near to its source on such images and on no others. The statistics of the model's first normalisation do.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from keras import layers, ops

from octconvert.calibration.data.supply import Supply
from octconvert.calibration.effort import Pace
from octconvert.model.execution import observe
from octconvert.model.graph import OPERATION, Call, CallGraph
from octconvert.samples import Samples

FAR = 10.0
"""Ratio of the spread of values to that in training, or its inverse: more than another camera or light causes."""
SEEN = 64
"""Samples that are measured for that."""


def doubt(graph: CallGraph, supply: Supply, batch_size: int = SEEN, pace: Pace | None = None) -> str:
    """Why a calibration on these samples may be of no use for others; empty where there is no reason for doubt.

    Measures as many samples as there is time for.
    """
    copies = supply.fit.count // supply.count  # mirror images stand behind their originals
    pairs = zip(supply.fit.arrays, supply.held_out.arrays, strict=True)
    if all(_are_alike(fit[0], (*fit[::copies], *held_out)) for fit, held_out in pairs):
        return f"all {supply.count + supply.held_out.count:,} samples are the same"
    call = next((call for call in graph.calls if call.kind == OPERATION and _statistics(call) is not None), None)
    return "" if call is None else _far_off(graph, call, supply.fit, batch_size, pace or Pace())


def _are_alike(first: np.ndarray, others: Iterable[np.ndarray]) -> bool:
    return all(np.array_equal(first, other) for other in others)


def _statistics(call: Call) -> tuple[np.ndarray, np.ndarray] | None:
    """(mean, variance) of the inputs of a layer in training."""
    layer = call.operation
    if isinstance(layer, layers.BatchNormalization):
        pair = layer.moving_mean, layer.moving_variance
    elif isinstance(layer, layers.Normalization) and layer.built and not layer.invert:
        pair = layer.mean, layer.variance
    else:
        return None
    mean, variance = (np.asarray(ops.convert_to_numpy(each), dtype="float64").reshape(-1) for each in pair)
    return mean, variance


def _far_off(graph: CallGraph, call: Call, samples: Samples, batch_size: int, pace: Pace) -> str:
    """By the median over the channels."""
    mean, variance = _statistics(call) or (np.zeros(1), np.ones(1))
    axis = getattr(call.operation, "axis", -1)
    axis = axis[0] if isinstance(axis, (tuple, list)) and len(axis) == 1 else axis
    if not isinstance(axis, int):
        return ""
    count, total, squares = 0, np.zeros(len(mean)), np.zeros(len(mean))
    for batch in pace.units(samples.batches(batch_size, range(min(SEEN, samples.count)))):
        _, values = next(iter(observe(graph, batch, call.inputs[:1])))  # the calls behind it are not run
        values = np.asarray(ops.convert_to_numpy(values), dtype="float64")
        if values.shape[axis] != len(mean):
            return ""
        rows = np.moveaxis(values, axis, -1).reshape(-1, len(mean)) - mean
        count, total, squares = count + len(rows), total + rows.sum(axis=0), squares + np.square(rows).sum(axis=0)
    if not count:
        return ""
    usual = np.sqrt(np.maximum(variance, 1e-12))
    spread = float(np.median(np.sqrt(squares / count) / usual))
    deviation = float(np.median(np.sqrt(np.maximum(squares / count - np.square(total / count), 0.0)) / usual))
    if spread > FAR:
        return f"the input of '{call.layer_name}' is {spread:,.0f} times as far spread as in the model's training"
    if deviation < 1 / FAR:
        return f"the input of '{call.layer_name}' hardly varies: {deviation:.2g} of its spread in the model's training"
    return ""
