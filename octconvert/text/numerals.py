"""Numbers as users type them -> floats."""

from __future__ import annotations

import math


def parse_number(text: str) -> float | None:
    """'0.5', '-1' or '1/255'; None where it is no number."""
    over, _, under = text.partition("/")
    try:
        value = float(over) / float(under or 1)
    except (ValueError, ZeroDivisionError):
        return None
    return value if math.isfinite(value) else None


def scale_and_offset(text: str) -> tuple[float, float] | None:
    """'1/127.5,-1' or a scale alone; None where it is neither."""
    match [parse_number(part) for part in text.split(",")]:
        case [float(scale)] if scale:
            return scale, 0.0
        case [float(scale), float(offset)] if scale:
            return scale, offset
    return None
