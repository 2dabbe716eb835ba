"""Frozen dataclasses from parsed JSON: every value is checked against the type that its field is declared with."""

from __future__ import annotations

import dataclasses
import types
import typing
from typing import Any, TypeVar

from octconvert.errors import UsageError
from octconvert.options.limits import shown

Value = TypeVar("Value")
_PLAIN = {str: "a text", int: "a whole number", float: "a number", bool: "true or false"}


def read_value(cls: type[Value], data: Any, where: str) -> Value:
    """A ``cls`` from its dictionary; every key without a default must be there, and no unknown one.

    Raises:
        UsageError: it does not fit ``cls``; the message names ``where`` and the key.
    """
    if not isinstance(data, dict):
        raise UsageError(f"{where}: expected an object, received {shown(data)}")
    known = {item.name: item.default for item in dataclasses.fields(cls)}  # type: ignore[arg-type]
    needed = {name for name, default in known.items() if default is dataclasses.MISSING}
    wrong = sorted((needed - set(data)) | (set(data) - set(known)))
    if wrong:
        state = "unknown" if wrong[0] in data else "missing"
        raise UsageError(f'{where}: {state} key "{wrong[0]}"')
    hints = typing.get_type_hints(cls)
    values = {key: _parsed(hints[key], value, where, key) for key, value in data.items()}
    try:
        return cls(**values)
    except UsageError as error:
        raise UsageError(f"{where}: {error}") from None


def _parsed(hint: Any, value: Any, where: str, key: str) -> Any:
    """``value`` as the type ``hint`` wants it: lists become tuples, objects become dataclasses."""
    if typing.get_origin(hint) in (types.UnionType, typing.Union):
        if value is None:
            return None
        choices = [choice for choice in typing.get_args(hint) if choice is not type(None)]
        of_lists = [choice for choice in choices if typing.get_origin(choice) is tuple]
        hint = (of_lists if of_lists and isinstance(value, list) else choices)[0]
    if dataclasses.is_dataclass(hint):
        return read_value(typing.cast(type, hint), value, f"{where}: {key}")
    if typing.get_origin(hint) is tuple:
        if not isinstance(value, list):
            raise UsageError(f'{where}: "{key}" must be a list, received {shown(value)}')
        item = typing.get_args(hint)[0]
        return tuple(_parsed(item, each, where, f"{key}[{i}]") for i, each in enumerate(value))
    return _plain(hint, value, where, key)


def _plain(hint: type, value: Any, where: str, key: str) -> Any:
    accepted = (int, float) if hint is float else hint
    if not isinstance(value, accepted) or (isinstance(value, bool) and hint is not bool):
        raise UsageError(f'{where}: "{key}" must be {_PLAIN[hint]}, received {shown(value)}')
    return value
