"""`Program` -> Keras model of built-in layers, in the forms that a runtime likes best (`Forms`)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import keras
import numpy as np
from keras import KerasTensor, layers, ops, tree

from octconvert.inference import program as p
from octconvert.inference.convolution_layers import convolution, scaling
from octconvert.inference.pooling_layers import average_pooling, global_pooling, max_pooling
from octconvert.inference.precision import FLOAT32, float32_config, input_dtype, is_other
from octconvert.inference.step_forms import Forms
from octconvert.inference.upsampling import reshaped, spread_sum, upsampled
from octconvert.layers import portable
from octconvert.layers.spatial import channel_axis, spatial_axes
from octconvert.model.copying import config_of, copy_operation, finalize, rebuild, renamed
from octconvert.model.functional import functional_of
from octconvert.model.graph import CallGraph

Inputs = Sequence[KerasTensor]
Activation = Callable | None


def emitted(program: p.Program, graph: CallGraph, forms: Forms) -> keras.Model:
    """The Keras model; its inputs and outputs have the structure, names and dtypes of the graph's model."""
    return Emitter(program, graph, forms).model()


class Emitter:
    def __init__(self, program: p.Program, graph: CallGraph, forms: Forms):
        self.program, self.graph, self.forms = program, graph, forms
        self.data_format, self.ranks = graph.data_format, program.ranks
        self.uses = program.uses()
        self.tensors: dict[p.Node, Any] = {}
        self._layers: dict[Any, Any] = {}
        self._calls: dict[tuple, list] = {}
        self._names: set[str] = set()
        self._ends: dict[str, Any] = {}
        self._last: dict[p.Node, str] = {}
        self._granted: str | None = None
        self._fused = self._fused_activations()

    def _fused_activations(self) -> set[p.Node]:
        """Convolutions whose one reader is their activation."""
        activated = (node.inputs[0] for node in self.program.live() if isinstance(node.step, p.ActivationStep))
        return {node for node in activated if self.uses[node] == 1 and isinstance(node.step, p.ConvolutionStep)}

    def spatial_axes_of(self, x: KerasTensor) -> tuple[int, ...]:
        """Of a map."""
        return spatial_axes(self.data_format, len(x.shape) - 2)

    def axis_of_channels(self, x: KerasTensor) -> int:
        """Of a map; the last axis of any other tensor."""
        rank = len(x.shape) - 2
        return channel_axis(self.data_format, rank) if rank in self.ranks else -1

    def model(self) -> keras.Model:
        functional = functional_of(self.graph.model)
        assert functional is not None  # the graph was read from it
        names = [tensor._keras_history.operation.name for tensor in functional.outputs]
        self._names.update(names)
        ends = zip(self.program.outputs, names, strict=True)
        self._last = {node: name for node, name in ends if names.count(name) == 1}
        skipped = self._fused | self._spread()
        for node in self.program.live():
            if node not in skipped:
                self.tensors[node] = self._emit(node)
        inputs = [self._source(number) for number in self.graph.inputs]
        outputs = [
            self._named(self.tensors[node], name) for node, name in zip(self.program.outputs, names, strict=True)
        ]
        return keras.Model(
            tree.pack_sequence_as(functional._inputs_struct, inputs),
            tree.pack_sequence_as(functional._outputs_struct, outputs),
            name=self.graph.model.name,
        )

    def _source(self, number: int) -> KerasTensor:
        return next(
            tensor
            for node, tensor in self.tensors.items()
            if isinstance(node.step, p.InputStep) and node.step.tensor == number
        )

    def _named(self, output: KerasTensor, name: str) -> KerasTensor:
        """Outputs go by the names of their layers, whose losses are keyed by them; a shared layer's have one name."""
        if output._keras_history.operation.name == name:
            return output
        if name not in self._ends:
            self._ends[name] = layers.Identity(name=name, dtype=output.dtype)
        return self._ends[name](output)

    def _spread(self) -> set[p.Node]:
        """Upsamplings that are a part of the sum that reads them."""
        if self.forms.upsampling not in ("broadcast", "rows"):
            return set()
        spread = set()
        for node in self.program.live():
            if isinstance(node.step, p.AdditionStep) and len(node.inputs) == 2:
                spread |= {source for source in node.inputs if self._is_spread(source)}
        return spread

    def _is_spread(self, node: p.Node) -> bool:
        step = node.step
        if not isinstance(step, p.UpsamplingStep) or self.data_format != "channels_last" or self.uses[node] != 1:
            return False
        return not any(size % factor for size, factor in zip(step.sizes, step.factors, strict=True))

    def _emit(self, node: p.Node) -> KerasTensor:
        name = self._last.get(node)
        if isinstance(node.step, _NAMED) and name is not None:
            self._granted, node = name, replace(node, name=name)
        output = _EMIT[type(node.step)](self, node, node.step, [self.tensors.get(n) for n in node.inputs])
        return output if isinstance(output, KerasTensor) else ops.convert_to_numpy(output)  # of arrays alone

    def name(self, requested: str) -> str:
        """``requested``, or the first of ``requested-2`` ... that is free; the name of an output is kept for it."""
        if requested == self._granted:
            self._granted = None
            return requested
        number, name = 1, requested
        while name in self._names:
            number += 1
            name = f"{requested}-{number}"
        self._names.add(name)
        return name

    def operation(self, requested: str, output: KerasTensor) -> KerasTensor:
        """The output of a raw operation, which Keras has named by a count that layers of the model may have had."""
        output._keras_history.operation.name = self.name(requested)
        return output

    def layer(self, key: tuple, make: Callable[[], Any], fill: Callable[[Any], None], x: KerasTensor) -> KerasTensor:
        """The layer of that key, called; it is created, and its weights set, at its first call."""
        new = key not in self._layers
        if new:
            self._layers[key] = make()
        output = self._layers[key](x)
        if new:
            fill(self._layers[key])
        return output


