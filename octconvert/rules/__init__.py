"""Rules, one file a family; importing this package imports every file in it, which makes the built-in ones known."""

import importlib
import pkgutil

from octconvert.octave.split import Pair
from octconvert.rules.base import Rule, Trace, carry, stop
from octconvert.rules.named import is_named, rule_of
from octconvert.rules.protocols import Build, Flow, Value
from octconvert.rules.registry import find_rule, register

for _module in pkgutil.iter_modules(__path__):
    importlib.import_module(f"{__name__}.{_module.name}")

__all__ = [
    "Build",
    "Flow",
    "Pair",
    "Rule",
    "Trace",
    "Value",
    "carry",
    "find_rule",
    "is_named",
    "register",
    "rule_of",
    "stop",
]
