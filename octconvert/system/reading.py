"""Small text files of the user, read whole: regular files only, of bounded size."""

from __future__ import annotations

import stat
from pathlib import Path

from octconvert.errors import UsageError

MOST_BYTES = 2**28
"""Of a text file; a plan of the largest known model has a few hundred KB."""


def read_text(path: str | Path, kind: str) -> str:
    """The text of a file; ``kind`` says what it is meant to hold, for errors.

    Raises:
        UsageError: it is missing, no regular file (a device or pipe may have no end), too large or not text.
    """
    place = Path(path)
    try:
        status = place.stat()
        if not stat.S_ISREG(status.st_mode):
            raise UsageError(f"{path}: can not be read as {kind}: it is not a regular file")
        if status.st_size > MOST_BYTES:
            raise UsageError(f"{path}: can not be read as {kind}: it has {status.st_size:,} bytes")
        return place.read_text(encoding="utf-8")
    except OSError as error:
        raise UsageError(f"{path}: can not be read as {kind}: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise UsageError(f"{path}: can not be read as {kind}: it is not text") from error
    except ValueError as error:  # a NUL character in the name
        raise UsageError(f"{str(path)!r}: is not the name of a file") from error
