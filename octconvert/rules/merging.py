"""Element-wise join of pairs -> the same join of the high maps and of the low maps, with all channels split alike.

Concatenate of pairs along the channels -> Concatenate of the high maps and of the low maps; a plain tensor is all high.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import keras
import numpy as np
from keras import layers
from keras.src.ops.numpy import Take  # it has no public name

from octconvert.layers import portable
from octconvert.model.graph import Call, CallGraph, Shape
from octconvert.octave.names import HIGH, LOW
from octconvert.octave.split import Pair
from octconvert.rules.base import ANY_RANK, Rule, Trace, carry, stop
from octconvert.rules.elementwise import class_names
from octconvert.rules.protocols import Arguments, Build, Flow, Value
from octconvert.rules.registry import register
from octconvert.rules.traits import Traits


@register
class ElementwiseJoinRule(Rule):
    """Add, Multiply ... of pairs: their channels are split alike, then joined map by map.

    A (batch, 1, 1, channels) gate is a pair of vectors and joins both maps. A plain tensor with one channel goes to
    both, averaged down for the low map; one with a number for each channel is cut.
    """

    ranks = ANY_RANK
    layers = (layers.Add, layers.Subtract, layers.Multiply, layers.Average, layers.Maximum, layers.Minimum)
    operations = class_names(
        {
            "numpy": """add arctan2 bitwise_and bitwise_left_shift bitwise_or bitwise_right_shift bitwise_xor
            divide divide_no_nan equal floor_divide fmax fmin fmod full_like greater greater_equal heaviside hypot
            isclose ldexp left_shift less less_equal logaddexp logaddexp2 logical_and logical_or logical_xor maximum
            minimum mod multiply nextafter not_equal power right_shift subtract true_divide where"""
        }
    )

    def trace(self, call: Call, flow: Flow) -> Trace:
        reason = "has several outputs" if len(call.outputs) > 1 else _refused_constant(call, flow)
        if reason:
            return stop(call, reason)
        if _may_add_to_columns(call, flow):
            return stop(call, "Keras may add the vector to the columns, in channels_first")
        channels = [flow.channels(i) for i in range(len(call.inputs))]
        arrays = [numbers for numbers in channels if numbers is not None]
        width = len(flow.output_shape()) and flow.output_shape()[flow.graph.axis_of_channels(flow.output_shape())]
        for i, numbers in enumerate(channels):
            if (
                numbers is None
                and not _goes_to_both(flow, i)
                and _own_axis(flow.shape(i), flow.output_shape(), flow.graph) is None
            ):
                return stop(call, f"joins a pair with the plain tensor of '{_producer(flow, i)}'")
            if numbers is not None and (len(numbers) != width or len(flow.shape(i)) != len(flow.output_shape())):
                return stop(call, "joins tensors of different numbers of channels")
        spread = all(numbers is None or flow.is_vector(i) for i, numbers in enumerate(channels))
        if spread and not flow.graph.is_vector(flow.output_shape()):
            return stop(call, "joins a plain map with a pair of vectors")
        for other in arrays[1:]:
            flow.tie(arrays[0], other)
        return carry(arrays[0])

    def rewrite(self, call: Call, values: list[Value], build: Build) -> list[Value]:
        return [self.joined(call, values, build)]

    def traits(self, operation: Any) -> Traits:
        return Traits(elementwise=isinstance(operation, layers.Layer))

    def merge_later(self, call: Call, values: list[Value], build: Build) -> list[Value] | None:
        """Whole-low operands of a sum with a plain tensor are added first, and their sum is merged."""
        if not isinstance(call.operation, layers.Add) or build.is_shared(call):
            return None
        lows = [value for value in values if isinstance(value, Pair) and _is_whole_low(value)]
        if len({(pair.split.octave, pair.split.size) for pair in lows}) != 1 or not 1 < len(lows) < len(values):
            return None
        name = build.name(f"{call.operation.name}{LOW}")
        total = layers.Add(name=name, dtype=call.operation.dtype_policy)([pair.low for pair in lows])
        added = {id(pair) for pair in lows}
        others = [build.plain(value) for value in values if id(value) not in added]
        return [build.clone(call)([*others, build.plain(replace(lows[0], low=total))])]

    def is_sum(self, call: Call) -> bool:
        return type(call.operation).__name__ == "Add" and len(call.inputs) > 1

    def joined(
        self,
        call: Call,
        values: list[Value],
        build: Build,
        weights: Callable[[np.ndarray], list[np.ndarray]] | None = None,
    ) -> Pair:
        """The call on both maps; a plain input with one channel is averaged down for the low map."""
        fitted = [
            value if isinstance(value, Pair) else _fitted(call, i, value, build) for i, value in enumerate(values)
        ]
        constants = None if isinstance(call.operation, keras.layers.Layer) else cut_constants
        return build.dual(call, fitted, weights, constants=constants)


def _fitted(call: Call, argument: int, value: keras.KerasTensor, build: Build) -> Value:
    """A plain input for both maps: cut with the channels, or averaged down for the low map."""
    split, shape, output = (
        build.pair_split(call),
        build.source_shape(call, argument),
        build.graph.tensors[call.outputs[0]],
    )
    axis = _own_axis(shape, output.shape, build.graph)
    if axis is not None and shape[axis] != 1:
        names = {part.suffix: build.name(f"{call.operation.name}-cut{argument}{part.suffix}") for part in split.parts}
        cut = [Take(axis=axis, name=names[part.suffix])(value, part.channels.tolist()) for part in split.parts]
        return Pair.of(cut, split)
    if split.octave == 1 or not build.graph.is_map(shape) or build.graph.is_vector(shape):
        return value
    name = build.name(f"{call.operation.name}-pool{argument}")
    pooled = portable.pool_octave(value, build.octave, build.data_format, name, build.causal)
    return Pair(None if split.whole_low else value, pooled, split)


def _own_axis(shape: Shape, output: Shape, graph: CallGraph) -> int | None:
    """The axis of the channels in an operand that has no extent beside them and the samples; else None."""
    missing, channels = len(output) - len(shape), graph.axis_of_channels(output)
    axis = channels - missing
    alone = all(size == 1 for i, size in enumerate(shape) if i != axis and i + missing > 0)
    return axis if alone and axis >= 0 and shape[axis] in (1, output[channels]) else None


def _is_whole_low(pair: Pair) -> bool:
    """Whether it is one map at the low resolution, with no padding left to be applied."""
    return pair.high is None and pair.pads is None and pair.split.octave != 1


def _may_add_to_columns(call: Call, flow: Flow) -> bool:
    """Whether Keras may add a vector to the columns of a map, which depends on sizes; see `bias_is_misplaced`."""
    if type(call.operation).__name__ not in ("Add", "Average") or flow.graph.data_format != "channels_first":
        return False
    spread = any(flow.is_vector(i) for i in range(len(call.inputs)))
    return spread and not flow.graph.is_vector(flow.output_shape())


def _constants(call: Call) -> list[Any]:
    """The call's arguments that are neither tensors nor plain values: arrays, and lists of numbers."""
    arguments = call.node.arguments
    values = [*arguments.args, *arguments.kwargs.values()]
    if isinstance(call.operation, keras.layers.Layer):
        values = keras.tree.flatten(values)
    return [value for value in values if not _is_plain(value)]


