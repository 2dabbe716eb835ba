"""Arithmetic of two tensors, or of a tensor and numbers; with constants it becomes a Rescaling layer."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import keras
import numpy as np
from keras import layers, ops

from octconvert.loading.tensorflow.casts import identity
from octconvert.loading.tensorflow.table import implements
from octconvert.loading.tensorflow.values import (
    UNKNOWN_SIZE,
    Argument,
    Function,
    Tensor,
    UnknownSize,
    Unsupported,
    is_float,
    is_number,
    is_tensor,
    operands,
    rank,
    require_float,
)


def _rescale(x: Tensor, scale: Argument, offset: Argument) -> Tensor:
    return layers.Rescaling(scale, offset, dtype=x.dtype)(x)


def _can_rescale(x: Tensor, value: Argument) -> bool:
    """Whether a Rescaling of ``x`` can hold ``value``: a number, or one for each entry of the last axis."""
    if not is_float(x) or is_tensor(value):
        return False
    fits = not isinstance(value, list) or len(value) == x.shape[-1]
    return fits and all(is_number(item) and math.isfinite(item) for item in _items(value))


def _items(value: Argument) -> list[Any]:
    return value if isinstance(value, list) else [value]


def _apply(value: Argument, function: Callable[[float], float]) -> float | list[float]:
    return [function(float(item)) for item in value] if isinstance(value, list) else function(float(value))


def _repeated(value: Argument, number: float) -> float | list[float]:
    return [number] * len(value) if isinstance(value, list) else number


def _merge(layer: type, x: Argument, y: Argument, operation: Function) -> Tensor:
    """Uses a merging layer for two tensors of the same rank: others are broadcast differently in TensorFlow."""
    if is_tensor(x) and is_tensor(y) and rank(x) == rank(y) and is_float(x):
        first, second = operands(x, y)
        return layer(dtype=first.dtype)([first, second])
    return operation(*operands(x, y))


def _also_of_constants(function: Function) -> Function:
    """Decorator: computes the result with NumPy where neither operand is a tensor."""

    def function_or_numpy(x: Argument, y: Argument) -> Argument:
        if is_tensor(x) or is_tensor(y):
            return function(x, y)
        if any(isinstance(item, UnknownSize) for item in keras.tree.flatten([x, y])):
            raise Unsupported(UNKNOWN_SIZE)
        result = WITH_NUMPY[function.__name__](np.asarray(x), np.asarray(y))
        return result.item() if result.ndim == 0 else result.tolist()

    return function_or_numpy


WITH_NUMPY: dict[str, Function] = {
    "plus": np.add,
    "minus": np.subtract,
    "times": np.multiply,
    "over": np.true_divide,
    "floor_divide": np.floor_divide,
    "modulo": np.mod,
    "maximum": np.maximum,
    "minimum": np.minimum,
    "power": np.power,
}


@implements("add")
@_also_of_constants
def plus(x: Argument, y: Argument) -> Tensor:
    if is_tensor(x) and _can_rescale(x, y):
        return _rescale(x, 1.0 if not isinstance(y, list) else _repeated(y, 1.0), _apply(y, float))
    if is_tensor(y) and _can_rescale(y, x):
        return plus(y, x)
    return _merge(layers.Add, x, y, ops.add)


@implements("subtract", "sub")
@_also_of_constants
def minus(x: Argument, y: Argument) -> Tensor:
    if is_tensor(x) and _can_rescale(x, y):
        return _rescale(x, _repeated(y, 1.0), _apply(y, lambda number: -number))
    if is_tensor(y) and _can_rescale(y, x):
        return _rescale(y, _repeated(x, -1.0), _apply(x, float))
    return _merge(layers.Subtract, x, y, ops.subtract)


@implements("multiply", "mul")
@_also_of_constants
def times(x: Argument, y: Argument) -> Tensor:
    if is_tensor(x) and _can_rescale(x, y):
        return _rescale(x, _apply(y, float), _repeated(y, 0.0))
    if is_tensor(y) and _can_rescale(y, x):
        return times(y, x)
    return _merge(layers.Multiply, x, y, ops.multiply)


@implements("truediv", "divide", "realdiv", "compat.v1.div", "compat.v1.realdiv")
@_also_of_constants
def over(x: Argument, y: Argument) -> Tensor:
    if is_tensor(x) and _can_rescale(x, y) and all(_items(y)):
        return _rescale(x, _apply(y, lambda number: 1.0 / number), _repeated(y, 0.0))
    x, y = operands(x, y)
    if not is_float(x if is_tensor(x) else y):
        raise Unsupported("its operands are integers")
    return ops.true_divide(x, y)


@implements("maximum", "keras.backend.maximum")
@_also_of_constants
def maximum(x: Argument, y: Argument) -> Tensor:
    return _merge(layers.Maximum, x, y, ops.maximum)


@implements("minimum", "keras.backend.minimum")
@_also_of_constants
def minimum(x: Argument, y: Argument) -> Tensor:
    return _merge(layers.Minimum, x, y, ops.minimum)


@implements("floordiv", "floor_div")
@_also_of_constants
def floor_divide(x: Argument, y: Argument) -> Tensor:
    return ops.floor_divide(*operands(x, y))


@implements("floormod", "mod")
@_also_of_constants
def modulo(x: Argument, y: Argument) -> Tensor:
    return ops.mod(*operands(x, y))


@implements("pow", "keras.backend.pow")
@_also_of_constants
def power(x: Argument, y: Argument) -> Tensor:
    x, y = operands(x, y)
    return ops.power(require_float(x) if is_tensor(x) else x, y)


@implements("divide_no_nan", "div_no_nan")
def divide_no_nan(x: Argument, y: Argument) -> Tensor:
    return ops.divide_no_nan(*operands(x, y))


@implements("multiply_no_nan")
def multiply_no_nan(x: Argument, y: Argument) -> Tensor:
    x, y = operands(x, y)
    return ops.where(ops.equal(y, 0), 0.0, ops.multiply(x, y))


@implements("squared_difference")
def squared_difference(x: Argument, y: Argument) -> Tensor:
    return ops.square(minus(x, y))


@implements("atan2")
def atan2(y: Argument, x: Argument) -> Tensor:
    return ops.arctan2(*operands(y, x))


@implements("add_n", "math.accumulate_n")
def add_n(inputs: Argument) -> Tensor:
    if not isinstance(inputs, list):
        return identity(inputs)
    total = inputs[0]
    if all(map(is_tensor, inputs)) and len({rank(x) for x in inputs}) == 1 and len(inputs) > 1 and is_float(total):
        return layers.Add(dtype=total.dtype)(list(inputs))
    for other in inputs[1:]:
        total = plus(total, other)
    return identity(total) if len(inputs) == 1 else total
