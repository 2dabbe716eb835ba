"""ConvLSTM -> the same, plain: counted with its two convolutions for each time step, and left as it is."""

from __future__ import annotations

from typing import Any

from keras.src.layers.rnn.conv_lstm import ConvLSTM, ConvLSTMCell  # of ConvLSTM1D to 3D; they have no public names

from octconvert.model.graph import Call, CallGraph
from octconvert.rules.base import ANY_RANK, Family, Rule, Trace, stop
from octconvert.rules.protocols import Flow
from octconvert.rules.registry import register
from octconvert.rules.traits import CONV, ConvolutionStage, InnerLayer, Traits


@register
class ConvLSTMRule(Rule):
    """ConvLSTM1D, 2D and 3D."""

    layers = (ConvLSTM,)
    ranks = ANY_RANK
    produces = True

    def is_convolution(self, call: Call, graph: CallGraph) -> bool:
        return True

    def trace(self, call: Call, flow: Flow) -> Trace:
        return stop(call, f"{call.class_name}: its state goes from step to step at one resolution")

    def traits(self, operation: Any) -> Traits:
        return Traits(inner=InnerLayer(operation.cell, each_step=True))


@register
class ConvLSTMCellFamily(Family):
    """One time step: a convolution of the input and one of the state, each for four gates."""

    layers = (ConvLSTMCell,)

    def traits(self, operation: Any) -> Traits:
        of_input = ConvolutionStage(CONV, strides=operation.strides, padding=operation.padding)
        of_state = ConvolutionStage(CONV, "recurrent_kernel", "", padding="same", suffix="-recurrent")
        return Traits((of_input, of_state), data_format=operation.data_format)
