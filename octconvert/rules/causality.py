"""Whether a model of signals is causal: some convolution of it reads earlier positions and no later one.

Low cells then end at the position that they replace (`octconvert.octave.geometry`), in all of the model, so that no
output reads an input that the source's does not.
"""

from __future__ import annotations

from octconvert.model.graph import OPERATION, Call, CallGraph
from octconvert.rules.registry import traits_of


def is_causal(graph: CallGraph) -> bool:
    """Whether a convolution has padding 'causal', or all of its zeros in front by a padding layer before it."""
    return 1 in graph.ranks and any(_reads_back(call, graph) for call in graph.calls if call.kind == OPERATION)


def _reads_back(call: Call, graph: CallGraph) -> bool:
    traits = traits_of(call.operation)
    first = traits.stages[0] if traits.stages else None
    if first is None or first.rank != 1:
        return False
    if first.padding == "causal":
        return True
    producer = graph.producer(call.inputs[0])
    padding = traits_of(producer.operation).padding if producer.kind == OPERATION else None
    reach = (getattr(call.operation, first.kernel).shape[0] - 1) * first.dilation[0]
    return first.padding == "valid" and reach > 0 and padding == ((reach, 0),)
