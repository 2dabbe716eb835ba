"""Finds the rule of a layer or raw operation. Rules of users go in the same way as the built-in ones.

A package registers its rules by an entry point of the group ``octconvert.rules`` that names a module (whose decorators
register) or a rule class; they are loaded before the first rule is looked up, and may replace built-in ones.
"""

from __future__ import annotations

import functools
import importlib.metadata
from types import ModuleType

from octconvert.errors import OctconvertError, first_line
from octconvert.rules.base import Rule

ENTRY_POINTS = "octconvert.rules"
_BY_LAYER: dict[type, Rule] = {}
_BY_OPERATION: dict[str, Rule] = {}
_REGISTERED: set[type] = set()


def register(rule_class):
    """Class decorator: make the rule known for its ``layers`` and ``operations``; a later rule replaces an earlier.

    Raises:
        TypeError: not a subclass of `Rule`, or one that names neither layers nor operations.
    """
    if not isinstance(rule_class, type) or not issubclass(rule_class, Rule):
        raise TypeError(f"register takes a subclass of octconvert.rules.Rule, received {rule_class!r}")
    if not rule_class.layers and not rule_class.operations:
        raise TypeError(f"rule {rule_class.__name__} names neither layers nor operations")
    _REGISTERED.add(rule_class)
    rule = rule_class()
    _BY_LAYER.update(dict.fromkeys(rule.layers, rule))
    _BY_OPERATION.update(dict.fromkeys(rule.operations, rule))
    return rule_class


def find_rule(operation) -> Rule | None:
    """The rule for a layer or raw operation; a subclass counts as its base where it keeps the base's ``call``.

    Raises:
        OctconvertError: an installed package's rules can not be loaded.
    """
    load_entry_points()
    cls = type(operation)
    rule = _BY_OPERATION.get(f"{cls.__module__}.{cls.__name__}")
    if rule is not None:
        return rule
    for base in cls.__mro__:
        if base in _BY_LAYER:
            return _BY_LAYER[base] if getattr(cls, "call", None) is getattr(base, "call", None) else None
    return None


@functools.cache
def load_entry_points() -> None:
    """Load the rules that installed packages bring, once."""
    for entry in importlib.metadata.entry_points(group=ENTRY_POINTS):
        try:
            found = entry.load()
            if not isinstance(found, ModuleType) and found not in _REGISTERED:
                register(found)
        except Exception as error:  # whatever the package raises while it is imported
            package = entry.dist.name if entry.dist is not None else "?"
            raise OctconvertError(
                f"the rules '{entry.name}' of package {package} can not be loaded: {first_line(error)}"
            ) from error
