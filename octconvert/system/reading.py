"""Small text files of the user: regular files only, of bounded size."""

from __future__ import annotations

import stat
from pathlib import Path

from octconvert.errors import UsageError

MOST_BYTES = 2**28
"""Of a text file; the plan of the largest known model has a few hundred KB."""


def read_text(path: str | Path, kind: str) -> str:
    """The text of a file.

    Args:
        kind: of the content, for messages.

    Raises:
        UsageError: it is missing, not a regular file (a device or pipe may have no end), too large or not text.
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
        raise UsageError(f"{str(path)!r}: can not be the name of a file") from error
