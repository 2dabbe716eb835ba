"""The numbers that options take: one range for each name, the same in Python, on the command line and in plan files."""

from __future__ import annotations

import math
import numbers
from collections.abc import Sequence
from typing import Any

from octconvert.errors import UsageError
from octconvert.text.nearest import did_you_mean

WHOLE: dict[str, tuple[int, int]] = {
    "octave": (1, 64),  # a low map has 1/64 of the rows; beyond that nothing of a picture is left
    "min_size": (1, 2**16),
    "calibration_samples": (2, 10**7),
    "seed": (0, 2**32 - 1),  # what NumPy and Keras both take
    "threads": (1, 1024),
    "batch": (1, 2**16),
    "opset": (13, 18),  # of which tf2onnx knows all operations
    "rounds": (1, 10_000),
    "epochs": (1, 10**6),
    "batch_size": (1, 2**20),
    "steps_per_epoch": (1, 10**9),
}
"""Name -> the least and the most, both allowed."""
MOST_AXES = 3
"""Axes that an option can have a number for each of."""
DYNAMIC = "dynamic"
"""The batch of an export that is left open."""
REAL: dict[str, tuple[float, float, str]] = {
    "calibration_budget": (0.0, 30 * 86_400.0, "a number of seconds above 0, of less than 30 days"),
    "target_macs": (0.0, 1.0, "a share above 0 and below 1"),
    "target_time": (0.0, 1.0, "a share above 0 and below 1"),
    "max_drop": (0.0, 1.0, "a share above 0 and below 1"),
}
"""Name -> the two ends, which are not allowed themselves, and the range in words."""


def whole(name: str, value: Any) -> int:
    """``value`` as an int, where it is a whole number in the range of ``name``; NumPy's integers count.

    Raises:
        UsageError: it is not; the message starts with the name.
    """
    least, most = WHOLE[name]
    if _is_whole(value) and least <= int(value) <= most:
        return int(value)
    raise UsageError(f"`{name}` takes a whole number from {least} to {most}, received {shown(value)}")


def open_batch(name: str, value: Any) -> int | str:
    """As `whole`, or `DYNAMIC`."""
    return DYNAMIC if isinstance(value, str) and value == DYNAMIC else whole(name, value)


def one_of(names: Sequence[str], name: str, option: str) -> str:
    """``name``, if it is one of the names.

    Raises:
        UsageError: it is not; the message names ``option``.
    """
    if name not in names:
        meant = did_you_mean(name, names) if isinstance(name, str) else ""
        raise UsageError(f"`{option}` must be one of {', '.join(names)}; received {shown(name)}{meant}")
    return name


def octave(value: Any) -> int | tuple[int, ...]:
    """``value`` as an int, or as a tuple of them, where it is a power of two in the range of octaves or several.

    Raises:
        UsageError: it is not.
    """
    factors = tuple(value) if isinstance(value, (tuple, list)) else (value,)
    if not 0 < len(factors) <= MOST_AXES or not all(map(_is_octave, factors)):
        most = WHOLE["octave"][1]
        raise UsageError(
            f"`octave` must be a power of two (1, 2, 4 ... {most}), or one for each axis, received {shown(value)}"
        )
    return tuple(map(int, factors)) if isinstance(value, (tuple, list)) else int(value)


def _is_octave(value: Any) -> bool:
    least, most = WHOLE["octave"]
    return _is_whole(value) and least <= int(value) <= most and not int(value) & (int(value) - 1)


def real(name: str, value: Any) -> float:
    """``value`` as a float, where it is a number in the range of ``name``.

    Raises:
        UsageError: it is not; the message starts with the name.
    """
    least, most, words = REAL[name]
    if is_number(value) and least < value < most:
        return float(value)
    raise UsageError(f"`{name}` takes {words}, received {shown(value)}")


def _is_whole(value: Any) -> bool:
    return isinstance(value, numbers.Integral) and not isinstance(value, bool)


def is_number(value: Any) -> bool:
    """Whether it is a finite real number; NumPy's scalars count, truth values do not."""
    if not isinstance(value, numbers.Real) or isinstance(value, bool):
        return False
    try:
        return math.isfinite(value)
    except OverflowError:  # an int beyond every float
        return False


def shown(value: Any, most: int = 80) -> str:
    """What an error says of a value that was received, on one line of bounded length."""
    try:
        text = " ".join(repr(value).split())
    except Exception:  # any object may come in, and an int of over 4,300 digits has no repr
        text = f"a {type(value).__name__}"
    return text if len(text) <= most else f"{text[: most - 3]}..."
