"""Finds the largest set of tensors that can be pairs, and how each of them is split.

Start with every convolution's output as a pair, trace the whole graph through the rules, and take back what does not
hold: groups that nothing gains from, shared layers whose calls disagree, grouped convolutions that can not be split
evenly. Each round only takes back, so it ends. A round is one pass over the calls; most models need two or three.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field, replace

import numpy as np

from octconvert.model.graph import BOUNDARY, OPERATION, Call, CallGraph, same_key
from octconvert.octave.split import ChannelSplit, low_channels
from octconvert.options.rewriting import RewritingOptions
from octconvert.planning.flow import TracedFlow, too_small
from octconvert.planning.ledger import Components, Ledger, TiedProducers
from octconvert.rules import rule_of
from octconvert.rules.base import Trace, carry, stop

NO_GAIN = "its output goes to no layer that gains from a pair"
ONLY_VECTORS = "1x1 map, nothing to halve"
OUTPUT = "its output is an output of the model"
PLAIN_INPUT = "its input is plain, and it changes no split"
NO_LOW_CHANNEL = "alpha leaves it no low channel"
NO_HIGH_CHANNEL = "a tensor tied to it would keep no high channel"
MAP, VECTOR = "map", "vector"
UNEVEN = "its channel groups can not be split evenly"


@dataclass
class Decisions:
    """What is settled before and while solving: call keys that stay plain as a whole, in their output or their input.

    All three: call key -> the reason.
    """

    frozen: dict[object, str] = field(default_factory=dict)
    plain_output: dict[object, str] = field(default_factory=dict)
    plain_input: dict[object, str] = field(default_factory=dict)

    @property
    def count(self) -> int:
        """It only grows while solving, so solving ends."""
        return len(self.frozen) + len(self.plain_output) + len(self.plain_input)


@dataclass(frozen=True, eq=False)
class Layout:
    """The solved graph.

    Attributes:
        graph: the source's calls.
        splits: tensor number -> split, for every tensor that becomes a pair.
        traces: call index -> the rule's answer.
        groups: tied producers with the mask of each.
        alphas, selections: what was wanted for each group.
        decisions: why calls stay plain.
        min_size: of the options.
        small: call key -> why its map is too small for a pair.
        channels: tensor number -> number of the component of tied channels that each of its channels belongs to.
        components: the tied channels.
    """

    graph: CallGraph
    splits: dict[int, ChannelSplit]
    traces: dict[int, Trace]
    groups: tuple[tuple[TiedProducers, tuple[np.ndarray, ...]], ...]
    alphas: tuple[float, ...]
    selections: tuple[tuple[tuple[int, ...], ...] | None, ...]
    decisions: Decisions
    min_size: int
    small: dict[object, str]
    channels: dict[int, np.ndarray]
    components: Components

    def reads(self, call: Call) -> bool:
        """Whether the call reads the pairs among its inputs as pairs."""
        trace = self.traces.get(call.index)
        return trace is not None and trace.reads

    def reason(self, call: Call) -> str:
        """Why the call, or its output, stays plain."""
        trace = self.traces.get(call.index)
        return trace.reason if trace is not None else ""


def solve(
    graph: CallGraph,
    options: RewritingOptions,
    decisions: Decisions,
    wanted: Callable[[TiedProducers], tuple[float, tuple | None]],
) -> Layout:
    """The `Layout` that follows from the decisions; ``wanted`` gives a group's (alpha, selected low channels)."""
    small = small_maps(graph, options.min_size)
    while True:
        channels, traces, ledger = _trace(graph, options, decisions, small)
        components = Components(ledger)
        if _take_back(graph, channels, traces, components, decisions, wanted):
            continue
        low = components.assign(wanted)
        if not _take_back_splits(channels, ledger, components, low, decisions):
            return _layout(graph, options, channels, traces, components, low, decisions, small, wanted)


def small_maps(graph: CallGraph, min_size: int) -> dict[object, str]:
    """Call key -> why its map is too small for a pair.

    A layer that is called on maps of several sizes (a head on all levels of a pyramid) has one set of weights and one
    decision: the one that is right for most of its work, which goes with the number of positions.
    """
    counted: defaultdict[object, list[tuple[int, str]]] = defaultdict(list)
    for call in graph.calls:
        if call.kind == OPERATION:
            shape = graph.tensors[call.outputs[0]].shape
            counted[call.key].append((_positions(graph, shape), too_small(graph, shape, min_size)))
    reasons = {}
    for key, calls in counted.items():
        small = [(positions, reason) for positions, reason in calls if reason]
        if 2 * sum(positions for positions, _ in small) > sum(positions for positions, _ in calls):
            others = f", the largest of its {len(calls)} calls" if len(calls) > 1 else ""
            reasons[key] = max(small)[1] + others
    return reasons


