"""Models that older versions of Keras describe in another form: bare lists of layers, Merge layers, subclasses."""

from __future__ import annotations

import keras

from octconvert.loading import known_objects
from octconvert.loading.context import LoadingContext
from octconvert.loading.records import FUNCTIONAL, Record, children, is_functional, is_sequential, name_of, walk
from octconvert.loading.repairs.input_shapes import input_layer, own_shape


def normalize(model: Record, context: LoadingContext) -> None:
    """Puts all models into the present form, in place; classes and arguments of layers may still have old names."""
    _use_custom_names(model, context)
    _wrap_lists_of_layers(model, context)
    _replace_first_merges(model, context)


def _use_custom_names(model: Record, context: LoadingContext) -> None:
    """Names a class that was registered as ``package>Name`` as the user passes it: ``Name``."""
    for record in walk(model):
        registered = str(record.get("registered_name") or record["class_name"])
        name = registered.split(">")[-1]
        unknown = known_objects.custom_object(registered, context.custom_objects) is None
        if ">" in registered and unknown and name in context.custom_objects:
            record["class_name"] = name
            if "registered_name" in record:
                record["registered_name"] = name


def _wrap_lists_of_layers(model: Record, context: LoadingContext) -> None:
    count = 0
    for record in walk(model):
        if record["class_name"] == "Sequential" and isinstance(record["config"], list):
            count += 1
            name = record.get("name") or f"sequential_{count}"
            record["config"] = {"name": name, "layers": record["config"]}
            context.notes.add("the Sequential's bare list of layers was converted to the present form", name)
        if is_functional(record):
            _drop_unknown_class(record, context)
        if isinstance(record["config"], dict) and "name" in record:
            record["config"].setdefault("name", record["name"])


def _drop_unknown_class(record: Record, context: LoadingContext) -> None:
    """Reads a model of an unknown class as a functional model: its graph of layers is complete without the class."""
    kind, registered = record["class_name"], record.get("registered_name") or record["class_name"]
    if kind in ("Functional", "Sequential") or {kind, registered} & set(context.custom_objects):
        return
    if keras.saving.get_registered_object(registered) is not None:
        return
    record["class_name"] = "Functional"
    if "module" in record:
        record.update(module="keras.src.models.functional", registered_name="Functional")
    if kind not in FUNCTIONAL:
        context.notes.add(
            f"its class '{kind}' is not among the custom objects; it was loaded as a functional model",
            name_of(record),
        )


# -- Keras 1: Sequential([Merge([Sequential, Sequential]), ...]) ------------------------------------------------------


def _replace_first_merges(model: Record, context: LoadingContext) -> None:
    for record in walk(model):
        if is_sequential(record) and _starts_with_merge(record):
            name = record["config"]["name"]
            layers: list[Record] = []
            inputs: list[str] = []
            last = _add_branch(record, layers, inputs, context)
            record["class_name"] = "Functional"
            record["config"] = {
                "name": name,
                "layers": layers,
                "input_layers": [[i, 0, 0] for i in inputs],
                "output_layers": [[last, 0, 0]],
            }
            context.notes.add("the Sequential that starts with a Merge was turned into a functional model", name)


def _starts_with_merge(record: Record) -> bool:
    layers = record["config"].get("layers", [])
    return bool(layers) and layers[0]["class_name"] == "Merge"


def _add_branch(sequential: Record, layers: list[Record], inputs: list[str], context: LoadingContext) -> str:
    """Adds the layers of a Sequential, its branches first, as functional layers; the name of its last layer."""
    own = children(sequential)
    if _starts_with_merge(sequential):
        merge, own = own[0], own[1:]
        branches = merge["config"].pop("layers", [])
        if not all(is_sequential(branch) for branch in branches):
            context.refuse("merges models that are not Sequential; rebuild the model and save it again", name_of(merge))
        ends = [_add_branch(branch, layers, inputs, context) for branch in branches]
        last = name_of(merge)
        layers.append({**merge, "name": last, "inbound_nodes": [[[end, 0, 0] for end in ends]]})
    else:
        last = f"{name_of(own[0])}_input"
        shape = own_shape(own[0])
        if shape is None:
            message = "starts a branch without an input shape; rebuild the model and save it again"
            context.refuse(message, name_of(own[0]))
        layers.append({**input_layer(shape, last, None), "name": last, "inbound_nodes": []})
        inputs.append(last)
    for layer in own:
        layers.append({**layer, "name": name_of(layer), "inbound_nodes": [[[last, 0, 0]]]})
        last = name_of(layer)
    return last
