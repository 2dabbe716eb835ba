"""The last section of a result: what may follow, each as one command that can be pasted."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import RenderableType
from rich.text import Text

from octconvert.display.tables import Fitted, heading
from octconvert.results.next_step import NextStep
from octconvert.results.shown import View

MOST_STEPS = 2
"""More are no help."""
_INDENT = 4


def section(steps: Sequence[NextStep], view: View) -> list[RenderableType]:
    """The likeliest steps; nothing where there are none."""
    if not steps:
        return []

    def build(width: int) -> RenderableType:
        lines = []
        for step in steps[:MOST_STEPS]:
            lines.append(f"  {step.purpose}:")
            lines.append(_wrapped(view.command(step), width, view.continued))
        # Wrapped by rich, a long name would break in two and could not be pasted.
        return Text("\n".join(lines), no_wrap=True, overflow="ignore")

    return [heading("Next"), Fitted(build)]


def _wrapped(parts: Sequence[str], width: int, continued: str) -> str:
    """The parts on as many lines as they need, each but the last one ending in ``continued``."""
    lines = [" " * _INDENT]
    for part in parts:
        if lines[-1].strip() and len(lines[-1]) + 1 + len(part) > width - len(continued):
            lines.append(" " * (_INDENT + 2))
        separator = " " if lines[-1].strip() else ""
        lines[-1] = f"{lines[-1]}{separator}{part}"
    return f"{continued}\n".join(lines)
