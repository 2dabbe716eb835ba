"""One element of the data, as ``fit`` takes it -> an array for each input, and labels."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import numpy as np

from octconvert.errors import InputError, one_line
from octconvert.options.evaluation import LABEL_NAMES
from octconvert.samples.inputs import ModelInput, miscount_message

INPUT_NAMES = ("x", "images", "inputs", "X", "x_train", "x_test", "image", "input", "data")
"""Names of the array that holds the samples of a model with one input; the first that exists counts."""


def split_element(value: Any, inputs: list[ModelInput], label: str) -> tuple[list[np.ndarray], np.ndarray | None]:
    """An array for each input, and labels or None.

    Args:
        value: x, (x, y) or (x, y, weights); x is an array, a list of one for each input, or a dict.
        label: what messages call the data.

    Raises:
        InputError: the arrays do not fit the model's inputs.
    """
    labels = None
    if _is_x_y(value, len(inputs)):
        value, labels = value[0], value[1] if len(value) > 1 else None
    if isinstance(value, Mapping):
        names, own = input_names(list(value), inputs, label)
        labels = value[own] if labels is None and own is not None else labels
        value = [value[name] for name in names]
    elif len(inputs) == 1 and not (isinstance(value, (list, tuple)) and len(value) == 1 and is_array(value[0])):
        value = [value]
    if not isinstance(value, (list, tuple)) or len(value) != len(inputs):
        received = len(value) if isinstance(value, (list, tuple)) else 1
        raise InputError(f"{label}: {miscount_message(inputs, received)}")
    return [_array(item, label) for item in value], _labels(labels)


def _is_x_y(value: Any, inputs: int) -> bool:
    if not isinstance(value, (list, tuple)) or not 1 <= len(value) <= 3:
        return False
    nested = isinstance(value[0], (list, tuple, Mapping))
    if inputs > 1:
        return nested
    return is_array(value[0]) or (nested and isinstance(value, tuple))


def _labels(value: Any) -> np.ndarray | None:
    """One array of numbers, or None: calibration does not need labels, so others are no error."""
    if value is None or isinstance(value, Mapping):
        return None
    if isinstance(value, (list, tuple)) and any(is_array(item) and np.ndim(item) for item in value):
        return None  # of several outputs
    try:
        array = np.asarray(value)
    except Exception:  # labels of different lengths, ragged tensors, ...
        return None
    return array if is_numeric(array.dtype) else None


def input_names(names: list[str], inputs: list[ModelInput], label: str) -> tuple[list[str], str | None]:
    """The names of the inputs, and that of the labels or None.

    Raises:
        InputError: inputs are missing.
    """
    own = [next((name for name in spec.names if name in names), None) for spec in inputs]
    possible = [name for name in LABEL_NAMES if name in names and name not in own]
    if len(inputs) == 1 and own[0] is None:
        others = [name for name in names if name not in LABEL_NAMES]
        own = [next((name for name in INPUT_NAMES if name in names), others[0] if len(others) == 1 else None)]
    present = [name for name in own if name is not None]
    if len(present) < len(inputs):
        expected = [spec.names[0] for spec in inputs] + ([*INPUT_NAMES[:3]] if len(inputs) == 1 else [])
        missing = ("none of " if len(inputs) == 1 else "not all of ") + ", ".join(expected)
        raise InputError(f"{label}: has {missing}; it has {', '.join(map(str, names)) or 'no arrays'}")
    twin = re.sub("^x", "y", present[0])  # y_test for x_test
    return present, twin if twin in possible else next(iter(possible), None)


def _array(value: Any, label: str) -> np.ndarray:
    try:
        array = np.asarray(value)
    except Exception as error:  # lists of different lengths, tensors of strings, ...
        raise InputError(f"{label}: {type(value).__name__} can not be read as an array: {one_line(error)}") from error
    check_numeric(array.dtype, label)
    return array


def is_array(value: Any) -> bool:
    """Whether NumPy sees an array in it."""
    return hasattr(value, "__array__")


def is_numeric(dtype: np.dtype) -> bool:
    """Whether values of this type are real numbers."""
    return np.can_cast(dtype, np.float64, "same_kind") and dtype.kind not in "mM"


def check_numeric(dtype: np.dtype, label: str) -> None:
    """Raise InputError unless values of this type are real numbers."""
    if dtype.hasobject:
        raise InputError(f"{label}: an array of Python objects, which is not read; expected numbers")
    if not is_numeric(dtype):
        raise InputError(f"{label}: expected numbers, received {dtype}")