def _is_plain(value: Any) -> bool:
    return isinstance(value, (keras.KerasTensor, int, float, bool, str, type(None)))


def _refused_constant(call: Call, flow: Flow) -> str:
    """Why an argument besides tensors and numbers can not be cut with the channels; empty where there is none."""
    shape = flow.output_shape()
    for value in _constants(call):
        if isinstance(value, keras.Variable):
            return "joins a variable that is not a weight of a layer"
        try:
            array = _array(value)
        except Exception:  # whatever it is
            return f"joins a {type(value).__name__}"
        extents = [axis - array.ndim for axis in range(array.ndim) if array.shape[axis] != 1]
        channels = flow.graph.axis_of_channels(shape) - len(shape)
        if extents not in ([], [channels]):
            return f"joins a constant array of shape {array.shape}, which has more axes than that of the channels"
    return ""


def _array(value: Any) -> np.ndarray:
    """A constant argument as an array.

    Raises:
        Exception: it contains tensors, or entries that are not numbers.
    """
    if any(isinstance(leaf, (keras.KerasTensor, keras.Variable)) for leaf in keras.tree.flatten(value)):
        raise TypeError("tensors")
    array = np.asarray(keras.ops.convert_to_numpy(value))
    if array.dtype.kind not in "biuf":
        raise TypeError(str(array.dtype))
    return array


