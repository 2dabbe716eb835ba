"""The values that an input of signals, images or volumes expects, read from the model itself.

Rescaling, Normalization and arithmetic with constants in front of the first layers are probed (`affine_paths`); behind
those, the running statistics of BatchNormalization are those of the outputs of a convolution in training
(`first_convolutions`).
"""

from __future__ import annotations

import math

import numpy as np
from keras import layers

from octconvert.calibration.data.affine_paths import AffinePath, names_of, of_frames, paths_from
from octconvert.calibration.data.conventions import (
    BYTES,
    CENTRED,
    CLOSE,
    SAMPLED_SOUND,
    SIGNED,
    SOUND,
    STANDARD,
    UNIT,
    InputRange,
    distance,
    from_moments,
    range_of,
)
from octconvert.calibration.data.first_convolutions import range_from_convolutions, running_statistics
from octconvert.calibration.data.natural import COLOURS
from octconvert.calibration.data.synthetic import DEVIATION, MEAN
from octconvert.calibration.effort import Pace
from octconvert.errors import UsageError
from octconvert.model.graph import CallGraph

_DEVIATIONS = 8.0
"""Deviations of a signal between given limits."""


def is_natural(graph: CallGraph, input_index: int = 0) -> bool:
    """Whether an input takes floating-point signals or volumes of any channels, or is `image_like`."""
    tensor = graph.tensors[graph.inputs[input_index]]
    if len(of_frames(graph, tensor.shape)) == 4 or not graph.is_map(tensor.shape):
        return image_like(graph, input_index)
    return "float" in tensor.dtype


def image_like(graph: CallGraph, input_index: int = 0) -> bool:
    """Whether an input of a 2-D model takes images, or videos of them: 4-D or 5-D, floating point, 1 or 3 channels."""
    tensor = graph.tensors[graph.inputs[input_index]]
    shape = of_frames(graph, tensor.shape)
    is_image = len(shape) == 4 and graph.is_map(shape)
    return is_image and "float" in tensor.dtype and shape[graph.axis_of_channels(shape)] in COLOURS


def find_range(
    graph: CallGraph,
    input_index: int = 0,
    requested: tuple[float, float] | None = None,
    images: np.ndarray | None = None,
    pace: Pace | None = None,
) -> InputRange:
    """The range of one model input.

    Args:
        graph: call graph of the model, which is run but not changed.
        input_index: number of the input, in the model's flat order.
        requested: (LO, HI), the values of black and white, or limits of signals; then nothing is measured.
        images: (count, ..., channels) to run a first convolution on; default: 64 synthetic ones.
        pace: the time it may take.

    Raises:
        UsageError: ``requested`` is not a range.
    """
    shape = of_frames(graph, graph.tensors[graph.inputs[input_index]].shape)
    graph = graph.for_map(shape)
    channels = (shape[graph.axis_of_channels(shape)] if len(shape) > 1 else 1) or 1
    if requested is not None:
        return _as_requested(requested, channels, graph.rank)
    if graph.is_map(shape):
        pace = pace or Pace()
        paths = list(paths_from(graph, graph.inputs[input_index], channels, pace))
        known = _from_arithmetic(paths, graph.rank) or _from_statistics(paths, graph.rank)
        known = known or range_from_convolutions(graph, paths, images, pace)
        if known:
            return known
    is_cut = pace is not None and pace.cut
    why = "the time was too short to measure the range" if is_cut else "nothing in the model shows the range"
    how = f"assumed: mean 0, deviation 1 ({why}; `input_range` sets it)"
    return range_of(STANDARD, channels, how, known=False)


def _as_requested(requested: tuple[float, float], channels: int, rank: int) -> InputRange:
    low, high = requested
    if not (math.isfinite(low) and math.isfinite(high) and low < high):
        raise UsageError(f"input_range must be two finite numbers LO < HI, received {low:g},{high:g}")
    scale, offset = high - low, low
    if rank == 1:  # around the centre, and but few values outside
        scale = (high - low) / _DEVIATIONS / DEVIATION
        offset = (low + high) / 2 - scale * MEAN
    return InputRange((scale,) * channels, (offset,) * channels, f"{low:g}..{high:g}, as given", True)


def _from_arithmetic(paths: list[AffinePath], rank: int) -> InputRange | None:
    """The usual range that arithmetic in front of the first layer maps to another usual one."""
    for path in paths:
        if not path.changing:
            continue
        channels, arriving = path.matrix.shape
        behind = (SOUND, STANDARD) if rank == 1 else (UNIT, SIGNED, STANDARD, BYTES, CENTRED)
        usual = [c.moments(arriving) for c in behind]
        ranked = []
        for convention in (SAMPLED_SOUND, SOUND) if rank == 1 else (BYTES, UNIT, SIGNED):
            moments = path.arriving(*convention.moments(channels))
            ranked.append((min(distance(moments, other) for other in usual), convention))
        nearest, best = min(ranked, key=lambda pair: pair[0])
        if nearest <= CLOSE:
            return range_of(best, channels, f"{best.name}, read from {names_of(path.changing)}")
        if path.whole and any(isinstance(call.operation, layers.Normalization) for call in path.changing):
            moments = path.entering(np.zeros(arriving), np.ones(arriving))
            return from_moments(moments, f"read from {names_of(path.changing)}", rank)
    return None


def _from_statistics(paths: list[AffinePath], rank: int) -> InputRange | None:
    """From a BatchNormalization that reads the input: its statistics are the input's mean and variance."""
    for path in paths:
        statistics = running_statistics(path.next)
        usable = statistics and path.whole and len(statistics[0]) == path.matrix.shape[1]
        if statistics and usable and path.next and statistics[1].min() > 0:
            moments = path.entering(statistics[0], np.sqrt(statistics[1]))
            return from_moments(moments, f"read from {names_of([path.next])}", rank)
    return None
