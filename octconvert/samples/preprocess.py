"""What is done to images before the model gets them: by name, by numbers, or by a function of one's own."""

from __future__ import annotations

import inspect
import math
import re
import sys
from collections.abc import Callable
from functools import partial
from typing import Any

import keras
import numpy as np

from octconvert.errors import UsageError
from octconvert.io.custom import parse_custom_object

Function = Callable[[np.ndarray], Any]


def preprocess_function(preprocess, data_format: str) -> Function | None:
    if preprocess is None or callable(preprocess):
        return preprocess
    if not isinstance(preprocess, str):
        raise UsageError(f"preprocess takes a name, scale,offset, module:function or a function; not {preprocess!r}")
    if ":" in preprocess:
        return _own_function(preprocess)
    numbers = [_number(text) for text in preprocess.split(",")]
    if numbers[0] is None and len(numbers) == 1:
        return partial(_application(preprocess), data_format=data_format)
    scale, offset = numbers if len(numbers) == 2 else (numbers[0], 0.0 if len(numbers) == 1 else None)
    if scale is None or offset is None or not scale:
        raise UsageError(f"preprocess: '{preprocess}' is no scale,offset; write for example 1/127.5,-1")
    return lambda batch: batch * scale + offset


def _number(text: str) -> float | None:
    """'0.5', '-1' or '1/255'."""
    over, _, under = text.partition("/")
    try:
        value = float(over) / float(under or 1)
    except (ValueError, ZeroDivisionError):
        return None
    return value if math.isfinite(value) else None


def _own_function(spec: str) -> Function:
    try:
        function = parse_custom_object(spec)[1]
    except UsageError as error:
        raise UsageError(f"preprocess: {error}") from None
    if not callable(function):
        raise UsageError(f"preprocess: '{spec}' is no function")
    return function


def _application(name: str) -> Callable[..., Any]:
    """``preprocess_input`` for the name of a module or model of keras.applications, however it is written."""
    known: dict[str, Callable[..., Any]] = {}
    for key, item in vars(keras.applications).items():
        module: Any = item if inspect.ismodule(item) else sys.modules.get(getattr(item, "__module__", ""))
        if hasattr(module, "preprocess_input"):
            known[_plain(key)] = module.preprocess_input
    if _plain(name) not in known:
        some = "resnet50, mobilenet_v2, efficientnet, vgg16, ..."
        raise UsageError(
            f"preprocess: keras.applications has no '{name}' (it has {some}); or write scale,offset or file.py:function"
        )
    return known[_plain(name)]


def _plain(name: str) -> str:
    return re.sub(r"[-_ ]", "", name).lower()
