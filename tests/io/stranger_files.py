"""Model files as a stranger could make them: an honest one, and edits of what is inside."""

from __future__ import annotations

import functools
import json
import tempfile
import zipfile
from collections.abc import Callable
from pathlib import Path

import h5py
import keras
from keras import layers

KERNELS = {"h5": "model_weights/d/d/kernel", "keras": "layers/dense/vars/0"}
KINDS = tuple(KERNELS)


def honest(folder: Path, kind: str) -> Path:
    """A small model's file in ``folder``."""
    path = folder / f"model.{kind}"
    path.write_bytes(saved(kind))
    return path


@functools.cache
def saved(kind: str) -> bytes:
    """The same as bytes."""
    image = keras.Input((12, 12, 3), name="image")
    x = layers.Conv2D(8, 3, padding="same", name="a")(image)
    x = layers.UpSampling2D(2, name="up")(x)
    x = layers.Conv2D(8, 3, padding="same", name="b")(x)
    x = layers.GlobalAveragePooling2D(name="gap")(x)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, f"model.{kind}")
        keras.Model(image, layers.Dense(16, name="d")(x), name="honest").save(path)
        return path.read_bytes()


def members(path: Path) -> dict[str, bytes]:
    with zipfile.ZipFile(path) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def zipped(path: Path, content: dict[str, bytes], compression: int = zipfile.ZIP_STORED) -> Path:
    with zipfile.ZipFile(path, "w", compression) as archive:
        for name, data in content.items():
            archive.writestr(name, data)
    return path


def edit_weights(path: Path, change: Callable[[h5py.File], object], compression: int = zipfile.ZIP_STORED) -> Path:
    """Apply ``change`` to the HDF5 file: the model itself, or the one inside the archive."""
    if path.suffix == ".h5":
        with h5py.File(path, "r+") as file:
            change(file)
        return path
    content, inside = members(path), path.with_name("inside.h5")
    inside.write_bytes(content["model.weights.h5"])
    with h5py.File(inside, "r+") as file:
        change(file)
    content["model.weights.h5"] = inside.read_bytes()
    inside.unlink()
    return zipped(path, content, compression)


def edit_config(path: Path, change: Callable[[dict], object]) -> Path:
    """Apply ``change`` to the architecture."""
    if path.suffix == ".h5":
        with h5py.File(path, "r+") as file:
            record = json.loads(file.attrs["model_config"])
            change(record)
            file.attrs["model_config"] = json.dumps(record)
        return path
    content = members(path)
    record = json.loads(content["config.json"])
    change(record)
    return zipped(path, content | {"config.json": json.dumps(record).encode()})


def layer(record: dict, name: str) -> dict:
    """The configuration of a layer."""
    return next(one["config"] for one in record["config"]["layers"] if one["config"]["name"] == name)


def kernel(path: Path) -> str:
    """Where the kernel of the last layer lies in the HDF5 file."""
    return KERNELS[path.suffix[1:]]
