"""Flip, depth_to_space or space_to_depth of a pair -> the same of each map, where whole low cells are moved.

Channels that are moved into positions, or positions into channels, keep to their own map.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import keras
import numpy as np

from octconvert.model.graph import Call, Shape
from octconvert.octave.geometry import factors
from octconvert.rules.base import ANY_RANK, Rule, Trace, carry, stop
from octconvert.rules.causality import is_causal
from octconvert.rules.protocols import Build, Flow, Value
from octconvert.rules.reductions import normalized_axes
from octconvert.rules.registry import register
from octconvert.rules.resizing import fitted


def _not_whole(axes: Iterable[int], cells: Mapping[int, int], shape: Shape) -> str:
    """Why rows and columns are not whole cells; empty where they are."""
    for axis in axes:
        size, cell = shape[axis], cells[axis]
        if size is None:
            return "rows or columns whose number is not known"
        if size % cell:
            return f"{size} rows or columns, not a multiple of {cell}"
    return ""


def _cells(flow: Flow) -> dict[int, int]:
    """Spatial axis -> positions under a low cell."""
    return dict(zip(flow.graph.spatial_axes, factors(flow.options.octave, flow.graph.rank), strict=True))


@register
class FlipRule(Rule):
    """``keras.ops.flip``: along the channels; along rows and columns where they are whole low cells."""

    ranks = ANY_RANK
    operations = ("keras.src.ops.numpy.Flip",)

    def trace(self, call: Call, flow: Flow) -> Trace:
        channels, shape = flow.channels(), flow.shape()
        assert channels is not None  # called only where the input may be a pair
        axes, own = normalized_axes(call, len(shape)), flow.graph.axis_of_channels(shape)
        if 0 in axes:
            return stop(call, "flips the batch axis")
        flipped = [] if flow.is_vector() else [axis for axis in axes if axis != own]
        reason = _not_whole(flipped, _cells(flow), shape)
        if flipped and is_causal(flow.graph):
            reason = "a causal signal, whose low cells end at the positions that they replace"
        if reason:
            return stop(call, f"flips {reason}")
        return carry(channels[::-1] if own in axes else channels)

    def rewrite(self, call: Call, values: list[Value], build: Build) -> list[Value]:
        return [build.dual(call, values)]


class _ChannelsAndPositionsRule(Rule):
    """The common part of both directions."""

    def trace(self, call: Call, flow: Flow) -> Trace:
        channels = flow.channels()
        assert channels is not None  # called only where the input may be a pair
        if (call.operation.data_format or keras.config.image_data_format()) != flow.graph.data_format:
            return stop(call, "another data format")
        return self.moved(call, channels, flow)

    def moved(self, call: Call, channels: np.ndarray, flow: Flow) -> Trace:
        """`trace` in the model's own data format."""
        raise NotImplementedError

    def rewrite(self, call: Call, values: list[Value], build: Build) -> list[Value]:
        return [build.dual(call, values)]


@register
class DepthToSpaceRule(_ChannelsAndPositionsRule):
    """``depth_to_space``: channels that become one channel are split alike."""

    operations = ("keras.src.ops.nn.DepthToSpace",)

    def moved(self, call: Call, channels: np.ndarray, flow: Flow) -> Trace:
        if flow.portable_refusal():
            return stop(call, flow.portable_refusal())
        merged = channels.reshape(call.operation.block_size**2, -1)
        for other in merged[1:]:
            flow.tie(merged[0], other)
        return carry(merged[0])

    def rewrite(self, call: Call, values: list[Value], build: Build) -> list[Value]:
        return [fitted(call, build.dual(call, values), build)]


@register
class SpaceToDepthRule(_ChannelsAndPositionsRule):
    """``space_to_depth``: the channels that come from one channel are in its map."""

    operations = ("keras.src.ops.nn.SpaceToDepth",)

    def moved(self, call: Call, channels: np.ndarray, flow: Flow) -> Trace:
        whole = {axis: cell * call.operation.block_size for axis, cell in _cells(flow).items()}
        reason = _not_whole(whole, whole, flow.shape())
        if reason:
            return stop(call, f"divides {reason}")
        return carry(np.tile(channels, call.operation.block_size**2))
