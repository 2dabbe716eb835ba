"""Call graph -> `Program`: octave layers taken apart into plain operations, affine calls told as such.

A channel order is carried along rather than applied, as far as weights can take it up: `Value.order`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
from keras import layers

from octconvert.inference.program import (
    Activation,
    Addition,
    AveragePooling,
    Convolution,
    EndRepeating,
    Joining,
    Node,
    Other,
    Padding,
    Program,
    Reordering,
    Reshaping,
    Scaling,
    ShiftedAverage,
    Source,
    Upsampling,
)
from octconvert.layers import OctaveConv2D, OctaveConv2DTranspose, OctaveDepthwiseConv2D, OctaveMerge
from octconvert.layers.base import has_misplaced_bias, split_inputs
from octconvert.layers.normalization import OctaveGroupNormalization, OctaveLayerNormalization
from octconvert.layers.portable import is_box
from octconvert.layers.spatial import is_same, pools_by_two, reads_past_end
from octconvert.layers.time import FoldTime, UnfoldTime
from octconvert.model.graph import BOUNDARY, SOURCE_INPUT, Call, CallGraph
from octconvert.rules import rule_of
from octconvert.rules.activations import own_call


@dataclass(frozen=True, eq=False)
class Value:
    """A tensor of the model: channel i of it is channel ``order[i]`` of ``node``'s (None: they are the same)."""

    node: Node
    order: np.ndarray | None = None


class Lowering:
    """What the lowerings of single layers work with.

    Attributes:
        graph: of the model.
        program: what is made of it.
        as_it_is: whether every call stays what it is.
        left: names of octave layers that stay as they are, by the reason.
    """

    def __init__(self, graph: CallGraph, as_it_is: bool = False):
        self.graph, self.program, self.as_it_is = graph, Program(), as_it_is
        self.left: dict[str, list[str]] = {}
        self._values: dict[int, Value] = {}

    def run(self) -> Program:
        """The whole model."""
        for call in self.graph.calls:
            if call.kind == SOURCE_INPUT:
                made = [Value(self.program.add(Source(None, call.outputs[0]), (), call.operation.name))]
            elif call.kind == BOUNDARY:
                made = [self._values[call.inputs[0]]]
            else:
                made = self._call(call)
            self._values.update(zip(call.outputs, made, strict=True))
        self.program.outputs = [self.plain(self._values[number]) for number in self.graph.outputs]
        return self.program

    def _call(self, call: Call) -> list[Value]:
        values = [self._values[number] for number in call.inputs]
        made = None if self.as_it_is and type(call.operation) not in _TIME else self._lowered(call, values)
        if made is not None:
            return made
        if len(values) == 1 and isinstance(call.operation, _CHANNELWISE) and values[0].order is not None:
            return [Value(self.add(Other(None, call), [values[0].node], call), values[0].order)]
        nodes = [self.plain(value) for value in values]
        return [Value(self.add(Other(None, call, i), nodes, call)) for i in range(len(call.outputs))]

    def _lowered(self, call: Call, values: list[Value]) -> list[Value] | None:
        lower = _LOWERINGS.get(type(call.operation))
        made = lower(self, call, values) if lower is not None else None
        made = self._affine(call, values) if made is None else made
        if made is None and type(call.operation).__module__.startswith("octconvert."):
            names = self.left.setdefault(self._reason(call, lower is not None), [])
            if call.layer_name not in names:
                names.append(call.layer_name)
        return made

    def _reason(self, call: Call, has_form: bool) -> str:
        """Why an octave layer stays one."""
        if not has_form:
            return f"there is no form for inference of {_WITHOUT_FORM.get(type(call.operation), call.class_name)}"
        if getattr(call.operation, "data_format", self.graph.data_format) != self.graph.data_format:
            return "their data_format is not that of the model's first layers"
        return "rows and columns of their maps must be known"

    def _affine(self, call: Call, values: list[Value]) -> list[Value] | None:
        """A scale and an offset for each channel; what does nothing at inference is left out."""
        rule = rule_of(call, ())
        found = rule.affine(call) if rule is not None and len(values) == 1 else None
        if found is None:
            return None
        shape = self.graph.tensors[call.inputs[0]].shape
        channels = shape[self.graph.channel_axis if len(shape) == 4 else -1]
        scale, offset = (np.asarray(each, "float64").reshape(-1) for each in found)
        if (scale == 1).all() and (offset == 0).all():
            return values
        axis = getattr(call.operation, "axis", -1)
        on_channels = axis % len(shape) == (self.graph.channel_axis if len(shape) == 4 else len(shape) - 1)
        if len(shape) not in (2, 4) or channels is None or not on_channels:
            return None
        scale, offset = (np.broadcast_to(each, (channels,)) for each in (scale, offset))
        order = values[0].order
        if order is not None:  # numbers of the node's channels
            scale, offset = (each[np.argsort(order)] for each in (scale, offset))
        return [Value(self.add(Scaling(_policy(call), scale, offset), [values[0].node], call), order)]

    # ---- for the lowerings of layers

    def add(self, operation, nodes, call: Call, suffix: str = "") -> Node:
        """A node named after the call."""
        return self.program.add(operation, nodes, call.name.replace("/", "-").replace("#", "-") + suffix)

    def plain(self, value: Value) -> Node:
        """The tensor in its own channel order."""
        if value.order is None:
            return value.node
        return self.program.add(Reordering(None, value.order), [value.node], f"{value.node.name}-order")

    def activated(self, node: Node, call: Call, suffix: str = "") -> Node:
        """With the activation of the call's layer."""
        function = call.operation.activation
        if function is None or function is keras.activations.linear:
            return node
        if isinstance(function, layers.Layer):
            return self.add(Other(None, own_call(call)), [node], call, f"{suffix}-activation")
        return self.add(Activation(_policy(call), function), [node], call, f"{suffix}-activation")

    def is_standard(self, call: Call) -> bool:
        """Whether a convolution has the channels where all others have them, and its bias on them."""
        layer, shape = call.operation, self.graph.tensors[call.outputs[0]].shape
        return layer.data_format == self.graph.data_format and not has_misplaced_bias(layer, shape)


