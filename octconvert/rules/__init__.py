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
    transposed,
)
from octconvert.rules.base import Flow, Rule, Trace, carry, stop
from octconvert.rules.registry import find_rule, register

__all__ = ["Flow", "Rule", "Trace", "carry", "find_rule", "register", "stop"]
