"""Raw operation of a pair -> the layer that computes the same, by the rule of that layer.

``keras.ops.max_pool`` -> MaxPooling2D, ``repeat`` -> UpSampling2D, ``normalize`` -> UnitNormalization, ``reshape`` ->
Reshape. ``batch_normalization`` by constants -> the same of each map, with the constants cut with the channels.
"""

from __future__ import annotations

import weakref
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import keras
import numpy as np
from keras import Layer, layers
from keras.src.ops.symbolic_arguments import SymbolicArguments

from octconvert.model.graph import Call, CallGraph
from octconvert.rules.base import ANY_RANK, Rule, Trace, carry, stop
from octconvert.rules.merging import cut_constants
from octconvert.rules.protocols import Build, Config, Flow, Value
from octconvert.rules.registry import find_rule, register
from octconvert.rules.traits import PoolingTraits, Traits

# The layer for each raw operation: one, so that it has one name and one copy.
_LAYERS: weakref.WeakKeyDictionary[Any, Layer] = weakref.WeakKeyDictionary()


class _AsLayerRule(Rule):
    """A raw operation of one tensor, as the layer that computes the same."""

    ranks = ANY_RANK

    def layer(self, call: Call, graph: CallGraph) -> Layer | str:
        """The layer, or why there is none."""
        raise NotImplementedError

    def _call(self, call: Call, graph: CallGraph) -> Call | str:
        if call.operation not in _LAYERS:
            layer = self.layer(call, graph)
            if isinstance(layer, str):
                return layer
            _LAYERS[call.operation] = layer
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

    def rewrite(self, call: Call, values: list[Value], build: Build) -> list[Value]:
        own = self._call(call, build.graph)
        assert not isinstance(own, str)  # the trace would have stopped
        rule = find_rule(own.operation)
        assert rule is not None
        return rule.rewrite(own, values, build)


def _shared(call: Call) -> Config:
    tensor = call.node.arguments.keras_tensors[0]
    return {"name": call.operation.name, "dtype": tensor.dtype}


@register
class RawPoolingRule(_AsLayerRule):
    """``keras.ops.max_pool`` and ``average_pool``."""

    operations = ("keras.src.ops.nn.MaxPool", "keras.src.ops.nn.AveragePool")

    def layer(self, call: Call, graph: CallGraph) -> Layer | str:
        operation, shape = call.operation, call.node.outputs[0].shape
        if not graph.is_map(shape):
            return f"pools a tensor of {len(shape)} axes"
        kind = "MaxPooling" if type(operation).__name__ == "MaxPool" else "AveragePooling"
        layer_class = getattr(layers, f"{kind}{graph.rank}D")
        data_format = operation.data_format or keras.config.image_data_format()
        return layer_class(operation.pool_size, operation.strides, operation.padding, data_format, **_shared(call))

    def traits(self, operation: Any) -> Traits:
        kind = "max" if type(operation).__name__ == "MaxPool" else "average"
        size, strides = (
            np.atleast_1d(each).tolist() for each in (operation.pool_size, operation.strides or operation.pool_size)
        )
        return Traits(pooling=PoolingTraits(kind, tuple(size), tuple(strides), operation.padding))


@register
class RepeatRule(_AsLayerRule):
    """``keras.ops.repeat`` of rows or of columns: nearest upsampling."""

    operations = ("keras.src.ops.numpy.Repeat",)

    def layer(self, call: Call, graph: CallGraph) -> Layer | str:
        axis, times = call.operation.axis, call.operation.repeats
        shape = call.node.outputs[0].shape
        if axis is None or not graph.is_map(shape) or axis % len(shape) not in graph.spatial_axes:
            return "repeats another axis than rows or columns"
        if np.ndim(times) or int(times) < 1:
            return "repeats rows or columns different numbers of times"
        size = [int(times) if axis % len(shape) == one else 1 for one in graph.spatial_axes]
        if graph.rank == 1:  # that layer has no data format
            return layers.UpSampling1D(size[0], **_shared(call))
        return getattr(layers, f"UpSampling{graph.rank}D")(tuple(size), data_format=graph.data_format, **_shared(call))


@register
class RawNormalizeRule(_AsLayerRule):
    """``keras.ops.normalize`` by the Euclidean norm."""

    operations = ("keras.src.ops.nn.Normalize",)

    def layer(self, call: Call, graph: CallGraph) -> Layer | str:
        operation = call.operation
        if operation.order != 2 or operation.epsilon not in (None, 1e-12):
            return f"normalises by the norm of order {operation.order} and epsilon {operation.epsilon}"
        return layers.UnitNormalization(axis=operation.axis, **_shared(call))


@register
class RawReshapingRule(_AsLayerRule):
    """``keras.ops.reshape``, ``squeeze`` and ``x[:, None, None]`` between vectors and 1x1 maps."""

    operations = ("keras.src.ops.numpy.Reshape", "keras.src.ops.numpy.Squeeze")

    def layer(self, call: Call, graph: CallGraph) -> Layer | str:
        source, target = (tuple(t.shape) for t in (call.node.arguments.keras_tensors[0], call.node.outputs[0]))
        return reshaping(call, source, target)

    def traits(self, operation: Any) -> Traits:
        return Traits(passes_values=True)


def reshaping(call: Call, source: tuple, target: tuple) -> Layer | str:
    """The Reshape from shape ``source`` to shape ``target``, or why there is none."""
    if source[0] != target[0] or None in target[1:]:
        return f"{call.class_name} moves the batch axis, or makes a shape that is open"
    return layers.Reshape(target[1:], **_shared(call))


@register
class RawBatchNormalizationRule(Rule):
    """``keras.ops.batch_normalization`` by constants: they are cut with the channels."""

    ranks = ANY_RANK
    operations = ("keras.src.ops.nn.BatchNorm",)

    def trace(self, call: Call, flow: Flow) -> Trace:
        rank, channels = len(flow.shape()), flow.channels()
        assert channels is not None  # called only where the first input may be a pair
        arguments = call.node.arguments
        others = [value for value in (*arguments.args[1:], *arguments.kwargs.values()) if value is not None]
        if call.operation.axis % rank != flow.graph.axis_of_channels(flow.shape()):
            return stop(call, f"normalises axis {call.operation.axis % rank}, not the channels")
        if any(isinstance(value, (keras.KerasTensor, keras.Variable)) for value in others):
            return stop(call, "normalises by tensors, not by constants")
        if any(np.shape(keras.ops.convert_to_numpy(value)) != (len(channels),) for value in others):
            return stop(call, "its constants have other axes than the channels")
        return carry(channels)

    def rewrite(self, call: Call, values: list[Value], build: Build) -> list[Value]:
        return [build.dual(call, values, constants=cut_constants)]
