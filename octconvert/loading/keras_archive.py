""".keras archives of other versions: other module names, and other paths of the weights.

An archive does not name the layers of its weights. A path consists of the layer's class and a number, which tf.keras
2.12 and 2.13 counted in another way than all others; and for a layer whose class was repaired, Keras looks at another
path. So paths are assigned by the order of the layers in the configuration of the file.
"""

from __future__ import annotations

import io
import json
import re
import shutil
import zipfile
from collections import Counter
from collections.abc import Iterator, Mapping

import h5py
import keras
from keras.src.utils import naming

from octconvert.loading import known_objects
from octconvert.loading.context import LoadingContext, listed
from octconvert.loading.inspector.layout import CONFIG, METADATA, OLD_WEIGHT_GROUP, WEIGHTS
from octconvert.loading.records import Record, children, is_model, name_of, walk
from octconvert.loading.repairs.layer_arguments import RENAMED_CLASSES

# Layers inside other layers that have another name in Keras 3.
RENAMED_INNER_LAYERS = {
    "MultiHeadAttention": {f"_{part}_dense": f"{part}_dense" for part in ("query", "key", "value", "output")},
}


def modernize(model: Record) -> None:
    """Gives the layers of tf.keras 2 the module names of Keras 3, in place; custom layers keep theirs."""
    for record in walk(model):
        record.pop("compile_config", None)  # of models inside; the file's own settings were read before
        if not is_model(record):
            record.pop("build_config", None)  # some layers expect other shapes now; all are built when called
        if not str(record.get("module", "")).startswith("keras"):
            continue
        kind = record["class_name"]
        if kind in ("Functional", "Model"):
            record.update({"module": "keras.src.models.functional", "class_name": "Functional"})
        elif kind == "Sequential":
            record["module"] = "keras"
        elif hasattr(keras.layers, kind) or kind in RENAMED_CLASSES:
            record["module"] = "keras.layers"


def rewritten(old: Record, new: Record, context: LoadingContext) -> io.BytesIO:
    """A copy of the archive with another configuration, without files that Keras does not read: Keras unpacks all.

    Args:
        old: The configuration as it was saved.
        new: What replaces it; the weights move to the paths where Keras 3 looks for those of its layers.
        context: Of the file.

    Raises:
        InputError: It is not certain which weights belong to which layer.
    """
    result = io.BytesIO()
    with zipfile.ZipFile(context.path) as source, zipfile.ZipFile(result, "w") as target:
        for entry in source.infolist():
            if entry.filename == CONFIG:
                target.writestr(CONFIG, json.dumps(new))
            elif entry.filename == WEIGHTS and (context.version < 3 or _classes(old) != _classes(new)):
                target.writestr(WEIGHTS, _with_moved_weights(source.read(entry), old, new, context))
            elif entry.filename in (METADATA, WEIGHTS) or entry.filename.startswith("assets/"):
                with source.open(entry) as before, target.open(_uncompressed(entry), "w") as after:
                    shutil.copyfileobj(before, after, 1 << 20)
    result.seek(0)
    return result


def _uncompressed(entry: zipfile.ZipInfo) -> zipfile.ZipInfo:
    """The entry of an uncompressed copy."""
    copy = zipfile.ZipInfo(entry.filename)
    copy.file_size = entry.file_size  # zipfile decides by the size whether it needs the format for large files
    return copy


# -- paths of weights --------------------------------------------------------------------------------------------------


def check_order(model: keras.Model, config: Record, context: LoadingContext) -> None:
    """Checks that Keras has the layers in the order of the file, by which it assigned the weights.

    Raises:
        InputError: This Keras has the layers of one class in another order than the Keras that wrote the file.
    """
    for record, built in _pairs_of_models(config, model):
        names = [name_of(layer) for layer in _layers(record)]
        kinds = {layer.name: type(layer) for layer in built.layers}
        for kind in set(kinds.values()):
            built_order = [name for name, one in kinds.items() if one is kind and name in names]
            if built_order != [name for name in names if kinds.get(name) is kind]:
                context.refuse(
                    f"has its layers of class {kind.__name__} in another order than Keras 3; save the model as .h5",
                    name_of(record),
                )


def _pairs_of_models(config: Record, model: keras.Model) -> Iterator[tuple[Record, keras.Model]]:
    """(record, built model) of the model and of all models inside it."""
    yield config, model
    layers = {layer.name: layer for layer in model.layers}
    for record in _layers(config):
        if is_model(record) and isinstance(layers.get(name_of(record)), keras.Model):
            yield from _pairs_of_models(record, layers[name_of(record)])


def _with_moved_weights(content: bytes, old: Record, new: Record, context: LoadingContext) -> bytes:
    result = io.BytesIO()
    with h5py.File(io.BytesIO(content), "r") as source, h5py.File(result, "w") as target:
        moves = dict(_moves(source, old, new, ("", ""), context))
        source.visititems(lambda name, item: _copy(name, item, target, moves))
    return result.getvalue()


