"""Resizing of images, as TensorFlow 2 and TensorFlow 1 do it."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from keras import layers, ops

from octconvert.loading.tensorflow.casts import identity
from octconvert.loading.tensorflow.cropping import pad_to_bounding_box
from octconvert.loading.tensorflow.maps import image_axes
from octconvert.loading.tensorflow.table import implements
from octconvert.loading.tensorflow.values import (
    UNKNOWN_SIZE,
    Argument,
    Function,
    Tensor,
    UnknownSize,
    Unsupported,
    as_list,
    check_constant_size,
    integers,
    is_float,
    known_size,
    rank,
    require_tensor,
)

METHODS = ("bilinear", "nearest", "bicubic", "lanczos3", "lanczos5")
METHODS_OF_VERSION_1: dict[Any, str] = {0: "bilinear", 1: "nearest", "bilinear": "bilinear", "nearest": "nearest"}


def _target_size(size: Argument) -> tuple[int, int]:
    items = as_list(size)
    if any(isinstance(n, UnknownSize) for n in items) or len(items) != 2:
        raise Unsupported(UNKNOWN_SIZE)
    rows, columns = integers(items, "size")
    return rows, columns


@implements("image.resize", "image.resize_v2", "keras.backend.resize")
def resize(
    images: Argument,
    size: Argument,
    method: Argument = "bilinear",
    preserve_aspect_ratio: bool = False,
    antialias: bool = False,
) -> Tensor:
    x, (rows, columns) = require_tensor(images), _target_size(size)
    if method not in METHODS:
        raise Unsupported(f"method={method} is not supported")
    if preserve_aspect_ratio:
        height, width = (known_size(x, axis) for axis in image_axes(x))
        scale = min(rows / height, columns / width)
        rows, columns = (max(1, int(np.round(n * scale))) for n in (height, width))
    if antialias or rank(x) != 4 or not is_float(x):
        x = x if is_float(x) or method == "nearest" else ops.cast(x, "float32")
        return ops.image.resize(x, (rows, columns), method, antialias=bool(antialias), data_format="channels_last")
    return layers.Resizing(rows, columns, method, data_format="channels_last", dtype=x.dtype)(x)


def _resize_version_1(kind: str | None) -> Function:
    def function(
        images: Argument,
        size: Argument,
        method: Argument = 0,
        align_corners: bool = False,
        preserve_aspect_ratio: bool = False,
        half_pixel_centers: bool = False,
        antialias: Argument = None,
    ) -> Tensor:
        x, sizes = require_tensor(images), _target_size(size)
        name = kind or METHODS_OF_VERSION_1.get(method.lower() if isinstance(method, str) else method)
        if name is None or preserve_aspect_ratio or antialias:
            reason = f"method={method} is" if name is None else "preserve_aspect_ratio and antialias are"
            raise Unsupported(f"{reason} not supported")
        if half_pixel_centers:
            return resize(x, list(sizes), name)
        for axis, target in zip(image_axes(x), sizes, strict=True):
            x = _resized_axis(x, axis, target, name, bool(align_corners))
        return identity(x) if x is images else x

    return function


for _name, _kind in (
    ("image.resize", None),
    ("image.resize_images", None),
    ("image.resize_bilinear", "bilinear"),
    ("image.resize_nearest_neighbor", "nearest"),
):
    implements(f"compat.v1.{_name}")(_resize_version_1(_kind))


def _resized_axis(x: Tensor, axis: int, target: int, method: str, align_corners: bool) -> Tensor:
    """Resizes one axis as TensorFlow 1: position i of the result lies at ``i * scale`` of the source."""
    length = known_size(x, axis)
    if length == target:
        return x
    check_constant_size([target, 1 if method == "nearest" else length])
    aligned = align_corners and target > 1
    scale = np.float32((length - 1) / (target - 1) if aligned else length / target)
    positions = np.arange(target, dtype="float32") * scale
    if method == "nearest":
        nearest = np.floor(positions + 0.5) if align_corners else np.floor(positions)
        return ops.take(x, np.minimum(nearest, length - 1).astype("int32"), axis=axis)
    before = np.minimum(np.floor(positions).astype(int), length - 1)
    after, share = np.minimum(before + 1, length - 1), positions - np.floor(positions)
    matrix = np.zeros((target, length), dtype="float32")
    np.add.at(matrix, (np.arange(target), before), 1 - share)
    np.add.at(matrix, (np.arange(target), after), share)
    x = x if is_float(x) else ops.cast(x, "float32")
    return ops.moveaxis(ops.tensordot(x, matrix.T.astype(x.dtype), axes=[[axis], [0]]), -1, axis)


@implements("image.resize_with_pad")
def resize_with_pad(
    image: Argument,
    target_height: Argument,
    target_width: Argument,
    method: Argument = "bilinear",
    antialias: bool = False,
) -> Tensor:
    x = require_tensor(image)
    height, width = (known_size(x, axis) for axis in image_axes(x))
    ratio = max(width / target_width, height / target_height)
    rows, columns = math.floor(height / ratio), math.floor(width / ratio)
    top, left = (max(0, math.floor((a - n / ratio) / 2)) for a, n in ((target_height, height), (target_width, width)))
    resized = resize(x, [rows, columns], method, antialias=antialias)
    return pad_to_bounding_box(resized, top, left, target_height, target_width)
