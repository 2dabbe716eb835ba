"""Finds the rule of a call. Rules of users go in the same way as the built-in ones."""

from __future__ import annotations

from octconvert.rules.base import Rule

_BY_LAYER: dict[type, Rule] = {}
_BY_OPERATION: dict[str, Rule] = {}


def register(rule_class):
    """Class decorator: make the rule known for its ``layers`` and ``operations``; a later rule replaces an earlier."""
    rule = rule_class()
    _BY_LAYER.update(dict.fromkeys(rule.layers, rule))
    _BY_OPERATION.update(dict.fromkeys(rule.operations, rule))
    return rule_class


def find_rule(operation) -> Rule | None:
    """The rule for a layer or raw operation; a subclass counts as its base where it keeps the base's ``call``."""
    cls = type(operation)
    rule = _BY_OPERATION.get(f"{cls.__module__}.{cls.__name__}")
    if rule is not None:
        return rule
    for base in cls.__mro__:
        if base in _BY_LAYER:
            return _BY_LAYER[base] if getattr(cls, "call", None) is getattr(base, "call", None) else None
    return None