Lower = Callable[[Lowering, Call, list[Value]], "list[Value] | None"]
_LOWERINGS: dict[type, Lower] = {}
_TIME = (FoldTime, UnfoldTime)
_CHANNELWISE = (
    layers.Activation,
    layers.ReLU,
    layers.LeakyReLU,
    layers.ELU,
    layers.MaxPooling2D,
    layers.AveragePooling2D,
    layers.GlobalAveragePooling2D,
    layers.GlobalMaxPooling2D,
    layers.ZeroPadding2D,
    layers.Cropping2D,
)


def _lowers(*classes: type):
    def register(lower: Lower) -> Lower:
        _LOWERINGS.update(dict.fromkeys(classes, lower))
        return lower

    return register


def _array(variable) -> np.ndarray:
    return keras.ops.convert_to_numpy(variable)


def _bias(variable) -> np.ndarray | None:
    return None if variable is None else _array(variable)


def _policy(call: Call):
    return getattr(call.operation, "dtype_policy", None)


# ---- both ends of a TimeDistributed


@_lowers(*_TIME)
def _time(lowering: Lowering, call: Call, values: list[Value]) -> list[Value]:
    shape = lowering.graph.tensors[call.outputs[0]].shape
    return [Value(lowering.add(Reshaping(_policy(call), (-1, *shape[1:])), [lowering.plain(values[0])], call))]


# ---- built-in layers


@_lowers(layers.Conv2D)
def _convolution(lowering: Lowering, call: Call, values: list[Value]) -> list[Value] | None:
    layer, (value,) = call.operation, values
    if not lowering.is_standard(call) or _has_adapter(layer):
        return None
    found = Convolution(
        _policy(call),
        "conv",
        _array(layer.kernel),
        _bias(layer.bias),
        tuple(layer.strides),
        layer.padding,
        tuple(layer.dilation_rate),
        layer.groups,
    )
    if layer.groups > 1:
        value = Value(lowering.plain(value))
    found = found if value.order is None else found.reading(value.order)
    return [Value(lowering.activated(lowering.add(found, [value.node], call), call))]


@_lowers(layers.DepthwiseConv2D)
def _depthwise(lowering: Lowering, call: Call, values: list[Value]) -> list[Value] | None:
    layer = call.operation
    if not lowering.is_standard(call):
        return None
    found = Convolution(
        _policy(call),
        "depthwise",
        _array(layer.kernel),
        _bias(layer.bias),
        tuple(layer.strides),
        layer.padding,
        tuple(layer.dilation_rate),
    )
    made = lowering.add(found, [lowering.plain(values[0])], call)
    return [Value(lowering.activated(made, call))]


@_lowers(layers.SeparableConv2D)
def _separable(lowering: Lowering, call: Call, values: list[Value]) -> list[Value] | None:
    layer = call.operation
    if not lowering.is_standard(call):
        return None
    spread = Convolution(
        _policy(call),
        "depthwise",
        _array(layer.depthwise_kernel),
        None,
        tuple(layer.strides),
        layer.padding,
        tuple(layer.dilation_rate),
    )
    mixed = Convolution(_policy(call), "conv", _array(layer.pointwise_kernel), _bias(layer.bias))
    made = lowering.add(spread, [lowering.plain(values[0])], call, "-depthwise")
    return [Value(lowering.activated(lowering.add(mixed, [made], call), call))]


