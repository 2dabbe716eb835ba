"""Dense of a vector pair: one Dense whose kernel rows are gathered, exactly; of a gate: one Dense for each group."""

from __future__ import annotations

from keras import layers

from octconvert.graph import Call
from octconvert.rules.activations import produce
from octconvert.rules.base import Flow, Rule, Trace, stop
from octconvert.rules.convolution import vector_layer
from octconvert.rules.registry import register


@register
class Dense(Rule):
    """Dense on (batch, channels) or a 1x1 map."""

    layers = (layers.Dense,)
    produces = True

    def trace(self, call: Call, flow: Flow) -> Trace:
        layer = call.operation
        on_channels = len(flow.shape()) == 2 or flow.graph.channel_axis == 3
        if not (on_channels and flow.is_vector() and flow.graph.is_vector(flow.output_shape())):
            return stop(call, "Dense on a map")
        if getattr(layer, "lora_enabled", False) or getattr(layer, "quantization_mode", None):
            return stop(call, "quantised or low-rank Dense")
        output, reason = produce(flow, layer.activation, layer.units)
        return Trace((output,), reads=flow.channels() is not None, reason=reason)

    def rewrite(self, call: Call, values: list, build) -> list:
        return [vector_layer(call, values[0], build.split(call), build, "units")]
