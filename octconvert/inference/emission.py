"""`Program` -> Keras model of built-in layers, in the forms that a runtime likes best (`Forms`)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import keras
import numpy as np
from keras import layers, ops, tree

from octconvert.inference import program as p
from octconvert.inference.precision import FLOAT32, float32_config, input_dtype, is_other
from octconvert.layers import portable
from octconvert.layers.base import bias_is_misplaced
from octconvert.model.copying import config_of, copy_operation, rebuild, renamed, settle
from octconvert.model.functional import functional_of
from octconvert.model.graph import CallGraph
from octconvert.rules.traits import DENSE, DEPTHWISE, TRANSPOSED

PATHS = ("inputs", "outputs", "separate")
UPSAMPLINGS = ("repeat", "resize", "copies", "broadcast", "rows")


@dataclass(frozen=True)
class Forms:
    """How steps are written that can be written in several ways; the best differs from runtime to runtime.

    Attributes:
        paths: of octave convolutions. 'separate': one convolution each; 'inputs': one over concatenated inputs where
            two would be added; 'outputs': one where two read the low map, its channels cut.
        upsampling: of the low part of a high output. 'repeat': UpSampling2D; 'resize': Resizing, nearest; 'copies':
            the map joined with itself; 'broadcast': no upsampled map, but a sum over views of five axes; 'rows':
            columns copied, rows broadcast.
    """

    paths: str = "inputs"
    upsampling: str = "broadcast"


def emitted(program: p.Program, graph: CallGraph, forms: Forms):
    """The Keras model; its inputs and outputs have the structure, names and dtypes of the graph's model."""
    return _Emitter(program, graph, forms).model()


class _Emitter:
    def __init__(self, program: p.Program, graph: CallGraph, forms: Forms):
        self.program, self.graph, self.forms = program, graph, forms
        self.data_format, self.axis = graph.data_format, graph.channel_axis
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
        found = (node.inputs[0] for node in self.program.live() if isinstance(node.step, p.ActivationStep))
        return {node for node in found if self.uses[node] == 1 and isinstance(node.step, p.ConvolutionStep)}

    def model(self):
        functional = functional_of(self.graph.model)
        assert functional is not None  # the graph was read from it
        wanted = [tensor._keras_history.operation.name for tensor in functional.outputs]
        self._names.update(wanted)
        ends = zip(self.program.outputs, wanted, strict=True)
        self._last = {node: name for node, name in ends if wanted.count(name) == 1}
        skipped = self._fused | self._spread()
        for node in self.program.live():
            if node not in skipped:
                self.tensors[node] = self._emit(node)
        inputs = [self._source(number) for number in self.graph.inputs]
        outputs = [
            self._named(self.tensors[node], name) for node, name in zip(self.program.outputs, wanted, strict=True)
        ]
        return keras.Model(
            tree.pack_sequence_as(functional._inputs_struct, inputs),
            tree.pack_sequence_as(functional._outputs_struct, outputs),
            name=self.graph.model.name,
        )

    def _source(self, number: int):
        return next(
            tensor
            for node, tensor in self.tensors.items()
            if isinstance(node.step, p.InputStep) and node.step.tensor == number
        )

    def _named(self, output, name: str):
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
        found = set()
        for node in self.program.live():
            if isinstance(node.step, p.AdditionStep) and len(node.inputs) == 2:
                found |= {given for given in node.inputs if self._is_spread(given)}
        return found

    def _is_spread(self, node: p.Node) -> bool:
        step = node.step
        if not isinstance(step, p.UpsamplingStep) or self.data_format != "channels_last" or self.uses[node] != 1:
            return False
        return not any(size % step.octave for size in step.sizes)

    def _emit(self, node: p.Node):
        name = self._last.get(node)
        if isinstance(node.step, (p.ConvolutionStep, p.ActivationStep, p.CallStep)) and name is not None:
            self._granted, node = name, replace(node, name=name)
        return _EMIT[type(node.step)](self, node, node.step, [self.tensors.get(n) for n in node.inputs])

    def name(self, wanted: str) -> str:
        """``wanted``, or the first of ``wanted-2`` ... that is free; the name of an output is kept for it."""
        if wanted == self._granted:
            self._granted = None
            return wanted
        number, name = 1, wanted
        while name in self._names:
            number += 1
            name = f"{wanted}-{number}"
        self._names.add(name)
        return name

    def layer(self, key: tuple, make: Callable[[], Any], fill: Callable[[Any], None], x):
        """The layer of that key, called; made and filled at its first call."""
        new = key not in self._layers
        if new:
            self._layers[key] = make()
        output = self._layers[key](x)
        if new:
            fill(self._layers[key])
        return output


