"""The options of a conversion in one line."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

from octconvert.options.rewriting import RewritingOptions

_ALWAYS = ("alpha", "octave", "weights")


def summary(options: Mapping[str, object]) -> str:
    """The options that say the most, and those that differ from the default."""
    defaults = dataclasses.asdict(RewritingOptions())
    names = [name for name in options if name in _ALWAYS or options[name] != defaults.get(name)]
    return ", ".join(f"{name.replace('_', ' ')} {_value(options[name])}" for name in names)


def _value(value: object) -> str:
    if isinstance(value, tuple | list) and value and all(isinstance(each, int) for each in value):
        return ",".join(map(str, value))
    if isinstance(value, tuple | list):
        return " ".join("=".join(map(str, v)) if isinstance(v, tuple | list) else str(v) for v in value) or "none"
    if isinstance(value, bool):
        return "yes" if value else "no"
    return "none" if value is None else str(value)
