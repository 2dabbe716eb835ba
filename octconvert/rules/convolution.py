"""Conv2D(pair or plain) -> octave convolution; SeparableConv2D -> depthwise, then a 1x1 octave convolution.

A convolution is where a channel split may change, so its output split is free and it takes any input split: the kernel
is cut (and, for ``weights="fold"``, folded) into HH, HL, LH and LL.
"""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
from keras import layers

from octconvert.layers import OctaveConv2D
from octconvert.layers.kernels import fold_kernel, grouped_part
from octconvert.layers.portable_conv import PortableConv
from octconvert.layers.spatial import Window
from octconvert.model.copying import config_of
from octconvert.model.graph import Call, CallGraph
from octconvert.octave.geometry import output_size
from octconvert.octave.names import DEPTHWISE_SUFFIX, HH, HL, SUFFIXES
from octconvert.octave.split import ChannelSplit, Pair
from octconvert.rules import depthwise
from octconvert.rules.activations import activated, linear_part, produce, without_layer
from octconvert.rules.base import Rule, Trace, stop
from octconvert.rules.protocols import Flow
from octconvert.rules.registry import register
from octconvert.rules.traits import CONV, DEPTHWISE, ConvolutionStage, Traits, convolution_stage, convolution_traits

CONV_ARGUMENTS = [
    "strides",
    "data_format",
    "dilation_rate",
    "groups",
    "activation",
    "use_bias",
    "kernel_initializer",
    "bias_initializer",
    "kernel_regularizer",
    "bias_regularizer",
    "activity_regularizer",
    "kernel_constraint",
    "bias_constraint",
    "dtype",
    "trainable",
]


def refusal(call: Call, flow: Flow) -> str:
    """Why a convolution can not be rewritten at all."""
    data_format = getattr(call.operation, "data_format", flow.graph.data_format)
    if data_format != flow.graph.data_format:
        return f"{data_format} in a {flow.graph.data_format} model"
    if getattr(call.operation, "lora_enabled", False) or getattr(call.operation, "quantization_mode", None):
        return "quantised or low-rank convolution"
    return flow.bias_refusal() or flow.portable_refusal()


def trace_of_map(call: Call, flow: Flow, refused: str = "") -> Trace:
    """`Rule.trace` of a convolution without groups that needs a map; ``refused`` is a reason of its own."""
    reason = refusal(call, flow) or ("1x1 map, nothing to halve" if flow.is_vector() else refused)
    if reason:
        return stop(call, reason)
    output, reason = produce(flow, call.operation.activation, call.operation.filters)
    return Trace((output,), reads=flow.channels() is not None, gains=True, reason=reason)


@register
class Convolution(Rule):
    """Conv2D, grouped or not; one group a channel is a depthwise convolution."""

    layers = (layers.Conv2D,)
    produces = True

    def is_convolution(self, call: Call, graph: CallGraph) -> bool:
        return True

    def trace(self, call: Call, flow: Flow) -> Trace:
        layer, channels = call.operation, flow.channels()
        reason = refusal(call, flow)
        if reason:
            return stop(call, reason)
        if depthwise.is_depthwise(layer, flow.shape()[flow.graph.channel_axis]):
            return depthwise.trace(call, flow)
        if channels is not None and layer.groups > 1:
            if flow.is_vector():
                return stop(call, "grouped convolution of a 1x1 map")
            flow.balance(channels, layer.groups)
        output, reason = produce(flow, layer.activation, layer.filters, layer.groups)
        if output is not None and layer.groups > 1:
            flow.balance(output, layer.groups)
        return Trace((output,), reads=channels is not None, gains=not flow.is_vector(), reason=reason)

    def rewrite(self, call: Call, values: list, build) -> list:
        (value,), out = values, build.split(call)
        if depthwise.is_depthwise(call.operation, build.source_shape(call)[build.graph.channel_axis]):
            return [activated(call, depthwise.rewrite(call, value, build), build)]
        if build.graph.is_vector(build.source_shape(call)):
            return [rewrite_on_vector(call, value, out, build)]
        return [octave_convolution(call, value, out, build, _plain_conv_config(call.operation))]

    def linear_output(self, call: Call, part: str, inputs: list):
        return linear_part(call.operation, inputs)

    def traits(self, operation: Any) -> Traits:
        return convolution_traits(operation, convolution_stage(operation, CONV))

    def mixing(self, call: Call):
        layer = call.operation
        if layer.groups > 1:
            return None
        return keras.ops.convert_to_numpy(layer.kernel).astype("float64").reshape(-1, *layer.kernel.shape[2:])