def _positions(graph: CallGraph, shape) -> int:
    """Rows times columns of a map; open sizes count as large ones, all else as one position."""
    if len(shape) != 4:
        return 1
    return math.prod(_OPEN_SIZE if shape[axis] is None else shape[axis] for axis in graph.spatial_axes)


_OPEN_SIZE = 224


def _trace(graph: CallGraph, options: RewritingOptions, decisions: Decisions, small: dict[object, str]):
    ledger = Ledger()
    channels: dict[int, np.ndarray] = {}
    traces: dict[int, Trace] = {}
    for call in graph.calls:
        trace = _trace_call(graph, call, channels, ledger, options, decisions, small)
        if trace is None:
            continue
        traces[call.index] = trace
        for tensor, numbers in zip(call.outputs, trace.outputs, strict=True):
            if numbers is not None:
                channels[tensor] = numbers
    for calls in same_key(graph.calls):
        for position in range(len(calls[0].inputs)):
            arrays = [
                channels[c.inputs[position]] for c in calls if c.inputs[position] in channels and traces[c.index].reads
            ]
            for other in arrays[1:]:
                ledger.tie(arrays[0], other)
    return channels, traces, ledger


def _trace_call(graph, call: Call, channels, ledger, options, decisions: Decisions, small) -> Trace | None:
    reads_pair = any(tensor in channels for tensor in call.inputs)
    if call.key in decisions.frozen:
        return stop(call, decisions.frozen[call.key])
    if call.kind == BOUNDARY:
        return carry(channels[call.inputs[0]]) if reads_pair else None
    rule = rule_of(call, options.elementwise) if call.kind == OPERATION else None
    if rule is None:
        return stop(call, f"no rule for {call.class_name}") if reads_pair else None
    if not reads_pair and not rule.produces:
        return None
    refused, merged = decisions.plain_output.get(call.key, ""), decisions.plain_input.get(call.key)
    known = channels if merged is None else {}
    trace = rule.trace(call, TracedFlow(graph, call, options, known, ledger, refused or small.get(call.key, "")))
    if merged is not None:
        return replace(trace, reads=False, gains=False, reason=trace.reason or merged)
    if reads_pair and trace.reads and any(numbers is not None for numbers in trace.outputs):
        reason = _shrinks(graph, call, channels, options.min_size)
        if reason:  # the pair before a small depthwise convolution still saves work in the convolution that writes it
            return replace(stop(call, reason), gains=trace.gains)
    return trace


def _shrinks(graph: CallGraph, call: Call, channels, min_size: int) -> str:
    """Why a pair ends where its map gets too small. One that was too small before is that of a shared layer."""
    before = [graph.tensors[tensor].shape for tensor in call.inputs if tensor in channels]
    if any(too_small(graph, shape, min_size) for shape in before):
        return ""
    return too_small(graph, graph.tensors[call.outputs[0]].shape, min_size)


def _take_back(graph, channels, traces, components: Components, decisions: Decisions, wanted) -> bool:
    """Settle what does not hold this round; whether there was anything."""
    before = decisions.count
    for calls in same_key(graph.calls):
        _settle_shared(graph, calls, channels, traces, decisions)
    if decisions.count > before:
        return True
    facts = _group_facts(graph, channels, traces, components)
    for index, group in enumerate(components.groups):
        reason = _refusal(index, group, facts, wanted)
        if reason:
            decisions.plain_output.update((producer.call.key, reason) for producer in group.producers)
    return decisions.count > before


def _settle_shared(graph: CallGraph, calls: list[Call], channels, traces, decisions: Decisions) -> None:
    """One decision for all calls of a layer; where only some inputs are pairs, a convolution may still write one."""
    answers = [_answer(graph, call, channels, traces) for call in calls]
    if len(set(answers)) == 1:
        return
    key = calls[0].key
    rule = rule_of(calls[0]) if calls[0].kind == OPERATION else None
    inputs_differ = len({any(reads) for reads, _ in answers}) > 1
    if inputs_differ and rule is not None and rule.produces and key not in decisions.plain_input:
        decisions.plain_input[key] = _disagreement(graph, calls, answers, traces)
    else:
        decisions.frozen[key] = _disagreement(graph, calls, answers, traces)