def _copy(name: str, item: h5py.Dataset | h5py.Group, target: h5py.File, moves: Mapping[str, str]) -> None:
    if not isinstance(item, h5py.Dataset) or name.startswith("optimizer/"):
        return
    parts = name.split("/")
    lengths = (n for n in range(len(parts), 0, -1) if "/".join(parts[:n]) in moves)
    length = next(lengths, 0)
    path = [moves["/".join(parts[:length])], *parts[length:]] if length else parts
    target["/".join("layers" if part == OLD_WEIGHT_GROUP else part for part in "/".join(path).split("/"))] = item[()]


def _moves(
    group: h5py.Group, old: Record, new: Record, prefixes: tuple[str, str], context: LoadingContext
) -> Iterator[tuple[str, str]]:
    """(path in the file, path where Keras 3 looks) for the weights of every layer below ``prefixes``, in that order."""
    folder = OLD_WEIGHT_GROUP if OLD_WEIGHT_GROUP in group else "layers"
    if folder not in group:
        return
    layers = {name_of(layer): layer for layer in _layers(new)}
    targets = _keras3_paths(_layers(new), context)
    for layer, path in _saved_paths(_layers(old), group[folder], context):
        name = context.renamed.get(name_of(layer), name_of(layer))
        if name not in layers:
            continue  # it has no weights any more
        old_path, new_path = f"{prefixes[0]}{folder}/{path}", f"{prefixes[1]}layers/{targets[name]}"
        if is_model(layer):
            yield old_path, new_path
            yield from _moves(group[folder][path], layer, layers[name], (f"{old_path}/", f"{new_path}/"), context)
        else:
            yield old_path, new_path + _inner_path(layers[name], f"{name}_inner", context)
            yield from _renamed(layer, old_path, new_path, context)
            yield from _in_wrapper(group[folder][path], layer, layers[name], (f"{old_path}/", f"{new_path}/"), context)


def _in_wrapper(
    group: h5py.Group, old: Record, new: Record, prefixes: tuple[str, str], context: LoadingContext
) -> Iterator[tuple[str, str]]:
    """Moves for the layer inside a wrapper, as TimeDistributed."""
    for old_inner, new_inner in zip(children(old), children(new), strict=False):
        if is_model(old_inner) and "layer" in group:
            yield from _moves(
                group["layer"], old_inner, new_inner, (f"{prefixes[0]}layer/", f"{prefixes[1]}layer/"), context
            )
        yield from _renamed(old_inner, f"{prefixes[0]}layer", f"{prefixes[1]}layer", context)


def _renamed(layer: Record, old_path: str, new_path: str, context: LoadingContext) -> Iterator[tuple[str, str]]:
    if context.version < 3 and layer["class_name"] not in context.custom_objects:
        for old, new in RENAMED_INNER_LAYERS.get(layer["class_name"], {}).items():
            yield f"{old_path}/{old}", f"{new_path}/{new}"


def _inner_path(record: Record, name: str, context: LoadingContext) -> str:
    """The rest of the path for a layer that a repair has put into a small model."""
    targets = _keras3_paths(_layers(record), context) if is_model(record) else {}
    return f"/layers/{targets[name]}" if name in targets else ""


def _saved_paths(layers: list[Record], group: h5py.Group, context: LoadingContext) -> Iterator[tuple[Record, str]]:
    """The layers with the names of their groups; every layer has a group, even without weights."""
    by_kind: dict[str, list[Record]] = {}
    for layer in layers:
        by_kind.setdefault(_kind(layer, context), []).append(layer)
    for kind, same in by_kind.items():
        matches = (re.fullmatch(rf"{re.escape(kind)}(?:_(\d+))?", name) for name in group)
        paths = [match[0] for match in sorted(filter(None, matches), key=lambda match: int(match[1] or 0))]
        if len(paths) != len(same):
            names = listed([name_of(layer) for layer in same])
            context.refuse(
                f"has {len(paths)} groups of weights for {names}, so that it is not certain which belong to which layer"
            )
        yield from zip(same, paths, strict=True)


def _keras3_paths(layers: list[Record], context: LoadingContext) -> dict[str, str]:
    """Where Keras 3 looks for the weights of each layer: its class with a number."""
    counts: Counter[str] = Counter()
    paths = {}
    for layer in layers:
        kind = _kind(layer, context)
        paths[name_of(layer)] = f"{kind}_{counts[kind]}" if counts[kind] else kind
        counts[kind] += 1
    return paths


def _classes(model: Record) -> list[str]:
    return [record["class_name"] for record in walk(model)]


def _layers(record: Record) -> list[Record]:
    return [layer for layer in children(record) if layer["class_name"] != "InputLayer"]


def _kind(layer: Record, context: LoadingContext) -> str:
    custom = known_objects.custom_object(layer.get("registered_name"), context.custom_objects)
    custom = custom or known_objects.custom_object(layer["class_name"], context.custom_objects)
    return naming.to_snake_case(getattr(custom, "__name__", layer["class_name"]))
