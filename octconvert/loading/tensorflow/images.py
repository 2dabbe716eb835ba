"""Functions of ``tf.nn`` and ``tf.image`` on maps: see `octconvert.loading.tensorflow.functions`."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from keras import layers, ops

from octconvert.loading.tensorflow.functions import REASONS, getitem, identity, minus, named, over, plus, power, times
from octconvert.loading.tensorflow.values import (
    Open,
    Untranslatable,
    check_size,
    constant_tensor,
    integers,
    is_float,
    is_number,
    is_tensor,
    known_size,
    rank,
    require_float,
    tensor,
)

FORMATS = ("NC", "NCW", "NCHW", "NCDHW")
MAX_POOLING = (layers.MaxPooling1D, layers.MaxPooling2D, layers.MaxPooling3D)
AVERAGE_POOLING = (layers.AveragePooling1D, layers.AveragePooling2D, layers.AveragePooling3D)


def _format(data_format: Any, x: Any) -> str:
    if rank(x) not in (3, 4, 5):
        raise Untranslatable(f"of {rank(x)} axes")
    return "channels_first" if data_format in FORMATS else "channels_last"


def _spatial(value: Any, x: Any, data_format: str, what: str) -> tuple[int, ...]:
    """One number for each spatial axis from one for all, one for each, or one for every axis of the tensor."""
    items, count = integers(1 if value is None else value, what), rank(x) - 2
    if len(items) == count + 2:
        start = 1 if data_format == "channels_last" else 2
        if any(n != 1 for axis, n in enumerate(items) if not start <= axis < start + count):
            raise Untranslatable(f"with {what} {items} over the batch or the channels")
        return tuple(items[start : start + count])
    if len(items) not in (1, count):
        raise Untranslatable(f"with {what} {items}")
    return tuple(items) if len(items) == count else tuple(items) * count


def _padded(x: Any, padding: Any, data_format: str) -> tuple[Any, str]:
    """(map, 'same' or 'valid'); explicit amounts are zeros around the map."""
    if isinstance(padding, str) and padding.upper() in ("SAME", "VALID"):
        return x, padding.lower()
    if not isinstance(padding, list) or len(padding) != rank(x):
        raise Untranslatable(f"with padding {padding}")
    return pad(x, padding), "valid"


# -- convolutions ------------------------------------------------------------------------------------------------------


@named("nn.conv1d", "nn.conv2d", "nn.conv3d", "nn.convolution")
def conv2d(
    input,
    filters=None,
    strides=None,
    padding="VALID",
    data_format=None,
    dilations=None,
    filter=None,
    use_cudnn_on_gpu=True,
    dilation_rate=None,
    stride=None,
):
    x, kernel, form = _operands(input, filters if filters is not None else filter, data_format)
    x, mode = _padded(x, padding, form)
    steps = _spatial(strides if strides is not None else stride, x, form, "strides")
    rates = _spatial(dilations if dilations is not None else dilation_rate, x, form, "dilations")
    return ops.conv(x, kernel, strides=steps, padding=mode, data_format=form, dilation_rate=rates)


@named("nn.depthwise_conv2d", "nn.depthwise_conv2d_native")
def depthwise_conv2d(
    input, filter, strides, padding, data_format=None, dilations=None, rate=None, use_cudnn_on_gpu=True
):
    x, kernel, form = _operands(input, filter, data_format)
    x, mode = _padded(x, padding, form)
    steps = _spatial(strides, x, form, "strides")
    rates = _spatial(dilations if dilations is not None else rate, x, form, "dilations")
    if steps[0] != steps[1] or rates[0] != rates[1]:  # TensorFlow takes no others; a saved pair is no pair when read
        raise Untranslatable(f"with strides {steps} and dilations {rates}")
    return ops.depthwise_conv(x, kernel, steps[0], padding=mode, data_format=form, dilation_rate=rates[0])


@named("nn.separable_conv2d")
def separable_conv2d(
    input, depthwise_filter, pointwise_filter, strides, padding, data_format=None, dilations=None, rate=None
):
    between = depthwise_conv2d(input, depthwise_filter, strides, padding, data_format, dilations, rate)
    return conv2d(between, pointwise_filter, 1, "VALID", data_format)


REASONS["nn.conv2d_transpose"] = "Keras' own operation for it does not run inside a model"
REASONS["nn.conv_transpose"] = REASONS["nn.conv2d_transpose"]


def _operands(x: Any, kernel: Any, data_format: Any) -> tuple[Any, Any, str]:
    x = require_float(tensor(x))
    if kernel is None:
        raise Untranslatable("without a kernel")
    return x, constant_tensor(kernel, x.dtype), _format(data_format, x)


# -- pooling -----------------------------------------------------------------------------------------------------------


def _pool(kinds: tuple[type, ...], x: Any, ksize: Any, strides: Any, padding: Any, data_format: Any) -> Any:
    form = _format(data_format, require_float(tensor(x)))
    if not isinstance(padding, str):
        raise Untranslatable(f"with padding {padding}")
    window, steps = _spatial(ksize, x, form, "ksize"), _spatial(strides, x, form, "strides")
    mode = padding.lower()
    return kinds[rank(x) - 3](window, strides=steps, padding=mode, data_format=form, dtype=x.dtype)(x)


@named("nn.max_pool", "nn.max_pool1d", "nn.max_pool2d", "nn.max_pool3d")
def max_pool(input, ksize, strides, padding, data_format=None, value=None):
    return _pool(MAX_POOLING, input, ksize, strides, padding, data_format)


@named("nn.avg_pool", "nn.avg_pool1d", "nn.avg_pool2d", "nn.avg_pool3d")
def avg_pool(input, ksize, strides, padding, data_format=None, value=None):
    return _pool(AVERAGE_POOLING, input, ksize, strides, padding, data_format)


@named("nn.pool", "compat.v1.nn.pool")
def pool(
    input,
    window_shape,
    pooling_type=None,
    strides=None,
    padding="VALID",
    data_format=None,
    dilations=None,
    dilation_rate=None,
):
    rates = dilations if dilations is not None else dilation_rate
    if rates is not None and set(integers(rates, "dilations")) != {1}:
        raise Untranslatable(f"with dilations {rates}")
    kinds = {"MAX": MAX_POOLING, "AVG": AVERAGE_POOLING}[pooling_type]
    return _pool(kinds, input, window_shape, strides, padding, data_format)


# -- normalisation -----------------------------------------------------------------------------------------------------


@named("nn.bias_add")
def bias_add(value, bias, data_format=None):
    if data_format in ("NCHW", "NC..", "channels_first") and rank(value) > 2:
        shape = [-1] + [1] * (rank(value) - 2)
        bias = ops.reshape(bias, shape) if is_tensor(bias) else np.reshape(np.array(bias, value.dtype), shape).tolist()
    return plus(value, bias)


@named("nn.batch_normalization")
def batch_normalization(x, mean, variance, offset, scale, variance_epsilon):
    factor = 1.0 / np.sqrt(np.asarray(variance) + variance_epsilon) if not is_tensor(variance) else None
    inverse = ops.rsqrt(plus(variance, variance_epsilon)) if factor is None else factor.tolist()
    if scale is not None:
        inverse = times(inverse, scale)
    result = times(minus(x, mean), inverse)
    return result if offset is None else plus(result, offset)


@named("nn.local_response_normalization", "nn.lrn")
def local_response_normalization(input, depth_radius=5, bias=1, alpha=1, beta=0.5):
    channels = known_size(require_float(tensor(input)), rank(input) - 1)
    check_size([channels, channels])
    distance = np.abs(np.subtract.outer(np.arange(channels), np.arange(channels)))
    near = (distance <= depth_radius).astype(input.dtype)
    total = ops.matmul(ops.square(input), near)
    return ops.divide(input, ops.power(plus(times(total, alpha), bias), beta))


# -- places ------------------------------------------------------------------------------------------------------------


@named("pad", "compat.v1.pad")
def pad(tensor, paddings, mode="CONSTANT", constant_values=0):
    sides = [integers(pair, "amounts") for pair in paddings]
    if len(sides) != rank(tensor):
        raise Untranslatable(f"by {sides} of {rank(tensor)} axes")
    kind = str(mode).lower()
    zeros = kind == "constant" and constant_values == 0
    if zeros and is_float(tensor) and len(sides) == 4 and not any(sides[0]) and not any(sides[3]):
        form = "channels_last"
        return layers.ZeroPadding2D(tuple(map(tuple, sides[1:3])), data_format=form, dtype=tensor.dtype)(tensor)
    if kind == "constant":
        if not is_number(constant_values):
            raise Untranslatable("with a value that the model computes")
        return ops.pad(tensor, sides, mode="constant", constant_values=constant_values)
    if kind not in ("reflect", "symmetric"):
        raise Untranslatable(f"with mode={mode}")
    return ops.pad(tensor, sides, mode=kind)


@named("nn.depth_to_space", "compat.v1.depth_to_space", "compat.v1.nn.depth_to_space")
def depth_to_space(input, block_size, data_format=None):
    form = _format(data_format, tensor(input))
    _require_map(input)
    return ops.depth_to_space(input, integers(block_size, "")[0], data_format=form)


@named("nn.space_to_depth", "compat.v1.space_to_depth", "compat.v1.nn.space_to_depth")
def space_to_depth(input, block_size, data_format=None):
    form = _format(data_format, tensor(input))
    _require_map(input)
    return ops.space_to_depth(input, integers(block_size, "")[0], data_format=form)


def _require_map(x: Any) -> None:
    if rank(x) != 4:
        raise Untranslatable(f"of {rank(x)} axes")


# -- images ------------------------------------------------------------------------------------------------------------

METHODS = ("bilinear", "nearest", "bicubic", "lanczos3", "lanczos5")
OLD_METHODS: dict[Any, str] = {0: "bilinear", 1: "nearest", "bilinear": "bilinear", "nearest": "nearest"}


def _image_axes(x: Any) -> tuple[int, int]:
    """Axes of rows and columns of one image or a batch of them."""
    if rank(x) not in (3, 4):
        raise Untranslatable(f"of {rank(x)} axes")
    return rank(x) - 3, rank(x) - 2


def _wanted_size(size: Any) -> tuple[int, int]:
    items = list(size) if isinstance(size, list | tuple) else [size]
    if any(isinstance(n, Open) for n in items) or len(items) != 2:
        raise Untranslatable("to a size that is not known before the model runs")
    rows, columns = integers(items, "a size")
    return rows, columns


@named("image.resize", "image.resize_v2", "keras.backend.resize")
def resize(images, size, method="bilinear", preserve_aspect_ratio=False, antialias=False):
    x, (rows, columns) = tensor(images), _wanted_size(size)
    if method not in METHODS:
        raise Untranslatable(f"by {method}")
    if preserve_aspect_ratio:
        height, width = (known_size(x, axis) for axis in _image_axes(x))
        scale = min(rows / height, columns / width)
        rows, columns = (max(1, int(np.round(n * scale))) for n in (height, width))
    if antialias or rank(x) != 4 or not is_float(x):
        x = x if is_float(x) or method == "nearest" else ops.cast(x, "float32")
        return ops.image.resize(x, (rows, columns), method, antialias=bool(antialias), data_format="channels_last")
    return layers.Resizing(rows, columns, method, data_format="channels_last", dtype=x.dtype)(x)


def _resize_version_1(kind: str | None):
    def function(
        images,
        size,
        method=0,
        align_corners=False,
        preserve_aspect_ratio=False,
        half_pixel_centers=False,
        antialias=None,
    ):
        x, wanted = tensor(images), _wanted_size(size)
        name = kind or OLD_METHODS.get(method.lower() if isinstance(method, str) else method)
        if name is None or preserve_aspect_ratio or antialias:
            raise Untranslatable(f"by {method}" if name is None else "with this aspect ratio or antialiasing")
        if half_pixel_centers:
            return resize(x, list(wanted), name)
        for axis, target in zip(_image_axes(x), wanted, strict=True):
            x = _resized_axis(x, axis, target, name, bool(align_corners))
        return identity(x) if x is images else x

    return function


for _name, _kind in (
    ("image.resize", None),
    ("image.resize_images", None),
    ("image.resize_bilinear", "bilinear"),
    ("image.resize_nearest_neighbor", "nearest"),
):
    named(f"compat.v1.{_name}")(_resize_version_1(_kind))


def _resized_axis(x: Any, axis: int, target: int, method: str, align_corners: bool) -> Any:
    """One axis in the way of TensorFlow 1: position i of the result lies at ``i * scale`` of the source."""
    length = known_size(x, axis)
    if length == target:
        return x
    check_size([target, 1 if method == "nearest" else length])
    aligned = align_corners and target > 1
    scale = np.float32((length - 1) / (target - 1) if aligned else length / target)
    places = np.arange(target, dtype="float32") * scale
    if method == "nearest":
        nearest = np.floor(places + 0.5) if align_corners else np.floor(places)
        return ops.take(x, np.minimum(nearest, length - 1).astype("int32"), axis=axis)
    before = np.minimum(np.floor(places).astype(int), length - 1)
    after, share = np.minimum(before + 1, length - 1), places - np.floor(places)
    matrix = np.zeros((target, length), dtype="float32")
    np.add.at(matrix, (np.arange(target), before), 1 - share)
    np.add.at(matrix, (np.arange(target), after), share)
    x = x if is_float(x) else ops.cast(x, "float32")
    return ops.moveaxis(ops.tensordot(x, matrix.T.astype(x.dtype), axes=[[axis], [0]]), -1, axis)


@named("image.rgb_to_grayscale")
def rgb_to_grayscale(images):
    return ops.matmul(require_float(tensor(images)), np.array([[0.2989], [0.587], [0.114]], dtype=images.dtype))


@named("image.grayscale_to_rgb")
def grayscale_to_rgb(images):
    return ops.concatenate([tensor(images)] * 3, axis=-1)


@named("image.rgb_to_hsv")
def rgb_to_hsv(images):
    return ops.image.rgb_to_hsv(require_float(tensor(images)), data_format="channels_last")


@named("image.hsv_to_rgb")
def hsv_to_rgb(images):
    return ops.image.hsv_to_rgb(require_float(tensor(images)), data_format="channels_last")


def _mixing(*rows: tuple[float, float, float]):
    """A function that mixes the three channels of images by a matrix."""

    def function(images):
        return ops.matmul(require_float(tensor(images)), np.array(rows, dtype=images.dtype))

    return function


_YIQ = [(0.299, 0.59590059, 0.2115), (0.587, -0.27455667, -0.52273617), (0.114, -0.32134392, 0.31119955)]
_FROM_YIQ = [(1.0, 1.0, 1.0), (0.95598634, -0.27201283, -1.10674021), (0.6208248, -0.64720424, 1.70423049)]
_YUV = [(0.299, -0.14714119, 0.61497538), (0.587, -0.28886916, -0.51496512), (0.114, 0.43601035, -0.10001026)]
_FROM_YUV = [(1.0, 1.0, 1.0), (0.0, -0.394642334, 2.03206185), (1.13988303, -0.58062185, 0.0)]
named("image.rgb_to_yiq")(_mixing(*_YIQ))
named("image.yiq_to_rgb")(_mixing(*_FROM_YIQ))
named("image.rgb_to_yuv")(_mixing(*_YUV))
named("image.yuv_to_rgb")(_mixing(*_FROM_YUV))


@named("image.adjust_hue")
def adjust_hue(image, delta):
    hue, saturation, value = ops.split(rgb_to_hsv(image), 3, axis=-1)
    return hsv_to_rgb(ops.concatenate([ops.mod(plus(hue, delta), 1.0), saturation, value], axis=-1))


@named("image.adjust_brightness")
def adjust_brightness(image, delta):
    return plus(require_float(tensor(image)), delta)


@named("image.adjust_contrast")
def adjust_contrast(images, contrast_factor):
    mean = ops.mean(require_float(tensor(images)), axis=_image_axes(images), keepdims=True)
    return plus(times(minus(images, mean), contrast_factor), mean)


@named("image.adjust_gamma")
def adjust_gamma(image, gamma=1, gain=1):
    return times(power(require_float(tensor(image)), float(gamma)), gain)


@named("image.adjust_saturation")
def adjust_saturation(image, saturation_factor):
    hue, saturation, value = ops.split(rgb_to_hsv(image), 3, axis=-1)
    saturation = ops.clip(times(saturation, saturation_factor), 0.0, 1.0)
    return hsv_to_rgb(ops.concatenate([hue, saturation, value], axis=-1))


@named("image.per_image_standardization")
def per_image_standardization(image):
    x = require_float(tensor(image))
    over_all = tuple(range(rank(x) - 3, rank(x)))
    count = math.prod(known_size(x, axis) for axis in over_all)
    mean = ops.mean(x, axis=over_all, keepdims=True)
    deviation = ops.std(x, axis=over_all, keepdims=True)
    return over(minus(x, mean), ops.maximum(deviation, 1.0 / math.sqrt(count)))


@named("image.convert_image_dtype")
def convert_image_dtype(image, dtype, saturate=False):
    x = tensor(image)
    if x.dtype == dtype:
        return identity(x)
    if not str(dtype).startswith("float") or (is_float(x) is False and not str(x.dtype).startswith(("int", "uint"))):
        raise Untranslatable(f"from {x.dtype} to {dtype}")
    if is_float(x):
        return ops.cast(x, dtype)
    return times(ops.cast(x, dtype), 1.0 / np.iinfo(x.dtype).max)


@named("image.flip_left_right")
def flip_left_right(image):
    return ops.flip(image, axis=_image_axes(tensor(image))[1])


@named("image.flip_up_down")
def flip_up_down(image):
    return ops.flip(image, axis=_image_axes(tensor(image))[0])


@named("image.rot90")
def rot90(image, k=1):
    return ops.rot90(tensor(image), k=integers(k, "a number of turns")[0] % 4, axes=_image_axes(image))


@named("image.transpose", "image.transpose_image")
def transpose_image(image):
    return ops.swapaxes(tensor(image), *_image_axes(image))


@named("image.central_crop")
def central_crop(image, central_fraction):
    x, spec = tensor(image), _everything(image)
    for axis in _image_axes(x):
        length = known_size(x, axis)
        start = int((length - length * central_fraction) / 2)
        spec[axis] = (start, start + length - 2 * start)
    return _cut(x, spec)


def _everything(x: Any) -> list[tuple[int, int] | None]:
    return [None] * rank(x)


def _cut(x: Any, limits: list) -> Any:
    everything = {"start": None, "stop": None, "step": None}
    spec = [everything if pair is None else {"start": pair[0], "stop": pair[1], "step": None} for pair in limits]
    return getitem(x, spec)


@named("image.crop_to_bounding_box")
def crop_to_bounding_box(image, offset_height, offset_width, target_height, target_width):
    x, spec = tensor(image), _everything(image)
    places = integers([offset_height, offset_width, target_height, target_width], "places")
    for axis, start, length in zip(_image_axes(x), places[:2], places[2:], strict=True):
        spec[axis] = (start, start + length)
    return _cut(x, spec)


@named("image.pad_to_bounding_box")
def pad_to_bounding_box(image, offset_height, offset_width, target_height, target_width):
    x, sides = tensor(image), [[0, 0] for _ in image.shape]
    places = integers([offset_height, offset_width, target_height, target_width], "places")
    for axis, start, length in zip(_image_axes(x), places[:2], places[2:], strict=True):
        sides[axis] = [start, length - start - known_size(x, axis)]
    return pad(x, sides)


@named("image.resize_with_crop_or_pad", "image.resize_image_with_crop_or_pad")
def resize_with_crop_or_pad(image, target_height, target_width):
    x = tensor(image)
    spec, sides = _everything(x), [[0, 0] for _ in x.shape]
    for axis, target in zip(_image_axes(x), integers([target_height, target_width], "a size"), strict=True):
        length = known_size(x, axis)
        cut, added = max(length - target, 0) // 2, max(target - length, 0) // 2
        spec[axis] = (cut, cut + min(length, target))
        sides[axis] = [added, max(target - length, 0) - added]
    return pad(_cut(x, spec), sides)


@named("image.resize_with_pad")
def resize_with_pad(image, target_height, target_width, method="bilinear", antialias=False):
    x = tensor(image)
    height, width = (known_size(x, axis) for axis in _image_axes(x))
    ratio = max(width / target_width, height / target_height)
    rows, columns = math.floor(height / ratio), math.floor(width / ratio)
    top, left = (max(0, math.floor((a - n / ratio) / 2)) for a, n in ((target_height, height), (target_width, width)))
    resized = resize(x, [rows, columns], method, antialias=antialias)
    return pad_to_bounding_box(resized, top, left, target_height, target_width)


@named("image.extract_patches")
def extract_patches(images, sizes, strides, rates, padding):
    given = {"sizes": sizes, "strides": strides, "rates": rates}
    window, steps, rate = (_spatial(value, tensor(images), "channels_last", name) for name, value in given.items())
    if rate[0] != rate[1]:
        raise Untranslatable(f"with rates {rate}")
    channels = known_size(images, rank(images) - 1)
    check_size([math.prod(window) * channels] * 2)  # Keras cuts with the kernel of a convolution
    return ops.image.extract_patches(
        require_float(tensor(images)), window, steps, rate[0], padding=str(padding).lower(), data_format="channels_last"
    )
