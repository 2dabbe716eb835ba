"""WeightTensor of a pair -> WeightTensor of one of its maps: what it reads is only its place in the model."""

from __future__ import annotations

from typing import Any

from octconvert.layers.weight import WeightTensor
from octconvert.model.graph import Call
from octconvert.octave.split import Pair
from octconvert.rules.base import ANY_RANK, Rule, Trace
from octconvert.rules.protocols import Build, Flow, Value
from octconvert.rules.registry import register
from octconvert.rules.traits import Traits


@register
class WeightTensorRule(Rule):
    """The output is plain."""

    layers = (WeightTensor,)
    ranks = ANY_RANK

    def trace(self, call: Call, flow: Flow) -> Trace:
        return Trace((None,))

    def traits(self, operation: Any) -> Traits:
        return Traits(constant="value")

    def rewrite(self, call: Call, values: list[Value], build: Build) -> list[Value]:
        (value,) = values
        place = value.inputs[0] if isinstance(value, Pair) else value
        return [build.clone(call)(place)]
