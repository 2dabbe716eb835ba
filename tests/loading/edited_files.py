"""Model files for the tests of reading: small models, files edited by hand, and the message of a refusal."""

from __future__ import annotations

import functools
import json
import tempfile
import zipfile
from collections.abc import Callable
from pathlib import Path

import h5py
import keras
import numpy as np
import pytest
from keras import layers

from octconvert import loading
from octconvert.errors import InputError

KERNELS = {"h5": "model_weights/d/d/kernel", "keras": "layers/dense/vars/0"}
KINDS = tuple(KERNELS)


def valid_model(folder: Path, kind: str) -> Path:
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
        keras.Model(image, layers.Dense(16, name="d")(x), name="valid").save(path)
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
    """Apply ``change`` to the architecture, in place or to what it returns."""
    if path.suffix == ".h5":
        with h5py.File(path, "r+") as file:
            file.attrs["model_config"] = json.dumps(_changed(json.loads(file.attrs["model_config"]), change))
        return path
    content = members(path)
    record = _changed(json.loads(content["config.json"]), change)
    return zipped(path, content | {"config.json": json.dumps(record).encode()})


def _changed(record: dict, change: Callable[[dict], object]) -> dict:
    result = change(record)
    return result if isinstance(result, dict) and {"class_name", "config"} <= result.keys() else record


def edit_as_old(path: Path, change: Callable[[dict], object], version: str = "2.4.0") -> Path:
    """Apply ``change`` to the architecture, as if another version of Keras had written the file."""
    set_version(edit_config(path, change), version)
    return path


def set_version(path: Path, version: str) -> None:
    """Make it a file of another version of Keras."""
    if path.suffix == ".h5":
        with h5py.File(path, "r+") as file:
            file.attrs["keras_version"] = version
        return
    zipped(path, members(path) | {"metadata.json": json.dumps({"keras_version": version}).encode()})


def edited_copy(
    source: Path,
    target: Path,
    config: Callable[[dict], object] | None = None,
    weights: Callable[[h5py.File], object] | None = None,
    version: str | None = None,
) -> Path:
    """A copy of a file with its configuration, its weights or its version changed."""
    target.write_bytes(source.read_bytes())
    if config is not None:
        edit_config(target, config)
    if weights is not None:
        edit_weights(target, weights)
    if version is not None:
        set_version(target, version)
    return target


def layer(record: dict, name: str) -> dict:
    """The configuration of a layer."""
    return next(one["config"] for one in record["config"]["layers"] if one["config"].get("name") == name)


def kernel(path: Path) -> str:
    """Where the kernel of the last layer lies in the HDF5 file."""
    return KERNELS[path.suffix[1:]]


def small_model(**options) -> keras.Model:
    """A convolution 'conv', a normalization 'bn' and a pooling 'gap', with random weights."""
    image = keras.Input((6, 6, 2), name="image")
    x = layers.Conv2D(3, 3, name="conv", **options)(image)
    x = layers.BatchNormalization(name="bn")(x)
    model = keras.Model(image, layers.GlobalAveragePooling2D(name="gap")(x), name="small")
    for variable in model.weights:
        variable.assign(np.random.default_rng(3).uniform(0.5, 1.5, variable.shape))
    return model


def saved_small_model(path: Path, model: keras.Model | None = None) -> Path:
    """The file of a model, the small one by default."""
    (model or small_model()).save(path)
    return path


def refused(path: Path, use: Callable[..., object] = loading.read, **options) -> str:
    """The message with which a file is refused: one line of bounded length that can be printed."""
    with pytest.raises(InputError) as caught:
        use(path, **options)
    message = str(caught.value)
    assert message.isprintable() and len(message) < 700
    return message