def _input(emitter: _Emitter, node: p.Node, step: p.InputStep, inputs):
    tensor = emitter.graph.tensors[step.tensor]
    call = emitter.graph.producer(step.tensor)
    more = {
        "sparse": bool(getattr(call.operation, "sparse", False)),
        "optional": getattr(call.operation, "optional", False),
    }
    dtype = input_dtype(tensor.dtype, step.policy)
    return keras.Input(batch_shape=tensor.shape, dtype=dtype, name=node.name, **more)


def _convolution(emitter: _Emitter, node: p.Node, step: Any, inputs, activation=None):
    if step.bias is not None and _must_be_apart(emitter, step, inputs[0]):
        return _with_bias_apart(emitter, node, step, inputs, activation)

    def fill(layer):
        layer.set_weights([step.kernel] if step.bias is None else [step.kernel, step.bias])

    make = lambda: _convolution_layer(emitter, step, activation, emitter.name(node.name))  # noqa: E731
    return emitter.layer((*step.key, activation), make, fill, inputs[0])


def _convolution_layer(emitter: _Emitter, step: Any, activation, name: str | None = None):
    shape = step.kernel.shape
    shared = {"activation": activation, "use_bias": step.bias is not None, "dtype": step.policy, "name": name}
    if step.kind == DENSE:
        return layers.Dense(shape[-1], **shared)
    shared |= {
        "strides": step.strides,
        "padding": step.padding,
        "dilation_rate": step.dilation,
        "data_format": emitter.data_format,
    }
    if step.kind == DEPTHWISE:
        return layers.DepthwiseConv2D(shape[:2], depth_multiplier=shape[-1], **shared)
    if step.kind == TRANSPOSED:
        return layers.Conv2DTranspose(shape[-2], shape[:2], **shared, **dict(step.more))
    return layers.Conv2D(shape[-1], shape[:2], groups=step.groups, **shared)


def _must_be_apart(emitter: _Emitter, step: Any, x) -> bool:
    """Whether Keras would misplace the bias, or might, at a number of columns that is not known yet."""
    if step.kind == DENSE or emitter.data_format != "channels_first":
        return False
    shape = _convolution_layer(emitter, step, None).compute_output_shape(x.shape)
    return shape[-1] is None or bias_is_misplaced(shape, emitter.data_format)


def _with_bias_apart(emitter: _Emitter, node: p.Node, step: Any, inputs, activation):
    """The bias as the offset of a normalisation."""
    bare = replace(node, name=f"{node.name}-bare")
    x = _convolution(emitter, bare, replace(step, bias=None), inputs)
    numbers = step.bias.astype("float64")
    offset = p.ScalingStep(step.policy, np.ones_like(numbers), numbers)
    if activation is None:
        return _scaling(emitter, node, offset, [x])
    x = _scaling(emitter, replace(node, name=f"{node.name}-bias"), offset, [x])
    return layers.Activation(activation, dtype=step.policy, name=emitter.name(node.name))(x)


def _activation(emitter: _Emitter, node: p.Node, step: p.ActivationStep, inputs):
    before = node.inputs[0]
    if before in emitter._fused:
        read = [emitter.tensors[given] for given in before.inputs]
        named = replace(before, name=node.name) if node.name == emitter._granted else before
        return _convolution(emitter, named, before.step, read, step.function)
    return layers.Activation(step.function, dtype=step.policy, name=emitter.name(node.name))(inputs[0])


