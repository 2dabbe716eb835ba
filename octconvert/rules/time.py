"""`TimeDistributed` around a model: the model inside is converted, and pairs end at the wrapper."""

from __future__ import annotations

from octconvert.layers.time import FoldTime, UnfoldTime
from octconvert.model.graph import Call
from octconvert.rules.base import Rule, Trace, stop
from octconvert.rules.protocols import Flow
from octconvert.rules.registry import register


@register
class TimeSteps(Rule):
    """The two ends of a `TimeDistributed`, which hands one tensor in and one out."""

    layers = (FoldTime, UnfoldTime)

    def trace(self, call: Call, flow: Flow) -> Trace:
        return stop(call, "TimeDistributed reads and writes one tensor")
