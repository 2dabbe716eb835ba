"""Convolutions with a kernel that is an argument."""

from __future__ import annotations

from keras import ops

from octconvert.loading.tensorflow.maps import keras_data_format, spatial_values, with_padding
from octconvert.loading.tensorflow.table import REASONS, implements
from octconvert.loading.tensorflow.values import (
    Argument,
    Tensor,
    Unsupported,
    constant_tensor,
    require_float,
    require_tensor,
)


@implements("nn.conv1d", "nn.conv2d", "nn.conv3d", "nn.convolution")
def conv2d(
    input: Argument,
    filters: Argument = None,
    strides: Argument = None,
    padding: Argument = "VALID",
    data_format: Argument = None,
    dilations: Argument = None,
    filter: Argument = None,
    use_cudnn_on_gpu: bool = True,
    dilation_rate: Argument = None,
    stride: Argument = None,
) -> Tensor:
    x, kernel, form = _operands(input, filters if filters is not None else filter, data_format)
    x, mode = with_padding(x, padding)
    steps = spatial_values(strides if strides is not None else stride, x, form, "strides")
    rates = spatial_values(dilations if dilations is not None else dilation_rate, x, form, "dilations")
    return ops.conv(x, kernel, strides=steps, padding=mode, data_format=form, dilation_rate=rates)


@implements("nn.depthwise_conv2d", "nn.depthwise_conv2d_native")
def depthwise_conv2d(
    input: Argument,
    filter: Argument,
    strides: Argument,
    padding: Argument,
    data_format: Argument = None,
    dilations: Argument = None,
    rate: Argument = None,
    use_cudnn_on_gpu: bool = True,
) -> Tensor:
    x, kernel, form = _operands(input, filter, data_format)
    x, mode = with_padding(x, padding)
    steps = spatial_values(strides, x, form, "strides")
    rates = spatial_values(dilations if dilations is not None else rate, x, form, "dilations")
    if steps[0] != steps[1] or rates[0] != rates[1]:  # TensorFlow has no others either
        raise Unsupported(f"the strides {steps} or the dilations {rates} differ between rows and columns")
    return ops.depthwise_conv(x, kernel, steps[0], padding=mode, data_format=form, dilation_rate=rates[0])


@implements("nn.separable_conv2d")
def separable_conv2d(
    input: Argument,
    depthwise_filter: Argument,
    pointwise_filter: Argument,
    strides: Argument,
    padding: Argument,
    data_format: Argument = None,
    dilations: Argument = None,
    rate: Argument = None,
) -> Tensor:
    filtered = depthwise_conv2d(input, depthwise_filter, strides, padding, data_format, dilations, rate)
    return conv2d(filtered, pointwise_filter, 1, "VALID", data_format)


REASONS["nn.conv2d_transpose"] = "Keras' own operation for it does not run inside a model"
REASONS["nn.conv_transpose"] = REASONS["nn.conv2d_transpose"]


def _operands(x: Argument, kernel: Argument, data_format: Argument) -> tuple[Tensor, Argument, str]:
    x = require_float(require_tensor(x))
    if kernel is None:
        raise Unsupported("it has no kernel")
    return x, constant_tensor(kernel, x.dtype), keras_data_format(data_format, x)
