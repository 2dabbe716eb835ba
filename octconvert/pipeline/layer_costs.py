"""MACs and shapes of layers by their names in the source model."""

from __future__ import annotations

from collections import defaultdict

from octconvert.costs.macs import call_macs
from octconvert.model.graph import OPERATION, Call, CallGraph, Shape
from octconvert.octave.geometry import Octave, ceil_div, factors
from octconvert.octave.names import PARTS
from octconvert.octave.split import ChannelSplit


def macs_by_layer(graph: CallGraph) -> defaultdict[str, int]:
    """Layer name -> MACs of all its calls."""
    totals: defaultdict[str, int] = defaultdict(int)
    for index, macs in call_macs(graph).items():
        totals[graph.calls[index].layer_name] += macs
    return totals


def macs_by_source(graph: CallGraph, source: CallGraph) -> defaultdict[str, int]:
    """The same for a converted model, under the names of the source's layers."""
    names = {call.layer_name for call in source.calls if call.kind == OPERATION}
    totals: defaultdict[str, int] = defaultdict(int)
    for name, macs in macs_by_layer(graph).items():
        totals[source_name(name, names)] += macs
    return totals


def calls_by_source(graph: CallGraph, source: CallGraph) -> defaultdict[str, list[Call]]:
    """The calls of layers of a converted model, under the names of the source's layers."""
    names = {call.layer_name for call in source.calls if call.kind == OPERATION}
    calls: defaultdict[str, list[Call]] = defaultdict(list)
    for call in graph.calls:
        if call.kind == OPERATION:
            calls[source_name(call.layer_name, names)].append(call)
    return calls


def source_name(name: str, names: set[str]) -> str:
    """The source layer that a layer of the converted model was built for; its own name if there is none."""
    if name in names:
        return name
    inside = name.replace("-octave/", "/")  # in a nested model that had to be renamed
    for part in ("", *PARTS):
        if inside.removesuffix(part) in names:
            return inside.removesuffix(part)
    return name


def map_sizes(graph: CallGraph, shape: Shape) -> Shape:
    """(rows, columns, channels) of a map's shape, whatever the data format; other tensors as they are."""
    return (*graph.size_of(shape), shape[graph.axis_of_channels(shape)]) if graph.is_map(shape) else tuple(shape[1:])


def part_shape(graph: CallGraph, shape: Shape, channels: int, octave: Octave) -> Shape | None:
    """(rows, columns, channels) of one map of a pair; None where it has no channels."""
    size = map_sizes(graph, shape)[:-1]
    cells = factors(octave, len(size))
    sizes = (None if length is None else ceil_div(length, cell) for length, cell in zip(size, cells, strict=True))
    return (*sizes, channels) if channels else None


def high_shape(graph: CallGraph, shape: Shape, split: ChannelSplit | None) -> Shape | None:
    """The same of the high map, which is the whole tensor without a split; None where all channels are low."""
    return map_sizes(graph, shape) if split is None else part_shape(graph, shape, len(split.high), 1)


def low_shape(graph: CallGraph, shape: Shape, split: ChannelSplit) -> Shape | None:
    """The same of the low map."""
    return part_shape(graph, shape, len(split.low), split.octave)
