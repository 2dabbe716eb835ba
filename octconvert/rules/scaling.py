"""A gain for each channel: cut with the channels."""

from __future__ import annotations

import keras

from octconvert.model.graph import Call
from octconvert.rules.base import Rule, Trace, carry, stop
from octconvert.rules.protocols import Flow
from octconvert.rules.registry import register


@register
class LayerScale(Rule):
    """LayerScale of ConvNeXt: ``x * gamma`` along the last axis."""

    operations = ("keras.src.applications.convnext.LayerScale",)

    def trace(self, call: Call, flow: Flow) -> Trace:
        on_channels = len(flow.shape()) == 2 or flow.graph.channel_axis == 3
        return carry(flow.channels()) if on_channels else stop(call, "scales columns, not channels")

    def rewrite(self, call: Call, values: list, build) -> list:
        split, gamma = build.split(call), keras.ops.convert_to_numpy(call.operation.gamma)
        changes = tuple({"projection_dim": len(channels)} for channels in (split.high, split.low))
        return [build.dual(call, values, lambda channels: [gamma[channels]], changes)]

    def affine(self, call: Call):
        gamma = keras.ops.convert_to_numpy(call.operation.gamma).astype("float64")
        return gamma, gamma * 0.0

    def set_affine(self, layer, mean, variance, offset) -> None:
        layer.gamma.assign(keras.ops.ones_like(layer.gamma))
