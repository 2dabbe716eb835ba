"""Reshape and Flatten between (batch, channels) and (batch, 1, 1, channels) carry a split; other reshapes stop it."""

from __future__ import annotations

from typing import Any

from keras import layers

from octconvert.model.graph import Call
from octconvert.rules.base import Rule, Trace, carry, stop
from octconvert.rules.protocols import Flow
from octconvert.rules.registry import register
from octconvert.rules.traits import Traits


@register
class Reshaping(Rule):
    """Vector to 1x1 map and back, as squeeze-and-excite gates and classifier heads do."""

    layers = (layers.Reshape, layers.Flatten)

    def trace(self, call: Call, flow: Flow) -> Trace:
        shapes = (flow.shape(), flow.output_shape())
        if not all(map(flow.graph.is_vector, shapes)):
            return stop(call, f"{call.class_name} mixes positions and channels")
        axis = flow.graph.channel_axis if len(shapes[1]) == 4 else 1
        channels = flow.channels()
        if channels is None or shapes[1][axis] != len(channels):
            return stop(call, "moves the channels to another axis")
        return carry(channels)

    def rewrite(self, call: Call, values: list, build) -> list:
        split, target = build.split(call), getattr(call.operation, "target_shape", None)
        changes: tuple = (None, None)
        if target is not None:
            axis = build.graph.channel_axis - 1 if len(target) == 3 else 0
            shapes = [tuple(len(c) if i == axis else 1 for i in range(len(target))) for c in (split.high, split.low)]
            changes = tuple({"target_shape": shape} for shape in shapes)
        return [build.dual(call, values, changes=changes)]

    def traits(self, operation: Any) -> Traits:
        return Traits(passes_values=True)
