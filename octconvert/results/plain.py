"""Values as JSON has them."""

from __future__ import annotations

import math
from typing import Any


def plain(value: Any) -> Any:
    """Dictionaries, lists, texts and finite numbers; None for what JSON has no number for, as infinity."""
    if isinstance(value, dict):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None  # the PSNR of equal outputs
    if value is None or isinstance(value, str | bool | int | float):
        return value
    # MACs may be scalars of NumPy; other values of options become text.
    return plain(value.item()) if hasattr(value, "item") else str(value)
