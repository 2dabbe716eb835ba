"""Exporting a model: written beside the target, run there and compared with Keras, and only then put in its place."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

from octconvert.errors import CheckError, InputError, OctconvertError, UsageError
from octconvert.options.timing import FORMATS, check_format
from octconvert.results.export import QuantizationReport
from octconvert.results.report import Check
from octconvert.runtimes import Runtime, Session, find, openvino_pair
from octconvert.runtimes.settings import ExportSettings
from octconvert.system import targets
from octconvert.system.temporaries import remove

if TYPE_CHECKING:
    from keras import InputSpec, Model

    from octconvert.inference.fallback import TakenForm

_DIRECTORIES = {
    "openvino": {"model.xml", "model.bin"},
    "tf": {"saved_model.pb", "fingerprint.pb", "variables", "assets", "assets.extra"},
}
"""The formats that can be a directory, and every name that can be in it."""
_BYTES_OF_A_GRAPH, _BYTES_OF_A_WEIGHT = 2**16, 4
"""What an export takes on the disk, about."""


def format_of(target: Path, name: str | None = None) -> Runtime:
    """The runtime that reads the export: by the name of its format, or else by the ending of the target.

    Raises:
        UsageError: there is no such format, or the two contradict each other.
    """
    ending, label = target.suffix.lower(), targets.shown(target)
    by_ending = next((format for format in FORMATS if find(format).suffix == ending != ""), None)
    if name is None and by_ending is None:
        unknown = f"unknown ending '{targets.shown(ending)}'" if ending else "no ending"
        raise UsageError(
            f"{label}: {unknown}; name it .tflite, .onnx or .xml, or give `format` openvino or tf for a directory"
        )
    if name is not None:
        check_format(name)
        if name != by_ending if by_ending else name not in _DIRECTORIES:
            suffix = find(name).suffix
            place = f"a name ending in {suffix}" if suffix else "a directory"
            raise UsageError(f"{label}: {name} is written to {place}")
    return find(name or by_ending or "")


def check_settings(runtime: Runtime, precision: str | None, opset: int | None, integer_io: bool) -> None:
    """Refuse what the runtime's format does not have.

    Raises:
        UsageError: with the reason, or because a package is not installed.
    """
    if opset is not None and not runtime.has_opsets:
        raise UsageError(f"`opset` is for ONNX; {runtime.name} has none")
    if integer_io and not runtime.has_integer_io:
        raise UsageError(f"`integer_io` is for LiteRT; files for {runtime.name} have their ends in float32")
    runtime.check_installed(precision)


def check_export_target(runtime: Runtime, target: Path, overwrite: bool) -> tuple[Path, ...]:
    """Refuse what `export_checked` could not write, before any work is done for it.

    Returns:
        The paths behind all links: a file, a directory, or a .bin and its .xml.

    Raises:
        UsageError: with the reason.
    """
    is_file = _is_file(runtime, target)
    paths = _files(runtime, target)
    places = tuple(targets.check_target(path, directory=not is_file, overwrite=overwrite) for path in paths)
    if len(set(places)) < len(places):
        raise UsageError(f"{targets.shown(target)}: is the same file as {targets.shown(paths[0])}; choose another name")
    if not is_file and places[0].is_dir() and _foreign_names(runtime, places[0]):
        raise UsageError(f"{targets.shown(target)}: is a directory that holds more than an export; choose another name")
    return places


@dataclass(frozen=True, eq=False)
class Job:
    """What is to be written.

    Attributes:
        target: the file or directory.
        settings: how it is written.
        overwrite: whether the target may be replaced.
        for_inference: the form that is tried first.
    """

    runtime: Runtime
    target: Path
    settings: ExportSettings
    overwrite: bool = False
    for_inference: bool = True


@dataclass(frozen=True)
class Compared:
    """An export that was run: whether its outputs are the model's, and how close those of a rounded one are."""

    check: Check
    quantization: QuantizationReport | None = None


Compare: TypeAlias = "Callable[[Session, Model], Compared]"
"""Runs the export of a model in some form, and compares its outputs with those of the model itself."""


