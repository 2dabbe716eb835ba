"""A solved graph as parts that runtimes fuse: a call with those behind it that read its result alone."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import Any

import keras
from keras import tree

from octconvert.model.copying import renamed
from octconvert.model.graph import BOUNDARY, OPERATION, Call, CallGraph
from octconvert.planning.convolutions import is_convolution
from octconvert.planning.layout import Layout


@dataclass(frozen=True, eq=False)
class FusedCalls:
    """Calls that runtimes run as one, each on the result of the one before.

    Attributes:
        calls: in order.
        inputs: tensors from outside, each once.
        outputs: of the last call.
        decides: tensors computed in it whose split it chooses itself.
    """

    calls: tuple[Call, ...]
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    decides: tuple[int, ...]


class FusedGraph:
    """The parts of a layout that pairs can reach; all others take the same time for every choice of pairs.

    Args:
        layout: with every group a pair.
        sized: its graph with all sizes known.
    """

    def __init__(self, layout: Layout, sized: CallGraph):
        self._layout, self._sized = layout, sized
        self._root = list(range(len(sized.tensors)))
        for call in sized.calls:
            if call.kind == BOUNDARY:
                self._root[call.outputs[0]] = self._root[call.inputs[0]]
        producers = {producer.call.key for group, _ in layout.groups for producer in group.producers}
        parts = (self._part(calls, producers) for calls in self._runs())
        self.parts = [part for part in parts if any(map(self._is_pair_of_maps, (*part.inputs, *part.decides)))]

    def _is_pair_of_maps(self, tensor: int) -> bool:
        return tensor in self._layout.splits and not self._sized.is_vector(self._sized.tensors[tensor].shape)

    def _runs(self) -> list[list[Call]]:
        calls = [call for call in self._sized.calls if call.kind == OPERATION]
        uses = Counter(self._root[tensor] for call in calls for tensor in call.inputs)
        uses.update(self._root[tensor] for tensor in self._sized.outputs)
        ends: dict[int, list[Call]] = {}
        runs: list[list[Call]] = []
        for call in calls:
            read = self._root[call.inputs[0]] if len(call.inputs) == 1 else -1
            run = ends.get(read) if uses[read] == 1 and not is_convolution(self._sized, call) else None
            if run is None:
                runs.append(run := [])
            run.append(call)
            if len(call.outputs) == 1:
                ends[call.outputs[0]] = run
        return runs

    def _part(self, calls: list[Call], producers: set[tuple[Any, ...]]) -> FusedCalls:
        inputs = dict.fromkeys(self._root[tensor] for tensor in calls[0].inputs)
        produced = (tensor for call in calls if call.key in producers for tensor in call.outputs)
        decides = tuple(tensor for tensor in produced if tensor in self._layout.splits)
        return FusedCalls(tuple(calls), tuple(inputs), calls[-1].outputs, decides)

    def model(self, part: FusedCalls) -> keras.Model:
        """The part as a model of its own, with fresh weights; its names do not depend on the whole model."""
        specs = [self._sized.tensors[number] for number in part.inputs]
        inputs = [
            keras.Input(spec.shape[1:], dtype=spec.dtype, name=f"input{number}") for number, spec in enumerate(specs)
        ]
        values = dict(zip(part.inputs, inputs, strict=True))
        for position, call in enumerate(part.calls):
            read = [values[self._root[tensor]] for tensor in call.inputs]
            values.update(zip(call.outputs, _called(call, read, f"layer{position}"), strict=True))
        return keras.Model(inputs, [values[tensor] for tensor in part.outputs], name=PART)


PART = "unit"
"""Name of the model of a part; measured times are kept by it."""


def _called(call: Call, inputs: list[keras.KerasTensor], name: str) -> list[keras.KerasTensor]:
    """The outputs of a fresh copy of the call's layer."""
    arguments = call.node.arguments
    replacements = {id(tensor): value for tensor, value in zip(arguments.keras_tensors, inputs, strict=True)}
    args, kwargs = arguments.fill_in(replacements)
    return tree.flatten(renamed(call.operation, name)(*args, **kwargs))
