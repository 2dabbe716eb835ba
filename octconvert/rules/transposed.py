"""Transposed convolution of a pair or a plain tensor -> octave transposed convolution, as in U-Net decoders."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
from keras import layers

from octconvert.layers import OctaveConv1DTranspose, OctaveConv2DTranspose, OctaveConv3DTranspose
from octconvert.layers.conv_transpose import OctaveConvTranspose
from octconvert.layers.kernels import fold_kernel
from octconvert.model.copying import config_of
from octconvert.model.graph import Call, CallGraph
from octconvert.octave.split import ChannelSplit, Pair
from octconvert.rules.activations import activated, linear_part, without_layer
from octconvert.rules.base import ANY_RANK, Rule, Trace
from octconvert.rules.octave_convolution import CONV_ARGUMENTS, cells, cut_paths, low_input, trace_of_map
from octconvert.rules.protocols import Build, Flow, Value
from octconvert.rules.registry import register
from octconvert.rules.traits import TRANSPOSED, Traits, convolution_stage, convolution_traits

_BY_RANK: dict[int, type[OctaveConvTranspose]] = {
    1: OctaveConv1DTranspose,
    2: OctaveConv2DTranspose,
    3: OctaveConv3DTranspose,
}


@register
class TransposedConvolutionRule(Rule):
    """Transposed convolutions with any stride, padding and output padding."""

    ranks = ANY_RANK
    layers = (layers.Conv1DTranspose, layers.Conv2DTranspose, layers.Conv3DTranspose)
    produces = True

    def is_convolution(self, call: Call, graph: CallGraph) -> bool:
        return True

    def trace(self, call: Call, flow: Flow) -> Trace:
        return trace_of_map(call, flow, "no built-in form (`portable`)" if flow.options.portable else "")

    def rewrite(self, call: Call, values: list[Value], build: Build) -> list[Value]:
        (value,), out, layer = values, build.split(call), call.operation
        value = build.settled(value) if isinstance(value, Pair) else value
        tensors = value.inputs if isinstance(value, Pair) else value
        config = without_layer(config_of(layer), layer)
        kept = {key: config[key] for key in (*CONV_ARGUMENTS, "filters", "kernel_size", "padding") if key in config}
        config = {
            **kept,
            "output_padding": layer.output_padding,
            **cells(build),
            "ratio_out": 0.0 if out is None else out.alpha,
            **low_input(value),
            "name": build.own_name(layer.name),
        }

        def fill(new_layer: OctaveConvTranspose) -> None:
            _fill(call, new_layer, value, out, build)

        layer_class = _BY_RANK[build.graph.rank]
        outputs = build.filled(call, "octave", lambda: build.make(layer_class, config), fill)(tensors)
        return [activated(call, outputs if out is None else Pair.of(outputs, out), build)]

    def linear_output(self, call: Call, part: str, inputs: list[Any]) -> Any:
        return linear_part(call.operation, inputs)

    def traits(self, operation: Any) -> Traits:
        stage = convolution_stage(operation, TRANSPOSED, output_padding=operation.output_padding)
        return convolution_traits(operation, stage)


def _fill(call: Call, new_layer: OctaveConvTranspose, value: Value, out: ChannelSplit | None, build: Build) -> None:
    kernel = keras.ops.convert_to_numpy(call.operation.kernel)
    sizes = (None,) * build.graph.rank
    folded = fold_kernel(kernel, new_layer.window, sizes) if build.options.weights == "fold" else kernel
    values = cut_paths(np.swapaxes(kernel, -1, -2), np.swapaxes(folded, -1, -2), call.operation.bias, value, out)
    build.assign(new_layer, {key: np.swapaxes(v, -1, -2) if key.endswith("kernel") else v for key, v in values.items()})
