"""Any convolution of a pair or a plain tensor -> an octave convolution, for the rules of convolution-like layers.

The kernel is cut (and, for ``weights="fold"``, folded) into the paths HH, HL, LH and LL (paper, equations 2-4).
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any, TypeAlias

import keras
import numpy as np
from keras import Layer, layers

from octconvert.layers import OctaveConv1D, OctaveConv2D, OctaveConv3D
from octconvert.layers.conv import OctaveConv
from octconvert.layers.kernels import fold_kernel, grouped_part
from octconvert.layers.portable_conv import PortableConv
from octconvert.layers.reading import causal_padding
from octconvert.layers.window import Window
from octconvert.model.graph import Call, Shape
from octconvert.octave.geometry import Padding, ceil_div, output_size
from octconvert.octave.names import HH, HL, LH, LL
from octconvert.octave.split import ChannelSplit, Pair
from octconvert.rules.activations import activated, produce, without_layer
from octconvert.rules.base import Trace, stop
from octconvert.rules.protocols import Build, Config, Flow, Value

_BY_RANK: dict[int, type[OctaveConv]] = {1: OctaveConv1D, 2: OctaveConv2D, 3: OctaveConv3D}
Kernel: TypeAlias = keras.Variable | np.ndarray

CONV_ARGUMENTS = (
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
)
"""Configuration entries that an octave convolution has in common with a Conv2D."""


def refusal(call: Call, flow: Flow) -> str:
    """Why a convolution can not be rewritten at all."""
    layer, rank = call.operation, flow.graph.rank
    if getattr(layer, "rank", rank) != rank:
        return f"{type(layer).__name__} on a {rank}-D map"
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


def octave_convolution(
    call: Call, value: Value, out: ChannelSplit | None, build: Build, config: Config, kernel: Kernel | None = None
) -> Value:
    """The octave layer that replaces one convolution, called.

    Args:
        call: of the source model.
        value: that the convolution reads.
        out: split of its output; None where that is plain.
        build: of the rewriter.
        config: arguments of the Conv2D that computes the same; its activation is the layer's own.
        kernel: of that Conv2D; None takes the layer's ``kernel``.
    """
    value, config = _pool_the_stride(call, value, build, without_layer(config, call.operation))
    if isinstance(value, Pair) and value.pads is not None:
        if config["padding"] == "valid":
            config = {**config, "padding": value.pads}
        else:
            value = build.settled(value)
    config |= {**cells(build), "ratio_out": 0.0 if out is None else out.alpha, **low_input(value)}
    tensors = value.inputs if isinstance(value, Pair) else value
    kernel = call.operation.kernel if kernel is None else kernel

    def fill(layer: OctaveConv | PortableConv) -> None:
        _move_weights(call, layer, value, out, build, config, kernel)

    outputs = build.filled(call, "octave", lambda: _make_layer(call, build, config), fill)(tensors)
    return activated(call, outputs if out is None else Pair.of(outputs, out), build)


def explicit_padding(layer: Layer) -> Padding:
    """Padding of a convolution, 'causal' as zeros in front."""
    if layer.padding != "causal":
        return layer.padding
    return causal_padding(layer.kernel_size, layer.dilation_rate)


def cells(build: Build) -> Config:
    """The entries of an octave layer's configuration that say which positions a low cell covers."""
    return {"octave": build.octave, **({"causal": True} if build.causal else {})}


def low_input(value: Value) -> Config:
    """The entries of an octave layer's configuration that say that its input is whole-low, if it is."""
    if not isinstance(value, Pair) or value.high is not None:
        return {}
    return {"whole_low": True, "high_size": value.split.odd_size}


def _make_layer(call: Call, build: Build, config: Config) -> OctaveConv | PortableConv:
    if not build.options.portable:
        layer_class = _BY_RANK[build.graph.rank]
        return build.make(layer_class, {**config, "name": build.own_name(call.operation.name)})
    if config.pop("activity_regularizer", None) is not None:
        build.note(
            f"'{call.name}' loses its activity regularizer: `portable` models have no layer for the whole output"
        )
    name = build.base_name(build.own_name(call.operation.name))
    return PortableConv(shared=build.is_shared(call), rank=build.graph.rank, **{**config, "name": name})


