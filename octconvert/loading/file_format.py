"""Tells from a file's first bytes or its members what it is, and what to do where that is no whole Keras model."""

from __future__ import annotations

import json
import os
import stat
from collections.abc import Iterable
from pathlib import Path

from octconvert.errors import InputError

HDF5 = b"\x89HDF\r\n\x1a\n"
LONGEST_JSON = 16 << 20
WHOLE_MODEL = "save the whole model with model.save('model.keras') and give that file"

# What a zip holds -> what it is. The first hit counts.
ZIPS = (
    ("data.pkl", "is a PyTorch file; octconvert reads Keras models only, port the model to Keras first"),
    ("saved_model.pb", f"is a zipped TensorFlow SavedModel; load it with the Keras that made it and {WHOLE_MODEL}"),
    ("keras_model.h5", "is a zip with a Keras model inside; unpack it and give the keras_model.h5"),
    (".tflite", "is a zip with a TensorFlow Lite model; give the Keras model it was made from"),
    ("model.json", "is a zip with a TensorFlow.js model; give the Keras model it was made from"),
    (".npy", f"is a NumPy archive and holds no architecture; {WHOLE_MODEL}"),
)

HEADS = (
    (b"\x80\x02", "is a Python pickle (an older PyTorch file?); octconvert reads Keras models only"),
    (b"\x80\x03", "is a Python pickle; " + WHOLE_MODEL),
    (b"\x80\x04", "is a Python pickle; " + WHOLE_MODEL),
    (b"\x80\x05", "is a Python pickle; " + WHOLE_MODEL),
    (b"\x93NUMPY", f"is a NumPy array and holds no architecture; {WHOLE_MODEL}"),
    (b"\x1f\x8b", "is compressed with gzip; unpack it and give the file inside"),
    (b"version https://git-lfs", "is a Git LFS pointer and not the model itself; run 'git lfs pull' first"),
)


def kind_of(path: Path) -> str:
    """``"keras"`` or ``"h5"``, by the first bytes; never waits for a pipe or a device.

    Raises:
        InputError: The file is missing, unreadable or something else than a Keras model.
    """
    try:
        mode = os.stat(path).st_mode
        if stat.S_ISDIR(mode):
            raise InputError(f"{path}: {_directory(path)}")
        if not stat.S_ISREG(mode):
            raise InputError(f"{path}: is a pipe, a socket or a device and no file; give a .keras or .h5 file")
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
    raise InputError(f"{path}: {_other(path, head)}")


def _head(path: Path) -> bytes:
    """The first bytes; a file of no size, as the system's own in /proc, is not read: that may wait for ever."""
    descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0))
    try:
        found = os.fstat(descriptor)
        return os.read(descriptor, 4096) if stat.S_ISREG(found.st_mode) and found.st_size else b""
    finally:
        os.close(descriptor)


def _directory(path: Path) -> str:
    names = set(os.listdir(path))
    if "saved_model.pb" in names:
        return f"is a TensorFlow SavedModel directory; load it with the Keras that made it and {WHOLE_MODEL}"
    if {"config.json", "metadata.json"} <= names:
        return "is an unpacked .keras directory; zip its content into one .keras file and give that"
    return "is a directory; give a .keras or .h5 file"


def other_hdf5(architecture: bool, weights: bool) -> str:
    """What an HDF5 file is that is no whole model."""
    if architecture:
        return f"holds an architecture but no weights; {WHOLE_MODEL}"
    if weights:
        return f"holds weights only (save_weights); build the model, load them and {WHOLE_MODEL}"
    return "is an HDF5 file but not a Keras model; give a .keras or .h5 file saved by Keras"


def other_zip(names: Iterable[str]) -> str:
    """What a zip with these members is that is no whole model."""
    names = list(names)
    if {"config.json", "metadata.json"} <= set(names):
        kept = next((name for name in names if name.startswith("model.weights")), None)
        if kept is not None:
            return f"keeps its weights in '{kept}', which Keras can not load from an archive; {WHOLE_MODEL}"
        return f"holds an architecture but no weights; {WHOLE_MODEL}"
    for end, meaning in ZIPS:
        if any(name.endswith(end) for name in names):
            return meaning
    return "is a zip file but not a Keras model; give a .keras or .h5 file saved by Keras"


def _other(path: Path, head: bytes) -> str:
    if not head:
        return "is empty; download or save it again"
    if head[4:8] == b"TFL3":
        return "is a TensorFlow Lite model; give the Keras model it was made from (.keras or .h5)"
    for start, meaning in HEADS:
        if head.startswith(start):
            return meaning
    if path.suffix.lower() == ".onnx" or (head[:1] == b"\x08" and (b"onnx" in head[:64] or b"pytorch" in head[:64])):
        return "is an ONNX model; octconvert reads Keras models only, port the model to Keras first"
    if path.suffix.lower() == ".pb":
        return f"is a TensorFlow graph; load it with the Keras that made it and {WHOLE_MODEL}"
    return _text(path, head) or "is no file of a known kind; give a .keras or .h5 file saved by Keras"


def _text(path: Path, head: bytes) -> str | None:
    if b"\x00" in head:
        return None
    try:
        text = head.decode("utf-8", errors="strict" if len(head) < 4096 else "ignore").lstrip("\ufeff \t\r\n")
    except UnicodeDecodeError:
        return None
    if text[:200].lower().startswith(("<!doctype html", "<html")):
        return "is a web page, so the download went wrong; download the model file itself"
    if not text.startswith("{"):
        return "is a text file; give a .keras or .h5 file saved by Keras"
    try:
        content = json.loads(path.read_text("utf-8")) if path.stat().st_size <= LONGEST_JSON else {}
    except (ValueError, RecursionError):
        content = {}
    if isinstance(content, dict) and "modelTopology" in content:
        return "is a TensorFlow.js model; give the Keras model it was made from (.keras or .h5)"
    if isinstance(content, dict) and "class_name" in content and "config" in content:
        return f"holds an architecture (to_json) but no weights; build the model, load its weights and {WHOLE_MODEL}"
    return "is a JSON text file; give a .keras or .h5 file saved by Keras"