@_lowers(layers.Conv2DTranspose)
def _transposed(lowering: Lowering, call: Call, values: list[Value]) -> list[Value] | None:
    layer, (value,) = call.operation, values
    if not lowering.is_standard(call):
        return None
    found = Convolution(
        _policy(call),
        "transposed",
        _array(layer.kernel),
        _bias(layer.bias),
        tuple(layer.strides),
        layer.padding,
        tuple(layer.dilation_rate),
        more=(("output_padding", layer.output_padding),),
    )
    found = found if value.order is None else found.reading(value.order)
    return [Value(lowering.activated(lowering.add(found, [value.node], call), call))]


@_lowers(layers.Dense)
def _dense(lowering: Lowering, call: Call, values: list[Value]) -> list[Value] | None:
    layer, (value,) = call.operation, values
    if _has_adapter(layer):
        return None
    found = Convolution(_policy(call), "dense", _array(layer.kernel), _bias(layer.bias))
    found = found if value.order is None else found.reading(value.order)
    return [Value(lowering.activated(lowering.add(found, [value.node], call), call))]


def _has_adapter(layer) -> bool:
    """Whether its kernel is more than one array (LoRA, quantised)."""
    return bool(getattr(layer, "lora_enabled", False) or getattr(layer, "quantization_mode", None))


@_lowers(layers.Add)
def _add(lowering: Lowering, call: Call, values: list[Value]) -> list[Value] | None:
    shapes = {lowering.graph.tensors[number].shape for number in call.inputs}
    if len(shapes) > 1:
        return None
    return [Value(lowering.add(Addition(_policy(call)), [lowering.plain(value) for value in values], call))]


# ---- octave layers


@_lowers(OctaveConv2D)
def _octave_convolution(lowering: Lowering, call: Call, values: list[Value]) -> list[Value] | None:
    layer = call.operation
    paths = _Paths(lowering, call, values)
    if not paths.known:
        return None
    made = []
    if layer.high_filters:
        total = paths.high_path(layer.hh_kernel, layer.high_bias)
        if paths.low is not None:
            part = paths.low_path(paths.low, layer.lh_kernel, None, "LH")
            total = paths.summed([total, paths.upsampled(part)], "H")
        made.append(Value(lowering.activated(total, call, "-H")))
    if layer.low_filters:
        total = paths.low_path(paths.pooled, layer.hl_kernel, layer.low_bias, "HL")
        if paths.low is not None:
            total = paths.summed([total, paths.low_path(paths.low, layer.ll_kernel, None, "LL")], "L")
        made.append(Value(lowering.activated(total, call, "-L")))
    return made


@_lowers(OctaveDepthwiseConv2D)
def _octave_depthwise(lowering: Lowering, call: Call, values: list[Value]) -> list[Value] | None:
    layer = call.operation
    paths = _Paths(lowering, call, values)
    if not paths.known:
        return None
    made = [paths.high_path(layer.hh_kernel, layer.high_bias, "depthwise")]
    if paths.low is not None:
        made.append(paths.low_path(paths.low, layer.ll_kernel, layer.low_bias, "LL", "depthwise"))
    suffixes = ("-H", "-L")[: len(made)]
    return [Value(lowering.activated(node, call, suffix)) for node, suffix in zip(made, suffixes, strict=True)]