def _pool_the_stride(call: Call, value: Value, build: Build, config: Config) -> tuple[Value, Config]:
    """``stride_mode="pool"``: average pooling by the stride, then stride 1, where that keeps the output size."""
    strides = tuple(config["strides"])
    if build.options.stride_mode != "pool" or max(strides) == 1:
        return value, config
    if build.causal:
        build.note(f"'{call.name}' keeps its stride: pooling would read later inputs")
        return value, config
    sizes = _source_size(value, build)
    pads = value.pads if isinstance(value, Pair) and value.pads is not None else config["padding"]
    for axis, size in enumerate(sizes):
        padding = pads if isinstance(pads, str) else pads[axis]
        before = None if size is None else output_size(size, config["kernel_size"][axis], strides[axis], 1, padding)
        if before is None or before != ceil_div(size, strides[axis]):
            build.note(f"'{call.name}' keeps its stride: pooling would change its output size")
            return value, config
    pooled = _pool_by(call, value, build, strides)
    return pooled, {**config, "strides": (1,) * len(strides), "padding": "same"}


def _pool_by(call: Call, value: Value, build: Build, strides: tuple[int, ...]) -> Value:
    def pooled(part: keras.KerasTensor, suffix: str = "") -> keras.KerasTensor:
        name = build.name(f"{call.operation.name}-stride{suffix}")
        options = {"padding": "same", "data_format": build.data_format, "name": name, "dtype": part.dtype}
        return getattr(layers, f"AveragePooling{build.graph.rank}D")(strides, **options)(part)

    if not isinstance(value, Pair):
        return pooled(value)
    size = tuple(
        length if length is None else ceil_div(length, stride)
        for length, stride in zip(_source_size(value, build), strides, strict=True)
    )
    split = replace(value.split, size=size)
    parts = [pooled(part, each.suffix) for part, each in zip(value.tensors, split.parts, strict=True)]
    return Pair.of(parts, split)


def _source_size(value: Value, build: Build) -> Shape:
    """Of the source's map along its axes; None where open."""
    if isinstance(value, Pair):
        return value.size(build.graph.spatial_axes)
    return build.graph.size_of(value.shape)


def _move_weights(
    call: Call,
    layer: OctaveConv | PortableConv,
    value: Value,
    out: ChannelSplit | None,
    build: Build,
    config: Config,
    kernel: Kernel,
) -> None:
    if build.options.weights == "fresh":
        return
    kernel = keras.ops.convert_to_numpy(kernel)
    folded = _low_kernel(value, build, config, kernel)
    cut = cut_paths(kernel, folded, getattr(call.operation, "bias", None), value, out, config["groups"])
    values = {**cut, **build.tuned(call, "octave")}
    if isinstance(layer, PortableConv):
        _fill_portable(layer, build, values)
    else:
        build.assign(layer, values)


def cut_paths(
    kernel: np.ndarray,
    folded: np.ndarray,
    bias: Kernel | None,
    value: Value,
    out: ChannelSplit | None,
    groups: int = 1,
) -> dict[str, np.ndarray]:
    """Kernels of the four paths and biases of both outputs, by their names in the octave layer.

    Args:
        kernel, folded: (..., input channels / groups, output channels), for the path HH and for the other three.
        bias: of the source's layer, or None.
        value: that the convolution reads.
        out: split of its output; None where that is plain.
        groups: of channels.
    """
    channels = kernel.shape[-2] * groups
    rows, columns = _ends(value.split if isinstance(value, Pair) else None, channels), _ends(out, kernel.shape[-1])
    values = {}
    for source, row in rows.items():
        for target, column in columns.items():
            part = kernel if source == target == "h" else folded
            values[f"{source}{target}_kernel"] = grouped_part(part, row, column, channels, groups)
    if bias is not None:
        array = keras.ops.convert_to_numpy(bias)
        values |= {name: array[columns[key]] for key, name in (("h", "high_bias"), ("l", "low_bias")) if key in columns}
    return values


def _ends(split: ChannelSplit | None, channels: int) -> dict[str, np.ndarray]:
    """'h' and 'l' -> the channels of the high and the low tensor, as far as there are such."""
    if split is None:
        return {"h": np.arange(channels)}
    return {part.suffix[1:].lower(): part.channels for part in split.parts}


def _low_kernel(value: Value, build: Build, config: Config, kernel: np.ndarray) -> np.ndarray:
    """The kernel of the low paths."""
    if build.options.weights != "fold":
        return kernel
    window = Window(
        tuple(config["kernel_size"]),
        tuple(config["strides"]),
        tuple(config["dilation_rate"]),
        config["padding"],
        build.octave,
        build.causal,
    )
    return fold_kernel(kernel, window, _source_size(value, build))


def _fill_portable(conv: PortableConv, build: Build, values: dict[str, Any]) -> None:
    high, low = values.get("high_bias"), values.get("low_bias")
    biases = {HH: high, LH: high, HL: low, LL: low}
    for path, layer in conv.paths.items():
        weights = [values[f"{path.lower().removeprefix('-')}_kernel"]]
        if layer.use_bias:
            weights.append(biases[path])
        build.set_weights(layer, weights)
