"""Prints renderables: as plain text, and without control characters that came with a file."""

from __future__ import annotations

import dataclasses
import io
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TypeVar

from rich.console import Console, ConsoleOptions, RenderableType
from rich.segment import Segment

from octconvert.results.shown import Shown, as_text
from octconvert.text.printable import printable

Value = TypeVar("Value")


@dataclass(frozen=True)
class Printable:
    """A renderable without control characters: its names may come from a file of a stranger."""

    inner: RenderableType

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> Iterator[Segment]:
        for segment in console.render(self.inner, options):
            lines = segment.text.split("\n")
            yield segment if segment.control else segment._replace(text="\n".join(map(printable, lines)))


def text_of(renderable: RenderableType) -> str:
    """What ``print`` shows: as wide as the terminal, without colour."""
    text = io.StringIO()
    # In a notebook, rich would show by itself what it prints, and in colour.
    width = shutil.get_terminal_size((80, 24)).columns
    console = Console(file=text, no_color=True, width=width, force_terminal=False, force_jupyter=False)
    console.print(Printable(renderable), crop=False)
    return text.getvalue().rstrip("\n")


def spelled(value: Value, spell: Callable[[str], str]) -> Value:
    """The value with ``spell`` applied to every text in it, in dataclasses and tuples at any depth."""
    if isinstance(value, str):
        return spell(value)  # type: ignore[return-value]
    if isinstance(value, tuple):
        return tuple(spelled(item, spell) for item in value)  # type: ignore[return-value]
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        changes = {field.name: spelled(getattr(value, field.name), spell) for field in dataclasses.fields(value)}
        return dataclasses.replace(value, **changes)
    return value


@as_text.register
def _(result: Shown) -> str:
    return text_of(result)
