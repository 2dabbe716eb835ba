"""Depthwise convolution of a pair -> the same of each map: every channel stays in its map, so the split is carried."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
from keras import KerasTensor, Layer, layers

from octconvert.layers import OctaveDepthwiseConv1D, OctaveDepthwiseConv2D, OctaveDepthwiseConv3D, portable
from octconvert.layers.depthwise import OctaveDepthwiseConv
from octconvert.layers.kernels import fold_kernel
from octconvert.layers.window import Window
from octconvert.model.copying import config_of
from octconvert.model.graph import Call, CallGraph
from octconvert.octave.names import HIGH, LOW
from octconvert.octave.split import ChannelSplit, Pair
from octconvert.rules.activations import activated, linear_part, refusal, without_layer
from octconvert.rules.base import ANY_RANK, Rule, Trace, stop
from octconvert.rules.octave_convolution import cells, explicit_padding, low_input
from octconvert.rules.octave_convolution import refusal as convolution_refusal
from octconvert.rules.protocols import Build, Config, Flow, Value
from octconvert.rules.registry import register
from octconvert.rules.traits import DEPTHWISE, Traits, convolution_stage, convolution_traits

_ARGUMENTS = [
    "kernel_size",
    "strides",
    "padding",
    "data_format",
    "dilation_rate",
    "activation",
    "use_bias",
    "bias_initializer",
    "bias_regularizer",
    "activity_regularizer",
    "bias_constraint",
    "dtype",
    "trainable",
]
_BY_RANK: dict[int, type[OctaveDepthwiseConv]] = {
    1: OctaveDepthwiseConv1D,
    2: OctaveDepthwiseConv2D,
    3: OctaveDepthwiseConv3D,
}
_BUILT_IN = {1: layers.DepthwiseConv1D, 2: layers.DepthwiseConv2D}
_SOURCE = tuple(_BUILT_IN.values())
_KINDS = ("initializer", "regularizer", "constraint")


def is_depthwise(layer: Layer, channels: int | None) -> bool:
    """Whether a convolution is depthwise: a DepthwiseConv2D, or a Conv2D with one group a channel; at any rank."""
    return isinstance(layer, _SOURCE) or (channels is not None and layer.groups == channels > 1)


@register
class DepthwiseConvolutionRule(Rule):
    """DepthwiseConv1D and DepthwiseConv2D with any depth multiplier."""

    ranks = ANY_RANK
    layers = _SOURCE

    def is_convolution(self, call: Call, graph: CallGraph) -> bool:
        return True

    def trace(self, call: Call, flow: Flow) -> Trace:
        return trace(call, flow)

    def rewrite(self, call: Call, values: list[Value], build: Build) -> list[Value]:
        return [activated(call, rewrite(call, values[0], build), build)]

    def linear_output(self, call: Call, part: str, inputs: list[Any]) -> Any:
        return linear_part(call.operation, inputs)

    def traits(self, operation: Any) -> Traits:
        return convolution_traits(operation, convolution_stage(operation, DEPTHWISE))


def trace(call: Call, flow: Flow) -> Trace:
    """Carries the split; with a depth multiplier each channel's outputs go where the channel is."""
    layer, channels = call.operation, flow.channels()
    if channels is None:
        return Trace((None,), reads=False)
    reason = convolution_refusal(call, flow)
    if reason:
        return stop(call, reason)
    multiplier = (flow.output_shape()[flow.graph.channel_axis] or 0) // len(channels)
    reason = refusal(layer.activation, flow, multiplier * len(channels))
    if reason:
        return stop(call, reason)
    if flow.is_vector():
        return stop(call, "1x1 map, nothing to halve")
    if flow.options.portable and flow.graph.rank == 3:
        return stop(call, "Keras has no depthwise convolution of volumes (`portable`)")
    return Trace((np.repeat(channels, multiplier),), gains=True)


def depthwise_config(layer: Layer) -> Config:
    """Arguments of a depthwise octave convolution from a depthwise one, or one with one group a channel."""
    config = config_of(layer)
    kept = {key: config[key] for key in _ARGUMENTS if key in config}
    prefix = "depthwise" if "depthwise_initializer" in config else "kernel"
    kept["padding"] = explicit_padding(layer)
    kept |= {f"depthwise_{kind}": config[f"{prefix}_{kind}"] for kind in _KINDS}
    return {**kept, "depth_multiplier": _depthwise_kernel(layer).shape[-1]}


def _depthwise_kernel(layer: Layer) -> np.ndarray:
    """(..., channels, multiplier); a grouped kernel is (..., 1, channels * multiplier)."""
    kernel = keras.ops.convert_to_numpy(layer.kernel)
    if isinstance(layer, _SOURCE):
        return kernel
    return kernel.reshape(*kernel.shape[:-2], layer.groups, -1)


def rewrite(
    call: Call,
    value: Value,
    build: Build,
    config: Config | None = None,
    suffix: str = "",
    kernel: keras.Variable | np.ndarray | None = None,
) -> Value:
    """The depthwise layer, called. A plain value stays plain (the depthwise half of a separable convolution).

    Args:
        call: of the source model.
        value: that the convolution reads.
        build: of the rewriter.
        config: arguments of the depthwise convolution that computes the same; None takes the layer's.
        suffix: of the new layer's name.
        kernel: of that depthwise convolution; None takes the layer's.
    """
    layer = call.operation
    config = without_layer(depthwise_config(layer), layer) if config is None else config
    kernel = _depthwise_kernel(layer) if kernel is None else keras.ops.convert_to_numpy(kernel)
    bias = layer.bias if config["use_bias"] else None
    name = build.once(call, "depthwise name", lambda: _name(layer, suffix, build))
    if not isinstance(value, Pair):
        return _plain(call, value, build, {**config, "name": name}, kernel)
    if value.pads is not None and config["padding"] != "valid":
        value = build.settled(value)
    create = _portable if build.options.portable else _octave
    out = _carried(value, build, config, kernel.shape[-1])
    return Pair.of(create(call, value, build, {**config, "name": name}, kernel, bias, out), out)