def _input(emitter: Emitter, node: p.Node, step: p.InputStep, inputs: Inputs) -> KerasTensor:
    tensor = emitter.graph.tensors[step.tensor]
    call = emitter.graph.producer(step.tensor)
    more = {
        "sparse": bool(getattr(call.operation, "sparse", False)),
        "optional": getattr(call.operation, "optional", False),
    }
    dtype = input_dtype(tensor.dtype, step.policy)
    return keras.Input(batch_shape=tensor.shape, dtype=dtype, name=node.name, **more)


def _activation(emitter: Emitter, node: p.Node, step: p.ActivationStep, inputs: Inputs) -> KerasTensor:
    before = node.inputs[0]
    if before in emitter._fused:
        read = [emitter.tensors[source] for source in before.inputs]
        named = replace(before, name=node.name) if node.name == emitter._granted else before
        fused: Any = before.step
        return convolution(emitter, named, fused, read, step.function)
    return layers.Activation(step.function, dtype=step.policy, name=emitter.name(node.name))(inputs[0])


def _addition(emitter: Emitter, node: p.Node, step: p.AdditionStep, inputs: Inputs) -> KerasTensor:
    spread = [source for source in node.inputs if emitter._is_spread(source)] if len(node.inputs) == 2 else []
    if not spread or emitter.forms.upsampling not in ("broadcast", "rows"):
        return layers.Add(dtype=step.policy, name=emitter.name(node.name))(inputs)
    low = spread[0]
    others = [tensor for source, tensor in zip(node.inputs, inputs, strict=True) if source is not low]
    high = others[0]
    if high is None:  # the other one is spread, too
        high = upsampled(emitter, spread[1], spread[1].step, [emitter.tensors[spread[1].inputs[0]]])
    up: Any = low.step
    return spread_sum(emitter, node, step.policy, high, emitter.tensors[low.inputs[0]], up)


def _image(emitter: Emitter, node: p.Node, step: p.ImageStep, inputs: Inputs) -> KerasTensor:
    shape = list(inputs[0].shape)
    shape.insert(emitter.spatial_axes_of(inputs[0])[0], 1)
    return reshaped(emitter, inputs[0], shape[1:], node.name, inputs[0].dtype)


def _signal(emitter: Emitter, node: p.Node, step: p.SignalStep, inputs: Inputs) -> KerasTensor:
    shape = list(inputs[0].shape)
    del shape[emitter.spatial_axes_of(inputs[0])[0]]
    return reshaped(emitter, inputs[0], shape[1:], node.name, inputs[0].dtype)


def _padding(emitter: Emitter, node: p.Node, step: p.PaddingStep, inputs: Inputs) -> KerasTensor:
    return portable.pad_or_crop(inputs[0], step.pads, emitter.data_format, emitter.name(node.name))


def _depth_to_space(emitter: Emitter, node: p.Node, step: p.DepthToSpaceStep, inputs: Inputs) -> KerasTensor:
    return emitter.operation(node.name, ops.depth_to_space(inputs[0], step.block, emitter.data_format))


def _end_repeating(emitter: Emitter, node: p.Node, step: p.EndRepeatingStep, inputs: Inputs) -> KerasTensor:
    return portable.repeat_edges(inputs[0], step.counts, emitter.data_format, emitter.name(node.name))


