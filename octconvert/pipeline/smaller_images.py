"""What the source reaches on smaller images: the plain alternative to a conversion, at the same MACs."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras
from keras import ops

from octconvert.costs.macs import call_macs
from octconvert.errors import InputError
from octconvert.model.functional import functional_of
from octconvert.model.graph import CallGraph
from octconvert.model.graph_reader import build_graph
from octconvert.model.shapes import with_input_shapes
from octconvert.pipeline.source import copied_at
from octconvert.results.report import SmallerImages


def on_smaller_images(
    source: CallGraph, converted: Any, shape: tuple[int, ...], accuracy: Callable[[Any], float]
) -> SmallerImages | None:
    """The accuracy of the source on the largest images that cost no more MACs than the samples cost ``converted``.

    Samples are scaled down with an antialiasing filter.

    Args:
        shape: of one sample, for the first input.
        accuracy: of a model that takes the samples.

    Returns:
        None where the model takes other things than images, works at no other size, or ``converted`` is not cheaper.
    """
    if len(source.inputs) != 1 or len(shape) != 3 or source.rank != 2:
        return None
    own, most = (_macs(graph, shape) for graph in (source, build_graph(converted)))
    found = _largest(source, shape, most) if own and most and most < own else None
    model = None if found is None else _scaled_down(source, shape, found[0])
    if own is None or found is None or model is None:
        return None
    size, macs = found
    rows, columns = (size[axis - 1] for axis in source.spatial_axes)
    return SmallerImages(rows, columns, macs / own, accuracy(model))


def _macs(graph: CallGraph, shape: tuple[int, ...]) -> int | None:
    """Of one sample of this shape; None where the model does not work on it, or its outputs have another shape."""
    try:
        sized = with_input_shapes(graph, [(graph.tensors[graph.inputs[0]].shape[0], *shape)])
    except InputError:
        return None
    if any(sized.tensors[number].shape != graph.tensors[number].shape for number in graph.outputs):
        return None
    return int(sum(call_macs(sized).values()))


def _largest(source: CallGraph, shape: tuple[int, ...], most: int) -> tuple[tuple[int, ...], int] | None:
    """(shape, MACs) of the largest images of these proportions that take ``most`` MACs; None where there are none."""
    found = None
    longest = max(shape[axis - 1] for axis in source.spatial_axes)
    works, costs_more = 0, longest
    while costs_more - works > 1:
        side = (works + costs_more) // 2
        scaled = _scaled(source, shape, side / longest)
        macs = _macs(source, scaled)
        if macs is not None and macs > most:
            costs_more = side
        else:  # fewer MACs, or too small for the model
            works, found = side, found if macs is None else (scaled, macs)
    return found


def _scaled(graph: CallGraph, shape: tuple[int, ...], share: float) -> tuple[int, ...]:
    scaled = list(shape)
    for axis in graph.spatial_axes:
        scaled[axis - 1] = max(1, round(shape[axis - 1] * share))
    return tuple(scaled)


def _scaled_down(source: CallGraph, shape: tuple[int, ...], size: tuple[int, ...]) -> Any:
    """A model of the original samples, which scales them down; None where the source can not be copied at that size."""
    functional = functional_of(source.model)
    if functional is None:
        return None
    try:
        small = copied_at(functional, size)
    except Exception:  # a layer whose weights depend on the size, as a Dense layer behind Flatten
        return None
    spec = functional.inputs[0]
    image = keras.Input(batch_shape=(spec.shape[0], *shape), dtype=spec.dtype)
    target = tuple(size[axis - 1] for axis in source.spatial_axes)
    scaled = ops.image.resize(ops.cast(image, "float32"), target, antialias=True, data_format=source.data_format)
    if keras.backend.is_int_dtype(spec.dtype):
        scaled = ops.round(scaled)
    return keras.Model(image, small(ops.cast(scaled, spec.dtype)))
