"""Slices and indices."""

from __future__ import annotations

from typing import Any

import numpy as np
from keras import ops

from octconvert.loading.tensorflow.table import implements
from octconvert.loading.tensorflow.values import (
    Argument,
    Tensor,
    Unsupported,
    integers,
    is_tensor,
    known_size,
    rank,
    require_tensor,
)


@implements("slice")
def slice_(input_: Argument, begin: Argument, size: Argument) -> Tensor:
    x, begin, size = require_tensor(input_), integers(begin, "indices"), integers(size, "sizes")
    return x[tuple(slice(b, None if n == -1 else b + n) for b, n in zip(begin, size, strict=True))]


@implements("strided_slice")
def strided_slice(
    input_: Argument,
    begin: Argument,
    end: Argument,
    strides: Argument = None,
    begin_mask: Argument = 0,
    end_mask: Argument = 0,
    ellipsis_mask: Argument = 0,
    new_axis_mask: Argument = 0,
    shrink_axis_mask: Argument = 0,
    var: Argument = None,
) -> Tensor:
    if ellipsis_mask or new_axis_mask or var is not None:
        raise Unsupported("an ellipsis or a new axis is not supported")
    begin, end = integers(begin, "indices"), integers(end, "indices")
    steps = [1] * len(begin) if strides is None else integers(strides, "steps")
    parts: list[Any] = []
    for i, (first, last, step) in enumerate(zip(begin, end, steps, strict=True)):
        if shrink_axis_mask >> i & 1:
            parts.append(first)
        else:
            parts.append(slice(None if begin_mask >> i & 1 else first, None if end_mask >> i & 1 else last, step))
    return _indexed(require_tensor(input_), parts)


@implements("getitem")
def getitem(value: Argument, slice_spec: Argument) -> Argument:
    parts = [_index(part) for part in (slice_spec if isinstance(slice_spec, list) else [slice_spec])]
    if not is_tensor(value):
        return value[parts[0]] if len(parts) == 1 else np.asarray(value)[tuple(parts)].tolist()
    return _indexed(value, parts)


def _index(part: Argument) -> Any:
    """A part of an index as Python has it: a slice, an Ellipsis, None or an integer."""
    if isinstance(part, dict) and set(part) == {"start", "stop", "step"}:
        limits = [part["start"], part["stop"], part["step"]]
        return slice(*(None if limit is None else _constant_index(limit) for limit in limits))
    if isinstance(part, dict) and part.get("class_name") == "__ellipsis__":
        return Ellipsis
    return None if part is None else _constant_index(part)


def _constant_index(value: Argument) -> int:
    if not isinstance(value, int) or isinstance(value, bool):
        raise Unsupported("the model computes its indices")
    return value


def _indexed(x: Tensor, parts: list[Any]) -> Tensor:
    """``x[parts]``; a negative step becomes a flip and a positive step, since not every backend has negative ones."""
    count = sum(part is not None and part is not Ellipsis for part in parts)
    if Ellipsis in parts:
        position = next(i for i, part in enumerate(parts) if part is Ellipsis)
        parts = [*parts[:position], *[slice(None)] * (rank(x) - count), *parts[position + 1 :]]
    axis, flipped, positive = 0, [], []
    for part in parts:
        if isinstance(part, slice) and (part.step or 1) < 0:
            flipped.append(axis)
            part = _reversed(part, None if part.start is part.stop is None else known_size(x, axis))
        axis += part is not None
        positive.append(part)
    if flipped:
        x = ops.flip(x, axis=flipped)
    everything = all(isinstance(part, slice) and part in (slice(None), slice(None, None, 1)) for part in positive)
    return x if everything and flipped else x[tuple(positive)]


def _reversed(part: slice, length: int | None) -> slice:
    """The slice of the flipped axis that selects the same entries."""
    step = -part.step
    if length is None:
        return slice(None, None, step)
    first, last, _ = part.indices(length)
    return slice(length - 1 - first, length - 1 - last, step)
