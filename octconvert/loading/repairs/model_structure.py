"""Repairs of how the layers of a saved model are put together: Sequential, input shapes, names."""

from __future__ import annotations

from typing import Any

import keras

from octconvert.loading import known_objects
from octconvert.loading.configuration import (
    FUNCTIONAL,
    Job,
    Record,
    all_references,
    children,
    is_functional,
    is_sequential,
    name_of,
    walk,
)
from octconvert.text.printable import printable

SLASH = "a '/' in the name was replaced by '_', which is all that Keras 3 allows"
HIDDEN = "what can not be printed was replaced by '_' in the name"
SHAPE_KEYS = ("batch_input_shape", "batch_shape")


def straighten(model: Record, job: Job) -> None:
    """Puts Keras 1's ways to write a Sequential into today's form, in place; the names of layers may still be old."""
    _own_names(model, job)
    _sequential_lists(model, job)
    _two_branches(model, job)


def shape(model: Record, job: Job) -> None:
    """Gives all models in ``model`` (itself too) their input layers, in place.

    Raises:
        InputError: A Sequential has no input shape and none was given.
    """
    _input_layers(model, job)
    _needs_shape(model, job)
    _single_ends(model, job)


def _single_ends(model: Record, job: Job) -> None:
    """Up to tf.keras 2 a model with one output said so as a list of one, and still gave back one tensor.

    Keras 3 takes the list at its word, and the next layer of a Sequential then gets a list.
    """
    for record in walk(model):
        if is_functional(record) and job.version < 3:
            for key in ("input_layers", "output_layers"):
                ends = record["config"][key]
                if isinstance(ends, list) and len(ends) == 1 and isinstance(ends[0], list):
                    record["config"][key] = ends[0]


def _own_names(model: Record, job: Job) -> None:
    """A class that was registered as ``package>Name`` is found where the user passes it as ``Name``, too."""
    for record in walk(model):
        registered = str(record.get("registered_name") or record["class_name"])
        name = registered.split(">")[-1]
        unknown = known_objects.of_the_user(registered, job.custom_objects) is None
        if ">" in registered and unknown and name in job.custom_objects:
            record["class_name"] = name
            if "registered_name" in record:
                record["registered_name"] = name


def _sequential_lists(model: Record, job: Job) -> None:
    count = 0
    for record in walk(model):
        if record["class_name"] == "Sequential" and isinstance(record["config"], list):
            count += 1
            name = record.get("name") or f"sequential_{count}"
            record["config"] = {"name": name, "layers": record["config"]}
            job.notes.add("the Sequential's bare list of layers was put into today's form", name)
        if is_functional(record):
            _plain_functional(record, job)
        if isinstance(record["config"], dict) and "name" in record:
            record["config"].setdefault("name", record["name"])


def _plain_functional(record: Record, job: Job) -> None:
    """A model class of the user's own that was saved as a graph of layers needs no more than that graph."""
    kind, registered = record["class_name"], record.get("registered_name") or record["class_name"]
    if kind in ("Functional", "Sequential") or {kind, registered} & set(job.custom_objects):
        return
    if keras.saving.get_registered_object(registered) is not None:
        return
    record["class_name"] = "Functional"
    if "module" in record:
        record.update(module="keras.src.models.functional", registered_name="Functional")
    if kind not in FUNCTIONAL:
        job.notes.add(
            f"its own class '{kind}' was left out, which is no custom object; it is a plain functional model now",
            name_of(record),
        )


# -- Keras 1: Sequential([Merge([Sequential, Sequential]), ...]) ------------------------------------------------------


def _two_branches(model: Record, job: Job) -> None:
    for record in walk(model):
        if is_sequential(record) and _starts_with_merge(record):
            name = record["config"]["name"]
            layers: list[Record] = []
            inputs: list[str] = []
            last = _chain(record, layers, inputs, job)
            record["class_name"] = "Functional"
            record["config"] = {
                "name": name,
                "layers": layers,
                "input_layers": [[i, 0, 0] for i in inputs],
                "output_layers": [[last, 0, 0]],
            }
            job.notes.add("the Sequential that starts with a Merge was turned into a functional model", name)


def _starts_with_merge(record: Record) -> bool:
    layers = record["config"].get("layers", [])
    return bool(layers) and layers[0]["class_name"] == "Merge"


