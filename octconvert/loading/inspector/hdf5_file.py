"""Inspects an HDF5 file: a whole .h5 model, or the weights inside a .keras archive."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

import h5py

from .hdf5_attributes import has, names, text
from .hdf5_data import WeightData, all_datasets
from .layout import OLD_WEIGHT_GROUP
from .limits import DAMAGED_HDF5, Refusal, check_json


def inspect(path: str) -> dict[str, Any]:
    """The contents of an .h5 model; of any other HDF5 file only what it may be instead."""
    with open_file(path) as file:
        return guarded(lambda: _model(file, os.path.getsize(path)))


def inspect_weights(source: Any, size: int, end: int) -> dict[str, Any]:
    """The contents of the HDF5 file with the weights of an archive of ``size`` bytes."""
    with open_file(source) as file:
        return guarded(lambda: _weights(file, size, end))


def open_file(source: Any) -> h5py.File:
    try:
        return h5py.File(source, "r")
    except BlockingIOError:
        raise Refusal("is being written by another program; wait until that has finished") from None
    except Exception:
        raise Refusal(DAMAGED_HDF5) from None


def guarded(look: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    """The result of ``look``; any error of h5py about a file means that the file is damaged."""
    try:
        return look()
    except (Refusal, MemoryError):
        raise
    except Exception:
        raise Refusal(DAMAGED_HDF5) from None


def _model(file: h5py.File, size: int) -> dict[str, Any]:
    members = {name.decode("utf-8", "replace") for name in file.id}
    if not has(file, "model_config") or "model_weights" not in members:
        weights = has(file, "layer_names") or bool({"layers", OLD_WEIGHT_GROUP} & members)
        return {"complete": False, "architecture": has(file, "model_config"), "weights": weights}
    all_datasets(file)
    group = file["model_weights"]
    if not isinstance(group, h5py.Group):
        raise Refusal(DAMAGED_HDF5)
    architecture = text(file, "model_config") or ""
    check_json(architecture)
    training = text(file, "training_config")
    check_json(training or "")
    data = WeightData(size, size)
    layers = [[name, data.add_group(group[name])] for name in names(group, "layer_names")]
    top = data.add_group(group["top_level_model_weights"]) if "top_level_model_weights" in group else []
    data.read()
    in_group = [key for key in ("keras_version", "backend") if has(group, key)]
    return {
        "complete": True,
        "architecture": architecture,
        "training_settings": training,
        "layers": layers,
        "top_level_weights": top,
        "elements": data.elements,
        "keras_version": text(group if "keras_version" in in_group else file, "keras_version"),
        "backend": text(group if "backend" in in_group else file, "backend"),
    }


def _weights(file: h5py.File, size: int, end: int) -> dict[str, Any]:
    data = WeightData(size, end)
    for name, dataset in all_datasets(file).items():
        data.add(name, dataset)
        text(h5py.Dataset(dataset), "dtype")  # Keras reads this attribute of each
    data.read()
    return {"elements": data.elements, "old_weight_paths": OLD_WEIGHT_GROUP in file}
