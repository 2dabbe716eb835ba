"""What `TimeDistributed` does to a map, as two steps: every time step becomes a sample, and back.

They surround the calls of the inner model in a `octconvert.model.graph.CallGraph`, and are never part of a saved model.
"""

from __future__ import annotations

import keras
from keras import ops

from octconvert.layers.tensors import Tensor
from octconvert.octave.geometry import Shape


class FoldTime(keras.layers.Layer):
    """(batch, time, ...) -> (batch * time, ...)."""

    def call(self, inputs: Tensor) -> Tensor:
        return ops.reshape(inputs, (-1, *ops.shape(inputs)[2:]))

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        batch, steps, *rest = input_shape
        return (None if batch is None or steps is None else batch * steps, *rest)


class UnfoldTime(keras.layers.Layer):
    """(batch * time, ...) and the tensor of (batch, time, ...) that was folded -> (batch, time, ...)."""

    def call(self, inputs: tuple[Tensor, Tensor]) -> Tensor:
        folded, whole = inputs
        return ops.reshape(folded, (-1, ops.shape(whole)[1], *ops.shape(folded)[1:]))

    def compute_output_shape(self, input_shape: tuple[Shape, Shape]) -> Shape:
        folded, whole = input_shape
        return (*whole[:2], *folded[1:])
