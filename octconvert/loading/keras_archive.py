""".keras archives of other versions: other module names, and other places for the weights.

An archive names no layer where it keeps weights. The place is made of the layer's class and a number, which tf.keras
2.12 and 2.13 counted in another way than all others; and a layer whose class was repaired is looked for in another
place. So places are found by the order of the layers in the file's own configuration.
"""

from __future__ import annotations

import io
import json
import re
import shutil
import zipfile
from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any

import h5py
import keras
from keras.src.utils import naming

from octconvert.loading import known_objects
from octconvert.loading.configuration import Job, Record, children, is_model, name_of, named, walk
from octconvert.loading.repairs.layer_arguments import CLASSES

CONFIG, METADATA, WEIGHTS = "config.json", "metadata.json", "model.weights.h5"
OLD_PLACE = "_layer_checkpoint_dependencies"
# Layers inside of layers that are called otherwise in Keras 3.
RENAMED = {
    "MultiHeadAttention": {f"_{part}_dense": f"{part}_dense" for part in ("query", "key", "value", "output")},
}


def modernise(model: Record) -> None:
    """Gives the layers of tf.keras 2 the module names of Keras 3, in place; the user's own keep theirs."""
    for record in walk(model):
        record.pop("compile_config", None)  # of a model inside: nobody trains it by itself
        if not is_model(record):
            record.pop("build_config", None)  # some layers are built from other shapes today; all are built when called
        if not str(record.get("module", "")).startswith("keras"):
            continue
        kind = record["class_name"]
        if kind in ("Functional", "Model"):
            record.update({"module": "keras.src.models.functional", "class_name": "Functional"})
        elif kind == "Sequential":
            record["module"] = "keras"
        elif hasattr(keras.layers, kind) or kind in CLASSES:
            record["module"] = "keras.layers"


def rewritten(job: Job, old: Record, config: Record) -> io.BytesIO:
    """The archive with another config.json and nothing that Keras does not read, for Keras unpacks all there is.

    Args:
        old: The configuration as it is in the file.
        config: What takes its place; the weights are brought to where Keras 3 looks for those of its layers.

    Raises:
        InputError: It can not be known which weights belong to which layer.
    """
    result = io.BytesIO()
    with zipfile.ZipFile(job.path) as source, zipfile.ZipFile(result, "w") as target:
        for entry in source.infolist():
            if entry.filename == CONFIG:
                target.writestr(CONFIG, json.dumps(config))
            elif entry.filename == WEIGHTS and (job.version < 3 or _kinds(old) != _kinds(config)):
                target.writestr(WEIGHTS, _moved(source.read(entry), old, config, job))
            elif entry.filename in (METADATA, WEIGHTS) or entry.filename.startswith("assets/"):
                with source.open(entry) as before, target.open(_stored(entry), "w") as after:
                    shutil.copyfileobj(before, after, 1 << 20)
    result.seek(0)
    return result


def _stored(entry: zipfile.ZipInfo) -> zipfile.ZipInfo:
    """The entry of an uncompressed copy."""
    copy = zipfile.ZipInfo(entry.filename)
    copy.file_size = entry.file_size  # by this zipfile knows whether it needs the form for large files
    return copy


# -- places of weights -------------------------------------------------------------------------------------------------


def check_order(model: Any, config: Record, job: Job) -> None:
    """Keras gave the layers their weights by their order; it has to be that of the file.

    Raises:
        InputError: This Keras puts the layers of one class into another order than the one that wrote the file.
    """
    for record, built in _models(config, model):
        names = [name_of(layer) for layer in _layers(record)]
        kinds = {layer.name: type(layer) for layer in built.layers}
        for kind in set(kinds.values()):
            here = [name for name, one in kinds.items() if one is kind and name in names]
            if here != [name for name in names if kinds.get(name) is kind]:
                job.refuse(
                    f"has its layers of class {kind.__name__} in another order than Keras 3; save it as .h5",
                    name_of(record),
                )


def _models(config: Record, model: Any) -> Iterator[tuple[Record, Any]]:
    """A model's record with the built model, and those of the models inside."""
    yield config, model
    layers = {layer.name: layer for layer in model.layers}
    for record in _layers(config):
        if is_model(record) and isinstance(layers.get(name_of(record)), keras.Model):
            yield from _models(record, layers[name_of(record)])


def _moved(content: bytes, old: Record, new: Record, job: Job) -> bytes:
    result = io.BytesIO()
    with h5py.File(io.BytesIO(content), "r") as source, h5py.File(result, "w") as target:
        moves = dict(_moves(source, old, new, ("", ""), job))
        source.visititems(lambda name, item: _copy(name, item, target, moves))
    return result.getvalue()


