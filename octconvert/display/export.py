"""An exported model: the file, its inputs, and how it was checked."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Group, RenderableType
from rich.text import Text

from octconvert.display.printing import spelled
from octconvert.display.sections import checks, sentences
from octconvert.display.tables import heading, indented, spaced
from octconvert.results.export import Exported
from octconvert.results.shown import STANDARD, View, renderable
from octconvert.text import words


@renderable.register
def render(exported: Exported, view: View = STANDARD) -> Group:
    """All of it."""
    exported = spelled(exported, view.spell)
    form = ", in its form for inference" if exported.for_inference else ""
    summary = Text(f"{exported.runtime}, {words.size(exported.bytes)}{form}.", style="bold")
    inputs = ((tensor.name, f"{words.shape(tensor.shape)} {tensor.dtype}") for tensor in exported.inputs)
    sections: list[Sequence[RenderableType]] = [
        [Text(f"{exported.source} -> {exported.target}"), summary],
        [heading("Inputs"), indented(inputs)],
        checks("Check", [exported.check]),
        sentences("Notes", exported.notes),
    ]
    return spaced(sections)
