"""Sorting and cumulative sums along an axis."""

from __future__ import annotations

from keras import ops

from octconvert.loading.tensorflow.table import implements
from octconvert.loading.tensorflow.values import (
    Argument,
    Function,
    MultipleOutputs,
    Tensor,
    Unsupported,
    integers,
    known_size,
    rank,
    require_float,
    require_tensor,
)


@implements("cumsum")
def cumsum(x: Argument, axis: Argument = 0, exclusive: bool = False, reverse: bool = False) -> Tensor:
    return _cumulated(ops.cumsum, x, axis, exclusive, reverse)


@implements("cumprod")
def cumprod(x: Argument, axis: Argument = 0, exclusive: bool = False, reverse: bool = False) -> Tensor:
    return _cumulated(ops.cumprod, x, axis, exclusive, reverse)


def _cumulated(operation: Function, x: Argument, axis: Argument, exclusive: bool, reverse: bool) -> Tensor:
    x, axis = require_float(require_tensor(x)), integers(axis, "axes")[0]
    x = ops.flip(x, axis=axis) if reverse else x
    if exclusive:  # the neutral element, then all entries but the last
        entries = [[0, 0] for _ in x.shape]
        entries[axis] = [1, 0]
        start = 1.0 if operation is ops.cumprod else 0.0
        length = known_size(x, axis % rank(x))
        x = _range(ops.pad(x, entries, constant_values=start), axis % rank(x), 0, length)
    x = operation(x, axis=axis)
    return ops.flip(x, axis=axis) if reverse else x


def _range(x: Tensor, axis: int, start: int, stop: int) -> Tensor:
    return x[tuple(slice(start, stop) if i == axis else slice(None) for i in range(rank(x)))]


@implements("top_k", "nn.top_k")
def top_k(input: Argument, k: Argument = 1, sorted: bool = True) -> MultipleOutputs:
    return MultipleOutputs(ops.top_k(require_tensor(input), k=integers(k, "k")[0], sorted=bool(sorted)))


@implements("sort")
def sort(values: Argument, axis: Argument = -1, direction: Argument = "ASCENDING") -> Tensor:
    x = ops.sort(require_tensor(values), axis=axis)
    return x if direction == "ASCENDING" else ops.flip(x, axis=axis)


@implements("argsort")
def argsort(values: Argument, axis: Argument = -1, direction: Argument = "ASCENDING", stable: bool = False) -> Tensor:
    if direction != "ASCENDING":
        raise Unsupported(f"direction={direction} is not supported")
    return ops.argsort(require_tensor(values), axis=axis)
