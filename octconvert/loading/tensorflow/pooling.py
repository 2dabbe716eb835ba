"""Pooling over the rows and columns of a map."""

from __future__ import annotations

from collections.abc import Callable

from keras import layers

from octconvert.loading.tensorflow.maps import keras_data_format, spatial_values
from octconvert.loading.tensorflow.table import implements
from octconvert.loading.tensorflow.values import (
    Argument,
    Tensor,
    Unsupported,
    integers,
    rank,
    require_float,
    require_tensor,
)

MAX_POOLING = (layers.MaxPooling1D, layers.MaxPooling2D, layers.MaxPooling3D)
AVERAGE_POOLING = (layers.AveragePooling1D, layers.AveragePooling2D, layers.AveragePooling3D)


def _pool(
    kinds: tuple[type, ...], x: Argument, ksize: Argument, strides: Argument, padding: Argument, data_format: Argument
) -> Tensor:
    form = keras_data_format(data_format, require_float(require_tensor(x)))
    if not isinstance(padding, str):
        raise Unsupported(f"padding={padding} is not supported")
    window, steps = spatial_values(ksize, x, form, "ksize"), spatial_values(strides, x, form, "strides")
    mode = padding.lower()
    return kinds[rank(x) - 3](window, strides=steps, padding=mode, data_format=form, dtype=x.dtype)(x)


def _pooling(kinds: tuple[type, ...]) -> Callable[..., Tensor]:
    """A function with the signature of ``tf.nn.max_pool``."""

    def function(
        input: Argument,
        ksize: Argument,
        strides: Argument,
        padding: Argument,
        data_format: Argument = None,
        value: Argument = None,
    ) -> Tensor:
        return _pool(kinds, input, ksize, strides, padding, data_format)

    return function


implements("nn.max_pool", "nn.max_pool1d", "nn.max_pool2d", "nn.max_pool3d")(_pooling(MAX_POOLING))
implements("nn.avg_pool", "nn.avg_pool1d", "nn.avg_pool2d", "nn.avg_pool3d")(_pooling(AVERAGE_POOLING))


@implements("nn.pool", "compat.v1.nn.pool")
def pool(
    input: Argument,
    window_shape: Argument,
    pooling_type: Argument = None,
    strides: Argument = None,
    padding: Argument = "VALID",
    data_format: Argument = None,
    dilations: Argument = None,
    dilation_rate: Argument = None,
) -> Tensor:
    rates = dilations if dilations is not None else dilation_rate
    if rates is not None and set(integers(rates, "dilations")) != {1}:
        raise Unsupported(f"dilations={rates} is not supported")
    kinds = {"MAX": MAX_POOLING, "AVG": AVERAGE_POOLING}[pooling_type]
    return _pool(kinds, input, window_shape, strides, padding, data_format)