def _copy(name: str, item: h5py.Dataset | h5py.Group, target: h5py.File, moves: Mapping[str, str]) -> None:
    if not isinstance(item, h5py.Dataset) or name.startswith("optimizer/"):
        return
    parts = name.split("/")
    ends = (n for n in range(len(parts), 0, -1) if "/".join(parts[:n]) in moves)
    at = next(ends, 0)
    place = [moves["/".join(parts[:at])], *parts[at:]] if at else parts
    target["/".join("layers" if part == OLD_PLACE else part for part in "/".join(place).split("/"))] = item[()]


def _moves(group: h5py.Group, old: Record, new: Record, at: tuple[str, str], job: Job) -> Iterator[tuple[str, str]]:
    """Where the weights of every layer are in the file, and where Keras 3 looks for them."""
    folder = OLD_PLACE if OLD_PLACE in group else "layers"
    if folder not in group:
        return
    layers = {name_of(layer): layer for layer in _layers(new)}
    targets = _numbered(_layers(new), job)
    for layer, place in _found(_layers(old), group[folder], job):
        name = job.renamed.get(name_of(layer), name_of(layer))
        if name not in layers:
            continue  # it became something without weights
        here, there = f"{at[0]}{folder}/{place}", f"{at[1]}layers/{targets[name]}"
        if is_model(layer):
            yield here, there
            yield from _moves(group[folder][place], layer, layers[name], (f"{here}/", f"{there}/"), job)
        else:
            yield here, there + _inside(layers[name], f"{name}_inner", job)
            yield from _renamed(layer, here, there, job)
            yield from _in_wrapper(group[folder][place], layer, layers[name], (f"{here}/", f"{there}/"), job)


def _in_wrapper(
    group: h5py.Group, old: Record, new: Record, at: tuple[str, str], job: Job
) -> Iterator[tuple[str, str]]:
    """What is in a wrapper, as TimeDistributed."""
    for inner, fresh in zip(children(old), children(new), strict=False):
        if is_model(inner) and "layer" in group:
            yield from _moves(group["layer"], inner, fresh, (f"{at[0]}layer/", f"{at[1]}layer/"), job)
        yield from _renamed(inner, f"{at[0]}layer", f"{at[1]}layer", job)


def _renamed(layer: Record, here: str, there: str, job: Job) -> Iterator[tuple[str, str]]:
    if job.version < 3 and layer["class_name"] not in job.custom_objects:
        for old, new in RENAMED.get(layer["class_name"], {}).items():
            yield f"{here}/{old}", f"{there}/{new}"


def _inside(record: Record, name: str, job: Job) -> str:
    """The rest of the place where a layer was spelled out as a small model."""
    targets = _numbered(_layers(record), job) if is_model(record) else {}
    return f"/layers/{targets[name]}" if name in targets else ""


def _found(layers: list[Record], group: h5py.Group, job: Job) -> Iterator[tuple[Record, str]]:
    """The layers with the names of their groups. Every layer has a group, with weights or without."""
    kinds: dict[str, list[Record]] = {}
    for layer in layers:
        kinds.setdefault(_kind(layer, job), []).append(layer)
    for kind, same in kinds.items():
        numbers = (re.fullmatch(rf"{re.escape(kind)}(?:_(\d+))?", name) for name in group)
        places = [found[0] for found in sorted(filter(None, numbers), key=lambda found: int(found[1] or 0))]
        if len(places) != len(same):
            names = named([name_of(layer) for layer in same])
            job.refuse(f"has {len(places)} places with weights for {names}; it can not be known which is whose")
        yield from zip(same, places, strict=True)


def _numbered(layers: list[Record], job: Job) -> dict[str, str]:
    """Where Keras 3 looks for the weights of each layer: by its class, counted."""
    counts: Counter[str] = Counter()
    places = {}
    for layer in layers:
        kind = _kind(layer, job)
        places[name_of(layer)] = f"{kind}_{counts[kind]}" if counts[kind] else kind
        counts[kind] += 1
    return places


def _kinds(model: Record) -> list[str]:
    return [record["class_name"] for record in walk(model)]


def _layers(record: Record) -> list[Record]:
    return [layer for layer in children(record) if layer["class_name"] != "InputLayer"]


def _kind(layer: Record, job: Job) -> str:
    own = known_objects.of_the_user(layer.get("registered_name"), job.custom_objects)
    own = own or known_objects.of_the_user(layer["class_name"], job.custom_objects)
    return naming.to_snake_case(getattr(own, "__name__", layer["class_name"]))