def _scaling(emitter: _Emitter, node: p.Node, step: p.ScalingStep, inputs):
    x = inputs[0]
    axis = emitter.axis if len(x.shape) == 4 else -1
    layer = layers.BatchNormalization(axis=axis, epsilon=1e-3, dtype=step.policy, name=emitter.name(node.name))
    output = layer(x)
    zeros = step.offset * 0.0
    layer.set_weights([step.scale, step.offset, zeros, zeros + (1 - 1e-3)])
    return output


def _addition(emitter: _Emitter, node: p.Node, step: p.AdditionStep, inputs):
    spread = [given for given in node.inputs if emitter._is_spread(given)] if len(node.inputs) == 2 else []
    if not spread or emitter.forms.upsampling not in ("broadcast", "rows"):
        return layers.Add(dtype=step.policy, name=emitter.name(node.name))(inputs)
    low = spread[0]
    others = [tensor for given, tensor in zip(node.inputs, inputs, strict=True) if given is not low]
    high = others[0] if others[0] is not None else _upsampling(emitter, spread[1], spread[1].step, [])
    return _spread_sum(emitter, node, step, high, emitter.tensors[low.inputs[0]], low.step)


def _spread_sum(emitter: _Emitter, node: p.Node, step, high, low, up: Any):
    """``high + upsample(low)`` over views: no upsampled map."""
    octave, (rows, columns) = up.octave, up.sizes
    r, c, channels = rows // octave, columns // octave, high.shape[-1]
    reshape = lambda x, shape, part: _reshaped(emitter, x, shape, f"{node.name}-{part}", step.policy)  # noqa: E731
    if emitter.forms.upsampling == "rows":
        low = layers.Concatenate(name=emitter.name(f"{node.name}-copies"), dtype=step.policy)([low] * octave)
        shapes: Any = (r, octave, columns * channels), (r, 1, columns * channels)
    else:
        shapes = (r, octave, c, octave, channels), (r, 1, c, 1, channels)
    parts = [reshape(x, shape, part) for x, shape, part in zip((high, low), shapes, ("view", "cells"), strict=True)]
    total = layers.Add(dtype=step.policy, name=emitter.name(node.name))(parts)
    return reshape(total, (rows, columns, channels), "map")


def _reshaped(emitter: _Emitter, x, shape, name: str, policy):
    return layers.Reshape(shape, dtype=policy, name=emitter.name(name))(x)


def _upsampling(emitter: _Emitter, node: p.Node, step: Any, inputs):
    x, octave, form = inputs[0], step.octave, emitter.forms.upsampling
    axes = emitter.graph.spatial_axes
    sizes = [x.shape[axis] * octave for axis in axes]
    if emitter.data_format != "channels_last" or form == "repeat":
        x = layers.UpSampling2D(
            octave, data_format=emitter.data_format, dtype=step.policy, name=emitter.name(node.name)
        )(x)
    elif form == "resize":
        x = layers.Resizing(
            *sizes,
            interpolation="nearest",
            data_format=emitter.data_format,
            dtype=step.policy,
            name=emitter.name(node.name),
        )(x)
    else:
        x = _copied(emitter, node, step, x)
    pads = tuple((0, want - have) for want, have in zip(step.sizes, sizes, strict=True))
    return portable.pad_or_crop(x, pads, emitter.data_format, emitter.name(f"{node.name}-fit"))


def _copied(emitter: _Emitter, node: p.Node, step: p.UpsamplingStep, x):
    """Neighbours along an axis are neighbours in memory: columns are doubled by joining, and rows are long columns."""
    octave, (rows, columns, channels) = step.octave, x.shape[1:]
    join = lambda x, part: layers.Concatenate(  # noqa: E731
        name=emitter.name(f"{node.name}-{part}"), dtype=step.policy
    )([x] * octave)
    x = join(x, "columns")
    x = _reshaped(emitter, x, (rows, octave * columns * channels), f"{node.name}-rows", step.policy)
    x = join(x, "rows")
    return _reshaped(emitter, x, (octave * rows, octave * columns, channels), f"{node.name}-map", step.policy)


