"""Conv1D, Conv2D or Conv3D of a pair or a plain tensor -> octave convolution.

A convolution is where a channel split may change: it takes any input split, and its output split is free. One group a
channel makes it a depthwise convolution, which carries the split. One of a 1x1 map stays what it is, with its
kernel's channels gathered into the order of the joined pair.
"""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
from keras import Layer, layers

from octconvert.model.copying import config_of
from octconvert.model.graph import Call, CallGraph
from octconvert.rules import depthwise
from octconvert.rules.activations import activated, linear_part, produce
from octconvert.rules.base import ANY_RANK, Rule, Trace, stop
from octconvert.rules.octave_convolution import CONV_ARGUMENTS, explicit_padding, octave_convolution, refusal
from octconvert.rules.protocols import Build, Config, Flow, Value
from octconvert.rules.registry import register
from octconvert.rules.traits import CONV, Traits, convolution_stage, convolution_traits
from octconvert.rules.vectors import vector_layer


@register
class ConvolutionRule(Rule):
    """A convolution, grouped or not; one group a channel is a depthwise convolution."""

    ranks = ANY_RANK
    layers = (layers.Conv1D, layers.Conv2D, layers.Conv3D)
    produces = True

    def is_convolution(self, call: Call, graph: CallGraph) -> bool:
        return True

    def trace(self, call: Call, flow: Flow) -> Trace:
        layer, channels = call.operation, flow.channels()
        reason = refusal(call, flow)
        if reason:
            return stop(call, reason)
        if depthwise.is_depthwise(layer, flow.shape()[flow.graph.channel_axis]):
            return depthwise.trace(call, flow)
        if channels is not None and layer.groups > 1:
            if flow.is_vector():
                return stop(call, "grouped convolution of a 1x1 map")
            flow.balance(channels, layer.groups)
        output, reason = produce(flow, layer.activation, layer.filters, layer.groups)
        if output is not None and layer.groups > 1:
            flow.balance(output, layer.groups)
        return Trace((output,), reads=channels is not None, gains=not flow.is_vector(), reason=reason)

    def rewrite(self, call: Call, values: list[Value], build: Build) -> list[Value]:
        (value,), out = values, build.split(call)
        if depthwise.is_depthwise(call.operation, build.source_shape(call)[build.graph.channel_axis]):
            return [activated(call, depthwise.rewrite(call, value, build), build)]
        if build.graph.is_vector(build.source_shape(call)):
            return [vector_layer(call, value, out, build, "filters", call.operation.groups)]
        return [octave_convolution(call, value, out, build, _arguments(call.operation))]

    def linear_output(self, call: Call, part: str, inputs: list[Any]) -> Any:
        return linear_part(call.operation, inputs)

    def traits(self, operation: Any) -> Traits:
        return convolution_traits(operation, convolution_stage(operation, CONV))

    def mixing(self, call: Call) -> np.ndarray | None:
        layer = call.operation
        if layer.groups > 1:
            return None
        return keras.ops.convert_to_numpy(layer.kernel).astype("float64").reshape(-1, *layer.kernel.shape[-2:])


def _arguments(layer: Layer) -> Config:
    """Arguments of the octave layer that the convolution has, too."""
    config = config_of(layer)
    kept = {key: config[key] for key in CONV_ARGUMENTS if key in config}
    return {**kept, "filters": layer.filters, "kernel_size": layer.kernel_size, "padding": explicit_padding(layer)}
