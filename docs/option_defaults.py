"""Extension of the API reference: a default that is written as ``RewritingOptions.alpha`` is shown as its value."""

from __future__ import annotations

import importlib
from functools import reduce
from typing import Any

import griffe

OPTIONS = "octconvert.options."


class OptionDefaults(griffe.Extension):
    """Replaces the defaults of parameters that are named in octconvert.options by what they are."""

    def on_function_instance(self, *, func: griffe.Function, **kwargs: Any) -> None:
        for parameter in func.parameters:
            path = getattr(parameter.default, "canonical_path", "")
            if path.startswith(OPTIONS):
                parameter.default = repr(_value(path))


def _value(path: str) -> Any:
    """The value at ``octconvert.options.MODULE.NAME...``."""
    parts = path.removeprefix(OPTIONS).split(".")
    return reduce(getattr, parts[1:], importlib.import_module(OPTIONS + parts[0]))
