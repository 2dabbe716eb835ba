"""Finds the largest set of tensors that can be pairs, and how each of them is split.

Start with every convolution's output as a pair, trace the whole graph through the rules, and take back what does not
hold: groups that nothing gains from, shared layers whose calls disagree, grouped convolutions that can not be split
evenly. Each round only takes back, so it ends. A round is one pass over the calls; most models need two or three.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace

import numpy as np

from octconvert.graph import BOUNDARY, OPERATION, Call, CallGraph, same_key
from octconvert.planning.ledger import Components, Ledger, TiedProducers
from octconvert.planning.values import Options
from octconvert.rules import rule_of
from octconvert.rules.base import Flow, Trace, carry, stop, too_small
from octconvert.split import ChannelSplit, low_channels

NO_GAIN = "its output goes to no layer that gains from a pair"
ONLY_VECTORS = "1x1 map, nothing to halve"
OUTPUT = "its output is an output of the model"
PLAIN_INPUT = "its input is plain, and it changes no split"
NO_LOW_CHANNEL = "alpha leaves it no low channel"
NO_HIGH_CHANNEL = "a tensor tied to it would keep no high channel"
SHARED = "its shared calls can not be rewritten alike"
UNEVEN = "its channel groups can not be split evenly"


@dataclass
class Decisions:
    """What is settled before and while solving: call keys that stay plain as a whole, or in their output only."""

    frozen: dict[object, str] = field(default_factory=dict)
    plain_output: dict[object, str] = field(default_factory=dict)


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
    options: Options,
    decisions: Decisions,
    wanted: Callable[[TiedProducers], tuple[float, tuple | None]],
) -> Layout:
    """The `Layout` that follows from the decisions; ``wanted`` gives a group's (alpha, selected low channels)."""
    while True:
        channels, traces, ledger = _trace(graph, options, decisions)
        components = Components(ledger)
        if _take_back(graph, channels, traces, components, decisions, wanted):
            continue
        low = components.assign(wanted)
        if not _take_back_splits(channels, ledger, components, low, decisions):
            return _layout(graph, options, channels, traces, components, low, decisions, wanted)


def _trace(graph: CallGraph, options: Options, decisions: Decisions):
    ledger = Ledger()
    channels: dict[int, np.ndarray] = {}
    traces: dict[int, Trace] = {}
    for call in graph.calls:
        trace = _trace_call(graph, call, channels, ledger, options, decisions)
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


def _trace_call(graph, call: Call, channels, ledger, options, decisions: Decisions) -> Trace | None:
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
    refused = decisions.plain_output.get(call.key, "")
    trace = rule.trace(call, Flow(graph, call, channels, ledger, options, refused))
    if reads_pair and trace.reads and any(numbers is not None for numbers in trace.outputs):
        reason = too_small(graph, graph.tensors[call.outputs[0]].shape, options.min_size)
        if reason:  # the pair before a small depthwise convolution still saves work in the convolution that writes it
            return replace(stop(call, reason), gains=trace.gains)
    return trace


def _take_back(graph, channels, traces, components: Components, decisions: Decisions, wanted) -> bool:
    """Settle what does not hold this round; whether there was anything."""
    before = len(decisions.frozen) + len(decisions.plain_output)
    for calls in same_key(graph.calls):
        if len({_shape_of_answer(call, channels, traces) for call in calls}) > 1:
            decisions.frozen[calls[0].key] = SHARED
    if len(decisions.frozen) + len(decisions.plain_output) > before:
        return True
    facts = _group_facts(graph, channels, traces, components)
    for index, group in enumerate(components.groups):
        reason = _refusal(index, group, facts, wanted)
        if reason:
            decisions.plain_output.update((producer.call.key, reason) for producer in group.producers)
    return len(decisions.frozen) + len(decisions.plain_output) > before


def _take_back_splits(channels, ledger: Ledger, components: Components, low: np.ndarray, decisions: Decisions) -> bool:
    """Settle what can not be built with these low channels; whether there was anything."""
    before = len(decisions.frozen) + len(decisions.plain_output)
    for call, numbers, blocks in ledger.balances:
        if not ChannelSplit(low[numbers], 1).balanced(blocks):
            decisions.frozen[call.key] = UNEVEN
    for numbers in channels.values():
        if low[numbers].all():
            producers = (p for position in components.groups_of(numbers) for p in components.groups[position].producers)
            decisions.plain_output.update((producer.call.key, NO_HIGH_CHANNEL) for producer in producers)
    return len(decisions.frozen) + len(decisions.plain_output) > before


def _shape_of_answer(call: Call, channels, traces):
    trace = traces.get(call.index)
    reads = trace is not None and trace.reads
    return (
        tuple(reads and tensor in channels for tensor in call.inputs),
        tuple(tensor in channels for tensor in call.outputs),
    )


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


def _layout(graph, options, channels, traces, components, low, decisions, wanted) -> Layout:
    splits = {}
    for tensor, numbers in channels.items():
        mask = low[numbers]
        if mask.any():
            octave = 1 if graph.is_vector(graph.tensors[tensor].shape) else options.octave
            splits[tensor] = ChannelSplit(mask, octave)
    groups = tuple((g, tuple(low[p.channels] for p in g.producers)) for g in components.groups)
    alphas, selections = zip(*map(wanted, components.groups), strict=True) if groups else ((), ())
    tied = {tensor: components.of[numbers] for tensor, numbers in channels.items()}
    return Layout(graph, splits, traces, groups, alphas, selections, decisions, options.min_size, tied, components)
