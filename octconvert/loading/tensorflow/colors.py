"""Colour spaces, contrast and the types of images."""

from __future__ import annotations

import numpy as np
from keras import ops

from octconvert.loading.tensorflow.arithmetic import minus, plus, power, times
from octconvert.loading.tensorflow.casts import identity
from octconvert.loading.tensorflow.maps import image_axes
from octconvert.loading.tensorflow.table import implements
from octconvert.loading.tensorflow.values import (
    Argument,
    Function,
    Tensor,
    Unsupported,
    is_float,
    require_float,
    require_tensor,
)


@implements("image.rgb_to_grayscale")
def rgb_to_grayscale(images: Argument) -> Tensor:
    return ops.matmul(require_float(require_tensor(images)), np.array([[0.2989], [0.587], [0.114]], dtype=images.dtype))


@implements("image.grayscale_to_rgb")
def grayscale_to_rgb(images: Argument) -> Tensor:
    return ops.concatenate([require_tensor(images)] * 3, axis=-1)


@implements("image.rgb_to_hsv")
def rgb_to_hsv(images: Argument) -> Tensor:
    return ops.image.rgb_to_hsv(require_float(require_tensor(images)), data_format="channels_last")


@implements("image.hsv_to_rgb")
def hsv_to_rgb(images: Argument) -> Tensor:
    return ops.image.hsv_to_rgb(require_float(require_tensor(images)), data_format="channels_last")


def _channel_mixing(*rows: tuple[float, float, float]) -> Function:
    """A function that multiplies the three channels of images by a matrix."""

    def function(images: Argument) -> Tensor:
        return ops.matmul(require_float(require_tensor(images)), np.array(rows, dtype=images.dtype))

    return function


_YIQ = [(0.299, 0.59590059, 0.2115), (0.587, -0.27455667, -0.52273617), (0.114, -0.32134392, 0.31119955)]
_FROM_YIQ = [(1.0, 1.0, 1.0), (0.95598634, -0.27201283, -1.10674021), (0.6208248, -0.64720424, 1.70423049)]
_YUV = [(0.299, -0.14714119, 0.61497538), (0.587, -0.28886916, -0.51496512), (0.114, 0.43601035, -0.10001026)]
_FROM_YUV = [(1.0, 1.0, 1.0), (0.0, -0.394642334, 2.03206185), (1.13988303, -0.58062185, 0.0)]
implements("image.rgb_to_yiq")(_channel_mixing(*_YIQ))
implements("image.yiq_to_rgb")(_channel_mixing(*_FROM_YIQ))
implements("image.rgb_to_yuv")(_channel_mixing(*_YUV))
implements("image.yuv_to_rgb")(_channel_mixing(*_FROM_YUV))


@implements("image.adjust_hue")
def adjust_hue(image: Argument, delta: Argument) -> Tensor:
    hue, saturation, value = ops.split(rgb_to_hsv(image), 3, axis=-1)
    return hsv_to_rgb(ops.concatenate([ops.mod(plus(hue, delta), 1.0), saturation, value], axis=-1))


@implements("image.adjust_brightness")
def adjust_brightness(image: Argument, delta: Argument) -> Tensor:
    return plus(require_float(require_tensor(image)), delta)


@implements("image.adjust_contrast")
def adjust_contrast(images: Argument, contrast_factor: Argument) -> Tensor:
    mean = ops.mean(require_float(require_tensor(images)), axis=image_axes(images), keepdims=True)
    return plus(times(minus(images, mean), contrast_factor), mean)


@implements("image.adjust_gamma")
def adjust_gamma(image: Argument, gamma: Argument = 1, gain: Argument = 1) -> Tensor:
    return times(power(require_float(require_tensor(image)), float(gamma)), gain)


@implements("image.adjust_saturation")
def adjust_saturation(image: Argument, saturation_factor: Argument) -> Tensor:
    hue, saturation, value = ops.split(rgb_to_hsv(image), 3, axis=-1)
    saturation = ops.clip(times(saturation, saturation_factor), 0.0, 1.0)
    return hsv_to_rgb(ops.concatenate([hue, saturation, value], axis=-1))


@implements("image.convert_image_dtype")
def convert_image_dtype(image: Argument, dtype: Argument, saturate: bool = False) -> Tensor:
    x = require_tensor(image)
    if x.dtype == dtype:
        return identity(x)
    if not str(dtype).startswith("float") or (is_float(x) is False and not str(x.dtype).startswith(("int", "uint"))):
        raise Unsupported(f"a conversion from {x.dtype} to {dtype} is not supported")
    if is_float(x):
        return ops.cast(x, dtype)
    return times(ops.cast(x, dtype), 1.0 / np.iinfo(x.dtype).max)
