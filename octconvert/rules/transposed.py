"""Conv2DTranspose of a pair or a plain tensor -> octave transposed convolution, as in U-Net decoders."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
from keras import layers

from octconvert.layers import OctaveConv2DTranspose
from octconvert.layers.kernels import fold_kernel
from octconvert.model.copying import config_of
from octconvert.model.graph import Call, CallGraph
from octconvert.octave.split import ChannelSplit, Pair
from octconvert.rules.activations import activated, linear_part, without_layer
from octconvert.rules.base import Rule, Trace
from octconvert.rules.octave_convolution import CONV_ARGUMENTS, cut_paths, low_input, trace_of_map
from octconvert.rules.protocols import Build, Flow, Value
from octconvert.rules.registry import register
from octconvert.rules.traits import TRANSPOSED, Traits, convolution_stage, convolution_traits


@register
class TransposedConvolutionRule(Rule):
    """Conv2DTranspose with any stride, padding and output padding."""

    layers = (layers.Conv2DTranspose,)
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
            "octave": build.octave,
            "ratio_out": 0.0 if out is None else out.alpha,
            **low_input(value),
            "name": build.own_name(layer.name),
        }

        def fill(new_layer: OctaveConv2DTranspose) -> None:
            _fill(call, new_layer, value, out, build)

        outputs = build.filled(call, "octave", lambda: build.make(OctaveConv2DTranspose, config), fill)(tensors)
        return [activated(call, outputs if out is None else Pair.of(outputs, out), build)]

    def linear_output(self, call: Call, part: str, inputs: list[Any]) -> Any:
        return linear_part(call.operation, inputs)

    def traits(self, operation: Any) -> Traits:
        stage = convolution_stage(operation, TRANSPOSED, output_padding=operation.output_padding)
        return convolution_traits(operation, stage)


def _fill(call: Call, new_layer: OctaveConv2DTranspose, value: Value, out: ChannelSplit | None, build: Build) -> None:
    kernel = keras.ops.convert_to_numpy(call.operation.kernel)
    folded = fold_kernel(kernel, new_layer.window, (None, None)) if build.options.weights == "fold" else kernel
    values = cut_paths(np.swapaxes(kernel, -1, -2), np.swapaxes(folded, -1, -2), call.operation.bias, value, out)
    build.assign(new_layer, {key: np.swapaxes(v, -1, -2) if key.endswith("kernel") else v for key, v in values.items()})
