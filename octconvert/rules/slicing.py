"""A run of channels of a pair -> one run of the high and one of the low channels: ``x[..., a:b]``, ``keras.ops.split``.

Both groups are in the source's order, so the channels of a run are adjacent in each map. One position of a pair
(``x[:, -1]`` of a signal) -> that of the high map and the cell above it: a pair of vectors.
"""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np

from octconvert.layers import portable
from octconvert.model.graph import Call, CallGraph
from octconvert.octave.geometry import Octave, factors
from octconvert.octave.split import Pair
from octconvert.rules.base import ANY_RANK, Rule, Trace, stop
from octconvert.rules.protocols import Arguments, Build, Flow, Value
from octconvert.rules.raw import RawReshapingRule
from octconvert.rules.registry import register


class _ChannelRunsRule(Rule):
    """The common part; ``runs`` finds the channels of each output."""

    ranks = ANY_RANK

    def runs(self, call: Call, rank: int, axis: int, width: int) -> list[tuple[int, int]]:
        """(start, stop) of the channels of each output; empty where the call takes something else."""
        raise NotImplementedError

    def trace(self, call: Call, flow: Flow) -> Trace:
        channels, rank = flow.channels(), len(flow.shape())
        assert channels is not None  # called only where the input may be a pair
        runs = self.runs(call, rank, flow.graph.channel_axis, len(channels)) if flow.graph.is_map(flow.shape()) else []
        if not runs:
            return stop(call, "takes something else than a run of channels")
        for start, end in runs:
            if end - start < len(channels) and len(channels) % (end - start) == 0 and start % (end - start) == 0:
                flow.balance(channels, len(channels) // (end - start))  # else one part may get no high channel
        return Trace(tuple(channels[start:end] for start, end in runs))

    def rewrite(self, call: Call, values: list[Value], build: Build) -> list[Value]:
        (value,) = values
        tensors = build.settled(value).tensors
        rank = len(tensors[0].shape)
        outputs: list[Value] = []
        for i, (start, end) in enumerate(self.runs(call, rank, build.graph.channel_axis, value.split.channels)):
            maps = []
            for tensor, part in zip(tensors, value.split.parts, strict=True):
                first, last = (int(place) for place in np.searchsorted(part.channels, (start, end)))
                if first < last:
                    name = build.name(f"{call.operation.name}-{i}{part.suffix}")
                    maps.append(portable.channels(tensor, first, last, build.data_format, name))
            split = build.split(call, i)
            outputs.append(maps[0] if split is None else Pair.of(maps, split))
        return outputs


@register
class SliceRule(_ChannelRunsRule):
    """``x[..., a:b]``: everything along all axes but the channels; ``x[:, i]``: all channels of one position."""

    operations = ("keras.src.ops.numpy.GetItem",)

    def trace(self, call: Call, flow: Flow) -> Trace:
        if _adds_axes(call):
            return _NEW_AXES.trace(call, flow)
        if not _takes_position(call, flow.graph):
            return super().trace(call, flow)
        if _low_position(call, flow.graph, flow.options.octave) is None:
            return stop(call, "takes a position that depends on the open size")
        return Trace((flow.channels(),), gains=not flow.is_vector())

    def rewrite(self, call: Call, values: list[Value], build: Build) -> list[Value]:
        if _adds_axes(call):
            return _NEW_AXES.rewrite(call, values, build)
        if not _takes_position(call, build.graph):
            return super().rewrite(call, values, build)
        (value,), low = values, build.pair_split(call).low
        key = _low_position(call, build.graph, value.split.octave)

        def of_low(args: list[Any], kwargs: dict[str, Any], channels: np.ndarray) -> Arguments:
            return ([args[0], key], {}) if channels is low else (args, kwargs)

        return [build.dual(call, values, constants=of_low)]

    def runs(self, call: Call, rank: int, axis: int, width: int) -> list[tuple[int, int]]:
        parts = _expanded(call, rank)
        if len(parts) != rank or not all(isinstance(part, slice) for part in parts):
            return []
        if any(part != slice(None) for i, part in enumerate(parts) if i != axis):
            return []
        try:
            start, end, step = parts[axis].indices(width)
        except TypeError:  # the limits are tensors
            return []
        return [(start, end)] if step == 1 and start < end else []


def _key(call: Call) -> list[Any]:
    arguments = call.node.arguments
    key = arguments.kwargs["key"] if "key" in arguments.kwargs else arguments.args[1]
    return list(key) if isinstance(key, (tuple, list)) else [key]


def _expanded(call: Call, rank: int) -> list[Any]:
    """The key with one entry for each axis, if it adds none."""
    parts = _key(call)
    if Ellipsis in parts:
        place = parts.index(Ellipsis)
        parts[place : place + 1] = [slice(None)] * (rank - len(parts) + 1)
    return parts + [slice(None)] * (rank - len(parts))


def _takes_position(call: Call, graph: CallGraph) -> bool:
    """Whether the call takes one position along every spatial axis, and everything along the others."""
    shape = graph.tensors[call.inputs[0]].shape
    parts = _expanded(call, len(shape))
    if not graph.is_map(shape) or len(parts) != len(shape):
        return False
    places = graph.spatial_axes
    return all(isinstance(part, int) if i in places else part == slice(None) for i, part in enumerate(parts))


def _low_position(call: Call, graph: CallGraph, octave: Octave) -> tuple[Any, ...] | None:
    """The same key for the low map; None where the cell is not known before the model runs."""
    tensor = graph.tensors[call.inputs[0]]
    parts = _expanded(call, len(tensor.shape))
    sizes, cells = graph.size_of(tensor.built_shape), factors(octave, graph.rank)
    for axis, size, cell in zip(graph.spatial_axes, sizes, cells, strict=True):
        place = parts[axis]
        if place < -1 and size is None:
            return None
        if place != -1:  # the last cell is above the last position, whatever the size
            parts[axis] = (place if place >= 0 or size is None else size + place) // cell
    return tuple(parts)


def _adds_axes(call: Call) -> bool:
    """Whether the call is ``x[:, None, None]`` and no more."""
    parts = _key(call)
    whole = all(part is None or part is Ellipsis or part == slice(None) for part in parts)
    return whole and any(part is None for part in parts)


class _NewAxesRule(RawReshapingRule):
    """``x[:, None, None, :]``: a vector as a 1x1 map."""


_NEW_AXES = _NewAxesRule()


@register
class SplitRule(_ChannelRunsRule):
    """``keras.ops.split`` into equal parts, or at listed channels."""

    operations = ("keras.src.ops.numpy.Split",)

    def runs(self, call: Call, rank: int, axis: int, width: int) -> list[tuple[int, int]]:
        if call.operation.axis % rank != axis:
            return []
        places = call.operation.indices_or_sections
        if isinstance(places, int):
            places = np.arange(1, places) * (width // places)
        limits = [0, *(int(place) for place in places), width]
        return [] if sorted(set(limits)) != limits else list(itertools.pairwise(limits))