@dataclass(frozen=True)
class Written:
    """A checked export.

    Attributes:
        inputs: shape, dtype and name of each of its inputs.
        compared: its outputs, with the model's.
        partitions: see `octconvert.runtimes.base.Session.partitions`.
    """

    inputs: tuple[InputSpec, ...]
    compared: Compared
    partitions: int | None


def export_checked(source: Model, job: Job, compare: Compare) -> TakenForm[Written]:
    """Export a model, run the file, compare its outputs with the model's, and put it in its place.

    Where the runtime does not take the form that is requested, the other one is tried. Whatever goes wrong, the target
    stays as it was and nothing is left behind.

    Args:
        compare: for example `same_outputs`.

    Raises:
        UsageError: the target can not be written, or exists and ``overwrite`` is false.
        InputError: the runtime lacks an operation that the model needs.
        CheckError: the exported file can not be run, or its outputs differ.
    """
    from octconvert.inference.fallback import first_taken

    runtime, target, forms = job.runtime, job.target, (job.for_inference, not job.for_inference)
    name = f"model{runtime.suffix if _is_file(runtime, target) else ''}"

    def places() -> tuple[Path, ...]:
        return check_export_target(runtime, target, job.overwrite)

    def export(folder: Path) -> TakenForm[Written]:
        os.mkdir(folder, 0o700)
        write = partial(_written, job, compare, folder / name)
        return first_taken(source, runtime, forms, write, precision=job.settings.precision)

    def replace(folder: Path, place: Path) -> None:
        if len(places()) > 1:
            openvino_pair.put_in_place(folder / name, place, places()[0])
        else:
            targets.put_in_place(folder / name, place)

    return targets.checked_write(target, lambda: places()[-1], export, replace=replace)


def _written(job: Job, compare: Compare, path: Path, model: Model) -> Written:
    """``model`` exported to a path and checked."""
    from octconvert.runtimes.signature import signature_of

    for each in _files(job.runtime, path):
        remove(each)  # the rest of another form, which was tried before
    try:
        job.runtime.export(model, path, job.settings)
    except InputError:
        targets.check_room(path.parent, _BYTES_OF_A_GRAPH + _BYTES_OF_A_WEIGHT * model.count_params(), job.target)
        raise
    inputs = tuple(signature_of(model, job.settings.batch))
    try:
        session = job.runtime.open(path)
        compared = compare(session, model)
    except OctconvertError:
        raise
    except Exception as error:  # runtimes raise errors of every kind
        reason = f"{job.runtime.name} can not run the exported file: {job.runtime.reason(error)}"
        raise _failed(Check("export", False, reason)) from error
    if not compared.check.passed:
        raise _failed(compared.check)
    return Written(inputs, compared, session.partitions)


def same_outputs(source: Model, batch: int | None) -> Compare:
    """Compares an export in float32 with its source, on random inputs."""

    def compare(session: Session, written: Model) -> Compared:
        from octconvert.runtimes.signature import example_inputs
        from octconvert.verification import checks

        inputs = example_inputs(written, batch)
        return Compared(checks.check_exported(source, list(inputs.values()), session(inputs)))

    return compare


def _failed(check: Check) -> Failed:
    return Failed(f"check '{check.name}' failed, nothing was written: {check.detail}", check.detail)


class Failed(CheckError):
    """An export failed its check; ``reason`` says why, without more."""

    def __init__(self, message: str, reason: str):
        super().__init__(message)
        self.reason = reason


def written_bytes(runtime: Runtime, target: Path) -> int:
    """Bytes of all files of an export."""
    every = [path for root in _files(runtime, target) for path in (root, *root.rglob("*"))]
    return sum(path.stat().st_size for path in every if path.is_file())


def _is_file(runtime: Runtime, place: Path) -> bool:
    return bool(runtime.suffix) and place.suffix.lower() == runtime.suffix


def _files(runtime: Runtime, place: Path) -> tuple[Path, ...]:
    """The files or the directory that are written; the one that the user names comes last."""
    pair = runtime.name == "openvino" and _is_file(runtime, place)
    return (place.with_suffix(".bin"), place) if pair else (place,)


def _foreign_names(runtime: Runtime, folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()} - _DIRECTORIES[runtime.name]
