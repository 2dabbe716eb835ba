"""Exporting a model: written beside the target, run there and compared with Keras, and only then put in its place."""

from __future__ import annotations

import os
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from octconvert.errors import CheckError, InputError, UsageError
from octconvert.results.report import Check
from octconvert.runtimes import Runtime, find, openvino_pair
from octconvert.system import targets
from octconvert.system.temporaries import remove

if TYPE_CHECKING:
    from keras import InputSpec

    from octconvert.inference.fallback import TakenForm

FORMATS = ("litert", "onnx", "openvino", "tf")
_DIRECTORIES = {
    "openvino": {"model.xml", "model.bin"},
    "tf": {"saved_model.pb", "fingerprint.pb", "variables", "assets", "assets.extra"},
}
"""The formats that can be a directory, and all that is ever in it."""
_BYTES_OF_A_GRAPH, _BYTES_OF_A_WEIGHT = 2**16, 4
"""What an export needs on the disk, about."""


def format_of(target: Path, name: str | None = None) -> Runtime:
    """The runtime whose format is meant by its name, or else by the ending of the target.

    Raises:
        UsageError: there is no such format, or the two contradict each other.
    """
    ending, called = target.suffix.lower(), targets.shown(target)
    meant = next((format for format in FORMATS if find(format).suffix == ending != ""), None)
    if name is None and meant is None:
        raise UsageError(
            f"{called}: unknown ending '{targets.shown(ending)}'; name it .tflite, .onnx or .xml, or give "
            "--format openvino or tf (format=) for a directory"
        )
    if name is not None and name not in FORMATS:
        raise UsageError(f"there is no format {name!r}; there are {', '.join(FORMATS)}")
    if name is not None and (name != meant if meant else name not in _DIRECTORIES):
        suffix = find(name).suffix
        raise UsageError(f"{called}: {name} is written to {f'a name ending in {suffix}' if suffix else 'a directory'}")
    return find(name or meant or "")


def check_target(runtime: Runtime, target: Path, overwrite: bool) -> tuple[Path, ...]:
    """Refuse what `export_checked` could not write, before any work is done for it.

    Returns:
        The paths behind all links: a file, a directory, or a .bin and its .xml.

    Raises:
        UsageError: with the reason.
    """
    is_file = _is_file(runtime, target)
    given = _files(runtime, target)
    places = tuple(targets.check_target(each, directory=not is_file, overwrite=overwrite) for each in given)
    if len(set(places)) < len(places):
        raise UsageError(f"{targets.shown(target)}: is the same file as {targets.shown(given[0])}; choose another name")
    if not is_file and places[0].is_dir() and _strangers(runtime, places[0]):
        raise UsageError(f"{targets.shown(target)}: is a directory that holds more than an export; choose another name")
    return places


@dataclass(frozen=True)
class Written:
    """What an export has written: the inputs it takes, and its check."""

    inputs: tuple[InputSpec, ...]
    check: Check


def export_checked(
    source, runtime: Runtime, target: Path, batch: int, overwrite: bool, for_inference: bool
) -> TakenForm[Written]:
    """Export ``source``, run what was written, compare with what it gives itself, and put it in its place.

    Where the runtime does not take the form that was asked for, the other one is tried. Whatever goes wrong, what was
    at the target stays as it was and nothing is left behind.

    Raises:
        UsageError: the target can not be written, or exists and ``overwrite`` is false.
        InputError: the runtime has not what the model needs.
        CheckError: the exported file can not be run or gives something else.
    """
    from octconvert.inference.fallback import first_taken

    places = check_target(runtime, target, overwrite)
    place = places[-1]
    try:
        with targets.beside(place) as folder:
            os.mkdir(folder, 0o700)
            written = folder / f"model{runtime.suffix if _is_file(runtime, target) else ''}"
            write = partial(_written, source, runtime, written, batch, target)
            choice = first_taken(source, runtime, (for_inference, not for_inference), write)
            check_target(runtime, target, overwrite)  # somebody may have been faster
            if len(places) > 1:
                openvino_pair.put_in_place(written, place, places[0])
            else:
                targets.put_in_place(written, place)
    except OSError as error:
        raise targets.can_not_be_written(target, error) from error
    return choice


def _written(source, runtime: Runtime, path: Path, batch: int, target: Path, model) -> Written:
    """``model`` exported to a path and checked against its source."""
    from octconvert.runtimes.signature import signature_of

    for each in _files(runtime, path):
        remove(each)  # what was written of a form before
    try:
        runtime.export(model, path, batch)
    except InputError:
        targets.check_room(path.parent, _BYTES_OF_A_GRAPH + _BYTES_OF_A_WEIGHT * model.count_params(), target)
        raise
    check = _compare(source, model, runtime, path, batch)
    if not check.passed:
        raise Failed(f"check '{check.name}' failed, nothing was written: {check.detail}", check.detail)
    return Written(tuple(signature_of(model, batch)), check)


class Failed(CheckError):
    """An export failed its check; ``reason`` says why, without more."""

    def __init__(self, message: str, reason: str):
        super().__init__(message)
        self.reason = reason


def written_bytes(runtime: Runtime, target: Path) -> int:
    """Size of all that belongs to an export."""
    every = [path for root in _files(runtime, target) for path in (root, *root.rglob("*"))]
    return sum(path.stat().st_size for path in every if path.is_file())


def _compare(source, model, runtime: Runtime, written: Path, batch: int) -> Check:
    from octconvert.runtimes.signature import example_inputs
    from octconvert.verification import checks

    inputs = example_inputs(model, batch)
    try:
        found = runtime.open(written)(inputs)
    except Exception as error:  # runtimes raise of every kind
        return Check("export", False, f"{runtime.name} can not run the exported file: {runtime.reason(error)}")
    return checks.check_exported(source, list(inputs.values()), found)


def _is_file(runtime: Runtime, place: Path) -> bool:
    return bool(runtime.suffix) and place.suffix.lower() == runtime.suffix


def _files(runtime: Runtime, place: Path) -> tuple[Path, ...]:
    """What is written, files or a directory; the one that is looked for by name comes last."""
    pair = runtime.name == "openvino" and _is_file(runtime, place)
    return (place.with_suffix(".bin"), place) if pair else (place,)


def _strangers(runtime: Runtime, folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()} - _DIRECTORIES[runtime.name]
