"""How a model is rewritten: what becomes a pair, and of what layers."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

from octconvert.errors import UsageError
from octconvert.options import limits

WEIGHTS = ("slice", "fold", "fresh")
STRIDE_MODES = ("keep", "pool")
PRESETS = (None, "paper")


def check_alpha(name: str, value: Any) -> None:
    """Raises `UsageError` unless the value is at least 0 and below 1."""
    if not limits.is_number(value) or not 0 <= value < 1:
        raise UsageError(f"{name} must be at least 0 and below 1, received {limits.shown(value)}")


@dataclass(frozen=True)
class RewritingOptions:
    """What the user asks for; the same names as the command line's options.

    Attributes:
        alpha: share of the channels that become low, 0 <= alpha < 1.
        octave: factor between the resolutions, a power of two up to 64; 1 changes no resolution (the
            oracle).
        alpha_map: (regular expression on layer names, alpha) in order; the first that matches a layer of a tied group
            gives the group's alpha.
        include: convert only convolutions whose name matches one of these.
        exclude: leave plain the convolutions whose name matches one of these.
        min_size: maps with a shorter side stay plain.
        stride_mode: 'keep' the strides, or 'pool' (average pooling and a stride-1 convolution, as the authors).
        preset: 'paper' leaves the stem plain where a max-pooling follows it, and 7x7 maps whatever ``min_size`` is.
        weights: 'slice', 'fold' or 'fresh'.
        portable: built-in Keras layers only.
        elementwise: names of layers, classes and activation functions that act on each channel and position alone; they
            win over the rule of the layer, if it has one.
    """

    alpha: float = 0.5
    octave: int = 2
    alpha_map: tuple[tuple[str, float], ...] = ()
    include: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()
    min_size: int = 8
    stride_mode: str = "keep"
    preset: str | None = None
    weights: str = "slice"
    portable: bool = False
    elementwise: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        for name, value in [("alpha", self.alpha), *(("alpha_map", alpha) for _, alpha in self.alpha_map)]:
            check_alpha(name, value)
        limits.octave(self.octave)
        limits.whole("min_size", self.min_size)
        if not isinstance(self.portable, bool):
            raise UsageError(f"portable must be true or false, received {limits.shown(self.portable)}")
        names = self.elementwise
        if not isinstance(names, tuple) or not all(isinstance(name, str) and name for name in names):
            raise UsageError(f"elementwise takes names of layers or classes, received {limits.shown(self.elementwise)}")
        choices = (("stride_mode", STRIDE_MODES), ("preset", PRESETS), ("weights", WEIGHTS))
        for name, allowed in choices:
            if getattr(self, name) not in allowed:
                listed = ", ".join(str(item) for item in allowed if item)
                raise UsageError(f"{name} must be one of {listed}, received {limits.shown(getattr(self, name))}")
        for pattern in (*self.include, *self.exclude, *(regex for regex, _ in self.alpha_map)):
            try:
                re.compile(pattern)
            except re.error as error:
                raise UsageError(f"'{pattern}' is not a regular expression: {error}") from None
