"""How results show themselves: `octconvert.display` registers here what turns each class of them into text.

A result imports nothing of the display, so values stay free of any layout.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import singledispatch
from pathlib import Path
from typing import Any

from rich.console import RenderableType

from octconvert.results.next_step import NextStep, python_call
from octconvert.system.targets import check_target, write_atomically


def _unchanged(text: str) -> str:
    return text


@dataclass(frozen=True)
class View:
    """How a result is to be shown.

    Attributes:
        verbose: whether every layer, chain and name is listed.
        spell: rewrites sentences that name options in backquotes, as `input_shape`; the command line turns them into
            its flags.
        command: a next step in words between which a line may be broken: a call in Python, or a command of a shell.
        continued: what a shell needs at the end of a line that goes on.
    """

    verbose: bool = False
    spell: Callable[[str], str] = _unchanged
    command: Callable[[NextStep], tuple[str, ...]] = python_call
    continued: str = ""


STANDARD = View()


@singledispatch
def renderable(result: object, view: View = STANDARD) -> RenderableType:
    """What `rich` prints for a result; its ``repr`` where `octconvert.display` has not been imported."""
    return repr(result)


@singledispatch
def as_text(result: object) -> str:
    """What ``print`` shows: as wide as the terminal, without colour."""
    return repr(result)


@singledispatch
def as_png(result: object) -> bytes:
    """A picture of a result, where it has one and `octconvert.display` has been imported."""
    raise NotImplementedError(f"{type(result).__name__} has no picture")


@singledispatch
def as_page(result: object, view: View = STANDARD) -> str:
    """One self-contained file of HTML.

    Raises:
        TypeError: `octconvert.display` has not been imported.
    """
    raise TypeError(f"no page for {type(result).__name__}")


@singledispatch
def as_mimebundle(result: object) -> dict[str, str]:
    """What a notebook shows, by MIME type."""
    return {"text/plain": repr(result)}


class Shown:
    """Base of the results that show themselves in a terminal (``str`` and `rich`) and in a notebook."""

    def to_html(self, path: str | Path | None = None, *, overwrite: bool = False) -> str:
        """The result as a page: one file of HTML that needs no network.

        Args:
            path: a file to write it to; None: none.
            overwrite: whether there may be one already.

        Returns:
            The text of the page.

        Raises:
            UsageError: the file can not be written, or exists and ``overwrite`` is false.
        """
        if path is not None:
            check_target(path, overwrite=overwrite)
        page = as_page(self)
        if path is not None:
            write_atomically(path, page)
        return page

    def _repr_mimebundle_(self, include: Any = None, exclude: Any = None, **more: Any) -> dict[str, str]:
        return as_mimebundle(self)

    def __rich__(self) -> RenderableType:
        return renderable(self)

    def __str__(self) -> str:
        return as_text(self)
