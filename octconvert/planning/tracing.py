"""One round of planning: every call is traced by its rule, and the channels that rules tie are joined to components."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np

from octconvert.model.graph import BOUNDARY, OPERATION, Call, CallGraph, Shape, same_key
from octconvert.options.rewriting import RewritingOptions
from octconvert.planning.flow import TracedFlow, too_small
from octconvert.planning.layout import Decisions
from octconvert.planning.ledger import Choose, Components, Ledger
from octconvert.rules import rule_of
from octconvert.rules.base import Trace, carry, stop


@dataclass(frozen=True, eq=False)
class Problem:
    """What is to be solved.

    Attributes:
        graph: the source's calls.
        options: ``octave``, ``min_size``, ``elementwise``, ``portable`` and ``stride_mode`` are read.
        small: call key -> why its map is too small for a pair.
        choose: the choice for a tied group.
    """

    graph: CallGraph
    options: RewritingOptions
    small: dict[object, str]
    choose: Choose

    @classmethod
    def of(cls, graph: CallGraph, options: RewritingOptions, choose: Choose) -> Problem:
        return cls(graph, options, small_maps(graph, options), choose)


@dataclass(frozen=True, eq=False)
class Traced:
    """The whole graph, traced once.

    Attributes:
        channels: tensor number -> channel numbers, of every tensor that may become a pair.
        traces: call index -> what the rule says of the call.
        ledger: what the rules said of channel numbers.
        components: the tied channels.
    """

    graph: CallGraph
    channels: dict[int, np.ndarray]
    traces: dict[int, Trace]
    ledger: Ledger
    components: Components

    def reads(self, call: Call) -> bool:
        """Whether the call reads the pairs among its inputs as pairs."""
        trace = self.traces.get(call.index)
        return trace is not None and trace.reads


def small_maps(graph: CallGraph, options: RewritingOptions) -> dict[object, str]:
    """Call key -> why its map is too small for a pair.

    A layer that is called on maps of several sizes (a head on all levels of a pyramid) has one set of weights and one
    decision: the one that is right for most of its work, which goes with the number of positions.
    """
    counted: defaultdict[object, list[tuple[int, str]]] = defaultdict(list)
    for call in graph.calls:
        if call.kind == OPERATION:
            shape = graph.tensors[call.outputs[0]].shape
            counted[call.key].append((_positions(graph, shape), too_small(graph, shape, options)))
    reasons = {}
    for key, calls in counted.items():
        small = [(positions, reason) for positions, reason in calls if reason]
        if 2 * sum(positions for positions, _ in small) > sum(positions for positions, _ in calls):
            others = f", the largest of its {len(calls)} calls" if len(calls) > 1 else ""
            reasons[key] = max(small)[1] + others
    return reasons


def _positions(graph: CallGraph, shape: Shape) -> int:
    """Of a map; open sizes count as large ones, all else as one position."""
    return math.prod(size or _OPEN_SIZE for size in graph.size_of(shape)) if graph.is_map(shape) else 1


_OPEN_SIZE = 224


def trace(problem: Problem, decisions: Decisions) -> Traced:
    """Trace every call in execution order; ``decisions`` are what earlier rounds settled."""
    graph, ledger = problem.graph, Ledger()
    channels: dict[int, np.ndarray] = {}
    traces: dict[int, Trace] = {}
    for call in graph.calls:
        result = _trace_call(call, problem, channels, ledger, decisions)
        if result is None:
            continue
        traces[call.index] = result
        for tensor, numbers in zip(call.outputs, result.outputs, strict=True):
            if numbers is not None:
                channels[tensor] = numbers
    for calls in same_key(graph.calls):
        for position in range(len(calls[0].inputs)):
            arrays = [
                channels[c.inputs[position]] for c in calls if c.inputs[position] in channels and traces[c.index].reads
            ]
            for other in arrays[1:]:
                ledger.tie(arrays[0], other)
    return Traced(graph, channels, traces, ledger, Components(ledger))


def _trace_call(
    call: Call, problem: Problem, channels: dict[int, np.ndarray], ledger: Ledger, decisions: Decisions
) -> Trace | None:
    graph, options = problem.graph, problem.options
    reads_pair = any(tensor in channels for tensor in call.inputs)
    if call.key in decisions.frozen:
        return stop(call, decisions.frozen[call.key])
    if call.kind == BOUNDARY:
        return carry(channels[call.inputs[0]]) if reads_pair else None
    rule = rule_of(call, options.elementwise) if call.kind == OPERATION else None
    if rule is None:
        return stop(call, f"no rule for {call.class_name}") if reads_pair else None
    graph = graph.for_call(call)
    if graph.rank not in rule.ranks:
        return stop(call, f"no rule for {call.class_name} of {graph.rank}-D maps") if reads_pair else None
    if not reads_pair and not rule.produces:
        return None
    refused = decisions.plain_output.get(call.key, "") or _other_octave(graph, options)
    merged = decisions.plain_input.get(call.key)
    known = channels if merged is None else {}
    small = problem.small.get(call.key, "")
    result = rule.trace(call, TracedFlow(graph, call, options, known, ledger, refused or small))
    if merged is not None:
        return replace(result, reads=False, gains=False, reason=result.reason or merged)
    if reads_pair and result.reads and any(numbers is not None for numbers in result.outputs):
        reason = _shrinks(call, problem, channels)
        if reason:  # the pair before a small depthwise convolution still saves work in the convolution that writes it
            return replace(stop(call, reason), gains=result.gains)
    return result


def _other_octave(graph: CallGraph, options: RewritingOptions) -> str:
    """Why maps of this rank stay plain in a model of several ranks; empty where they need not."""
    octave = options.octave
    if isinstance(octave, int) or len(octave) == graph.rank:
        return ""
    return f"`octave` {','.join(map(str, octave))} is for maps of {len(octave)} axes"


def _shrinks(call: Call, problem: Problem, channels: Mapping[int, np.ndarray]) -> str:
    """Why a pair ends where its map gets too small. One that was too small before is that of a shared layer."""
    graph, options = problem.graph, problem.options
    before = [graph.tensors[tensor].shape for tensor in call.inputs if tensor in channels]
    if any(too_small(graph, shape, options) for shape in before):
        return ""
    return too_small(graph, graph.tensors[call.outputs[0]].shape, options)
