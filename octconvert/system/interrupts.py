"""Whether an interrupt ends work early and keeps what is done, for those who handle signals."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

_depth = 0


@contextmanager
def kept() -> Iterator[None]:
    """Work that catches `KeyboardInterrupt` and keeps what it has done."""
    global _depth
    _depth += 1
    try:
        yield
    finally:
        _depth -= 1


def are_kept() -> bool:
    """Whether such work is under way."""
    return _depth > 0
