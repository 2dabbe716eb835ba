"""How a command line ended: one line for an error, and an exit code."""

from __future__ import annotations

import contextlib
import os
import sys
import traceback
from collections.abc import Iterable, Sequence
from pathlib import Path

from octconvert.cli.exit_codes import FAILED, INTERRUPTED, READER_GONE
from octconvert.cli.spelling import spell
from octconvert.errors import InputError, OctconvertError
from octconvert.text import printable


def explain(error: BaseException, models: Sequence[str], files: Iterable[str], debug: bool) -> int:
    """Print the one line about an error; return the exit code.

    Args:
        models: the model files on the command line.
        files: other files on it.
        debug: whether a traceback is shown.
    """
    if isinstance(error, KeyboardInterrupt):
        return fail("interrupted", INTERRUPTED)
    if isinstance(error, BrokenPipeError):
        # The reader of stdout has gone; the rest of the buffer must not fail again at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        return READER_GONE
    if debug:
        traceback.print_exception(error)
    if isinstance(error, MemoryError):
        return fail(f"{' '.join(models)}: there is not enough memory", FAILED)
    if isinstance(error, OctconvertError):
        return fail(spell(_naming(error, models, files)), error.exit_code)
    return fail(f"{' '.join(models)}: unexpected {_unexpected(error)}; --debug shows the traceback", FAILED)


def fail(message: str, code: int) -> int:
    """Print ``message`` as one line; return ``code``."""
    say(message)
    return code


def say(message: str) -> None:
    """One line on stderr."""
    if sys.stderr is None:  # closed; print would use stdout
        return
    with contextlib.suppress(OSError):  # nobody reads it any more
        print(f"octconvert: {printable.line(message, most=8000)}", file=sys.stderr, flush=True)


def _naming(error: OctconvertError, models: Sequence[str], files: Iterable[str]) -> str:
    """The error's line, after the models' files where it names no file: a layer does not know its file."""
    line = str(error)
    if not models or not isinstance(error, InputError):
        return line
    named = [*models, *(file for file in files if os.path.exists(file))]
    names_a_file = any(file in line for file in named) or line.startswith(tuple(f"{file}: " for file in files))
    return line if names_a_file else f"{' '.join(models)}: {line}"


def _unexpected(error: BaseException) -> str:
    frames = traceback.extract_tb(error.__traceback__)
    message = " ".join(str(error).split())
    message = f": {message[:200]}{'...' if len(message) > 200 else ''}" if message else ""
    where = f" at {Path(frames[-1].filename).name}:{frames[-1].lineno}" if frames else ""
    return f"{type(error).__name__}{where}{message}"
