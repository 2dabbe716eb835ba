"""Input layers for models that state their input shape in another way, or not at all."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from octconvert.loading.context import LoadingContext
from octconvert.loading.records import Record, children, is_functional, is_sequential, name_of, walk

SHAPE_KEYS = ("batch_input_shape", "batch_shape")


def add_input_layers(model: Record, context: LoadingContext) -> None:
    """Gives ``model`` and all models inside it their input layers, in place.

    Raises:
        InputError: A Sequential has no input shape, and the user has not specified one.
    """
    _add_known_shapes(model, context)
    _require_shape(model, context)
    _unwrap_single_ends(model, context)


def _add_known_shapes(model: Record, context: LoadingContext) -> None:
    """Gives every Sequential of known input shape an InputLayer."""
    for record in walk(model):
        layers = record["config"].get("layers") if is_sequential(record) else None
        if not layers or layers[0]["class_name"] == "InputLayer":
            continue
        shape = _first_shape(layers[0])
        if shape is not None:
            dtype = layers[0]["config"].get("dtype") if isinstance(layers[0]["config"], dict) else None
            name = f"{name_of(layers[0])}_input".replace("/", "_")
            record["config"]["layers"] = [input_layer(shape, name, dtype), *layers]
            record["config"].pop("build_input_shape", None)
            context.notes.add(
                "the Sequential got an input layer with the shape that its first layer states", name_of(record)
            )
    for record in walk(model):
        if isinstance(record["config"], dict):
            batch = record["config"].pop("batch_input_shape", None)
            if record["class_name"] == "InputLayer" and batch is not None:
                record["config"]["batch_shape"] = batch


def own_shape(record: Record) -> list[int | None] | None:
    """The batch shape that a layer states for its input."""
    config = record["config"]
    shapes = (config.get(key) for key in SHAPE_KEYS) if isinstance(config, dict) else ()
    return next((list(shape) for shape in shapes if shape), None)


def _first_shape(record: Record) -> list[int | None] | None:
    """The batch shape that a layer states for its input, or the first layer inside it."""
    if is_functional(record):
        inputs = [layer for layer in children(record) if layer["class_name"] == "InputLayer"]
        return own_shape(inputs[0]) if len(inputs) == 1 else None
    if is_sequential(record):
        inside = children(record)
        return _first_shape(inside[0]) if inside else None
    return own_shape(record)


def input_layer(shape: Sequence[int | None], name: str, dtype: Any) -> Record:
    known = dtype if isinstance(dtype, str) and dtype.startswith(("float", "int", "uint")) else "float32"
    return {"class_name": "InputLayer", "config": {"batch_shape": list(shape), "dtype": known, "name": name}}


def _require_shape(model: Record, context: LoadingContext) -> None:
    if not is_sequential(model):
        return
    config, requested = model["config"], context.options.input_shape
    if not config.get("layers"):
        context.refuse("is a Sequential without any layer; there is nothing to convert")
    known = config["layers"][0]["class_name"] == "InputLayer"
    if not known and requested is not None:
        name = f"{name_of(config['layers'][0])}_input".replace("/", "_")
        config["layers"].insert(0, input_layer([None, *requested], name, None))
        config.pop("build_input_shape", None)
        context.notes.add(f"the Sequential got the requested input shape {tuple(requested)}")
    elif not known and not config.get("build_input_shape") and not (model.get("build_config") or {}).get("input_shape"):
        context.refuse("is a Sequential without an input shape; specify `input_shape` (rows, columns, channels)")


def _unwrap_single_ends(model: Record, context: LoadingContext) -> None:
    """Writes a single input or output as such, not as a list of one.

    Models of tf.keras 2 state a list of one output and return a tensor. Keras 3 would return a list.
    """
    for record in walk(model):
        if is_functional(record) and context.version < 3:
            for key in ("input_layers", "output_layers"):
                ends = record["config"][key]
                if isinstance(ends, list) and len(ends) == 1 and isinstance(ends[0], list):
                    record["config"][key] = ends[0]
