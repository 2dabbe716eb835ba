"""Reshape or Flatten of a pair of vectors or 1x1 maps -> the same of each; any other reshape stops the pair.

Squeeze-and-excite gates and classifier heads reshape between (batch, channels) and (batch, 1, 1, channels).
"""

from __future__ import annotations

from typing import Any

from keras import layers

from octconvert.model.graph import Call
from octconvert.rules.base import ANY_RANK, Rule, Trace, carry, stop
from octconvert.rules.protocols import Build, Changes, Flow, Value
from octconvert.rules.registry import register
from octconvert.rules.traits import Traits


@register
class ReshapingRule(Rule):
    """Reshape and Flatten that keep the channels."""

    ranks = ANY_RANK
    layers = (layers.Reshape, layers.Flatten)

    def trace(self, call: Call, flow: Flow) -> Trace:
        shapes = (flow.shape(), flow.output_shape())
        if not all(map(flow.graph.is_vector, shapes)):
            return stop(call, f"{call.class_name} mixes positions and channels")
        axis = flow.graph.axis_of_channels(shapes[1])
        channels = flow.channels()
        if channels is None or shapes[1][axis] != len(channels):
            return stop(call, "moves the channels to another axis")
        return carry(channels)

    def rewrite(self, call: Call, values: list[Value], build: Build) -> list[Value]:
        split, target = build.pair_split(call), getattr(call.operation, "target_shape", None)
        changes: tuple[Changes | None, Changes | None] = (None, None)
        if target is not None:
            axis = build.graph.axis_of_channels((None, *target)) - 1
            shapes = [tuple(len(c) if i == axis else 1 for i in range(len(target))) for c in (split.high, split.low)]
            changes = ({"target_shape": shapes[0]}, {"target_shape": shapes[1]})
        return [build.dual(call, values, changes=changes)]

    def traits(self, operation: Any) -> Traits:
        return Traits(passes_values=True)
