"""The files that a command line names, checked before TensorFlow is started for them."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

from octconvert.cli.console import STDOUT
from octconvert.cli.parameters import ResultParameters
from octconvert.errors import InputError, UsageError
from octconvert.system.targets import check_target


def check_input(path: str) -> None:
    """Raises `InputError` where there is no such file."""
    if not Path(path).exists():
        raise InputError(f"{path}: there is no such file")


def check_results(result: ResultParameters, inputs: Iterable[str | None]) -> None:
    """Refuse a file for --json or --html that can not be written, is one of the ``inputs``, or exists already.

    Raises:
        UsageError: it is refused.
    """
    read = [Path(item) for item in inputs if item is not None]
    for flag, name in (("--json", result.json), ("--html", result.html)):
        if name is None or (flag == "--json" and name == STDOUT):
            continue
        target = Path(name)
        try:
            check_target(target, overwrite=True)
        except UsageError as error:
            raise UsageError(f"{flag}={error}") from error
        if any(_same_file(target, item) for item in read):
            raise UsageError(f"{flag}={name}: is a file that is read; name another one")
        if target.exists() and not result.force:
            raise UsageError(f"{flag}={name}: exists already; --force overwrites it")
    check_different(result.files)


def check_different(names: Iterable[str]) -> None:
    """Refuse to write two results into one file.

    Raises:
        UsageError: two of the names are the same.
    """
    seen: dict[str, str] = {}
    for name in names:
        place = os.path.realpath(name)
        if place in seen:
            raise UsageError(f"{name}: two results would be written to it; give each a file of its own")
        seen[place] = name


def check_output(model: str, target: str, force: bool) -> None:
    """Refuse a target that can not be written, is the model itself, or exists already.

    Raises:
        UsageError: it is refused.
    """
    path = Path(target)
    try:
        exists = path.exists()
    except OSError as error:
        raise UsageError(f"{target}: can not be written ({error.strerror}); give another name with -o") from error
    if exists and path.samefile(model):
        raise UsageError(f"{target}: is the model to convert; give another name with -o")
    if exists and not force:
        raise UsageError(f"{target}: exists already; --force overwrites it, -o names another file")


def default_output(model: str) -> str:
    """``folder/net.h5`` -> ``folder/net-octave.keras``."""
    return f"{os.path.splitext(model)[0]}-octave.keras"


def _same_file(first: Path, second: Path) -> bool:
    return first.exists() and second.exists() and first.samefile(second)
