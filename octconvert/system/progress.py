"""Progress of long work: one callback, called with the stage and how far it is."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

Progress: TypeAlias = Callable[[str, int, int], None]
"""Called as ``progress(stage, done, total)``: ``done`` of ``total`` steps of a stage are complete.

``total`` is 0 where the number of steps is not known. Calls come from the thread that does the work.
"""


def silent(stage: str, done: int, total: int) -> None:
    """A `Progress` that shows nothing."""
