"""Flipping, rotating, cropping and padding of images, and patches of them."""

from __future__ import annotations

import math

from keras import ops

from octconvert.loading.tensorflow.maps import image_axes, pad, spatial_values
from octconvert.loading.tensorflow.slicing import getitem
from octconvert.loading.tensorflow.table import implements
from octconvert.loading.tensorflow.values import (
    Argument,
    Tensor,
    Unsupported,
    check_constant_size,
    integers,
    known_size,
    rank,
    require_float,
    require_tensor,
)


@implements("image.flip_left_right")
def flip_left_right(image: Argument) -> Tensor:
    return ops.flip(image, axis=image_axes(require_tensor(image))[1])


@implements("image.flip_up_down")
def flip_up_down(image: Argument) -> Tensor:
    return ops.flip(image, axis=image_axes(require_tensor(image))[0])


@implements("image.rot90")
def rot90(image: Argument, k: Argument = 1) -> Tensor:
    return ops.rot90(require_tensor(image), k=integers(k, "number of turns")[0] % 4, axes=image_axes(image))


@implements("image.transpose", "image.transpose_image")
def transpose_image(image: Argument) -> Tensor:
    return ops.swapaxes(require_tensor(image), *image_axes(image))


@implements("image.central_crop")
def central_crop(image: Argument, central_fraction: Argument) -> Tensor:
    x, ranges = require_tensor(image), _whole(image)
    for axis in image_axes(x):
        length = known_size(x, axis)
        start = int((length - length * central_fraction) / 2)
        ranges[axis] = (start, start + length - 2 * start)
    return _crop(x, ranges)


def _whole(x: Tensor) -> list[tuple[int, int] | None]:
    return [None] * rank(x)


def _crop(x: Tensor, ranges: list[tuple[int, int] | None]) -> Tensor:
    everything = {"start": None, "stop": None, "step": None}
    spec = [everything if pair is None else {"start": pair[0], "stop": pair[1], "step": None} for pair in ranges]
    return getitem(x, spec)


@implements("image.crop_to_bounding_box")
def crop_to_bounding_box(
    image: Argument, offset_height: Argument, offset_width: Argument, target_height: Argument, target_width: Argument
) -> Tensor:
    x, ranges = require_tensor(image), _whole(image)
    bounds = integers([offset_height, offset_width, target_height, target_width], "indices")
    for axis, start, length in zip(image_axes(x), bounds[:2], bounds[2:], strict=True):
        ranges[axis] = (start, start + length)
    return _crop(x, ranges)


@implements("image.pad_to_bounding_box")
def pad_to_bounding_box(
    image: Argument, offset_height: Argument, offset_width: Argument, target_height: Argument, target_width: Argument
) -> Tensor:
    x, sides = require_tensor(image), [[0, 0] for _ in image.shape]
    bounds = integers([offset_height, offset_width, target_height, target_width], "indices")
    for axis, start, length in zip(image_axes(x), bounds[:2], bounds[2:], strict=True):
        sides[axis] = [start, length - start - known_size(x, axis)]
    return pad(x, sides)


@implements("image.resize_with_crop_or_pad", "image.resize_image_with_crop_or_pad")
def resize_with_crop_or_pad(image: Argument, target_height: Argument, target_width: Argument) -> Tensor:
    x = require_tensor(image)
    ranges, sides = _whole(x), [[0, 0] for _ in x.shape]
    for axis, target in zip(image_axes(x), integers([target_height, target_width], "size"), strict=True):
        length = known_size(x, axis)
        cut, added = max(length - target, 0) // 2, max(target - length, 0) // 2
        ranges[axis] = (cut, cut + min(length, target))
        sides[axis] = [added, max(target - length, 0) - added]
    return pad(_crop(x, ranges), sides)


@implements("image.extract_patches")
def extract_patches(images: Argument, sizes: Argument, strides: Argument, rates: Argument, padding: Argument) -> Tensor:
    arguments = {"sizes": sizes, "strides": strides, "rates": rates}
    window, steps, rate = (
        spatial_values(value, require_tensor(images), "channels_last", name) for name, value in arguments.items()
    )
    if rate[0] != rate[1]:
        raise Unsupported(f"rates={rate} differ between rows and columns")
    channels = known_size(images, rank(images) - 1)
    check_constant_size([math.prod(window) * channels] * 2)  # Keras extracts patches by a convolution with that kernel
    return ops.image.extract_patches(
        require_float(require_tensor(images)),
        window,
        steps,
        rate[0],
        padding=str(padding).lower(),
        data_format="channels_last",
    )
