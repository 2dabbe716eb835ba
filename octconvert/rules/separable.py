"""Separable convolution of a pair or a plain tensor -> depthwise convolution, which carries the split, then a 1x1
octave convolution, which changes it.
"""

from __future__ import annotations

from typing import Any

import keras
from keras import layers

from octconvert.model.copying import config_of
from octconvert.model.graph import Call, CallGraph
from octconvert.octave.names import DEPTHWISE_SUFFIX
from octconvert.rules import depthwise
from octconvert.rules.activations import linear_part
from octconvert.rules.base import ANY_RANK, Rule, Trace
from octconvert.rules.octave_convolution import CONV_ARGUMENTS, octave_convolution, trace_of_map
from octconvert.rules.protocols import Build, Config, Flow, Value
from octconvert.rules.registry import register
from octconvert.rules.traits import CONV, DEPTHWISE, ConvolutionStage, Traits, convolution_stage, convolution_traits


@register
class SeparableConvolutionRule(Rule):
    """SeparableConv1D and SeparableConv2D with any depth multiplier."""

    ranks = ANY_RANK
    layers = (layers.SeparableConv1D, layers.SeparableConv2D)
    produces = True

    def is_convolution(self, call: Call, graph: CallGraph) -> bool:
        return True

    def trace(self, call: Call, flow: Flow) -> Trace:
        return trace_of_map(call, flow)

    def rewrite(self, call: Call, values: list[Value], build: Build) -> list[Value]:
        (value,), layer = values, call.operation
        config, ones = config_of(layer), (1,) * build.graph.rank
        between = depthwise.rewrite(
            call, value, build, _depthwise_config(config), DEPTHWISE_SUFFIX, layer.depthwise_kernel
        )
        pointwise = {
            **{key: config[key] for key in CONV_ARGUMENTS if key in config},
            "kernel_initializer": config["pointwise_initializer"],
            "kernel_regularizer": config["pointwise_regularizer"],
            "kernel_constraint": config["pointwise_constraint"],
            "filters": layer.filters,
            "kernel_size": ones,
            "strides": ones,
            "dilation_rate": ones,
            "groups": 1,
            "padding": "same",
        }
        return [octave_convolution(call, between, build.split(call), build, pointwise, layer.pointwise_kernel)]

    def linear_output(self, call: Call, part: str, inputs: list[Any]) -> Any:
        layer = call.operation
        if part == "octave":
            return linear_part(layer, inputs)
        arguments = (layer.strides, layer.padding, layer.data_format, layer.dilation_rate)
        return keras.ops.depthwise_conv(inputs[0], layer.depthwise_kernel, *arguments) if part == "depthwise" else None

    def traits(self, operation: Any) -> Traits:
        spread = convolution_stage(operation, DEPTHWISE, kernel="depthwise_kernel", bias="", suffix=DEPTHWISE_SUFFIX)
        ones = (1,) * len(operation.strides)
        mixing = ConvolutionStage(CONV, "pointwise_kernel", strides=ones, dilation=ones)
        return convolution_traits(operation, spread, mixing)


def _depthwise_config(config: Config) -> Config:
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
