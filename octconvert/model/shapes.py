"""The shapes of a call graph's tensors for other sizes of its inputs."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any

import keras
from keras import tree

from octconvert.errors import InputError, first_line
from octconvert.layers.reading import SizeTensor, held_size
from octconvert.model.graph import BOUNDARY, OPERATION, Call, CallGraph, Shape
from octconvert.octave.geometry import common_shape

ASSUMED_SIZES = (224, 256, 299, 331, 512)
"""Rows and columns taken where the model leaves them open: the first at which it works."""
SAMPLE_SIZES = (64, 96, 128, 224, 256, 331, 512)
"""The same for test inputs, which are as small as the model allows."""
_VOLUME_SIZES = (16, 32)


def with_input_shapes(graph: CallGraph, shapes: Iterable[Sequence[int | None]]) -> CallGraph:
    """The same graph with the tensor shapes that follow from other input ``shapes`` (batch axis included)."""
    sized = _propagate(graph, shapes, {})
    common: dict[Any, Shape] = {}
    boundaries = [(call.key, tuple(sized[call.inputs[0]].shape)) for call in graph.calls if call.kind == BOUNDARY]
    for key, shape in boundaries:
        common[key] = common_shape(common.get(key, shape), shape)
    agreed = all(common[key] == shape for key, shape in boundaries)
    built = sized if agreed else _propagate(graph, shapes, common)
    tensors = (
        replace(tensor, shape=tuple(at_call.shape), built_shape=tuple(inside.shape), size=held_size(at_call))
        for tensor, at_call, inside in zip(graph.tensors, sized, built, strict=True)
    )
    return replace(graph, tensors=tuple(tensors))


def _propagate(
    graph: CallGraph, shapes: Iterable[Sequence[int | None]], boundaries: dict[Any, Shape]
) -> list[keras.KerasTensor]:
    """Every tensor; inputs of nested models know no more than ``boundaries`` says for their key."""
    sized = [
        keras.KerasTensor(tensor.shape, dtype=tensor.dtype) if tensor.size is None else SizeTensor(tensor.size)
        for tensor in graph.tensors
    ]
    for number, shape in zip(graph.inputs, shapes, strict=True):
        sized[number] = keras.KerasTensor(tuple(shape), dtype=graph.tensors[number].dtype)
    for call in graph.calls:
        if call.kind == BOUNDARY:
            sized[call.outputs[0]] = _bounded(sized[call.inputs[0]], boundaries.get(call.key))
        elif call.kind == OPERATION and _reads_other(call, sized):
            for number, output in zip(call.outputs, _outputs(call, sized), strict=True):
                sized[number] = output
    return sized


def _bounded(tensor: keras.KerasTensor, boundary: Shape | None) -> keras.KerasTensor:
    """The tensor as a nested model knows it whose calls agree in ``boundary``; None where they agree in all."""
    if boundary is None:
        return tensor
    return keras.KerasTensor(common_shape(tuple(tensor.shape), boundary), dtype=tensor.dtype)


def sample_sizes(graph: CallGraph) -> tuple[int, ...]:
    """`SAMPLE_SIZES`; small ones first for volumes and videos that leave all of their sizes open."""
    shapes = (graph.tensors[number].shape[1:] for number in graph.inputs)
    return (*_VOLUME_SIZES, *SAMPLE_SIZES) if any(shape.count(None) > 2 for shape in shapes) else SAMPLE_SIZES


def with_known_sizes(graph: CallGraph, candidates: Iterable[int]) -> CallGraph:
    """The graph with open rows, columns ... of its inputs set to the first of ``candidates`` that the model works at.

    Raises:
        InputError: it works at none of them.
    """
    shapes = [graph.tensors[number].shape for number in graph.inputs]
    if all(None not in shape[1:] for shape in shapes):
        return graph
    failure = None
    for candidate in candidates:
        sized = [(shape[0], *(candidate if size is None else size for size in shape[1:])) for shape in shapes]
        try:
            return with_input_shapes(graph, sized)
        except InputError as error:
            failure = failure or error
    raise failure or InputError(f"model '{graph.model.name}': no size to try")


def _reads_other(call: Call, sized: Sequence[keras.KerasTensor]) -> bool:
    """Whether the call reads other shapes than it was built with, or a tensor that knows more than its shape."""
    built = call.node.arguments.keras_tensors
    return any(
        tuple(sized[number].shape) != tuple(tensor.shape) or type(sized[number]) is not keras.KerasTensor
        for number, tensor in zip(call.inputs, built, strict=True)
    )


def _outputs(call: Call, sized: Sequence[keras.KerasTensor]) -> list[keras.KerasTensor]:
    built = call.node.arguments.keras_tensors
    specs = {id(tensor): sized[number] for number, tensor in zip(call.inputs, built, strict=True)}
    args, kwargs = call.node.arguments.fill_in(specs)
    try:
        outputs = call.operation.compute_output_spec(*args, **kwargs)
    except Exception as error:  # whatever a layer raises about a shape it can not work on
        shape = tuple(sized[call.inputs[0]].shape)
        raise InputError(f"layer '{call.name}' does not work on shape {shape}: {first_line(error)}") from error
    return list(tree.flatten(outputs))