class _Paths:
    """The paths of one call of an octave window layer."""

    def __init__(self, lowering: Lowering, call: Call, values: list[Value]):
        self.lowering, self.call, self.layer = lowering, call, call.operation
        shape = lowering.graph.tensors[call.inputs[0]].shape
        sizes = [shape[axis] for axis in lowering.graph.spatial_axes]
        self.known = None not in sizes and self.layer.data_format == lowering.graph.data_format
        self.sizes = [size or 0 for size in sizes]
        high, low = split_inputs(values, self.layer.name)
        self.high, self.low = lowering.plain(high), None if low is None else lowering.plain(low)
        if self.known:
            window = self.layer.window
            self.alignments = [window.alignment(i, size) for i, size in enumerate(self.sizes)]
            self.cells = [window.low_outputs(i, size) for i, size in enumerate(self.sizes)]
            self.outputs = tuple(window.output(i, size) for i, size in enumerate(self.sizes))

    def _add(self, operation, nodes, suffix: str) -> Node:
        return self.lowering.add(operation, nodes, self.call, f"-{suffix}")

    def high_path(self, kernel, bias, kind: str = "conv") -> Node:
        padding, node = self.layer.padding, self.high
        if not isinstance(padding, str):
            node, padding = self._padded(node, padding, "pad-H"), "valid"
        return self._convolved(node, kernel, bias, padding, self.layer.dilation_rate, "HH", kind)

    def low_path(self, node: Node, kernel, bias, name: str, kind: str = "conv") -> Node:
        node, padding = self._prepared(node, name)
        return self._convolved(node, kernel, bias, padding, self.layer.low_dilation, name, kind)

    def _convolved(self, node: Node, kernel, bias, padding: str, dilation, name: str, kind: str) -> Node:
        found = Convolution(
            _policy(self.call),
            kind,
            _array(kernel),
            _bias(bias),
            tuple(self.layer.strides),
            padding,
            tuple(dilation),
            getattr(self.layer, "groups", 1),
        )
        return self._add(found, [node], name)

    @property
    def pooled(self) -> Node:
        """The high map, averaged over the blocks of the octave."""
        octave, node = self.layer.octave, self.high
        if octave == 1:
            return node
        if not any(size % octave for size in self.sizes):
            return self._pool(node, octave, octave, "valid", "pool")
        for step in range(octave.bit_length() - 1):
            node = self._pool(node, 2, 2, "same", f"pool{step}")
        return node

    def _pool(self, node: Node, size, stride, padding: str, name: str) -> Node:
        size, stride = ((each, each) if isinstance(each, int) else each for each in (size, stride))
        return self._add(AveragePooling(_policy(self.call), size, stride, padding), [node], name)

    def _padded(self, node: Node, pads, name: str) -> Node:
        return self._add(Padding(_policy(self.call), tuple(pads)), [node], name) if any(map(any, pads)) else node

    def _prepared(self, node: Node, name: str) -> tuple[Node, str]:
        """As `octconvert.layers.spatial.prepare_low`."""
        window, found = self.layer.window, self.alignments
        if all(pools_by_two(a, window) for a in found):
            return self._pool(node, 2, 1, "same", f"align-{name}"), "valid"
        have = [-(-size // window.octave) for size in self.sizes]
        pads = [a.padding(have[i], self.cells[i]) for i, a in enumerate(found)]
        if all(is_same(a, have[i], pads[i]) for i, a in enumerate(found)):
            return node, "same"
        counts = [max(pads[i][1], 0) if reads_past_end(a, window) else 0 for i, a in enumerate(found)]
        if any(counts):
            rows, columns = counts
            node = self._add(EndRepeating(_policy(self.call), (rows, columns)), [node], f"end-{name}")
        pads = [(before, after - counts[i]) for i, (before, after) in enumerate(pads)]
        node = self._padded(node, tuple(pads), f"pad-{name}")
        return self._filtered(node, f"align-{name}"), "valid"

    def _filtered(self, node: Node, name: str) -> Node:
        rows, columns = (tuple(a.prefilter) for a in self.alignments)
        if (len(rows), len(columns)) == (1, 1):
            return node
        if is_box((rows, columns)):
            return self._pool(node, (len(rows), len(columns)), 1, "valid", name)
        return self._add(ShiftedAverage(_policy(self.call), (rows, columns), self.layer.octave), [node], name)

    def upsampled(self, node: Node) -> Node:
        """To the size of the high output."""
        if self.layer.octave == 1:
            return node
        return self._add(Upsampling(_policy(self.call), self.layer.octave, self.outputs), [node], "up")

    def summed(self, nodes: list[Node], name: str) -> Node:
        return self._add(Addition(_policy(self.call)), nodes, f"add-{name}")


@_lowers(OctaveMerge)
def _merge(lowering: Lowering, call: Call, values: list[Value]) -> list[Value] | None:
    layer, (high, low) = call.operation, [lowering.plain(value) for value in values]
    shape = lowering.graph.tensors[call.inputs[0]].shape
    sizes: Any = tuple(shape[axis] for axis in lowering.graph.spatial_axes)
    if None in sizes:
        return None
    if layer.octave > 1:
        low = lowering.add(Upsampling(_policy(call), layer.octave, sizes), [low], call, "-up")
    joined = lowering.add(Joining(_policy(call)), [high, low], call)
    return [Value(joined, None if layer.order is None else np.asarray(layer.order))]


_WITHOUT_FORM = {
    OctaveConv2DTranspose: "transposed convolutions of pairs",  # no built-in layer cuts as it does
    OctaveLayerNormalization: "normalisations over the channels of both maps",
    OctaveGroupNormalization: "normalisations over groups of the channels of both maps",
}
assert not _WITHOUT_FORM.keys() & _LOWERINGS.keys()
