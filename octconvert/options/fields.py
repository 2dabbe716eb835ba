"""Fields of the option classes: each option's default and meaning are written here once.

Python's signatures take their defaults from these fields, the command line its help as well.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping
from typing import Any, TypeVar

Options = TypeVar("Options")
_MEANING, _NAME = "meaning", "name"


def option(default: Any, meaning: str, name: str = "") -> Any:
    """A dataclass field.

    Args:
        meaning: one sentence for the user, without its full stop.
        name: of the argument in Python, where the field is called otherwise.
    """
    return dataclasses.field(default=default, metadata={_MEANING: meaning, _NAME: name})


def names(options: type) -> Iterator[tuple[str, str]]:
    """(field, argument) of every option of a class."""
    for field in dataclasses.fields(options):
        if _MEANING in field.metadata:
            yield field.name, field.metadata[_NAME] or field.name


def defaults(options: type) -> dict[str, Any]:
    """Argument -> its default."""
    fields = {field.name: field.default for field in dataclasses.fields(options)}
    return {argument: fields[name] for name, argument in names(options)}


def meanings(options: type) -> dict[str, str]:
    """Argument -> what it means."""
    fields = {field.name: field.metadata for field in dataclasses.fields(options)}
    return {argument: fields[name][_MEANING] for name, argument in names(options)}


def parse(options: type[Options], arguments: Mapping[str, Any]) -> Options:
    """The options of this class among ``arguments``; those that are missing keep their default."""
    fields = dict(names(options))
    return options(**{name: arguments[argument] for name, argument in fields.items() if argument in arguments})


def is_unset(value: Any) -> bool:
    """Whether a value requests nothing: None, or an empty list."""
    try:
        return value is None or not len(value)
    except TypeError:  # a number, an array without axes
        return False
