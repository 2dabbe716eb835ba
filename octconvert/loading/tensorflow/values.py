"""What the TensorFlow functions work on: Keras tensors, numbers, lists and sizes that are not known yet."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, TypeAlias

import keras
import numpy as np

from octconvert.text.words import extent

Tensor: TypeAlias = keras.KerasTensor
Argument: TypeAlias = Any
"""What a file may hold as an argument: a tensor, a number, a text, an `UnknownSize`, None, or lists of them."""
Function: TypeAlias = Callable[..., Any]

LARGEST_CONSTANT = 2**24
"""Most numbers of a constant that is computed while a model is built."""
UNKNOWN_SIZE = "a size is not known before the model runs"


class Unsupported(Exception):
    """Keras has no equivalent for this call of a function; the message is the reason, a clause without a subject."""


@dataclass(frozen=True, eq=False)
class UnknownSize:
    """The size of ``axis`` of ``tensor``, which is not known before the model runs."""

    tensor: Tensor
    axis: int


class MultipleOutputs(list[Any]):
    """The result of a function with several outputs; any other list or tuple is one value."""


def is_tensor(value: Argument) -> bool:
    return isinstance(value, keras.KerasTensor)


def is_number(value: Argument) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def require_tensor(value: Argument) -> Tensor:
    """The value itself.

    Raises:
        Unsupported: It is not a tensor.
    """
    if not is_tensor(value):
        raise Unsupported("its argument is a constant, not a tensor")
    return value


def constant(value: Argument, dtype: str) -> Argument:
    """A number or a tensor unchanged, a list as an array of ``dtype``."""
    if is_tensor(value) or is_number(value) or isinstance(value, bool):
        return value
    _refuse_unknown_sizes(value)
    if isinstance(value, list | tuple) and any(is_tensor(item) for item in keras.tree.flatten(value)):
        return keras.ops.stack([constant_tensor(item, dtype) for item in value])
    return np.array(value, dtype=dtype)


def constant_tensor(value: Argument, dtype: str) -> Tensor | np.ndarray:
    """A tensor unchanged, anything else as an array of ``dtype``."""
    if is_tensor(value):
        return value
    _refuse_unknown_sizes(value)
    return np.array(value, dtype=dtype)


def _refuse_unknown_sizes(value: Argument) -> None:
    if any(isinstance(item, UnknownSize) for item in keras.tree.flatten(value)):
        raise Unsupported(UNKNOWN_SIZE)


def operands(first: Argument, second: Argument) -> tuple[Any, Any]:
    """Both operands; a constant gets the type of the tensor beside it, as in TensorFlow.

    Raises:
        Unsupported: Neither is a tensor, or they are tensors of different types.
    """
    if is_tensor(first) and is_tensor(second):
        if first.dtype != second.dtype:
            raise Unsupported(f"its operands have different types, {first.dtype} and {second.dtype}")
        return first, second
    dtype = require_tensor(first if is_tensor(first) else second).dtype
    return constant(first, dtype), constant(second, dtype)


def check_constant_size(shape: Iterable[int]) -> None:
    """Refuses to compute a constant that is larger than a file would hold.

    Raises:
        Unsupported: It has over `LARGEST_CONSTANT` numbers.
    """
    sizes = integers(list(shape), "shape")
    if math.prod(map(abs, sizes)) > LARGEST_CONSTANT:
        raise Unsupported(f"it needs a constant of {extent(sizes)} numbers")


def rank(value: Any) -> int:
    """Number of axes."""
    return len(value.shape)


def integers(value: Argument, name: str) -> list[int]:
    """The argument ``name`` as a list of integers, from one or several.

    Raises:
        Unsupported: The model computes them.
    """
    items = as_list(value)
    if not all(isinstance(item, int) and not isinstance(item, bool) for item in items):
        raise Unsupported(f"the model computes its {name}")
    return items


def axes(value: Argument, of: Any) -> list[int] | None:
    """Axes counted from the front; None for all."""
    if value is None:
        return None
    return [axis % rank(of) for axis in integers(value, "axes")]


def known_size(of: Any, axis: int) -> int:
    """Length of an axis.

    Raises:
        Unsupported: It is not known.
    """
    size = of.shape[axis]
    if size is None:
        raise Unsupported("the rows or columns of its argument are not known")
    return int(size)


def is_float(value: Any) -> bool:
    return str(value.dtype).startswith(("float", "bfloat"))


def require_float(value: Any) -> Any:
    """The value itself.

    Raises:
        Unsupported: It has integers, which TensorFlow and Keras treat differently here.
    """
    if not is_float(value):
        raise Unsupported(f"its argument has the type {value.dtype}, not a float type")
    return value


def as_list(value: Argument) -> list[Any]:
    return list(value) if isinstance(value, list | tuple) else [value]


def map_nested(function: Function, value: Argument) -> Argument:
    """``function`` of every item of nested lists and tuples."""
    if isinstance(value, list | tuple):
        return type(value)(map_nested(function, item) for item in value)
    return function(value)
