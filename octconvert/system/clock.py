"""`PausableClock`: a clock that does not count what lies outside a budget."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager


class PausableClock:
    """Seconds, never decreasing; called for the time."""

    def __init__(self) -> None:
        self._paused = 0.0

    def __call__(self) -> float:
        return time.monotonic() - self._paused

    @contextmanager
    def pause(self) -> Iterator[None]:
        """What is done meanwhile takes no time on this clock."""
        started = time.monotonic()
        try:
            yield
        finally:
            self._paused += time.monotonic() - started
