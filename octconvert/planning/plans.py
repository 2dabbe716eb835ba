"""`Layout` -> `Plan`: the decisions as a value that can be printed, edited and followed again."""

from __future__ import annotations

from collections.abc import Iterator

import networkx as nx

from octconvert.model.graph import Call
from octconvert.options.rewriting import RewritingOptions
from octconvert.planning.convolutions import convolutions, is_convolution
from octconvert.planning.layout import Layout
from octconvert.planning.solve import ONLY_VECTORS, PLAIN_INPUT
from octconvert.results.plan import FIRST, INTERMEDIATE, LAST, PLAIN, Chain, ChainEnd, Convolution, Group, Plan

READS_BOTH = "reads both maps as they are"
READS_LOW = "reads the low map as it is"


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


def _groups(layout: Layout) -> Iterator[Group]:
    for number, (group, masks) in enumerate(layout.groups, 1):
        low = tuple(int(mask.sum()) for mask in masks)
        channels = tuple(len(mask) for mask in masks)
        names = tuple(producer.call.layer_name for producer in group.producers)
        alpha, selection = layout.alphas[number - 1], layout.selections[number - 1]
        yield Group(f"g{number}", names, channels, alpha, low, selection, whole_low=low == channels)


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


def _chains(layout: Layout) -> Iterator[Chain]:
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
            whole_low = any(_map_alpha(layout, tensor) == 1 for tensor in call.inputs)
            ends.append(ChainEnd(call.name, call.class_name, READS_LOW if whole_low else READS_BOTH))
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


def _ends_behind(layout: Layout, call: Call) -> Iterator[ChainEnd]:
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
