"""EinsumDense over the channels of a map -> a 1x1 octave convolution; with any other equation it stops the pair.

``...c,cd->...d`` with a bias over ``d``, or none, is the function of a Dense, so the rule of Dense applies.
"""

from __future__ import annotations

import re
from typing import Any

from keras import layers

from octconvert.model.graph import Call, CallGraph
from octconvert.rules.base import Trace, stop
from octconvert.rules.dense import DenseRule
from octconvert.rules.protocols import Flow
from octconvert.rules.registry import register
from octconvert.rules.traits import Traits


@register
class EinsumDenseRule(DenseRule):
    """EinsumDense of a map whose equation contracts the channels and nothing else."""

    layers = (layers.EinsumDense,)

    def is_convolution(self, call: Call, graph: CallGraph) -> bool:
        return _is_dense(call.operation) and super().is_convolution(call, graph)

    def trace(self, call: Call, flow: Flow) -> Trace:
        if not self.is_convolution(call, flow.graph):
            return stop(call, f"its equation {call.operation.equation} is not a 1x1 convolution of a map")
        return super().trace(call, flow)

    def traits(self, operation: Any) -> Traits:
        return super().traits(operation) if _is_dense(operation) else Traits()


def _is_dense(layer: layers.EinsumDense) -> bool:
    """Whether the equation is ``...c,cd->...d`` with any letters, and a bias is over ``d``."""
    source, kernel, target = re.split(r",|->", layer.equation.replace(" ", ""))
    channels, units, rest = kernel[:1], kernel[1:], source[:-1]
    contracts_channels = source[-1:] == channels and target == rest + units and channels not in rest + units
    repeated = re.search(r"([a-zA-Z]).*\1", target)
    return len(kernel) == 2 and contracts_channels and not repeated and layer.bias_axes in (None, units)
