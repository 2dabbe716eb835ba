"""The files that a command line names, checked before TensorFlow is started for them."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

from octconvert.cli.console import STDOUT
from octconvert.cli.parameters import ResultParameters
from octconvert.errors import InputError, UsageError
from octconvert.system.targets import check_target
from octconvert.text.nearest import nearest

_MOST_NAMES = 10_000
"""Of a directory that are looked at for one that may have been meant."""


def check_input(path: str, what: str = "file", option: str = "") -> None:
    """Raises `InputError` where there is no such file, with the name beside it that may have been meant.

    Args:
        what: is missing, "file" or "file or directory".
        option: that names it; empty where it is no option.
    """
    try:
        exists = Path(path).exists()
    except (OSError, ValueError) as error:
        raise InputError(f"{path}: can not be read ({getattr(error, 'strerror', None) or error})") from None
    if not exists:
        raise InputError(
            f"{path}: there is no such {what}{f' ({option})' if option else ''}{_near_name(path, 'directory' in what)}"
        )


def check_model(path: str) -> None:
    """Raises `InputError` where there is no such file, or its first bytes are not those of a Keras model."""
    from octconvert.loading.file_format import format_of

    check_input(path)
    format_of(Path(path))


def _near_name(path: str, may_be_directory: bool) -> str:
    folder, name = os.path.split(path)
    if folder and not os.path.isdir(folder):
        return ""
    try:
        with os.scandir(folder or ".") as entries:
            first = (entry for entry, _ in zip(entries, range(_MOST_NAMES), strict=False))
            names = [entry.name for entry in first if may_be_directory or not entry.is_dir()]
    except OSError:
        return ""
    stem = os.path.splitext(name)[0]
    same_stem = [each for each in names if os.path.splitext(each)[0] == stem]
    close = nearest(name, same_stem, 0.0) or nearest(name, names, 0.75)
    return f"; did you mean {os.path.join(folder, close)}?" if close else ""


def check_results(result: ResultParameters, inputs: Iterable[str | None]) -> None:
    """Refuse a file for --json or --html that can not be written, is one of the ``inputs``, or exists already.

    Raises:
        UsageError: it is refused.
    """
    read = [Path(item) for item in (*inputs, result.config) if item is not None]
    names = (("--json", None if result.json == STDOUT else result.json), ("--html", result.html))
    for flag, name in names:
        if name is None:
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
    if _is_one_place(result.json, result.html):
        raise UsageError(f"--html={result.html}: is the file that --json names; name another one")


def _is_one_place(first: str | None, second: str | None) -> bool:
    return None not in (first, second) and os.path.realpath(str(first)) == os.path.realpath(str(second))


def check_output(model: str, target: str, result: ResultParameters) -> None:
    """Refuse a target that can not be written, is the model itself or that of --json or --html, or exists already.

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
    for flag, name in (("--json", result.json), ("--html", result.html)):
        if _is_one_place(name, target):
            raise UsageError(f"{flag}={name}: is the file that -o names; name another one")
    if exists and not result.force:
        raise UsageError(f"{target}: exists already; --force overwrites it, -o names another file")


def default_output(model: str) -> str:
    """``folder/net.h5`` -> ``folder/net-octave.keras``."""
    return f"{os.path.splitext(model)[0]}-octave.keras"


def _same_file(first: Path, second: Path) -> bool:
    return first.exists() and second.exists() and first.samefile(second)
