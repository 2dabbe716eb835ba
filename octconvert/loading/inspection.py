"""What a model file contains, determined in a process of its own before this process opens the file.

`octconvert.loading.inspector` says what is looked at and refused there.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from octconvert.errors import InputError
from octconvert.loading import file_format
from octconvert.loading.inspector.limits import DAMAGED_HDF5, DAMAGED_ZIP

SCRIPT = Path(__file__).parent / "inspector" / "__main__.py"
SECONDS = 40
"""Time limit for any file; an intact one takes half a second."""
BYTES_PER_SECOND = 5_000_000
"""Speed of a slow disk or network: a large file gets more time."""
DAMAGED = {"h5": DAMAGED_HDF5, "keras": DAMAGED_ZIP}


@dataclass(frozen=True)
class Fingerprint:
    """What the file system says about a file, to notice that it was changed."""

    device: int
    inode: int
    size: int
    modified: int
    changed: int

    @classmethod
    def of(cls, path: Path) -> Fingerprint:
        """Raises: InputError: the file can not be read any more."""
        try:
            status = os.stat(path)
        except OSError as error:
            raise InputError(f"{path}: can not be read any more ({error.strerror}); check the path") from None
        return cls(status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns)

    def check(self, path: Path) -> None:
        """Raises: InputError: the file has changed, so that its inspection is not valid any more."""
        if self != Fingerprint.of(path):
            raise InputError(f"{path}: was changed while it was read; wait until it is written and try again")


@dataclass(frozen=True)
class StoredWeight:
    """An array of the file that is not read yet."""

    name: str
    shape: tuple[int, ...]


@dataclass(frozen=True)
class InspectedFile:
    """The parts of a complete model file.

    Attributes:
        path: The file.
        kind: ``"keras"`` or ``"h5"``.
        fingerprint: State of the file when it was inspected.
        architecture: JSON text that is not decoded yet.
        elements: How many numbers all weights have together, those of the optimizer in a .keras file included.
        keras_version: Of the Keras that wrote the file, as text.
        backend: Of the Keras that wrote an .h5 file.
        training_settings: JSON text, of an .h5 file.
        layers: The weights of an .h5 file, by layer, in the order of the file.
        top_level_weights: Weights of an .h5 file that belong to no layer.
        extra_members: Whether a .keras archive contains files that Keras does not read.
        old_weight_paths: Whether a .keras archive has its weights where tf.keras 2.12 put them.
    """

    path: Path
    kind: str
    fingerprint: Fingerprint
    architecture: str
    elements: int
    keras_version: str | None = None
    backend: str | None = None
    training_settings: str | None = None
    layers: tuple[tuple[str, tuple[StoredWeight, ...]], ...] = ()
    top_level_weights: tuple[StoredWeight, ...] = ()
    extra_members: bool = False
    old_weight_paths: bool = False


def inspect(path: Path) -> InspectedFile:
    """Inspects a model file.

    Raises:
        InputError: It is not a complete Keras model, damaged, or made to do harm; one line says which.
    """
    kind = file_format.format_of(path)
    fingerprint = Fingerprint.of(path)
    contents = _run_inspector(path, kind, SECONDS + fingerprint.size // BYTES_PER_SECOND)
    fingerprint.check(path)
    if kind == "h5":
        return _hdf5_file(path, fingerprint, contents)
    return _keras_archive(path, fingerprint, contents)


def _run_inspector(path: Path, kind: str, seconds: int) -> dict[str, Any]:
    """The contents according to the script."""
    task = json.dumps({"path": os.path.abspath(path), "kind": kind, "seconds": seconds})
    try:
        code, output, errors = _run_script(task, seconds)
    except subprocess.TimeoutExpired:
        raise InputError(f"{path}: {DAMAGED[kind]} (its inspection took over {seconds} seconds)") from None
    except OSError as error:
        raise InputError(f"{path}: can not be inspected ({error.strerror or error}); try again") from None
    if code < 0:
        raise InputError(f"{path}: {DAMAGED[kind]}")
    try:
        answer = json.loads(output)
    except ValueError:
        last = errors.strip().splitlines()[-1:] or [f"exit code {code}"]
        raise InputError(f"{path}: can not be inspected ({last[0][:200]}); try again") from None
    if "refusal" in answer:
        raise InputError(f"{path}: {answer['refusal']}")
    return answer["contents"]


def _run_script(task: str, seconds: int) -> tuple[int, str, str]:
    """(exit code, standard output, standard error) of the script; it always ends before this call does."""
    paths = os.pathsep.join(entry for entry in sys.path if entry)
    threads = {f"{library}_NUM_THREADS": "1" for library in ("OPENBLAS", "OMP", "MKL")}  # each takes address space
    plugins = {"HDF5_PLUGIN_PRELOAD": "::"}  # no filter is loaded because a file names it
    process = subprocess.Popen(
        [sys.executable or "python3", "-S", "-P", str(SCRIPT)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        encoding="utf-8",
        errors="replace",
        env={**os.environ, **threads, **plugins, "PYTHONPATH": paths},
    )
    with process:
        try:
            output, errors = process.communicate(task, timeout=seconds)
        except BaseException:
            process.kill()
            process.wait()
            raise
    return process.returncode, output, errors


def _hdf5_file(path: Path, fingerprint: Fingerprint, contents: dict[str, Any]) -> InspectedFile:
    if not contents["complete"]:
        raise InputError(f"{path}: {file_format.describe_hdf5(contents['architecture'], contents['weights'])}")
    layers = tuple((layer, _weights(weights)) for layer, weights in contents["layers"])
    same = ("architecture", "elements", "keras_version", "backend", "training_settings")
    return InspectedFile(
        path,
        "h5",
        fingerprint,
        layers=layers,
        top_level_weights=_weights(contents["top_level_weights"]),
        **{key: contents[key] for key in same},
    )


def _weights(rows: list[list[Any]]) -> tuple[StoredWeight, ...]:
    return tuple(StoredWeight(name, tuple(shape)) for name, shape in rows)


def _keras_archive(path: Path, fingerprint: Fingerprint, contents: dict[str, Any]) -> InspectedFile:
    if not contents["complete"]:
        raise InputError(f"{path}: {file_format.describe_zip(contents['names'])}")
    try:
        version = json.loads(contents["metadata"])["keras_version"]
    except (ValueError, TypeError, KeyError):
        version = None
    same = ("architecture", "elements", "extra_members", "old_weight_paths")
    return InspectedFile(
        path,
        "keras",
        fingerprint,
        keras_version=None if version is None else str(version),
        **{key: contents[key] for key in same},
    )
