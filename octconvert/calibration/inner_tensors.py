"""Tensors inside a model as the outputs of another one."""

from __future__ import annotations

from typing import Any

import keras
from keras import ops, tree

from octconvert.model.execution import tensors_of
from octconvert.model.graph import CallGraph
from octconvert.model.tensors import BackendTensor


class InnerTensors(keras.Model):
    """Tensors of a call graph, at inference, in float32.

    Args:
        graph: of a model.
        numbers: of its tensors, in the order of the outputs.
        model: whose weights are to be trained; None: none are.
    """

    def __init__(self, graph: CallGraph, numbers: list[int], model: keras.Model | None = None):
        super().__init__(dtype="float32", autocast=False)
        self.model = model
        self._graph, self._numbers = graph, numbers
        self.built = True

    def call(self, inputs: Any, training: bool | None = None) -> list[BackendTensor]:
        tensors = tensors_of(self._graph, tree.flatten(inputs), self._numbers)
        return [ops.cast(tensors[number], "float32") for number in self._numbers]
