"""Which call makes the values of a tensor."""

from __future__ import annotations

from octconvert.model.graph import BOUNDARY, Call, CallGraph
from octconvert.rules.registry import traits_of


def value_maker(graph: CallGraph, tensor: int) -> Call:
    """The call whose outputs a tensor has; calls that only shape values or pass them on are looked through."""
    call = graph.producer(tensor)
    while call.inputs and (call.kind == BOUNDARY or traits_of(call.operation).passes_values):
        call = graph.producer(call.inputs[0])
    return call