def _average_pooling(emitter: _Emitter, node: p.Node, step: p.AveragePoolingStep, inputs):
    return layers.AveragePooling2D(
        step.size,
        step.strides,
        step.padding,
        data_format=emitter.data_format,
        dtype=step.policy,
        name=emitter.name(node.name),
    )(inputs[0])


def _padding(emitter: _Emitter, node: p.Node, step: p.PaddingStep, inputs):
    return portable.pad_or_crop(inputs[0], step.pads, emitter.data_format, emitter.name(node.name))


def _end_repeating(emitter: _Emitter, node: p.Node, step: p.EndRepeatingStep, inputs):
    pads = tuple((0, count) for count in step.counts)
    return portable.repeat_edges(inputs[0], pads, emitter.data_format, emitter.name(node.name))


def _shifted_average(emitter: _Emitter, node: p.Node, step: p.ShiftedAverageStep, inputs):
    name = emitter.name(node.name)
    return portable.fixed_filter(inputs[0], step.weights, step.octave, emitter.data_format, name)


def _joining(emitter: _Emitter, node: p.Node, step: p.JoiningStep, inputs):
    axis = emitter.axis if len(inputs[0].shape) == 4 else -1
    return layers.Concatenate(axis=axis, dtype=step.policy, name=emitter.name(node.name))(inputs)


def _part(emitter: _Emitter, node: p.Node, step: p.PartStep, inputs):
    index = [slice(None)] * 4
    index[emitter.axis] = slice(step.start, step.stop)
    return inputs[0][tuple(index)]


def _reordering(emitter: _Emitter, node: p.Node, step: p.ReorderingStep, inputs):
    axis = emitter.axis if len(inputs[0].shape) == 4 else -1
    return ops.take(inputs[0], step.order.tolist(), axis=axis)


def _reshaping(emitter: _Emitter, node: p.Node, step: p.ReshapingStep, inputs):
    return ops.reshape(inputs[0], step.shape)


def _other(emitter: _Emitter, node: p.Node, step: p.CallStep, inputs):
    call, key = step.call, (id(step.call.node), *map(id, inputs))
    if key not in emitter._calls:
        source, arguments = call.operation, call.node.arguments
        found = {id(tensor): value for tensor, value in zip(arguments.keras_tensors, inputs, strict=True)}
        args, kwargs = arguments.fill_in(found)
        kwargs |= {"training": False} if kwargs.get("training") else {}
        new = id(source) not in emitter._layers
        if new:
            emitter._layers[id(source)] = _copied_layer(source, emitter.name(node.name), step.policy == FLOAT32)
        made = emitter._layers[id(source)]
        emitter._calls[key] = tree.flatten(portable.called(made, *args, **kwargs))
        if new and isinstance(source, keras.layers.Layer):
            made.set_weights(source.get_weights())
            settle(made)
    return emitter._calls[key][step.output]


def _copied_layer(source, name: str, in_float32: bool):
    if not in_float32:
        return renamed(source, name)
    if isinstance(source, keras.layers.Layer):
        return rebuild(type(source), float32_config({**config_of(source), "name": name}))
    return copy_operation(source, name, {"dtype": FLOAT32} if is_other(getattr(source, "dtype", None)) else None)


_EMIT: dict[type, Callable] = {
    p.InputStep: _input,
    p.ConvolutionStep: _convolution,
    p.ActivationStep: _activation,
    p.ScalingStep: _scaling,
    p.AdditionStep: _addition,
    p.UpsamplingStep: _upsampling,
    p.AveragePoolingStep: _average_pooling,
    p.PaddingStep: _padding,
    p.EndRepeatingStep: _end_repeating,
    p.ShiftedAverageStep: _shifted_average,
    p.JoiningStep: _joining,
    p.PartStep: _part,
    p.ReorderingStep: _reordering,
    p.ReshapingStep: _reshaping,
    p.CallStep: _other,
}
