"""Files that would run code: building a model from them leaves a mark on the disk."""

from __future__ import annotations

import base64
import functools
import io
import json
import marshal
import tempfile
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import keras
from edited_files import edit_config, members, zipped
from keras import layers

SUFFIXES = (".keras", ".h5")


def network() -> keras.Model:
    """Layers 'a', 'r', 'b' and 'td', which wraps 'inner'."""
    image = keras.Input((8, 8, 2), name="image")
    x = layers.Conv2D(4, 3, padding="same", name="a")(image)
    x = layers.Activation("relu", name="r")(x)
    x = layers.Conv2D(4, 3, padding="same", name="b")(x)
    x = layers.TimeDistributed(layers.Activation("relu", name="inner"), name="td")(x)
    return keras.Model(image, layers.GlobalAveragePooling2D(name="g")(x), name="net")


def edited(path: Path, change: Callable[[dict], None], model: keras.Model | None = None) -> Path:
    """A saved model whose configuration was changed by hand."""
    if model is None:
        path.write_bytes(_saved(path.suffix))
    else:
        model.save(path)
    return edit_config(path, change)


@functools.cache
def _saved(suffix: str) -> bytes:
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory) / f"net{suffix}"
        network().save(path)
        return path.read_bytes()


def configuration(suffix: str, change: Callable[[dict], None]) -> dict:
    """The configuration alone, changed by hand."""
    stored = io.BytesIO(_saved(suffix))
    if suffix == ".h5":
        with h5py.File(stored, "r") as file:
            config = json.loads(file.attrs["model_config"])
    else:
        with zipfile.ZipFile(stored) as archive:
            config = json.loads(archive.read("config.json"))
    change(config)
    return config


def record(config: dict, name: str) -> dict:
    """The record of a layer, wrapped ones too."""
    for one in config["config"]["layers"]:
        if one["config"].get("name") == name:
            return one
        inner = one["config"].get("layer")
        if inner is not None and inner["config"]["name"] == name:
            return inner
    raise KeyError(name)


def turned_into(name: str, kind: str, **config: Any) -> Callable[[dict], None]:
    """The change that makes another layer of the layer ``name``."""

    def change(model: dict) -> None:
        found = record(model, name)
        found["class_name"], found["config"] = kind, {"name": name, **config}

    return change


def byte_code(mark: Path) -> str:
    """A Python function that leaves a mark and hands its first argument on, as Keras writes it."""
    function = eval(f"lambda *a, **k: (__import__('pathlib').Path({str(mark)!r}).touch(), a[0] if a else None)[1]")
    return base64.encodebytes(marshal.dumps(function.__code__)).decode()


def code(mark: Path) -> dict:
    return {"class_name": "__lambda__", "config": {"code": byte_code(mark), "defaults": None, "closure": None}}


def value_code(mark: Path) -> dict:
    """The same in the form of functions that are no layer's own."""
    return {"class_name": "__lambda__", "config": {"value": [byte_code(mark), None, None]}}


def hidden(mark: Path) -> dict:
    """A model around the code, in the form that the reader of .h5 files decodes wherever it is."""
    inner = {"class_name": "Lambda", "config": {"name": "q", "function": code(mark), "arguments": {}}}
    entry = {"class_name": "InputLayer", "config": {"batch_shape": [None, 4], "name": "z"}}
    return {
        "class_name": "Sequential",
        "config": {"name": "s", "layers": [entry, inner]},
        "__passive_serialization__": True,
    }


def function(module: str, name: str) -> dict:
    return {"class_name": "function", "module": module, "config": name, "registered_name": name}


def substitute(path: Path, text: str, other: str) -> None:
    """Replace a part of the configuration's text."""
    if path.suffix == ".h5":
        with h5py.File(path, "r+") as file:
            config = file.attrs["model_config"]
            file.attrs["model_config"] = config.replace(text, other)
        return
    parts = members(path)
    parts["config.json"] = parts["config.json"].replace(text.encode(), other.encode())
    zipped(path, parts)