def _chain(sequential: Record, layers: list[Record], inputs: list[str], job: Job) -> str:
    """Lays out a Sequential, branches first, as functional layers; returns the name of its last layer."""
    own = children(sequential)
    if _starts_with_merge(sequential):
        merge, own = own[0], own[1:]
        branches = merge["config"].pop("layers", [])
        if not all(is_sequential(branch) for branch in branches):
            job.refuse("merges models that are no Sequential; rebuild the model and save it again", name_of(merge))
        ends = [_chain(branch, layers, inputs, job) for branch in branches]
        last = name_of(merge)
        layers.append({**merge, "name": last, "inbound_nodes": [[[end, 0, 0] for end in ends]]})
    else:
        last = f"{name_of(own[0])}_input"
        shape = _own_shape(own[0])
        if shape is None:
            job.refuse("starts a branch and has no input shape; rebuild the model and save it again", name_of(own[0]))
        layers.append({**_input_layer(shape, last, None), "name": last, "inbound_nodes": []})
        inputs.append(last)
    for layer in own:
        layers.append({**layer, "name": name_of(layer), "inbound_nodes": [[[last, 0, 0]]]})
        last = name_of(layer)
    return last


# -- input shapes ------------------------------------------------------------------------------------------------------


def _input_layers(model: Record, job: Job) -> None:
    """Gives every Sequential that knows its input shape an InputLayer of its own."""
    for record in walk(model):
        layers = record["config"].get("layers") if is_sequential(record) else None
        if not layers or layers[0]["class_name"] == "InputLayer":
            continue
        shape = _first_shape(layers[0])
        if shape is not None:
            said = layers[0]["config"].get("dtype") if isinstance(layers[0]["config"], dict) else None
            name = f"{name_of(layers[0])}_input".replace("/", "_")
            record["config"]["layers"] = [_input_layer(shape, name, said), *layers]
            record["config"].pop("build_input_shape", None)
            job.notes.add("the Sequential got an input layer, of the shape its first layer names", name_of(record))
    for record in walk(model):
        if isinstance(record["config"], dict):
            batch = record["config"].pop("batch_input_shape", None)
            if record["class_name"] == "InputLayer" and batch is not None:
                record["config"]["batch_shape"] = batch


def _own_shape(record: Record) -> list | None:
    config = record["config"]
    shapes = (config.get(key) for key in SHAPE_KEYS) if isinstance(config, dict) else ()
    return next((list(shape) for shape in shapes if shape), None)


def _first_shape(record: Record) -> list | None:
    """The batch shape a layer says it starts with: its own, or that of the first layer inside it."""
    if is_functional(record):
        inputs = [layer for layer in children(record) if layer["class_name"] == "InputLayer"]
        return _own_shape(inputs[0]) if len(inputs) == 1 else None
    if is_sequential(record):
        inside = children(record)
        return _first_shape(inside[0]) if inside else None
    return _own_shape(record)


def _input_layer(shape: Any, name: str, dtype: Any) -> Record:
    known = dtype if isinstance(dtype, str) and dtype.startswith(("float", "int", "uint")) else "float32"
    return {"class_name": "InputLayer", "config": {"batch_shape": list(shape), "dtype": known, "name": name}}


def _needs_shape(model: Record, job: Job) -> None:
    if not is_sequential(model):
        return
    config = model["config"]
    if not config.get("layers"):
        job.refuse("is a Sequential without any layer; there is nothing to convert")
    known = config["layers"][0]["class_name"] == "InputLayer"
    if not known and job.input_shape is not None:
        shape, name = [None, *job.input_shape], f"{name_of(config['layers'][0])}_input".replace("/", "_")
        config["layers"].insert(0, _input_layer(shape, name, None))
        config.pop("build_input_shape", None)
        job.notes.add(f"the Sequential got the input shape {tuple(job.input_shape)} that was asked for")
    elif not known and not config.get("build_input_shape") and not (model.get("build_config") or {}).get("input_shape"):
        job.refuse("is a Sequential without an input shape; give it with --input-shape H,W,C")


# -- names -------------------------------------------------------------------------------------------------------------


def rename(model: Record, job: Job) -> None:
    """Takes the ``/`` out of layer names, everywhere a name is mentioned, and what can not be printed."""
    for record in walk(model):
        new = _new_names([name_of(layer) for layer in children(record)])
        if is_functional(record):
            for reference in list(all_references(record)):
                reference[0] = new.get(reference[0], reference[0])
        for layer in children(record):
            old = name_of(layer)
            if old in new:
                _set_name(layer, new[old])
                job.renamed[old] = new[old]
                job.notes.add(SLASH if "/" in old else HIDDEN, old)
    if name_of(model) != _allowed(name_of(model)):
        _set_name(model, _allowed(name_of(model)))


def _allowed(name: str) -> str:
    return printable(name.replace("/", "_"), "_")


def _new_names(names: list[str]) -> dict[str, str]:
    taken = {name for name in names if name == _allowed(name)}
    new: dict[str, str] = {}
    for name in names:
        allowed = _allowed(name)
        if name != allowed and name not in new:
            fresh, number = allowed, 1
            while fresh in taken:
                fresh, number = f"{allowed}_{number}", number + 1
            taken.add(fresh)
            new[name] = fresh
    return new


def _set_name(record: Record, name: str) -> None:
    if "name" in record:
        record["name"] = name
    if isinstance(record["config"], dict) and ("name" in record["config"] or "name" not in record):
        record["config"]["name"] = name
