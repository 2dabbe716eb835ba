"""Dense of a map -> a 1x1 octave convolution.

Dense of a pair of vectors -> one Dense of the joined pair, with its kernel rows gathered in that order, exactly.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from keras import Layer, layers, ops

from octconvert.model.copying import config_of
from octconvert.model.graph import Call, CallGraph
from octconvert.rules.activations import linear_part, produce
from octconvert.rules.base import ANY_RANK, Rule, Trace, stop
from octconvert.rules.octave_convolution import CONV_ARGUMENTS, octave_convolution
from octconvert.rules.protocols import Build, Config, Flow, Value
from octconvert.rules.registry import register
from octconvert.rules.traits import DENSE, ConvolutionStage, Traits, convolution_traits
from octconvert.rules.vectors import vector_layer


@register
class DenseRule(Rule):
    """Dense on a map (a 1x1 convolution, and counted as one), on (batch, channels) or on a 1x1 map."""

    ranks = ANY_RANK
    layers = (layers.Dense,)
    produces = True

    def is_convolution(self, call: Call, graph: CallGraph) -> bool:
        shape = graph.tensors[call.inputs[0]].shape
        is_last = graph.channel_axis == len(shape) - 1
        return graph.is_map(shape) and is_last and not graph.is_vector(shape)

    def trace(self, call: Call, flow: Flow) -> Trace:
        layer, convolution = call.operation, self.is_convolution(call, flow.graph)
        reason = _refusal(call, flow, convolution)
        if reason:
            return stop(call, reason)
        output, reason = produce(flow, layer.activation, layer.kernel.shape[-1])
        return Trace((output,), reads=flow.channels() is not None, gains=convolution, reason=reason)

    def rewrite(self, call: Call, values: list[Value], build: Build) -> list[Value]:
        if not self.is_convolution(call, build.graph):
            return [vector_layer(call, values[0], build.split(call), build, "units")]
        layer = call.operation
        kernel = ops.convert_to_numpy(layer.kernel)
        kernel = kernel.reshape(*(1,) * build.graph.rank, *kernel.shape)
        return [octave_convolution(call, values[0], build.split(call), build, _as_convolution(layer, build), kernel)]

    def linear_output(self, call: Call, part: str, inputs: list[Any]) -> Any:
        return linear_part(call.operation, inputs)

    def traits(self, operation: Any) -> Traits:
        return convolution_traits(operation, ConvolutionStage(DENSE))

    def mixing(self, call: Call) -> np.ndarray | None:
        return ops.convert_to_numpy(call.operation.kernel).astype("float64")[None]


def _refusal(call: Call, flow: Flow, convolution: bool) -> str:
    layer = call.operation
    if getattr(layer, "lora_enabled", False) or getattr(layer, "quantization_mode", None):
        return "quantised or low-rank Dense"
    if convolution:
        if layer.kernel_constraint is not None:
            return "its kernel constraint expects two axes"
        return flow.portable_refusal()
    on_channels = len(flow.shape()) == 2 or flow.graph.channel_axis == len(flow.shape()) - 1
    vectors = flow.is_vector() and flow.graph.is_vector(flow.output_shape())
    return "" if on_channels and vectors else "Dense over another axis than the channels"


def _as_convolution(layer: Layer, build: Build) -> Config:
    """Arguments of the convolution that computes the same as the Dense."""
    config = config_of(layer)
    kept = {key: config[key] for key in CONV_ARGUMENTS if key in config}
    ones = {key: (1,) * build.graph.rank for key in ("kernel_size", "strides", "dilation_rate")}
    size = {"filters": layer.kernel.shape[-1], "use_bias": layer.bias is not None}
    return {**kept, **ones, **size, "groups": 1, "padding": "same", "data_format": build.data_format}
