"""A run of channels of a pair -> one run of the high and one of the low channels: ``x[..., a:b]``, ``keras.ops.split``.

Both groups are in the source's order, so the channels of a run are adjacent in each map.
"""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np

from octconvert.layers import portable
from octconvert.model.graph import Call
from octconvert.octave.split import Pair
from octconvert.rules.base import Rule, Trace, stop
from octconvert.rules.protocols import Build, Flow, Value
from octconvert.rules.raw import RawReshapingRule
from octconvert.rules.registry import register


class _ChannelRunsRule(Rule):
    """The common part; ``runs`` finds the channels of each output."""

    def runs(self, call: Call, rank: int, axis: int, width: int) -> list[tuple[int, int]]:
        """(start, stop) of the channels of each output; empty where the call takes something else."""
        raise NotImplementedError

    def trace(self, call: Call, flow: Flow) -> Trace:
        channels, rank = flow.channels(), len(flow.shape())
        assert channels is not None  # called only where the input may be a pair
        runs = self.runs(call, rank, flow.graph.channel_axis, len(channels)) if rank == 4 else []
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
    """``x[..., a:b]``: everything along all axes but the channels."""

    operations = ("keras.src.ops.numpy.GetItem",)

    def trace(self, call: Call, flow: Flow) -> Trace:
        return _NEW_AXES.trace(call, flow) if _adds_axes(call) else super().trace(call, flow)

    def rewrite(self, call: Call, values: list[Value], build: Build) -> list[Value]:
        return _NEW_AXES.rewrite(call, values, build) if _adds_axes(call) else super().rewrite(call, values, build)

    def runs(self, call: Call, rank: int, axis: int, width: int) -> list[tuple[int, int]]:
        parts = _key(call)
        if Ellipsis in parts:
            place = parts.index(Ellipsis)
            parts[place : place + 1] = [slice(None)] * (rank - len(parts) + 1)
        parts += [slice(None)] * (rank - len(parts))
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
