"""What the functions of this package work on: Keras tensors, numbers, lists, open sizes."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np

from octconvert.text.words import extent

CONSTANT = 2**24
"""Numbers of a constant that is computed while a model is built."""


class Untranslatable(Exception):
    """The call uses its function in a way that Keras has no equal for; the message says which."""


@dataclass(frozen=True, eq=False)
class Open:
    """A size that is not known before the model runs: of ``axis`` of ``tensor``."""

    tensor: Any
    axis: int


class Outputs(list):
    """What a function with several outputs returns; any other list or tuple is one value."""


def is_tensor(value: Any) -> bool:
    return isinstance(value, keras.KerasTensor)


def is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def tensor(value: Any) -> Any:
    """The value itself.

    Raises:
        Untranslatable: It is no tensor.
    """
    if not is_tensor(value):
        raise Untranslatable("of a constant")
    return value


def constant(value: Any, dtype: str) -> Any:
    """A number as it is, a list as an array of ``dtype``, a tensor unchanged."""
    if is_tensor(value) or is_number(value) or isinstance(value, bool):
        return value
    _refuse_open(value)
    if isinstance(value, list | tuple) and any(is_tensor(item) for item in keras.tree.flatten(value)):
        return keras.ops.stack([constant_tensor(item, dtype) for item in value])
    return np.array(value, dtype=dtype)


def constant_tensor(value: Any, dtype: str) -> Any:
    """The value, or an array of ``dtype``."""
    if is_tensor(value):
        return value
    _refuse_open(value)
    return np.array(value, dtype=dtype)


def _refuse_open(value: Any) -> None:
    if any(isinstance(item, Open) for item in keras.tree.flatten(value)):
        raise Untranslatable("of a size that is not known before the model runs")


def pair(first: Any, second: Any) -> tuple[Any, Any]:
    """Both operands; a constant one with the type of the other, as TensorFlow takes it.

    Raises:
        Untranslatable: Neither is a tensor, or they are tensors of different types.
    """
    if is_tensor(first) and is_tensor(second):
        if first.dtype != second.dtype:
            raise Untranslatable(f"of {first.dtype} and {second.dtype}")
        return first, second
    dtype = tensor(first if is_tensor(first) else second).dtype
    return constant(first, dtype), constant(second, dtype)


def check_size(shape: Iterable[int]) -> None:
    """Refuses a constant that is larger than any that stands in a file.

    Raises:
        Untranslatable: It has over `CONSTANT` numbers.
    """
    sizes = integers(list(shape), "a shape")
    if math.prod(map(abs, sizes)) > CONSTANT:
        raise Untranslatable(f"with a constant of {extent(sizes)} numbers")


def rank(value: Any) -> int:
    return len(value.shape)


def integers(value: Any, what: str) -> list[int]:
    """A list of whole numbers, from one or several.

    Raises:
        Untranslatable: The model computes them.
    """
    items = list(value) if isinstance(value, list | tuple) else [value]
    if not all(isinstance(item, int) and not isinstance(item, bool) for item in items):
        raise Untranslatable(f"with {what} that the model computes" if what else "of values that the model computes")
    return items


def axes(value: Any, of: Any) -> list[int] | None:
    """Axes counted from the front; None for all."""
    if value is None:
        return None
    return [axis % rank(of) for axis in integers(value, "axes")]


def known_size(of: Any, axis: int) -> int:
    """Length of an axis.

    Raises:
        Untranslatable: It is open.
    """
    size = of.shape[axis]
    if size is None:
        raise Untranslatable("of a map whose rows or columns are open")
    return int(size)


def is_float(value: Any) -> bool:
    return str(value.dtype).startswith(("float", "bfloat"))


def require_float(value: Any) -> Any:
    """The value.

    Raises:
        Untranslatable: It is of whole numbers, which TensorFlow and Keras treat differently here.
    """
    if not is_float(value):
        raise Untranslatable(f"of {value.dtype}")
    return value
