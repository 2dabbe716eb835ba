"""Rules, one file a family; importing this package imports every file in it, which makes the built-in ones known."""

import importlib
import pkgutil

from octconvert.octave.split import Pair
from octconvert.rules.base import Family, Rule, Trace, carry, stop
from octconvert.rules.named import is_named, rule_of
from octconvert.rules.protocols import Build, Flow, Value
from octconvert.rules.registry import find_rule, register, traits_of
from octconvert.rules.traits import ConvolutionStage, Traits, convolution_stage, convolution_traits

for _module in pkgutil.iter_modules(__path__):
    importlib.import_module(f"{__name__}.{_module.name}")

__all__ = [
    "Build",
    "ConvolutionStage",
    "Family",
    "Flow",
    "Pair",
    "Rule",
    "Trace",
    "Traits",
    "Value",
    "carry",
    "convolution_stage",
    "convolution_traits",
    "find_rule",
    "is_named",
    "register",
    "rule_of",
    "stop",
    "traits_of",
]
