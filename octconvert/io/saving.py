"""Writing a model: beside the target first, checked there, and only then put in its place."""

from __future__ import annotations

import os
import secrets
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

from octconvert.errors import OctconvertError, UsageError
from octconvert.io.text import one_line, quiet

SUFFIXES = (".keras", ".h5", ".hdf5")


def save(
    model: Any, path: str | os.PathLike, *, overwrite: bool = False, check: Callable[[Path], None] | None = None
) -> None:
    """Saves ``model`` to ``path`` in the format its ending names (.keras, .h5 or .hdf5).

    The file is written under another name beside the target, ``check`` is called with that name, and then it takes
    the target's place in one step. Whatever goes wrong, an existing file stays as it was and nothing is left behind.

    Raises:
        UsageError: The ending is unknown, the target exists and may not be overwritten, or it can not be written there.
        OctconvertError: Keras could not save this model in this format.
        Exception: Whatever ``check`` raises.
    """
    given = Path(path)
    check_target(given, overwrite=overwrite)
    target = given.resolve()  # through a symbolic link to the file behind it
    temporary = target.with_name(f".{target.stem[:80]}.{secrets.token_hex(4)}{given.suffix.lower()}")
    try:
        _write(model, temporary, given)
        if check is not None:
            check(temporary)
        check_target(given, overwrite=overwrite)  # somebody may have been faster
        if target.exists():
            shutil.copymode(target, temporary)
        _move(temporary, target, given)
    finally:
        temporary.unlink(missing_ok=True)


def check_target(path: str | os.PathLike, *, overwrite: bool = False) -> None:
    """Refuses a target that :func:`save` could not write, before any work is done for it.

    Raises:
        UsageError: With the reason.
    """
    target = Path(path)
    if target.suffix.lower() not in SUFFIXES:
        raise UsageError(f"{target}: unknown ending '{target.suffix}'; name the file .keras, .h5 or .hdf5")
    if target.is_dir():
        raise UsageError(f"{target}: is a directory; name a file")
    parent = target.resolve().parent
    if not parent.is_dir():
        raise UsageError(f"{target}: there is no directory {target.parent}; make it first")
    if not os.access(parent, os.W_OK | os.X_OK):
        raise UsageError(f"{target}: no permission to write into {target.parent}; choose another place")
    if target.exists() and not overwrite:
        raise UsageError(f"{target}: exists already; choose another name or allow overwriting it")


def _write(model: Any, temporary: Path, given: Path) -> None:
    # Keras takes the optimizer out of the model's own settings when it writes .h5; a later .keras would lack it.
    settings = getattr(getattr(model, "_compile_config", None), "config", None)
    before = dict(settings or {})
    try:
        with quiet():
            model.save(temporary)
    except OSError as error:
        raise UsageError(f"{given}: can not be written ({one_line(error)}); choose another place") from error
    except Exception as error:
        raise OctconvertError(f"{given}: Keras can not save this model in this format: {one_line(error)}") from error
    finally:
        if settings:
            settings.update(before)


def _move(temporary: Path, target: Path, given: Path) -> None:
    try:
        os.replace(temporary, target)
    except OSError as error:
        raise UsageError(f"{given}: can not be written ({one_line(error)}); choose another place") from error
