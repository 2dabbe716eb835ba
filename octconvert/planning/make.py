"""Options or a plan -> `Layout`; `Layout` -> `Plan`."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace

import networkx as nx

from octconvert.errors import UsageError
from octconvert.model.graph import OPERATION, Call, CallGraph
from octconvert.options.rewriting import RewritingOptions
from octconvert.planning.ledger import TiedProducers
from octconvert.planning.solve import ONLY_VECTORS, PLAIN_INPUT, Decisions, Layout, solve
from octconvert.results.plan import FIRST, INTERMEDIATE, LAST, PLAIN, Chain, ChainEnd, Convolution, Group, Plan
from octconvert.rules import rule_of

PAPER_MIN_SIZE = 8
"""The authors leave maps of 7x7 and smaller plain."""


def is_convolution(graph: CallGraph, call: Call) -> bool:
    """Whether the call counts in "k of n convolutions"."""
    rule = rule_of(call) if call.kind == OPERATION else None
    return rule is not None and rule.is_convolution(call, graph)


def convolutions(graph: CallGraph) -> list[Call]:
    """The calls that count, in execution order."""
    return [call for call in graph.calls if is_convolution(graph, call)]


def layout_from_options(
    graph: CallGraph, options: RewritingOptions, frozen: Mapping[object, str] | None = None
) -> Layout:
    """Solve with the user's options; ``frozen`` call keys stay plain, for the reason given."""
    decisions = Decisions(dict(frozen or {}))
    if options.preset == "paper":
        options = replace(options, min_size=max(options.min_size, PAPER_MIN_SIZE))
    for call in convolutions(graph):
        reason = _selection_reason(call, options)
        if reason:
            decisions.frozen.setdefault(call.key, reason)
    if options.preset == "paper":
        for call in _stems(graph):
            decisions.frozen.setdefault(call.key, "stem before a max-pooling (preset paper)")

    def wanted(group: TiedProducers):
        names = [producer.call.layer_name for producer in group.producers]
        for pattern, alpha in options.alpha_map:
            if any(re.search(pattern, name) for name in names):
                return alpha, None
        return options.alpha, None

    return solve(graph, options, decisions, wanted)


def _selection_reason(call: Call, options: RewritingOptions) -> str:
    if options.include and not any(re.search(pattern, call.layer_name) for pattern in options.include):
        return "not selected by include"
    matched = next((pattern for pattern in options.exclude if re.search(pattern, call.layer_name)), None)
    return f"excluded by '{matched}'" if matched is not None else ""


def _stems(graph: CallGraph) -> list[Call]:
    """Convolutions on the model's input whose output, through layers with one input, reaches a max-pooling."""
    return [call for call in convolutions(graph) if _reads_input(graph, call) and _reaches_max(graph, call)]


def _reads_input(graph: CallGraph, call: Call) -> bool:
    while call.inputs:
        call = graph.producer(call.inputs[0])
        if is_convolution(graph, call):
            return False
    return True


def _reaches_max(graph: CallGraph, call: Call) -> bool:
    pending = [call]
    while pending:
        for consumer in graph.consumers.get(pending.pop().outputs[0], ()):
            if consumer.class_name.startswith("MaxPool"):
                return True
            if not is_convolution(graph, consumer) and len(consumer.inputs) == 1 and len(consumer.outputs) == 1:
                pending.append(consumer)
    return False


def layout_from_plan(
    graph: CallGraph,
    plan: Plan,
    frozen: Mapping[object, str] | None = None,
    where: str = "plan",
    plain_outputs: Mapping[object, str] | None = None,
) -> Layout:
    """Solve with the decisions of a plan.

    Args:
        frozen: call key -> why the call stays plain as a whole.
        where: what error lines call the plan.
        plain_outputs: call key -> why its output stays plain; it may read a pair.

    Raises:
        UsageError: the plan is not of this model, wants different splits of tied layers, or what makes no sense.
    """
    names = {call.layer_name: call for call in graph.calls if call.kind == OPERATION}
    unknown = [name for name in _plan_names(plan) if name not in names]
    if unknown:
        raise UsageError(f"{where}: the model has no layer '{unknown[0]}' (the plan was made for '{plan.model}')")
    decisions = Decisions(dict(frozen or {}), dict(plain_outputs or {}))
    for entry in plan.convolutions:
        if entry.frozen:
            decisions.frozen[names[entry.name].key] = entry.reason or "left plain by the plan"
    by_producer = {name: wish for group in plan.groups for name, wish in _wishes(group).items()}

    def wanted(group: TiedProducers):
        found = [by_producer.get(producer.call.layer_name, (0.0, None)) for producer in group.producers]
        alphas = {alpha for alpha, _ in found}
        if len(alphas) > 1:
            listed = ", ".join(p.call.layer_name for p in group.producers[:3])
            raise UsageError(f"{where}: tied layers need one alpha, but {listed} have {sorted(alphas)}")
        selections = tuple(selection for _, selection in found)
        return alphas.pop(), None if None in selections else selections

    return solve(graph, plan.options(), decisions, wanted)


def _wishes(group: Group) -> dict[str, tuple[float, tuple | None]]:
    """Producer -> (alpha, low channels or None), as a group of a plan wants it."""
    selection = group.selection or (None,) * len(group.producers)
    return {name: (float(group.alpha), low) for name, low in zip(group.producers, selection, strict=True)}


