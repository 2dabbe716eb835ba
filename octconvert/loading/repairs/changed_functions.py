"""What kept its name and computes something else since, or computed something else with Theano."""

from __future__ import annotations

from typing import Any

from octconvert.loading.configuration import Job, Record, is_model, name_of, walk

# Keras 1 and 2: clip(0.2 x + 0.5, 0, 1). Keras 3: clip(x / 6 + 0.5, 0, 1).
NAME = "hard_sigmoid"
NOTE = "the hard_sigmoid of Keras 2 was spelled out; Keras 3 has another function of that name"

# Layers that apply their activation last of all.
LAST = (
    *("Activation", "Dense", "EinsumDense"),
    *("Conv1D", "Conv2D", "Conv3D", "Conv1DTranspose", "Conv2DTranspose", "Conv3DTranspose"),
    *("DepthwiseConv1D", "DepthwiseConv2D", "SeparableConv1D", "SeparableConv2D"),
    *("LocallyConnected1D", "LocallyConnected2D", "Convolution2D", "Deconvolution2D", "SeparableConvolution2D"),
)


def keep_hard_sigmoid(model: Record, job: Job) -> None:
    """Spells out the hard_sigmoid of Keras 1 and 2 as Rescaling and ReLU, in place.

    Behind a layer that applies it last, or else, as in recurrent layers, as the layer's activation: a small Sequential.
    """
    if NAME in job.custom_objects:
        return
    # Collected first: what is put in must not be walked again.
    for record in list(walk(model)):
        config = record["config"]
        if is_model(record) or not isinstance(config, dict):
            continue
        if config.get("activation") == NAME and record["class_name"] in LAST:
            _spell_out(record, job)
        else:
            _in_place(config, config.get("dtype"), name_of(record), job)


def _in_place(config: Record, dtype: Any, name: str, job: Job) -> None:
    """Puts it where an activation is named, in cells of recurrent layers, too."""
    for key, value in config.items():
        if value == NAME and key.endswith("activation"):
            inner = [{**step, "module": "keras.layers", "registered_name": None} for step in _steps(f"{name}_{key}")]
            for step in inner:
                step["config"]["dtype"] = _policy(dtype)
            config[key] = {
                "module": "keras",
                "class_name": "Sequential",
                "config": {"name": f"{name}_{key}", "layers": inner},
                "registered_name": None,
            }
            job.notes.add(NOTE, name)
        elif isinstance(value, dict):
            _in_place(value, dtype, name, job)
        elif isinstance(value, list):
            for item in value:
                if isinstance(item, dict):
                    _in_place(item, dtype, name, job)


def _policy(dtype: Any) -> str:
    config = dtype.get("config") if isinstance(dtype, dict) else None
    name = config.get("name") if isinstance(config, dict) else dtype
    return name if isinstance(name, str) else "float32"


def _steps(name: str) -> list[Record]:
    return [
        {"class_name": "Rescaling", "config": {"name": f"{name}_slope", "scale": 0.2, "offset": 0.5}},
        {"class_name": "ReLU", "config": {"name": f"{name}_clip", "max_value": 1.0}},
    ]


def _spell_out(record: Record, job: Job) -> None:
    name, old = name_of(record), dict(record["config"])
    steps = _steps(name)
    if record["class_name"] != "Activation":
        inner = {**old, "activation": "linear", "name": f"{name}_inner"}
        steps.insert(0, {**_kind(record), "config": inner})
    if "module" in record:
        steps = [{"module": "keras.layers", "registered_name": None, **step} for step in steps]
        record.update(module="keras", registered_name=None)
        record.pop("build_config", None)
    for step in steps:
        step["config"].setdefault("dtype", old.get("dtype", "float32"))
    record["class_name"] = "Sequential"
    record["config"] = {"name": name, "layers": steps}
    job.notes.add(NOTE, name)


def _kind(record: Record) -> Record:
    return {key: record[key] for key in ("module", "class_name", "registered_name", "build_config") if key in record}


# -- Theano's 'same' padding -------------------------------------------------------------------------------------------

UNEQUAL = ("MaxPooling2D", "AveragePooling2D", "Conv2DTranspose", "Deconvolution2D", "SeparableConv2D", "Conv1D")


def keep_theano_padding(model: Record, job: Job) -> None:
    """Pads as Theano did where that is not what TensorFlow does, in place.

    Theano puts ``k // 2`` rows before the map, whatever the stride; TensorFlow puts as few there as it can.
    """
    for record in list(walk(model)):
        config = record["config"]
        if not isinstance(config, dict) or config.get("padding") != "same":
            continue
        if record["class_name"] == "Conv2D":
            _pad_first(record, job)
        elif record["class_name"] in UNEQUAL and set(_pair(config.get("strides"))) != {1}:
            job.notes.add("Theano padded this layer a little differently; compare its predictions", name_of(record))


def _pair(value: object) -> tuple[int, int]:
    if isinstance(value, list | tuple):
        return int(value[0]), int(value[-1])
    return (int(value), int(value)) if isinstance(value, int) else (1, 1)


def _pad_first(record: Record, job: Job) -> None:
    name, config = name_of(record), dict(record["config"])
    strides, rates = _pair(config.get("strides")), _pair(config.get("dilation_rate"))
    sizes = [(k - 1) * rate + 1 for k, rate in zip(_pair(config["kernel_size"]), rates, strict=True)]
    if strides == (1, 1) and all(size % 2 for size in sizes):
        return
    # The output has ceil(n / stride) rows: one row less at the end for an even kernel.
    padding = [[size // 2, size // 2 - (1 - size % 2)] for size in sizes]
    pad = {"name": f"{name}_pad", "padding": padding, "data_format": config.get("data_format")}
    inner = {**config, "padding": "valid", "name": f"{name}_inner"}
    record["class_name"] = "Sequential"
    record["config"] = {
        "name": name,
        "layers": [{"class_name": "ZeroPadding2D", "config": pad}, {"class_name": "Conv2D", "config": inner}],
    }
    job.notes.add("Theano's way of padding was spelled out with a ZeroPadding2D", name)