@register
class SeparableConvolution(Rule):
    """SeparableConv2D: the depthwise half carries the split, the pointwise half changes it."""

    layers = (layers.SeparableConv2D,)
    produces = True

    def is_convolution(self, call: Call, graph: CallGraph) -> bool:
        return True

    def trace(self, call: Call, flow: Flow) -> Trace:
        return trace_of_map(call, flow)

    def rewrite(self, call: Call, values: list, build) -> list:
        (value,), layer = values, call.operation
        config = config_of(layer)
        between = depthwise.rewrite(
            call, value, build, _depthwise_config(config), DEPTHWISE_SUFFIX, layer.depthwise_kernel
        )
        pointwise = {
            **{key: config[key] for key in CONV_ARGUMENTS if key in config},
            "kernel_initializer": config["pointwise_initializer"],
            "kernel_regularizer": config["pointwise_regularizer"],
            "kernel_constraint": config["pointwise_constraint"],
            "filters": layer.filters,
            "kernel_size": (1, 1),
            "strides": (1, 1),
            "dilation_rate": (1, 1),
            "groups": 1,
            "padding": "same",
        }
        return [octave_convolution(call, between, build.split(call), build, pointwise, layer.pointwise_kernel)]

    def linear_output(self, call: Call, part: str, inputs: list):
        layer = call.operation
        if part == "octave":
            return linear_part(layer, inputs)
        arguments = (layer.strides, layer.padding, layer.data_format, layer.dilation_rate)
        return keras.ops.depthwise_conv(inputs[0], layer.depthwise_kernel, *arguments) if part == "depthwise" else None

    def traits(self, operation: Any) -> Traits:
        return separable_traits(operation)


def separable_traits(layer: Any) -> Traits:
    """A depthwise convolution and one that mixes the channels at each position."""
    spread = convolution_stage(layer, DEPTHWISE, kernel="depthwise_kernel", bias="", suffix=DEPTHWISE_SUFFIX)
    ones = (1,) * len(layer.strides)
    return convolution_traits(layer, spread, ConvolutionStage(CONV, "pointwise_kernel", strides=ones, dilation=ones))


def _depthwise_config(config: dict) -> dict:
    kept = [
        "kernel_size",
        "strides",
        "padding",
        "depth_multiplier",
        "data_format",
        "dilation_rate",
        "dtype",
        "trainable",
    ]
    kinds = ("depthwise_initializer", "depthwise_regularizer", "depthwise_constraint")
    return {**{key: config[key] for key in (*kept, *kinds)}, "activation": "linear", "use_bias": False}


def _plain_conv_config(layer) -> dict:
    config = config_of(layer)
    kept = {key: config[key] for key in CONV_ARGUMENTS if key in config}
    return {**kept, "filters": layer.filters, "kernel_size": layer.kernel_size, "padding": layer.padding}


def octave_convolution(call: Call, value, out: ChannelSplit | None, build, config: dict, kernel=None):
    """The octave layer for one convolution, called; ``config`` is a Conv2D's, ``kernel`` its kernel if not its own."""
    value, config = _pool_the_stride(call, value, build, without_layer(config, call.operation))
    if isinstance(value, Pair) and value.pads is not None:
        if config["padding"] == "valid":
            config = {**config, "padding": value.pads}
        else:
            value = Pair.of(build.settled(value), value.split)
    low = 0 if out is None else len(out.low)
    config |= {"octave": build.octave, "ratio_out": low / config["filters"]}
    tensors = value if not isinstance(value, Pair) else [value.high, value.low]
    kernel = call.operation.kernel if kernel is None else kernel

    def fill(layer):
        _move_weights(call, layer, value, out, build, config, kernel)

    outputs = build.filled(call, "octave", lambda: _make_layer(call, build, config), fill)(tensors)
    return activated(call, outputs if out is None else Pair.of(outputs, out), build)


def _make_layer(call: Call, build, config: dict):
    if not build.options.portable:
        return build.make(OctaveConv2D, {**config, "name": build.own_name(call.operation.name)})
    if config.pop("activity_regularizer", None) is not None:
        build.note(f"'{call.name}' loses its activity regularizer: portable layers have no sum to put it on")
    name = build.base_name(build.own_name(call.operation.name))
    return PortableConv(shared=build.is_shared(call), **{**config, "name": name})


