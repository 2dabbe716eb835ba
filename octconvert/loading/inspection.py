"""What a model file holds, found out in a process of its own before this one opens the file.

See `octconvert.loading.inspector` for what is looked at and refused there.
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

SCRIPT = Path(__file__).with_name("inspector") / "__main__.py"
SECONDS = 40
"""For any file; honest ones take half a second."""
BYTES_A_SECOND = 5_000_000
"""Of a large file on a slow disk or network."""
DAMAGED = {
    "h5": "is a damaged or incomplete HDF5 file; download or save it again",
    "keras": "is a damaged or incomplete zip (.keras) file; download or save it again",
}


@dataclass(frozen=True)
class Stamp:
    """By what a file is known again."""

    device: int
    inode: int
    size: int
    modified: int
    changed: int

    @classmethod
    def of(cls, path: Path) -> Stamp:
        """Raises: InputError: the file is gone."""
        try:
            found = os.stat(path)
        except OSError as error:
            raise InputError(f"{path}: can not be read any more ({error.strerror}); check the path") from None
        return cls(found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns)

    def check(self, path: Path) -> None:
        """Raises: InputError: the file is not what it was, so nothing that was found out about it holds."""
        if self != Stamp.of(path):
            raise InputError(f"{path}: was changed while it was read; wait until it is written and try again")


@dataclass(frozen=True)
class Weight:
    """An array of the file, not read yet."""

    name: str
    shape: tuple[int, ...]


@dataclass(frozen=True)
class Contents:
    """A whole model as it lies in its file.

    Attributes:
        kind: ``"keras"`` or ``"h5"``.
        stamp: The file that was looked at.
        config: The architecture, JSON that is not read yet.
        elements: How many numbers all weights have together, those of the optimizer in a .keras file included.
        version: Of the Keras that wrote the file, as it stands there.
        backend: The same, for .h5 files.
        training: The training settings of an .h5 file, JSON.
        layers: The weights of an .h5 file, by layer, in the order of the file.
        top: Weights of an .h5 file that belong to no layer.
        extra: Whether a .keras archive holds more than Keras reads.
        old: Whether a .keras archive has its weights where tf.keras 2.12 put them.
    """

    kind: str
    stamp: Stamp
    config: str
    elements: int
    version: str | None = None
    backend: str | None = None
    training: str | None = None
    layers: tuple[tuple[str, tuple[Weight, ...]], ...] = ()
    top: tuple[Weight, ...] = ()
    extra: bool = False
    old: bool = False


def inspect(path: Path) -> Contents:
    """What the model file holds.

    Raises:
        InputError: It is no whole Keras model, damaged, or made to harm whoever reads it; one line says which.
    """
    kind = file_format.kind_of(path)
    stamp = Stamp.of(path)
    found = _inspected(path, kind, SECONDS + stamp.size // BYTES_A_SECOND)
    stamp.check(path)
    if kind == "h5":
        return _hdf5(path, stamp, found)
    return _archive(path, stamp, found)


def _inspected(path: Path, kind: str, seconds: int) -> dict[str, Any]:
    """The script's answer."""
    task = json.dumps({"path": os.path.abspath(path), "kind": kind, "seconds": seconds})
    try:
        code, output, errors = _run(task, seconds)
    except subprocess.TimeoutExpired:
        raise InputError(f"{path}: {DAMAGED[kind]} (looking through it took over {seconds} seconds)") from None
    except OSError as error:
        raise InputError(f"{path}: can not be looked through ({error.strerror or error}); try again") from None
    if code < 0:
        raise InputError(f"{path}: {DAMAGED[kind]}")
    try:
        answer = json.loads(output)
    except ValueError:
        last = errors.strip().splitlines()[-1:] or [f"exit {code}"]
        raise InputError(f"{path}: can not be looked through ({last[0][:200]}); try again") from None
    if "refusal" in answer:
        raise InputError(f"{path}: {answer['refusal']}")
    return answer["contents"]


def _run(task: str, seconds: int) -> tuple[int, str, str]:
    """(exit code, standard output, standard error) of the script; it never outlives this call."""
    paths = os.pathsep.join(entry for entry in sys.path if entry)
    threads = {f"{library}_NUM_THREADS": "1" for library in ("OPENBLAS", "OMP", "MKL")}  # each takes address space
    plugins = {"HDF5_PLUGIN_PRELOAD": "::"}  # no filter is loaded because a file asks for it
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


def _hdf5(path: Path, stamp: Stamp, found: dict[str, Any]) -> Contents:
    if not found["whole"]:
        raise InputError(f"{path}: {file_format.other_hdf5(found['architecture'], found['weights'])}")
    layers = tuple((layer, _weights(weights)) for layer, weights in found["layers"])
    same = {key: found[key] for key in ("config", "elements", "version", "backend", "training")}
    return Contents("h5", stamp, layers=layers, top=_weights(found["top"]), **same)


def _weights(found: list[list[Any]]) -> tuple[Weight, ...]:
    return tuple(Weight(name, tuple(shape)) for name, shape in found)


def _archive(path: Path, stamp: Stamp, found: dict[str, Any]) -> Contents:
    if not found["whole"]:
        raise InputError(f"{path}: {file_format.other_zip(found['names'])}")
    try:
        version = json.loads(found["metadata"])["keras_version"]
    except (ValueError, TypeError, KeyError):
        version = None
    same = {key: found[key] for key in ("config", "elements", "extra", "old")}
    return Contents("keras", stamp, version=None if version is None else str(version), **same)
