"""Shapes: what they are and functions that change them. A size that is not known yet is an `UnknownSize`."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from keras import layers, ops

from octconvert.loading.tensorflow.table import implements
from octconvert.loading.tensorflow.values import (
    UNKNOWN_SIZE,
    Argument,
    Tensor,
    UnknownSize,
    Unsupported,
    as_list,
    axes,
    check_constant_size,
    integers,
    is_tensor,
    known_size,
    map_nested,
    rank,
    require_tensor,
)


@implements("shape", "keras.backend.shape")
def shape(input: Argument, out_type: Argument = "int32") -> tuple[UnknownSize | int, ...]:
    return tuple(
        UnknownSize(input, axis) if n is None else int(n) for axis, n in enumerate(require_tensor(input).shape)
    )


@implements("size")
def size(input: Argument, out_type: Argument = "int32") -> int:
    return math.prod(known_size(require_tensor(input), axis) for axis in range(rank(input)))


@implements("rank")
def number_of_axes(input: Argument) -> int:
    return rank(require_tensor(input))


def _target_shape(shape: list[Any]) -> list[int]:
    """The shape with -1 in the place of its unknown size.

    Raises:
        Unsupported: More than one size is unknown.
    """
    sizes = integers([-1 if isinstance(item, UnknownSize) else item for item in shape], "shape")
    if sizes.count(-1) > 1:
        raise Unsupported(f"more than one size of the shape {sizes} is unknown")
    return sizes


@implements("reshape", "keras.backend.reshape")
def reshape(tensor: Argument, shape: Argument) -> Argument:
    if not is_tensor(tensor):
        return map_nested(lambda item: item, tensor)
    target = as_list(shape)
    if target.count(-1) == 1 and any(isinstance(item, UnknownSize) for item in target):
        target = _with_inferred_size(tensor, target)
    sizes = _target_shape(target)
    keeps_batch = tensor.shape[0] is None and sizes[0] == -1 and None not in tensor.shape[1:]
    if keeps_batch and math.prod(sizes[1:]) == math.prod(tensor.shape[1:]):
        return layers.Reshape(sizes[1:], dtype=tensor.dtype)(tensor)
    return ops.reshape(tensor, sizes)


def _with_inferred_size(tensor: Tensor, target: list[Any]) -> list[Any]:
    """``[unknown batch, -1, ...]`` with a number for -1, where the unknown size is the tensor's own."""
    unknown = [item for item in target if isinstance(item, UnknownSize)]
    unknown_axes = [axis for axis, n in enumerate(tensor.shape) if n is None]
    if len(unknown) != 1 or len(unknown_axes) != 1 or unknown[0].axis != unknown_axes[0]:
        return target
    known = math.prod(n for n in tensor.shape if n is not None)
    rest = math.prod(item for item in target if isinstance(item, int) and item != -1)
    return [known // rest if isinstance(item, int) and item == -1 else item for item in target]


@implements("keras.backend.batch_flatten")
def batch_flatten(x: Argument) -> Tensor:
    return reshape(x, [UnknownSize(x, 0), math.prod(known_size(x, axis) for axis in range(1, rank(x)))])


@implements("keras.backend.flatten")
def flatten(x: Argument) -> Tensor:
    return ops.reshape(require_tensor(x), [-1])


@implements("transpose", "keras.backend.permute_dimensions")
def transpose(a: Argument, perm: Argument = None, conjugate: bool = False) -> Tensor:
    return ops.transpose(require_tensor(a), axes=None if perm is None else integers(perm, "order of axes"))


@implements("expand_dims", "keras.backend.expand_dims")
def expand_dims(input: Argument, axis: Argument = None, dim: Argument = None) -> Tensor:
    axis = integers(axis if axis is not None else dim, "axes")[0]
    return ops.expand_dims(require_tensor(input), axis=axis)


@implements("squeeze", "keras.backend.squeeze")
def squeeze(input: Argument, axis: Argument = None, squeeze_dims: Argument = None) -> Tensor:
    selected = axis if axis is not None else squeeze_dims
    over = None if selected in (None, []) else tuple(sorted(axes(selected, require_tensor(input)) or ()))
    return ops.squeeze(require_tensor(input), axis=over)


@implements("broadcast_to")
def broadcast_to(input: Argument, shape: Argument) -> Tensor:
    target = [require_tensor(input).shape[i] if isinstance(n, UnknownSize) else n for i, n in enumerate(shape)]
    if None in target or len(target) != rank(input):
        sizes = [1 if isinstance(n, UnknownSize) else n for n in shape]
        check_constant_size(sizes)
        ones = np.ones(sizes, dtype=input.dtype)
        if any(isinstance(n, UnknownSize) and input.shape[i] is not None for i, n in enumerate(shape)):
            raise Unsupported(UNKNOWN_SIZE)
        return ops.multiply(input, ones)
    return ops.broadcast_to(input, tuple(integers(target, "shape")))