def _carried(value: Pair, build: Build, config: Config, multiplier: int) -> ChannelSplit:
    """Split of the output, of which a separable convolution's source has no tensor."""
    window, size = _window(value, build, config), value.size(build.graph.spatial_axes)
    size = tuple(window.output(axis, length) for axis, length in enumerate(size))
    return ChannelSplit(np.repeat(value.split.mask, multiplier), value.split.octave, size)


def _name(layer: Layer, suffix: str, build: Build) -> str:
    name = build.name(layer.name + suffix) if suffix else build.own_name(layer.name)
    return build.base_name(name) if build.options.portable else name


def _window(value: Pair, build: Build, config: Config) -> Window:
    padding = config["padding"] if value.pads is None else value.pads
    sizes = (tuple(config["kernel_size"]), tuple(config["strides"]), tuple(config["dilation_rate"]))
    return Window(*sizes, padding, build.octave, build.causal)


def _low_kernel(value: Pair, build: Build, window: Window, kernel: np.ndarray) -> np.ndarray:
    if build.options.weights != "fold":
        return kernel
    return fold_kernel(kernel, window, value.size(build.graph.spatial_axes))


def _octave(
    call: Call, value: Pair, build: Build, config: Config, kernel: np.ndarray, bias: Any, out: ChannelSplit
) -> list[KerasTensor] | KerasTensor:
    window = _window(value, build, config)
    config = {**config, "padding": window.padding, **cells(build), **low_input(value)}

    def fill(layer: OctaveDepthwiseConv) -> None:
        low_kernel = _low_kernel(value, build, window, kernel)
        values = {"hh_kernel": kernel[..., value.split.high, :], "ll_kernel": low_kernel[..., value.split.low, :]}
        if bias is not None:
            numbers = keras.ops.convert_to_numpy(bias)
            values |= {"high_bias": numbers[out.high], "low_bias": numbers[out.low]}
        build.assign(layer, values)

    layer = build.filled(call, "depthwise", lambda: build.make(_BY_RANK[build.graph.rank], config), fill)
    return layer(value.inputs)


def _plain(call: Call, value: KerasTensor, build: Build, config: Config, kernel: np.ndarray) -> KerasTensor:
    def fill(layer: Layer) -> None:
        build.set_weights(layer, [build.tuned(call, "depthwise").get("kernel", kernel)])

    layer_class = _BUILT_IN[build.graph.rank]
    return build.filled(call, "depthwise", lambda: build.make(layer_class, config), fill)(value)


def _portable(
    call: Call, value: Pair, build: Build, config: Config, kernel: np.ndarray, bias: Any, out: ChannelSplit
) -> list[KerasTensor]:
    window = _window(value, build, config)
    low_kernel = _low_kernel(value, build, window, kernel)[..., value.split.low, :]
    values: dict[str, Any] = {"hh_kernel": kernel[..., value.split.high, :], "ll_kernel": low_kernel}
    if bias is not None:
        numbers = keras.ops.convert_to_numpy(bias)
        values |= {"high_bias": numbers[out.high], "low_bias": numbers[out.low]}
    values |= build.tuned(call, "depthwise")
    outputs = []
    if value.high is not None:
        high = value.high
        if not isinstance(window.padding, str):
            name = build.name(f"{config['name']}-high")
            high = portable.pad_or_crop(high, window.padding, build.data_format, name)
        weights = (values["hh_kernel"], values.get("high_bias"))
        outputs.append(_portable_path(call, build, {**config, "dilation_rate": window.dilation}, HIGH, high, weights))
    low, low_window = _prepared_low(call, value, build, window, config["name"])
    weights = (values["ll_kernel"], values.get("low_bias"))
    return [*outputs, _portable_path(call, build, {**config, **low_window}, LOW, low, weights)]


def _prepared_low(call: Call, value: Pair, build: Build, window: Window, name: str) -> tuple[KerasTensor, Config]:
    """The low map that the low window moves over, and the window's padding and dilation."""
    size = value.size(build.graph.spatial_axes)
    alignments = [window.alignment(axis, length) for axis, length in enumerate(size)]
    cells = [window.low_outputs(axis, length) for axis, length in enumerate(size)]
    label, allow_same = build.name(f"{name}-low"), not build.is_shared(call)
    low, padding = portable.prepare_low(value.low, window, alignments, cells, build.data_format, label, allow_same)
    return low, {"padding": padding, "dilation_rate": tuple(a.dilation for a in alignments)}


def _portable_path(
    call: Call, build: Build, config: Config, suffix: str, tensor: KerasTensor, weights: tuple[np.ndarray, Any]
) -> KerasTensor:
    """The depthwise convolution of one map; ``weights``: kernel, and bias or None."""
    config = {**config, "name": config["name"] + suffix}
    kernel, bias = weights
    layer_class = _BUILT_IN[build.graph.rank]

    def fill(layer: Layer) -> None:
        build.set_weights(layer, [kernel] if bias is None else [kernel, bias])

    convolution = build.filled(call, f"depthwise{suffix}", lambda: build.make(layer_class, config), fill)
    if bias is None:
        return convolution(tensor)
    shape = layer_class.from_config(config).compute_output_shape(tensor.shape)
    label = build.name(f"{config['name']}-bias")
    return portable.biased(convolution, tensor, shape, config["strides"][-1], build.data_format, label)
