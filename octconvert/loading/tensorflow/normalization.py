"""Biases and normalization with values that are arguments, and by the values of a map itself."""

from __future__ import annotations

import math

import numpy as np
from keras import ops

from octconvert.loading.tensorflow.arithmetic import minus, over, plus, times
from octconvert.loading.tensorflow.table import implements
from octconvert.loading.tensorflow.values import (
    Argument,
    Tensor,
    check_constant_size,
    is_tensor,
    known_size,
    rank,
    require_float,
    require_tensor,
)


@implements("nn.bias_add")
def bias_add(value: Argument, bias: Argument, data_format: Argument = None) -> Tensor:
    if data_format in ("NCHW", "NC..", "channels_first") and rank(value) > 2:
        shape = [-1] + [1] * (rank(value) - 2)
        bias = ops.reshape(bias, shape) if is_tensor(bias) else np.reshape(np.array(bias, value.dtype), shape).tolist()
    return plus(value, bias)


@implements("nn.batch_normalization")
def batch_normalization(
    x: Argument, mean: Argument, variance: Argument, offset: Argument, scale: Argument, variance_epsilon: Argument
) -> Tensor:
    factor = 1.0 / np.sqrt(np.asarray(variance) + variance_epsilon) if not is_tensor(variance) else None
    inverse = ops.rsqrt(plus(variance, variance_epsilon)) if factor is None else factor.tolist()
    if scale is not None:
        inverse = times(inverse, scale)
    result = times(minus(x, mean), inverse)
    return result if offset is None else plus(result, offset)


@implements("nn.local_response_normalization", "nn.lrn")
def local_response_normalization(
    input: Argument, depth_radius: Argument = 5, bias: Argument = 1, alpha: Argument = 1, beta: Argument = 0.5
) -> Tensor:
    channels = known_size(require_float(require_tensor(input)), rank(input) - 1)
    check_constant_size([channels, channels])
    distance = np.abs(np.subtract.outer(np.arange(channels), np.arange(channels)))
    near = (distance <= depth_radius).astype(input.dtype)
    total = ops.matmul(ops.square(input), near)
    return ops.divide(input, ops.power(plus(times(total, alpha), bias), beta))


@implements("image.per_image_standardization")
def per_image_standardization(image: Argument) -> Tensor:
    x = require_float(require_tensor(image))
    over_all = tuple(range(rank(x) - 3, rank(x)))
    count = math.prod(known_size(x, axis) for axis in over_all)
    mean = ops.mean(x, axis=over_all, keepdims=True)
    deviation = ops.std(x, axis=over_all, keepdims=True)
    return over(minus(x, mean), ops.maximum(deviation, 1.0 / math.sqrt(count)))
