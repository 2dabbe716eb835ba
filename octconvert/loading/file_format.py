"""The format of a file, from its first bytes or its members, and what to do if it is not a complete Keras model."""

from __future__ import annotations

import json
import os
import stat
from collections.abc import Iterable
from pathlib import Path

from octconvert.errors import InputError
from octconvert.loading.inspector.layout import CONFIG, METADATA

HDF5 = b"\x89HDF\r\n\x1a\n"
MOST_JSON_BYTES = 16 << 20
COMPLETE_MODEL = "save the complete model with model.save('model.keras') and use that file"

ZIP_MEMBERS = (
    ("data.pkl", "is a PyTorch file; octconvert reads Keras models only, convert the model to Keras first"),
    (
        "saved_model.pb",
        f"is a zipped TensorFlow SavedModel; load it with the Keras that wrote it and {COMPLETE_MODEL}",
    ),
    ("keras_model.h5", "is a zip file with a Keras model inside; unpack it and use keras_model.h5"),
    (".tflite", "is a zip file with a TensorFlow Lite model; use the Keras model that it was exported from"),
    ("model.json", "is a zip file with a TensorFlow.js model; use the Keras model that it was exported from"),
    (".npy", f"is a NumPy archive without an architecture; {COMPLETE_MODEL}"),
)
"""End of the name of a member of a zip file -> what the file is. The first match counts."""

FIRST_BYTES = (
    (b"\x80\x02", "is a Python pickle (an older PyTorch file?); octconvert reads Keras models only"),
    (b"\x80\x03", "is a Python pickle; " + COMPLETE_MODEL),
    (b"\x80\x04", "is a Python pickle; " + COMPLETE_MODEL),
    (b"\x80\x05", "is a Python pickle; " + COMPLETE_MODEL),
    (b"\x93NUMPY", f"is a NumPy array without an architecture; {COMPLETE_MODEL}"),
    (b"\x1f\x8b", "is compressed with gzip; unpack it and use the file inside"),
    (b"version https://git-lfs", "is a Git LFS pointer, not the model itself; run 'git lfs pull' first"),
)


def format_of(path: Path) -> str:
    """``"keras"`` or ``"h5"``, by the first bytes; never waits for a pipe or a device.

    Raises:
        InputError: The file is missing, unreadable or not a Keras model.
    """
    try:
        mode = os.stat(path).st_mode
        if stat.S_ISDIR(mode):
            raise InputError(f"{path}: {_directory(path)}")
        if not stat.S_ISREG(mode):
            raise InputError(f"{path}: is a pipe, a socket or a device, not a file; use a .keras or .h5 file")
        head = _head(path)
    except FileNotFoundError:
        raise InputError(f"{path}: there is no such file; check the path") from None
    except PermissionError:
        raise InputError(f"{path}: no permission to read it; change the file's permissions") from None
    except (OSError, ValueError) as error:  # a name with a zero byte is a ValueError
        reason = getattr(error, "strerror", None) or error
        raise InputError(f"{path}: can not be read ({reason}); check the path") from None
    if head.startswith(HDF5):
        return "h5"
    if head.startswith(b"PK\x03\x04"):
        return "keras"
    raise InputError(f"{path}: {_describe(path, head)}")


def _head(path: Path) -> bytes:
    """The first bytes; a file without a size, as those in /proc, is not read: that could wait without end."""
    descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0))
    try:
        status = os.fstat(descriptor)
        return os.read(descriptor, 4096) if stat.S_ISREG(status.st_mode) and status.st_size else b""
    finally:
        os.close(descriptor)


def _directory(path: Path) -> str:
    names = set(os.listdir(path))
    if "saved_model.pb" in names:
        return f"is a TensorFlow SavedModel directory; load it with the Keras that wrote it and {COMPLETE_MODEL}"
    if {CONFIG, METADATA} <= names:
        return "is an unpacked .keras directory; zip its content into one .keras file and use that"
    return "is a directory; use a .keras or .h5 file"


def describe_hdf5(architecture: bool, weights: bool) -> str:
    """What an HDF5 file is that is not a complete model."""
    if architecture:
        return f"contains an architecture but no weights; {COMPLETE_MODEL}"
    if weights:
        return f"contains only weights (save_weights); build the model, load them and {COMPLETE_MODEL}"
    return "is an HDF5 file but not a Keras model; use a .keras or .h5 file saved by Keras"


def describe_zip(names: Iterable[str]) -> str:
    """What a zip file with these members is that is not a complete model."""
    names = list(names)
    if {CONFIG, METADATA} <= set(names):
        weights = next((name for name in names if name.startswith("model.weights")), None)
        if weights is not None:
            return f"keeps its weights in '{weights}', which Keras can not load from an archive; {COMPLETE_MODEL}"
        return f"contains an architecture but no weights; {COMPLETE_MODEL}"
    for end, description in ZIP_MEMBERS:
        if any(name.endswith(end) for name in names):
            return description
    return "is a zip file but not a Keras model; use a .keras or .h5 file saved by Keras"


def _describe(path: Path, head: bytes) -> str:
    if not head:
        return "is empty; download or save it again"
    if head[4:8] == b"TFL3":
        return "is a TensorFlow Lite model; use the Keras model that it was exported from (.keras or .h5)"
    for start, description in FIRST_BYTES:
        if head.startswith(start):
            return description
    if path.suffix.lower() == ".onnx" or (head[:1] == b"\x08" and (b"onnx" in head[:64] or b"pytorch" in head[:64])):
        return "is an ONNX model; octconvert reads Keras models only, convert the model to Keras first"
    if path.suffix.lower() == ".pb":
        return f"is a TensorFlow graph; load it with the Keras that wrote it and {COMPLETE_MODEL}"
    return _describe_text(path, head) or "has an unknown format; use a .keras or .h5 file saved by Keras"


def _describe_text(path: Path, head: bytes) -> str | None:
    if b"\x00" in head:
        return None
    try:
        text = head.decode("utf-8", errors="strict" if len(head) < 4096 else "ignore").lstrip("\ufeff \t\r\n")
    except UnicodeDecodeError:
        return None
    if text[:200].lower().startswith(("<!doctype html", "<html")):
        return "is a web page, so the download has failed; download the model file itself"
    if not text.startswith("{"):
        return "is a text file; use a .keras or .h5 file saved by Keras"
    try:
        content = json.loads(path.read_text("utf-8")) if path.stat().st_size <= MOST_JSON_BYTES else {}
    except (ValueError, RecursionError):
        content = {}
    if isinstance(content, dict) and "modelTopology" in content:
        return "is a TensorFlow.js model; use the Keras model that it was exported from (.keras or .h5)"
    if isinstance(content, dict) and "class_name" in content and "config" in content:
        return (
            f"contains an architecture (to_json) but no weights; build the model, load its weights and {COMPLETE_MODEL}"
        )
    return "is a JSON text file; use a .keras or .h5 file saved by Keras"
