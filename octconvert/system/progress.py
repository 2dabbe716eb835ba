"""Progress of long work: one callback, called with the stage and how far it is."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

Progress: TypeAlias = Callable[[str, int, int], None]
"""Called as ``progress(stage, done, total)``: ``done`` of ``total`` steps of a stage are complete.

``total`` is 0 where the number of steps is not known. Calls come from the thread that does the work. A stage that
begins with `NOTICE` is a sentence for the user, not a stage.
"""
NOTICE = "notice: "


def notice_of(stage: str) -> str | None:
    """The sentence of a notice; None of a stage."""
    return stage.removeprefix(NOTICE) if stage.startswith(NOTICE) else None


def silent(stage: str, done: int, total: int) -> None:
    """A `Progress` that shows nothing."""