def _pool_the_stride(call: Call, value, build, config: dict):
    """``stride_mode="pool"``: average pooling by the stride, then stride 1 - where the sizes come out the same."""
    strides = tuple(config["strides"])
    if build.options.stride_mode != "pool" or strides == (1, 1):
        return value, config
    shape = value.high.shape if isinstance(value, Pair) else value.shape
    sizes = [shape[axis] for axis in build.graph.spatial_axes]
    pads = value.pads if isinstance(value, Pair) and value.pads is not None else config["padding"]
    for axis, size in enumerate(sizes):
        padding = pads if isinstance(pads, str) else pads[axis]
        before = None if size is None else output_size(size, config["kernel_size"][axis], strides[axis], 1, padding)
        if before is None or before != -(-size // strides[axis]):
            build.note(f"'{call.name}' keeps its stride: pooling would change its output size")
            return value, config
    pooled = _pool_by(call, value, build, strides)
    return pooled, {**config, "strides": (1, 1), "padding": "same"}


def _pool_by(call: Call, value, build, strides):
    parts = [value] if not isinstance(value, Pair) else [value.high, value.low]
    suffixes = ("",) if len(parts) == 1 else SUFFIXES
    pooled = [
        layers.AveragePooling2D(
            strides,
            padding="same",
            data_format=build.data_format,
            name=build.name(f"{call.operation.name}-stride{suffix}"),
            dtype=part.dtype,
        )(part)
        for part, suffix in zip(parts, suffixes, strict=True)
    ]
    return pooled[0] if len(pooled) == 1 else Pair.of(pooled, value.split)


def _move_weights(call: Call, layer, value, out, build, config: dict, kernel) -> None:
    if build.options.weights == "fresh":
        return
    kernel = keras.ops.convert_to_numpy(kernel)
    folded = _low_kernel(call, value, build, config, kernel)
    cut = cut_paths(kernel, folded, getattr(call.operation, "bias", None), value, out, config["groups"])
    values = {**cut, **build.tuned(call, "octave")}
    if isinstance(layer, PortableConv):
        _fill_portable(layer, build, values)
    else:
        build.assign(layer, values)


def cut_paths(kernel, folded, bias, value, out: ChannelSplit | None, groups: int = 1) -> dict[str, np.ndarray]:
    """Kernels of the four paths and biases of both outputs, by their names in the octave layer.

    Args:
        kernel, folded: (..., input channels / groups, output channels), for the path HH and for the other three.
        bias: of the source's layer, or None.
        value: what the convolution reads.
        out: split of its output; None where that is plain.
    """
    channels = kernel.shape[-2] * groups
    rows = {"h": value.split.high, "l": value.split.low} if isinstance(value, Pair) else {"h": np.arange(channels)}
    columns = {"h": np.arange(kernel.shape[-1])} if out is None else {"h": out.high, "l": out.low}
    values = {}
    for source, row in rows.items():
        for target, column in columns.items():
            part = kernel if source == target == "h" else folded
            values[f"{source}{target}_kernel"] = grouped_part(part, row, column, channels, groups)
    if bias is not None:
        array = keras.ops.convert_to_numpy(bias)
        values |= {name: array[columns[key]] for key, name in (("h", "high_bias"), ("l", "low_bias")) if key in columns}
    return values


def _low_kernel(call: Call, value, build, config: dict, kernel: np.ndarray) -> np.ndarray:
    """The kernel of the low paths."""
    if build.options.weights != "fold":
        return kernel
    shape = value.high.shape if isinstance(value, Pair) else value.shape
    window = Window(
        tuple(config["kernel_size"]),
        tuple(config["strides"]),
        tuple(config["dilation_rate"]),
        config["padding"],
        build.octave,
    )
    return fold_kernel(kernel, window, [shape[axis] for axis in build.graph.spatial_axes])


def _fill_portable(conv, build, values: dict) -> None:
    biases = {HH: values.get("high_bias"), HL: values.get("low_bias")}
    for path, layer in conv.paths.items():
        weights = [values[f"{path.lower().removeprefix('-')}_kernel"]]
        if layer.use_bias:
            weights.append(biases[path])
        build.set_weights(layer, weights)


def rewrite_on_vector(call: Call, value, out: ChannelSplit | None, build):
    """A convolution of a 1x1 map: plain, with its kernel's channels gathered into the order of what it reads."""
    return vector_layer(call, value, out, build, "filters", call.operation.groups)


def vector_layer(call: Call, value, out: ChannelSplit | None, build, width_key: str, groups: int = 1):
    """A Dense or a convolution of a 1x1 map; its output, if it is to be a pair, comes from one layer for each group."""
    layer = call.operation
    kernel_channels = layer.kernel.shape[-2] * groups
    order = np.arange(kernel_channels)
    if isinstance(value, Pair):
        order, value = value.split.joined, build.joined(value, f"{layer.name}-join")

    def weights(columns):
        kernel = keras.ops.convert_to_numpy(layer.kernel)
        kernel = kernel[..., order[:, None], columns] if groups == 1 else kernel[..., columns]
        return [kernel] if layer.bias is None else [kernel, keras.ops.convert_to_numpy(layer.bias)[columns]]

    linear = without_layer({}, layer)
    if out is None:
        everything = np.arange(layer.kernel.shape[-1])
        return activated(call, build.clone(call, changes=linear, weights=lambda: weights(everything))(value), build)
    parts = [
        build.clone(call, suffix, {**linear, width_key: len(columns)}, lambda columns=columns: weights(columns))(value)
        for suffix, columns in zip(SUFFIXES, (out.high, out.low), strict=True)
    ]
    return activated(call, Pair.of(parts, out), build)
