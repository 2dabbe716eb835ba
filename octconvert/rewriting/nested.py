"""Nested models and models in `TimeDistributed`: rewritten once, and called as often as in the source.

A nested model takes and returns the two tensors of each pair one after the other.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from itertools import islice
from typing import Any

import keras
from keras import KerasTensor, tree
from keras.src.models.functional import Functional

from octconvert.model.call_arguments import tensors_read
from octconvert.model.functional import nested_arguments
from octconvert.model.graph import Shape
from octconvert.octave.geometry import ceil_div, factors
from octconvert.octave.split import ChannelSplit, Pair
from octconvert.rewriting.context import RewriteContext
from octconvert.rewriting.names import layer_name
from octconvert.rewriting.record import Path
from octconvert.rules import Value

Values = dict[int, Value]
"""id of a Keras tensor of the source -> what it has become."""


@dataclass(frozen=True, eq=False)
class _Nested:
    """A rewritten nested model, with the split of each input and output; None where it is plain."""

    model: keras.Model
    inputs: list[ChannelSplit | None]
    outputs: list[ChannelSplit | None]


class NestedModels:
    """The nested models of one source.

    Args:
        context: of the whole model.
        walk: function that rewrites the calls of a model: (model, path, values of its inputs) -> values of all tensors.
    """

    def __init__(self, context: RewriteContext, walk: Callable[[Functional, Path, Values], Values]) -> None:
        self._context, self._walk = context, walk
        self._models: dict[int, _Nested] = {}
        self._timed: dict[int, keras.layers.TimeDistributed] = {}

    def call(self, node: Any, nested: Functional, path: Path, values: Values) -> list[Value]:
        """The rewritten nested model on the values of the source's call."""
        operation, pairs = node.operation, self._context.pairs
        if id(operation) not in self._models:
            self._models[id(operation)] = self._build(operation, nested, (*path, operation.name))
            self._note_losses(operation, nested)
        built = self._models[id(operation)]
        flat: list[KerasTensor] = []
        is_opened = id(operation) in self._context.graph.opened
        read = tensors_read(node) if is_opened else nested_arguments(nested, node)
        for tensor, split in zip(read, built.inputs, strict=True):
            value = values[id(tensor)]
            flat += [pairs.plain(value)] if split is None else pairs.settled(value).inputs
        kept = {"training"} if is_opened else set(node.arguments.kwargs) - {"inputs"}
        kwargs = {key: value for key, value in node.arguments.kwargs.items() if key in kept}
        outputs = built.model(
            flat if any(built.inputs) else tree.pack_sequence_as(nested._inputs_struct, flat), **kwargs
        )
        return _regroup(tree.flatten(outputs), built.outputs)

    def _note_losses(self, operation: Any, nested: Functional) -> None:
        """What of an opened layer is not in the model that it becomes."""
        block = self._context.graph.opened.get(id(operation))
        if block is None:
            return
        own, kept = ({id(weight) for weight in each.weights} for each in (self._context.graph.model, nested))
        lost = [weight for weight in operation.weights if id(weight) not in kept]
        changes = self._context.record.parameter_changes
        changes["opened", id(operation)] = sum(math.prod(weight.shape) for weight in lost)
        for weight in nested.weights:
            if id(weight) not in own:  # of a layer that Keras does not know of, as in an attribute of a plain object
                changes["outside", id(weight)] = -math.prod(weight.shape)
        if lost or not block.trains_alike:
            self._context.note(
                f"'{operation.name}' ({type(operation).__name__}) does other things in training than at inference, "
                "and was replaced by what it does at inference"
            )

    def call_time_distributed(self, node: Any, path: Path, values: Values) -> list[Value]:
        """The rewritten model inside a `TimeDistributed`, in the same wrapper."""
        wrapper, timed = node.operation, self._context.graph.in_time(node)
        assert timed is not None  # the graph was read from it
        if id(wrapper) not in self._timed:
            model = self._build(timed.layer, timed.model, (*path, wrapper.name), plain_ends=True).model
            self._timed[id(wrapper)] = keras.layers.TimeDistributed(
                model,
                name=self._context.own_name(wrapper.name),
                dtype=wrapper.dtype_policy,
                trainable=timed.trainable,
            )
        (read,) = node.arguments.keras_tensors
        args, kwargs = node.arguments.fill_in({id(read): self._context.pairs.plain(values[id(timed.tensor)])})
        return tree.flatten(self._timed[id(wrapper)](*args, **kwargs))

    def _build(self, operation: keras.Model, nested: Functional, path: Path, plain_ends: bool = False) -> _Nested:
        graph, splits = self._context.graph, self._context.planned.layout.splits
        name, inputs, values = self._context.own_name(operation.name), [], {}
        splits_in: list[ChannelSplit | None] = []
        for tensor in nested.inputs:
            number = graph.values[path, id(tensor)]
            split, shape = splits.get(number), graph.tensors[number].built_shape
            parts = [input_like(tensor, shape)] if split is None else self._pair_inputs(tensor, shape, split)
            values[id(tensor)] = parts[0] if split is None else _pair(parts, split)
            inputs += parts
            splits_in.append(split)
        numbers = [graph.values[path, id(tensor)] for tensor in nested.outputs]
        splits_out = [None if plain_ends else splits.get(number) for number in numbers]
        outputs: list[KerasTensor] = []
        with self._context.names.scope(nested, path):
            self._walk(nested, path, values)
            for tensor, split in zip(nested.outputs, splits_out, strict=True):
                value, pairs = values[id(tensor)], self._context.pairs
                outputs += [pairs.plain(value)] if split is None else pairs.settled(value).inputs
        model = keras.Model(
            inputs if any(splits_in) else tree.pack_sequence_as(nested._inputs_struct, inputs),
            outputs if any(splits_out) else tree.pack_sequence_as(nested._outputs_struct, outputs),
            name=name,
            trainable=operation.trainable,
        )
        return _Nested(model, splits_in, splits_out)

    def _pair_inputs(self, tensor: KerasTensor, shape: Shape, split: ChannelSplit) -> list[KerasTensor]:
        graph, inputs = self._context.graph, []
        channel_axis = graph.axis_of_channels(shape)
        for suffix, channels, cell in split.parts:
            part = list(shape)
            if graph.is_map(shape):
                for axis, block in zip(graph.spatial_axes_of(shape), factors(cell, len(shape) - 2), strict=True):
                    size = part[axis]
                    part[axis] = None if size is None else ceil_div(size, block)
            part[channel_axis] = len(channels)
            inputs.append(keras.Input(batch_shape=tuple(part), dtype=tensor.dtype, name=layer_name(tensor) + suffix))
        if split.has_run_size:
            inputs.append(keras.Input(batch_shape=(2,), dtype="int32", name=f"{layer_name(tensor)}-size"))
        return inputs


def input_like(tensor: KerasTensor, shape: Shape | None = None) -> KerasTensor:
    """An input of the new model for one of the source's, with another shape where one is passed."""
    layer = tensor._keras_history.operation
    return keras.Input(
        batch_shape=tensor.shape if shape is None else shape,
        dtype=tensor.dtype,
        sparse=bool(tensor.sparse),
        name=layer.name,
        optional=getattr(layer, "optional", False),
    )


def _regroup(tensors: list[KerasTensor], splits: list[ChannelSplit | None]) -> list[Value]:
    """Flat tensors back to values."""
    rest = iter(tensors)
    return [next(rest) if split is None else _pair(list(islice(rest, _tensors(split))), split) for split in splits]


def _tensors(split: ChannelSplit) -> int:
    """How many tensors cross the border of a nested model for one of the source."""
    return len(split.parts) + split.has_run_size


def _pair(tensors: list[KerasTensor], split: ChannelSplit) -> Pair:
    """From the tensors that crossed the border."""
    pair = Pair.of(tensors[: len(split.parts)], split)
    return replace(pair, run_size=tensors[-1]) if split.has_run_size else pair
