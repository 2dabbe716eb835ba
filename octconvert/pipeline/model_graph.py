"""`CallGraph` -> `octconvert.results.graph.ModelGraph`: what a report draws."""

from __future__ import annotations

from collections.abc import Callable

from octconvert.model.graph import BOUNDARY, Call, CallGraph
from octconvert.octave.names import HH, HIGH, HL, LL, LOW
from octconvert.pipeline.layer_costs import calls_by_source, high_shape, low_shape, map_sizes
from octconvert.planning.layout import Layout
from octconvert.results.graph import GraphEdge, GraphNode, Maps, ModelGraph, Sizes

MapsOf = Callable[[int], Maps]
"""Number of a tensor -> what it becomes."""


def planned_graph(graph: CallGraph, layout: Layout) -> ModelGraph:
    """The source's calls; ``graph``: those of the layout with every size known."""

    def maps(tensor: int) -> Maps:
        shape = graph.tensors[tensor].shape
        split = None if graph.is_vector(shape) else layout.splits.get(tensor)
        low = None if split is None else low_shape(graph, shape, split)
        return Maps(map_sizes(graph, shape), high_shape(graph, shape, split), low)

    return _model_graph(graph, maps)


def compared_graph(first: CallGraph, second: CallGraph) -> ModelGraph:
    """The first model's calls; its tensors are pairs where the layers of these names in the second one write pairs."""
    parts = calls_by_source(second, first)

    def maps(tensor: int) -> Maps:
        whole = first.tensors[tensor].shape
        shape = map_sizes(first, whole)
        high, low = _written(second, parts.get(first.producer(tensor).layer_name, []))
        is_plain = first.is_vector(whole) or low is None or len(low) != len(shape) or (high is None and low == shape)
        return Maps(shape, shape) if is_plain else Maps(shape, high, low)

    return _model_graph(first, maps)


def _written(graph: CallGraph, parts: list[Call]) -> tuple[Sizes | None, Sizes | None]:
    """Sizes of the high and the low map that layers in the place of one write; (None, low) where it is one map."""

    def sizes(tensor: int) -> Sizes:
        return map_sizes(graph, graph.tensors[tensor].shape)

    if not parts:
        return None, None
    outputs = parts[-1].outputs
    if len(outputs) == 2:
        return sizes(outputs[0]), sizes(outputs[1])
    ends = {end: call for call in parts for end in (HH, HL, LL, HIGH, LOW) if call.layer_name.endswith(end)}
    high, low = ends.get(HIGH) or ends.get(HH), ends.get(LOW) or ends.get(LL) or ends.get(HL)
    if high is not None or low is not None:
        pair = (None if part is None else sizes(part.outputs[0]) for part in (high, low))
        return next(pair), next(pair)
    return None, sizes(outputs[0])


def _model_graph(graph: CallGraph, maps: MapsOf) -> ModelGraph:
    """All calls but the identities at the inputs of nested models."""
    shown = [call for call in graph.calls if call.kind != BOUNDARY]
    position = {call.index: place for place, call in enumerate(shown)}
    behind = {call.outputs[0]: call.inputs[0] for call in graph.calls if call.kind == BOUNDARY}
    cached: dict[int, Maps] = {}

    def of(tensor: int) -> Maps:
        if tensor not in cached:
            cached[tensor] = maps(tensor)
        return cached[tensor]

    edges: dict[GraphEdge, None] = {}
    for call in shown:
        for tensor in call.inputs:
            while tensor in behind:
                tensor = behind[tensor]
            source = position[graph.tensors[tensor].producer]
            edges[GraphEdge(source, position[call.index], of(tensor).frequency)] = None
    paths = _paths(shown)
    nodes = (GraphNode(c.name, c.layer_name, c.class_name, paths[c.index], of(c.outputs[0])) for c in shown)
    return ModelGraph(tuple(nodes), tuple(edges))


def _paths(calls: list[Call]) -> dict[int, tuple[str, ...]]:
    """Call index -> the nested models that it lies in; later calls of one are ``name#2`` and so on."""
    numbers: dict[tuple[str, ...], dict[tuple[int, ...], int]] = {}
    paths = {}
    for call in calls:
        if len(call.chain) != len(call.path):
            paths[call.index] = call.path
            continue
        names = []
        for depth, name in enumerate(call.path, 1):
            seen = numbers.setdefault(call.path[:depth], {})
            number = seen.setdefault(tuple(id(node) for node in call.chain[:depth]), len(seen) + 1)
            names.append(name if number == 1 else f"{name}#{number}")
        paths[call.index] = tuple(names)
    return paths
