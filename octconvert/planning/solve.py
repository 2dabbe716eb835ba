"""The largest set of tensors that can be pairs, and how each of them is split.

A fixed-point iteration. Start with every convolution's output as a pair, trace the whole graph through the rules, and
withdraw what does not hold: groups that nothing gains from, shared layers whose calls disagree, grouped convolutions
that can not be split evenly. Each round only withdraws, so it ends. A round is one pass over the calls; most models
need two or three.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from octconvert.model.graph import OPERATION, Call, CallGraph, same_key
from octconvert.octave.geometry import Octave
from octconvert.octave.split import ChannelSplit, low_channels
from octconvert.options.rewriting import RewritingOptions
from octconvert.planning.layout import Decisions, Layout
from octconvert.planning.ledger import Choose, TiedProducers
from octconvert.planning.tracing import Problem, Traced, trace
from octconvert.rules import rule_of
from octconvert.rules.sizes import size_window

NO_GAIN = "its output goes to no layer that gains from a pair"
ONLY_VECTORS = "1x1 map, nothing to halve"
OUTPUT = "its output is an output of the model"
PLAIN_INPUT = "its input is plain, and it changes no split"
NO_LOW_CHANNEL = "alpha leaves it no low channel"
OPEN_SIZE = "whole-low, and what its rows or columns are can not be followed; give `input_shape`"
SEVERAL_SIZES = "whole-low, and a layer reads it and maps of other, odd sizes"
MAP, VECTOR = "map", "vector"
UNEVEN = "its channel groups can not be split evenly"


Kinds = tuple[tuple[str, ...], tuple[str, ...]]
"""For each input and each output of a call: a pair of maps, a pair of vectors, or (empty) a plain tensor."""


def solve(graph: CallGraph, options: RewritingOptions, decisions: Decisions, choose: Choose) -> Layout:
    """The `Layout` that follows from ``decisions``; ``choose`` returns how a tied group is to be split."""
    problem = Problem.of(graph, options, choose)
    while True:
        traced = trace(problem, decisions)
        if _withdraw(traced, problem, decisions):
            continue
        low = traced.components.assign(choose)
        if not _withdraw_splits(traced, low, problem, decisions):
            return _layout(traced, problem, low, decisions)


def _withdraw(traced: Traced, problem: Problem, decisions: Decisions) -> bool:
    """Decide that what does not hold this round stays plain. Returns whether there was anything."""
    before = decisions.count
    for calls in same_key(traced.graph.calls):
        _settle_shared(calls, traced, decisions)
    if decisions.count > before:
        return True
    facts = _group_facts(traced)
    for index, group in enumerate(traced.components.groups):
        reason = _refusal(index, group, facts, problem.choose)
        if reason:
            decisions.plain_output.update((producer.call.key, reason) for producer in group.producers)
    return decisions.count > before


def _settle_shared(calls: list[Call], traced: Traced, decisions: Decisions) -> None:
    """One decision for all calls of a layer; where only some inputs are pairs, a convolution may still write one."""
    kinds = [_kinds(call, traced) for call in calls]
    if len(set(kinds)) == 1:
        return
    key = calls[0].key
    rule = rule_of(calls[0]) if calls[0].kind == OPERATION else None
    inputs_differ = len({any(reads) for reads, _ in kinds}) > 1
    if inputs_differ and rule is not None and rule.produces and key not in decisions.plain_input:
        decisions.plain_input[key] = _disagreement(calls, kinds, traced)
    else:
        decisions.frozen[key] = _disagreement(calls, kinds, traced)


def _disagreement(calls: list[Call], kinds: list[Kinds], traced: Traced) -> str:
    """Why the calls of a shared layer can not be rewritten alike."""
    times, traces = f"it is called {len(calls)} times", traced.traces
    for side, verb in ((0, "reads"), (1, "writes")):
        paired = [any(kind[side]) for kind in kinds]
        if len(set(paired)) > 1:
            plain = calls[paired.index(False)]
            source = plain if verb == "writes" else traced.graph.producer(plain.inputs[0])
            reason = traces[source.index].reason if source.index in traces else ""
            return f"{times}, and '{plain.name}' {verb} a plain tensor{f' ({reason})' if reason else ''}"
    if any(VECTOR in side for kind in kinds for side in kind):
        return f"{times}, on maps and on a 1x1 map"
    return f"{times}, with pairs and plain tensors in different places"


def _withdraw_splits(traced: Traced, low: np.ndarray, problem: Problem, decisions: Decisions) -> bool:
    """Decide that what can not be built with these low channels stays plain. Returns whether there was anything."""
    before, components = decisions.count, traced.components
    for call, numbers, blocks in traced.ledger.balances:
        if not ChannelSplit(low[numbers], 1).balanced(blocks):
            decisions.frozen[call.key] = UNEVEN
    for tensor, reason in _not_whole_low(traced, low, problem.options).items():
        for position in components.groups_of(traced.channels[tensor]):
            producers = components.groups[position].producers
            decisions.plain_output.update((producer.call.key, reason) for producer in producers)
    return decisions.count > before


def _not_whole_low(traced: Traced, low: np.ndarray, options: RewritingOptions) -> dict[int, str]:
    """Tensor -> why it can not be whole-low, as it would be: no high map says what its rows and columns are."""
    graph, octave = traced.graph, options.octave
    splits = {tensor: _split(graph, tensor, low[numbers], octave) for tensor, numbers in traced.channels.items()}
    whole = {tensor: split for tensor, split in splits.items() if split.whole_low and split.octave != 1}
    refused = {
        tensor: OPEN_SIZE
        for tensor, split in whole.items()
        if split.has_run_size and (options.portable or not _size_is_followed(graph.producer(tensor), graph))
    }
    for calls in same_key(graph.calls):
        reading = [call for call in calls if traced.reads(call) and call.inputs and call.inputs[0] in whole]
        ends = [(whole[call.inputs[0]], _split(graph, call.outputs[0], np.ones(1), octave)) for call in reading]
        if len({tuple(end.odd_size for end in both) for both in ends}) > 1:
            refused |= dict.fromkeys((call.inputs[0] for call in reading), SEVERAL_SIZES)
    return refused


def _size_is_followed(call: Call, graph: CallGraph) -> bool:
    """Whether the rows and columns of a call's output follow from those of its input where both are open."""
    rule = rule_of(call) if call.kind == OPERATION else None
    return (rule is not None and rule.leaves_padding) or size_window(call, graph.for_call(call)) is not None