def _plan_names(plan: Plan) -> list[str]:
    return [c.name for c in plan.convolutions] + [name for group in plan.groups for name in group.producers]


def plan_of(layout: Layout, options: RewritingOptions) -> Plan:
    """Write a layout down as a `Plan`."""
    graph = layout.graph
    first_calls = {call.key: call for call in reversed(convolutions(graph))}
    entries = sorted(first_calls.values(), key=lambda call: call.index)
    return Plan(
        model=graph.model.name,
        octave=options.octave,
        min_size=layout.min_size,
        stride_mode=options.stride_mode,
        weights=options.weights,
        portable=options.portable,
        groups=tuple(_groups(layout)),
        convolutions=tuple(_convolution(layout, call) for call in entries),
        chains=tuple(_chains(layout)),
        elementwise=options.elementwise,
    )


def _groups(layout: Layout):
    for number, (group, masks) in enumerate(layout.groups, 1):
        low = tuple(int(mask.sum()) for mask in masks)
        channels = tuple(len(mask) for mask in masks)
        names = tuple(producer.call.layer_name for producer in group.producers)
        yield Group(f"g{number}", names, channels, layout.alphas[number - 1], low, layout.selections[number - 1])


def _map_alpha(layout: Layout, tensor: int) -> float:
    """Alpha of a tensor that is a pair of maps; 0 otherwise."""
    split = layout.splits.get(tensor)
    return 0.0 if split is None or layout.graph.is_vector(layout.graph.tensors[tensor].shape) else split.alpha


def role_of(layout: Layout, call: Call) -> tuple[str, float, float]:
    """(role, alpha of the input, alpha of the output) of a convolution."""
    alpha_in = _map_alpha(layout, call.inputs[0]) if layout.reads(call) else 0.0
    alpha_out = _map_alpha(layout, call.outputs[0])
    roles = {(False, False): PLAIN, (False, True): FIRST, (True, True): INTERMEDIATE, (True, False): LAST}
    return roles[alpha_in > 0, alpha_out > 0], alpha_in, alpha_out


def _convolution(layout: Layout, call: Call) -> Convolution:
    role, alpha_in, alpha_out = role_of(layout, call)
    return Convolution(
        name=call.layer_name,
        class_name=call.class_name,
        role=role,
        alpha_in=alpha_in,
        alpha_out=alpha_out,
        input_shape=layout.graph.tensors[call.inputs[0]].shape,
        output_shape=layout.graph.tensors[call.outputs[0]].shape,
        reason=_reason(layout, call, role) if role in (PLAIN, LAST) else "",
        frozen=call.key in layout.decisions.frozen,
    )


def _reason(layout: Layout, call: Call, role: str) -> str:
    """Why a convolution, or the output of a last one, stays plain."""
    if call.outputs[0] in layout.splits:
        return ONLY_VECTORS
    if layout.reason(call) or role == LAST:
        return layout.reason(call)
    return layout.small.get(call.key) or PLAIN_INPUT


def _chains(layout: Layout):
    """Connected runs of calls that hand pairs to one another, in execution order."""
    graph = layout.graph
    linked = nx.Graph()
    for tensor in layout.splits:
        producer = graph.tensors[tensor].producer
        linked.add_node(producer)
        readers = (consumer.index for consumer in graph.consumers.get(tensor, ()) if layout.reads(consumer))
        linked.add_edges_from((producer, reader) for reader in readers)
    for members in sorted(nx.connected_components(linked), key=min):
        yield _chain(layout, [graph.calls[index] for index in sorted(members)])


def _chain(layout: Layout, calls: list[Call]) -> Chain:
    names: dict[str, list[str]] = {role: [] for role in (FIRST, INTERMEDIATE, LAST, PLAIN)}
    dual: list[str] = []
    ends: list[ChainEnd] = []
    for call in calls:
        if is_convolution(layout.graph, call):
            role = role_of(layout, call)[0]
            names[role].append(call.name)
            if role == LAST:
                ends.append(ChainEnd(call.name, call.class_name, layout.reason(call)))
        elif any(_map_alpha(layout, tensor) for tensor in call.outputs):
            dual.append(call.name)
        elif any(_map_alpha(layout, tensor) for tensor in call.inputs) and not _comes_back(layout, call):
            ends.append(ChainEnd(call.name, call.class_name, "reads both maps as they are"))
        ends.extend(_ends_behind(layout, call))
    return Chain(
        first=tuple(names[FIRST]),
        intermediate=tuple(names[INTERMEDIATE]),
        last=tuple(names[LAST]),
        dual=tuple(dual),
        ends=tuple(dict.fromkeys(ends)),
    )


def _comes_back(layout: Layout, call: Call) -> bool:
    """Whether what follows a global pooling joins a pair again, as a squeeze-and-excite gate does."""
    later = nx.descendants(layout.graph.network, call.index)
    return any(_map_alpha(layout, tensor) for index in later for tensor in layout.graph.calls[index].outputs)


def _ends_behind(layout: Layout, call: Call):
    """Calls that merge a pair this call writes."""
    graph = layout.graph
    for tensor in call.outputs:
        if not _map_alpha(layout, tensor):
            continue
        for consumer in graph.consumers.get(tensor, ()):
            if not layout.reads(consumer):
                yield ChainEnd(consumer.name, consumer.class_name, layout.reason(consumer))
        if tensor in graph.outputs:
            yield ChainEnd(call.name, call.class_name, "output of the model")
