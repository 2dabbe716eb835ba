"""Raw operations that mean the same as a layer, or that turn, shuffle or reduce whole axes.

What means the same as a layer is traced and rewritten by the rule of that layer, as if the layer stood there.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import keras
import numpy as np
from keras import layers, ops
from keras.src.ops.symbolic_arguments import SymbolicArguments

from octconvert.layers import portable
from octconvert.model.graph import Call
from octconvert.octave.geometry import ceil_div
from octconvert.octave.names import SUFFIXES
from octconvert.octave.split import Pair
from octconvert.rules.base import Rule, Trace, carry, stop
from octconvert.rules.elementwise import class_names
from octconvert.rules.merging import cut_constants
from octconvert.rules.protocols import Flow
from octconvert.rules.registry import find_rule, register
from octconvert.rules.resizing import fitted
from octconvert.rules.traits import PoolingTraits, Traits

# Layers that stand for raw operations; one for each, so that it has one name and one copy.
_LAYERS: weakref.WeakKeyDictionary[Any, layers.Layer] = weakref.WeakKeyDictionary()


class _AsLayer(Rule):
    """A raw operation of one tensor as the layer that means the same."""

    def layer(self, call: Call, graph) -> layers.Layer | str:
        """The layer, or why there is none."""
        raise NotImplementedError

    def _call(self, call: Call, graph) -> Call | str:
        if call.operation not in _LAYERS:
            made = self.layer(call, graph)
            if isinstance(made, str):
                return made
            _LAYERS[call.operation] = made
        tensor = call.node.arguments.keras_tensors[0]
        node = SimpleNamespace(arguments=SymbolicArguments(tensor), outputs=call.node.outputs)
        return replace(call, operation=_LAYERS[call.operation], node=node)

    def trace(self, call: Call, flow: Flow) -> Trace:
        own = self._call(call, flow.graph)
        if isinstance(own, str):
            return stop(call, own)
        rule = find_rule(own.operation)
        assert rule is not None  # of a layer that was chosen for its rule
        return rule.trace(own, flow.at(own))

    def rewrite(self, call: Call, values: list, build) -> list:
        own = self._call(call, build.graph)
        assert not isinstance(own, str)  # the trace would have stopped
        rule = find_rule(own.operation)
        assert rule is not None
        return rule.rewrite(own, values, build)


def _shared(call: Call) -> dict:
    tensor = call.node.arguments.keras_tensors[0]
    return {"name": call.operation.name, "dtype": tensor.dtype}


@register
class WindowPooling(_AsLayer):
    """``keras.ops.max_pool`` and ``average_pool``."""

    operations = ("keras.src.ops.nn.MaxPool", "keras.src.ops.nn.AveragePool")

    def layer(self, call: Call, graph):
        operation, rank = call.operation, len(call.node.outputs[0].shape)
        if rank != 4:
            return f"pools a tensor of {rank} axes"
        kind = layers.MaxPooling2D if type(operation).__name__ == "MaxPool" else layers.AveragePooling2D
        data_format = operation.data_format or keras.config.image_data_format()
        return kind(operation.pool_size, operation.strides, operation.padding, data_format, **_shared(call))

    def traits(self, operation: Any) -> Traits:
        kind = "max" if type(operation).__name__ == "MaxPool" else "average"
        size, strides = (
            np.atleast_1d(each).tolist() for each in (operation.pool_size, operation.strides or operation.pool_size)
        )
        return Traits(pooling=PoolingTraits(kind, tuple(size), tuple(strides), operation.padding))


@register
class Repeat(_AsLayer):
    """``keras.ops.repeat`` of rows or of columns: nearest upsampling."""

    operations = ("keras.src.ops.numpy.Repeat",)

    def layer(self, call: Call, graph):
        axis, times = call.operation.axis, call.operation.repeats
        rank = len(call.node.outputs[0].shape)
        if axis is None or rank != 4 or axis % rank not in graph.spatial_axes:
            return "repeats something else than rows or columns"
        if np.ndim(times) or int(times) < 1:
            return "repeats rows or columns different numbers of times"
        size = [int(times) if axis % rank == one else 1 for one in graph.spatial_axes]
        return layers.UpSampling2D(tuple(size), graph.data_format, **_shared(call))


@register
class UnitLength(_AsLayer):
    """``keras.ops.normalize`` by the Euclidean norm."""

    operations = ("keras.src.ops.nn.Normalize",)

    def layer(self, call: Call, graph):
        operation = call.operation
        if operation.order != 2 or operation.epsilon not in (None, 1e-12):
            return f"normalises by the norm of order {operation.order} and epsilon {operation.epsilon}"
        return layers.UnitNormalization(axis=operation.axis, **_shared(call))


@register
class RawReshaping(_AsLayer):
    """``keras.ops.reshape``, ``squeeze`` and ``x[:, None, None]`` between vectors and 1x1 maps."""

    operations = ("keras.src.ops.numpy.Reshape", "keras.src.ops.numpy.Squeeze")

    def layer(self, call: Call, graph):
        source, target = (tuple(t.shape) for t in (call.node.arguments.keras_tensors[0], call.node.outputs[0]))
        return reshaping(call, source, target)

    def traits(self, operation: Any) -> Traits:
        return Traits(passes_values=True)


def reshaping(call: Call, source: tuple, target: tuple) -> layers.Layer | str:
    """The Reshape that makes ``target`` of ``source``, or why there is none."""
    if source[0] != target[0] or None in target[1:]:
        return f"{call.class_name} moves the batch axis, or makes a shape that is open"
    return layers.Reshape(target[1:], **_shared(call))


@register
class RawBatchNormalization(Rule):
    """``keras.ops.batch_normalization`` by constants: they are cut with the channels."""

    operations = ("keras.src.ops.nn.BatchNorm",)

    def trace(self, call: Call, flow: Flow) -> Trace:
        rank, channels = len(flow.shape()), flow.channels()
        assert channels is not None  # asked only where the first input may be a pair
        arguments = call.node.arguments
        others = [value for value in (*arguments.args[1:], *arguments.kwargs.values()) if value is not None]
        if call.operation.axis % rank != (flow.graph.channel_axis if rank == 4 else rank - 1):
            return stop(call, f"normalises axis {call.operation.axis % rank}, not the channels")
        if any(isinstance(value, (keras.KerasTensor, keras.Variable)) for value in others):
            return stop(call, "normalises by tensors, and by no constants")
        if any(np.shape(keras.ops.convert_to_numpy(value)) != (len(channels),) for value in others):
            return stop(call, "its constants have other axes than the channels")
        return carry(channels)

    def rewrite(self, call: Call, values: list, build) -> list:
        return [build.dual(call, values, constants=cut_constants)]


def _not_whole(sizes: list[int | None], cell: int) -> str:
    """What keeps rows and columns from being whole cells; empty where they are."""
    if None in sizes:
        return "rows or columns whose number is not known"
    odd = [size for size in sizes if size is not None and size % cell]
    return f"{odd[0]} rows or columns, not a multiple of {cell}" if odd else ""


# -- turned and shuffled positions -------------------------------------------------------------------------------------


@register
class Flip(Rule):
    """``keras.ops.flip``: along the channels; along rows and columns where they are whole low cells."""

    operations = ("keras.src.ops.numpy.Flip",)

    def _axes(self, call: Call, rank: int) -> list[int]:
        axis = call.operation.axis
        given = range(rank) if axis is None else axis if isinstance(axis, list | tuple) else [axis]
        return [one % rank for one in given]

    def trace(self, call: Call, flow: Flow) -> Trace:
        channels, shape = flow.channels(), flow.shape()
        assert channels is not None  # asked only where the input may be a pair
        axes, own = self._axes(call, len(shape)), flow.graph.channel_axis if len(shape) == 4 else 1
        if 0 in axes:
            return stop(call, "turns the batch round")
        turned = [] if flow.is_vector() else [axis for axis in axes if axis != own]
        reason = _not_whole([shape[axis] for axis in turned], flow.options.octave)
        if reason:
            return stop(call, f"turns round {reason}")
        return carry(channels[::-1] if own in axes else channels)

    def rewrite(self, call: Call, values: list, build) -> list:
        return [build.dual(call, values)]


def _another_format(call: Call, flow: Flow) -> bool:
    """Whether the operation's data format is not that of the model's maps."""
    return (call.operation.data_format or keras.config.image_data_format()) != flow.graph.data_format


@register
class DepthToSpace(Rule):
    """``depth_to_space``: the channels that become one channel go low together."""

    operations = ("keras.src.ops.nn.DepthToSpace",)

    def trace(self, call: Call, flow: Flow) -> Trace:
        channels, operation = flow.channels(), call.operation
        assert channels is not None  # asked only where the input may be a pair
        if _another_format(call, flow):
            return stop(call, "another data format")
        if flow.portable_refusal():
            return stop(call, flow.portable_refusal())
        merged = channels.reshape(operation.block_size**2, -1)
        for other in merged[1:]:
            flow.tie(merged[0], other)
        return carry(merged[0])

    def rewrite(self, call: Call, values: list, build) -> list:
        return [fitted(call, build.dual(call, values), build)]


@register
class SpaceToDepth(Rule):
    """``space_to_depth``: every channel becomes several, on its own side."""

    operations = ("keras.src.ops.nn.SpaceToDepth",)

    def trace(self, call: Call, flow: Flow) -> Trace:
        channels, operation = flow.channels(), call.operation
        assert channels is not None  # asked only where the input may be a pair
        if _another_format(call, flow):
            return stop(call, "another data format")
        shape, whole = flow.shape(), flow.options.octave * operation.block_size
        reason = _not_whole([shape[axis] for axis in flow.graph.spatial_axes], whole)
        if reason:
            return stop(call, f"takes apart {reason}")
        return carry(np.tile(channels, operation.block_size**2))

    def rewrite(self, call: Call, values: list, build) -> list:
        return [build.dual(call, values)]


# -- reductions --------------------------------------------------------------------------------------------------------

# Over rows and columns these are the same for a map and for its upsampled self.
_OF_POSITIONS = "mean max min amax amin any all var std median ptp"
# Over the channels, how what comes of both groups is joined.
_JOINED: dict[str, Callable] = {
    "Mean": ops.add,
    "Sum": ops.add,
    "Max": ops.maximum,
    "Amax": ops.maximum,
    "Min": ops.minimum,
    "Amin": ops.minimum,
    "Any": ops.logical_or,
    "All": ops.logical_and,
}


@register
class Reduction(Rule):
    """``mean``, ``max``, ``sum`` ...: of rows and columns each map alone; of the channels both maps, then joined."""

    operations = class_names({"numpy": f"{_OF_POSITIONS} sum"})

    def _axes(self, call: Call, rank: int) -> list[int]:
        axis = call.operation.axis
        given = range(rank) if axis is None else axis if isinstance(axis, list | tuple) else [axis]
        return sorted(one % rank for one in given)

    def trace(self, call: Call, flow: Flow) -> Trace:
        shape = flow.shape()
        axes, name = self._axes(call, len(shape)), call.class_name
        if getattr(call.operation, "initial", None) is not None:
            return stop(call, "starts from a value of its own")
        if axes == list(flow.graph.spatial_axes) and len(shape) == 4:
            if name == "Sum" and not flow.sizes_known():
                return stop(call, "sums up rows and columns that are not known")
            return Trace((flow.channels(),), gains=not flow.is_vector())
        if len(shape) == 4 and axes == [flow.graph.channel_axis]:
            if name not in _JOINED:
                return stop(call, f"{name} of the channels can not be joined from those of two groups")
            if not flow.sizes_known():
                return stop(call, "reduces the channels of a map whose rows and columns are not known")
            return Trace((None,))
        return stop(call, f"reduces axes {axes}: neither rows and columns nor the channels alone")

    def rewrite(self, call: Call, values: list, build) -> list:
        if self._axes(call, 4) == [build.graph.channel_axis]:
            return [_over_channels(call, values[0], build)]
        (value,) = values
        high, low = build.settled(value)
        if value.split.octave > 1 and call.class_name in ("Mean", "Sum"):
            low = _weighted(call, high, low, value.split.octave, build)
        return [build.dual(call, [Pair.of([high, low], value.split)])]


def _weighted(call: Call, high, low, octave: int, build):
    """The low map, every cell as often as it has positions: the last ones of odd sizes have fewer."""
    axes = build.graph.spatial_axes
    sizes = [high.shape[axis] for axis in axes]
    if None in sizes:
        return low  # the mean, where the borders count for little
    counts = [np.minimum(octave, size - octave * np.arange(ceil_div(size, octave))) for size in sizes]
    weights = np.multiply.outer(*counts).astype("float32")
    if call.class_name == "Mean":
        weights /= weights.mean()
    if (weights == 1).all():
        return low
    shape = [1, 1, 1, 1]
    for axis, size in zip(axes, weights.shape, strict=True):
        shape[axis] = size
    return _named(ops.multiply(low, weights.reshape(shape).astype(low.dtype)), call, "-weights", build)


def _named(tensor, call: Call, suffix: str, build):
    """A raw operation's output, under a name of the call's."""
    tensor._keras_history.operation.name = build.name(f"{call.operation.name}{suffix}")
    return tensor


def _over_channels(call: Call, value: Pair, build):
    """Both groups reduced, the low result sampled up, then joined: what the merged map would have given."""
    axis, split, name = build.graph.channel_axis, value.split, type(call.operation).__name__
    parts = build.settled(value)
    function = {"Mean": ops.sum, **{key: getattr(ops, key.lower()) for key in _JOINED if key != "Mean"}}[name]
    reduced = [
        _named(function(part, axis=axis, keepdims=True), call, suffix, build)
        for part, suffix in zip(parts, SUFFIXES, strict=True)
    ]
    label = build.name(f"{call.operation.name}-up")
    boolean = reduced[1].dtype == "bool"
    if split.octave > 1 and boolean:
        reduced[1] = _named(ops.cast(reduced[1], "float32"), call, "-number", build)
    reduced[1] = portable.upsample_to(reduced[1], split.octave, reduced[0], build.data_format, label)
    if split.octave > 1 and boolean:
        reduced[1] = _named(ops.cast(reduced[1], "bool"), call, "-truth", build)
    joined = _named(_JOINED[name](*reduced), call, "-join", build)
    if name == "Mean":
        joined = _named(ops.multiply(joined, 1.0 / split.channels), call, "-mean", build)
    if not call.operation.keepdims:
        joined = _named(ops.squeeze(joined, axis=axis), call, "-squeeze", build)
    return joined
