"""The convolutions of a model: the calls that count in "k of n converted"."""

from __future__ import annotations

from octconvert.model.graph import OPERATION, Call, CallGraph
from octconvert.rules import rule_of


def is_convolution(graph: CallGraph, call: Call) -> bool:
    """Whether the call counts in "k of n convolutions"."""
    rule = rule_of(call) if call.kind == OPERATION else None
    return rule is not None and rule.is_convolution(call, graph.for_call(call))


def convolutions(graph: CallGraph) -> list[Call]:
    """The calls that count, in execution order."""
    return [call for call in graph.calls if is_convolution(graph, call)]
