"""What one command line requests, once its arguments are understood and checked."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from octconvert.cli.console import Console


@dataclass(frozen=True)
class Task:
    """Work for `octconvert.cli.commands.perform`; it can be pickled.

    Attributes:
        command: 'convert', 'plan', 'diff', 'bench', 'export' or 'show'.
        models: the files to read, as they were typed.
        arguments: of the function of `octconvert.api`, except that custom objects are still text.
        console: how results, progress and JSON are printed.
        targets: files and directories that it may write.
        files: other files that were named, for error messages.
        notes: for the report.
    """

    command: str
    models: tuple[str, ...]
    arguments: Mapping[str, Any]
    console: Console
    targets: tuple[str, ...] = ()
    files: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