def cut_constants(args: list[Any], kwargs: dict[str, Any], channels: np.ndarray) -> Arguments:
    """The arguments of a call, with constant arrays cut to the entries of these channels."""

    def cut(value: Any) -> Any:
        if _is_plain(value):
            return value
        array = _array(value)
        axes = [axis for axis, size in enumerate(array.shape) if size != 1]
        return array.take(channels, axis=axes[0]) if axes else array

    return [cut(value) for value in args], {key: cut(value) for key, value in kwargs.items()}


def _goes_to_both(flow: Flow, argument: int) -> bool:
    """Whether a plain tensor fits both maps: it has one channel, or none, and a map can be averaged."""
    shape, dtype = flow.shape(argument), flow.graph.tensors[flow.call.inputs[argument]].dtype
    is_map = flow.graph.is_map(shape)
    if (shape and not is_map) or (is_map and shape[flow.graph.channel_axis] != 1):
        return False
    return len(shape) == 0 or flow.graph.is_vector(shape) or "float" in dtype


def _producer(flow: Flow, argument: int) -> str:
    return flow.graph.producer(flow.call.inputs[argument]).name


@register
class ConcatenationRule(Rule):
    """Concatenate along the channels: high maps with high maps, low with low; a plain tensor is all high."""

    ranks = ANY_RANK
    layers = (layers.Concatenate,)
    operations = ("keras.src.ops.numpy.Concatenate",)

    def trace(self, call: Call, flow: Flow) -> Trace:
        rank = len(flow.output_shape())
        axis = call.operation.axis % rank if call.operation.axis is not None else None
        if axis != flow.graph.axis_of_channels(flow.output_shape()):
            return stop(call, f"joins along axis {axis}, not the channels")
        parts = []
        for i in range(len(call.inputs)):
            numbers = flow.channels(i)
            parts.append(flow.high(flow.shape(i)[axis]) if numbers is None else numbers)
        return carry(np.concatenate(parts))

    def rewrite(self, call: Call, values: list[Value], build: Build) -> list[Value]:
        split = build.pair_split(call)
        pairs = [build.settled(value) if isinstance(value, Pair) else None for value in values]
        highs = [value if pair is None else pair.high for value, pair in zip(values, pairs, strict=True)]
        lows = [None if pair is None else pair.low for pair in pairs]
        maps = []
        for tensors, suffix in ((highs, HIGH), (lows, LOW)):
            present = [tensor for tensor in tensors if tensor is not None]
            if present:
                maps.append(present[0] if len(present) == 1 else _concatenate(call, present, suffix, build))
        return [Pair.of(maps, split)]

    def traits(self, operation: Any) -> Traits:
        return Traits(joins_axis=operation.axis if isinstance(operation, layers.Layer) else None)


def _concatenate(call: Call, tensors: list[keras.KerasTensor], suffix: str, build: Build) -> keras.KerasTensor:
    axis, name = call.operation.axis, build.name(f"{call.operation.name}{suffix}")
    dtype = call.operation.dtype_policy if isinstance(call.operation, keras.layers.Layer) else tensors[0].dtype
    return layers.Concatenate(axis=axis, name=name, dtype=dtype)(tensors)
