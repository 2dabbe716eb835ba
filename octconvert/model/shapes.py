"""The shapes of a call graph's tensors for other sizes of its inputs."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any

import keras
from keras import tree

from octconvert.errors import InputError, first_line
from octconvert.model.graph import BOUNDARY, OPERATION, Call, CallGraph, Shape

ASSUMED_SIZES = (224, 256, 299, 331, 512)
"""Rows and columns taken where the model leaves them open: the first at which it works."""
SAMPLE_SIZES = (64, 96, 128, 224, 256, 331, 512)
"""The same for test inputs, which are as small as the model allows."""


def with_input_shapes(graph: CallGraph, shapes: Iterable[Sequence[int | None]]) -> CallGraph:
    """The same graph with the tensor shapes that follow from other input ``shapes`` (batch axis included)."""
    sized = _propagate(graph, shapes, {})
    common: dict[Any, Shape] = {}
    for call in graph.calls:
        if call.kind == BOUNDARY:
            shape = sized[call.inputs[0]]
            common[call.key] = _common(common.get(call.key, shape), shape)
    agreed = all(common[call.key] == sized[call.inputs[0]] for call in graph.calls if call.kind == BOUNDARY)
    built = sized if agreed else _propagate(graph, shapes, common)
    tensors = (replace(t, shape=s, built_shape=b) for t, s, b in zip(graph.tensors, sized, built, strict=True))
    return replace(graph, tensors=tuple(tensors))


def _common(first: Shape, second: Shape) -> Shape:
    return tuple(a if a == b else None for a, b in zip(first, second, strict=True))


def _propagate(graph: CallGraph, shapes: Iterable[Sequence[int | None]], boundaries: dict[Any, Shape]) -> list[Shape]:
    """Every tensor's shape; inputs of nested models know no more than ``boundaries`` says for their key."""
    sized: list[Shape] = [tensor.shape for tensor in graph.tensors]
    for number, shape in zip(graph.inputs, shapes, strict=True):
        sized[number] = tuple(shape)
    for call in graph.calls:
        if call.kind == BOUNDARY:
            shape = sized[call.inputs[0]]
            sized[call.outputs[0]] = _common(shape, boundaries.get(call.key, shape))
        elif call.kind == OPERATION and _shapes_differ(call, sized):
            for number, shape in zip(call.outputs, _output_shapes(graph, call, sized), strict=True):
                sized[number] = shape
    return sized


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


def _shapes_differ(call: Call, shapes: Sequence[Shape]) -> bool:
    """Whether the call reads other shapes than it was built with."""
    built = call.node.arguments.keras_tensors
    return any(shapes[number] != tuple(tensor.shape) for number, tensor in zip(call.inputs, built, strict=True))


def _output_shapes(graph: CallGraph, call: Call, shapes: Sequence[Shape]) -> list[Shape]:
    built = call.node.arguments.keras_tensors
    specs = {
        id(tensor): keras.KerasTensor(shapes[number], dtype=tensor.dtype)
        for number, tensor in zip(call.inputs, built, strict=True)
    }
    args, kwargs = call.node.arguments.fill_in(specs)
    try:
        outputs = call.operation.compute_output_spec(*args, **kwargs)
    except Exception as error:  # whatever a layer raises about a shape it can not work on
        shape = shapes[call.inputs[0]]
        raise InputError(f"layer '{call.name}' does not work on shape {shape}: {first_line(error)}") from error
    return [tuple(output.shape) for output in tree.flatten(outputs)]