def _shifted_average(emitter: Emitter, node: p.Node, step: p.ShiftedAverageStep, inputs: Inputs) -> KerasTensor:
    name = emitter.name(node.name)
    return portable.fixed_filter(inputs[0], step.weights, step.octave, emitter.data_format, name)


def _place_scaling(emitter: Emitter, node: p.Node, step: p.PlaceScalingStep, inputs: Inputs) -> KerasTensor:
    axes = [0, emitter.axis_of_channels(inputs[0]) % len(inputs[0].shape)]
    scale = np.expand_dims(step.scale.astype("float32"), axes)
    return emitter.operation(node.name, ops.multiply(inputs[0], scale.astype(inputs[0].dtype)))


def _joining(emitter: Emitter, node: p.Node, step: p.JoiningStep, inputs: Inputs) -> KerasTensor:
    axis = emitter.axis_of_channels(inputs[0])
    return layers.Concatenate(axis=axis, dtype=step.policy, name=emitter.name(node.name))(inputs)


def _part(emitter: Emitter, node: p.Node, step: p.PartStep, inputs: Inputs) -> KerasTensor:
    index = [slice(None)] * len(inputs[0].shape)
    index[emitter.axis_of_channels(inputs[0])] = slice(step.start, step.stop)
    return emitter.operation(node.name, inputs[0][tuple(index)])


def _reordering(emitter: Emitter, node: p.Node, step: p.ReorderingStep, inputs: Inputs) -> KerasTensor:
    axis = emitter.axis_of_channels(inputs[0])
    return emitter.operation(node.name, ops.take(inputs[0], step.order.tolist(), axis=axis))


def _reshaping(emitter: Emitter, node: p.Node, step: p.ReshapingStep, inputs: Inputs) -> KerasTensor:
    return emitter.operation(node.name, ops.reshape(inputs[0], step.shape))


def _other(emitter: Emitter, node: p.Node, step: p.CallStep, inputs: Inputs) -> KerasTensor:
    call, key = step.call, (id(step.call.node), *map(id, inputs))
    if key not in emitter._calls:
        source, arguments = call.operation, call.node.arguments
        values = {id(tensor): value for tensor, value in zip(arguments.keras_tensors, inputs, strict=True)}
        args, kwargs = arguments.fill_in(values)
        kwargs |= {"training": False} if kwargs.get("training") else {}
        new = id(source) not in emitter._layers
        if new:
            emitter._layers[id(source)] = _copied_layer(source, emitter.name(node.name), step.policy == FLOAT32)
        copy = emitter._layers[id(source)]
        is_constant = not any(isinstance(x, KerasTensor) for x in inputs)
        outputs = copy(*args, **kwargs) if is_constant else portable.called(copy, *args, **kwargs)
        emitter._calls[key] = tree.flatten(outputs)
        if new and isinstance(source, keras.layers.Layer):
            copy.set_weights(source.get_weights())
            finalize(copy)
    return emitter._calls[key][step.output]


def _copied_layer(source: Any, name: str, in_float32: bool) -> Any:
    if not in_float32:
        return renamed(source, name)
    if isinstance(source, keras.layers.Layer):
        return rebuild(type(source), float32_config({**config_of(source), "name": name}))
    return copy_operation(source, name, {"dtype": FLOAT32} if is_other(getattr(source, "dtype", None)) else None)


_NAMED = (p.ConvolutionStep, p.ActivationStep, p.CallStep)
"""Steps whose last layer can have the name of an output."""
_EMIT: dict[type, Callable] = {
    p.InputStep: _input,
    p.ConvolutionStep: convolution,
    p.ActivationStep: _activation,
    p.ScalingStep: scaling,
    p.AdditionStep: _addition,
    p.UpsamplingStep: upsampled,
    p.AveragePoolingStep: average_pooling,
    p.MaxPoolingStep: max_pooling,
    p.GlobalPoolingStep: global_pooling,
    p.ImageStep: _image,
    p.SignalStep: _signal,
    p.PaddingStep: _padding,
    p.DepthToSpaceStep: _depth_to_space,
    p.EndRepeatingStep: _end_repeating,
    p.ShiftedAverageStep: _shifted_average,
    p.PlaceScalingStep: _place_scaling,
    p.JoiningStep: _joining,
    p.PartStep: _part,
    p.ReorderingStep: _reordering,
    p.ReshapingStep: _reshaping,
    p.CallStep: _other,
    p.ConstantStep: lambda emitter, node, step, inputs: step.value,
}
