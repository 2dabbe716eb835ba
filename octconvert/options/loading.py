"""How a model is read."""

from __future__ import annotations

import numbers
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from octconvert.errors import UsageError
from octconvert.options.fields import option
from octconvert.options.limits import shown


@dataclass(frozen=True)
class LoadingOptions:
    """The options for reading a file.

    Raises:
        UsageError: on creation, where a value makes no sense.
    """

    input_shape: tuple[int, ...] | None = option(None, "rows, columns and channels for a model that leaves them open")
    unsafe: bool = option(False, "run code stored in the model's file (Lambda layers); only for files you trust")
    custom_objects: Mapping[str, Any] | None = option(None, "classes and functions that the model needs, by name")

    def __post_init__(self) -> None:
        if self.input_shape is not None:
            object.__setattr__(self, "input_shape", _checked_shape(self.input_shape))


def _checked_shape(shape: Any) -> tuple[int, ...]:
    sizes = shape if isinstance(shape, (tuple, list)) else ()
    if not sizes or not all(isinstance(size, numbers.Integral) and int(size) > 0 for size in sizes):
        raise UsageError(f"`input_shape` takes positive integers, (rows, columns, channels), received {shown(shape)}")
    return tuple(map(int, sizes))
