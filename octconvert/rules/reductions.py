"""Reduction of a pair over rows and columns -> the same of each map: a pair of vectors.

Reduction over the channels -> the same of each map, the low result upsampled, then both combined: a plain tensor.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import replace

import numpy as np
from keras import KerasTensor, ops

from octconvert.layers import portable
from octconvert.model.graph import Call
from octconvert.octave.geometry import ceil_div, factors
from octconvert.octave.split import Pair
from octconvert.rules.base import ANY_RANK, Rule, Trace, stop
from octconvert.rules.elementwise import class_names
from octconvert.rules.protocols import Build, Flow, Value
from octconvert.rules.registry import register

# Over rows and columns these are the same for a map and for its upsampled self.
_OF_POSITIONS = "mean max min amax amin any all var std median ptp"
# Over the channels, how the results of both groups are combined.
_JOINED: dict[str, Callable[..., KerasTensor]] = {
    "Mean": ops.add,
    "Sum": ops.add,
    "Max": ops.maximum,
    "Amax": ops.maximum,
    "Min": ops.minimum,
    "Amin": ops.minimum,
    "Any": ops.logical_or,
    "All": ops.logical_and,
}


def normalized_axes(call: Call, rank: int) -> list[int]:
    """The axes of an operation's ``axis`` argument as positive numbers; None means all."""
    axis = call.operation.axis
    axes = range(rank) if axis is None else axis if isinstance(axis, list | tuple) else [axis]
    return [each % rank for each in axes]


@register
class ReductionRule(Rule):
    """``mean``, ``max``, ``sum`` ... over rows and columns, or over the channels."""

    ranks = ANY_RANK
    operations = class_names({"numpy": f"{_OF_POSITIONS} sum"})

    def trace(self, call: Call, flow: Flow) -> Trace:
        shape = flow.shape()
        axes, name = sorted(normalized_axes(call, len(shape))), call.class_name
        if getattr(call.operation, "initial", None) is not None:
            return stop(call, "has an initial value")
        is_map = flow.graph.is_map(shape)
        if axes == list(flow.graph.spatial_axes) and is_map:
            if name == "Sum" and not flow.sizes_known():
                return stop(call, "sums over rows and columns whose number is not known")
            return Trace((flow.channels(),), gains=not flow.is_vector())
        if is_map and axes == [flow.graph.channel_axis]:
            if name not in _JOINED:
                return stop(call, f"{name} over the channels can not be combined from two groups")
            if not flow.sizes_known():
                return stop(call, "reduces the channels of a map whose rows and columns are not known")
            if flow.graph.rank == 1 and flow.graph.data_format == "channels_first":
                return stop(call, "reduces the channels in channels_first, where Keras upsamples no signal")
            return Trace((None,))
        return stop(call, f"reduces axes {axes}: neither rows and columns nor the channels alone")

    def rewrite(self, call: Call, values: list[Value], build: Build) -> list[Value]:
        if normalized_axes(call, build.graph.rank + 2) == [build.graph.channel_axis]:
            return [_over_channels(call, values[0], build)]
        (value,) = values
        value = build.settled(value)
        if value.split.octave != 1 and call.class_name in ("Mean", "Sum"):
            value = replace(value, low=_weighted(call, value, build))
        return [build.dual(call, [value])]


def _weighted(call: Call, value: Pair, build: Build) -> KerasTensor:
    """The low map, each cell weighted by its number of positions: the last cells of odd sizes have fewer."""
    axes, low = build.graph.spatial_axes, value.low
    sizes, cells = value.size(axes), factors(value.split.octave, len(axes))
    if None in sizes:
        return low  # a mean, where the border has little weight
    counts = [
        np.minimum(cell, size - cell * np.arange(ceil_div(size, cell))) for size, cell in zip(sizes, cells, strict=True)
    ]
    weights = functools.reduce(np.multiply.outer, counts).astype("float32")
    if call.class_name == "Mean":
        weights /= weights.mean()
    if (weights == 1).all():
        return low
    shape = [1] * len(low.shape)
    for axis, size in zip(axes, weights.shape, strict=True):
        shape[axis] = size
    return _named(ops.multiply(low, weights.reshape(shape).astype(low.dtype)), call, "-weights", build)


def _named(tensor: KerasTensor, call: Call, suffix: str, build: Build) -> KerasTensor:
    """A raw operation's output; the operation is named after the call."""
    tensor._keras_history.operation.name = build.name(f"{call.operation.name}{suffix}")
    return tensor


def _upsampled(call: Call, low: KerasTensor, value: Pair, build: Build) -> KerasTensor:
    """What the low map was reduced to, at the resolution of the source's map; booleans as numbers meanwhile."""
    boolean = low.dtype == "bool"
    if boolean:
        low = _named(ops.cast(low, "float32"), call, "-number", build)
    label, size = build.name(f"{call.operation.name}-up"), value.size(build.graph.spatial_axes)
    low = portable.upsample_to(low, value.split.octave, size, build.data_format, label)
    return _named(ops.cast(low, "bool"), call, "-truth", build) if boolean else low


def _over_channels(call: Call, value: Pair, build: Build) -> KerasTensor:
    """Both groups reduced, the low result upsampled, then combined: the same as the reduction of the merged map."""
    axis, split, name = build.graph.channel_axis, value.split, type(call.operation).__name__
    value = build.settled(value)
    function = {"Mean": ops.sum, **{key: getattr(ops, key.lower()) for key in _JOINED if key != "Mean"}}[name]
    reduced = [
        _named(function(part, axis=axis, keepdims=True), call, each.suffix, build)
        for part, each in zip(value.tensors, split.parts, strict=True)
    ]
    if split.octave != 1:
        reduced[-1] = _upsampled(call, reduced[-1], value, build)
    joined = reduced[0] if len(reduced) == 1 else _named(_JOINED[name](*reduced), call, "-join", build)
    if name == "Mean":
        joined = _named(ops.multiply(joined, 1.0 / split.channels), call, "-mean", build)
    if not call.operation.keepdims:
        joined = _named(ops.squeeze(joined, axis=axis), call, "-squeeze", build)
    return joined
