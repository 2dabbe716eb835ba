"""``hard_sigmoid`` is clip(0.2 x + 0.5, 0, 1) in Keras 1 and 2, and clip(x / 6 + 0.5, 0, 1) in Keras 3."""

from __future__ import annotations

from typing import Any

from octconvert.loading.context import LoadingContext
from octconvert.loading.records import Record, is_model, name_of, walk

NAME = "hard_sigmoid"
NOTE = "the hard_sigmoid of Keras 2 was written as Rescaling and ReLU; Keras 3 has another function of that name"

# Layers that apply their activation last.
ACTIVATION_LAST = (
    *("Activation", "Dense", "EinsumDense"),
    *("Conv1D", "Conv2D", "Conv3D", "Conv1DTranspose", "Conv2DTranspose", "Conv3DTranspose"),
    *("DepthwiseConv1D", "DepthwiseConv2D", "SeparableConv1D", "SeparableConv2D"),
    *("LocallyConnected1D", "LocallyConnected2D", "Convolution2D", "Deconvolution2D", "SeparableConvolution2D"),
)


def replace(model: Record, context: LoadingContext) -> None:
    """Writes the hard_sigmoid of Keras 1 and 2 as Rescaling and ReLU, in place.

    These follow a layer that applies its activation last; in others, as recurrent layers, a small Sequential becomes
    the activation.
    """
    if NAME in context.custom_objects:
        return
    # Collected first: the new records must not be visited.
    for record in list(walk(model)):
        config = record["config"]
        if is_model(record) or not isinstance(config, dict):
            continue
        if config.get("activation") == NAME and record["class_name"] in ACTIVATION_LAST:
            _append_layers(record, context)
        else:
            _replace_activations(config, config.get("dtype"), name_of(record), context)


def _replace_activations(config: Record, dtype: Any, name: str, context: LoadingContext) -> None:
    """Replaces every activation of that name, those in the cells of recurrent layers too."""
    for key, value in config.items():
        if value == NAME and key.endswith("activation"):
            inner = [{**layer, "module": "keras.layers", "registered_name": None} for layer in _layers(f"{name}_{key}")]
            for layer in inner:
                layer["config"]["dtype"] = _dtype_name(dtype)
            config[key] = {
                "module": "keras",
                "class_name": "Sequential",
                "config": {"name": f"{name}_{key}", "layers": inner},
                "registered_name": None,
            }
            context.notes.add(NOTE, name)
        elif isinstance(value, dict):
            _replace_activations(value, dtype, name, context)
        elif isinstance(value, list):
            for item in value:
                if isinstance(item, dict):
                    _replace_activations(item, dtype, name, context)


def _dtype_name(dtype: Any) -> str:
    config = dtype.get("config") if isinstance(dtype, dict) else None
    name = config.get("name") if isinstance(config, dict) else dtype
    return name if isinstance(name, str) else "float32"


def _layers(name: str) -> list[Record]:
    return [
        {"class_name": "Rescaling", "config": {"name": f"{name}_slope", "scale": 0.2, "offset": 0.5}},
        {"class_name": "ReLU", "config": {"name": f"{name}_clip", "max_value": 1.0}},
    ]


def _append_layers(record: Record, context: LoadingContext) -> None:
    """Turns the record into a Sequential of the layer without its activation, Rescaling and ReLU."""
    name, old = name_of(record), dict(record["config"])
    layers = _layers(name)
    if record["class_name"] != "Activation":
        inner = {**old, "activation": "linear", "name": f"{name}_inner"}
        layers.insert(0, {**_class_keys(record), "config": inner})
    if "module" in record:
        layers = [{"module": "keras.layers", "registered_name": None, **layer} for layer in layers]
        record.update(module="keras", registered_name=None)
        record.pop("build_config", None)
    for layer in layers:
        layer["config"].setdefault("dtype", old.get("dtype", "float32"))
    record["class_name"] = "Sequential"
    record["config"] = {"name": name, "layers": layers}
    context.notes.add(NOTE, name)


def _class_keys(record: Record) -> Record:
    return {key: record[key] for key in ("module", "class_name", "registered_name", "build_config") if key in record}
