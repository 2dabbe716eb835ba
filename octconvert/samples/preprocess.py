"""The option ``preprocess`` -> a function of a batch: by name, by scale and offset, or the user's own."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable
from functools import partial
from typing import Any

import keras
import numpy as np

from octconvert.errors import UsageError
from octconvert.loading.custom_objects import parse_custom_object
from octconvert.options.references import check_application, plain_name
from octconvert.text.numerals import parse_number, scale_and_offset

Preprocess = Callable[[np.ndarray], Any]
"""float32 batch -> batch, as the model takes it."""


def preprocess_function(preprocess: Any, data_format: str) -> Preprocess | None:
    """The function that ``preprocess`` names; None for None.

    Raises:
        UsageError: it names none.
    """
    if preprocess is None or callable(preprocess):
        return preprocess
    if not isinstance(preprocess, str):
        raise UsageError(f"preprocess takes a name, scale,offset, module:function or a function; not {preprocess!r}")
    if ":" in preprocess:
        return _own_function(preprocess)
    if "," not in preprocess and parse_number(preprocess) is None:
        return partial(_application(preprocess), data_format=data_format)
    numbers = scale_and_offset(preprocess)
    if numbers is None:
        raise UsageError(f"preprocess: '{preprocess}' is not a scale,offset; write for example 1/127.5,-1")
    scale, offset = numbers
    return lambda batch: batch * scale + offset


def _own_function(spec: str) -> Preprocess:
    try:
        function = parse_custom_object(spec)[1]
    except UsageError as error:
        raise UsageError(f"preprocess: {error}") from None
    if not callable(function):
        raise UsageError(f"preprocess: '{spec}' is not a function")
    return function


def _application(name: str) -> Callable[..., Any]:
    """``preprocess_input`` of a module or model of keras.applications, in any spelling of its name."""
    known: dict[str, Callable[..., Any]] = {}
    for key, item in vars(keras.applications).items():
        module: Any = item if inspect.ismodule(item) else sys.modules.get(getattr(item, "__module__", ""))
        if hasattr(module, "preprocess_input"):
            known[plain_name(key)] = module.preprocess_input
    if plain_name(name) not in known:
        check_application(name)
        raise UsageError(f"preprocess: keras.applications has no preprocess_input for '{name}'")
    return known[plain_name(name)]
