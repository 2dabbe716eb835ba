"""Which tied groups are the interior of a block: another alpha suits them than the tensors on the main path.

Read from the graph, not from names. A group is *interior* where

1. only convolutions and what is tied to it read it, and at least one convolution does;
2. it joins no other map: neither a sum nor a concatenation of maps, which is what the main path consists of;
3. no layer but a convolution changes its resolution (pooling, upsampling), it is no output of the model, and it is not
   the stem, which reads the model's input;
4. a skip connection leads around it: the shortcut of a residual block or inverted bottleneck, the concatenation of a
   dense block, the skip of a U-Net level.

Where no skip connection leads around it (a plain chain of convolutions, as in VGG), every second group of the chain is
interior, the ones with the most values first, unless a strided depthwise convolution lies inside it. Detail that such a
tensor loses is lost to the model; where pooling or a stride follows, that is little.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import networkx as nx
import numpy as np

from octconvert.model.graph import Call, CallGraph
from octconvert.planning.convolutions import is_convolution
from octconvert.planning.ledger import Components
from octconvert.rules import traits_of

_OPEN_SIZE = 224
"""Rows or columns that are open count as so many."""
_INPUTS = -1
"""The number of a call in front of all inputs."""


class Traced(Protocol):
    """A model in which tied tensors are known: an `octconvert.planning.tracing.Traced`, or a `Layout`."""

    @property
    def graph(self) -> CallGraph: ...

    @property
    def channels(self) -> dict[int, np.ndarray]: ...

    @property
    def components(self) -> Components: ...

    def reads(self, call: Call) -> bool: ...


def interior_producers(traced: Traced) -> frozenset[object]:
    """Keys of the calls that produce the interior groups of a model."""
    chosen = (index for block in interior_blocks(traced) for index in block)
    return frozenset(p.call.key for index in chosen for p in traced.components.groups[index].producers)


def interior_blocks(traced: Traced) -> tuple[frozenset[int], ...]:
    """Positions of the interior groups, those together between which one convolution lies."""
    groups = _facts(traced)
    candidates = [index for index, group in enumerate(groups) if group.is_candidate]
    unavoidable = _unavoidable(traced)
    chosen = {
        index
        for index in candidates
        if not any(producer.call.index in unavoidable for producer in traced.components.groups[index].producers)
    }
    for index in sorted(set(candidates) - chosen, key=lambda index: (-groups[index].values, index)):
        if chosen.isdisjoint(groups[index].neighbours) and not groups[index].strided:
            chosen.add(index)
    network = nx.Graph((index, other) for index in chosen for other in chosen & groups[index].neighbours)
    network.add_nodes_from(chosen)
    return tuple(map(frozenset, sorted(nx.connected_components(network), key=min)))


@dataclass
class _Group:
    """What the calls of a model say about one tied group.

    Attributes:
        on_main_path: whether it joins maps, changes its resolution, or is read or written by anything but convolutions.
        convolved: whether a convolution reads it as a map.
        strided: whether a convolution that carries it (a depthwise one) has a stride.
        values: of its largest tensor.
        neighbours: positions of the groups that one convolution lies between.
    """

    on_main_path: bool = False
    convolved: bool = False
    strided: bool = False
    values: int = 0
    neighbours: frozenset[int] = frozenset()

    @property
    def is_candidate(self) -> bool:
        return self.convolved and not self.on_main_path


def _facts(traced: Traced) -> list[_Group]:
    graph = traced.graph
    groups = [_Group() for _ in traced.components.groups]
    for call in graph.calls:
        _note_call(call, traced, groups)
    for tensor in graph.outputs:
        for index in _groups_of(traced, tensor):
            groups[index].on_main_path = True
    for stem in _readers_of_inputs(traced):
        for index in _groups_of(traced, stem.outputs[0]):
            groups[index].on_main_path = True
    return groups


def _note_call(call: Call, traced: Traced, groups: list[_Group]) -> None:
    graph = traced.graph
    read = {index for tensor in call.inputs for index in _groups_of(traced, tensor)}
    written = {index for tensor in call.outputs for index in _groups_of(traced, tensor)}
    for index in written:
        groups[index].values = max(groups[index].values, *(_values(traced, tensor) for tensor in call.outputs))
    if not read:
        return
    maps = [tensor for tensor in call.inputs if not graph.is_vector(graph.tensors[tensor].shape)]
    if is_convolution(graph, call):
        for index in read:
            groups[index].convolved |= bool(maps)
            groups[index].strided |= index in written and _changes_resolution(call, traced)
            groups[index].neighbours |= written - {index}
        for index in written:
            groups[index].neighbours |= read - {index}
    elif len(maps) > 1 or (maps and not traced.reads(call)) or _changes_resolution(call, traced):
        for index in read | written:
            groups[index].on_main_path = True


def _changes_resolution(call: Call, traced: Traced) -> bool:
    """Whether the output is a map of other rows and columns than the input, by more than a border."""
    graph, pooling = traced.graph, traits_of(call.operation).pooling
    before, after = (graph.tensors[tensor].shape for tensor in (call.inputs[0], call.outputs[0]))
    if not graph.is_map(before) or not graph.is_map(after) or graph.is_vector(after):
        return False
    if pooling is not None and max(pooling.strides) > 1:
        return True
    if len(before) != len(after):
        return True
    sizes = [(before[axis] or 0, after[axis] or 0) for axis in graph.spatial_axes_of(after)]
    return any(min(pair) and 2 * max(pair) >= 3 * min(pair) for pair in sizes)  # 0: open


def _groups_of(traced: Traced, tensor: int) -> list[int]:
    channels = traced.channels.get(tensor)
    return [] if channels is None else traced.components.groups_of(channels)


def _values(traced: Traced, tensor: int) -> int:
    """Positions times channels."""
    shape = traced.graph.tensors[tensor].shape
    return int(np.prod([_OPEN_SIZE if size is None else size for size in shape[1:]]))


def _readers_of_inputs(traced: Traced) -> list[Call]:
    """The convolutions that read an input of the model, through whatever lies before them."""
    graph, stems = traced.graph, []
    pending, seen = list(graph.inputs), set[int]()
    while pending:
        for call in graph.consumers.get(pending.pop(), ()):
            if call.index in seen:
                continue
            seen.add(call.index)
            if is_convolution(graph, call):
                stems.append(call)
            else:
                pending.extend(call.outputs)
    return stems


def _unavoidable(traced: Traced) -> set[int]:
    """Numbers of the calls that lie on every path from the model's inputs to one of its outputs."""
    graph, unavoidable = traced.graph, set[int]()
    network = nx.DiGraph(graph.network)
    network.add_edges_from((_INPUTS, graph.tensors[tensor].producer) for tensor in graph.inputs)
    dominators = nx.immediate_dominators(network, _INPUTS)
    for tensor in graph.outputs:
        call = graph.tensors[tensor].producer
        while call != _INPUTS and call not in unavoidable and call in dominators:
            unavoidable.add(call)
            call = dominators[call]
    return unavoidable
