"""Rows and columns of a call's output from those of its input, where they are open until the model runs."""

from __future__ import annotations

from typing import Any

import keras

from octconvert.model.graph import BOUNDARY, Call, CallGraph
from octconvert.octave.geometry import Pads
from octconvert.rules.registry import traits_of
from octconvert.rules.traits import DENSE, TRANSPOSED

_ROWS, _COLUMNS = 37, 41
"""Sizes that a call is tried at: no usual factor divides them."""


def size_window(call: Call, graph: CallGraph, pads: Pads | None = None) -> dict[str, Any] | None:
    """Arguments of the `octconvert.layers.OctaveSize` behind a call: none where it keeps rows and columns.

    Args:
        pads: zeros around the input that the call takes into its own padding.

    Returns:
        None where the output has other rows and columns than an `OctaveSize` can compute.
    """
    if graph.rank != 2:
        return None
    if call.kind == BOUNDARY:
        return {}
    window = _window(call)
    if window is None:
        return {} if pads is None and _keeps_size(call, graph) else None
    if pads is None or not window:
        return window if pads is None else None
    return {**window, "padding": pads} if window["padding"] == "valid" else None


def _window(call: Call) -> dict[str, Any] | None:
    """The window of a convolution or pooling; empty for a Dense, None for all else."""
    traits = traits_of(call.operation)
    if traits.pooling is not None:
        size, strides = (_two(each) for each in (traits.pooling.size, traits.pooling.strides))
        return {"kernel_size": size, "strides": strides, "padding": traits.pooling.padding}
    if not traits.stages:
        return None
    stage = traits.stages[0]
    if stage.kind == DENSE:
        return {}
    if not stage.is_planar:
        return None
    window = {
        "kernel_size": tuple(getattr(call.operation, stage.kernel).shape[:2]),
        "strides": stage.strides,
        "padding": stage.padding,
        "dilation_rate": stage.dilation,
    }
    more = {"output_padding": stage.output_padding, "transposed": True} if stage.kind == TRANSPOSED else {}
    return {**window, **more}


def _two(values: tuple[int, ...]) -> tuple[int, int]:
    return (values[0], values[0]) if len(values) == 1 else (values[0], values[1])


def _keeps_size(call: Call, graph: CallGraph) -> bool:
    """Whether the call returns a map of its input's rows and columns."""

    def sized(tensor: keras.KerasTensor) -> keras.KerasTensor:
        shape = list(tensor.shape)
        if len(shape) == 4:
            for axis, size in zip(graph.spatial_axes, (_ROWS, _COLUMNS), strict=True):
                shape[axis] = size if shape[axis] is None else shape[axis]
        return keras.KerasTensor(tuple(shape), dtype=tensor.dtype)

    tensors = {id(tensor): sized(tensor) for tensor in call.node.arguments.keras_tensors}
    try:
        args, kwargs = call.node.arguments.fill_in(tensors)
        outputs = keras.tree.flatten(call.operation.compute_output_spec(*args, **kwargs))
    except Exception:  # whatever an operation raises at this size
        return False
    places = [i for i, is_open in enumerate(_open(call, graph)) if is_open]
    maps = [[output.shape[axis] for axis in graph.spatial_axes] for output in outputs if len(output.shape) == 4]
    return all(sizes[i] == (_ROWS, _COLUMNS)[i] for sizes in maps for i in places)


def _open(call: Call, graph: CallGraph) -> tuple[bool, bool]:
    """Which of rows and columns are open in the call's first map."""
    shapes = (graph.tensors[tensor].built_shape for tensor in call.inputs)
    first = next((shape for shape in shapes if len(shape) == 4 and not graph.is_vector(shape)), (1, 1, 1, 1))
    rows, columns = (size is None for size in graph.size_of(first))
    return rows, columns
