"""TimeDistributed of a model -> TimeDistributed of the converted model; pairs are merged at the wrapper."""

from __future__ import annotations

from typing import Any

from keras import layers

from octconvert.layers.time import FoldTime, UnfoldTime
from octconvert.model.graph import Call
from octconvert.rules.base import Family, Rule, Trace, stop
from octconvert.rules.protocols import Flow
from octconvert.rules.registry import register
from octconvert.rules.traits import InnerLayer, Traits


@register
class TimeStepsRule(Rule):
    """Both ends of a `TimeDistributed`, which takes one tensor and returns one."""

    layers = (FoldTime, UnfoldTime)

    def trace(self, call: Call, flow: Flow) -> Trace:
        return stop(call, "TimeDistributed reads and writes one tensor")

    def traits(self, operation: Any) -> Traits:
        return Traits(folds_time=True)


@register
class TimeDistributedFamily(Family):
    """`TimeDistributed` around a layer, which runs once for each step."""

    layers = (layers.TimeDistributed,)

    def traits(self, operation: Any) -> Traits:
        return Traits(inner=InnerLayer(operation.layer, each_step=True))


@register
class WrapperFamily(Family):
    """Every other wrapper around a layer."""

    layers = (layers.Wrapper,)

    def traits(self, operation: Any) -> Traits:
        return Traits(inner=InnerLayer(operation.layer))
