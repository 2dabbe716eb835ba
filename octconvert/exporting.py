"""Exporting a model: written beside the target, run there and compared with Keras, and only then put in its place."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from octconvert.errors import CheckError, UsageError
from octconvert.report.result import Check
from octconvert.runtimes import Runtime, find

FORMATS = ("litert", "onnx", "openvino", "tf")
_DIRECTORIES = {
    "openvino": {"model.xml", "model.bin"},
    "tf": {"saved_model.pb", "fingerprint.pb", "variables", "assets", "assets.extra"},
}
"""The formats that can be a directory, and all that is ever in it."""


def format_of(target: Path, name: str | None = None) -> Runtime:
    """The runtime whose format is meant by its name, or else by the ending of the target.

    Raises:
        UsageError: there is no such format, or the two contradict each other.
    """
    ending = target.suffix.lower()
    meant = next((format for format in FORMATS if find(format).suffix == ending != ""), None)
    if name is None and meant is None:
        raise UsageError(
            f"{target}: unknown ending '{ending}'; name it .tflite, .onnx or .xml, or give --format openvino or tf "
            "(format=) for a directory"
        )
    if name is not None and name not in FORMATS:
        raise UsageError(f"there is no format {name!r}; there are {', '.join(FORMATS)}")
    if name is not None and (name != meant if meant else name not in _DIRECTORIES):
        suffix = find(name).suffix
        raise UsageError(f"{target}: {name} is written to {f'a name ending in {suffix}' if suffix else 'a directory'}")
    return find(name or meant or "")


def check_target(runtime: Runtime, target: Path, overwrite: bool) -> None:
    """Raises `UsageError` where `export_checked` could not write, before any work is done for it."""
    place = target.resolve()
    if not place.parent.is_dir():
        raise UsageError(f"{target}: there is no directory {target.parent}; make it first")
    if not os.access(place.parent, os.W_OK | os.X_OK):
        raise UsageError(f"{target}: no permission to write into {target.parent}; choose another place")
    try:
        taken = [path for path in _files(runtime, place) if path.exists()]
    except OSError as error:
        raise UsageError(f"{target}: can not be written ({error.strerror}); choose another name") from error
    for path in taken:
        told = target.with_name(path.name)
        if path.is_dir() == _is_file(runtime, place):
            kind = "directory; name a file" if path.is_dir() else "file; name a directory"
            raise UsageError(f"{told}: is a {kind}")
        if path.is_dir() and _strangers(runtime, path):
            raise UsageError(f"{target}: is a directory that holds more than an export; choose another name")
        if not overwrite:
            raise UsageError(f"{told}: exists already; choose another name or allow overwriting it")


def export_checked(source, model, runtime: Runtime, target: Path, batch: int, overwrite: bool) -> Check:
    """Export ``model``, run what was written, compare with what ``source`` gives, and put it in its place.

    Whatever goes wrong, what was at the target stays as it was and nothing is left behind.

    Raises:
        UsageError: the target can not be written, or exists and ``overwrite`` is false.
        InputError: the runtime has not what the model needs.
        CheckError: the exported file can not be run or gives something else.
    """
    check_target(runtime, target, overwrite)
    place = target.resolve()  # through a symbolic link to what is behind it
    with _beside(place, target) as folder:
        written = folder / "new" / f"model{runtime.suffix if _is_file(runtime, place) else ''}"
        runtime.export(model, written, batch)
        check = _compare(source, runtime, written, batch)
        if not check.passed:
            raise CheckError(f"check '{check.name}' failed, nothing was written: {check.detail}")
        check_target(runtime, target, overwrite)  # somebody may have been faster
        try:
            _move(_files(runtime, written), _files(runtime, place), folder / "old")
        except OSError as error:
            raise UsageError(f"{target}: can not be written ({error.strerror}); choose another place") from error
    return check


def written_bytes(runtime: Runtime, target: Path) -> int:
    """Size of all that belongs to an export."""
    every = [path for root in _files(runtime, target) for path in (root, *root.rglob("*"))]
    return sum(path.stat().st_size for path in every if path.is_file())


def _compare(source, runtime: Runtime, written: Path, batch: int) -> Check:
    from octconvert import verify
    from octconvert.runtimes.signature import example_inputs

    inputs = example_inputs(source, batch)
    try:
        found = runtime.open(written)(inputs)
    except Exception as error:  # runtimes raise of every kind
        return Check("export", False, f"{runtime.name} can not run the exported file: {runtime.reason(error)}")
    return verify.check_exported(source, list(inputs.values()), found)


def _is_file(runtime: Runtime, place: Path) -> bool:
    return bool(runtime.suffix) and place.suffix.lower() == runtime.suffix


def _files(runtime: Runtime, place: Path) -> tuple[Path, ...]:
    """What is written, files or a directory; the one that is looked for by name comes last."""
    pair = runtime.name == "openvino" and _is_file(runtime, place)
    return (place.with_suffix(".bin"), place) if pair else (place,)


def _strangers(runtime: Runtime, folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()} - _DIRECTORIES[runtime.name]


@contextmanager
def _beside(place: Path, target: Path) -> Iterator[Path]:
    """A directory on the file system of the target with two in it, 'new' and 'old', for as long as it is needed."""
    try:
        folder = Path(tempfile.mkdtemp(prefix=f".{place.stem[:40]}.", dir=place.parent))
        for name in ("new", "old"):
            (folder / name).mkdir()
    except OSError as error:
        raise UsageError(f"{target}: can not be written ({error.strerror}); choose another place") from error
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _move(written: tuple[Path, ...], places: tuple[Path, ...], old: Path) -> None:
    """A single file takes its place in one step; otherwise those before go aside, and back where that fails."""
    aside = [place for place in places if place.exists() and (len(places) > 1 or place.is_dir())]
    try:
        for place in aside:
            os.replace(place, old / place.name)
        for new, place in zip(written, places, strict=True):
            if place.is_file():
                shutil.copymode(place, new)
            os.replace(new, place)
    except BaseException:
        for place in aside:
            if (old / place.name).exists():
                os.replace(old / place.name, place)
        raise
