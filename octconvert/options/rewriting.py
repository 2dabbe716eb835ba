"""How a model is rewritten: what becomes a pair, and of what layers."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal, get_args

from octconvert.errors import UsageError
from octconvert.options import limits
from octconvert.options.fields import option
from octconvert.options.limits import shown

WeightsMode = Literal["slice", "fold", "fresh"]
StrideMode = Literal["keep", "pool"]
Preset = Literal["paper"]
WEIGHTS: tuple[str, ...] = get_args(WeightsMode)
STRIDE_MODES: tuple[str, ...] = get_args(StrideMode)
PRESETS: tuple[str, ...] = get_args(Preset)


@dataclass(frozen=True)
class RewritingOptions:
    """The options that a plan follows from.

    Raises:
        UsageError: on creation, where a value makes no sense.
    """

    alpha: float = option(0.5, "share of the channels that become low, from 0 to 1 (one low map, no high one)")
    octave: int | tuple[int, ...] = option(
        2, "factor between the two resolutions, a power of two, or one for each axis; 1 changes no resolution"
    )
    alpha_map: tuple[tuple[str, float], ...] = option((), "another alpha for the layers whose name matches")
    interior: float | None = option(
        None, "another alpha for the tensors inside blocks, which a skip connection leads around"
    )
    include: tuple[str, ...] = option((), "convert only layers whose name matches")
    exclude: tuple[str, ...] = option((), "leave layers plain whose name matches")
    min_size: int = option(8, "leave maps plain whose shorter side is smaller")
    stride_mode: str = option("keep", "'keep' strides, or 'pool': average pooling and a stride of 1")
    preset: str | None = option(None, "'paper' leaves the layers plain that the paper leaves plain")
    weights: str = option("slice", "how the trained weights move: 'slice', 'fold', or 'fresh' ones")
    portable: bool = option(False, "use built-in Keras layers only; the file then loads without octconvert")
    elementwise: tuple[str, ...] = option(
        (), "layers, classes or activations without a rule that act on each element alone"
    )

    def __post_init__(self) -> None:
        for name in ("include", "exclude"):
            object.__setattr__(self, name, _patterns(name, getattr(self, name)))
        object.__setattr__(self, "elementwise", _names(self.elementwise))
        object.__setattr__(self, "alpha_map", _alpha_map(self.alpha_map))
        others = [("`interior`", self.interior)] if self.interior is not None else []
        others += [("`alpha_map`", alpha) for _, alpha in self.alpha_map]
        for name, value in [("`alpha`", self.alpha), *others]:
            check_alpha(name, value)
        limits.octave(self.octave)
        limits.whole("min_size", self.min_size)
        if not isinstance(self.portable, bool):
            raise UsageError(f"`portable` must be true or false, received {shown(self.portable)}")
        choices = (("stride_mode", STRIDE_MODES), ("preset", PRESETS), ("weights", WEIGHTS))
        for name, allowed in choices:
            value = getattr(self, name)
            if value is not None or name != "preset":
                limits.one_of(allowed, value, name)
        for pattern in self.patterns:
            try:
                re.compile(pattern)
            except re.error as error:
                raise UsageError(f"'{pattern}' is not a regular expression: {error}") from None

    @property
    def patterns(self) -> tuple[str, ...]:
        """Every regular expression on layer names."""
        return (*self.include, *self.exclude, *(pattern for pattern, _ in self.alpha_map))


def check_alpha(name: str, value: Any) -> None:
    """Raises `UsageError` unless the value is from 0 to 1."""
    if not limits.is_number(value) or not 0 <= value <= 1:
        raise UsageError(f"{name} must be from 0 to 1, received {shown(value)}")


def _patterns(name: str, values: Any) -> tuple[str, ...]:
    patterns = (values,) if isinstance(values, str) else items(values)
    if not all(isinstance(pattern, str) for pattern in patterns):
        raise UsageError(f"`{name}` takes regular expressions, received {shown(values)}")
    return patterns


def _names(values: Any) -> tuple[str, ...]:
    """Layer classes and functions by their names."""
    chosen = (values,) if isinstance(values, str) else items(values)
    names = [item if isinstance(item, str) else getattr(item, "__name__", None) for item in chosen]
    if not all(isinstance(name, str) and name for name in names):
        raise UsageError(f"`elementwise` takes names of layers or classes, received {shown(values)}")
    return tuple(map(str, names))


def _alpha_map(values: Mapping[str, float] | Iterable[tuple[str, float]] | None) -> tuple[tuple[str, float], ...]:
    if values is None:
        return ()
    try:
        pairs = values.items() if isinstance(values, Mapping) else values
        return tuple((str(pattern), alpha) for pattern, alpha in pairs)
    except (TypeError, ValueError):
        raise UsageError(
            f"`alpha_map` takes regular expressions with an alpha each, received {shown(values)}"
        ) from None


def items(values: Any) -> tuple[Any, ...]:
    """The items of an iterable; any other value (and an array without axes) is one item itself."""
    try:
        return tuple(values)
    except TypeError:
        return (values,)
