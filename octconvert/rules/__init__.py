"""Rules, one file a family; importing this package makes the built-in ones known."""

from octconvert.rules import (  # noqa: F401
    channel_normalization,
    convolution,
    dense,
    depthwise,
    dropping,
    elementwise,
    merging,
    normalization,
    other_ranks,
    padding,
    pooling,
    reshaping,
    resizing,
    scaling,
    slicing,
    transposed,
)
from octconvert.rules.base import Flow, Rule, Trace, carry, stop
from octconvert.rules.named import is_named, rule_of
from octconvert.rules.registry import find_rule, register

__all__ = ["Flow", "Rule", "Trace", "carry", "find_rule", "is_named", "register", "rule_of", "stop"]
