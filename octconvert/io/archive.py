""".keras archives of tf.keras 2: other module names, and in 2.12 other places for the weights."""

from __future__ import annotations

import io
import json
import re
import shutil
import zipfile
from pathlib import Path

import h5py
import keras

from octconvert.io.tree import Record, walk

CONFIG, METADATA, WEIGHTS = "config.json", "metadata.json", "model.weights.h5"
OLD_PLACE = "_layer_checkpoint_dependencies"


def modernise(model: Record) -> None:
    """Gives the layers of tf.keras 2 the module names of Keras 3, in place; the user's own keep theirs."""
    settings = model.get("compile_config")
    if isinstance(settings, dict):  # what tf.keras left open, Keras 3 takes as a value and fails on
        model["compile_config"] = {key: value for key, value in settings.items() if value is not None}
    for record in walk(model):
        if not str(record.get("module", "")).startswith("keras"):
            continue
        kind = record["class_name"]
        if kind in ("Functional", "Model"):
            record.update({"module": "keras.src.models.functional", "class_name": "Functional"})
        elif kind == "Sequential":
            record["module"] = "keras"
        elif hasattr(keras.layers, kind):
            record["module"] = "keras.layers"


def rewritten(path: Path, config: Record, *, old_place: bool) -> io.BytesIO:
    """The archive with another config.json and nothing that Keras does not read, for Keras unpacks all there is.

    ``old_place``: the weights are brought to where Keras 3 looks for them.
    """
    result = io.BytesIO()
    with zipfile.ZipFile(path) as source, zipfile.ZipFile(result, "w") as target:
        for entry in source.infolist():
            if entry.filename == CONFIG:
                target.writestr(CONFIG, json.dumps(config))
            elif entry.filename == WEIGHTS and old_place:
                target.writestr(WEIGHTS, _moved(source.read(entry)))
            elif entry.filename in (METADATA, WEIGHTS) or entry.filename.startswith("assets/"):
                with source.open(entry) as old, target.open(_stored(entry), "w") as new:
                    shutil.copyfileobj(old, new, 1 << 20)
    result.seek(0)
    return result


def _stored(entry: zipfile.ZipInfo) -> zipfile.ZipInfo:
    """The entry of an uncompressed copy."""
    copy = zipfile.ZipInfo(entry.filename)
    copy.file_size = entry.file_size  # by this zipfile knows whether it needs the form for large files
    return copy


def _moved(content: bytes) -> bytes:
    with h5py.File(io.BytesIO(content), "r") as old:
        if OLD_PLACE not in old:
            return content
        result = io.BytesIO()
        with h5py.File(result, "w") as new:
            old.visititems(lambda name, item: _copy(name, item, new))
    return result.getvalue()


def _copy(name: str, item: h5py.Dataset | h5py.Group, new: h5py.File) -> None:
    if isinstance(item, h5py.Dataset) and name.startswith(OLD_PLACE):
        parts = name.split("/")
        above = ["", *parts[:-1]]
        places = [_counted(part) if up == OLD_PLACE else part for up, part in zip(above, parts, strict=True)]
        new["/".join("layers" if part == OLD_PLACE else part for part in places)] = item[()]


def _counted(name: str) -> str:
    """tf.keras 2.12 counted layers with weights twice: conv2d, conv2d_2, conv2d_4 (Keras 3: conv2d, conv2d_1, ...)."""
    found = re.fullmatch(r"(.*)_(\d+)", name)
    return f"{found[1]}_{int(found[2]) // 2}" if found else name
