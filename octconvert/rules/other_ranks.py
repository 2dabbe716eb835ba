"""Separable, depthwise and transposed convolutions over one or three axes -> the same, plain.

They are counted as convolutions that are not converted.
"""

from __future__ import annotations

from typing import Any

from keras import layers

from octconvert.model.graph import Call, CallGraph
from octconvert.rules.base import ANY_RANK, Rule, Trace, stop
from octconvert.rules.protocols import Flow
from octconvert.rules.registry import register
from octconvert.rules.separable import separable_traits
from octconvert.rules.traits import CONV, DEPTHWISE, TRANSPOSED, Traits, convolution_stage, convolution_traits


@register
class OtherRankRule(Rule):
    """The 1-D and 3-D forms of SeparableConv2D, DepthwiseConv2D and Conv2DTranspose."""

    layers = (
        layers.SeparableConv1D,
        layers.DepthwiseConv1D,
        layers.Conv1DTranspose,
        layers.Conv3DTranspose,
    )
    ranks = ANY_RANK
    produces = True

    def is_convolution(self, call: Call, graph: CallGraph) -> bool:
        return True

    def trace(self, call: Call, flow: Flow) -> Trace:
        return stop(call, f"{call.class_name}: only its 2-D form is converted")

    def traits(self, operation: Any) -> Traits:
        if isinstance(operation, layers.SeparableConv1D):
            return separable_traits(operation)
        transposed = isinstance(operation, (layers.Conv1DTranspose, layers.Conv3DTranspose))
        kind = TRANSPOSED if transposed else DEPTHWISE if isinstance(operation, layers.DepthwiseConv1D) else CONV
        return convolution_traits(operation, convolution_stage(operation, kind))
