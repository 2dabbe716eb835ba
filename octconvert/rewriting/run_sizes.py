"""Tensors of (rows, columns) beside whole-low maps whose sizes are open until the model runs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from keras import KerasTensor

from octconvert.layers import OctaveSize
from octconvert.model.graph import Call, CallGraph
from octconvert.octave.geometry import Pads
from octconvert.octave.split import Pair
from octconvert.rewriting.names import Names
from octconvert.rules import Value
from octconvert.rules.sizes import size_window


class RunSizes:
    """Computes them from the map that was read, call by call."""

    def __init__(self, graph: CallGraph, names: Names) -> None:
        self._graph, self._names = graph, names

    def attached(self, call: Call, inputs: Sequence[Value], outputs: Sequence[Value]) -> list[Value]:
        """The outputs of a call; those that are whole-low at open sizes with a tensor of them."""
        size: KerasTensor | None = None
        attached: list[Value] = []
        for value in outputs:
            if isinstance(value, Pair) and value.split.has_run_size and value.run_size is None:
                size = self._size(call, inputs) if size is None else size
                value = replace(value, run_size=size)
            attached.append(value)
        return attached

    def _size(self, call: Call, inputs: Sequence[Value]) -> KerasTensor:
        graph = self._graph.for_call(call)
        source, pads = _source(inputs, graph)
        window: dict[str, Any] | None = size_window(call, graph, pads)
        if window is None:
            raise ValueError("the rows and columns of its output are not known before the model runs")
        if not window and len(source.shape) == 1:
            return source
        name = self._names.name(f"{call.operation.name}-size")
        return OctaveSize(**window, data_format=self._graph.data_format, name=name)(source)


def _source(inputs: Sequence[Value], graph: CallGraph) -> tuple[KerasTensor, Pads | None]:
    """A tensor of sizes, or a map that has them, and the padding of that map that is still to be applied."""
    for value in inputs:
        if isinstance(value, Pair):
            if value.run_size is not None:
                return value.run_size, value.pads
            if value.high is not None and graph.is_map(value.high.shape):
                return value.high, value.pads
        elif graph.is_map(value.shape) and not graph.is_vector(value.shape):
            return value, None
    raise ValueError("no map says what rows and columns its output has")