def _kinds(call: Call, traced: Traced) -> Kinds:
    """What a call reads and writes."""

    def kind(tensor: int) -> str:
        if tensor not in traced.channels:
            return ""
        return VECTOR if traced.graph.is_vector(traced.graph.tensors[tensor].shape) else MAP

    reads = traced.reads(call)
    return tuple(kind(tensor) if reads else "" for tensor in call.inputs), tuple(map(kind, call.outputs))


@dataclass
class _Facts:
    """What the calls that read and write the tied groups say about them.

    Attributes:
        gained: positions of the groups that some call gains from.
        has_map: positions of those with a map, not only vectors.
        ends: position of a group -> why its pairs would have to stop.
    """

    gained: set[int] = field(default_factory=set)
    has_map: set[int] = field(default_factory=set)
    ends: dict[int, str] = field(default_factory=dict)


def _group_facts(traced: Traced) -> _Facts:
    facts, graph, components = _Facts(), traced.graph, traced.components
    for call in graph.calls:
        trace = traced.traces.get(call.index)
        for tensor in call.inputs:
            if trace is None or tensor not in traced.channels:
                continue
            for position in components.groups_of(traced.channels[tensor]):
                if trace.gains:
                    facts.gained.add(position)
                if not trace.reads:
                    facts.ends.setdefault(position, f"its output goes to {call.class_name}: {trace.reason}")
    for tensor, numbers in traced.channels.items():
        positions = components.groups_of(numbers)
        if not graph.is_vector(graph.tensors[tensor].shape):
            facts.has_map.update(positions)
        if tensor in graph.outputs:
            facts.ends.update((p, OUTPUT) for p in positions if p not in facts.ends)
    return facts


def _refusal(index: int, group: TiedProducers, facts: _Facts, choose: Choose) -> str:
    """Why a group stays plain; empty where it need not."""
    if index not in facts.has_map:
        return ONLY_VECTORS
    if index not in facts.gained:
        return facts.ends.get(index, NO_GAIN)
    alpha, selection = choose(group)
    if selection is not None:
        return "" if any(len(low) for low in selection) else NO_LOW_CHANNEL
    return "" if any(low_channels(alpha, run) for run in group.runs) else NO_LOW_CHANNEL


def _split(graph: CallGraph, tensor: int, mask: np.ndarray, octave: Octave) -> ChannelSplit:
    """The split of a tensor; vectors and 1x1 maps have one resolution."""
    entry = graph.tensors[tensor]
    if graph.is_vector(entry.shape):
        return ChannelSplit(mask, 1)
    return ChannelSplit(mask, octave, graph.size_of(entry.built_shape))


def _layout(traced: Traced, problem: Problem, low: np.ndarray, decisions: Decisions) -> Layout:
    graph, components, options = traced.graph, traced.components, problem.options
    splits = {}
    for tensor, numbers in traced.channels.items():
        if low[numbers].any():
            splits[tensor] = _split(graph, tensor, low[numbers], options.octave)
    choices = [problem.choose(group) for group in components.groups]
    return Layout(
        graph=graph,
        splits=splits,
        traces=traced.traces,
        groups=tuple((group, tuple(low[p.channels] for p in group.producers)) for group in components.groups),
        alphas=tuple(choice.alpha for choice in choices),
        selections=tuple(choice.selection for choice in choices),
        decisions=decisions,
        min_size=options.min_size,
        small=problem.small,
        channels={tensor: components.of[numbers] for tensor, numbers in traced.channels.items()},
        components=components,
    )
