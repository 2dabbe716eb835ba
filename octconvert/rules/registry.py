"""Finds the rule of a layer or raw operation, and its traits. Rules of users go in the same way as the built-in ones.

A package registers its rules by an entry point of the group ``octconvert.rules`` that names a module (whose decorators
register) or a rule class; they are loaded before the first rule is looked up, and may replace built-in ones.
"""

from __future__ import annotations

import functools
import importlib.metadata
from dataclasses import replace
from types import ModuleType
from typing import Any, Generic, TypeVar

from octconvert.errors import OctconvertError, first_line
from octconvert.model import opening
from octconvert.rules.activations import activation_name
from octconvert.rules.base import Family, Rule
from octconvert.rules.traits import OutputActivation, Traits

ENTRY_POINTS = "octconvert.rules"
Entry = TypeVar("Entry", bound=Family)
Registered = TypeVar("Registered", bound=type)
_OWN = ("keras", "octconvert")
"""Packages whose layers are known: what has no rule among these ends a pair."""
_KEPT = ("call", "convolution_op")
"""Methods by which a subclass computes what its base computes."""


class _Table(Generic[Entry]):
    """Families by the layer classes and raw operations that they know."""

    def __init__(self) -> None:
        self._by_layer: dict[type, Entry] = {}
        self._by_operation: dict[str, Entry] = {}

    def add(self, family: Entry) -> None:
        self._by_layer.update(dict.fromkeys(family.layers, family))
        self._by_operation.update(dict.fromkeys(family.operations, family))

    def remove(self, family_class: type) -> None:
        self._by_layer = {key: each for key, each in self._by_layer.items() if type(each) is not family_class}
        self._by_operation = {key: each for key, each in self._by_operation.items() if type(each) is not family_class}

    def find(self, operation: Any, changed_call: bool = False) -> Entry | None:
        """The family of an operation; ``changed_call``: also for a subclass that does not keep its base's methods."""
        cls = type(operation)
        family = self._by_operation.get(f"{cls.__module__}.{cls.__name__}")
        if family is not None:
            return family
        for base in cls.__mro__:
            if base in self._by_layer:
                kept = all(getattr(cls, name, None) is getattr(base, name, None) for name in _KEPT)
                return self._by_layer[base] if kept or changed_call else None
        return None


_RULES: _Table[Rule] = _Table()
_TRAITS: _Table[Family] = _Table()
_REGISTERED: set[type[Family]] = set()


def register(family_class: Registered) -> Registered:
    """Class decorator: make a rule known for its ``layers`` and ``operations``; a later rule replaces an earlier.

    The traits of an earlier one stay where the later declares none. A `Family` that is no `Rule` declares traits alone.

    Raises:
        TypeError: not a subclass of `Rule` or `Family`, or one that names neither layers nor operations.
    """
    if not isinstance(family_class, type) or not issubclass(family_class, Family):
        raise TypeError(f"register takes a subclass of octconvert.rules.Rule, received {family_class!r}")
    if not family_class.layers and not family_class.operations:
        raise TypeError(f"rule {family_class.__name__} names neither layers nor operations")
    _REGISTERED.add(family_class)
    family = family_class()
    if isinstance(family, Rule):
        _RULES.add(family)
    if family_class.traits is not Family.traits or family.opened:
        _TRAITS.add(family)
    return family_class


def unregister(family_class: type) -> None:
    """Forget a registered class again; one that it has replaced does not come back."""
    _REGISTERED.discard(family_class)
    _RULES.remove(family_class)
    _TRAITS.remove(family_class)


def registered() -> frozenset[type[Family]]:
    """All classes that were registered, the built-in ones among them."""
    return frozenset(_REGISTERED)


def find_rule(operation: Any) -> Rule | None:
    """The rule for a layer or raw operation; a subclass counts as its base where it keeps the base's ``call``.

    Raises:
        OctconvertError: an installed package's rules can not be loaded.
    """
    load_entry_points()
    return _RULES.find(operation)


def may_open(operation: Any) -> bool:
    """Whether an operation's calls of other layers are looked for (`octconvert.model.opening`).

    Those of other packages that no rule knows, but for convolutions with a ``call`` of their own; and those of Keras
    whose family says so.
    """
    load_entry_points()
    if _RULES.find(operation) is not None:
        return False
    family = _TRAITS.find(operation)
    if family is not None:
        return family.opened
    is_foreign = type(operation).__module__.split(".")[0] not in _OWN
    return is_foreign and not traits_of(operation, changed_call=True).stages


def traits_of(operation: Any, changed_call: bool = False) -> Traits:
    """What is known about a layer or raw operation.

    Args:
        changed_call: a subclass with a ``call`` of its own has the traits of its base, too. Its costs are those of the
            base, as far as anybody can see, while what it computes may be anything.

    Raises:
        OctconvertError: an installed package's rules can not be loaded.
    """
    load_entry_points()
    family = _TRAITS.find(operation, changed_call)
    traits = Traits() if family is None else family.traits(operation)
    function = getattr(operation, "activation", None)
    if traits.activation is None and function is not None:
        traits = replace(traits, activation=OutputActivation(activation_name(function)))
    return traits


@functools.cache
def load_entry_points() -> None:
    """Load the rules that installed packages bring, once."""
    for entry in importlib.metadata.entry_points(group=ENTRY_POINTS):
        try:
            loaded = entry.load()
            if not isinstance(loaded, ModuleType) and loaded not in _REGISTERED:
                register(loaded)
        except Exception as error:  # whatever the package raises while it is imported
            package = entry.dist.name if entry.dist is not None else "?"
            raise OctconvertError(
                f"the rules '{entry.name}' of package {package} can not be loaded: {first_line(error)}"
            ) from error


opening.decide_by(may_open)