def _disagreement(graph: CallGraph, calls: list[Call], answers, traces) -> str:
    """Why the calls of a shared layer can not be rewritten alike."""
    times = f"it is called {len(calls)} times"
    for side, verb in ((0, "reads"), (1, "writes")):
        paired = [any(answer[side]) for answer in answers]
        if len(set(paired)) > 1:
            plain = calls[paired.index(False)]
            source = plain if verb == "writes" else graph.producer(plain.inputs[0])
            reason = traces[source.index].reason if source.index in traces else ""
            return f"{times}, and '{plain.name}' {verb} a plain tensor{f' ({reason})' if reason else ''}"
    if any(VECTOR in kinds for answer in answers for kinds in answer):
        return f"{times}, on maps and on a 1x1 map"
    return f"{times}, with pairs and plain tensors in different places"


def _take_back_splits(channels, ledger: Ledger, components: Components, low: np.ndarray, decisions: Decisions) -> bool:
    """Settle what can not be built with these low channels; whether there was anything."""
    before = decisions.count
    for call, numbers, blocks in ledger.balances:
        if not ChannelSplit(low[numbers], 1).balanced(blocks):
            decisions.frozen[call.key] = UNEVEN
    for numbers in channels.values():
        if low[numbers].all():
            producers = (p for position in components.groups_of(numbers) for p in components.groups[position].producers)
            decisions.plain_output.update((producer.call.key, NO_HIGH_CHANNEL) for producer in producers)
    return decisions.count > before


def _answer(graph: CallGraph, call: Call, channels, traces) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """What a call reads and writes, for each tensor: a pair of maps, a pair of vectors, or (empty) a plain tensor."""

    def kind(tensor: int) -> str:
        if tensor not in channels:
            return ""
        return VECTOR if graph.is_vector(graph.tensors[tensor].shape) else MAP

    trace = traces.get(call.index)
    reads = trace is not None and trace.reads
    return tuple(kind(tensor) if reads else "" for tensor in call.inputs), tuple(map(kind, call.outputs))


@dataclass
class _Facts:
    """What the calls around the groups mean for them; all by position of the group.

    ``gained``: some call gains from the pair; ``has_map``: not only vectors; ``ends``: where pairs would have to stop.
    """

    gained: set[int] = field(default_factory=set)
    has_map: set[int] = field(default_factory=set)
    ends: dict[int, str] = field(default_factory=dict)


def _group_facts(graph: CallGraph, channels, traces, components: Components) -> _Facts:
    facts = _Facts()
    for call in graph.calls:
        trace = traces.get(call.index)
        for tensor in call.inputs:
            if trace is None or tensor not in channels:
                continue
            for position in components.groups_of(channels[tensor]):
                if trace.gains:
                    facts.gained.add(position)
                if not trace.reads:
                    facts.ends.setdefault(position, f"its output goes to {call.class_name}: {trace.reason}")
    for tensor, numbers in channels.items():
        positions = components.groups_of(numbers)
        if not graph.is_vector(graph.tensors[tensor].shape):
            facts.has_map.update(positions)
        if tensor in graph.outputs:
            facts.ends.update((p, OUTPUT) for p in positions if p not in facts.ends)
    return facts


def _refusal(index: int, group: TiedProducers, facts: _Facts, wanted) -> str:
    """Why a group stays plain; empty where it need not."""
    if index not in facts.has_map:
        return ONLY_VECTORS
    if index not in facts.gained:
        return facts.ends.get(index, NO_GAIN)
    alpha, selection = wanted(group)
    if selection is not None:
        return "" if any(len(low) for low in selection) else NO_LOW_CHANNEL
    return "" if any(_run_has_low(len(p.channels), group.blocks, alpha) for p in group.producers) else NO_LOW_CHANNEL


def _run_has_low(channels: int, blocks: int, alpha: float) -> bool:
    """Whether a producer's channels, in ``blocks`` equal runs where they divide so, get any low one."""
    return low_channels(alpha, channels // blocks if channels % blocks == 0 else channels) > 0


def _layout(graph, options, channels, traces, components, low, decisions, small, wanted) -> Layout:
    splits = {}
    for tensor, numbers in channels.items():
        mask = low[numbers]
        if mask.any():
            octave = 1 if graph.is_vector(graph.tensors[tensor].shape) else options.octave
            splits[tensor] = ChannelSplit(mask, octave)
    groups = tuple((g, tuple(low[p.channels] for p in g.producers)) for g in components.groups)
    alphas, selections = zip(*map(wanted, components.groups), strict=True) if groups else ((), ())
    tied = {tensor: components.of[numbers] for tensor, numbers in channels.items()}
    settled = (groups, alphas, selections, decisions, options.min_size, small)
    return Layout(graph, splits, traces, *settled, tied, components)
